"""Capture from programs that know nothing of Satchel: Python's sqlite3 module,
the sqlite3 program and `satchel sql`. Each case is plain
SQL and the deltas that must come of it, or the sentence of the refusal.

    capture.py MKREPLICA SATCHEL
"""
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

MKREPLICA = sys.argv[1]
SATCHEL = sys.argv[2]
PREFIX = "00000000-0000-7000-8000-0000000000"
DEFAULTS = " class=potential owner_id=f1 kind=direct state=active"


def ids(sql):
    """$a1 is the id that ends in a1."""
    parts = sql.split("$")
    return parts[0] + "".join("'%s%s'%s" % (PREFIX, p[:2], p[2:]) for p in parts[1:])


# name, statements, deltas (a list) or refusal (a text)
CASES = [
    ("insert", ["INSERT INTO account(id, name) VALUES($a2, 'N')"],
     ["insert account a2 name=N territory_id=e1" + DEFAULTS]),
    ("update", ["UPDATE account SET phone = '1' WHERE id = $a1"],
     ["update account a1 {1:1} on 2 phone=100>1"]),
    ("update to NULL", ["UPDATE account SET phone = NULL"],
     ["update account a1 {1:1} on 2 phone=100>-"]),
    ("NULL to NULL", ["UPDATE account SET city = NULL"], []),
    ("delete", ["DELETE FROM account"], ["delete account a1 {1:1} on 2"]),
    ("insert or replace",
     ["INSERT OR REPLACE INTO account(id, name, territory_id, phone, email,"
      " visit_count, tags, class, owner_id, kind, state) VALUES($a1, 'X', $e1,"
      " '111', 'a@x', 4, '[\"vip\"]', 'normal', NULL, NULL, NULL)"],
     ["update account a1 {1:1} on 2 phone=100>111"]),
    ("upsert, there",
     ["INSERT INTO account(id, name) VALUES($a1, 'Y') ON CONFLICT(id)"
      " DO UPDATE SET visit_count = visit_count + 1"],
     ["update account a1 {1:1} on 2 visit_count+1"]),
    ("upsert, not there",
     ["INSERT INTO account(id, name) VALUES($a2, 'Y') ON CONFLICT(id)"
      " DO UPDATE SET visit_count = visit_count + 1"],
     ["insert account a2 name=Y territory_id=e1" + DEFAULTS]),
    ("insert or ignore", ["INSERT OR IGNORE INTO account(id, name) VALUES($a1, 'Q')"], []),
    ("delete and insert",
     ["BEGIN", "DELETE FROM account",
      "INSERT INTO account(id, name, territory_id, phone, email, visit_count,"
      " tags, class, owner_id, kind, state) VALUES($a1, 'X', $e1, '100',"
      " 'b@x', 9, '[\"vip\"]', 'normal', NULL, NULL, NULL)", "COMMIT"],
     ["update account a1 {1:1} on 2 email=a@x>b@x visit_count+5"]),
    ("many rows, one transaction",
     ["BEGIN", "INSERT INTO account(id, name) VALUES($a2, 'A'), ($a3, 'B')",
      "UPDATE account SET city = name", "COMMIT"],
     ["insert account a2 name=A territory_id=e1" + DEFAULTS.replace(
         " kind", " kind") + " city=A",
      "insert account a3 name=B territory_id=e1" + DEFAULTS + " city=B",
      "update account a1 {1:1} on 2 city=X"]),
    ("visit, stage and task together",
     ["BEGIN",
      "INSERT INTO visit(id, account_id, started_at, outcome) VALUES($b1, $a1, 5, 'order')",
      "INSERT INTO task(id, title, account_id) VALUES($c1, '回访', $a1)",
      "UPDATE account SET visit_count = visit_count + 1 WHERE id = $a1", "COMMIT"],
     ["update account a1 {1:1} on 2 visit_count+1",
      "insert visit b1 account_id=a1 user_id=f1 territory_id=e1 started_at=5"
      " state=done purpose=visit outcome=order",
      "insert task c1 title=回访 kind=follow_up account_id=a1 assignee_id=f1"
      " territory_id=e1 priority=normal state=open created_by=f1"]),
    ("rollback", ["BEGIN", "UPDATE account SET phone = '5'", "ROLLBACK"], []),
    ("savepoint undone",
     ["BEGIN", "UPDATE account SET phone = '5'", "SAVEPOINT s",
      "UPDATE account SET city = 'B'", "ROLLBACK TO s", "COMMIT"],
     ["update account a1 {1:1} on 2 phone=100>5"]),
    ("Unicode", ["UPDATE account SET city = '上海 ☂ 😀'"],
     ["update account a1 {1:1} on 2 city=上海 ☂ 😀"]),
    ("set, any spelling", ["UPDATE account SET tags = ' [ \"b\" , \"vip\", \"b\" ] '"],
     ["update account a1 {1:1} on 2 tags+b"]),
    ("set, same elements", ["UPDATE account SET tags = '[\"\\u0076ip\"]'"], []),
    ("1 MB note",
     ["INSERT INTO note(id, account_id, at, body) VALUES($b1, $a1, 1,"
      " printf('%.*c', 1048576, 'x'))"],
     ["insert note b1 account_id=a1 user_id=f1 at=1 body=" + "x" * 1048576]),
    ("larger than that",
     ["INSERT INTO note(account_id, body) VALUES($a1, printf('%.*c', 1048577, 'x'))"],
     "note.body: must be text of at most 1048576 bytes"),
    ("a transaction larger than a changeset",
     ["BEGIN", "UPDATE account SET phone = '5'",
      "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n"
      " WHERE i < 60) INSERT INTO note(account_id, at, body)"
      " SELECT $a1, 1, printf('%.*c', 1000000, 'x') FROM n", "COMMIT"],
     "note: too many changes wait to be sent: start satcheld so that they go"
     " out, or change less at once"),
    ("wrong type", ["UPDATE account SET employees = 'many'"],
     "account.employees: must be a whole number of at least 0"),
    ("unknown enum value", ["UPDATE account SET class = 'gold'"],
     "account.class: must be one of vip normal potential"),
    ("changed id", ["UPDATE account SET id = $a9"],
     "account: the id of a row cannot be changed"),
    ("update or replace of the id",
     ["INSERT INTO account(id, name) VALUES($a2, 'A')",
      "UPDATE OR REPLACE account SET id = $a1 WHERE id = $a2"],
     "account: the id of a row cannot be changed"),
    ("replace through the rowid",
     ["REPLACE INTO account(rowid, name) SELECT rowid, 'Z' FROM account"],
     "account: this rowid belongs to another row"),
    ("role", ["INSERT INTO target(metric, period, start_day, value)"
              " VALUES('visits', 'month', '2026-01-01', 1)"],
     "target: your role (rep) may not add rows"),
    ("refused statement leaves the others",
     ["UPDATE account SET phone = '7'", "UPDATE account SET class = 'gold'"],
     "account.class: must be one of vip normal potential"),
]


