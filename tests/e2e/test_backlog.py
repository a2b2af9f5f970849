"""A long time offline: 100,000 rows written with the daemon stopped become
one changeset over many frames. It is killed on its way, in the daemon and in
the server, and arrives once; others sync meanwhile. And what one bad row among
good ones does.
"""
# timeout: 600
# serial

import json
import os
import random
import re
import threading
import time

from harness import (
    PATIENCE,
    Org,
    check,
    equal,
    main,
    same_content,
    seed,
    wait_for,
)

ROWS = 100000
MEMORY_KIB = 600 * 1024


def high_water(process):
    """The most memory a process ever had, KiB."""
    with open(f"/proc/{process.p.pid}/status") as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1))


class Watch(threading.Thread):
    """The high-water mark of processes that come and go."""

    def __init__(self, *holders):
        super().__init__(daemon=True)
        self.holders = holders  # functions that give a Process or None
        self.most = [0] * len(holders)
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.wait(0.05):
            for i, holder in enumerate(self.holders):
                try:
                    process = holder()
                    if process is not None:
                        self.most[i] = max(self.most[i], high_water(process))
                except (OSError, AttributeError):
                    pass  # gone in between

    def end(self):
        self.stopping.set()
        self.join()
        return self.most


class Waits(threading.Thread):
    """How long a program on the device waits for the write lock."""

    def __init__(self, device):
        super().__init__(daemon=True)
        self.device = device
        self.longest = 0.0
        self.stopping = threading.Event()

    def run(self):
        db = self.device.connect()
        db.execute("PRAGMA busy_timeout = 60000")
        while not self.stopping.wait(0.05):
            began = time.monotonic()
            db.execute("BEGIN IMMEDIATE")
            db.execute("ROLLBACK")
            self.longest = max(self.longest, time.monotonic() - began)
        db.close()

    def end(self):
        self.stopping.set()
        self.join()
        return self.longest


def company(org):
    org.territory("CN", "nation")
    org.territory("EAST", "region", "CN")
    org.territory("T1", "patch", "EAST")
    org.territory("T2", "patch", "EAST")
    for login, role, place in (
        ("ann", "rep", "T1"),
        ("cid", "rep", "T2"),
        ("mia", "manager", "EAST"),
    ):
        org.user(login, role, place)
    org.start()
    return [org.device(login) for login in ("ann", "cid", "mia")]


def write_backlog(device, rows, transactions):
    """Plain SQL, some big transactions; the times of a real year."""
    account = device.one("SELECT id FROM account")
    db = device.connect()
    each = rows // transactions
    for t in range(transactions):
        db.execute("BEGIN")
        db.executemany(
            "INSERT INTO visit(account_id, started_at, outcome, notes) "
            "VALUES (?, ?, 'done', ?)",
            (
                (account, 1700000000000 + n * 300000, f"visit {n}")
                for n in range(t * each, (t + 1) * each)
            ),
        )
        db.execute("COMMIT")
    # Later statements of the same backlog change some of these rows: the
    # changeset carries each row once, as it is in the end.
    db.execute("UPDATE visit SET notes = notes || ' +' WHERE notes LIKE '%7'")
    db.execute("DELETE FROM visit WHERE notes LIKE '%99'")
    db.close()


