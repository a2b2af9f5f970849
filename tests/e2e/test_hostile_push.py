"""Hostile changesets: order, parts and hashes that lie, and contents that the
author may not write. Each gets its verdict or its ERROR, nothing of it is in,
and the next good changeset is applied.
"""
# timeout: 300

import random

import peer_codec as codec
from harness import NIGHTLY, check, equal, main, seed
from peer import APPLIED, REJECTED, Gone, Refused, now_ms, uuid7
from peer_org import Watched, account, visit

MALFORMED, VALUE, REQUIRED, ROLE, DERIVED, APPEND_ONLY, SCOPE, PARENT = range(
    1, 9
)
GONE, FORGED, DEPENDS, TOO_LATE, ENCODING, CATALOGUE = range(9, 15)


def content(c):
    """What the server holds, by count and by the largest position."""
    return [
        c.sql(f"SELECT count(*) FROM {t}")[0][0]
        for t in ("account", "visit", "target", "territory", "user", "note")
    ]


def send_changeset(p, data, seq=None):
    """Push bytes as they are as the next changeset; the verdict."""
    p.seq = seq or p.seq + 1
    p.last_hash = codec.xxh(data)
    p.outbox[p.seq] = [data, (), None]
    entry = p.outbox[p.seq]
    p.push(p.seq)
    p.pump(lambda: entry[2], "verdict of rubbish")
    return entry[2]


def expect(p, wanted, *deltas, **other):
    """A changeset that must be rejected for this reason."""
    seq = p.commit(*deltas, **other)
    entry = p.outbox[seq]
    p.push(seq)
    p.pump(lambda: entry[2], "verdict")
    got = entry[2]
    reasons = wanted if isinstance(wanted, tuple) else (wanted,)
    check(
        got[2] == REJECTED and got.get(7) in reasons,
        f"verdict {got}, wanted reason {wanted} for {deltas}",
    )
    return got


def order_and_parts():
    """Replayed, reordered and skipped PUSHes; parts, totals and hashes that
    lie: an ERROR, and everything resumes from the last verdict."""
    with Watched("push-order") as c:
        p = c.peer("ann")
        held = []
        for name in "ABC":
            held.append(p.commit(p.insert("account", name=name)))
        one, two, three = (p.made[s] for s in held)

        def part(seq, data, n=0, total=None, last=True, digest=None):
            m = {1: seq, 2: n}
            if last:
                m[3] = True
            m.update({4: len(data) if total is None else total, 5: data})
            if last and digest != b"":
                m[6] = digest or codec.xxh(data)
            return codec.message(codec.PUSH, m)

        half = len(one) // 2
        start = part(1, one[:half], total=len(one), last=False)
        rest = codec.xxh(one)
        cases = {
            "seq 0": (part(0, one), (1, 13)),
            "a gap": (part(2, two), (13,)),
            "seq 2^64-1": (part((1 << 64) - 1, one), (13,)),
            "reordered": (part(3, three) + part(1, one), (13,)),
            "part 1 first": (part(1, one[half:], 1, len(one)), (1,)),
            "part twice": (start * 2, (1,)),
            "part left out": (start + part(1, one[half:], 2, len(one)), (1,)),
            "part of the next in between": (start + part(2, two), (1, 13)),
            "total changed": (
                start + part(1, one[half:], 1, len(one) + 1, digest=rest),
                (1,),
            ),
            "total too small": (part(1, one, total=5), (1,)),
            "total too large": (part(1, one, total=len(one) + 9), (1,)),
            "total 0": (part(1, one, total=0), (1, 2)),
            "total of 65 MiB": (
                part(1, one, total=65 << 20, last=False),
                (2,),
            ),
            "last left out": (part(1, one, last=False), (1,)),
            "no hash": (part(1, one, digest=b""), (1,)),
            "another hash": (part(1, one, digest=codec.xxh(two)), (1,)),
            "no bytes": (part(1, b""), (1, 2)),
        }
        before = content(c)
        for what, (data, codes) in cases.items():
            c.mark()
            p.connect()
            equal(p.server_seq, 0, what)
            p.line.raw(data)
            try:
                p.pump(lambda: False, what)
            except Refused as e:
                check(e.code in codes, f"{what}: {e}")
            except Gone:
                check(False, f"{what}: closed without an ERROR")
            p.close()
            c.one_line(r"level=warn.*msg=closed")
            equal(content(c), before, what)
        c.still_good()
        p.connect()
        for s in held:
            p.push(s)
        p.pump(lambda: all(p.outbox.get(s, [0, 0, 1])[2] for s in held), "3")
        p.pull()
        equal(content(c)[0], before[0] + 3, "all three, once")
        # a seq of which the verdict is stored: dropped, not applied again
        p.connect()
        p.line.raw(part(1, three))
        p.sent += len(three)
        equal(p.do(p.insert("account", name="D"))[2], APPLIED)
        equal(content(c)[0], before[0] + 4, "the replayed one is not in")
        # another content for a seq that is to come breaks the chain only if
        # its predecessor's hash is wrong
        p.pull()
        p.last_hash = b"x" * 16
        seq = p.commit(p.insert("account", name="E"))
        entry = p.outbox[seq]
        try:
            p.push(seq)
            p.pump(lambda: entry[2], "verdict or ERROR")
            equal(entry[2][2], REJECTED, "another predecessor")
        except Refused as e:
            check(e.code in (1, 12), f"another predecessor: {e}")
        equal(content(c)[0], before[0] + 4, "a forked chain is not in")
        c.still_good()
        c.real_good()


