"""PROTOCOL.md is enough: a client written from it alone (peer.py) reads the
golden vectors, enrols, pushes, pulls, verifies metadata and digests by its own
code, and shares its data with real devices.
"""
# timeout: 300

import os
import time

import peer_codec as codec
import peer_state
from harness import check, equal, main, wait_for
from peer import (
    AS_HELD,
    APPLIED,
    MERGED,
    REJECTED,
    REPLAY,
    Gone,
    Refused,
    enrol,
    now_ms,
    uuid7,
)
from peer_org import Company, account, visit

SOURCE = os.environ.get(
    "SATCHEL_SOURCE", os.path.join(os.path.dirname(__file__), "..", "..")
)


def vectors():
    out = {}
    folder = os.path.join(SOURCE, "proto", "vectors")
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".txt"):
            continue
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            for line in f:
                if line.strip() and not line.startswith("#"):
                    key, data, _ = (x.strip() for x in line.split("|"))
                    out[key] = bytes.fromhex(data)
    return out


VECTOR_TYPES = {
    (3, 1): "ref",
    (3, 2): "ref",
    (3, 3): "ref",
    (3, 4): "time",
    (3, 5): "time",
    (3, 6): "real",
    (3, 7): "real",
    (3, 9): "enum",
    (3, 10): "text",
    (3, 11): "date",
    (3, 12): "counter",
    (3, 13): "set",
    (3, 14): "money",
    (3, 15): "blobref",
    (3, 16): "geo",
    (3, 17): "bool",
    (3, 300): "json",
    (3, 301): "int",
    (9, 1): "text",
}
VECTOR_ID = bytes.fromhex("019a7d55200070038003030303030303")


def vector_table():
    policies = {10: "keep", 301: "max"}
    cols = []
    for (t, no), kind in VECTOR_TYPES.items():
        if t == 3:
            c = {"no": no, "name": f"c{no}", "type": kind}
            if no in policies:
                c["policy"] = policies[no]
            cols.append(c)
    return peer_state.Table({"no": 3, "name": "visit", "columns": cols})


def types(table, no):
    return VECTOR_TYPES.get((table, no))


def golden_vectors():
    """Read by code that shares nothing with the C code, and written back."""
    v = vectors()
    frames = 0
    for name, data in v.items():
        if name.split("-")[0] in ("changeset", "hash", "page", "meta"):
            continue
        kind, fields = codec.unframe(data)
        equal(codec.message(kind, fields), data, name)
        frames += 1
    check(frames >= 20, f"only {frames} frames")

    one = codec.changeset(v["changeset-insert"], types)
    equal((one["replica"], one["seq"], len(one["deltas"])), (7, 1, 1))
    cells = {n: c["value"] for n, c in one["deltas"][0]["cols"].items()}
    equal(cells[9], "order")
    equal(cells[10], "客户要样品")
    equal(cells[6], 31.230416)
    equal(codec.xxh(v["changeset-insert"]), v["hash-changeset-insert"])
    two = codec.changeset(v["changeset-edits"], types)
    edit, gone = two["deltas"]
    equal(two["flags"], 1, "coalesced")
    equal(edit["ctx"], {1: 5, 7: 1})
    equal(edit["cols"][10]["before"], "X")
    check(edit["cols"][10]["resolves"], "resolves")
    equal(edit["cols"][12]["value"], 1)
    equal(edit["cols"][13]["adds"], ["gold"])
    equal(edit["cols"][13]["removes"], ["vip"])
    equal((gone["op"], gone["table"], gone["ctx"]), (2, 9, {9: 3}))
    for c in (one, two):
        again = codec.changeset(codec.to_changeset(c, types), types)
        equal(again, c, "written and read again")

    rows = codec.page(v["page-two"], 3, types, False)
    equal([r["seq"] for r in rows], [9002, 9003])
    equal(rows[0]["cols"][10], "X Ltd")
    equal(rows[0]["cols"][13], '["gold","vip"]')
    equal(rows[1]["cols"][6], -0.5)
    equal(rows[1]["meta"], bytes.fromhex("b1b2b3"))
    refs = codec.page(v["page-refs"], 3, types, True)
    equal([r["id"] for r in refs], [r["id"] for r in rows])


