"""The main job and the worked examples of the design, with real programs.

Ann and Bob are reps of one patch, Mia their regional manager, Hugo HQ.
"""
# timeout: 400

import time

from harness import Org, check, equal, main, same_content, wait_for


class Company(Org):
    """Nation, region, two patches; Ann and Bob in T1, Cid in T2."""

    def __enter__(self):
        super().__enter__()
        self.territory("CN", "nation")
        self.territory("EAST", "region", "CN")
        self.territory("T1", "patch", "EAST")
        self.territory("T2", "patch", "EAST")
        for login, role, place in (
            ("ann", "rep", "T1"),
            ("bob", "rep", "T1"),
            ("cid", "rep", "T2"),
            ("mia", "manager", "EAST"),
            ("hugo", "hq", "CN"),
        ):
            self.user(login, role, place)
        self.start()
        return self

    def pair(self, values="name='X', phone='100', email='a@x'"):
        """Two devices that hold account X and are offline."""
        ann, bob = self.device("ann"), self.device("bob")
        names = [v.split("=")[0] for v in values.split(", ")]
        texts = [v.split("=", 1)[1] for v in values.split(", ")]
        ann.sql(
            f"INSERT INTO account({', '.join(names)}) VALUES ({', '.join(texts)})"
        )
        ann.once()
        bob.once()
        self.x = ann.one("SELECT id FROM account")
        equal(bob.one("SELECT id FROM account"), self.x, "bob's X")
        return ann, bob

    def settle(self, *devices):
        """Sync until everybody has seen everybody."""
        for _ in range(2):
            for d in devices:
                equal(d.once(), 0, f"{d.login}: rejected")


LEDGER = (
    "SELECT field, policy, shown_value, losing_value, base_value, state "
    "FROM conflict WHERE state IN ('auto', 'open') ORDER BY field"
)


def example_1_different_fields():
    with Company() as c:
        ann, bob = c.pair()
        ann.sql("UPDATE account SET phone='111'")
        bob.sql("UPDATE account SET email='b@x'")
        c.settle(bob, ann)
        for d in (ann, bob):
            equal(d.one("SELECT phone, email FROM account"), ("111", "b@x"))
            equal(d.sql(LEDGER), [], "no ledger entry")
        c.verify()


def example_2_same_field():
    with Company() as c:
        ann, bob = c.pair()
        ann.sql("UPDATE account SET phone='111'")
        time.sleep(0.05)
        bob.sql("UPDATE account SET phone='222'")
        c.settle(bob, ann)
        for d in (ann, bob):
            equal(d.one("SELECT phone FROM account"), "222")
            equal(
                d.sql(LEDGER),
                [("phone", "lww", "222", "111", "100", "auto")],
                d.login,
            )
            who = d.one(
                "SELECT s.login, l.login FROM conflict c "
                "JOIN user s ON s.id = c.shown_by "
                "JOIN user l ON l.id = c.losing_by"
            )
            equal(who, ("bob", "ann"), "both people")
        c.settle(ann, bob)
        equal(len(ann.sql(LEDGER)), 1, "syncing again adds nothing")


def example_3_a_clock_a_year_ahead():
    with Company() as c:
        ann, bob = c.pair()
        # Bob's statement is captured with the time of his device; write it
        # into the pending row as a device a year ahead would have.
        year = 365 * 24 * 3600 * 1000
        bob.sql("UPDATE account SET phone='222'")
        ann.sql("UPDATE account SET phone='111'")
        bob.sql("UPDATE _satchel_pending SET at = at + ?", (year,))
        c.settle(bob, ann)
        stamp = ann.one("SELECT max(shown_at) FROM conflict")
        check(
            stamp < time.time() * 1000 + 60000,
            "a stamp from the future is clamped to the server's clock",
        )