def header_lies():
    """Replica, seq, catalogue and marker inside the bytes."""
    with Watched("push-header") as c:
        p = c.peer("ann")

        def one(**lies):
            return codec.to_changeset(
                dict(replica=p.replica, seq=p.seq + 1, prev=p.last_hash)
                | dict(catalogue=1, deltas=[p.insert("account", name="Z")])
                | dict(marker=[p.epoch, p.cursor, p.grants])
                | lies,
                p.cat.types,
            )

        for what, lies in {
            "the dot of another replica": dict(replica=c.good.replica),
            "the server's replica": dict(replica=1),
            "replica 0": dict(replica=0),
            "another seq": dict(seq=77),
            "seq 0": dict(seq=0),
            "a newer catalogue": dict(catalogue=99),
            "catalogue 0": dict(catalogue=0),
            "a marker from the future": dict(
                marker=[p.epoch, 1 << 60, p.grants]
            ),
            "a marker of other rights": dict(marker=[p.epoch, p.cursor, 99]),
        }.items():
            c.mark()
            before = content(c)
            held = p.seq, p.last_hash
            try:
                v = send_changeset(p, one(**lies))
                if what.startswith("a marker") or what == "catalogue 0":
                    check(v[2] in (APPLIED, REJECTED), f"{what}: {v}")
                    before = content(c)
                else:
                    equal(v[2], REJECTED, what)
                    check(v.get(7), f"{what}: no reason in {v}")
            except Refused as e:
                check(e.code in (1, 12, 13, 14), f"{what}: {e}")
                del p.outbox[p.seq]
                p.seq, p.last_hash = held
                p.connect()
            equal(content(c), before, what)
            c.still_good()
        # HELLO with a catalogue that the server never had
        try:
            p.connect({**p.hello(), 5: 99})
            check(False, "was let in with a newer catalogue")
        except Refused as e:
            equal(e.code, 14, "newer catalogue")
        p.connect()
        equal(p.do(p.insert("account", name="good"))[2], APPLIED)
        c.real_good()


