"""What may be forgotten: deleted rows that everybody has passed, settled
conflicts past their time; and what becomes of a device that was away while
they went: it is filled afresh, brings what it wrote, and resurrects nothing.
"""
# timeout: 300

import os
import time

from harness import Org, check, equal, main, wait_for


class Company(Org):
    def __init__(self, **settings):
        super().__init__("collect")
        self.settings = settings

    def __enter__(self):
        super().__enter__()
        self.set(**self.settings)
        self.territory("CN", "nation")
        self.territory("T1", "patch", "CN")
        for login in ("ann", "bob", "dan"):
            self.user(login, "rep", "T1")
        self.start()
        return self

    def set(self, **settings):
        with open(os.path.join(self.dir, "server.conf"), "w") as f:
            for name, value in settings.items():
                f.write(f"{name} = {value}\n")

    def collect(self):
        return self.json("collect")

    def rows(self, table="account"):
        return self.sql(f"SELECT count(*) FROM {table}")[0][0]


def images(d):
    """Deleted rows that the device still remembers."""
    return d.one(
        "SELECT count(*) FROM _satchel_base b JOIN _satchel_row r "
        "USING(t, id) WHERE NOT EXISTS(SELECT 1 FROM _satchel_dirty d "
        "WHERE d.t = b.t AND d.id = b.id)"
    )


def when_all_have_passed():
    with Company(keep_deleted="1 s", silent_after="1 h") as c:
        ann, bob = c.device("ann"), c.device("bob")
        for n in range(5):
            ann.sql("INSERT INTO account(name) VALUES (?)", (f"n{n}",))
        ann.once()
        bob.once()
        x = ann.one("SELECT id FROM account WHERE name='n0'")
        ann.sql("DELETE FROM account WHERE name='n0'")
        ann.once()
        time.sleep(1.5)
        equal(c.collect()["deleted_rows"], 0, "Bob has not seen it go")
        held = c.json("status")["collected"]["waits_for"]
        bobs = bob.one("SELECT v FROM _satchel_kv WHERE k='replica'")
        equal(held, bobs, "and the status says so")
        bob.once()
        equal(images(bob), 1, "remembered")
        bob.once()  # a HELLO confirms whatever CREDIT was lost
        ann.once()
        wait_for("the timer collects", lambda: c.rows() == 4)
        equal(c.json("status")["collected"]["rows"], 1)
        check("_dead" in str(c.sql(
            "EXPLAIN QUERY PLAN SELECT _seq FROM account WHERE "
            "_flags & 2 <> 0 AND _seq > 1 AND _seq <= 9 ORDER BY _seq")),
            "found by an index")
        c.verify()
        for d in (ann, bob):
            d.sql("INSERT INTO task(title) VALUES ('moves the feed')")
            equal(d.once(), 0)
            equal(images(d), 0, f"{d.login} forgets it as well")
            equal(d.status()["digest"], "equal")
        # The id is free: inserting it again is an insert for everybody.
        bob.sql("INSERT INTO account(id, name) VALUES (?, 'anew')", (x,))
        equal(bob.once(), 0, "nothing rejected")
        ann.once()
        equal(ann.one("SELECT name FROM account WHERE id=?", (x,)), "anew")
        c.verify()


def not_before_its_time():
    with Company(keep_deleted="1 h", silent_after="1 h") as c:
        ann = c.device("ann")
        ann.sql("INSERT INTO account(name) VALUES ('x')")
        ann.once()
        ann.sql("DELETE FROM account")
        ann.once()
        ann.once()
        equal(c.collect()["deleted_rows"], 0)
        equal(c.rows(), 1)


