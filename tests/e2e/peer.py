"""A Satchel client in Python, written from PROTOCOL.md alone: what a stranger
would build. Bytes are in peer_codec.py, row states in peer_state.py; here are
enrolment, the connection and the replica (in memory).

Enrolment needs the exporter of its TLS connection, which Python's ssl does
not give, so it goes through the openssl program.
"""

import base64
import hashlib
import os
import re
import secrets
import socket
import ssl
import struct
import subprocess
import time

import peer_codec as codec
from peer_codec import (
    CATALOGUE,
    CHECKPOINT,
    CREDIT,
    DELETE,
    ENROL,
    ENROLLED,
    ERROR,
    EVICT,
    GRANT,
    MARK,
    HELLO,
    INSERT,
    PING,
    PONG,
    PUSH,
    ROWS,
    UPDATE,
    VERDICT,
    WELCOME,
    WIPE,
    must,
)
from peer_state import Catalogue, alive, merge, new_state, read_meta, shown
from peer_state import shown_write, write_meta

NAME = "server.satchel.internal"
APPLIED, MERGED, REJECTED, PARKED = 0, 1, 2, 3
AS_HELD, REPLAY = 1, 2
PATIENCE = float(os.environ.get("SATCHEL_PATIENCE", "1"))


class Refused(Exception):
    """The server said ERROR (code, transient, text) or went away."""

    def __init__(self, fields):
        self.code = fields.get(1)
        self.transient = fields.get(2, False)
        self.text = fields.get(4, "")
        super().__init__(f"ERROR {self.code}: {self.text}")


class Gone(Exception):
    """The connection ended without an ERROR."""


def now_ms():
    return time.time_ns() // 1_000_000


def uuid7():
    b = bytearray(now_ms().to_bytes(6, "big") + secrets.token_bytes(10))
    b[6] = b[6] & 15 | 0x70
    b[8] = b[8] & 63 | 0x80
    return bytes(b)


def openssl(*words, stdin=None, seconds=20):
    return subprocess.run(
        ["openssl", *words],
        input=stdin,
        capture_output=True,
        timeout=seconds * PATIENCE,
        check=True,
    ).stdout


# Section 2: enrolment


def invitation(line):
    m = re.fullmatch(r"satchel://(.+):(\d+)/([a-z2-7]{32})/([0-9a-f]{64})", line)
    must(m, "not an invitation")
    return m.group(1), int(m.group(2)), m.group(3), m.group(4)


def make_key(folder, name="device"):
    key = os.path.join(folder, name + ".key")
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    csr = openssl("req", "-new", "-key", key, "-subj", "/CN=x", "-outform", "DER")
    return key, csr


