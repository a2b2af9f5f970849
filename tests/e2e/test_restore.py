"""Backups, restores, and databases that are older than they were.

Worked example 14: a server is restored from last night's backup; today's
acknowledged edits come back from the devices within one sync each; nobody
does anything.
"""
# timeout: 300

import os
import re
import shutil
import sqlite3

from harness import Org, check, equal, main, run, wait_for, SERVER


class Company(Org):
    def __enter__(self):
        super().__enter__()
        self.territory("CN", "nation")
        self.territory("T1", "patch", "CN")
        for login in ("ann", "bob", "dan"):
            self.user(login, "rep", "T1")
        self.user("hugo", "hq", "CN")
        self.start()
        return self

    @property
    def backup(self):
        return os.path.join(self.top, "night")

    def epoch(self):
        return self.sql("SELECT value FROM _setting WHERE key='epoch'")[0][0]

    def restore(self, ok=0):
        return self.cmd("restore", self.backup, ok=ok)


def phones(d):
    return dict(d.sql("SELECT name, phone FROM account"))


def notes(d):
    return sorted(r[0] for r in d.sql("SELECT notes FROM visit"))


def example_14_nobody_does_anything():
    with Company() as c:
        ann, bob, hugo = c.device("ann"), c.device("bob"), c.device("hugo")
        ann.sql("INSERT INTO account(name, phone) VALUES ('X', '1')")
        ann.once()
        bob.once()
        c.cmd("backup", c.backup)
        before = c.epoch()
        # Today: each builds on what the other did.
        for n in range(2, 6):
            ann.sql("UPDATE account SET phone=?", (f"a{n}",))
            ann.once()
            bob.once()
            bob.sql("UPDATE account SET phone=?", (f"b{n}",))
            bob.once()
            ann.once()
        ann.sql("INSERT INTO account(name, phone) VALUES ('Y', 'y')")
        ann.once()
        bob.once()
        bob.sql(
            "INSERT INTO visit(account_id, notes) "
            "SELECT id, 'on Y' FROM account WHERE name='Y'"
        )
        bob.once()
        dan = c.device("dan")  # enrolled after the backup
        dan.sql("UPDATE account SET email='dan@y' WHERE name='Y'")
        dan.once()
        c.stop()
        c.restore()
        c.start()
        check(c.epoch() != before, "another history")
        equal(c.sql("SELECT count(*) FROM account")[0][0], 1, "restored")
        # Bob first: what he did builds on Ann, who is not back yet.
        for d in (dan, bob, ann):
            equal(d.once(), 0, f"{d.login}: nothing is rejected")
        for d in (hugo, dan, bob, ann):
            d.once()
            equal(phones(d), {"X": "b5", "Y": "y"}, d.login)
            equal(notes(d), ["on Y"], d.login)
            email = d.one("SELECT email FROM account WHERE name='Y'")
            equal(email, "dan@y", d.login)
            equal(d.sql("SELECT state FROM conflict"), [], d.login)
            equal(d.status()["digest"], "equal", d.login)
        equal(c.json("recovery", "status")["parked"], 0, "nothing waits")
        equal(bob.one("SELECT count(*) FROM _satchel_outbox WHERE state<>1"), 0)
        c.verify()


def parked_until_the_window_is_closed():
    """The author that others built on never comes back."""
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        ann.sql("INSERT INTO account(name, phone) VALUES ('X', '1')")
        ann.once()
        bob.once()
        c.cmd("backup", c.backup)
        ann.sql("UPDATE account SET phone='ann'")
        ann.once()
        bob.once()
        bob.sql("UPDATE account SET email='bob@x'")
        bob.once()
        c.stop()
        c.restore()
        c.start()
        bob.once()
        s = c.json("recovery", "status")
        equal((s["open"], s["parked"]), (True, 1), "Bob's waits for Ann's")
        equal([r["login"] for r in s["missing"]], ["ann"], "not back")
        equal(bob.one("SELECT email FROM account"), "bob@x", "Bob sees it")
        bob.once()  # parked over a reconnect as well
        equal(c.json("recovery", "status")["parked"], 1)
        c.cmd("recovery", "close")
        equal(c.json("recovery", "status")["parked"], 0)
        bob.once()
        equal(bob.one("SELECT count(*) FROM _satchel_outbox WHERE state=3"), 0)
        equal(bob.one("SELECT phone, email FROM account"), ("1", "bob@x"))
        ann.once()  # late, but not lost
        bob.once()
        equal(bob.one("SELECT phone, email FROM account"), ("ann", "bob@x"))
        c.verify()