def a_parent_waits_for_its_children():
    with Company(keep_deleted="1 s", silent_after="1 h") as c:
        ann, bob = c.device("ann"), c.device("bob")
        ann.sql("INSERT INTO account(name) VALUES ('X')")
        ann.once()
        bob.once()
        ann.sql("DELETE FROM account")
        ann.once()
        bob.sql(
            "INSERT INTO visit(account_id, notes) SELECT id, 'on X' "
            "FROM account"
        )
        bob.once()
        for _ in range(2):
            ann.once()
            bob.once()
        time.sleep(1.5)
        c.collect()
        last = c.sql("SELECT _seq FROM account")[0][0]
        check(c.json("status")["collected"]["up_to"] >= last, "all passed it")
        equal(c.rows(), 1, "X stays: a visit hangs on it")
        entry = bob.one("SELECT id FROM conflict WHERE kind='orphan'")
        bob.sql("INSERT INTO task(title) VALUES ('moves the feed')")
        bob.once()
        bob.cli("restore", entry)
        bob.once()
        ann.once()
        equal(ann.one("SELECT name FROM account"), "X", "and can be restored")
        c.verify()


def silence(c):
    """Everyone who says nothing now is silent afterwards."""
    time.sleep(3.2)


def a_silent_device_is_filled_afresh():
    with Company(
        keep_deleted="1 s", silent_after="3 s", page_bytes="4 KiB"
    ) as c:
        ann, dan = c.device("ann"), c.device("dan")
        ann.script(
            ";".join(
                f"INSERT INTO account(name, phone) VALUES ('n{n}', '{n}')"
                for n in range(400)
            )
        )
        ann.once()
        dan.once()
        ann.sql("DELETE FROM account WHERE name='n0'")
        ann.once()
        dan.once()
        equal(images(dan), 1, "Dan remembers n0")
        # Dan goes away, and works.
        dan.sql("UPDATE account SET phone='dan' WHERE name IN ('n1', 'n2')")
        dan.sql("INSERT INTO account(name, phone) VALUES ('mine', 'd')")
        dan.sql("UPDATE account SET email='dan@x' WHERE name='n1'")
        ann.sql("DELETE FROM account WHERE name IN ('n1', 'n3', 'n4')")
        ann.once()
        silence(c)
        ann.once()
        wait_for("n0, n1, n3, n4 are collected", lambda: c.rows() == 396)
        ann.once()
        equal(dan.one("SELECT count(*) FROM account WHERE name='n3'"), 1)
        rejected = dan.once()
        equal(rejected, 1, "what he did to n1 is in his list")
        entry = dan.one("SELECT n FROM _satchel_rejected")
        shown = dan.cli("rejected", "show", str(entry)).stdout
        check("dan" in shown, "with its content: " + shown)
        equal(
            dan.sql("SELECT name FROM account WHERE name IN "
                    "('n0', 'n1', 'n3', 'n4')"),
            [],
            "nothing of what went stays",
        )
        equal(images(dan), 0, "nor an image of it")
        equal(dan.status()["digest"], "equal")
        dan.once()
        ann.once()
        equal(ann.one("SELECT count(*) FROM account"), 397)
        equal(ann.one("SELECT phone FROM account WHERE name='mine'"), "d")
        equal(c.sql("SELECT count(*) FROM account WHERE name='n1'")[0][0], 0)
        c.verify()


def settled_conflicts_have_their_time():
    with Company(keep_settled="2 s") as c:
        ann, bob = c.device("ann"), c.device("bob")
        ann.sql("INSERT INTO account(name, phone) VALUES ('X', '0')")
        ann.once()
        bob.once()
        for d, v in ((ann, "1"), (bob, "2")):
            d.sql("UPDATE account SET phone=?, name=?", (v, "N" + v))
            time.sleep(0.02)
        bob.once()
        for d in (ann, bob):
            d.once()
        got = c.sql("SELECT state FROM conflict WHERE _flags & 2 = 0")
        check(("open",) in got, "the name is open")
        wait_for(
            "the settled one goes, the open one stays",
            lambda: c.sql("SELECT state FROM conflict WHERE _flags & 2 = 0")
            == [("open",)],
        )
        for d in (ann, bob):
            d.once()
            equal(d.sql("SELECT field, state FROM conflict"),
                  [("name", "open")], f"{d.login} sees it go")
            equal(d.status()["digest"], "equal")
        c.verify()


main(
    [
        when_all_have_passed,
        not_before_its_time,
        a_parent_waits_for_its_children,
        a_silent_device_is_filled_afresh,
        settled_conflicts_have_their_time,
    ]
)
