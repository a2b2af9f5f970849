"""What the tests of `satchel` share: a device's folder with rows in it, and
running the program. Standard library only."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile

SATCHEL, REPLICA = sys.argv[1:3]
ANN = "00000000-0000-0000-0000-000000000001"
EAST = "00000000-0000-0000-0000-000000000002"
BOB = "00000000-0000-0000-0000-000000000003"
NORTH = "00000000-0000-0000-0000-000000000004"


def uuid(n):
    return "0190a000-0000-7000-8000-%012x" % n


class Device:
    def __init__(self, role="rep", catalogue=None):
        self.dir = tempfile.mkdtemp(prefix="satchel-cli-")
        self.db = os.path.join(self.dir, "replica.db")
        subprocess.run(
            [REPLICA, self.db, role, "ann", "安娜"]
            + ([catalogue] if catalogue else []),
            check=True,
        )

    def close(self):
        shutil.rmtree(self.dir)

    def connect(self):
        return sqlite3.connect(self.db, isolation_level=None)

    def query(self, sql, args=()):
        db = self.connect()
        try:
            return db.execute(sql, args).fetchall()
        finally:
            db.close()

    def from_server(self, *statements):
        """Rows as the server's pages bring them: the triggers keep still."""
        db = self.connect()
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO _satchel_guard VALUES(1)")
        for sql, args in statements:
            db.execute(sql, args)
        db.execute("DELETE FROM _satchel_guard")
        db.execute("COMMIT")
        db.close()

    def run(self, *words, lang="en", env=None, input=None, dir=True):
        e = dict(os.environ, TZ="Asia/Shanghai", LC_ALL="C.UTF-8")
        e.pop("SATCHEL_DIR", None)
        e.update(env or {})
        head = ["--dir", self.dir] if dir else []
        head += ["--lang", lang] if lang else []
        return subprocess.run(
            [SATCHEL] + head + list(words),
            capture_output=True,
            env=e,
            input=input,
            timeout=60,
        )

    def ok(self, *words, **how):
        p = self.run(*words, **how)
        assert p.returncode == 0, (words, p)
        return p.stdout.decode()

    def json(self, *words, **how):
        return json.loads(self.ok(*words, "--json", **how))

    def fails(self, code, *words, **how):
        p = self.run(*words, **how)
        assert p.returncode == code, (words, p)
        return p.stderr.decode()


def insert(table, **columns):
    return (
        "INSERT INTO %s(%s) VALUES(%s)"
        % (table, ", ".join(columns), ", ".join("?" * len(columns))),
        tuple(columns.values()),
    )


HOSTILE = "Evil\x1b[31m\u202eshop\nnext\u009b2J"


def filled(role="rep"):
    """A device with people, territories, accounts and deals."""
    d = Device(role)
    d.from_server(
        insert("territory", id=EAST, code="E", name="华东", level="region"),
        insert("territory", id=NORTH, code="N", name="华北", level="region"),
        insert("user", id=ANN, login="ann", name="安娜", role=role,
               territory_id=EAST),
        insert("user", id=BOB, login="bob", name="Bob", role="rep",
               territory_id=NORTH),
        insert("account", id=uuid(1), name="上海行囊商店", city="上海",
               **{"class": "vip"}, tags='["gold","老客户"]',
               annual_revenue=123456789),
        insert("account", id=uuid(2), name="上海 Bag Shop", city="上海",
               **{"class": "normal"}, owner_id=BOB, territory_id=NORTH),
        insert("account", id=uuid(3), name="Acme", city="Paris"),
        insert("account", id=uuid(4), name="acme", city="Lyon"),
        insert("account", id=uuid(5), name=HOSTILE, city="X"),
        insert("account", id=uuid(6), name="100% juice_bar", city="Y"),
        insert("opportunity", id=uuid(11), name="A", account_id=uuid(1),
               stage="contract", amount=100050, opened_at="2026-01-05"),
        insert("opportunity", id=uuid(12), name="B", account_id=uuid(3),
               stage="contract", amount=1, opened_at="2026-02-05"),
        insert("opportunity", id=uuid(13), name="C", account_id=uuid(2),
               stage="won", amount=500000, owner_id=BOB,
               territory_id=NORTH, opened_at="2026-03-05"),
        insert("opportunity", id=uuid(14), name="D", stage="lead",
               opened_at="2026-03-06"),
        insert("target", id=uuid(21), metric="visits", period="month",
               start_day="2026-11-01", value=40.0),
    )
    return d


def main(tests):
    """Run the functions of a module whose names begin with test_."""
    names = [n for n in tests if n.startswith("test_")]
    for n in names:
        tests[n]()
        print("ok", n)
    print("%d tests" % len(names))
    assert names
