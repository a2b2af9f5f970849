"""Worked example 13: a device's folder is copied; both go on. The one that
shows the older face is the copy: it becomes a device of its own, keeps what it
has not sent, and nothing of anybody is lost.
"""
# timeout: 200

import os
import shutil

from harness import Device, Org, check, equal, main


class Company(Org):
    def __enter__(self):
        super().__enter__()
        self.territory("CN", "nation")
        self.territory("T1", "patch", "CN")
        for login in ("ann", "bob"):
            self.user(login, "rep", "T1")
        self.start()
        return self

    def copy(self, d):
        n = len(self.devices)
        other = Device(self, d.login, os.path.join(self.top, f"copy{n}"))
        shutil.copytree(d.dir, other.dir)
        for name in ("lock", "sock", "running"):
            path = os.path.join(other.dir, name)
            if os.path.exists(path):
                os.remove(path)
        self.devices.append(other)
        return other


def number(d):
    return d.one("SELECT v FROM _satchel_kv WHERE k='replica'")


def names(d):
    return sorted(r[0] for r in d.sql("SELECT name FROM account"))


def settle(*devices):
    for _ in range(2):
        for d in devices:
            equal(d.once(), 0, f"{d.dir}: rejected")


def pending_before_the_copy(first):
    """Both hold an edit that was not sent yet when the copy was made."""
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        ann.sql("INSERT INTO account(name, phone) VALUES ('X', '1')")
        ann.once()
        c.stop()
        ann.sql("INSERT INTO account(name) VALUES ('before')")
        ann.once(ok=3, timeout=1)  # harvested, not sent
        two = c.copy(ann)
        ann.sql("INSERT INTO account(name) VALUES ('one')")
        ann.sql("UPDATE account SET phone='11' WHERE name='X'")
        two.sql("INSERT INTO account(name) VALUES ('two')")
        two.once(ok=3, timeout=1)
        two.sql("UPDATE account SET email='two@x' WHERE name IN ('X', 'two')")
        c.start()
        was = number(ann)
        order = (ann, two) if first == "original" else (two, ann)
        settle(*order, bob)
        check(number(order[0]) == was, "the first one is who it was")
        check(number(order[1]) != was, "the second one is the copy")
        for d in (ann, two, bob):
            equal(names(d), ["X", "before", "one", "two"], d.dir)
            got = d.sql("SELECT name, phone, email FROM account ORDER BY 1")
            equal(got[0], ("X", "11", "two@x"), d.dir)
            equal(got[3], ("two", None, "two@x"), d.dir)
            equal(d.status()["digest"], "equal", d.dir)
            equal(d.sql("SELECT state FROM conflict"), [], "nothing clashed")
        c.verify()
        # From here on they are two devices like any others.
        for n, d in enumerate((ann, two)):
            d.sql("INSERT INTO account(name) VALUES (?)", (f"later{n}",))
        settle(ann, two, bob)
        equal(len(names(bob)), 6)
        told = [r[0] for r in c.sql("SELECT what FROM _audit")]
        check("copied device" in told, "the administrator can see it")
        done = c.cmd("device", "revoke", "--device", was)
        for d in order:
            equal(d.once(ok=4), None, "revoking one revokes its copy")
        check(str(number(order[1])) in done.stdout, done.stdout)


def the_original_comes_first():
    pending_before_the_copy("original")


def the_copy_comes_first():
    pending_before_the_copy("copy")


def nothing_was_written():
    """Recognised at the second contact at the latest, by the ratchet alone."""
    with Company() as c:
        ann = c.device("ann")
        ann.sql("INSERT INTO account(name) VALUES ('X')")
        ann.once()
        two = c.copy(ann)
        was = number(ann)
        for _ in range(2):
            ann.once()
            two.once()
        check(number(two) != number(ann), "two devices")
        check(was in (number(ann), number(two)), "one is who it was")
        equal(len(c.json("device", "list")), 2)
        settle(ann, two)
        c.verify()


def an_old_image_of_a_device_is_put_back():
    """The device itself, from its own backup: what it wrote since is kept by
    the server and comes back; what it writes now is its own."""
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        ann.sql("INSERT INTO account(name) VALUES ('old')")
        ann.once()
        image = c.copy(ann)
        ann.sql("INSERT INTO account(name) VALUES ('new')")
        ann.once()
        image.sql("INSERT INTO account(name) VALUES ('again')")
        settle(image, bob)
        for d in (image, bob):
            equal(names(d), ["again", "new", "old"], d.dir)
        c.verify()


main(
    [
        the_original_comes_first,
        the_copy_comes_first,
        nothing_was_written,
        an_old_image_of_a_device_is_put_back,
    ]
)