def by_python(folder, statements):
    db = sqlite3.connect(folder + "/replica.db", isolation_level=None, timeout=30)
    try:
        for s in statements:
            db.execute(s)
    except sqlite3.Error as e:
        return str(e)
    finally:
        db.close()
    return None


def by_program(folder, statements):
    r = subprocess.run(["sqlite3", "-bail", folder + "/replica.db"],
                       input=";\n".join(statements) + ";\n", text=True,
                       capture_output=True)
    return r.stdout + r.stderr if r.returncode != 0 else None


def by_satchel(folder, statements):
    r = subprocess.run([SATCHEL, "--dir", folder, "sql", "; ".join(statements)],
                       text=True, capture_output=True)
    return r.stdout + r.stderr if r.returncode != 0 else None


def mk(command, folder):
    r = subprocess.run([MKREPLICA, command, folder], text=True, capture_output=True)
    if r.returncode != 0:
        raise SystemExit("mkreplica %s: %s%s" % (command, r.stdout, r.stderr))
    return r.stdout


def check(what, got, wanted):
    if got != wanted:
        print("FAILED", what, "\n  got    ", repr(got)[:500], "\n  wanted ", repr(wanted)[:500])
        return 1
    return 0


def run_cases(template, name, write):
    bad = 0
    for title, statements, wanted in CASES:
        folder = tempfile.mkdtemp()
        try:
            shutil.copytree(template, folder, dirs_exist_ok=True)
            failure = write(folder, [ids(s) for s in statements])
            lines = mk("harvest", folder).splitlines()
            what = name + ": " + title
            if isinstance(wanted, str):
                bad += check(what, wanted in (failure or ""), True)
                if title.startswith("refused statement"):
                    bad += check(what, lines, ["update account a1 {1:1} on 2 phone=100>7"])
            else:
                bad += check(what, failure, None)
                bad += check(what, lines, wanted)
            bad += check(what + ", again", mk("harvest", folder), "")
        finally:
            shutil.rmtree(folder)
    print("%s: %d cases" % (name, len(CASES)))
    return bad


def under_a_dying_daemon(template):
    """Every case again, while a daemon harvests and applies rows and is killed
    at any moment: in the end the same deltas, each once."""
    choose = random.Random(11)
    bad = 0
    for title, statements, wanted in CASES:
        folder = tempfile.mkdtemp()
        daemon = None
        try:
            shutil.copytree(template, folder, dirs_exist_ok=True)
            daemon = subprocess.Popen([MKREPLICA, "daemon", folder])
            time.sleep(choose.random() * 0.1)
            failure = by_python(folder, [ids(s) for s in statements])
            time.sleep(choose.random() * 0.03)
            bad += check("daemon", daemon.poll(), None)
            daemon.kill()
            daemon.wait()
            # a5 is the daemon's own row; a statement without WHERE meets it
            lines = [line for line in mk("captured", folder).splitlines()
                     if " account a5 " not in line]
            what = "under a dying daemon: " + title
            if isinstance(wanted, str):
                bad += check(what, wanted in (failure or ""), True)
            else:
                bad += check(what, failure, None)
                bad += check(what, sorted(lines), sorted(wanted))
            bad += check(what + ", again", mk("harvest", folder), "")
        finally:
            if daemon is not None and daemon.poll() is None:
                daemon.kill()
                daemon.wait()
            shutil.rmtree(folder)
    print("under a dying daemon: %d cases" % len(CASES))
    return bad


