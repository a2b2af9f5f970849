"""The bytes of the Satchel protocol, written from PROTOCOL.md alone: frames,
column blocks, changesets, pages, row metadata, row hash. It shares nothing
with the C code; section numbers are those of PROTOCOL.md.
"""

import json
import struct

import msgpack
import xxhash
import zstandard

(
    HELLO,
    WELCOME,
    PUSH,
    VERDICT,
    ROWS,
    EVICT,
    CHECKPOINT,
    CREDIT,
    GRANT,
    CATALOGUE,
) = range(1, 11)
PING, PONG, ERROR, WIPE = 12, 13, 14, 15
MARK = 17
REPAIR = 11
ENROL, ENROLLED = 20, 21

FRAME_MAX = 1 << 20
PLAIN_MAX = 4 << 20
U64 = (1 << 64) - 1
INSERT, UPDATE, DELETE = 0, 1, 2
INTS = ("int", "bool", "money", "time", "counter")
FIXED = {"ref": 16, "blobref": 32}


class Broken(Exception):
    """Bytes that PROTOCOL.md does not allow."""


def must(condition, why):
    if not condition:
        raise Broken(why)


# Section 4: msgpack, varints, bitmaps


def pack(value):
    return msgpack.packb(value, use_bin_type=True)


def unpack(data):
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=False,
            use_list=True,
            ext_hook=lambda code, b: must(False, "extension type"),
        )
    except (ValueError, msgpack.UnpackException) as e:
        raise Broken(f"msgpack: {e}")


def to_varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def fold(n):
    """Signed 64-bit to the unsigned number of a zigzag."""
    return (n << 1 ^ n >> 63) & U64


def unfold(n):
    return n >> 1 ^ -(n & 1)


def to_zigzag(n):
    return to_varint(fold(n))


def signed(n):
    n &= U64
    return n - (1 << 64) if n >> 63 else n


