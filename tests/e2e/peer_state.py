"""Row states: the metadata of PROTOCOL.md section 16 and the merge rules of
section 18, written from that page alone.

A state is {vv, dv, deletes {dot: stamp}, cols {no: body}}. A body is a list
of Write for registers, {replica: sum} for counters, {element: set of dots}
for sets. The typed values are found by shown().
"""

from dataclasses import dataclass
import json
import struct

from peer_codec import (
    Bytes,
    DELETE,
    canonical,
    fold,
    must,
    set_text,
    to_varint,
    to_zigzag,
    unfold,
)

RESOLVES, COVERED = 1, 2
COUNT_MAX = 4096


@dataclass(frozen=True)
class Write:
    dot: tuple
    stamp: int
    value: object
    flags: int = 0


class Column:
    """What the catalogue says of a column: type, policy, ranks."""

    def __init__(self, c):
        self.no, self.name, self.type = c["no"], c["name"], c["type"]
        own = self.type if self.type in ("set", "counter") else "lww"
        self.policy = c.get("policy", own)
        self.rank = {}
        for v in c.get("values", []):
            if isinstance(v, dict):
                place = (bool(v.get("terminal")), v.get("rank", 0))
                self.rank[v["name"]] = place


class Table:
    def __init__(self, t):
        self.no, self.name = t["no"], t["name"]
        self.cols = {c["no"]: Column(c) for c in t["columns"]}
        self.by_name = {c.name: c for c in self.cols.values()}


class Catalogue:
    def __init__(self, text):
        c = json.loads(text)
        self.version = c["version"]
        self.tables = {t["no"]: Table(t) for t in c["tables"]}
        self.by_name = {t.name: t for t in self.tables.values()}

    def types(self, table, no):
        t = self.tables.get(table)
        c = t and t.cols.get(no)
        return c.type if c else None


def new_state():
    return {"vv": {}, "dv": {}, "deletes": {}, "cols": {}}


def has(vector, dot):
    return vector.get(dot[0], 0) >= dot[1]


def join(a, b):
    for r, s in b.items():
        a[r] = max(a.get(r, 0), s)


def alive(state):
    return any(s > state["dv"].get(r, 0) for r, s in state["vv"].items())


# What is shown


def _value_key(v):
    if v is None:
        return (0, 0)
    if isinstance(v, (int, float)):
        return (1, v)
    return (3, v.encode()) if isinstance(v, str) else (4, v)


def shown_write(column, writes):
    late = lambda w: (w.stamp, w.dot)
    if column.policy in ("lww", "keep"):
        return max(writes, key=late)
    if column.policy == "first":
        some = [w for w in writes if w.value is not None] or writes
        return min(some, key=late)
    if column.policy in ("max", "min"):
        some = [w for w in writes if w.value is not None] or writes
        best = (max if column.policy == "max" else min)(
            _value_key(w.value) for w in some
        )
        return max((w for w in some if _value_key(w.value) == best), key=late)

    def far(w):
        terminal, rank = column.rank.get(w.value, (False, -1))
        return (terminal, 0 if terminal else rank, late(w))

    return max(writes, key=far)


def shown(table, state):
    """Typed values {column no: value}, empty ones left out."""
    out = {}
    for no, body in state["cols"].items():
        c = table.cols[no]
        if c.policy == "counter":
            total = sum(body.values())
            value = max(-(1 << 63), min((1 << 63) - 1, total)) or None
        elif c.policy == "set":
            value = set_text(body)
        else:
            value = shown_write(c, body).value
        if value is not None:
            out[no] = value
    return out


# Merge


def _register(column, body, ctx, w):
    kept = [x for x in body if not has(ctx, x.dot)]
    gone = [x for x in body if has(ctx, x.dot)]
    kept = [x for x in kept if not x.flags & COVERED]
    kept.append(w)
    if column.policy in ("max", "min", "first"):
        marked = [
            Write(x.dot, x.stamp, x.value, x.flags | COVERED)
            for x in gone + [x for x in body if x.flags & COVERED]
        ]
        best = shown_write(column, kept + marked)
        if best.flags & COVERED:
            kept.append(best)
    return sorted(kept, key=lambda x: x.dot)


def stamp_of(cell, at, offset, previous, covered=()):
    """Section 12, as a device computes it: without `now`."""
    ms = min(max(cell.get("at", at) + offset, 0), (1 << 48) - 1)
    replaced = max([cell.get("stamp", 0), *(w.stamp for w in covered)])
    floor = max(replaced + 1 if replaced else 0, previous + 1 if previous else 0)
    return max(ms << 16, floor)


def last_stamp(state, replica):
    """The largest stamp of this replica that the row still shows."""
    stamps = [t for d, t in state["deletes"].items() if d[0] == replica]
    for body in state["cols"].values():
        if isinstance(body, list):
            stamps += [w.stamp for w in body if w.dot[0] == replica]
    return max(stamps, default=0)