def rubbish_inside():
    """Bytes with a right hash that are no changeset, or a damaged one."""
    rng = random.Random(seed())
    with Watched("push-rubbish") as c:
        p = c.peer("ann")
        good = codec.to_changeset(
            dict(replica=p.replica, seq=1, prev=bytes(16), catalogue=1)
            | dict(marker=[p.epoch, p.cursor, p.grants])
            | dict(
                deltas=[
                    p.insert("account", name=f"Z{i}", phone="1" * i)
                    for i in range(3)
                ]
            ),
            p.cat.types,
        )
        m = codec.unpack(good)
        many = [{**m[8][0], 3: 1 << 40}]
        cases = [
            b"\x00",
            b"\xc1",
            b"\xdd\xff\xff\xff\xff",
            b"\x91" * 5000,
            rng.randbytes(3000),
            good[:-1],
            good + b"\0",
            codec.pack({}),
            codec.pack({**m, 7: 2}),
            codec.pack({**m, 7: 1 << 60}),
            codec.pack({**m, 8: many}),
            codec.pack({**m, 7: 0, 8: []}),
            codec.pack({**m, 8: [{**m[8][0], 2: 9}]}),
            codec.pack({**m, 8: [{**m[8][0], 1: 65000}]}),
            codec.pack({**m, 8: [{**m[8][0], 4: [b"", b""]}]}),
            codec.pack({**m, 8: [{**m[8][0], 5: [99, None, b""]}]}),
            codec.pack({**m, 3: b"short"}),
            codec.pack({**m, 5: []}),
        ]
        for _ in range(600 if NIGHTLY else 120):
            data = bytearray(good)
            for _ in range(rng.randrange(1, 5)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            cases.append(bytes(data))
        c.mark()
        for n, data in enumerate(cases):
            held = p.seq, p.last_hash
            try:
                v = send_changeset(p, data)
                if n < 18:
                    check(v[2] == REJECTED, f"rubbish {n}: {v}")
            except Refused as e:
                check(e.code in (1, 2, 12, 13, 14), f"rubbish {n}: {e}")
                p.outbox.pop(p.seq, None)
                p.seq, p.last_hash = held
                p.connect()
                p.seq = p.server_seq
        c.still_good()
        c.real_good()


def contents():
    """What the gate must refuse, by reason."""
    with Watched("push-gate") as c:
        p, cid = c.peer("ann"), c.peer("cid")
        x = account(p)
        theirs = account(cid, name="Cid's")
        table = p.cat.by_name
        other_home = cid.home
        before = content(c)
        state = c.sql("SELECT * FROM account ORDER BY id")

        def acc(**values):
            return p.insert("account", **{"name": "N", **values})

        def edit(**values):
            return p.update("account", x, **values)

        def raw(delta, no, **cell):
            delta["cols"][no] = cell
            return delta

        derived = p.insert("conflict", field="x")
        rollup = p.insert("pipeline_rollup")
        target = p.insert(
            "target",
            metric="visits",
            period="month",
            start_day="2026-01-01",
            value=1.0,
        )
        foreign = dict(
            table=table["account"].no,
            op=1,
            id=theirs,
            at=now_ms(),
            ctx={cid.replica: 1},
            base=0,
            cols={10: {"value": "stolen"}},
        )
        new = uuid7()
        cases = [
            ("another's future", FORGED, {**edit(phone="1"), "ctx": {c.good.replica: 1 << 40}}),
            ("a replica that never was", FORGED, {**edit(phone="1"), "ctx": {77777: 1}}),
            ("his own future", FORGED, {**edit(phone="1"), "ctx": {p.replica: 1 << 40}}),
            ("a foreign row", (SCOPE, GONE, PARENT), foreign),
            ("a foreign row, deleted", (SCOPE, GONE, PARENT), {**foreign, "op": 2, "cols": {}}),
            ("a visit on a foreign account", PARENT, p.insert("visit", account_id=theirs, started_at=1)),
            ("a visit on nothing", PARENT, p.insert("visit", account_id=uuid7(), started_at=1)),
            ("into a foreign territory", SCOPE, acc(territory_id=other_home)),
            ("moved to a foreign territory he has no grant on", SCOPE, edit(territory_id=other_home)),
            ("a territory that is none", (PARENT, VALUE, SCOPE), acc(territory_id=uuid7())),
            ("derived", DERIVED, derived),
            ("roll-up", DERIVED, rollup),
            ("a target by a rep", ROLE, target),
            ("a new user", ROLE, p.insert("user", login="me", name="me", role="admin", territory_id=p.home)),
            ("a new territory", ROLE, p.insert("territory", code="Z", name="Z", level="patch")),
            ("his own role", ROLE, p.update("user", p.user, role="admin")),
            ("a column of managers", ROLE, edit(credit_limit=5)),
            ("a column of managers, new", ROLE, acc(credit_limit=5)),
            ("a set of managers", ROLE, edit(shared_with=([codec_uuid(other_home)], []))),
            ("an unknown enum value", VALUE, edit(state="asleep")),
            ("a number out of range", VALUE, edit(employees=-5)),
            ("latitude 91", VALUE, edit(lat=91.0)),
            ("a text too long", VALUE, edit(phone="9" * 65)),
            ("a text of 1 MiB too much", VALUE, p.insert("visit", account_id=x, started_at=1, notes="x" * ((1 << 20) + 1))),
            ("a set element too long", VALUE, edit(tags=(["t" * 101], []))),
            ("json that is none", VALUE, edit(custom="{")),
            ("a row that never was", GONE, {**edit(phone="1"), "id": uuid7(), "ctx": {}, "base": 0}),
            ("required but NULL", REQUIRED, edit(name=None)),
            ("required but missing", REQUIRED, p.insert("visit", started_at=1)),
            ("an unknown table", CATALOGUE, {**acc(), "table": 60000, "cols": {}}),
            ("the same row twice", (MALFORMED, VALUE), [acc_(p, new, "1"), acc_(p, new, "2")]),
        ]
        for what, wanted, d in cases:
            c.mark()
            try:
                expect(p, wanted, *(d if isinstance(d, list) else [d]))
            except Exception as e:
                raise AssertionError(f"{what}: {e}") from e
            equal(content(c), before, what)
            equal(c.sql("SELECT * FROM account ORDER BY id"), state, what)
        c.still_good()
        # one bad delta spoils its whole changeset, and only that
        expect(p, ROLE, acc(), edit(phone="5"), edit_other(p, x, cid))
        equal(c.sql("SELECT * FROM account ORDER BY id"), state, "atomic")
        # what refers to a rejected row depends on it
        made = uuid7()
        bad = p.insert("account", made, name="B", credit_limit=1)
        seq = p.seq + 1
        expect(p, ROLE, bad)
        v = expect(p, DEPENDS, visit(p, made))
        equal(v[9], [p.replica, seq], "names the one it depends on")
        # append-only
        note = uuid7()
        v = p.do(p.insert("note", note, account_id=x, body="first"))
        equal(v[2], APPLIED)
        p.pull()
        expect(p, APPEND_ONLY, p.update("note", note, body="second"))
        expect(p, APPEND_ONLY, p.delete("note", note))
        # and the good go on
        equal(p.do(p.update("account", x, phone="good"))[2], APPLIED)
        c.real_good()


def acc_(p, row_id, phone):
    return p.insert("account", row_id, name="N", phone=phone)


def edit_other(p, x, cid):
    """A column the role may not write, on a row of the same changeset's
    territory."""
    return p.insert("account", name="O", credit_limit=1)


def codec_uuid(b):
    h = b.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def wrong_types():
    """A column block of another type than the column's."""
    with Watched("push-types") as c:
        p = c.peer("ann")
        x = account(p)
        t = p.cat.by_name["account"]
        before = c.sql("SELECT * FROM account ORDER BY id")
        known = p.cat.types
        for name, kind, value in (
            ("phone", "int", 5),
            ("phone", "real", 1.5),
            ("phone", "ref", x),
            ("employees", "text", "many"),
            ("employees", "real", 2.5),
            ("lat", "int", 3),
            ("lat", "text", "north"),
            ("lat", "real", float("nan")),
            ("lat", "real", float("inf")),
            ("territory_id", "text", codec_uuid(p.home)),
            ("territory_id", "blobref", bytes(32)),
            ("photo", "ref", x),
            ("visit_count", "text", "1"),
            ("first_contact_at", "text", "today"),
            ("state", "int", 1),
        ):
            no = t.by_name[name].no
            p.cat.types = lambda a, b: kind if (a, b) == (t.no, no) else known(a, b)
            d = p.update("account", x, employees=7, phone="7")
            d["cols"] = {no: {"value": value}}
            c.mark()
            try:
                expect(p, (MALFORMED, VALUE, SCOPE, PARENT), d)
            except Exception as e:
                raise AssertionError(f"{name} as {kind} {value}: {e}") from e
            finally:
                p.cat.types = known
            equal(c.sql("SELECT * FROM account ORDER BY id"), before, name)
        # text that is not UTF-8, and text with NUL
        for bad in (b"\xff\xfe", b"a\0b"):
            good = codec.to_changeset(
                dict(replica=p.replica, seq=p.seq + 1, prev=p.last_hash)
                | dict(catalogue=1, marker=[p.epoch, p.cursor, p.grants])
                | dict(deltas=[p.update("account", x, phone="@" * len(bad))]),
                p.cat.types,
            )
            v = send_changeset(p, good.replace(b"@" * len(bad), bad))
            equal(v[2], REJECTED, repr(bad))
        equal(c.sql("SELECT * FROM account ORDER BY id"), before, "not UTF-8")
        c.still_good()
        c.real_good()


def stamps():
    """Times and replaced stamps from the far future gain nothing: a later
    write of another device still wins."""
    with Watched("push-stamps") as c:
        c.mark()
        p = c.peer("ann")
        x = account(p)
        c.good.pump(lambda: c.good.get("account", x), "X")
        for at in ((1 << 47), (1 << 62), -(1 << 62), 0, -1):
            d = p.update("account", x, phone=f"at {at}")
            d["at"] = at
            v = p.do(d)
            check(v[2] in (APPLIED, 1), f"{at}: {v}")
            p.pull()
            top = max(
                w.stamp for w in p.rows[3, x].state["cols"][10]
            ) >> 16
            check(top < now_ms() + 60000, f"stamp of {top} for {at}")
        d = p.update("account", x, phone="heavy")
        d["cols"][10]["stamp"] = (1 << 64) - 1
        v = p.do(d)
        check(v[2] in (APPLIED, 1, REJECTED), f"{v}")
        p.pull()
        c.good.pump(
            lambda: c.good.rows[3, x].state["vv"].get(p.replica, 0) >= p.seq
            or v[2] == REJECTED,
            "ann's last",
        )
        equal(c.good.do(c.good.update("account", x, phone="good"))[2], APPLIED)
        p.pump(lambda: p.get("account", x)["phone"] == "good", "good wins")
        # a HELLO from a clock a century away
        for raw in (0, (1 << 63) - 1, -(1 << 63)):
            p.connect({**p.hello(), 11: raw})
            v = p.do(p.update("account", x, email=f"{raw}@x"))
            check(v[2] in (APPLIED, 1), f"clock {raw}: {v}")
        steps = [[(1 << 62), -(1 << 62)]] * 32
        p.connect(dict(sorted({**p.hello(), 12: steps}.items())))
        v = p.do(p.update("account", x, email="steps@x"))
        check(v[2] in (APPLIED, 1), f"steps: {v}")
        top = max(
            w.stamp for w in p.held(3, x)["cols"][10]
        ) >> 16
        check(top < now_ms() + 60000, f"stamp {top}")
        c.still_good()
        c.real_good()


def large_but_allowed():
    """At the limits it works: a text of 1 MiB, a set of many elements, 4,096
    conflicts, a changeset of many tables."""
    with Watched("push-large") as c:
        c.mark()
        p = c.peer("ann")
        x = account(p)
        text = "好" * ((1 << 20) // 3)
        equal(p.do(visit(p, x, notes=text))[2], APPLIED)
        p.pull()
        check(p.find("visit", notes=text), "a text of 1 MiB comes back")
        tags = [f"t{i:05d}" for i in range(4096)]
        v = p.do(p.update("account", x, tags=(tags, [])))
        check(v[2] in (APPLIED, REJECTED), f"4096 tags: {v}")
        v = expect_any(p, p.update("account", x, tags=(tags + ["u"], [])))
        equal(v, REJECTED, "4097 tags at once")
        c.still_good(mib=96)
        c.real_good()


def expect_any(p, d):
    seq = p.commit(d)
    entry = p.outbox[seq]
    p.push(seq)
    p.pump(lambda: entry[2], "verdict")
    return entry[2][2]


if __name__ == "__main__":
    main(
        [
            order_and_parts,
            header_lies,
            rubbish_inside,
            contents,
            wrong_types,
            stamps,
            large_but_allowed,
        ]
    )