class Bytes:
    """A reader that refuses to go over the end."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        must(0 <= n <= len(self.data) - self.at, "bytes missing")
        self.at += n
        return self.data[self.at - n : self.at]

    def u8(self):
        return self.take(1)[0]

    def varint(self):
        n = shift = 0
        while True:
            b = self.u8()
            n |= (b & 127) << shift
            shift += 7
            if b < 128:
                must(b or shift == 7, "varint: not the shortest")
                must(n <= U64, "varint over 64 bits")
                return n
            must(shift < 70, "varint too long")

    def zigzag(self):
        return unfold(self.varint())

    def end(self):
        must(self.at == len(self.data), "bytes left over")


def varints(data, n):
    r = Bytes(data)
    out = [r.varint() for _ in range(n)]
    r.end()
    return out


def differences(values):
    """bin of zigzag differences, the first from 0 (modulo 2^64)."""
    out, last = bytearray(), 0
    for v in values:
        out += to_zigzag(signed(v - last))
        last = v
    return bytes(out)


def undifference(data, n):
    out, last = [], 0
    for d in varints(data, n):
        last = (last + unfold(d)) & U64
        out.append(last)
    return out


def to_bitmap(bits):
    out = bytearray((len(bits) + 7) // 8)
    for i, b in enumerate(bits):
        if b:
            out[i // 8] |= 1 << i % 8
    return bytes(out)


def bitmap(data, n):
    must(len(data) == (n + 7) // 8, "bitmap of another size")
    bits = [data[i // 8] >> i % 8 & 1 for i in range(n)]
    must(to_bitmap(bits) == data, "bitmap: unused bits")
    return bits


def rising(data):
    """bin: numbers that rise, as varints."""
    r, out = Bytes(data), []
    while r.at < len(data):
        step = r.varint()
        must(step or not out, "numbers do not rise")
        out.append(step + (out[-1] if out else 0))
    return out


# Section 3: frames


def frame(kind, payload, flags=0):
    return struct.pack(">IBB", len(payload) + 2, kind, flags) + payload


def message(kind, fields):
    """A frame of a message; zipped when that makes it smaller."""
    plain = pack(fields)
    if len(plain) > 512:
        zipped = zstandard.ZstdCompressor(level=3).compress(plain)
        if len(zipped) * 64 < len(plain):
            pad = max(0, (len(plain) + 63) // 64 - len(zipped) - 8)
            zipped += struct.pack("<II", 0x184D2A50, pad) + bytes(pad)
        if len(zipped) < len(plain):
            return frame(kind, zipped, 1)
    return frame(kind, plain)


def unzip(data):
    d = zstandard.ZstdDecompressor(max_window_size=4 << 20).decompressobj()
    try:
        plain = d.decompress(data)
    except zstandard.ZstdError as e:
        raise Broken(f"zstd: {e}")
    must(d.eof if hasattr(d, "eof") else True, "zstd frame cut")
    rest = d.unused_data
    if rest:
        must(len(rest) >= 8, "padding cut")
        magic, size = struct.unpack("<II", rest[:8])
        must(magic == 0x184D2A50 and size == len(rest) - 8, "bad padding")
    must(len(plain) <= PLAIN_MAX, "zipped payload too large")
    must(len(plain) <= 64 * len(data), "zip ratio")
    return plain


def unframe(data):
    """(type, map) of one whole frame."""
    length, kind, flags = struct.unpack(">IBB", data[:6])
    must(length == len(data) - 4 and length >= 2, "length of frame")
    must(flags in (0, 1), "unknown frame flag")
    plain = unzip(data[6:]) if flags else data[6:]
    fields = unpack(plain)
    must(isinstance(fields, dict), "payload is no map")
    keys = list(fields)
    must(keys == sorted(set(keys)), "keys do not rise")
    return kind, fields


# Section 15: column blocks; ids as in key 4 of a group


def to_ids(ids):
    heads = [int.from_bytes(i[:6], "big") for i in ids]
    return [differences(heads), b"".join(i[6:] for i in ids)]


def ids(pair, n):
    heads = undifference(pair[0], n)
    must(len(pair[1]) == 10 * n, "ids: length")
    must(all(h < 1 << 48 for h in heads), "ids: over 48 bits")
    return [
        h.to_bytes(6, "big") + pair[1][10 * i : 10 * i + 10]
        for i, h in enumerate(heads)
    ]


def to_block(kind, values):
    nulls = to_bitmap([v is None for v in values])
    some = [v for v in values if v is not None]
    if not some:
        return [0, None, None]
    nulls = nulls if len(some) < len(values) else None
    if kind in INTS:
        return [1, nulls, b"".join(to_zigzag(int(v)) for v in some)]
    if kind == "real":
        raw = [struct.pack(">d", v) for v in some]
        return [4, nulls, bytes(r[k] for k in range(8) for r in raw)]
    if kind == "ref":
        return [10, nulls, to_ids(some)]
    if kind == "blobref":
        return [8, nulls, b"".join(some)]
    raw = [v.encode() for v in some]
    return [6, nulls, [b"".join(to_varint(len(r)) for r in raw), b"".join(raw)]]


def _ints(form, body, m, heads):
    if form == 1:
        return [unfold(v) for v in varints(body, m)]
    if form == 2:
        return [signed(v) for v in undifference(body, m)]
    return [
        signed(h + unfold(v)) for h, v in zip(heads, varints(body, m))
    ]


def _split(lengths, data):
    r = Bytes(data)
    out = [r.take(n) for n in lengths]
    r.end()
    return out


def _some(kind, form, body, m, heads):
    """The m values of a block that are not NULL."""
    if kind in INTS and form in (1, 2, 3):
        return _ints(form, body, m, heads)
    if kind == "real" and form == 4:
        must(len(body) == 8 * m, "reals: length")
        return [struct.unpack(">d", body[i::m])[0] for i in range(m)]
    if kind == "real" and form == 5:
        k, inner, data = body
        must(0 <= k <= 9 and inner in (1, 2), "reals: form 5")
        return [v / 10.0**k for v in _ints(inner, data, m, heads)]
    if kind in FIXED and form in (8, 9):
        size = FIXED[kind]
        data = body if form == 8 else body[0]
        must(len(data) % size == 0, "blobs: length")
        all_ = [data[i : i + size] for i in range(0, len(data), size)]
        if form == 9:
            return [all_[i] for i in varints(body[1], m)]
        must(len(all_) == m, "blobs: count")
        return all_
    if kind == "ref" and form == 10:
        return ids(body, m)
    must(kind not in INTS and kind not in FIXED and kind != "real", "form")
    if form == 6:
        return [b.decode() for b in _split(varints(body[0], m), body[1])]
    must(form == 7, f"unknown column form {form}")
    d, lengths, data, indexes = body
    words = [b.decode() for b in _split(varints(lengths, d), data)]
    return [words[i] for i in varints(indexes, m)]


def block(kind, value, row_ids):
    """The values of a column block for the rows with these ids."""
    n = len(row_ids)
    form, nulls, body = value
    if form == 0:
        must(nulls is None and body is None, "form 0 has nothing else")
        return [None] * n
    null = [0] * n if nulls is None else bitmap(nulls, n)
    heads = [
        int.from_bytes(i[:6], "big") for i, z in zip(row_ids, null) if not z
    ]
    must(heads, "a block of NULLs has form 0")
    some = iter(_some(kind, form, body, len(heads), heads))
    return [None if z else next(some) for z in null]


# Section 13: changesets. A delta is a dict: table, op, id, at; maybe base,
# ctx {replica: seq}; cols {no: {value, at, before, stamp, resolves} or
# {adds, removes}}.


def _context(ctx):
    out, last = bytearray(to_varint(len(ctx))), 0
    for r, s in sorted(ctx.items()):
        out += to_varint(r - last) + to_varint(s)
        last = r
    return bytes(out)


def _elements(lists):
    flat = [e for one in lists for e in one]
    if not flat:
        return None
    counts = b"".join(to_varint(len(one)) for one in lists)
    return [counts, to_block("text", flat)]


def _column(no, kind, deltas):
    has = [no in d["cols"] for d in deltas]
    mine = [d for d in deltas if no in d["cols"]]
    cells = [d["cols"][no] for d in mine]
    out = {1: no}
    if not all(has):
        out[2] = to_bitmap(has)
    if kind != "set":
        out[3] = to_block(kind, [c["value"] for c in cells])
    late = [c.get("at", d["at"]) - d["at"] for c, d in zip(cells, mine)]
    if any(late):
        out[4] = b"".join(map(to_zigzag, late))
    if kind == "set":
        for key, name in ((8, "adds"), (9, "removes")):
            e = _elements([c.get(name, []) for c in cells])
            if e:
                out[key] = e
        return out
    if kind == "counter":
        return out
    before = [c.get("before") for c in cells]
    if any(v is not None for v in before):
        out[5] = to_block(kind, before)
    stamps = [c.get("stamp", 0) for c in cells]
    if any(stamps):
        out[6] = differences(stamps)
    if any(c.get("resolves") for c in cells):
        out[7] = to_bitmap([bool(c.get("resolves")) for c in cells])
    return out


def _group(deltas, types):
    table = deltas[0]["table"]
    out = {
        1: table,
        2: deltas[0]["op"],
        3: len(deltas),
        4: to_ids([d["id"] for d in deltas]),
        5: to_block("time", [d["at"] for d in deltas]),
    }
    if any(d.get("base") for d in deltas):
        out[6] = differences([d.get("base", 0) for d in deltas])
    if any(d.get("ctx") for d in deltas):
        out[7] = b"".join(_context(d.get("ctx", {})) for d in deltas)
    nos = sorted({no for d in deltas for no in d["cols"]})
    out[8] = [_column(no, types(table, no), deltas) for no in nos]
    return out


def to_changeset(c, types):
    """Bytes of {replica, seq, prev, catalogue, marker, flags, deltas};
    types(table, column) names a column's type."""
    groups, run = [], []
    for d in c["deltas"]:
        if run and (run[0]["table"], run[0]["op"]) != (d["table"], d["op"]):
            groups.append(_group(run, types))
            run = []
        run.append(d)
    if run:
        groups.append(_group(run, types))
    return pack(
        {
            1: c["replica"],
            2: c["seq"],
            3: c["prev"],
            4: c["catalogue"],
            5: c["marker"],
            6: c.get("flags", 0),
            7: len(c["deltas"]),
            8: groups,
        }
    )