def no_other_way_in(template):
    """REPLACE through a UNIQUE index but the id's, a foreign key or a CHECK
    would change rows that no trigger sees."""
    db = sqlite3.connect(template + "/replica.db")
    bad = seen = 0
    for name, sql in db.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'table'"
            " AND name NOT LIKE '\\_satchel%' ESCAPE '\\'"
            " AND name NOT LIKE 'sqlite%'").fetchall():
        if not db.execute("SELECT 1 FROM pragma_table_info(?) WHERE name = 'id'",
                          (name,)).fetchone():
            continue
        seen += 1
        unique = [[c for (c,) in db.execute("SELECT name FROM pragma_index_info(?)", (i,))]
                  for (i,) in db.execute(
                      'SELECT name FROM pragma_index_list(?) WHERE "unique"', (name,))]
        bad += check(name + ", unique", unique, [["id"]])
        bad += check(name + ", foreign keys", db.execute(
            "SELECT count(*) FROM pragma_foreign_key_list(?)", (name,)).fetchone()[0], 0)
        bad += check(name + ", CHECK", "CHECK" in sql.upper().split(), False)
    db.close()
    bad += check("tables", seen > 10, True)
    print("no other way in: %d tables" % seen)
    return bad


def bad_bytes(template):
    """Python can bind what no text is; it must come out as a rejection."""
    folder = tempfile.mkdtemp()
    try:
        shutil.copytree(template, folder, dirs_exist_ok=True)
        db = sqlite3.connect(folder + "/replica.db", isolation_level=None)
        db.execute("UPDATE account SET phone = CAST(? AS TEXT), city = 'B'", (b"\xff\xfe",))
        db.execute("INSERT INTO account(name) VALUES(?)", ("A\x00B",))
        db.execute(ids("INSERT INTO account(id, name) VALUES($a2, 'good')"))
        db.close()
        bad = check("bad bytes", mk("harvest", folder).splitlines(),
                    ["insert account a2 name=good territory_id=e1" + DEFAULTS])
        bad += check("bad bytes, reasons", mk("rejected", folder).split(), ["encoding"] * 2)
        db = sqlite3.connect(folder + "/replica.db")
        bad += check("bad bytes, rows", db.execute(
            "SELECT name, phone, city FROM account ORDER BY id").fetchall(),
            [("X", "100", None), ("good", None, None)])
        db.close()
        return bad
    finally:
        shutil.rmtree(folder)


def under_a_daemon(template, seconds):
    """Edits while a daemon harvests and applies rows, and is killed and
    started again: every increment that was accepted is captured once."""
    folder = tempfile.mkdtemp()
    choose = random.Random(7)
    daemon = None
    done = kills = 0
    try:
        shutil.copytree(template, folder, dirs_exist_ok=True)
        db = sqlite3.connect(folder + "/replica.db", isolation_level=None, timeout=20)
        end = time.monotonic() + seconds
        daemon = subprocess.Popen([MKREPLICA, "daemon", folder])
        while time.monotonic() < end:
            db.execute("BEGIN IMMEDIATE")
            for _ in range(choose.randint(1, 3)):
                db.execute(ids("UPDATE account SET visit_count = visit_count + 1,"
                               " phone = visit_count WHERE id = $a1"))
                done += 1
            if choose.random() < 0.2:
                db.execute("ROLLBACK")
                done = db.execute(ids("SELECT visit_count - 4 FROM account WHERE id = $a1")).fetchone()[0]
            else:
                db.execute("COMMIT")
            if daemon.poll() is not None:
                return check("daemon", daemon.returncode, "alive")
            if choose.random() < 0.05:
                daemon.send_signal(signal.SIGKILL)
                daemon.wait()
                kills += 1
                daemon = subprocess.Popen([MKREPLICA, "daemon", folder])
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
        bad = check("increments captured", int(mk("counted", folder)), done)
        bad += check("increments shown", db.execute(ids(
            "SELECT visit_count FROM account WHERE id = $a1")).fetchone()[0], done + 4)
        bad += check("integrity", db.execute("PRAGMA integrity_check").fetchone()[0], "ok")
        bad += check("enough happened", done > 20 and kills > 0, True)
        db.close()
        print("under a daemon: %d increments, %d kills" % (done, kills))
        return bad
    finally:
        if daemon is not None and daemon.poll() is None:
            daemon.kill()
            daemon.wait()
        shutil.rmtree(folder)


def main():
    template = tempfile.mkdtemp()
    try:
        mk("create", template)
        writers = [
            ("Python", by_python),
            ("sqlite3", by_program),
            ("satchel sql", by_satchel),
        ]
        bad = sum(run_cases(template, name, write) for name, write in writers)
        bad += no_other_way_in(template)
        bad += bad_bytes(template)
        bad += under_a_dying_daemon(template)
        bad += under_a_daemon(template, 8)
    finally:
        shutil.rmtree(template)
    raise SystemExit(1 if bad else 0)


main()