def golden_metadata():
    v = vectors()
    t = vector_table()
    cols = {9: "order", 10: "X"}
    state = peer_state.read_meta(v["meta-insert"], t, cols)
    equal(peer_state.write_meta(t, state), v["meta-insert"])
    equal(
        codec.row_hash(3, VECTOR_ID, v["meta-insert"], cols, types),
        v["hash-row-insert"],
    )
    cols = {9: "order", 10: "X Ltd", 12: 2, 13: '["gold"]'}
    state = peer_state.read_meta(v["meta-conflict"], t, cols)
    equal(peer_state.write_meta(t, state), v["meta-conflict"])
    equal(peer_state.shown(t, state), cols, "what is shown")
    equal(
        {w.dot: w.value for w in state["cols"][10]},
        {(7, 2): "X Ltd", (9, 1): "X GmbH"},
    )
    # and by merging what the vector's text tells
    offset = (state["cols"][9][0].stamp >> 16) - 1000
    built = peer_state.new_state()
    for dot, ctx, cells in (
        ((7, 1), {}, {9: {"value": "order"}, 10: {"value": "X"}}),
        ((9, 1), {7: 1}, {10: {"value": "X GmbH"}}),
        (
            (7, 2),
            {7: 1},
            {
                10: {"value": "X Ltd"},
                12: {"value": 2},
                13: {"adds": ["gold"]},
            },
        ),
    ):
        at = 1000 if dot[1] == 1 and dot[0] == 7 else 2000
        d = dict(op=1, at=at, ctx=ctx, cols=cells)
        built = peer_state.merge(t, built, d, dot, offset)
    equal(built["vv"], state["vv"])
    equal(built["cols"][12], state["cols"][12])
    equal(built["cols"][13], state["cols"][13])
    equal(
        {w.dot for w in built["cols"][10]}, {w.dot for w in state["cols"][10]}
    )


def push_and_verdicts():
    """Visits, edits, conflicts, deletes: every digest must be ours."""
    with Company() as c:
        ann, bob = c.peer("ann"), c.peer("bob")
        x = account(ann, phone="100")
        bob.pump(lambda: bob.get("account", x), "X at bob's")
        v = ann.do(*(visit(ann, x, notes=f"第{i}次") for i in range(300)))
        equal((v[1], v[2]), (2, APPLIED))
        ann.pull()
        bob.pump(
            lambda: sum(1 for t, _ in bob.rows if t == 5) == 300, "300 visits"
        )
        # a counter, a set, and a field each, one after the other
        equal(
            ann.do(
                ann.update(
                    "account", x, phone="1", visit_count=1, tags=(["gold"], [])
                )
            )[2],
            APPLIED,
        )
        bob.pump(lambda: bob.get("account", x)["phone"] == "1", "phone")
        v = bob.do(
            bob.update("account", x, visit_count=2, tags=(["vip"], ["gold"]))
        )
        equal(v[2], APPLIED)
        ann.pump(lambda: ann.get("account", x)["visit_count"] == 3, "count")
        equal(ann.get("account", x)["tags"], '["vip"]')
        # concurrent: bob is away and writes on what he held
        bob.close()
        ann.do(ann.update("account", x, phone="a", name="X Ltd"))
        seq = bob.commit(bob.update("account", x, phone="b", name="X GmbH"))
        bob.connect()
        bob.push(seq)
        entry = bob.outbox[seq]
        bob.pump(lambda: entry[2], "verdict")
        equal(entry[2][2], MERGED, "concurrent")
        fields = sorted(f[2] for f in entry[2][6])
        equal(fields, [1, 10], "name and phone are named")
        name = lambda p: p.held(3, x)["cols"][1]
        bob.pump(lambda: len(name(bob)) == 2, "siblings at bob's")
        ann.pump(lambda: len(name(ann)) == 2, "siblings at ann's")
        equal({w.value for w in name(ann)}, {"X Ltd", "X GmbH"})
        for p in (ann, bob):
            p.connect().pull()
        equal(ann.rows[3, x].hash, bob.rows[3, x].hash)
        conflicts = [k for k in ann.rows if k[0] == 17]
        equal(len(conflicts), 2, "ledger entries")
        c.verify()
        ann.close()
        bob.close()


