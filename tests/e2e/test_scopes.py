"""The scope oracle: after every step of a long random run of moves, grants,
edits, deletes and reconnects each replica holds exactly what it may hold, by
content, and no text of a row outside its scope has ever reached it.

30 devices, three levels of territories. SATCHEL_STEPS sets the number of
steps (default 150, at night 10,000; a million takes most of a day),
SATCHEL_SEED replays a run.
"""
# timeout: 3600

import os
import random
import shutil
import sqlite3
import time

from harness import NIGHTLY, Failed, Org, check, main, seed, wait_for
from scope_oracle import CANARY, Oracle

STEPS = int(
    os.environ.get("SATCHEL_STEPS", "10000" if NIGHTLY else "150")
)
REGIONS, PATCHES = 3, 3
ROWS_MAX = 260
OFFLINE_MAX = 6
SOURCE = os.environ.get("SATCHEL_SOURCE", ".")
CATALOGUE = os.path.join(SOURCE, "proto", "catalogue", "field_sales.json")


class Replica:
    """A device, a look into its file, and what has reached it."""

    def __init__(self, device, oracle):
        self.device, self.login = device, device.login
        self.tables = oracle.tables
        self.tap = device.dir + ".tap"
        self.read_to = 0
        self.online = False
        self.version = None
        self.c = None
        self.raw, self.held = {}, {}
        self.allowed = set()
        self.seen = None  # the view whose canaries are allowed already
        self.equal = None  # what was held and the view, found equal

    def start(self):
        os.environ["SATCHEL_TAP"] = self.tap
        try:
            self.device.start()
        finally:
            del os.environ["SATCHEL_TAP"]
        self.online = True

    def stop(self):
        self.device.stop()
        self.online = False

    def content(self):
        """{(table, id): values}; the same object while nothing changes."""
        if self.c is None:
            self.c = self.device.connect()
        version = self.c.execute("PRAGMA data_version").fetchone()[0]
        if version == self.version:
            return self.held
        self.c.execute("BEGIN")
        held, raw = {}, {}
        for t in self.tables.values():
            names = ", ".join(f'"{n}"' for n in t.names)
            for r in self.c.execute(f'SELECT id, {names} FROM "{t.name}"'):
                key, r = (t.name, r[0]), tuple(r)
                raw[key] = r
                if self.raw.get(key) == r:
                    held[key] = self.held[key]
                    continue
                held[key] = tuple(
                    t.device_value(n, v) for n, v in zip(t.names, r[1:])
                )
        self.c.execute("COMMIT")
        self.held, self.raw, self.version = held, raw, version
        return held

    def write(self, query, args=()):
        """False when a trigger refuses it."""
        try:
            self.c.execute(query, args)
            self.version = None  # our own write does not show there
            return True
        except sqlite3.IntegrityError:
            return False

    def arrived(self):
        if not os.path.exists(self.tap):
            return set()
        with open(self.tap, "rb") as f:
            f.seek(self.read_to)
            data = f.read()
        if len(data) > 64:  # a canary may lie across two looks
            self.read_to += len(data) - 64
        return set(CANARY.findall(data.decode("latin-1")))


