"""People at work on a small company's replicas, and what must be true when all
is calm again: no accepted write is lost or doubled, no transaction is torn,
and every copy agrees.
"""

import sqlite3
import threading
import time

from harness import check, equal, uuid_text

ACCOUNTS = 12


class Writer(threading.Thread):
    """A person with an app: short transactions on one replica, noted as
    accepted only after COMMIT has returned."""

    def __init__(self, device, accounts, rng, first):
        super().__init__(daemon=True)
        self.device = device
        self.accounts = accounts
        self.rng = rng
        self.next = first  # number of the next transaction
        self.stopping = False
        self.failed = None
        # What was accepted.
        self.pairs = {}  # token -> id of its visit
        self.deleted = set()  # tokens whose visit was deleted
        self.counted = {}  # account -> increments
        self.edited = {}  # token -> the last note written

    def pair(self, db):
        """A visit and a task with one token; both or neither, everywhere."""
        token = f"{self.device.login}-{self.next}"
        account = self.rng.choice(self.accounts)
        db.execute("BEGIN IMMEDIATE")
        visit = db.execute(
            "INSERT INTO visit(account_id, territory_id, notes) SELECT id, "
            "territory_id, ? FROM account WHERE id = ? RETURNING id",
            (token, account),
        ).fetchone()[0]
        db.execute(
            "INSERT INTO task(account_id, territory_id, title) SELECT id, "
            "territory_id, ? FROM account WHERE id = ?",
            (token, account),
        )
        db.execute(
            "UPDATE account SET visit_count = coalesce(visit_count, 0) + 1 "
            "WHERE id = ?",
            (account,),
        )
        db.execute("COMMIT")
        self.pairs[token] = visit
        self.counted[account] = self.counted.get(account, 0) + 1

    def edit(self, db):
        """The next step of one of his own pairs, on both rows."""
        token = self.rng.choice(sorted(self.pairs.keys() - self.deleted))
        note = f"{token}/{self.next}"
        db.execute("BEGIN IMMEDIATE")
        db.execute(
            "UPDATE visit SET next_action = ? WHERE id = ?", (note, self.pairs[token])
        )
        db.execute("UPDATE task SET detail = ? WHERE title = ?", (note, token))
        db.execute("COMMIT")
        self.edited[token] = note

    def delete(self, db):
        """One of his own visits goes, with its task."""
        token = self.rng.choice(sorted(self.pairs.keys() - self.deleted))
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM visit WHERE id = ?", (self.pairs[token],))
        db.execute("DELETE FROM task WHERE title = ?", (token,))
        db.execute("COMMIT")
        self.deleted.add(token)

    def step(self, db):
        self.next += 1
        what = self.rng.random()
        if what < 0.6 or len(self.pairs) - len(self.deleted) < 5:
            self.pair(db)
        elif what < 0.9:
            self.edit(db)
        else:
            self.delete(db)

    def run(self):
        try:
            db = self.device.connect()
            while not self.stopping:
                try:
                    self.step(db)
                except sqlite3.OperationalError as e:
                    # Another program holds the file for long: not accepted.
                    if "locked" not in str(e) and "busy" not in str(e):
                        raise
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                time.sleep(self.rng.random() * 0.04)
            db.close()
        except Exception as e:  # told to the test, not to stderr alone
            self.failed = e


def company(org, line=None):
    """Four people with a device each; line() gives the port of the way that
    the next one takes to the server."""
    org.territory("CN", "nation")
    org.territory("EAST", "region", "CN")
    org.territory("T1", "patch", "EAST")
    for login, role, place in (
        ("ann", "rep", "T1"),
        ("bob", "rep", "T1"),
        ("mia", "manager", "EAST"),
        ("hugo", "hq", "CN"),
    ):
        org.user(login, role, place)
    org.start()
    devices = [org.device(n, enroll=False) for n in ("ann", "bob", "mia", "hugo")]
    for d in devices:
        d.enroll(org.invite(d.login, line and line()))
    return devices


