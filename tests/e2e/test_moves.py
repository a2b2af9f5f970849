"""Territories, grants and accounts change hands while people work.

Worked example 11 in all its orders; grants added, removed and running out
while a device is connected and while it is not; a whole patch handed over,
looked at first (--dry-run) and taken back (undo).
"""
# timeout: 400

import itertools
import time

from harness import Failed, check, equal, main, wait_for
from test_main import Company

MOVED = "SELECT kind, state, table_name FROM conflict ORDER BY table_name"


def grants_of(c, login):
    return [g for g in c.json("grant", "list") if g["login"] == login]


def until(what, predicate, seconds=1.0):
    """A promise about time: measured, and kept with the patience of slow
    builds only."""
    began = time.monotonic()
    wait_for(what, predicate, seconds)
    return time.monotonic() - began


def settled(*devices):
    for _ in range(2):
        for d in devices:
            equal(d.once(), 0, f"{d.login}: rejected")


def example_11():
    """X moves from Ann to Cid; Ann, offline, edits it and logs a visit. The
    move before or after her edits, Ann or Cid first to sync."""
    for move_first, order in itertools.product(
        (True, False), (("ann", "cid"), ("cid", "ann"), ("ann", "cid", "ann"))
    ):
        with Company() as c:
            ann, _ = c.pair()
            cid = c.device("cid")
            cid.once()
            move = ("account", "move", "--account", "X", "--territory", "T2")
            if move_first:
                c.cmd(*move)
            ann.sql("UPDATE account SET phone='111'")
            ann.sql(
                "INSERT INTO visit(account_id, notes) "
                "SELECT id, 'seen' FROM account"
            )
            if not move_first:
                c.cmd(*move)
            for login in order:
                d = ann if login == "ann" else cid
                equal(d.once(), 0, f"{order}: {login}: rejected")
            settled(ann, cid)
            equal(cid.one("SELECT name, phone FROM account"), ("X", "111"))
            equal(cid.one("SELECT notes FROM visit"), "seen")
            equal(
                cid.one(
                    "SELECT t.code FROM visit v JOIN territory t "
                    "ON t.id = v.territory_id"
                ),
                "T2",
                "the visit went after its account",
            )
            for table in ("account", "visit"):
                equal(ann.sql(f"SELECT * FROM {table}"), [], f"Ann's {table}")
            equal(
                cid.sql(MOVED),
                [("moved", "auto", "account"), ("moved", "auto", "visit")],
                "flagged for the new owner",
            )
            equal(ann.status()["rejected"], 0, "nothing of Ann's is lost")
            c.verify()


def grants_while_connected():
    with Company() as c:
        cid = c.device("cid")
        ann, _ = c.pair()
        for n in range(50):
            ann.sql("INSERT INTO account(name) VALUES (?)", (f"A{n}",))
        ann.once()
        cid.once()
        cid.start()
        wait_for("cid is connected", lambda: cid.status()["connection"] == "connected")
        equal(cid.one("SELECT count(*) FROM account"), 0, "cid's accounts")
        c.cmd("grant", "add", "--login", "cid", "--territory", "T1")
        took = until(
            "the new territory is there",
            lambda: cid.one("SELECT count(*) FROM account") == 51,
        )
        print(f"  granted to visible: {took * 1000:.0f} ms")
        no = max(g["grant"] for g in grants_of(c, "cid"))
        cid.sql("UPDATE account SET phone='9' WHERE name='X'")
        c.cmd("grant", "remove", "--grant", str(no))
        took = until(
            "what was lost is gone",
            lambda: cid.one("SELECT count(*) FROM account") == 0,
        )
        print(f"  removed to evicted: {took * 1000:.0f} ms")
        ann.once()
        equal(
            ann.one("SELECT phone FROM account WHERE name='X'"),
            "9",
            "the edit was uploaded first",
        )
        equal(cid.status()["rejected"], 0)
        cid.stop()


def a_grant_runs_out():
    with Company() as c:
        ann, _ = c.pair()
        cid = c.device("cid")
        cid.once()
        cid.start()
        wait_for("cid is connected", lambda: cid.status()["connection"] == "connected")

        def stamp(seconds):
            return time.strftime(
                "%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds)
            )

        c.cmd(
            *("grant", "add", "--login", "cid", "--territory", "T1"),
            *("--from", stamp(2), "--to", stamp(5)),
        )
        equal(cid.sql("SELECT * FROM account"), [], "not yet")
        wait_for(
            "it begins",
            lambda: cid.one("SELECT count(*) FROM account") == 1,
            5,
        )
        wait_for(
            "it ends", lambda: cid.one("SELECT count(*) FROM account") == 0, 6
        )
        cid.stop()