class Run:
    def __init__(self, org, rng):
        self.org, self.rng = org, rng
        self.count = 0
        self.log = []
        self.regions = [f"R{i}" for i in range(REGIONS)]
        self.patches = [f"P{i}" for i in range(REGIONS * PATCHES)]
        org.territory("CN", "nation")
        for r in self.regions:
            org.territory(r, "region", "CN")
        for i, p in enumerate(self.patches):
            org.territory(p, "patch", self.regions[i % REGIONS])
        logins = []
        for i, p in enumerate(self.patches):
            for k in "ab":
                org.user(f"rep{i}{k}", "rep", p)
                logins.append(f"rep{i}{k}")
        for i, r in enumerate(self.regions):
            org.user(f"man{i}", "manager", r)
            logins += [f"man{i}"] * 2
        org.user("hq", "hq", "CN")
        logins += ["hq", "hq"]
        logins += ["rep0a", "rep1a", "rep2a", "rep3a"]
        org.start()
        self.oracle = Oracle(os.path.join(org.dir, "satchel.db"), CATALOGUE)
        self.replicas = [
            Replica(org.device(login), self.oracle) for login in logins
        ]
        check(len(self.replicas) == 30, f"{len(self.replicas)} devices")
        self.oracle.read()
        for r in self.replicas:
            r.start()
        self.extra = []  # grants that were added
        self.settle()

    # -- the check

    def pending(self, views):
        for r in self.replicas:
            if not r.online:
                continue
            view, held = views[r.login][0], r.content()
            if r.equal is not None and r.equal == (id(held), id(view)):
                continue
            if held != view:
                return r
            r.equal, r.kept = (id(held), id(view)), (held, view)
        return None

    def look(self):
        """Views now; what they show may from now on have arrived."""
        self.oracle.read()
        views = {}
        for r in self.replicas:
            if r.login not in views:
                views[r.login] = self.oracle.expected(r.login)
            if views[r.login] is not r.seen:
                r.seen = views[r.login]
                r.allowed |= r.seen[1]
        return views

    def settle(self):
        end, looks = time.monotonic() + 30, 0
        while True:
            views = self.look()
            r = self.pending(views)
            if r is None:
                break
            # many looks besides: the machine itself may have been asleep
            looks += 1
            if time.monotonic() > end and looks > 1000:
                self.complain(r, views[r.login][0])
            time.sleep(0.002)
        for r in self.replicas:
            stray = r.arrived() - r.allowed if r.online else None
            if stray:
                raise Failed(
                    f"step {self.count}: {stray} reached {r.login} "
                    f"({r.device.dir}); last steps: {self.log[-5:]}"
                )
            if r.online:
                r.allowed = set(views[r.login][1])

    def complain(self, r, view):
        held = r.content()
        extra = [k for k in held if k not in view][:5]
        missing = [k for k in view if k not in held][:5]
        differ = [
            (k, held[k], view[k])
            for k in view
            if k in held and held[k] != view[k]
        ][:2]
        raise Failed(
            f"step {self.count}: {r.login} ({r.device.dir}) "
            f"holds too much: {extra}; lacks: {missing}; differs: {differ}; "
            f"last steps: {self.log[-5:]}"
        )

    # -- steps

    def canary(self):
        letters = "ghijklmnopqrstuvwxyz"
        return "K" + "".join(self.rng.choices(letters, k=15))

    def rows_of(self, r, table):
        return [k[1] for k in r.content() if k[0] == table]

    def accounts(self):
        return [
            (i, v)
            for i, (dead, v) in self.oracle.tables["account"].rows.items()
            if not dead
        ]

    def edit(self):
        r = self.rng.choice(self.replicas)
        r.content()
        own = self.rows_of(r, "account")
        kind = self.rng.choices(
            ("account", "phone", "visit", "contact", "notes", "share"),
            (3, 3, 3, 1, 2, 1),
        )[0]
        live = sum(
            not d
            for t in ("account", "visit", "contact")
            for d, _ in self.oracle.tables[t].rows.values()
        )
        if kind == "account" or not own:
            if live < ROWS_MAX:
                r.write(
                    "INSERT INTO account(name) VALUES (?)", (self.canary(),)
                )
            return f"{r.login} makes an account"
        x = self.rng.choice(own)
        if kind == "phone":
            r.write(
                "UPDATE account SET phone=? WHERE id=?",
                (str(self.rng.randrange(10**6)), x),
            )
        elif kind == "visit" and live < ROWS_MAX:
            r.write(
                "INSERT INTO visit(account_id, notes) VALUES (?, ?)",
                (x, self.canary()),
            )
        elif kind == "contact" and live < ROWS_MAX:
            r.write(
                "INSERT INTO contact(account_id, name) VALUES (?, ?)",
                (x, self.canary()),
            )
        elif kind == "notes":
            r.write(
                "UPDATE visit SET next_action=? WHERE account_id=?",
                (str(self.rng.randrange(100)), x),
            )
        elif kind == "share":
            codes = self.rng.sample(self.patches, self.rng.randrange(3))
            r.write(
                "UPDATE account SET shared_with=(SELECT json_group_array(id)"
                f" FROM (SELECT id FROM territory WHERE code IN ({','.join('?' * len(codes))})"
                " ORDER BY id)) WHERE id=?",
                (*codes, x),
            )
        return f"{r.login} {'' if r.online else '(offline) '}{kind} {x}"

    def delete(self):
        r = self.rng.choice(self.replicas)
        r.content()
        table = self.rng.choice(("account", "visit", "visit", "contact"))
        rows = self.rows_of(r, table)
        if not rows:
            return "nothing"
        x = self.rng.choice(rows)
        r.write(f"DELETE FROM {table} WHERE id=?", (x,))
        return f"{r.login} deletes {table} {x}"

    def move_account(self):
        all_of = self.accounts()
        if not all_of:
            return "nothing"
        x = self.rng.choice(all_of)[0].hex()
        ident = "-".join((x[:8], x[8:12], x[12:16], x[16:20], x[20:]))
        to = self.rng.choice(self.patches)
        self.org.cmd(
            "account", "move", "--account", ident, "--territory", to
        )
        return f"account {ident} to {to}"

    def move_patch(self):
        a, b = self.rng.sample(self.patches, 2)
        self.org.cmd("account", "move", "--from", a, "--to", b)
        return f"all of {a} to {b}"

    def move_territory(self):
        p = self.rng.choice(self.patches)
        r = self.rng.choice(self.regions)
        self.org.cmd("territory", "move", "--code", p, "--parent", r)
        return f"{p} below {r}"

    def grant(self):
        login = self.rng.choice(self.replicas).login
        where = self.rng.choice(self.patches + self.regions)
        words = ["grant", "add", "--login", login, "--territory", where]
        if self.rng.random() < 0.2:
            words += ["--role", "manager"]
        self.org.cmd(*words)
        row = self.oracle.db.execute("SELECT max(no) FROM _grant").fetchone()
        self.extra.append(row[0])
        return f"{login} is granted {where} {words[6:]}"

    def ungrant(self):
        if not self.extra:
            return self.grant()
        no = self.extra.pop(self.rng.randrange(len(self.extra)))
        self.org.cmd("grant", "remove", "--grant", str(no))
        return f"grant {no} ends"

    def reconnect(self):
        away = [r for r in self.replicas if not r.online]
        if away and (
            len(away) >= OFFLINE_MAX or self.rng.random() < 0.5
        ):
            r = self.rng.choice(away)
            r.start()
            return f"{r.login} is back"
        r = self.rng.choice([r for r in self.replicas if r.online])
        r.stop()
        return f"{r.login} goes offline"

    def step(self):
        kinds = (
            (self.edit, 45),
            (self.delete, 7),
            (self.move_account, 14),
            (self.move_patch, 2),
            (self.move_territory, 4),
            (self.grant, 9 if len(self.extra) < 25 else 0),
            (self.ungrant, 9),
            (self.reconnect, 10),
        )
        names, weights = zip(*kinds)
        self.count += 1
        self.log.append(self.rng.choices(names, weights)[0]())
        del self.log[:-20]
        self.settle()


def every_replica_holds_exactly_what_it_may():
    began = time.monotonic()
    with Org("scopes") as org:
        run = Run(org, random.Random(seed()))
        ready = time.monotonic()
        for n in range(STEPS):
            run.step()
            if n % 1000 == 999:
                took = time.monotonic() - ready
                print(f"  {n + 1} steps in {took:.0f} s", flush=True)
        for r in run.replicas:
            if not r.online:
                r.start()
        run.settle()
        took = time.monotonic() - ready
        rows = sum(len(t.rows) for t in run.oracle.tables.values())
        print(
            f"  {STEPS} steps over {len(run.replicas)} devices, {rows} rows: "
            f"{took:.0f} s ({took / STEPS * 1000:.0f} ms each), "
            f"set up in {ready - began:.0f} s"
        )
        org.verify()


if __name__ == "__main__":
    main([every_replica_holds_exactly_what_it_may])
