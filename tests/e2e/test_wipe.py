"""A lost device is told to forget everything: after what it had not sent was
taken, or without. Then it is revoked, and its person starts anew elsewhere.
"""
# timeout: 200

import os

from harness import Org, check, equal, main, wait_for

SECRETS = ("device.key", "device.pem", "replica.db", "replica.db-wal")


class Company(Org):
    def __enter__(self):
        super().__enter__()
        self.territory("CN", "nation")
        self.territory("T1", "patch", "CN")
        for login in ("ann", "bob"):
            self.user(login, "rep", "T1")
        self.start()
        return self

    def state(self, no):
        return {r["device"]: r["state"] for r in self.json("device", "list")}[no]


def number(d):
    return d.one("SELECT v FROM _satchel_kv WHERE k='replica'")


def left(d):
    return [n for n in SECRETS if os.path.exists(os.path.join(d.dir, n))]


def names(d):
    return sorted(r[0] for r in d.sql("SELECT name FROM account"))


def with_two_accounts(c):
    ann, bob = c.device("ann"), c.device("bob")
    ann.sql("INSERT INTO account(name) VALUES ('sent')")
    ann.once()
    bob.once()
    ann.sql("INSERT INTO account(name) VALUES ('unsent')")
    return ann, bob, number(ann)


def unsynced_edits_are_taken_first():
    with Company() as c:
        ann, bob, no = with_two_accounts(c)
        keys = {
            n: open(os.path.join(ann.dir, n), "rb").read()
            for n in ("device.key", "device.pem")
        }
        c.cmd("device", "wipe", "--device", no)
        equal(c.state(no), "wiping")
        bob.sql("INSERT INTO account(name) VALUES ('of Bob, never for Ann')")
        bob.once()
        done = ann.once(ok=4)
        equal(done, None)
        equal(left(ann), [], "nothing is left")
        wait_for("revoked", lambda: c.state(no) == "revoked", 5)
        bob.once()
        check("unsent" in names(bob), "what was not sent is there")
        # The certificate is useless now, even to whoever kept it.
        again = c.device("ann")
        equal(names(again), names(bob), "the same person, a new device")
        for n, was in keys.items():
            with open(os.path.join(again.dir, n), "wb") as f:
                f.write(was)
        equal(again.once(ok=None, timeout=3), None, "revoked certificates open nothing")
        c.verify()


def unsynced_edits_are_given_up():
    with Company() as c:
        ann, bob, no = with_two_accounts(c)
        c.cmd("device", "wipe", "--device", no, "--discard-unsynced")
        ann.once(ok=4)
        equal(left(ann), [])
        wait_for("revoked", lambda: c.state(no) == "revoked", 5)
        bob.once()
        equal(names(bob), ["sent"], "not taken")
        c.verify()


def a_connected_device_is_wiped_at_once():
    with Company() as c:
        ann, bob, no = with_two_accounts(c)
        ann.start()
        wait_for("sent", lambda: ann.status()["missing"] == 0)
        c.cmd("device", "wipe", "--device", no)
        wait_for("nothing is left", lambda: left(ann) == [], 10)
        wait_for("the daemon ends", lambda: not ann.daemon.alive, 10)
        wait_for("revoked", lambda: c.state(no) == "revoked", 5)
        refused = c.cmd("device", "wipe", "--device", no, ok=1)
        check("revoked" in refused.stderr, refused.stderr)
        c.verify()


main(
    [
        unsynced_edits_are_taken_first,
        unsynced_edits_are_given_up,
        a_connected_device_is_wiped_at_once,
    ]
)