def merge(table, state, delta, dot, offset):
    """Apply a delta; the new state (the old one is left alone)."""
    ctx = delta.get("ctx", {})
    out = {
        "vv": dict(state["vv"]),
        "dv": dict(state["dv"]),
        "deletes": {
            d: t for d, t in state["deletes"].items() if not has(ctx, d)
        },
        "cols": dict(state["cols"]),
    }
    if has(out["vv"], dot):
        return state
    previous = last_stamp(state, dot[0])
    for no, cell in delta["cols"].items():
        c = table.cols[no]
        if c.policy == "counter":
            body = dict(out["cols"].get(no, {}))
            body[dot[0]] = body.get(dot[0], 0) + cell["value"]
            out["cols"][no] = body
        elif c.policy == "set":
            body = {e: set(d) for e, d in out["cols"].get(no, {}).items()}
            for e in cell.get("removes", []):
                left = {d for d in body.get(e, ()) if not has(ctx, d)}
                body[e] = left
            for e in cell.get("adds", []):
                body.setdefault(e, set()).add(dot)
            out["cols"][no] = {e: d for e, d in body.items() if d}
        else:
            old = out["cols"].get(no, [])
            covered = [w for w in old if has(ctx, w.dot)]
            stamp = stamp_of(cell, delta["at"], offset, previous, covered)
            flags = RESOLVES if cell.get("resolves") else 0
            w = Write(dot, stamp, cell["value"], flags)
            out["cols"][no] = _register(c, old, ctx, w)
    if delta["op"] == DELETE:
        out["deletes"][dot] = stamp_of({}, delta["at"], offset, previous)
        join(out["dv"], ctx)
        join(out["dv"], {dot[0]: dot[1]})
    out["vv"][dot[0]] = dot[1]
    return out


# Section 16: reading


class Reader(Bytes):
    def __init__(self, data, table, cols):
        super().__init__(data)
        self.table, self.cols, self.base = table, cols, 0
        self.vv = []

    def count(self, least=1):
        n = self.varint()
        must(least <= n <= COUNT_MAX, "count")
        return n

    def dot_of(self, number):
        i = number >> 1
        must(i < len(self.vv), "dot of an unknown replica")
        r, s = self.vv[i]
        if number & 1:
            back = self.varint()
            must(1 <= back < s, "dot's distance")
            s -= back
        return (r, s)

    def dot(self):
        return self.dot_of(self.varint())

    def stamp(self, base=None):
        n = self.varint()
        ms = n >> 1 if base is None else base + unfold(n >> 1)
        must(0 <= ms < 1 << 48, "stamp's ms")
        low = 0
        if n & 1:
            low = self.varint()
            must(1 <= low <= 65535, "stamp's counter")
        return ms << 16 | low

    def value(self):
        kind = self.u8()
        must(kind <= 4, "kind of value")
        if kind == 0:
            return None
        if kind == 1:
            return self.zigzag()
        if kind == 2:
            return struct.unpack(">d", self.take(8))[0]
        data = self.take(self.varint())
        return data.decode() if kind == 3 else data


def _default_columns(r):
    k = r.varint()
    if k & 1:
        must(1 <= k >> 1 <= 65535, "default's columns")
        return list(range(1, (k >> 1) + 1))
    data = r.take(k >> 1)
    must(data and data[-1], "default's bitmap")
    return [
        8 * i + b for i, byte in enumerate(data) for b in range(8)
        if byte >> b & 1
    ]


def _read_register(r, no):
    n = r.varint()
    must(n <= COUNT_MAX, "writes")
    if n == 0:
        dot = r.dot()
        return [Write(dot, r.stamp(r.base), r.cols.get(no))]
    at = r.varint()
    must(at < n, "index of the shown write")
    out = []
    for i in range(n):
        flags = r.u8()
        must(flags < 4, "flags of a write")
        dot = r.dot()
        stamp = r.stamp(r.base)
        value = r.cols.get(no) if i == at else r.value()
        out.append(Write(dot, stamp, value, flags))
    must(out == sorted(out, key=lambda w: w.dot), "dots do not rise")
    best = shown_write(r.table.cols[no], out)
    must(best.dot == out[at].dot, "another write is shown")
    return out


def _read_field(r, no):
    policy = r.table.cols[no].policy
    if policy == "counter":
        sums = {}
        for _ in range(r.count()):
            replica = r.vv[r.varint()][0]
            sums[replica] = r.zigzag()
        return sums
    if policy == "set":
        body = {}
        for e in json.loads(r.cols.get(no) or "[]"):
            dots, another = set(), True
            while another:
                n = r.varint()
                another = n & 1
                dots.add(r.dot_of(n >> 1))
            body[e] = dots
        return body
    return _read_register(r, no)


