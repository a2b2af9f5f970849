"""A row that is changed in the server's database behind the server's back:
it is named, no device gets it, nothing is built on it, and nothing is lost
when it is put right."""
# timeout: 300

import os
import sqlite3

from harness import Org, check, equal, main, uuid_text, wait_for

NOT_WRITTEN = "the row is not what the server wrote"


class Company(Org):
    def __init__(self, seconds=1):
        super().__init__("damage")
        self.seconds = seconds

    def __enter__(self):
        super().__enter__()
        with open(os.path.join(self.dir, "server.conf"), "a") as f:
            f.write(f"check_seconds = {self.seconds}\n")
        self.territory("CN", "nation")
        self.territory("T1", "patch", "CN")
        for login in ("ann", "bob", "cid"):
            self.user(login, "rep", "T1")
        self.start()
        return self

    def behind(self, statement, args=()):
        db = sqlite3.connect(os.path.join(self.dir, "satchel.db"), timeout=30)
        db.execute("PRAGMA foreign_keys = off")
        n = db.execute(statement, args).rowcount
        db.commit()
        db.close()
        return n

    def id_of(self, name):
        rows = self.sql("SELECT id FROM account WHERE name=?", (name,))
        return uuid_text(rows[0][0])

    def damaged(self):
        return self.json("status")["damaged_rows"]

    def wait_damaged(self, n):
        wait_for(f"{n} damaged rows", lambda: self.damaged() == n)

    def findings(self):
        """What verify says of rows: (table, id, what)."""
        import json

        rows = json.loads(self.cmd("verify", "--json", ok=1).stdout)
        return {(r["where"], r["id"], r["what"]) for r in rows}

    def doctor(self, lang="en"):
        done = self.cmd("doctor", "--lang", lang, ok=None)
        return done.returncode, done.stdout

    def is_sound(self):
        self.verify()
        equal([r for r in self.json("doctor") if r["check"] == "damage"], [])

    def json(self, *words):
        import json

        # doctor says 1 when it finds something
        return json.loads(self.cmd(*words, "--json", ok=None).stdout)

    def log(self):
        with open(os.path.join(self.top, "server.log")) as f:
            return f.read()


def accounts(d):
    return dict(d.sql("SELECT name, phone FROM account"))


def pending(d):
    return d.status()["pending"]


def changed_while_the_server_is_stopped():
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        for name in ("X", "Y"):
            ann.sql("INSERT INTO account(name, phone) VALUES (?, '1')", (name,))
        ann.once()
        bob.once()
        equal(accounts(bob), {"X": "1", "Y": "1"})
        c.is_sound()
        x = c.id_of("X")
        c.stop()
        equal(c.behind("UPDATE account SET phone='666' WHERE name='X'"), 1)
        # Also with nobody at work: verify and doctor name row and column.
        check(("account", x, NOT_WRITTEN + ", in phone") in c.findings(), x)
        c.start()
        check(("account", x, NOT_WRITTEN + ", in phone") in c.findings(), x)
        code, said = c.doctor()
        equal(code, 1)
        check(f"row {x} of account" in said and "restore" in said, said)
        check("服务器写入的内容不符" in c.doctor("zh")[1], "Chinese")
        # One that is filled now gets everything but that row.
        cid = c.device("cid", enroll=False)
        cid.enroll(ok=None)
        cid.once(ok=None)
        equal(accounts(cid), {"Y": "1"})
        # Who had it keeps what he has, and gets what is new.
        ann.sql("UPDATE account SET phone='2' WHERE name='Y'")
        ann.once(ok=None)
        bob.once(ok=None)
        equal(accounts(bob), {"X": "1", "Y": "2"})
        # Nothing is built on it; the change waits where it was made.
        ann.sql("UPDATE account SET address='here' WHERE name='X'")
        check(ann.once(ok=None, timeout=4) != 0, "it cannot be taken")
        equal(c.sql("SELECT phone, address FROM account WHERE name='X'"),
              [("666", None)])
        equal(ann.json("rejected"), [])
        check("nothing is written to it" in c.log(), "said why")
        c.wait_damaged(1)
        equal(c.log().count("a stored row is damaged"), 1, "said once")
        check(x in c.log(), "named")
        # Put right by hand: all is as if nothing had been.
        equal(c.behind("UPDATE account SET phone='1' WHERE name='X'"), 1)
        c.wait_damaged(0)
        check("a damaged row was put right" in c.log(), "said")
        ann.once()
        equal(c.sql("SELECT phone, address FROM account WHERE name='X'"),
              [("1", "here")])
        for d in (bob, cid):
            d.once()
            equal(accounts(d), {"X": "1", "Y": "2"}, d.login)
            equal(d.one("SELECT address FROM account WHERE name='X'"), "here")
        c.is_sound()