def example_4_no_conflict_with_oneself():
    with Company() as c:
        ann, bob = c.pair()
        ann.start()
        ann.stop()
        ann.sql("UPDATE account SET phone='111'")
        # Harvested apart: an attempt without a server makes a changeset.
        c.stop()
        ann.once(ok=3, timeout=1)
        ann.sql("UPDATE account SET phone='112'")
        ann.once(ok=3, timeout=1)
        c.start()
        c.settle(ann, bob)
        for d in (ann, bob):
            equal(d.one("SELECT phone FROM account"), "112")
            equal(d.sql(LEDGER), [])


def example_5_keep_and_resolve():
    with Company() as c:
        ann, bob = c.pair()
        mia = c.device("mia")
        ann.sql("UPDATE account SET name='X Ltd'")
        time.sleep(0.05)
        bob.sql("UPDATE account SET name='X GmbH'")
        c.settle(ann, bob, mia)
        for d in (ann, bob, mia):
            equal(d.one("SELECT name FROM account"), "X GmbH")
            equal(len(d.sql(LEDGER)), 1)
            equal(d.sql(LEDGER)[0][5], "open")
            siblings = d.sql("SELECT value FROM satchel_siblings ORDER BY 1")
            equal(siblings, [("X GmbH",), ("X Ltd",)], d.login)
        conflict = mia.one("SELECT id FROM conflict WHERE state='open'")
        mia.cli("resolve", conflict, "--keep", "other")
        c.settle(mia, ann, bob)
        for d in (ann, bob, mia):
            equal(d.one("SELECT name FROM account"), "X Ltd", d.login)
            equal(d.sql(LEDGER), [], "resolved on every device")
            equal(d.one("SELECT state FROM conflict"), "resolved")


def example_6_delete_against_update():
    with Company() as c:
        ann, bob = c.pair()
        ann.sql("DELETE FROM account")
        bob.script(
            "INSERT INTO visit(account_id, outcome) "
            "SELECT id, 'done' FROM account;"
            "UPDATE account SET phone='999'"
        )
        c.settle(ann, bob)
        for d in (ann, bob):
            equal(d.one("SELECT name, phone FROM account"), ("X", "999"))
            equal(d.one("SELECT count(*) FROM visit"), 1)
            entry = d.one("SELECT policy, state FROM conflict")
            equal(entry, ("delete", "open"), "Ann's delete is told")


def example_7_counter():
    with Company() as c:
        ann, bob = c.pair("name='X', visit_count=4")
        ann.sql("UPDATE account SET visit_count = visit_count + 1")
        bob.sql("UPDATE account SET visit_count = visit_count + 2")
        c.settle(ann, bob, ann)
        for d in (ann, bob):
            equal(d.one("SELECT visit_count FROM account"), 7, d.login)


def example_8_set():
    with Company() as c:
        ann, bob = c.pair("name='X', tags='[\"vip\"]'")
        ann.sql("UPDATE account SET tags='[\"gold\"]'")
        c.stop()
        bob.sql("UPDATE account SET tags='[]'")
        bob.once(ok=3, timeout=1)
        bob.sql("UPDATE account SET tags='[\"vip\"]'")
        bob.once(ok=3, timeout=1)
        c.start()
        c.settle(ann, bob)
        for d in (ann, bob):
            equal(d.one("SELECT tags FROM account"), '["gold","vip"]')


def example_9_ordered_stage():
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        ann.sql("INSERT INTO opportunity(name, stage) VALUES ('D', 'opportunity')")
        c.settle(ann, bob)
        ann.sql("UPDATE opportunity SET stage='contract'")
        bob.sql("UPDATE opportunity SET stage='lost', lost_reason='price'")
        c.settle(bob, ann)
        for d in (ann, bob):
            equal(d.one("SELECT stage FROM opportunity"), "lost")
            equal([r[5] for r in d.sql(LEDGER)], ["auto"])
        ann.sql("UPDATE opportunity SET stage='opportunity'")
        c.settle(ann, bob)
        ann.sql("UPDATE opportunity SET stage='won'")
        bob.sql("UPDATE opportunity SET stage='lost'")
        c.settle(ann, bob)
        equal([r[5] for r in ann.sql(LEDGER)], ["open"], "two ends")
        equal(
            ann.one("SELECT stage FROM opportunity"),
            bob.one("SELECT stage FROM opportunity"),
        )


