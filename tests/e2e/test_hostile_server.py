"""A hostile server with the right keys: whatever it says, satcheld neither
stops nor believes it, waits longer and longer, says so in its status, and syncs
when the real server is back.
"""
# timeout: 400

import os
import random
import socket
import ssl
import threading
import time

import peer_codec as codec
from harness import (
    DAEMON,
    NIGHTLY,
    PATIENCE,
    check,
    equal,
    main,
    run,
    seed,
    wait_for,
)
from peer import Gone, Line, now_ms, openssl
from peer_org import Company, account, visit
from test_hostile import bombs, other_ca


class Heard(Line):
    """The server's side of an accepted connection."""

    def __init__(self, tls_socket):
        self.s = tls_socket
        self.buffer = bytearray()


class Fake:
    """Accepts on the real server's port and plays a script to each."""

    def __init__(self, port, folder, alpn="satchel/1", low=None):
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(
            os.path.join(folder, "server.pem"),
            os.path.join(folder, "server.key"),
        )
        self.tls.load_verify_locations(os.path.join(folder, "ca.pem"))
        self.tls.verify_mode = ssl.CERT_REQUIRED
        if low:
            self.tls.minimum_version = self.tls.maximum_version = low
        if alpn:
            self.tls.set_alpn_protocols([alpn])
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(16)
        self.script = None
        self.raw = None  # bytes before any TLS
        self.times = []
        self.faults = []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            self.times.append(time.monotonic())
            threading.Thread(target=self.play, args=(s,), daemon=True).start()

    def play(self, s):
        try:
            if self.raw is not None:
                s.sendall(self.raw)
                s.shutdown(socket.SHUT_WR)
                while s.recv(4096):
                    pass
                s.close()
                return
            s.settimeout(10 * PATIENCE)
            line = Heard(self.tls.wrap_socket(s, server_side=True))
        except (OSError, ssl.SSLError):
            s.close()
            return
        try:
            if self.script:
                self.script(line)
        except (Gone, OSError, TimeoutError):
            pass
        except Exception as e:  # a fault of the test itself
            self.faults.append(repr(e))
        line.close()

    def close(self):
        # shutdown wakes accept(); close alone would leave it waiting
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)


def drain(line, seconds=2):
    """Read until the device closes."""
    try:
        while True:
            line.recv(seconds)
    except (Gone, TimeoutError):
        pass


class Stage(Company):
    """A device in sync, the real server stopped, a fake in its place."""

    fake = None

    def set_up(self):
        super().set_up()
        self.p = self.peer("bob")
        self.x = account(self.p, name="X")
        self.p.do(visit(self.p, self.x, notes="real"))
        self.p.pull()
        self.d = self.device("bob")
        self.d.once()
        self.p.close()
        self.stop()

    def __exit__(self, *why):
        if self.fake:
            self.fake.close()
        super().__exit__(*why)

    def play(self, script=None, **kw):
        if self.fake:
            self.fake.close()
        self.fake = Fake(self.port, kw.pop("folder", self.dir), **kw)
        self.fake.script = script
        return self.fake

    def welcome(self, line, **changes):
        """Read HELLO and answer it rightly (but for the changes)."""
        kind, h, _ = line.recv(10)
        check(kind == codec.HELLO, "HELLO comes first")
        scopes = b"".join(
            codec.to_varint(b - a)
            for a, b in zip([0, *self.p.scopes], self.p.scopes)
        )
        rights = {1: h[13], 2: scopes, 3: 0, 4: self.p.user, 5: self.p.home}
        m = {
            1: 1,
            2: h[4] or self.p.epoch,
            3: max(h[6], self.p.cursor),
            4: h[8],
            5: h[5],
            6: now_ms(),
            7: 0,
            8: h[10],  # the one it holds: the real server must know it later
            9: rights,
            10: 1 << 20,
        }
        m.update({int(k[1:]): v for k, v in changes.items()})
        line.send(codec.WELCOME, m)
        return h

    def content(self):
        return [
            self.d.sql(f"SELECT * FROM {t} ORDER BY id")
            for t in ("account", "visit", "user", "territory")
        ]

    def real_again(self, before):
        """The real server is back: everything is there and goes on."""
        self.fake.close()
        self.fake = None
        self.start()
        self.d.sql("UPDATE account SET phone = coalesce(phone, '') || '1'")
        equal(self.d.once(), 0, "rejected")
        equal(len(self.d.sql("SELECT * FROM visit")), len(before[1]))
        equal(self.d.one("PRAGMA integrity_check"), "ok")
        equal(self.d.status()["digest"], "equal")
        self.verify()