def revived_row_comes_whole():
    """A tombstone is sent without its fields, so the verdict of a write that
    revives it must not say as-held."""
    with Company() as c:
        ann, bob = c.peer("ann"), c.peer("bob")
        x = account(ann, phone="100")
        bob.pump(lambda: bob.get("account", x), "X")
        equal(bob.do(bob.delete("account", x))[2], APPLIED)
        ann.pump(lambda: ann.get("account", x) is None, "deleted at ann's")
        check(not ann.rows[3, x].state["cols"], "a tombstone has no fields")
        time.sleep(0.05)
        v = ann.do(ann.update("account", x, phone="9"))
        equal(v[2], APPLIED)
        equal(v.get(3, 0) & AS_HELD, 0, "as-held")
        ann.pull()
        equal(ann.get("account", x)["name"], "X", "the whole row is back")
        bob.pump(lambda: bob.get("account", x), "alive again")
        equal(ann.rows[3, x].hash, bob.rows[3, x].hash)


def with_real_devices():
    """What the stranger writes a real device sees, and the reverse."""
    with Company() as c:
        ann, bob = c.peer("ann"), c.device("bob")
        hugo = c.device("hugo")
        x = account(ann, name="行囊 Ltd", phone="100")
        v = ann.do(visit(ann, x, notes="from a stranger"))
        equal(v[2], APPLIED)
        bob.once()
        hugo.once()
        for d in (bob, hugo):
            equal(d.one("SELECT name, phone FROM account"), ("行囊 Ltd", "100"))
            equal(d.one("SELECT notes FROM visit"), "from a stranger")
        bob.sql("UPDATE account SET phone='222', visit_count=visit_count+1")
        bob.sql(
            "INSERT INTO visit(account_id, outcome, notes) "
            "SELECT id, 'refused', 'from bob' FROM account"
        )
        equal(bob.once(), 0, "rejected")
        ann.pump(lambda: ann.find("visit", notes="from bob"), "bob's visit")
        got = ann.get("account", x)
        equal((got["phone"], got["visit_count"]), ("222", 1))
        v = ann.do(ann.update("account", x, email="a@x"))
        equal(v[2], APPLIED)
        bob.once()
        equal(bob.one("SELECT phone, email FROM account"), ("222", "a@x"))
        # the one deletes, the other sees it go
        gone = ann.find("visit", notes="from bob")
        equal(ann.do(ann.delete("visit", gone))[2], APPLIED)
        bob.once()
        equal(bob.sql("SELECT notes FROM visit"), [("from a stranger",)])
        status = bob.status()
        equal(status["digest"], "equal", f"digest: {status}")
        c.verify()


