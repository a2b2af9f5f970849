"""The rarer reasons why a server, or the device itself, refuses a change: each
ends in the rejected list with its content, as a sentence in both languages.
"""
# timeout: 200

import json
import os
import sqlite3

from harness import Org, check, equal, main

DAY_MS = 24 * 3600 * 1000


class Company(Org):
    def __enter__(self):
        super().__enter__()
        self.territory("CN", "nation")
        self.territory("EAST", "region", "CN")
        self.territory("T1", "patch", "EAST")
        self.territory("T2", "patch", "EAST")
        for login in ("ann", "bob"):
            self.user(login, "rep", "T1")
        self.user("cid", "rep", "T2")
        self.user("mia", "manager", "EAST")
        self.start()
        return self

    @property
    def backup(self):
        return os.path.join(self.top, "backup")


def last(d):
    """(reason, English, Chinese, content) of the newest entry."""
    en = d.json("rejected")[-1]
    zh = json.loads(d.cli("rejected", "--lang", "zh", "--json").stdout)[-1]
    shown = d.json("rejected", "show", str(en["n"]))
    return en["reason"], en["sentence"], zh["sentence"], shown


def holds(entry, reason, en, zh, field, value):
    equal(entry[0], reason)
    check(en in entry[1], f"{en!r} in {entry[1]!r}")
    check(zh in entry[2], f"{zh!r} in {entry[2]!r}")
    check(any(x["field"] == field and x["after"] == value
              for x in entry[3]), f"content of {reason}: {entry[3]}")


def gone():
    """The account was made after the backup by somebody who never comes
    back: an edit of it has nothing to go to."""
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        c.cmd("backup", c.backup)
        ann.sql("INSERT INTO account(name) VALUES ('X')")
        ann.once()
        bob.once()
        bob.sql("UPDATE account SET phone='7'")
        bob.once()
        c.stop()
        c.cmd("restore", c.backup)
        c.start()
        bob.once()
        equal(bob.json("rejected"), [], "it waits for Ann")
        c.cmd("recovery", "close")
        bob.once()
        holds(last(bob), "gone", "no longer exists", "已不存在", "phone", "7")
        c.verify()


def forged():
    """A program names what it cannot have seen as the base of its write."""
    with Company() as c:
        ann = c.device("ann")
        ann.sql("INSERT INTO account(name) VALUES ('X')")
        ann.once()
        x = ann.one("SELECT id FROM account")
        ann.sql(
            "INSERT INTO _satchel_intent(\"table\", id, field, value, context)"
            " VALUES ('account', ?, 'phone', '8', '9:1000000')", (x,)
        )
        ann.once()
        holds(last(ann), "forged", "edits that nobody made", "不存在的修改",
              "phone", "8")
        equal(ann.one("SELECT phone FROM account"), None)
        # A right one through the same door is a change like any other.
        ann.sql(
            "INSERT INTO _satchel_intent(\"table\", id, field, value, context)"
            " VALUES ('account', ?, 'phone', '9', '')", (x,)
        )
        equal(ann.once(), 1, "only the forged one is listed")
        equal(ann.one("SELECT phone FROM account"), "9")
        c.verify()


def too_late():
    """Cid's access to T1 ended 40 days ago, and then his edit comes."""
    with Company() as c:
        ann, cid = c.device("ann"), c.device("cid")
        ann.sql("INSERT INTO account(name) VALUES ('X')")
        ann.once()
        c.cmd("grant", "add", "--login", "cid", "--territory", "T1")
        cid.once()
        grants = [g["grant"] for g in c.json("grant", "list")
                  if (g["login"], g["territory"]) == ("cid", "T1")]
        cid.sql("UPDATE account SET phone='late' WHERE name='X'")
        c.cmd("grant", "remove", "--grant", str(grants[0]))
        c.stop()
        db = sqlite3.connect(os.path.join(c.dir, "satchel.db"))
        with db:  # time goes by
            for t in ("_rights", "_seq_time"):
                db.execute(f"UPDATE {t} SET at_ms = at_ms - ?", (40 * DAY_MS,))
        db.close()
        c.start()
        equal(cid.once(), 1)
        holds(last(cid), "too_late", "your access ended", "权限已结束",
              "phone", "late")
        equal(cid.sql("SELECT name FROM account"), [], "and it has left him")
        mia = c.device("mia")
        equal(mia.one("SELECT phone FROM account"), None, "no effect")
        # A note without values for whoever is responsible.
        notes = mia.sql(
            "SELECT shown_value, losing_value, base_value FROM conflict"
        )
        equal(notes, [(None, None, None)])
        c.verify()


def depends():
    with Company() as c:
        ann, mia = c.device("ann"), c.device("mia")
        ann.once()
        mia.once()
        t2 = mia.one("SELECT id FROM territory WHERE code='T2'")
        ann.sql("INSERT INTO account(name, territory_id) VALUES ('X', ?)",
                (t2,))
        ann.once()
        x = ann.json("rejected", "show", "1")[0]["id"]
        ann.sql("INSERT INTO visit(account_id, notes) VALUES (?, 'tea')", (x,))
        equal(ann.once(), 2)
        holds(last(ann), "depends", "another change that was refused",
              "另一项被拒绝的更改", "notes", "tea")


main([gone, forged, too_late, depends])