class Enrolment:
    """A connection of ALPN satchel-enrol/1 through openssl s_client."""

    def __init__(self, host, port, pin, alpn="satchel-enrol/1"):
        self.p = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"{host}:{port}", "-tls1_3"]
            + ["-alpn", alpn, "-showcerts", "-ign_eof", "-servername", NAME]
            + ["-keymatexport", "EXPORTER-satchel-enrol"]
            + ["-keymatexportlen", "32"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.told = b""
        self.exporter = None
        self.pin = pin

    def handshake(self):
        """Wait for the session's text; 32 exporter bytes."""
        os.set_blocking(self.p.stdout.fileno(), False)
        end = time.monotonic() + 20 * PATIENCE
        m = None
        while not m:
            must(time.monotonic() < end, "no handshake")
            self.told += self.p.stdout.read() or b""
            m = re.search(rb"Keying material: ([0-9A-F]{64})\n", self.told)
            must(m or self.p.poll() is None, "the handshake failed")
            time.sleep(0.01)
        self.exporter = bytes.fromhex(m.group(1).decode())
        self.judge_chain(self.told[: m.start()].decode())
        return self.exporter

    def judge_chain(self, text):
        pems = re.findall(
            r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n",
            text,
            re.S,
        )
        must(len(pems) >= 2, "the CA's certificate is missing")
        public = openssl(
            "x509", "-pubkey", "-noout", stdin=pems[-1].encode()
        ).decode()
        der = base64.b64decode("".join(public.split("\n")[1:-2]))
        must(hashlib.sha256(der).hexdigest() == self.pin, "wrong PIN")

    def ask(self, frame):
        """Send bytes; the frames that come back until the server closes."""
        self.p.stdin.write(frame)
        self.p.stdin.flush()
        end = time.monotonic() + 20 * PATIENCE
        while time.monotonic() < end:
            self.told += self.p.stdout.read() or b""
            found = self.find()
            if found:
                return found
            if self.p.poll() is not None:
                break
            time.sleep(0.01)
        raise Gone("no answer to ENROL")

    def find(self):
        """The first frame behind s_client's own text."""
        for kind in (ENROLLED, ERROR):
            m = re.search(b"\x00..[\x00-\xff]" + bytes([kind]) + b"[\x00\x01]",
                          self.told, re.S)
            if not m:
                continue
            data = self.told[m.start() :]
            size = struct.unpack(">I", data[:4])[0] + 4
            if len(data) >= size:
                return codec.unframe(data[:size])
        return None

    def close(self):
        self.p.kill()
        self.p.wait()
        self.p.stdin.close()
        self.p.stdout.close()


def enrol(line, folder, name="python"):
    """Become a device; returns a Peer."""
    os.makedirs(folder, exist_ok=True)
    host, port, token, pin = invitation(line)
    key, csr = make_key(folder)
    e = Enrolment(host, port, pin)
    try:
        exporter = e.handshake()
        proof = openssl("dgst", "-sha256", "-sign", key, stdin=exporter)
        kind, m = e.ask(
            codec.message(
                ENROL,
                {1: 1, 2: 1, 3: token, 4: csr, 5: proof, 6: name},
            )
        )
    finally:
        e.close()
    if kind == ERROR:
        raise Refused(m)
    must(kind == ENROLLED, "not ENROLLED")
    for file, text in (("device.pem", m[3]), ("ca.pem", m[4])):
        with open(os.path.join(folder, file), "w") as f:
            f.write(text)
    p = Peer(folder, host, port, m[2], Catalogue(m[10]))
    p.rights(m[11])
    p.known_epoch = m[8]
    return p


# Section 1: the connection


def context(folder=None, alpn="satchel/1", key="device"):
    """TLS 1.3, this CA only, the fixed name; dates are not judged."""
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.minimum_version = ssl.TLSVersion.TLSv1_3
    if alpn:
        c.set_alpn_protocols([alpn])
    if folder:
        c.load_verify_locations(os.path.join(folder, "ca.pem"))
        c.load_cert_chain(
            os.path.join(folder, key + ".pem"), os.path.join(folder, key + ".key")
        )
    else:
        c.check_hostname = False
        c.verify_mode = ssl.CERT_NONE
    return c


class Line:
    """Frames over one TLS connection."""

    def __init__(self, host, port, tls, seconds=20):
        raw = socket.create_connection((host, port), seconds * PATIENCE)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.s = tls.wrap_socket(raw, server_hostname=NAME)
        except BaseException:
            raw.close()
            raise
        self.buffer = bytearray()

    def raw(self, data):
        self.s.sendall(data)

    def send(self, kind, fields):
        self.s.sendall(codec.message(kind, fields))

    def recv(self, seconds=20):
        """(type, map, frame length); Gone at the end, TimeoutError later."""
        end = time.monotonic() + seconds * PATIENCE
        while True:
            if len(self.buffer) >= 4:
                size = struct.unpack(">I", self.buffer[:4])[0] + 4
                must(6 <= size <= codec.FRAME_MAX + 4, "length of frame")
                if len(self.buffer) >= size:
                    data = bytes(self.buffer[:size])
                    del self.buffer[:size]
                    kind, fields = codec.unframe(data)
                    return kind, fields, size
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("no frame came")
            self.s.settimeout(left)
            try:
                data = self.s.recv(1 << 16)
            except TimeoutError:
                raise TimeoutError("no frame came") from None
            except OSError as e:
                raise Gone(str(e)) from None
            if not data:
                must(not self.buffer, "cut inside a frame")
                raise Gone("closed")
            self.buffer += data

    def close(self):
        try:
            self.s.close()
        except OSError:
            pass


# The replica


class Row:
    def __init__(self, seq, state, meta, cols, row_hash):
        self.seq, self.state, self.meta = seq, state, meta
        self.cols, self.hash = cols, row_hash


class Peer:
    def __init__(self, folder, host, port, replica, catalogue):
        self.folder, self.host, self.port = folder, host, port
        self.replica, self.cat = replica, catalogue
        self.known_epoch = 0  # of the certificate; HELLO shows the synced one
        self.epoch = self.cursor = self.verdict_seq = self.seq = 0
        self.last_hash = self.ratchet = bytes(16)
        self.outbox = {}  # seq: [bytes, deltas, verdict or None]
        self.made = {}  # seq: bytes, kept for a server that lost them
        self.rows = {}  # (table, id): Row
        self.members = {}  # (table, id): set of scopes
        self.staged = []  # until the next checkpoint
        self.line = None
        self.credit_held = False
        self.owed = 0
        self.rows_bytes = 0
        self.parts = b""
        self.checkpoints = 0
        self.regrant = False
        self.pulled = 0  # version of the rights at the last checkpoint
        self.mark = b""
        self.seen = []  # types of the messages received

    def rights(self, m):
        changed = getattr(self, "grants", m[1]) != m[1]
        if getattr(self, "role", m[3]) != m[3]:  # other columns from now on
            self.cursor = 0
            for row in self.rows.values():
                row.seq = 0
        self.grants = m[1]
        self.scopes = codec.rising(m[2])
        must(self.scopes and self.scopes[0] == 0, "scope 0 comes first")
        self.role, self.user, self.home = m[3], m[4], m[5]
        if not changed:
            return
        self.staged, self.mark = [], b""
        for key in list(self.members):
            for scope in self.members.get(key, set()) - set(self.scopes):
                self.leave(key, scope)

    def hello(self):
        return {
            1: 1,
            2: 1,
            3: self.replica,
            4: self.epoch,
            5: self.cat.version,
            6: self.cursor,
            7: self.verdict_seq,
            8: self.seq,
            9: self.last_hash,
            10: self.ratchet,
            11: now_ms(),
            13: self.pulled,
            14: "peer.py 1",
            **({15: self.mark} if self.mark else {}),
        }

    def dial(self, **kw):
        return Line(self.host, self.port, context(self.folder, **kw))

    def connect(self, hello=None):
        """Up to WELCOME; push_window and server's last_seq are kept."""
        self.close()
        self.parts, self.owed = b"", 0
        self.line = self.dial()
        self.line.send(HELLO, hello or self.hello())
        kind, m, _ = self.line.recv(30)
        if kind == ERROR:
            self.close()
            raise Refused(m)
        must(kind == WELCOME and m[1] == 1, "no WELCOME")
        if m[2] != self.epoch:
            self.cursor = min(self.cursor, m[3])
            self.epoch = m[2]
        self.server_seq, self.offset, self.ratchet = m[4], m[7], m[8]
        self.window = m[10]
        self.sent = 0
        if not m.get(11):
            self.staged, self.mark = [], b""
        self.rights(m[9])
        self.line.send(CREDIT, {4: self.ratchet})
        return self

    def close(self):
        if self.line:
            self.line.close()
            self.line = None

    # Reading

    def pump(self, done, what="", seconds=20):
        """Handle messages until done()."""
        end = time.monotonic() + seconds * PATIENCE
        while not done():
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"in vain: {what}; saw {self.seen[-20:]}")
            self.handle(*self.line.recv(left / PATIENCE))
        return self

    def handle(self, kind, m, size):
        self.seen.append(kind)
        if kind in (ROWS, EVICT):
            self.rows_bytes += size
            self.owed += size
        if kind == ROWS:
            self.take_rows(m)
        elif kind == EVICT:
            row_ids = [m[3][i : i + 16] for i in range(0, len(m[3]), 16)]
            self.staged.append((EVICT, m[1], m[2], row_ids))
        elif kind == CHECKPOINT:
            self.checkpoint(m)
        elif kind == VERDICT:
            self.verdict(m)
        elif kind == CREDIT:
            self.sent -= m.get(1, 0)
            must(self.sent >= 0, "credit for what was not sent")
        elif kind == GRANT:
            self.rights(m)
            self.regrant = True
        elif kind == MARK:
            self.mark = m[1]
        elif kind == CATALOGUE:
            self.cat = Catalogue(m[2])
            must(self.cat.version == m[1], "CATALOGUE names another version")
        elif kind == PING:
            self.line.send(PONG, {1: m[1], 2: now_ms()})
        elif kind == ERROR:
            raise Refused(m)
        elif kind == WIPE:
            self.rows, self.members, self.outbox = {}, {}, {}
        else:
            must(kind == PONG or kind >= 128, f"unknown message {kind}")
        if not self.credit_held and self.owed >= 1 << 18:
            self.give_credit()

    def give_credit(self):
        if self.owed:
            self.line.send(CREDIT, {1: self.owed})
            self.owed = 0

    def take_rows(self, m):
        scope, table, refs = m[1], m[2], m.get(3, False)
        must(scope in self.scopes, "a page of a scope that is not granted")
        here = (scope, table, refs)
        must(not self.parts or self.parts_of == here, "parts of two pages")
        self.parts += m[5]
        self.parts_of = here
        if m.get(4):
            return
        data, self.parts = self.parts, b""
        rows = codec.page(data, table, self.cat.types, refs)
        self.staged.append((ROWS, scope, table, rows, refs))

    def put_row(self, table, row_id, seq, meta, cols):
        t = self.cat.tables[table]
        state = read_meta(meta, t, cols)
        must(write_meta(t, state) == meta, "metadata is not canonical")
        if alive(state):
            typed = {
                n: v
                for n, v in cols.items()
                if v is not None and (v or t.cols[n].type != "counter")
            }
            must(shown(t, state) == typed, "another write is shown")
        h = codec.row_hash(table, row_id, meta, cols, self.cat.types)
        self.rows[table, row_id] = Row(seq, state, meta, cols, h)

    def apply_rows(self, scope, table, rows, refs):
        for r in rows:
            key = (table, r["id"])
            self.members.setdefault(key, set()).add(scope)
            held = self.rows.get(key)
            if refs:
                continue
            if table in self.cat.tables and not (held and held.seq >= r["seq"]):
                self.put_row(table, r["id"], r["seq"], r["meta"], r["cols"])

    def leave(self, key, scope):
        left = self.members.get(key, set())
        left.discard(scope)
        if not left:
            self.members.pop(key, None)
            self.rows.pop(key, None)

    def checkpoint(self, m):
        for what, scope, table, *rest in self.staged:
            if what == ROWS:
                self.apply_rows(scope, table, *rest)
            else:
                for row_id in rest[0]:
                    self.leave((table, row_id), scope)
        self.staged, self.mark = [], b""
        self.cursor, self.pulled = m[1], self.grants
        for seq, (_, _, v) in list(self.outbox.items()):
            if v and v[2] in (0, 1):  # what did not come is not ours to see
                self.outbox[seq][1] = []
        self.checkpoints += 1
        self.settle()
        self.give_credit()
        self.line.send(CREDIT, {2: self.verdict_seq, 3: self.cursor})
        total, pairs = self.digest()
        must(pairs == m[3], f"{pairs} memberships, the server says {m[3]}")
        must(total == m[2], "the digest differs")

    def digest(self):
        total = pairs = 0
        for key, scopes in self.members.items():
            row = self.rows[key]
            if alive(row.state):
                pairs += len(scopes)
                total += int.from_bytes(row.hash, "big") * len(scopes)
        return (total % (1 << 128)).to_bytes(16, "big"), pairs

    # Writing

    def held(self, table, row_id):
        """The visible state: the server's and the pending deltas."""
        row = self.rows.get((table, row_id))
        state = row.state if row else new_state()
        for seq, (_, deltas, v) in sorted(self.outbox.items()):
            if v and v[2] == REJECTED:
                continue
            for d in deltas:
                if (d["table"], d["id"]) == (table, row_id):
                    t = self.cat.tables[table]
                    dot = (self.replica, seq)
                    state = merge(t, state, d, dot, self.offset)
        return state

    def get(self, table, row_id):
        """Visible values by name, None for a row that is not alive."""
        t = self.cat.by_name[table]
        state = self.held(t.no, row_id)
        if not alive(state):
            return None
        return {t.cols[n].name: v for n, v in shown(t, state).items()}

    def find(self, table, **values):
        t = self.cat.by_name[table]
        for no, row_id in list(self.rows):
            got = self.get(table, row_id) if no == t.no else None
            if got and all(got.get(k) == v for k, v in values.items()):
                return row_id
        return None

    def insert(self, table, row_id=None, **values):
        t = self.cat.by_name[table]
        cols = {t.by_name[n].no: {"value": v} for n, v in values.items()}
        return dict(table=t.no, op=INSERT, id=row_id or uuid7(), at=now_ms(),
                    cols=cols)

    def update(self, table, row_id, **values):
        t = self.cat.by_name[table]
        state = self.held(t.no, row_id)
        row = self.rows.get((t.no, row_id))
        cols = {}
        for name, v in values.items():
            c = t.by_name[name]
            body = state["cols"].get(c.no)
            if c.policy == "set":
                cols[c.no] = {"adds": v[0], "removes": v[1]}
            elif c.policy == "counter":
                cols[c.no] = {"value": v}
            else:
                old = shown_write(c, body) if body else None
                cols[c.no] = {
                    "value": v,
                    "before": old.value if old else None,
                    "stamp": old.stamp if old else 0,
                }
        return dict(table=t.no, op=UPDATE, id=row_id, at=now_ms(), cols=cols,
                    ctx=dict(state["vv"]), base=row.seq if row else 0)

    def delete(self, table, row_id):
        return {**self.update(table, row_id), "op": DELETE}

    def commit(self, *deltas, **other):
        """Make a changeset; returns its seq."""
        self.seq += 1
        data = codec.to_changeset(
            {
                "replica": self.replica,
                "seq": self.seq,
                "prev": self.last_hash,
                "catalogue": self.cat.version,
                "marker": [self.epoch, self.cursor, self.grants],
                "deltas": deltas,
                **other,
            },
            self.cat.types,
        )
        self.last_hash = codec.xxh(data)
        self.outbox[self.seq] = [data, deltas, None]
        self.made[self.seq] = data
        return self.seq

    def push(self, seq, size=128 << 10):
        """Send the parts of a changeset, within the window."""
        data = self.outbox[seq][0]
        cuts = [data[i : i + size] for i in range(0, len(data), size)]
        for part, cut in enumerate(cuts):
            self.pump(
                lambda: self.sent + len(cut) <= self.window, "push window"
            )
            m = {1: seq, 2: part}
            if part == len(cuts) - 1:
                m[3] = True
            m.update({4: len(data), 5: cut})
            if part == len(cuts) - 1:
                m[6] = codec.xxh(data)
            self.line.send(PUSH, m)
            self.sent += len(cut)

    def verdict(self, m):
        seq = m[1]
        entry = self.outbox.get(seq)
        must(entry, "a verdict for what was never made")
        must(seq == self.verdict_seq + 1 or m.get(3, 0) & REPLAY,
             "verdicts out of order")
        self.verdict_seq = max(self.verdict_seq, seq)
        entry[2] = m
        if m[2] in (APPLIED, MERGED) and m.get(3, 0) & AS_HELD:
            self.as_held(seq, entry[1], m)
        self.settle()

    def as_held(self, seq, deltas, m):
        for i, d in enumerate(deltas):
            t = self.cat.tables[d["table"]]
            held = self.rows.get((t.no, d["id"]))
            if held and held.seq >= m[4] + i:
                continue  # the row overtook its verdict
            state = held.state if held else new_state()
            state = merge(t, state, d, (self.replica, seq), m.get(5, 0))
            self.put_row(t.no, d["id"], m[4] + i, write_meta(t, state),
                         shown(t, state))

    def settle(self):
        """Accepted changesets leave the overlay with their row's state."""
        for seq, (_, deltas, v) in list(self.outbox.items()):
            if not v or v[2] == REJECTED:
                continue
            if all(
                self.rows.get((d["table"], d["id"]))
                and self.rows[d["table"], d["id"]].state["vv"].get(
                    self.replica, 0) >= seq
                for d in deltas
            ):
                del self.outbox[seq]

    def do(self, *deltas, size=128 << 10, seconds=20):
        """Commit, push, and wait for the verdict, which is returned."""
        seq = self.commit(*deltas)
        entry = self.outbox[seq]
        self.push(seq, size)
        self.pump(lambda: entry[2], f"verdict of {seq}", seconds)
        return entry[2]

    def pull(self, seconds=20):
        """Up to the next checkpoint."""
        n = self.checkpoints
        return self.pump(lambda: self.checkpoints > n, "a checkpoint", seconds)