def _read_elements(value, n, spare):
    if value is None:
        return [[] for _ in range(n)]
    counts = varints(value[0], n)
    total = sum(counts)
    # Elements have no ids of their own; text forms never ask for them.
    flat = block("text", value[1], [spare] * total)
    out = []
    for k in counts:
        out.append(flat[:k])
        flat = flat[k:]
    return out


def _read_column(col, kind, deltas):
    has = bitmap(col[2], len(deltas)) if 2 in col else [1] * len(deltas)
    mine = [d for d, h in zip(deltas, has) if h]
    row_ids = [d["id"] for d in mine]
    n = len(mine)
    late = [unfold(v) for v in varints(col[4], n)] if 4 in col else [0] * n
    if kind == "set":
        adds = _read_elements(col.get(8), n, bytes(16))
        removes = _read_elements(col.get(9), n, bytes(16))
        for d, t, a, r in zip(mine, late, adds, removes):
            d["cols"][col[1]] = {"at": d["at"] + t, "adds": a, "removes": r}
        return
    values = block(kind, col[3], row_ids)
    before = block(kind, col[5], row_ids) if 5 in col else [None] * n
    stamps = undifference(col[6], n) if 6 in col else [0] * n
    resolves = bitmap(col[7], n) if 7 in col else [0] * n
    for i, d in enumerate(mine):
        cell = {"value": values[i], "at": d["at"] + late[i]}
        if kind != "counter":
            cell["before"] = before[i]
            cell["stamp"] = stamps[i]
            cell["resolves"] = bool(resolves[i])
        d["cols"][col[1]] = cell