def example_10_atomic():
    with Company() as c:
        ann, bob = c.pair()
        bob.start()
        ann.start()
        for n in range(30):
            ann.script(
                "INSERT INTO visit(account_id, notes) "
                f"SELECT id, 'n{n}' FROM account;"
                "INSERT INTO task(account_id, title) "
                f"SELECT id, 'n{n}' FROM account;"
                f"UPDATE account SET phone='n{n}'"
            )
        def seen():
            row = bob.one(
                "SELECT (SELECT count(*) FROM visit), (SELECT count(*) "
                "FROM task), (SELECT phone FROM account)"
            )
            check(row[0] == row[1], f"half a transaction: {row}")
            check(row[0] == 0 or row[2] == f"n{row[0] - 1}", f"torn: {row}")
            return row[0] == 30
        wait_for("bob has all of it", seen)


def example_12_refused_offline_and_by_the_server():
    with Company() as c:
        ann, mia = c.device("ann"), c.device("mia")
        mia.sql(
            "INSERT INTO target(territory_id, metric, period, start_day, value)"
            " SELECT id, 'visits', 'month', '2026-12-01', 100 FROM territory "
            "WHERE code='T1'"
        )
        c.settle(mia, ann)
        equal(ann.one("SELECT value FROM target"), 100)
        refused = ann.cli("sql", "UPDATE target SET value=1", ok=1)
        for word in ("target", "value", "rep"):
            check(word in refused.stderr, f"{word} in: {refused.stderr}")
        equal(ann.one("SELECT value FROM target"), 100)


def the_main_job():
    """Rep offline, manager and HQ see it; scopes keep others out."""
    with Company() as c:
        ann, cid = c.device("ann"), c.device("cid")
        mia, hugo = c.device("mia"), c.device("hugo")
        ann.sql("INSERT INTO account(name, class) VALUES ('永和便利店', 'vip')")
        ann.cli("log-visit", "--account", "永和", "--outcome", "order")
        ann.sql(
            "INSERT INTO opportunity(name, account_id, stage, amount) "
            "SELECT '补货', id, 'contract', 123456 FROM account"
        )
        cid.sql("INSERT INTO account(name) VALUES ('Cid only')")
        s = ann.status()
        equal(s["missing"], 0, "nothing is missing offline")
        c.settle(ann, cid, mia, hugo)
        equal(same_content([mia, hugo], "account", "id, name, class"), 2)
        equal(mia.sql("SELECT outcome FROM visit"), [("order",)])
        equal(cid.sql("SELECT name FROM account"), [("Cid only",)])
        equal(hugo.sql("SELECT amount FROM opportunity"), [(123456,)])
        totals = c.json("report", "pipeline", "--by", "stage")
        equal([(r["stage"], r["amount"]) for r in totals], [("contract", 1234.56)])
        equal(mia.status()["digest"], "equal")
        c.verify()


def live_push():
    """Both online: an edit of one is in the other's replica at once."""
    with Company() as c:
        ann, bob = c.pair()
        ann.start()
        bob.start()
        for n in range(20):
            ann.sql("UPDATE account SET phone=?", (str(n),))
            wait_for(
                "bob sees the edit",
                lambda n=n: bob.one("SELECT phone FROM account") == str(n),
                5,
            )
        equal(ann.stop(), 0, "clean stop")
        equal(bob.stop(), 0, "clean stop")
        equal(c.stop(), 0, "clean stop of the server")


if __name__ == "__main__":
    main(
        [
            the_main_job,
            live_push,
            example_1_different_fields,
            example_2_same_field,
            example_3_a_clock_a_year_ahead,
            example_4_no_conflict_with_oneself,
            example_5_keep_and_resolve,
            example_6_delete_against_update,
            example_7_counter,
            example_8_set,
            example_9_ordered_stage,
            example_10_atomic,
            example_12_refused_offline_and_by_the_server,
        ]
    )