def grants_while_offline():
    """Lost and regained, and another role: only the columns differ."""
    with Company() as c:
        ann, _ = c.pair()
        mia = c.device("mia")
        mia.once()
        mia.sql("UPDATE account SET credit_limit=500")
        mia.once()
        ann.once()
        equal(ann.one("SELECT credit_limit FROM account"), None)
        c.cmd(
            *("grant", "add", "--login", "ann", "--territory", "T1"),
            *("--role", "manager"),
        )
        ann.once()
        equal(ann.one("SELECT credit_limit FROM account"), 500)
        no = max(g["grant"] for g in grants_of(c, "ann"))
        c.cmd("grant", "remove", "--grant", str(no))
        ann.once()
        equal(
            ann.one("SELECT name, credit_limit FROM account"),
            ("X", None),
            "lost columns are nulled",
        )
        cid = c.device("cid")
        cid.once()
        c.cmd("grant", "add", "--login", "cid", "--territory", "T1")
        cid.once()
        equal(cid.one("SELECT count(*) FROM account"), 1)
        no = max(g["grant"] for g in grants_of(c, "cid"))
        cid.sql("UPDATE account SET phone='7'")  # offline, then it is lost
        c.cmd("grant", "remove", "--grant", str(no))
        equal(cid.once(), 0, "taken: made before he knew")
        equal(cid.sql("SELECT * FROM account"), [])
        ann.once()
        equal(ann.one("SELECT phone FROM account"), "7")


def the_author_moves_it_away():
    with Company() as c:
        ann, bob = c.pair()
        mia = c.device("mia")
        cid = c.device("cid")
        mia.once()
        c.cmd("grant", "add", "--login", "ann", "--territory", "T2")
        ann.once()
        no = max(g["grant"] for g in grants_of(c, "ann"))
        ann.sql(
            "UPDATE account SET territory_id="
            "(SELECT id FROM territory WHERE code='T2')"
        )
        settled(ann, bob, cid)
        equal(bob.sql("SELECT * FROM account"), [], "bob is told")
        equal(cid.one("SELECT name FROM account"), "X")
        equal(ann.one("SELECT name FROM account"), "X", "she sees T2 too")
        c.cmd("grant", "remove", "--grant", str(no))
        ann.once()
        equal(ann.sql("SELECT * FROM account"), [])
        mia.once()
        c.verify()


def a_patch_changes_hands():
    with Company() as c:
        ann, bob = c.pair()
        cid = c.device("cid")
        for n in range(30):
            ann.script(
                f"INSERT INTO account(name) VALUES ('A{n}');"
                "INSERT INTO visit(account_id) SELECT id FROM account "
                f"WHERE name='A{n}'"
            )
        settled(ann, bob, cid)
        hand = ("account", "move", "--from", "T1", "--to", "T2")
        dry = c.json(*hand, "--dry-run")
        equal(dry["accounts"], 31)
        equal(dry["rows"], 31 + 30, "accounts and their visits")
        equal(dry["devices"], 3, "ann's, bob's and cid's")
        cid.once()
        equal(cid.sql("SELECT * FROM account"), [], "a dry run does nothing")
        done = c.json(*hand)
        equal((done["accounts"], done["rows"]), (31, 61))
        settled(ann, bob, cid)
        equal(cid.one("SELECT count(*) FROM account"), 31)
        equal(cid.one("SELECT count(*) FROM visit"), 30)
        equal(ann.sql("SELECT * FROM visit"), [])
        # one of them goes on; undo leaves that one alone
        c.cmd("territory", "add", "--code", "T3", "--name", "T3",
              "--level", "patch", "--parent", "EAST")
        c.cmd("account", "move", "--account", "A7", "--territory", "T3")
        listed = c.json("audit", "list")
        mine = [r for r in listed if r["audit"] == done["audit"]]
        equal([(r["what"], r["undo"]) for r in mine], [("account move", "yes")])
        dry = c.json("undo", str(done["audit"]), "--dry-run")
        equal((dry["accounts"], dry["moved on since"]), (30, 1))
        c.json("undo", str(done["audit"]))
        settled(ann, bob, cid)
        equal(ann.one("SELECT count(*) FROM account"), 30)
        equal(ann.one("SELECT count(*) FROM visit"), 29)
        equal(cid.sql("SELECT * FROM account"), [])
        c.cmd("undo", "1", ok=1)
        c.verify()


def territories_move():
    with Company() as c:
        ann, _ = c.pair()
        c.territory("WEST", "region", "CN")
        c.user("wei", "manager", "WEST")
        mia, wei = c.device("mia"), c.device("wei")
        settled(mia, wei)
        equal(wei.sql("SELECT * FROM account"), [])
        move = ("territory", "move", "--code", "T1", "--parent", "WEST")
        dry = c.json(*move, "--dry-run")
        # X and the figure it counts in
        equal((dry["rows"], dry["devices"]), (2, 2), "mia loses, wei gets X")
        done = c.json(*move)
        settled(mia, wei, ann)
        equal(mia.sql("SELECT * FROM account"), [])
        equal(wei.one("SELECT name FROM account"), "X")
        equal(ann.one("SELECT name FROM account"), "X")
        c.json("undo", str(done["audit"]))
        settled(mia, wei)
        equal(wei.sql("SELECT * FROM account"), [])
        equal(mia.one("SELECT name FROM account"), "X")
        no = grants_of(c, "mia")[0]["grant"]
        dry = c.json("grant", "remove", "--grant", str(no), "--dry-run")
        equal((dry["rows"], dry["devices"]), (2, 1))
        gone = c.json("grant", "remove", "--grant", str(no))
        mia.once()
        equal(mia.sql("SELECT * FROM account"), [])
        c.json("undo", str(gone["audit"]))
        mia.once()
        equal(mia.one("SELECT name FROM account"), "X")
        c.verify()


if __name__ == "__main__":
    main(
        [
            example_11,
            grants_while_connected,
            a_grant_runs_out,
            grants_while_offline,
            the_author_moves_it_away,
            a_patch_changes_hands,
            territories_move,
        ]
    )