def only_what_was_lost_is_asked_for():
    """A device keeps what both histories have in common."""
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        ann.script(
            ";".join(
                f"INSERT INTO account(name, phone) VALUES ('n{n}', '0')"
                for n in range(300)
            )
        )
        ann.once()
        bob.once()
        c.cmd("backup", c.backup)
        ann.sql("UPDATE account SET phone='lost' WHERE name IN ('n1', 'n2')")
        ann.sql("DELETE FROM account WHERE name='n3'")
        ann.sql("INSERT INTO account(name) VALUES ('lost')")
        ann.once()
        bob.once()
        bob.once()
        equal(bob.one("SELECT count(*) FROM account"), 300)
        bob.sql("UPDATE account SET email='bob@x' WHERE name='n1'")
        c.stop()
        log = os.path.join(c.top, "server.log")
        size = os.path.getsize(log)
        c.restore()
        c.start()
        bob.once()
        bob.once()
        got = bob.sql("SELECT name, phone, email FROM account WHERE name IN "
                      "('n1', 'n2', 'n3', 'lost') ORDER BY name")
        equal(got, [("n1", "0", "bob@x"), ("n2", "0", None),
                    ("n3", "0", None)], "what the server has, edits over it")
        equal(bob.status()["digest"], "equal")
        with open(log) as f:
            f.seek(size)
            shown = re.findall(r"msg=welcome.*? cursor=(\d+)", f.read())
        check("0" not in shown, f"what is held is kept: {shown}")
        ann.once()
        bob.once()
        for d in (ann, bob):
            equal(phones(d)["n2"], "lost", "and Ann brings hers back")
            equal(phones(d)["n1"], "lost", d.login)
            check("n3" not in phones(d), "deleted again")
            equal(d.status()["digest"], "equal", d.login)
        c.verify()


def settle_recovery(c):
    """The timer's work, at once."""
    return c.json("collect")["recovery_closed"]


def the_window_closes_when_all_are_back():
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        ann.sql("INSERT INTO account(name, phone) VALUES ('X', '1')")
        ann.once()
        bob.once()
        c.cmd("backup", c.backup)
        ann.sql("UPDATE account SET phone='ann'")
        ann.once()
        bob.once()
        bob.sql("UPDATE account SET email='bob@x'")
        bob.once()
        c.stop()
        c.restore()
        c.start()
        bob.once()
        check(not settle_recovery(c), "Ann is not back")
        ann.once()
        bob.once()
        check(settle_recovery(c), "nobody is missing, nothing waits")
        check(not c.json("recovery", "status")["open"], "closed")
        equal(bob.one("SELECT phone, email FROM account"), ("ann", "bob@x"))
        c.verify()


def the_window_closes_in_the_end():
    """What can never be completed goes to its author's list, with content."""
    with Company() as c:
        with open(os.path.join(c.dir, "server.conf"), "w") as f:
            f.write("recovery_window = 6 s\n")
        ann, bob = c.device("ann"), c.device("bob")
        c.cmd("backup", c.backup)
        ann.sql("INSERT INTO account(name) VALUES ('lost with Ann')")
        ann.once()
        bob.once()
        bob.sql("UPDATE account SET phone='from Bob'")
        bob.once()
        c.stop()
        c.restore()
        c.start()
        bob.once()
        s = c.json("recovery", "status")
        if s["open"]:  # unless this machine is very slow
            equal(s["parked"], 1, "Bob's waits for Ann's")
        wait_for(
            "the window closes",
            lambda: not c.json("recovery", "status")["open"],
        )
        equal(c.json("recovery", "status")["parked"], 0)
        audit = c.cmd("audit", "list").stdout
        check("recovery closed" in audit, audit)
        equal(bob.once(), 1, "rejected")
        content = bob.one("SELECT content FROM _satchel_rejected")
        check("from Bob" in content, content)
        c.verify()


def rejected_stays_rejected():
    with Company() as c:
        ann = c.device("ann")
        ann.sql("INSERT INTO account(name, phone) VALUES ('X', '1')")
        ann.once()
        c.cmd("backup", c.backup)
        ann.sql(
            "INSERT INTO visit(account_id, notes) VALUES "
            "('00000000-0000-7000-8000-000000000001', 'no such account')"
        )
        equal(ann.once(), 1, "rejected: no such account")
        ann.sql("INSERT INTO task(title) VALUES ('after it')")
        ann.once()
        c.stop()
        c.restore()
        c.start()
        equal(ann.once(), 1, "still one in the list")
        equal(ann.one("SELECT count(*) FROM _satchel_outbox WHERE state=2"), 1)
        equal(c.sql("SELECT count(*) FROM visit")[0][0], 0, "no effect")
        equal(c.sql("SELECT count(*) FROM task")[0][0], 1, "the next came")
        equal(c.json("recovery", "status")["parked"], 0)
        c.verify()


def the_journal_wins_over_the_table():
    """What a restore must not undo: revocations, used invitations, ids."""
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        unused = c.invite("dan")
        c.cmd("backup", c.backup)
        dan = c.device("dan", enroll=False)
        dan.enroll(unused)
        last = c.sql("SELECT max(replica) FROM _device")[0][0]
        no = c.sql("SELECT min(replica) FROM _device")[0][0]
        c.cmd("device", "revoke", "--device", no)
        c.user("eve", "rep", "T1")
        c.stop()
        out = c.restore().stdout
        check("user add" in out, "what the administrator must do again: " + out)
        c.start()
        equal(ann.once(ok=None), None, "a revoked device stays out")
        again = c.device("dan", enroll=False)
        check(again.enroll(unused, ok=None).returncode != 0, "used stays used")
        dan.once()  # known by its certificate
        bob.once()
        new = c.device("bob")
        check(
            new.one("SELECT v FROM _satchel_kv WHERE k='replica'") > last,
            "a replica id is never given out again",
        )
        c.verify()