def changed_while_the_server_runs():
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        ann.sql("INSERT INTO account(name, phone) VALUES ('X', '1')")
        ann.once()
        for d in (ann, bob):
            d.start()
            wait_for("connected", lambda: d.status()["connection"] == "connected")
        wait_for("X", lambda: accounts(bob) == {"X": "1"})
        for what, back in (
            ("phone = '666'", "phone = '1'"),
            ("_flags = _flags | 2", "_flags = _flags & ~2"),
            ("phone = NULL", "phone = '1'"),
        ):
            equal(c.damaged(), 0)
            equal(c.behind(f"UPDATE account SET {what}"), 1)
            # Nobody asks for it: the timer finds it.
            c.wait_damaged(1)
            check(any(f[1] == c.id_of("X") and f[2].startswith(NOT_WRITTEN)
                      for f in c.findings()), what)
            equal(c.behind(f"UPDATE account SET {back}"), 1)
            c.wait_damaged(0)
        equal(accounts(bob), {"X": "1"})
        ann.sql("UPDATE account SET phone='2'")
        wait_for("bob", lambda: accounts(bob) == {"X": "2"})
        c.is_sound()


def what_only_the_server_sees():
    """Metadata, places, and the sum itself."""
    with Company() as c:
        ann = c.device("ann")
        ann.sql("INSERT INTO account(name, phone) VALUES ('X', '1')")
        ann.once()
        x = c.id_of("X")
        for column in ("_meta", "_places", "_sum", "_origin"):
            was = c.sql(f"SELECT {column} FROM account")[0][0]
            now = None if column == "_sum" else 77
            equal(c.behind(f"UPDATE account SET {column} = ?", (now,)), 1)
            c.wait_damaged(1)
            check(f"row {x} of account" in c.doctor()[1], column)
            check(("account", x, NOT_WRITTEN) in c.findings(), column)
            equal(c.behind(f"UPDATE account SET {column} = ?", (was,)), 1)
            c.wait_damaged(0)
        c.is_sound()


def a_database_of_before():
    """It gets its sums when the server opens it; from then on they hold."""
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        ann.sql("INSERT INTO account(name, phone) VALUES ('X', '1')")
        ann.once()
        c.stop()
        tables = [
            t
            for (t,) in c.sql(
                "SELECT m.name FROM sqlite_master m, pragma_table_info(m.name)"
                " i WHERE m.type='table' AND i.name='_sum'"
            )
        ]
        check("account" in tables and "territory" in tables, tables)
        for t in tables:
            c.behind(f'ALTER TABLE "{t}" DROP COLUMN _sum')
        equal(c.behind("DELETE FROM _setting WHERE key='_sums'"), 1)
        c.start()
        equal(c.sql("SELECT count(*) FROM account WHERE _sum IS NULL"), [(0,)])
        c.is_sound()
        bob.once()
        equal(accounts(bob), {"X": "1"})
        ann.sql("UPDATE account SET phone='2'")
        ann.once()
        c.is_sound()
        c.stop()
        equal(c.behind("UPDATE account SET phone='666'"), 1)
        c.start()
        c.wait_damaged(1)
        check(("account", c.id_of("X"), NOT_WRITTEN + ", in phone")
              in c.findings(), "found")


main([
    changed_while_the_server_is_stopped,
    changed_while_the_server_runs,
    what_only_the_server_sees,
    a_database_of_before,
])
