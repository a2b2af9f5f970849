"""The conflict ledger: queues for managers, losing values that stay and can be
brought back, and answers that settle."""
# timeout: 300

import time

from harness import Org, check, equal, main


class Company(Org):
    def __enter__(self):
        super().__enter__()
        self.territory("CN", "nation")
        for region in ("EAST", "WEST"):
            self.territory(region, "region", "CN")
        self.territory("T1", "patch", "EAST")
        self.territory("T2", "patch", "EAST")
        self.territory("W1", "patch", "WEST")
        for login, role, place in (
            ("ann", "rep", "T1"),
            ("bob", "rep", "T1"),
            ("cid", "rep", "W1"),
            ("dan", "rep", "W1"),
            ("mia", "manager", "EAST"),
            ("hugo", "hq", "CN"),
        ):
            self.user(login, role, place)
        self.start()
        return self

    def settle(self, *devices):
        for _ in range(2):
            for d in devices:
                equal(d.once(), 0, f"{d.login}: rejected")

    def head(self):
        return self.json("status")["head"]


def fight(c, one, two, field="name", values=("One", "Two"), **start):
    """Two people who change the same field of one account at once."""
    start = {"name": "X", **start}
    names = ", ".join(start)
    marks = ", ".join("?" * len(start))
    one.sql(
        f"INSERT INTO account({names}) VALUES ({marks})", tuple(start.values())
    )
    one.once()
    two.once()
    one.sql(f"UPDATE account SET {field}=?", (values[0],))
    time.sleep(0.02)
    two.sql(f"UPDATE account SET {field}=?", (values[1],))
    c.settle(one, two)


def queues_by_territory():
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        cid, dan = c.device("cid"), c.device("dan")
        hugo, mia = c.device("hugo"), c.device("mia")
        fight(c, ann, bob, "name", ("East 1", "East 2"))
        fight(c, cid, dan, "phone", ("1", "2"))
        c.settle(hugo, mia)

        def fields(d, *words):
            return sorted(x["field"] for x in d.json("conflicts", *words))

        equal(fields(hugo), ["name"], "open ones")
        equal(fields(hugo, "--state", "all"), ["name", "phone"])
        equal(fields(hugo, "--state", "auto"), ["phone"])
        equal(fields(hugo, "--state", "all", "--territory", "EAST"), ["name"])
        equal(fields(hugo, "--state", "all", "--territory", "T2"), [])
        equal(fields(hugo, "--state", "all", "--territory", "W1"), ["phone"])
        equal(fields(hugo, "--state", "all", "--territory", "CN"),
              ["name", "phone"])
        equal(fields(mia, "--state", "all"), ["name"], "her region only")
        equal(fields(mia, "--state", "all", "--mine"), [])
        equal(fields(ann, "--mine"), ["name"])
        c.verify()


def a_losing_value_comes_back():
    """lww: the loser restores by an ordinary write that covers both."""
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        fight(c, ann, bob, "phone", ("111", "222"), phone="100")
        entry = ann.json("conflicts", "--state", "auto")[0]
        equal((entry["shown"], entry["other"]), ("222", "111"))
        ann.cli("restore", entry["id"])
        equal(ann.one("SELECT phone FROM account"), "111", "shown at once")
        c.settle(ann, bob)
        equal(bob.one("SELECT phone FROM account"), "111")
        equal(
            bob.sql("SELECT losing_value, state FROM conflict"),
            [("111", "superseded")],
            "no new conflict: both had been seen",
        )
        again = ann.cli("restore", entry["id"], ok=1)
        check("shown now" in again.stderr, again.stderr)
        c.verify()


def losing_values_survive_ten_edits():
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        fight(c, ann, bob, "phone", ("111", "222"), phone="100")
        entry = ann.json("conflicts", "--state", "auto")[0]["id"]
        for n in range(10):
            (ann, bob)[n % 2].sql("UPDATE account SET phone=?", (f"edit {n}",))
            c.settle(ann, bob)
        for d in (ann, bob):
            equal(
                d.sql("SELECT losing_value, base_value FROM conflict WHERE id=?",
                      (entry,)),
                [("111", "100")],
            )
        bob.cli("restore", entry)
        c.settle(bob, ann)
        equal(ann.one("SELECT phone FROM account"), "111")
        c.verify()


def two_answers_at_once():
    """Both answer the same open conflict offline, differently: one stands
    everywhere, and nothing moves any more."""
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        fight(c, ann, bob)
        entry = ann.json("conflicts")[0]["id"]
        equal(bob.json("conflicts")[0]["id"], entry)
        ann.cli("resolve", entry, "--keep", "One")
        time.sleep(0.02)
        bob.cli("resolve", entry, "--keep", "Two")
        c.settle(ann, bob)
        head = c.head()
        for _ in range(3):
            c.settle(ann, bob)
        equal(c.head(), head, "no ping-pong: the server's head stands still")
        for d in (ann, bob):
            equal(d.one("SELECT name FROM account"), "Two", d.login)
            equal(d.sql("SELECT * FROM conflict WHERE state='open'"), [])
        equal(
            ann.sql("SELECT id, state, outcome, losing_value FROM conflict "
                    "ORDER BY id"),
            bob.sql("SELECT id, state, outcome, losing_value FROM conflict "
                    "ORDER BY id"),
        )
        lost = [x for (x,) in ann.sql("SELECT losing_value FROM conflict")]
        check("One" in lost, f"the answer that lost is kept: {lost}")
        c.verify()


def an_edit_closes_an_open_entry():
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        fight(c, ann, bob)
        ann.sql("UPDATE account SET name='Three'")
        c.settle(ann, bob)
        equal(
            bob.sql("SELECT state, outcome FROM conflict"),
            [("resolved", "covered_by_edit")],
        )
        settled = bob.cli(
            "resolve", bob.one("SELECT id FROM conflict"), "--keep", "shown",
            ok=1,
        )
        check("restore" in settled.stderr, settled.stderr)
        c.verify()


def a_deleted_parent_comes_back():
    """Ann deletes X, Bob only logs a visit on it: one command restores X."""
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        ann.sql("INSERT INTO account(name, phone) VALUES ('X', '1')")
        ann.once()
        bob.once()
        x = bob.one("SELECT id FROM account")
        ann.sql("DELETE FROM account")
        bob.sql("INSERT INTO visit(account_id, notes) VALUES (?, 'tea')", (x,))
        c.settle(ann, bob)
        for d in (ann, bob):
            equal(d.sql("SELECT id FROM account"), [], f"{d.login}: deleted")
            equal(d.sql("SELECT notes FROM visit"), [("tea",)], d.login)
        (entry,) = bob.json("conflicts")
        equal(entry["kind"], "orphan")
        bob.cli("restore", entry["id"])
        c.settle(bob, ann)
        for d in (ann, bob):
            equal(d.sql("SELECT name, phone FROM account"), [("X", "1")], d.login)
        equal(bob.json("conflicts"), [])
        c.verify()


main(
    [
        queues_by_territory,
        a_losing_value_comes_back,
        losing_values_survive_ten_edits,
        two_answers_at_once,
        an_edit_closes_an_open_entry,
        a_deleted_parent_comes_back,
    ]
)
