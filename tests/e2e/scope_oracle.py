"""What each user's devices may hold, worked out from the server's tables.

Shares no code with the programs: it reads the catalogue's JSON and plain
tables of satchel.db (business tables, _grant, _flags), not places, feeds,
scopes or rights as the server keeps them.
"""

import json
import re
import sqlite3
import time

STRENGTH = ("rep", "service", "manager", "hq", "admin")
DELETED = 2
EVERYONE = "everyone"
CANARY = re.compile(r"K[g-z]{15}")  # no number or id looks like that


def text_id(blob):
    h = blob.hex()
    return "-".join((h[:8], h[8:12], h[12:16], h[16:20], h[20:]))


class Table:
    def __init__(self, spec):
        self.name = spec["name"]
        self.columns = {c["name"]: c for c in spec["columns"]}
        self.names = list(self.columns)
        self.sources = spec["scope"]
        self.rows = {}
        self.raw = {}  # as the database gave them, to know what changed
        self.shown = {}  # row: (key in a view, {role: (values, canaries)})

    def device_value(self, name, value):
        """The server's form of a value as a device shows it."""
        c = self.columns[name]
        if c.get("policy") == "counter" or c["type"] == "counter":
            return value or 0
        if isinstance(value, bytes):
            return text_id(value) if len(value) == 16 else value.hex()
        if c["type"] == "set":
            return sorted(json.loads(value)) if value else []
        return value

    def readable(self, role):
        return [
            n
            for n, c in self.columns.items()
            if "read" not in c or role in c["read"]
        ]


class Oracle:
    def __init__(self, db, catalogue):
        with open(catalogue, encoding="utf-8") as f:
            specs = json.load(f)["tables"]
        self.tables = {s["name"]: Table(s) for s in specs}
        self.db = sqlite3.connect(
            f"file:{db}?mode=ro", uri=True, timeout=30, isolation_level=None
        )
        self.version = None
        self.memory = {}  # last scopes of rows that nothing names any more

    def read(self):
        """One snapshot; False when nothing was committed since the last."""
        version = self.db.execute("PRAGMA data_version").fetchone()[0]
        if version == self.version:
            return False
        self.version = version
        self.db.execute("BEGIN")
        for t in self.tables.values():
            names = ", ".join(f'"{n}"' for n in t.names)
            rows = self.db.execute(
                f'SELECT id, _flags, {names} FROM "{t.name}"'
            )
            self.take(t, rows)
        self.grants = self.db.execute(
            "SELECT user, territory, role, from_ms, to_ms FROM _grant"
        ).fetchall()
        self.db.execute("COMMIT")
        self.tree = {}
        for node, (dead, v) in self.tables["territory"].rows.items():
            if not dead:
                self.tree[node] = v["parent_id"]
        self.scopes = {}
        self.views = {}
        for t in self.tables.values():  # also of rows that nobody asks for
            for row in t.rows:
                self.of(t.name, row)
        return True

    def take(self, t, rows):
        """Work is done once for each state of a row, not at every commit."""
        raw, t.raw = t.raw, {}
        was, t.rows = t.rows, {}
        shown, t.shown = t.shown, {}
        for r in rows:
            row = r[0]
            t.raw[row] = r
            if raw.get(row) == r:
                t.rows[row], t.shown[row] = was[row], shown[row]
                continue
            t.rows[row] = (bool(r[1] & DELETED), dict(zip(t.names, r[2:])))
            t.shown[row] = ((t.name, text_id(row)), {})

    # -- where a row is

    def of(self, table, row):
        key = (table, row)
        if key not in self.scopes:
            self.scopes[key] = frozenset()  # no cycles, but stay safe
            self.scopes[key] = self.work_out(table, row)
        return self.scopes[key]

    def work_out(self, table, row):
        t = self.tables[table]
        if row not in t.rows:
            return frozenset()
        dead, v = t.rows[row]
        if dead and (table, row) in self.memory:
            return self.memory[table, row]  # a tombstone does not move
        found = set()
        for s in t.sources:
            if s.get("global"):
                found.add(EVERYONE)
            elif "column" in s:
                if v[s["column"]]:
                    found.add(v[s["column"]])
            elif "set" in s:
                for text in json.loads(v[s["set"]] or "[]"):
                    found.add(bytes.fromhex(text.replace("-", "")))
            elif "via" in s:
                ref = t.columns[s["via"]]["ref"]
                if v[s["via"]]:
                    found |= self.of(ref, v[s["via"]])
            elif "row" in s:
                name, ident = (v[c] for c in s["row"])
                if name and ident:
                    found |= self.of(
                        name, bytes.fromhex(ident.replace("-", ""))
                    )
        if not found and table in self.tables:
            return self.memory.get((table, row), frozenset())
        self.memory[table, row] = frozenset(found)
        return frozenset(found)

    # -- what a user may hold

    def rights(self, login):
        now = time.time() * 1000
        user = next(
            (u, v)
            for u, (dead, v) in self.tables["user"].rows.items()
            if v["login"] == login and not dead
        )
        tops, roles = set(), []
        for who, territory, role, start, end in self.grants:
            if who == user[0] and start <= now and (end == 0 or now < end):
                tops.add(territory)
                roles.append(role)
        covered = {EVERYONE}
        for node in self.tree:
            at, path = node, set()
            while at is not None and at not in path:
                if at in tops:
                    covered.add(node)
                    break
                path.add(at)
                at = self.tree.get(at)
        role = max(roles, key=STRENGTH.index) if roles else user[1]["role"]
        return role, frozenset(covered)

    def masked(self, values, role):
        """Of a ledger row about a column that the role may not read."""
        of = self.tables.get(values.get("table_name"))
        c = of.columns.get(values.get("field")) if of else None
        if c is None or "read" not in c or role in c["read"]:
            return values
        hidden = ("shown_value", "losing_value", "base_value")
        return {n: None if n in hidden else v for n, v in values.items()}

    def as_shown(self, t, row, values, role):
        """The row's values as a device of that role shows them, and the
        canaries in them."""
        if t.name == "conflict":
            values = self.masked(values, role)
        names = t.readable(role)
        out = tuple(
            t.device_value(n, values[n]) if n in names else None
            for n in t.names
        )
        return out, canaries(out)

    def expected(self, login):
        """{(table, id): values as the device shows them}, and its canaries"""
        role, scopes = self.rights(login)
        if (role, scopes) in self.views:
            return self.views[role, scopes]
        view, marks = {}, set()
        for t in self.tables.values():
            for row, (dead, values) in t.rows.items():
                if dead or self.of(t.name, row).isdisjoint(scopes):
                    continue
                key, by_role = t.shown[row]
                if role not in by_role:
                    by_role[role] = self.as_shown(t, row, values, role)
                view[key], found = by_role[role]
                marks |= found
        self.views[role, scopes] = view, frozenset(marks)
        return self.views[role, scopes]


def canaries(values):
    """The canaries in the texts of a row."""
    found = set()
    for v in values:
        if isinstance(v, str):
            found.update(CANARY.findall(v))
    return found