def read_meta(data, table, cols):
    """State of metadata and typed values; refuses what is not canonical."""
    r = Reader(data, table, cols)
    state = new_state()
    head = r.u8()
    must(head & 7 == 1 and head < 128, "metadata's head")
    last = 0
    for _ in range(r.count(0)):
        last += r.varint()
        r.vv.append((last, r.varint()))
    state["vv"] = dict(r.vv)
    if head & 8:
        state["dv"] = dict(r.dot() for _ in range(r.count()))
    if head & 16:
        dot = r.dot()
        stamp = r.stamp()
        r.base = stamp >> 16
        for no in _default_columns(r):
            must(no in table.cols, "default's column")
            state["cols"][no] = [Write(dot, stamp, cols.get(no))]
    if head & 32:
        for _ in range(r.count()):
            dot = r.dot()
            state["deletes"][dot] = r.stamp(r.base)
    if head & 64:
        no = 0
        for _ in range(r.count()):
            no += r.varint()
            must(no in table.cols and no not in state["cols"], "field")
            state["cols"][no] = _read_field(r, no)
    r.end()
    return state


# Section 16: writing


def _default_of(table, cols):
    """(write, numbers): the plain write that most columns hold."""
    groups = {}
    for no in sorted(cols):
        body = cols[no]
        if isinstance(body, list) and len(body) == 1 and not body[0].flags:
            groups.setdefault((body[0].dot, body[0].stamp), []).append(no)
    if not groups:
        return None, []
    key = max(groups, key=lambda k: (len(groups[k]), -groups[k][0]))
    return key, groups[key]


class Writer:
    def __init__(self, state):
        self.vv = sorted(state["vv"].items())
        self.index = {r: i for i, (r, _) in enumerate(self.vv)}
        self.base = 0

    def dot_number(self, dot):
        back = self.vv[self.index[dot[0]]][1] - dot[1]
        return 2 * self.index[dot[0]] + (back > 0), back

    def dot(self, dot):
        n, back = self.dot_number(dot)
        return to_varint(n) + (to_varint(back) if back else b"")

    def stamp(self, stamp, base=None):
        ms, low = stamp >> 16, stamp & 0xFFFF
        n = ms if base is None else fold(ms - base)
        return to_varint(2 * n + (low > 0)) + (to_varint(low) if low else b"")

    def value(self, v):
        if v is None:
            return b"\x00"
        if isinstance(v, int):
            return b"\x01" + to_zigzag(int(v))
        if isinstance(v, float):
            return canonical(v)
        raw = v.encode() if isinstance(v, str) else v
        kind = b"\x03" if isinstance(v, str) else b"\x04"
        return kind + to_varint(len(raw)) + raw

    def register(self, column, writes):
        if len(writes) == 1 and not writes[0].flags:
            w = writes[0]
            return b"\x00" + self.dot(w.dot) + self.stamp(w.stamp, self.base)
        at = writes.index(shown_write(column, writes))
        out = to_varint(len(writes)) + to_varint(at)
        for i, w in enumerate(writes):
            out += bytes([w.flags]) + self.dot(w.dot)
            out += self.stamp(w.stamp, self.base)
            out += b"" if i == at else self.value(w.value)
        return out

    def field(self, column, body):
        if column.policy == "counter":
            sums = sorted((self.index[r], s) for r, s in body.items() if s)
            return to_varint(len(sums)) + b"".join(
                to_varint(i) + to_zigzag(s) for i, s in sums
            )
        if column.policy != "set":
            return self.register(column, body)
        out = b""
        for e in sorted(body, key=lambda e: e.encode()):
            dots = sorted(body[e])
            for d in dots:
                n, back = self.dot_number(d)
                out += to_varint(2 * n + (d != dots[-1]))
                out += to_varint(back) if back else b""
        return out


def _empty(body):
    return not body or (isinstance(body, dict) and not any(body.values()))


def write_meta(table, state):
    w = Writer(state)
    out, last = bytearray(to_varint(len(w.vv))), 0
    for r, s in w.vv:
        out += to_varint(r - last) + to_varint(s)
        last = r
    head = 1
    if state["dv"]:
        head |= 8
        out += to_varint(len(state["dv"]))
        out += b"".join(w.dot(d) for d in sorted(state["dv"].items()))
    default, nos = _default_of(table, state["cols"])
    if default:
        head |= 16
        out += w.dot(default[0]) + w.stamp(default[1])
        w.base = default[1] >> 16
        if nos == list(range(1, len(nos) + 1)):
            out += to_varint(2 * len(nos) + 1)
        else:
            bits = bytearray(nos[-1] // 8 + 1)
            for no in nos:
                bits[no // 8] |= 1 << no % 8
            out += to_varint(2 * len(bits)) + bits
    if state["deletes"]:
        head |= 32
        out += to_varint(len(state["deletes"]))
        for d, t in sorted(state["deletes"].items()):
            out += w.dot(d) + w.stamp(t, w.base)
    rest = [
        no
        for no in sorted(state["cols"])
        if no not in nos and not _empty(state["cols"][no])
    ]
    if rest:
        head |= 64
        out += to_varint(len(rest))
        last = 0
        for no in rest:
            out += to_varint(no - last)
            out += w.field(table.cols[no], state["cols"][no])
            last = no
    return bytes([head]) + bytes(out)