def changeset(data, types):
    m = unpack(data)
    out = {
        "replica": m[1],
        "seq": m[2],
        "prev": m[3],
        "catalogue": m[4],
        "marker": m[5],
        "flags": m[6],
        "deltas": [],
    }
    for g in m[8]:
        n = g[3]
        row_ids = ids(g[4], n)
        times = block("time", g[5], row_ids)
        bases = undifference(g[6], n) if 6 in g else [0] * n
        r = Bytes(g[7]) if 7 in g else None
        deltas = []
        for i in range(n):
            ctx, last = {}, 0
            for _ in range(r.varint() if r else 0):
                last += r.varint()
                ctx[last] = r.varint()
            deltas.append(
                dict(table=g[1], op=g[2], id=row_ids[i], at=times[i])
                | dict(base=bases[i], ctx=ctx, cols={})
            )
        if r:
            r.end()
        for col in g[8]:
            _read_column(col, types(g[1], col[1]), deltas)
        out["deltas"] += deltas
    must(len(out["deltas"]) == m[7], "number of deltas")
    return out


# Section 14: pages


def page(data, table, types, refs):
    """Rows of a page: dicts of id, seq, meta, cols {no: value}."""
    m = unpack(data)
    n = m[1]
    must(n <= 4096, "rows in a page")
    row_ids = ids(m[2], n)
    seqs = undifference(m[3], n)
    rows = [dict(id=i, seq=s, cols={}) for i, s in zip(row_ids, seqs)]
    if refs:
        return rows
    lengths = varints(m[4][0], n)
    metas = [bytearray() for _ in range(n)]
    r = Bytes(m[4][1])
    for p in range(64):
        for i in range(n):
            if lengths[i] > p:
                metas[i] += r.take(1)
    for i in range(n):
        metas[i] += r.take(max(0, lengths[i] - 64))
        rows[i]["meta"] = bytes(metas[i])
    r.end()
    for no, b in m[5]:
        kind = types(table, no)
        if kind is None:
            continue  # a column that this catalogue does not have
        for row, v in zip(rows, block(kind, b, row_ids)):
            row["cols"][no] = v
    return rows


# Section 17: hashes


def xxh(data):
    return xxhash.xxh3_128(data).digest()


def canonical(v):
    """kind and bytes of a value as hashed"""
    if isinstance(v, bool):
        v = int(v)
    if isinstance(v, int):
        return b"\x01" + struct.pack(">q", v)
    if isinstance(v, float):
        return b"\x02" + struct.pack(">d", v + 0.0)
    raw = v.encode() if isinstance(v, str) else v
    kind = b"\x03" if isinstance(v, str) else b"\x04"
    return kind + struct.pack(">I", len(raw)) + raw


def row_hash(table, row_id, meta, cols, types):
    out = bytearray(struct.pack(">H", table) + row_id)
    out += struct.pack(">I", len(meta)) + meta
    for no, v in sorted(cols.items()):
        if v is None or (types(table, no) == "counter" and v == 0):
            continue
        out += struct.pack(">H", no) + canonical(v)
    return xxh(bytes(out))


def set_text(elements):
    """A set as text: a JSON array in byte order of the elements."""
    ordered = sorted(elements, key=lambda e: e.encode())
    return json.dumps(ordered, ensure_ascii=False, separators=(",", ":"))