def killed_on_the_way():
    s = seed()
    rng = random.Random(s)
    with Org("backlog") as org:
        ann, cid, mia = company(org)
        ann.sql("INSERT INTO account(name) VALUES ('X')")
        ann.once()
        before = ann.one("SELECT count(*) FROM _satchel_outbox")
        began = time.monotonic()
        write_backlog(ann, ROWS, 8)
        wrote = time.monotonic() - began
        left = ROWS - ROWS // 100
        equal(ann.one("SELECT count(*) FROM visit"), left, "written")

        watch = Watch(lambda: ann.daemon, lambda: org.process)
        watch.start()
        killed = {"daemon": 0, "server": 0}
        half_way = 0
        began = time.monotonic()
        ann.start()
        # Once gathered it is not gathered again, whoever is killed.
        wait_for(
            "the backlog is gathered",
            lambda: ann.sql("SELECT 1 FROM _satchel_outbox WHERE length(bytes) > 1e6"),
            120,
        )
        gathered = time.monotonic() - began
        size = ann.one("SELECT max(length(bytes)) FROM _satchel_outbox")
        check(size > 1 << 20, f"more than one frame: {size} bytes")
        for n in range(8):
            time.sleep(rng.random() * 0.4)
            if n % 2 == 0:
                ann.kill()
                killed["daemon"] += 1
                half_way += arrived(org) == 0
                ann.start()
            else:
                org.kill()
                killed["server"] += 1
                half_way += arrived(org) == 0
                org.start()
        waits = Waits(ann)
        waits.start()
        # Others are not held up by it: the rep of the next patch, on two
        # devices, whom these visits do not concern.
        other = org.device("cid").start()
        slowest = 0.0
        for n in range(5):
            cid.sql("INSERT INTO account(name) VALUES (?)", (f"quick {n}",))
            t = time.monotonic()
            equal(cid.once(), 0, "cid: rejected")
            wait_for(
                "cid's other device has it",
                lambda n=n: other.sql(
                    "SELECT 1 FROM account WHERE name = ?", (f"quick {n}",)
                ),
                30,
            )
            slowest = max(slowest, time.monotonic() - t)
        check(slowest < 20, f"another device waited {slowest:.1f} s")
        # And killed while it takes in the verdict, row by row.
        wait_for("it is applied", lambda: arrived(org) == left, 120)
        for _ in range(3):
            time.sleep(rng.random())
            ann.kill()
            ann.start()
        wait_for(
            "the daemon listens",
            lambda: os.path.exists(os.path.join(ann.dir, "sock")),
        )
        equal(ann.once(timeout=120), 0, "ann: rejected")
        took = time.monotonic() - began
        daemon_kib, server_kib = watch.end()
        longest = waits.end()

        status = ann.status()
        equal(
            ann.one("SELECT count(*) FROM _satchel_outbox"),
            before + 1,
            "one changeset for all of it",
        )
        equal(status["missing"], 0, "missing")
        equal(arrived(org), left, "on the server")
        equal(mia.once(timeout=120), 0, "mia: rejected")
        n = same_content([ann, mia], "visit", "id, account_id, started_at, notes")
        equal(n, left, "rows on both")
        equal(
            mia.one("SELECT count(*) FROM visit WHERE notes LIKE '%+'"),
            ROWS // 10,
            "edited rows",
        )
        for d in (ann, mia):
            equal(d.status()["digest"], "equal", f"{d.login}: digest")
        equal(org.sql("SELECT count(*) FROM visit"), [(left,)], "no row twice")
        org.verify()
        check(half_way > 0, "no kill was on the way; use another seed")
        if PATIENCE == 1:  # sanitizers keep what was freed
            check(daemon_kib < MEMORY_KIB, f"daemon: {daemon_kib} KiB")
            check(server_kib < MEMORY_KIB, f"server: {server_kib} KiB")
        print(
            f"  {size} bytes in one changeset; {killed} kills, {half_way} "
            f"before it was applied; written in {wrote:.1f} s, gathered in "
            f"{gathered:.1f} s, all done after {took:.1f} s; most memory: "
            f"daemon {daemon_kib >> 10} MiB, server {server_kib >> 10} MiB; "
            f"another device waited at most {slowest:.2f} s, a program on "
            f"the same device for the write lock {longest:.1f} s"
        )


def arrived(org):
    return org.sql("SELECT count(*) FROM visit WHERE _flags & 2 = 0")[0][0]


def kept(device):
    """The rows in the list of what was rejected."""
    found = device.sql("SELECT content FROM satchel_rejected ORDER BY n")
    return [row for (content,) in found for row in json.loads(content)]


NOWHERE = "01900000-0000-7000-8000-00000000dead"