def page(p, rows, table="account", **columns):
    """A page of bytes, with metadata as given."""
    t = p.cat.by_name[table]
    metas = [r[2] for r in rows]
    return codec.pack(
        {
            1: len(rows),
            2: codec.to_ids([r[0] for r in rows]),
            3: codec.differences([r[1] for r in rows]),
            4: [
                b"".join(codec.to_varint(len(m)) for m in metas),
                b"".join(m[k : k + 1] for k in range(64) for m in metas)
                + b"".join(m[64:] for m in metas),
            ],
            5: [
                [t.by_name[n].no, codec.to_block(t.by_name[n].type, v)]
                for n, v in sorted(
                    columns.items(), key=lambda c: t.by_name[c[0]].no
                )
            ],
        }
    )


def instead_of_welcome():
    """Other servers, rubbish and wrong order before WELCOME."""
    rng = random.Random(seed())
    with Stage("fake-hello") as c:
        before = c.content()

        def once(what, codes=(3,)):
            done = run(
                [DAEMON, "run", "--dir", c.d.dir, "--once", "--timeout", "1"],
                ok=None,
                timeout=30,
            )
            check(
                done.returncode in codes,
                f"{what}: exit {done.returncode}, wanted {codes}: "
                + done.stderr[-500:],
            )
            words = done.stderr.strip().splitlines()
            check(words, f"{what}: not a word")
            equal(c.fake.faults, [], what)
            check(c.fake.times, f"{what}: it never came")
            if "3: 100" not in what:  # the server asked for that
                few = len(c.fake.times) <= 4
                check(few, f"{what}: {len(c.fake.times)} tries")
            equal(c.content(), before, what)

        # before TLS, and servers that are not ours
        for what, raw in (
            ("closed at once", b""),
            ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            ("rubbish", rng.randbytes(5000)),
            ("a TLS head", b"\x16\x03\x03\xff\xff" + rng.randbytes(3000)),
        ):
            c.play().raw = raw
            once(what)
        top = os.path.join(c.top, "other")
        other_ca(top)
        for name, ca in (("server", top), ("other-name", None)):
            folder = os.path.join(c.top, "fake-" + name)
            make_server(c, folder, ca, "server.satchel.internal" if ca else "x")
            c.play(folder=folder)
            once(f"certificate of {name}", (3, 4))
        c.play(low=ssl.TLSVersion.TLSv1_2)
        once("TLS 1.2")
        c.play(alpn="http/1.1")
        once("another ALPN")
        c.play(alpn=None)
        once("no ALPN")

        cases = {w: d for w, d in bombs().items() if w != "length 4097"}
        for kind in (0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 16, 20, 21):
            cases[f"type {kind} first"] = codec.message(kind, {1: 1, 2: 1})
        for i in range(20 if NIGHTLY else 3):
            cases[f"random {i}"] = codec.frame(2, rng.randbytes(300))
        chosen = list(cases) if NIGHTLY else rng.sample(sorted(cases), 14)
        for what in chosen:
            data = cases[what]

            def script(line):
                line.recv(10)
                line.raw(data)
                drain(line)

            c.play(script)
            once(what)

        def too_early(line):
            line.send(codec.ROWS, {1: 0, 2: 1, 5: b"\x80"})
            drain(line)

        c.play(too_early)
        once("ROWS before HELLO")
        # ERROR with codes: transient or not, known or not
        for m, codes in (
            ({1: 6, 2: True, 3: 100}, (3,)),
            ({1: 8, 2: True}, (3,)),
            ({1: 1, 4: "you broke it"}, (3, 4)),
            ({1: 4}, (4,)),
            ({1: 5}, (4,)),
            ({1: 4711, 2: True, 4: "a later code"}, (3,)),
            ({1: 4711, 4: "a later code"}, (3, 4)),
            ({1: 6, 2: True, 3: 0xFFFFFFFF, 4: "x" * 500}, (3,)),
        ):

            def script(line):
                line.recv(10)
                line.send(codec.ERROR, m)
                drain(line)

            c.play(script)
            once(f"ERROR {m}", codes)
        c.real_again(before)