def unknown_things():
    """Section 19."""
    with Company() as c:
        ann = c.peer("ann")
        hello = {**ann.hello(), 99: "later", 100: [1, {1: 2}]}
        ann.connect(hello)
        # an unknown key in a message, an unknown message above 127
        ann.line.raw(codec.message(200, {1: "what"}))
        ann.line.raw(codec.frame(255, b"\xc1\xc1"))
        ann.line.send(codec.PING, {1: 5, 2: now_ms(), 77: b"x"})
        seen = len(ann.seen)
        ann.pump(lambda: codec.PONG in ann.seen[seen:], "PONG")
        # unknown keys and flag bits inside a changeset
        x = uuid7()
        d = ann.insert("account", x, name="X")
        data = codec.unpack(
            codec.to_changeset(
                dict(replica=ann.replica, seq=1, prev=bytes(16), catalogue=1)
                | dict(marker=[ann.epoch, ann.cursor, ann.grants])
                | dict(flags=1 << 20, deltas=[d]),
                ann.cat.types,
            )
        )
        data[8][0][77] = "later"
        data[8][0][8][0][77] = [1]
        data[99] = 1
        data = codec.pack(data)
        ann.seq, ann.last_hash = 1, codec.xxh(data)
        ann.outbox[1] = [data, [d], None]
        entry = ann.outbox[1]
        ann.push(1)
        ann.pump(lambda: entry[2], "verdict")
        equal(entry[2][2], APPLIED)
        # a column that no catalogue has
        d = ann.insert("account", uuid7(), name="Y")
        d["cols"][999] = {"value": "?"}
        known = ann.cat.types
        ann.cat.types = lambda t, n: "text" if n == 999 else known(t, n)
        v = ann.do(d)
        equal((v[2], v.get(7)), (REJECTED, 14), "unknown column")
        # versions: the highest in both ranges
        ann.connect({**ann.hello(), 1: 1, 2: 9})
        for low, high in ((2, 9), (9, 2)):
            try:
                ann.connect({**ann.hello(), 1: low, 2: high})
                check(False, "accepted a version that does not exist")
            except Refused as e:
                check(e.code in (1, 3), f"{low}..{high}: {e}")
                if low < high:
                    equal(e.code, 3, "version")
        # types that no one may send, below 128
        for kind in (0, 11, 16, 19, 127):
            ann.connect()
            ann.line.raw(codec.message(kind, {}))
            try:
                ann.pump(lambda: False, "ERROR")
            except Refused as e:
                equal((kind, e.code), (kind, 1))


