"""What the server did not accept: nothing behind it waits, the reason is a
sentence in two languages, content and reason stay, and a person corrects it,
sends it again, or drops it."""
# timeout: 300

import json
import os
import uuid

from harness import Org, check, equal, main, wait_for


class Company(Org):
    def __enter__(self):
        super().__enter__()
        self.territory("CN", "nation")
        self.territory("EAST", "region", "CN")
        self.territory("T1", "patch", "EAST")
        self.territory("T2", "patch", "EAST")
        self.user("ann", "rep", "T1")
        self.user("cid", "rep", "T2")
        self.user("mia", "manager", "EAST")
        self.start()
        return self


def reasons(d):
    return [(x["n"], x["reason"]) for x in d.json("rejected")]


def lost_visit(d, notes="tea"):
    """A visit to an account that nobody has."""
    d.sql(
        "INSERT INTO visit(account_id, notes) VALUES (?, ?)",
        (str(uuid.uuid4()), notes),
    )


def one_bad_changeset_blocks_nothing():
    with Company() as c:
        ann, mia = c.device("ann"), c.device("mia")
        ann.sql("INSERT INTO account(name) VALUES ('X')")
        ann.once()
        lost_visit(ann)
        equal(ann.once(), 1, "one rejected")
        ann.sql("UPDATE account SET phone='1'")
        equal(ann.once(), 1, "still listed")
        mia.once()
        equal(mia.sql("SELECT name, phone FROM account"), [("X", "1")])
        equal(ann.sql("SELECT count(*) FROM visit"), [(0,)], "not shown")
        equal(reasons(ann), [(1, "parent")])
        s = ann.status()
        equal((s["rejected"], s["missing"], s["outbox"]), (1, 0, 0))
        check("satchel rejected" in ann.cli("status").stdout, "next command")
        c.verify()


def content_and_reason_stay():
    """Restarts of the daemon, a newer catalogue, a restart of the server."""
    with Company() as c:
        ann = c.device("ann")
        ann.once()
        lost_visit(ann, "很重要")
        ann.once()
        before = ann.json("rejected"), ann.json("rejected", "show", "1")
        check(any(x["after"] == "很重要" for x in before[1]), "content")
        ann.start()
        wait_for("a daemon", lambda: ann.status()["connection"] == "connected")
        ann.kill()
        newer = os.path.join(c.top, "newer.json")
        with open(
            os.path.join(
                os.environ["SATCHEL_SOURCE"], "proto/catalogue/field_sales.json"
            )
        ) as f:
            text = json.load(f)
        text["version"] += 1
        text["tables"][3]["columns"].append(
            {
                "name": "shoe_size",
                "no": 900,
                "type": "int",
                "label": {"en": "Shoe size", "zh": "鞋码"},
            }
        )
        with open(newer, "w") as f:
            json.dump(text, f)
        c.cmd("catalogue", "apply", newer)
        c.stop()
        c.start()
        ann.once()
        equal(ann.status()["catalogue"], text["version"])
        after = ann.json("rejected"), ann.json("rejected", "show", "1")
        equal(after, before, "the list")
        check("访" in ann.cli("rejected", "--lang", "zh").stdout, "in Chinese")


def edit_sends_it_again():
    with Company() as c:
        ann, mia = c.device("ann"), c.device("mia")
        ann.sql("INSERT INTO account(name) VALUES ('X')")
        ann.once()
        x = ann.one("SELECT id FROM account")
        lost_visit(ann)
        ann.once()
        no = ann.cli("rejected", "edit", "1", ok=2)
        check("--set" in no.stderr, no.stderr)
        ann.cli("rejected", "edit", "1", "--set", "visit.nothing=1", ok=1)
        ann.cli("rejected", "edit", "1", "--set", "task.title=1", ok=1)
        ann.cli("rejected", "edit", "1", "--set", "nonsense", ok=2)
        bad = ann.cli(
            "rejected", "edit", "1", "--set", "visit.outcome=x", ok=1
        )
        check("Outcome" in bad.stderr, bad.stderr)
        equal(reasons(ann), [(1, "parent")], "a refused edit changes nothing")
        ann.cli(
            "rejected", "edit", "1",
            "--set", "visit.account_id=" + x, "--set", "visit.notes=more tea",
        )
        equal(ann.json("rejected"), [])
        equal(ann.once(), 0)
        mia.once()
        equal(mia.sql("SELECT account_id, notes FROM visit"), [(x, "more tea")])
        # The same with a file in the form that `show --json` has.
        lost_visit(ann, "soup")
        ann.once()
        lines = ann.json("rejected", "show", "1")
        for line in lines:
            if line["field"] == "account_id":
                line["after"] = x
        path = os.path.join(c.top, "edit.json")
        with open(path, "w") as f:
            json.dump(lines, f)
        ann.cli("rejected", "edit", "1", "--file", path)
        equal(ann.once(), 0)
        mia.once()
        equal(mia.one("SELECT account_id FROM visit WHERE notes='soup'"), x)
        c.verify()


