"""REPAIR as a device written from PROTOCOL.md alone sees it: differences are
narrowed down by what section 17 says; and what a hostile one gets for asking
about what is not its own: nothing.
"""
# timeout: 120

import os

import xxhash

import peer_codec as codec
from harness import check, equal, main
from peer import Refused, uuid7
from peer_org import Company, account

SCOPES, SUMS, LIST, ROWS = range(4)
MASK = (1 << 128) - 1


class Asker:
    """Asks on a peer's connection; ROWS and EVICTs are kept as they come."""

    def __init__(self, p):
        self.p, self.no = p, 0

    def ask(self, step, **more):
        self.no += 1
        keys = {"scope": 3, "ranges": 4, "table": 5, "ids": 6, "more": 7}
        fields = {keys[k]: v for k, v in more.items()}
        self.p.line.send(codec.REPAIR, {1: self.no, 2: step, **fields})
        self.rows, self.evicts = [], []
        while True:
            kind, m, size = self.p.line.recv(20)
            if kind == codec.REPAIR:
                equal((m[1], m[2]), (self.no, step), "another answer")
                return m
            if kind == codec.ROWS:
                check(m.get(7) is True, "asked for, and does not say so")
                self.rows.append((m[1], m[2], m[5]))
            elif kind == codec.EVICT:
                self.evicts.append((m[1], m[2], m[3]))
            else:
                self.p.handle(kind, m, size)
                continue
            self.p.owed += size


def number(h):
    return int.from_bytes(h, "big") if isinstance(h, bytes) else h


def range_of(table, row_id):
    return xxhash.xxh3_128_digest(table.to_bytes(2, "big") + row_id)[0]


def bitmap(*bits):
    out = bytearray(32)
    for b in bits:
        out[b // 8] |= 1 << b % 8
    return bytes(out)


def ours(p, scope):
    """(table, id): hash, of the live rows in a scope."""
    from peer_state import alive

    return {
        k: number(p.rows[k].hash)
        for k, scopes in p.members.items()
        if scope in scopes and k in p.rows and alive(p.rows[k].state)
    }


def a_difference_is_narrowed_down():
    with Company() as c:
        ann = c.peer("ann")
        ids = [account(ann, f"n{i}") for i in range(6)]
        ann.connect().pull()
        a = Asker(ann)
        scope = ann.scopes[-1]
        mine = ours(ann, scope)
        check(len(mine) >= 6, "nothing to compare")
        m = a.ask(SCOPES)
        sums = {
            int.from_bytes(m[8][i : i + 4], "big"): number(m[8][i + 4 : i + 20])
            for i in range(0, len(m[8]), 20)
        }
        equal(sorted(sums), sorted(ann.scopes))
        equal(sums[scope], sum(mine.values()) & MASK)
        m = a.ask(SCOPES, scope=scope)
        equal(len(m[8]), 20, "only from that scope on")
        m = a.ask(SUMS, scope=scope)
        for r in range(256):
            equal(
                number(m[8][16 * r : 16 * r + 16]),
                sum(h for k, h in mine.items() if range_of(*k) == r) & MASK,
                f"sum of range {r}",
            )
        table = next(t for t, i in mine if i == ids[0])
        wanted = {range_of(table, i) for i in ids[:2]}
        m = a.ask(LIST, scope=scope, ranges=bitmap(*wanted))
        listed = {
            (
                int.from_bytes(m[9][i : i + 2], "big"),
                m[9][i + 2 : i + 18],
            ): int.from_bytes(m[9][i + 18 : i + 26], "big")
            for i in range(0, len(m[9]), 26)
        }
        equal(
            listed,
            {
                k: h & ((1 << 64) - 1)
                for k, h in mine.items()
                if range_of(*k) in wanted
            },
        )
        before = ann.checkpoints
        m = a.ask(ROWS, scope=scope, table=table, ids=ids[0] + ids[1])
        equal(m[10], 2)
        equal([r[:2] for r in a.rows], [(scope, table)])
        sent = codec.page(a.rows[0][2], table, ann.cat.types, False)
        equal(sorted(r["id"] for r in sent), sorted(ids[:2]))
        ann.pump(lambda: ann.checkpoints > before, "a checkpoint behind it")


def what_is_not_granted_is_not_told():
    with Company() as c:
        cid, ann = c.peer("cid"), c.peer("ann")
        canary = os.urandom(8).hex()
        hers = account(cid, f"canary-{canary}")
        mine = account(ann, "mine")
        ann.connect().pull()
        a = Asker(ann)
        table = next(t for t, i in ann.rows if i == mine)
        foreign = [s for s in cid.scopes if s not in ann.scopes]
        check(foreign, "no foreign scope")
        for scope in foreign + [4_000_000_000]:
            equal(8 in a.ask(SUMS, scope=scope), False, "sums of others")
            m = a.ask(LIST, scope=scope, ranges=bytes([255]) * 32)
            equal(9 in m, False, "ids of others")
            m = a.ask(ROWS, scope=scope, table=table, ids=hers)
            equal((a.rows, a.evicts, 10 in m), ([], [], False))
        # a row of others and one that nobody has look the same
        nobody = uuid7()
        for scope in ann.scopes:
            m = a.ask(ROWS, scope=scope, table=table, ids=hers + nobody)
            equal((a.rows, m[10]), ([], 2))
            equal(a.evicts, [(scope, table, hers + nobody)])
        m = a.ask(ROWS, scope=ann.scopes[-1], table=60000, ids=hers)
        equal((a.rows, a.evicts), ([], []), "an unknown table")


def asks_are_bounded():
    with Company() as c:
        ann = c.peer("ann")
        for frames, code in (
            ([{1: 1, 2: SUMS}, {1: 2, 2: SUMS}], 1),
            ([{1: 4097, 2: SCOPES}], 2),
            ([{1: 1, 2: ROWS, 5: 3, 6: bytes(16) * 257}], 1),
            ([{1: 1, 2: LIST, 4: bytes(31)}], 1),
            ([{1: 1, 2: 4}], 1),
        ):
            ann.connect().pull()
            try:
                # in one packet, so that the second comes before the answer
                ann.line.raw(
                    b"".join(codec.message(codec.REPAIR, f) for f in frames)
                )
                while True:
                    kind, m, _ = ann.line.recv(20)
                    if kind == codec.ERROR:
                        raise Refused(m)
            except Refused as e:
                equal(e.code, code, f"for {frames}")
            ann.close()
        ann.connect().pull()


main(
    [
        a_difference_is_narrowed_down,
        what_is_not_granted_is_not_told,
        asks_are_bounded,
    ]
)