def torn(db):
    """Tokens of which a replica shows half."""
    return db.execute(
        "SELECT notes FROM visit WHERE notes NOT IN (SELECT title FROM task) "
        "UNION ALL SELECT title FROM task WHERE title NOT IN "
        "(SELECT notes FROM visit) UNION ALL SELECT v.notes FROM visit v JOIN "
        "task t ON t.title = v.notes WHERE v.next_action IS NOT t.detail"
    ).fetchall()


def look_for_torn(devices):
    for d in devices:
        db = d.connect()
        found = torn(db)
        db.close()
        equal([tuple(r) for r in found[:5]], [], f"{d.login}: torn transactions")


def seed_accounts(devices):
    """The manager's shops, on every device; returns their ids."""
    boss = devices[2]
    db = boss.connect()
    db.execute("BEGIN")
    for n in range(ACCOUNTS):
        db.execute(
            "INSERT INTO account(name, territory_id) SELECT ?, id FROM "
            "territory WHERE code = 'T1'",
            (f"shop {n}",),
        )
    db.execute("COMMIT")
    db.close()
    settle([boss, *devices])
    accounts = [r[0] for r in boss.sql("SELECT id FROM account ORDER BY name")]
    equal(len(accounts), ACCOUNTS, "accounts")
    return accounts


def settle(devices):
    """Every device's --once, asked of the running daemons, twice: then all
    have seen what all others had."""
    for _ in range(2):
        for d in devices:
            equal(d.once(timeout=60), 0, f"{d.login}: rejected")


def expected(writers):
    tokens, edited, counted = {}, {}, {}
    for w in writers:
        check(w.failed is None, f"{w.device.login}: {w.failed!r}")
        tokens.update({t: v for t, v in w.pairs.items() if t not in w.deleted})
        edited.update(w.edited)
        for account, n in w.counted.items():
            counted[account] = counted.get(account, 0) + n
    return tokens, edited, counted


def check_replica(d, writers):
    tokens, edited, counted = expected(writers)
    rows = d.sql("SELECT notes, id, next_action FROM visit")
    got = {r[0]: r[1] for r in rows}
    equal(len(rows), len(got), f"{d.login}: a visit twice")
    lost = sorted(tokens.keys() - got.keys())
    back = sorted(got.keys() - tokens.keys())
    equal((lost[:5], back[:5]), ([], []), f"{d.login}: lost, come back")
    check(got == tokens, f"{d.login}: other ids")
    wrong = [r for r in rows if r[2] != edited.get(r[0])]
    equal(wrong[:5], [], f"{d.login}: not the last edit")
    tasks = d.sql("SELECT title FROM task")
    equal(sorted(r[0] for r in tasks), sorted(tokens), f"{d.login}: tasks")
    counts = dict(d.sql("SELECT id, visit_count FROM account WHERE visit_count > 0"))
    equal(counts, counted, f"{d.login}: counters")


def check_files(org, devices):
    for d in devices:
        equal(d.one("PRAGMA quick_check"), "ok", d.login)
    equal(org.sql("PRAGMA quick_check"), [("ok",)], "server")


def check_statuses(devices):
    for d in devices:
        s = d.status()
        facts = {k: s[k] for k in ("missing", "rejected", "digest")}
        equal(facts, {"missing": 0, "rejected": 0, "digest": "equal"}, d.login)


def check_server(org, writers):
    tokens, edited, counted = expected(writers)
    rows = org.sql("SELECT notes, id, next_action FROM visit WHERE _flags & 2 = 0")
    got = {r[0]: uuid_text(r[1]) for r in rows}
    equal(len(rows), len(got), "server: a visit twice")
    check(got == tokens, "server: other visits than were accepted")
    counts = {
        uuid_text(r[0]): r[1]
        for r in org.sql("SELECT id, visit_count FROM account WHERE visit_count > 0")
    }
    equal(counts, counted, "server: counters")
    org.verify()


def check_all(org, devices, writers):
    for d in devices:
        check_replica(d, writers)
    look_for_torn(devices)
    check_server(org, writers)
    check_statuses(devices)
    check_files(org, devices)