def a_group_goes_together():
    """A visit and a task on an account that was rejected: each depends on it;
    correcting one of them sends all, in order."""
    with Company() as c:
        ann, mia = c.device("ann"), c.device("mia")
        ann.once()
        mia.once()
        t1, t2 = (
            mia.one("SELECT id FROM territory WHERE code=?", (t,))
            for t in ("T1", "T2")
        )
        ann.sql("INSERT INTO account(name, territory_id) VALUES ('X', ?)", (t2,))
        ann.once()
        # A second and a third changeset that build on the first. The row is
        # gone from the replica; an app may still hold its id.
        x = ann.json("rejected", "show", "1")[0]["id"]
        ann.sql("INSERT INTO visit(account_id, notes) VALUES (?, 'tea')", (x,))
        ann.once()
        ann.sql("INSERT INTO task(account_id, title) VALUES (?, 'call')", (x,))
        ann.once()
        lost_visit(ann, "on its own")
        ann.once()
        equal(
            reasons(ann),
            [(1, "scope"), (2, "depends"), (3, "depends"), (4, "parent")],
        )
        out = ann.json("rejected", "edit", "1", "--set", "account.territory_id=" + t1)
        equal(out, {"retried": 3})
        ann.once()
        equal(reasons(ann), [(4, "parent")])
        mia.once()
        equal(mia.sql("SELECT id, name FROM account"), [(x, "X")])
        equal(mia.sql("SELECT account_id, notes FROM visit"), [(x, "tea")])
        equal(mia.sql("SELECT account_id, title FROM task"), [(x, "call")])
        c.verify()


def trying_again_claims_no_more_than_was_seen():
    """Mia changes the phone while Ann's change waits in the list: the retry
    is a conflict that both can see."""
    with Company() as c:
        ann, mia = c.device("ann"), c.device("mia")
        ann.sql("INSERT INTO account(name, phone) VALUES ('X', '100')")
        ann.once()
        mia.once()
        x = ann.one("SELECT id FROM account")
        ann.sql(
            "UPDATE account SET phone='111', parent_id=?", (str(uuid.uuid4()),)
        )
        ann.once()
        equal(reasons(ann), [(1, "parent")])
        mia.sql("UPDATE account SET phone='222'")
        mia.once()
        ann.once()
        equal(ann.one("SELECT phone FROM account"), "222")
        ann.cli("rejected", "edit", "1", "--set", "account.parent_id=" + x)
        equal(ann.one("SELECT phone FROM account"), "111", "shown at once")
        equal(ann.once(), 0)
        mia.once()
        equal(
            mia.sql("SELECT field, shown_value, losing_value, state FROM conflict"),
            [("phone", "111", "222", "auto")],
        )
        c.verify()


def real_reasons_are_sentences():
    """Each reason that a tampered or mistaken device can get, said in both
    languages with the catalogue's labels."""
    with Company() as c:
        ann, cid = c.device("ann"), c.device("cid")
        ann.sql("INSERT INTO account(name) VALUES ('X')")
        ann.once()
        cid.sql("INSERT INTO account(name) VALUES ('Y')")
        cid.once()
        y = cid.one("SELECT id FROM account")
        t2 = ann.org.sql("SELECT lower(hex(id)) FROM territory WHERE code='T2'")
        t2 = str(uuid.UUID(t2[0][0]))

        def get(*statements):
            before = {x["n"] for x in ann.json("rejected")}
            with_triggers_gone(ann, statements)
            ann.once()
            new = [x for x in ann.json("rejected") if x["n"] not in before]
            equal(len(new), 1, f"{statements}: entries")
            zh = json.loads(
                ann.cli("rejected", "--lang", "zh", "--json").stdout
            )[-1]
            return new[0]["reason"], new[0]["sentence"], zh["sentence"]

        for statement, reason, en, zh in (
            ("UPDATE account SET class='x'", "value", "Class", "客户分类"),
            ("INSERT INTO account(phone) VALUES('1')", "required", "Name", "名称"),
            (f"INSERT INTO account(name, territory_id) VALUES('Z', '{t2}')",
             "scope", "territories", "区域"),
            (f"INSERT INTO visit(account_id) VALUES('{y}')", "parent",
             "does not exist", "不存在"),
            ("UPDATE account SET phone=CAST(x'41ff' AS TEXT)", "encoding",
             "bytes that are not text", "无法识别"),
        ):
            got = get(statement)
            equal(got[0], reason, statement)
            check(en in got[1], f"{en!r} in {got[1]!r}")
            check(zh in got[2], f"{zh!r} in {got[2]!r}")
        equal(ann.sql("SELECT name, phone FROM account"), [("X", None)])
        n = len(ann.json("rejected"))
        equal(ann.json("rejected", "discard", "all"), {"discarded": n})
        c.verify()


def with_triggers_gone(d, statements):
    """Run them with only the capturing triggers in force."""
    checks = d.sql(
        "SELECT name, sql FROM sqlite_master WHERE type='trigger' "
        "AND name LIKE '\\_satchel\\_%\\_check' ESCAPE '\\'"
    )
    d.script(
        "".join(f"DROP TRIGGER {n};" for n, _ in checks)
        + "".join(s + ";" for s in statements)
        + "".join(s + ";" for _, s in checks)
    )


main(
    [
        one_bad_changeset_blocks_nothing,
        content_and_reason_stay,
        edit_sends_it_again,
        a_group_goes_together,
        trying_again_claims_no_more_than_was_seen,
        real_reasons_are_sentences,
    ]
)