def put_back(c, old):
    """The database file of the folder `old`, without any command."""
    for name in ("satchel.db", "satchel.db-wal", "satchel.db-shm"):
        path = os.path.join(c.dir, name)
        if os.path.exists(path):
            os.remove(path)
        if os.path.exists(os.path.join(old, name)):
            shutil.copy(os.path.join(old, name), path)


def an_old_file_undoes_nothing():
    """The same for a file that someone copied back: the journal knows."""
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        unused = c.invite("dan")
        c.stop()
        old = os.path.join(c.top, "old")
        shutil.copytree(c.dir, old)
        c.start()
        dan = c.device("dan", enroll=False)
        dan.enroll(unused)
        last = c.sql("SELECT max(replica) FROM _device")[0][0]
        no = ann.one("SELECT v FROM _satchel_kv WHERE k='replica'")
        c.cmd("device", "revoke", "--device", no)
        bob.sql("INSERT INTO account(name) VALUES ('X')")
        bob.once()
        head = c.json("status")["head"]
        c.stop()
        put_back(c, old)
        c.start()
        equal(ann.once(ok=None), None, "a revoked device stays out")
        state = c.sql("SELECT state FROM _device WHERE replica=?", (no,))
        equal(state, [(2,)], "revoked")
        again = c.device("dan", enroll=False)
        check(again.enroll(unused, ok=None).returncode != 0, "used stays used")
        new = c.device("bob")
        check(
            new.one("SELECT v FROM _satchel_kv WHERE k='replica'") > last,
            "a replica id is never given out again",
        )
        new.sql("INSERT INTO account(name) VALUES ('Y')")
        new.once()
        at = c.sql("SELECT _seq FROM account WHERE name='Y'")[0][0]
        check(at > head + 1000000, f"{at}: positions go on behind a gap")
        bob.once()
        equal(c.sql("SELECT count(*) FROM account")[0][0], 2, "X is back")
        c.verify()


def copied_by_hand(journal):
    with Company() as c:
        ann = c.device("ann")
        ann.sql("INSERT INTO account(name) VALUES ('old')")
        ann.once()
        c.stop()
        old = os.path.join(c.top, "old")
        shutil.copytree(c.dir, old)
        c.start()
        before = c.epoch()
        ann.sql("INSERT INTO account(name) VALUES ('new')")
        ann.once()
        c.stop()
        put_back(c, old)
        if not journal:
            os.remove(os.path.join(c.dir, "journal", "head"))
        c.start()
        if journal:
            check(c.epoch() != before, "seen at the start")
        ann.once()
        check(c.epoch() != before, "seen")
        equal(c.sql("SELECT count(*) FROM account")[0][0], 2, "both are there")
        equal(ann.one("SELECT count(*) FROM account"), 2)
        c.verify()


def an_old_file_is_caught_by_the_journal():
    copied_by_hand(True)


def an_old_file_is_caught_by_the_first_device():
    copied_by_hand(False)


def a_backup_is_of_one_moment():
    """Taken while a device writes: whole transactions, and it verifies."""
    with Company() as c:
        ann = c.device("ann")
        ann.start()
        for n in range(200):
            ann.script(
                f"INSERT INTO account(name) VALUES ('n{n}');"
                f"INSERT INTO task(title) VALUES ('n{n}')"
            )
            if n == 100:
                c.cmd("backup", c.backup)
        done = c.cmd("backup", c.backup, ok=1)
        check("exists" in done.stderr, "never over another one")
        db = sqlite3.connect(os.path.join(c.backup, "satchel.db"))
        a, t = (
            db.execute(f"SELECT count(*) FROM {x}").fetchone()[0]
            for x in ("account", "task")
        )
        equal(a, t, "no half transaction")
        db.close()
        other = os.path.join(c.top, "elsewhere")
        run([SERVER, "restore", "--dir", other, c.backup])
        run([SERVER, "verify", "--dir", other])
        busy = c.restore(ok=75)
        check("uses" in busy.stderr, "not under a running server")
        wait_for(
            "all arrived",
            lambda: c.sql("SELECT count(*) FROM task")[0][0] == 200,
        )


main(
    [
        example_14_nobody_does_anything,
        parked_until_the_window_is_closed,
        only_what_was_lost_is_asked_for,
        the_window_closes_when_all_are_back,
        the_window_closes_in_the_end,
        rejected_stays_rejected,
        the_journal_wins_over_the_table,
        an_old_file_undoes_nothing,
        an_old_file_is_caught_by_the_journal,
        an_old_file_is_caught_by_the_first_device,
        a_backup_is_of_one_moment,
    ]
)