def resume_after_cut():
    """Cut in the middle of a changeset, and after it before the verdict."""
    with Company() as c:
        ann = c.peer("ann")
        x = account(ann)
        visits = [visit(ann, x, notes="n" * 500 + str(i)) for i in range(2000)]
        seq = ann.commit(*visits)
        data = ann.outbox[seq][0]
        entry = ann.outbox[seq]
        part = {1: seq, 2: 0, 4: len(data), 5: data[: len(data) // 2]}
        frame = codec.message(codec.PUSH, part)
        ann.line.raw(frame)
        ann.connect()
        equal(ann.server_seq, seq - 1, "half a changeset is none")
        ann.line.raw(frame[: len(frame) // 2])
        ann.connect()
        equal(ann.server_seq, seq - 1, "a cut frame is none")
        ann.push(seq, size=7919)
        # until all of it was taken in; a verdict that comes is lost
        while ann.sent:
            kind, m, _ = ann.line.recv()
            if kind == codec.CREDIT:
                ann.sent -= m.get(1, 0)
        ann.close()
        wait_for(
            "the changeset is in",
            lambda: len(c.sql("SELECT 1 FROM visit LIMIT 2000")) == 2000,
        )
        ann.connect()
        equal(ann.server_seq, seq)
        ann.pump(lambda: entry[2], "replayed verdict")
        check(entry[2].get(3, 0) & REPLAY, "says that it is a replay")
        ann.pull()
        equal(sum(1 for t, _ in ann.rows if t == 5), 2000)
        # the same bytes again are dropped, their credit comes back
        ann.outbox[seq] = [data, visits, None]
        seen = ann.seen.count(codec.VERDICT)
        ann.push(seq)
        ann.pump(lambda: ann.sent == 0, "credit for what was dropped")
        del ann.outbox[seq]
        equal(ann.do(visit(ann, x))[2], APPLIED, "the next one")
        equal(ann.seen.count(codec.VERDICT), seen + 1, "one verdict")
        equal(len(c.sql("SELECT 1 FROM visit")), 2001, "nothing twice")
        # back inside a connection
        ann.outbox[seq + 1] = [ann.made[seq + 1], [], None]
        ann.push(seq + 1)
        try:
            ann.pump(lambda: False, "ERROR")
        except Refused as e:
            equal(e.code, 13, "back to an earlier seq")


def credit_and_window():
    """The server sends about 1 MiB and waits for credit; a changeset larger
    than the window passes, for credit returns as it is taken in."""
    with Company() as c:
        ann = c.peer("ann")
        x = account(ann)
        noise = os.urandom(400 * 4000).hex()
        cuts = [noise[i * 4000 : i * 4000 + 4000] for i in range(800)]
        v = ann.do(*(visit(ann, x, notes=n) for n in cuts), seconds=60)
        equal(v[2], APPLIED)
        ann.close()
        bob = enrol(c.invite("bob"), os.path.join(c.top, "peer-b"))
        bob.credit_held = True
        bob.connect()
        try:
            while True:
                bob.handle(*bob.line.recv(1))
        except TimeoutError:
            pass
        check(
            (1 << 19) <= bob.rows_bytes <= (5 << 18) + (1 << 17),
            f"{bob.rows_bytes} bytes came without credit",
        )
        equal(bob.checkpoints, 0)
        bob.credit_held = False
        bob.give_credit()
        bob.pump(lambda: bob.checkpoints, "the rest", 60)
        equal(sum(1 for t, _ in bob.rows if t == 5), 800)
        # more than the window in one changeset
        big = [
            bob.insert("note", account_id=x, body=os.urandom(200000).hex())
            for _ in range(24)
        ]
        check(sum(400000 for _ in big) > bob.window, "larger than the window")
        equal(bob.do(*big, seconds=60)[2], APPLIED)
        bob.pull(60)
        # credit for what was never sent
        bob.connect()
        bob.line.send(codec.CREDIT, {1: 1 << 40})
        try:
            bob.pump(lambda: False, "ERROR", 5)
        except Refused as e:
            equal(e.code, 1, "credit for what was not sent")


def one_connection_per_replica():
    with Company() as c:
        ann = c.peer("ann")
        old = ann.line
        ann.line = None
        ann.connect()
        codes = []
        try:
            while True:
                kind, m, _ = old.recv(5)
                if kind == codec.ERROR:
                    codes.append(m[1])
        except Gone:
            pass
        equal(codes, [11], "superseded")
        ann.pull()


def copies_and_gaps():
    """A stale ratchet or another last_hash is a copy; seq gaps are refused."""
    with Company() as c:
        ann = c.peer("ann")
        account(ann)
        account(ann, name="Y")
        stale = ann.ratchet
        ann.connect()
        ann.pull()
        ann.connect()
        ann.pull()
        for change in ({10: stale}, {9: b"x" * 16}):
            try:
                ann.connect({**ann.hello(), **change})
                check(False, f"a copy was let in: {change}")
            except Refused as e:
                equal(e.code, 12, "forked")
        ann.connect()
        ann.seq += 1  # a changeset that never was
        seq = ann.commit(ann.insert("account", name="Z"))
        try:
            ann.push(seq)
            ann.pump(lambda: False, "ERROR")
        except Refused as e:
            equal(e.code, 13, "gap")
        equal(len(c.sql("SELECT 1 FROM account")), 2)


def moved_out_of_scope():
    """EVICT: a row that leaves the territory leaves the device."""
    with Company() as c:
        ann, cid, hugo = c.peer("ann"), c.peer("cid"), c.peer("hugo")
        x = account(ann)
        equal(ann.do(visit(ann, x, notes="old"))[2], APPLIED)
        ann.pull()
        hugo.pump(lambda: hugo.find("visit", notes="old"), "visit at HQ")
        v = hugo.do(hugo.update("account", x, territory_id=cid.home))
        equal(v[2], APPLIED)
        ann.pump(lambda: (3, x) not in ann.rows, "evicted")
        check(codec.EVICT in ann.seen, "EVICT came")
        ann.pump(lambda: not any(t == 5 for t, _ in ann.rows), "visits too")
        cid.pump(lambda: cid.get("account", x), "the new owner sees it")
        cid.pump(lambda: cid.find("visit", notes="old"), "and the visit")
        for p in (ann, cid, hugo):
            p.connect().pull()
        c.verify()


if __name__ == "__main__":
    main(
        [
            golden_vectors,
            golden_metadata,
            push_and_verdicts,
            revived_row_comes_whole,
            unknown_things,
            resume_after_cut,
            credit_and_window,
            one_connection_per_replica,
            copies_and_gaps,
            moved_out_of_scope,
            with_real_devices,
        ]
    )