def one_bad_row_among_good_ones():
    """The server refuses a visit to an account that it does not know. What
    hangs on that visit stays with it; everything else arrives."""
    with Org("backlog") as org:
        ann, _, mia = company(org)
        ann.sql("INSERT INTO account(name) VALUES ('X')")
        ann.once()
        write_backlog(ann, 200, 2)
        db = ann.connect()
        db.execute("BEGIN")
        bad = db.execute(
            "INSERT INTO visit(account_id, notes) VALUES (?, 'bad') RETURNING id",
            (NOWHERE,),
        ).fetchone()[0]
        # Linked to the bad visit, directly and at second hand.
        task = db.execute(
            "INSERT INTO task(title, visit_id) VALUES ('linked', ?) RETURNING id",
            (bad,),
        ).fetchone()[0]
        note = db.execute(
            "INSERT INTO note(visit_id, body) VALUES (?, 'linked too') RETURNING id",
            (bad,),
        ).fetchone()[0]
        db.execute("COMMIT")
        db.execute("INSERT INTO task(title) VALUES ('good')")
        db.close()
        rejected = ann.once()
        check(rejected > 0, "the bad row is counted as rejected")

        equal(org.sql("SELECT title FROM task"), [("good",)], "server: tasks")
        equal(org.sql("SELECT count(*) FROM note"), [(0,)], "server: notes")
        equal(arrived(org), 198, "server: visits")
        mia.once()
        equal(mia.one("SELECT count(*) FROM visit"), 198, "mia: visits")
        equal(mia.sql("SELECT title FROM task"), [("good",)], "mia: tasks")

        # They are in the list that a person sees, whole and with a reason.
        listed = ann.json("rejected")
        equal([r["reason"] for r in listed], ["parent"], "the list")
        check("Account" in listed[0]["sentence"], listed[0]["sentence"])
        rows = {r["id"]: r["fields"] for r in kept(ann)}
        equal(rows.keys(), {bad, task, note}, "rows that stay behind")
        equal(rows[bad]["account_id"]["after"], NOWHERE, "with its content")
        equal(rows[note]["body"]["after"], "linked too", "with its content")
        status = ann.status()
        equal(status["missing"], 0, "missing")
        check(status["rejected"] > 0, "status tells of it")
        # What the tables show is the server's state: these rows are not in it.
        equal(ann.sql("SELECT id FROM visit WHERE notes = 'bad'"), [], "shown")
        equal(status["digest"], "equal", "digest")
        # Nothing behind it is blocked.
        ann.sql("INSERT INTO task(title) VALUES ('later')")
        ann.once()
        equal(
            sorted(org.sql("SELECT title FROM task")), [("good",), ("later",)], "later"
        )
        org.verify()


def one_bad_row_in_one_transaction():
    """Captured alone by a running daemon, a transaction is all or nothing."""
    with Org("backlog") as org:
        ann, _, mia = company(org)
        ann.sql("INSERT INTO account(name) VALUES ('X')")
        ann.once()
        ann.start()
        wait_for("connected", lambda: ann.status()["connection"] == "connected")
        ann.script(
            f"INSERT INTO visit(account_id, notes) VALUES ('{NOWHERE}', 'bad');"
            "INSERT INTO task(title) VALUES ('with the bad one')"
        )
        wait_for("the verdict", lambda: ann.status()["rejected"] > 0)
        ann.sql("INSERT INTO task(title) VALUES ('behind it')")
        ann.once()
        mia.once()
        for titles in (
            ann.sql("SELECT title FROM task"),
            mia.sql("SELECT title FROM task"),
            org.sql("SELECT title FROM task"),
        ):
            equal(titles, [("behind it",)], "tasks")
        equal(
            sorted(r["table"] for r in kept(ann)), ["task", "visit"], "listed whole"
        )
        equal(ann.stop(), 0, "clean stop")
        org.verify()


main(
    [
        killed_on_the_way,
        one_bad_row_among_good_ones,
        one_bad_row_in_one_transaction,
    ]
)