def make_server(c, folder, ca, name):
    """server.key, server.pem and ca.pem of a server that is not ours."""
    os.makedirs(folder)
    key = os.path.join(folder, "server.key")
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    csr = openssl("req", "-new", "-key", key, "-subj", "/CN=server")
    ext = os.path.join(folder, "ext")
    with open(ext, "w") as f:
        f.write(f"subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth\n")
    ca = ca or c.dir
    openssl(
        *("x509", "-req", "-days", "9", "-extfile", ext),
        *("-out", os.path.join(folder, "server.pem")),
        *("-CA", os.path.join(ca, "ca.pem")),
        *("-CAkey", os.path.join(ca, "ca.key"), "-CAcreateserial"),
        stdin=csr,
    )
    with open(os.path.join(folder, "ca.pem"), "wb") as f:
        with open(os.path.join(c.dir, "ca.pem"), "rb") as g:
            f.write(g.read())


def behind_welcome():
    """Wrong order, lies and rubbish in a connection that began well."""
    rng = random.Random(seed())
    with Stage("fake-live") as c:
        before = c.content()
        p = c.p
        known = p.rows[3, c.x]
        cols = {n.name: [known.cols.get(no)] for no, n in
                p.cat.by_name["account"].cols.items() if no in known.cols}
        good = page(p, [(c.x, known.seq + 1000, known.meta)], **cols)
        head = p.cursor + 2000
        zero = bytes(16)

        def rows(data, scope=None, table=3):
            s = p.scopes[-1] if scope is None else scope
            return codec.ROWS, {1: s, 2: table, 5: data}

        def checkpoint(**kw):
            return codec.CHECKPOINT, {
                1: head, 2: kw.get("digest", zero), 3: kw.get("rows", 1),
                4: now_ms(),
            }

        broken = bytearray(good)
        broken[len(broken) // 2] ^= 0x55
        cases = {
            "WELCOME twice": [(codec.WELCOME, {1: 1})],
            "HELLO": [(codec.HELLO, {1: 1})],
            "PUSH": [(codec.PUSH, {1: 1, 2: 0, 4: 1, 5: b"x"})],
            "ENROLLED": [(codec.ENROLLED, {1: 1})],
            "a verdict for what was never made": [
                (codec.VERDICT, {1: 999, 2: 0, 4: 1})
            ],
            "a verdict of a status unknown": [
                (codec.VERDICT, {1: 1, 2: 77})
            ],
            "credit for what was never sent": [(codec.CREDIT, {1: 1 << 40})],
            "a scope not granted": [rows(good, scope=4711), checkpoint()],
            "a page that is rubbish": [rows(rng.randbytes(400)), checkpoint()],
            "a page of nothing": [rows(b"\x80"), checkpoint()],
            "a page cut": [rows(good[:-9]), checkpoint()],
            "a page with a bit turned": [rows(bytes(broken)), checkpoint()],
            "a page with a tail": [rows(good + b"\0"), checkpoint()],
            "metadata that is rubbish": [
                rows(page(p, [(c.x, head, b"\xff\x01")], **cols)), checkpoint()
            ],
            "metadata of nothing": [
                rows(page(p, [(c.x, head, b"")], **cols)), checkpoint()
            ],
            "parts of two pages": [
                (codec.ROWS, {1: p.scopes[-1], 2: 3, 4: True, 5: good[:50]}),
                rows(good, table=5),
            ],
            "a page that never ends": [
                (codec.ROWS,
                 {1: p.scopes[-1], 2: 3, 4: True, 5: os.urandom(900000)})
            ] * 20,
            "an EVICT of 5 bytes": [
                (codec.EVICT, {1: p.scopes[-1], 2: 3, 3: b"12345"})
            ],
            "an EVICT of 5,000": [
                (codec.EVICT,
                 {1: p.scopes[-1], 2: 3, 3: os.urandom(80000)})
            ],
            "a checkpoint that goes back": [
                (codec.CHECKPOINT, {1: 1, 2: zero, 3: 0, 4: now_ms()})
            ],
            "a catalogue that is none": [
                (codec.CATALOGUE, {1: 9, 2: "{"})
            ],
            "a catalogue of nothing": [
                (codec.CATALOGUE,
                 {1: 9, 2: '{"name":"x","version":9,"roles":{},"tables":[]}'})
            ],
            "rights that are rubbish": [
                (codec.GRANT, {1: 9, 2: b"\xff", 3: 0, 4: zero, 5: zero})
            ],
            "rights of a role unknown": [
                (codec.GRANT, {1: 9, 2: b"\0", 3: 99, 4: zero, 5: zero})
            ],
        }
        for name, data in bombs().items():
            if name != "length 4097" and rng.random() < (1 if NIGHTLY else 0.2):
                cases[name] = [data]
        for what, messages in cases.items():

            def script(line):
                c.welcome(line)
                for m in messages:
                    if isinstance(m, bytes):
                        line.raw(m)
                    else:
                        line.send(*m)
                drain(line, 1)

            c.play(script)
            done = run(
                [DAEMON, "run", "--dir", c.d.dir, "--once", "--timeout", "1"],
                ok=None,
                timeout=30,
            )
            # what is well-formed can only show in the digest
            strange = what in (
                "a scope not granted",
                "a page with a bit turned",
                "a checkpoint that goes back",
            )
            check(
                done.returncode in (3, 4, 5)
                or (strange and "digest differs" in done.stderr),
                f"{what}: exit {done.returncode}: {done.stderr[-600:]}",
            )
            equal(c.fake.faults, [], what)
            check(1 <= len(c.fake.times) <= 4, f"{what}: {c.fake.times}")
            if strange:  # applied or not, before or after the time was up
                before = c.content()
            equal(c.content(), before, what)


def wrong_digest():
    """A page that is well-formed but not what the server's digest says: what
    is shown may change, for this server has the right keys; the device must
    see and say that the sums differ."""
    with Stage("fake-digest") as c:
        equal(c.d.status()["digest"], "equal")
        p, known = c.p, c.p.rows[3, c.x]
        cols = {
            n.name: [known.cols.get(no)]
            for no, n in p.cat.by_name["account"].cols.items()
            if no in known.cols
        }
        cols["phone"] = ["lie"]
        data = page(p, [(c.x, known.seq, known.meta)], **cols)

        def script(line):
            c.welcome(line)
            line.send(codec.ROWS, {1: p.scopes[-1], 2: 3, 5: data})
            line.send(
                codec.CHECKPOINT,
                {1: p.cursor + 1, 2: b"\x01" * 16, 3: 1, 4: now_ms()},
            )
            drain(line, 3)

        fake = c.play(script)
        c.d.start()
        wait_for(
            "status shows that digests differ",
            lambda: c.d.status()["digest"] == "mismatch",
            10,
        )
        check("digest differs" in c.d.daemon.tail(), "a line of the log")
        check(c.d.daemon.alive, "the daemon died: " + c.d.daemon.tail())
        check(fake.times, "it came")
        equal(c.d.stop(), 0)
        equal(fake.faults, [])


def backs_off():
    """A server that always breaks: tries thin out, the status says why, local
    writes go on."""
    with Stage("fake-backoff") as c:
        before = c.content()

        def script(line):
            c.welcome(line)
            line.send(codec.HELLO, {1: 1})
            drain(line, 1)

        fake = c.play(script)
        c.d.start()
        wait_for("a first try", lambda: fake.times, 10)
        status = wait_for(
            "the status names the trouble",
            lambda: (lambda s: s if s.get("last_error") else None)(
                c.d.status()
            ),
        )
        check(len(status["last_error"]) > 3, f"{status}")
        began = time.monotonic()
        c.d.sql("INSERT INTO account(name) VALUES ('offline')")
        check(time.monotonic() - began < 2, "a local write waited")
        time.sleep(6)
        check(
            len(fake.times) <= 10, f"{len(fake.times)} tries within seconds"
        )
        check(c.d.daemon.alive, "the daemon died: " + c.d.daemon.tail())
        text = c.d.cli("status").stdout
        check(len(text.splitlines()) >= 3, text)
        equal(c.d.stop(), 0, "exit of the daemon")
        equal(fake.faults, [])
        c.d.sql("DELETE FROM account WHERE name = 'offline'")
        c.real_again(before)


if __name__ == "__main__":
    main([instead_of_welcome, behind_welcome, wrong_digest, backs_off])
