"""Hostile connections: whatever comes, at whatever stage, the server ends that
one connection, says why in its log, keeps its memory and serves the others.
"""
# timeout: 400

import os
import random
import shutil
import socket
import ssl
import struct
import time

import zstandard

import peer
import peer_codec as codec
from harness import NIGHTLY, check, equal, main, seed, wait_for
from peer import Gone, Line, Refused, context, now_ms, openssl
from peer_org import Watched
from test_protocol import vectors

# TLS and frame code ends connections with these.
ENDED = r"msg=(refused|closed) "


def end_of(line, seconds=20):
    """ERROR codes until the server closes; the connection must end."""
    codes = []
    try:
        while True:
            kind, m, _ = line.recv(seconds)
            if kind == codec.ERROR:
                codes.append(m[1])
    except Gone:
        return codes
    finally:
        line.close()


def refused_tls(c, tls):
    """A handshake the server must refuse: at once, or at the first read."""
    try:
        line = Line("127.0.0.1", c.port, tls)
    except (ssl.SSLError, ConnectionError):
        return
    try:
        line.send(codec.HELLO, c.good.hello())
    except OSError:
        pass
    equal(end_of(line), [], "an ERROR instead of a refused handshake")


def certificate(c, folder, uri, ca=None, days="1", org_ca=True):
    """A key and a certificate in a folder, signed by the organisation's CA
    (or by ca, or by itself)."""
    os.makedirs(folder, exist_ok=True)
    key = os.path.join(folder, "device.key")
    pem = os.path.join(folder, "device.pem")
    shutil.copy(os.path.join(c.dir, "ca.pem"), folder)
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    csr = openssl("req", "-new", "-key", key, "-subj", "/CN=device")
    ext = os.path.join(folder, "ext")
    with open(ext, "w") as f:
        f.write(
            f"subjectAltName=URI:{uri}\nextendedKeyUsage=clientAuth\n"
            "keyUsage=critical,digitalSignature\nbasicConstraints=CA:FALSE\n"
        )
    words = ["x509", "-req", "-days", days, "-extfile", ext, "-out", pem]
    ca = ca or (c.dir if org_ca else None)
    if ca:
        words += ["-CA", os.path.join(ca, "ca.pem")]
        words += ["-CAkey", os.path.join(ca, "ca.key"), "-CAcreateserial"]
    else:
        words += ["-signkey", key]
    openssl(*words, stdin=csr)
    return folder


def other_ca(folder):
    os.makedirs(folder)
    openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt"),
        *("ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=Test"),
        *("-keyout", os.path.join(folder, "ca.key")),
        *("-out", os.path.join(folder, "ca.pem")),
    )
    return folder


def uuid_text(b):
    h = b.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def before_tls():
    """Bytes that are no handshake."""
    rng = random.Random(seed())
    with Watched("hostile-tcp") as c:
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
        streams = [
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            bytes(1000),
            b"\xff" * 5000,
            hello + rng.randbytes(512),
            b"\x16\x03\x03\xff\xff" + rng.randbytes(70000),
            b"\x80" + rng.randbytes(100),
        ] + [rng.randbytes(rng.randrange(5, 3000)) for _ in range(20)]
        c.mark()
        for data in streams:
            s = socket.create_connection(("127.0.0.1", c.port))
            try:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                s.settimeout(10)
                while s.recv(4096):
                    pass
            except (ConnectionError, BrokenPipeError):
                pass
            s.close()
        c.one_line(ENDED, len(streams))
        c.still_good()
        c.real_good()


def wrong_tls():
    """ALPN, versions, certificates."""
    with Watched("hostile-tls") as c:
        good = c.good.folder
        who = uuid_text(c.good.user)
        uri = f"satchel:device:{c.good.replica}:{who}"
        other = other_ca(os.path.join(c.top, "other-ca"))
        forged = certificate(c, os.path.join(c.top, "k1"), uri, ca=other)
        own = certificate(c, os.path.join(c.top, "k2"), uri, org_ca=False)
        old = certificate(c, os.path.join(c.top, "k3"), uri, days="-1")
        names = {
            f"k4-{i}": text
            for i, text in enumerate(
                (
                    f"satchel:device:x:{who}",
                    f"satchel:device:0:{who}",
                    f"satchel:device:99999999999:{who}",
                    f"satchel:device:{c.good.replica}:nobody",
                    "https://example.org",
                )
            )
        }
        twelve = context(good)
        twelve.minimum_version = ssl.TLSVersion.TLSv1_2
        twelve.maximum_version = ssl.TLSVersion.TLSv1_2
        cases = [
            ("another ALPN", context(good, alpn="http/1.1")),
            ("ALPN of a later version", context(good, alpn="satchel/2")),
            ("no ALPN", context(good, alpn=None)),
            ("TLS 1.2", twelve),
            ("no certificate", context(None)),
            ("another CA", context(forged)),
            ("self-signed", context(own)),
            ("expired", context(old)),
        ]
        for what, tls in cases:
            c.mark()
            refused_tls(c, tls)
            c.one_line(ENDED)
            c.still_good()
        for name, text in names.items():
            folder = certificate(c, os.path.join(c.top, name), text)
            c.mark()
            line = Line("127.0.0.1", c.port, context(folder))
            line.send(codec.HELLO, c.good.hello())
            codes = end_of(line)
            check(codes in ([], [4]), f"{text}: {codes}")
            c.one_line(ENDED)
            c.still_good()
        # the server's key must not be a device's
        shutil.copy(os.path.join(c.dir, "server.pem"), own + "/device.pem")
        shutil.copy(os.path.join(c.dir, "server.key"), own + "/device.key")
        c.mark()
        line = Line("127.0.0.1", c.port, context(own))
        line.send(codec.HELLO, c.good.hello())
        check(end_of(line) in ([], [4]), "the server's certificate")
        c.one_line(ENDED)
        c.real_good()


def wrong_device():
    """Unknown and revoked devices, and HELLO in another's name."""
    with Watched("hostile-device") as c:
        ann, good = c.peer("ann"), c.good
        c.mark()
        # a certificate of this CA for a user that never was
        folder = certificate(
            c,
            os.path.join(c.top, "ghost"),
            "satchel:device:999:019a7d55-2000-7003-8003-030303030303",
        )
        ghost = peer.Peer(folder, good.host, good.port, 999, good.cat)
        ghost.grants = 0
        try:
            ghost.connect()
            check(False, "an unknown device was let in")
        except Refused as e:
            equal(e.code, 4, "unknown")
        c.one_line(ENDED)
        # HELLO with the id of somebody else
        for replica in (good.replica, 1, 0, 4294967295):
            c.mark()
            try:
                ann.connect({**ann.hello(), 3: replica})
                check(False, f"was let in as replica {replica}")
            except Refused as e:
                check(e.code in (1, 4), f"replica {replica}: {e}")
            c.one_line(r"level=warn.*msg=closed")
            c.still_good()
        # revoked while it is connected: at most 1 s, no byte after it
        ann.connect().pull()
        c.mark()
        c.cmd("device", "revoke", "--device", ann.replica)
        began = time.monotonic()
        codes = end_of(ann.line)
        took = time.monotonic() - began
        check(took < 1 * peer.PATIENCE, f"revoked after {took:.1f} s")
        equal(codes, [], "not one byte after it")
        ann.line = None
        c.mark()
        try:
            ann.connect()
            check(False, "a revoked device was let in")
        except (Refused, Gone, ssl.SSLError) as e:
            if isinstance(e, Refused):
                equal(e.code, 5)
        c.one_line(ENDED)
        c.still_good()
        c.real_good()


def bombs():
    """Payloads that ask for far more than they are."""
    zeros = zstandard.ZstdCompressor(level=19).compress(bytes(64 << 20))
    big = codec.pack({1: 1, 2: b"\0" * (3 << 20)})
    ratio = zstandard.ZstdCompressor(level=19).compress(big)
    out = {
        "array of 4 G": codec.frame(1, b"\xdd\xff\xff\xff\xff"),
        "array of 128 GiB": codec.frame(1, b"\xdd\xff\x00\x00\x00"),
        "map of 4 G": codec.frame(1, b"\xdf\xff\xff\xff\xff"),
        "map in a map": codec.frame(1, b"\x81\x01\xdf\xff\xff\xff\xff"),
        "str of 4 G": codec.frame(1, b"\x81\x01\xdb\xff\xff\xff\xff"),
        "bin of 4 G": codec.frame(1, b"\x81\x01\xc6\xff\xff\xff\xff"),
        "deep arrays": codec.frame(1, b"\x91" * 3000 + b"\x01"),
        "deep maps": codec.frame(1, b"\x81\x01" * 1500 + b"\x01"),
        "many headers": codec.frame(1, b"\x81\x01\xdc\x05\xdc" + b"\x90" * 1500),
        "extension": codec.frame(1, b"\x81\x01\xd4\x01\x01"),
        "byte 0xc1": codec.frame(1, b"\xc1"),
        "nothing": codec.frame(1, b""),
        "two values": codec.frame(1, codec.pack({}) * 2),
        "no map": codec.frame(1, codec.pack([1, 2])),
        "keys twice": codec.frame(1, b"\x82\x01\x01\x01\x01"),
        "keys fall": codec.frame(1, b"\x82\x02\x01\x01\x01"),
        "zip bomb by size": codec.frame(1, zeros, 1),
        "zip bomb by ratio": codec.frame(1, ratio, 1),
        "zipped rubbish": codec.frame(1, os.urandom(200), 1),
        "zstd cut": codec.frame(1, ratio[: len(ratio) // 2], 1),
        "unknown flag": codec.frame(1, codec.pack({}), 2),
        "length 0": b"\0\0\0\0",
        "length 1": b"\0\0\0\1\1",
        "length 4097": struct.pack(">IBB", 4097, 1, 0),
        "length 4 G": struct.pack(">IBB", 0xFFFFFFFF, 1, 0),
    }
    return out


def instead_of_hello():
    """Broken frames, bombs, and messages that may not come first."""
    rng = random.Random(seed())
    with Watched("hostile-hello") as c:
        good = c.good
        hello = codec.pack(good.hello())
        cases = bombs()
        for i in range(40 if NIGHTLY else 12):
            cases[f"random {i}"] = codec.frame(
                rng.randrange(256) & 127, rng.randbytes(rng.randrange(1, 400))
            )
        for kind in (0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 15, 20, 21, 127):
            cases[f"type {kind} first"] = codec.message(kind, {1: 1, 2: 1})
        for key in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13):
            m = good.hello()
            del m[key]
            cases[f"HELLO without {key}"] = codec.message(1, m)
            m[key] = [1]
            m = dict(sorted(m.items()))
            cases[f"HELLO with a list as {key}"] = codec.message(1, m)
        for key, value in (
            (3, -1),
            (3, 1 << 40),
            (9, b"short"),
            (10, b"x" * 17),
            (12, [[1, 2]] * 33),
            (12, [[1]]),
            (12, [[1, 2, 3]]),
            (14, "x" * 65),
            (14, b"\xff"),
        ):
            m = dict(sorted({**good.hello(), key: value}.items()))
            cases[f"HELLO with {key}={value!r:.20}"] = codec.message(1, m)
        cases["HELLO cut"] = codec.frame(1, hello[:-3])
        cases["HELLO with a tail"] = codec.frame(1, hello + b"\0")
        c.mark()
        for what, data in cases.items():
            lines = len(c.news(ENDED))
            line = Line("127.0.0.1", c.port, context(good.folder))
            line.raw(data)
            codes = end_of(line)
            check(codes in ([], [1], [2]), f"{what}: {codes}")
            wait_for(
                f"a line of the log for: {what}",
                lambda: len(c.news(ENDED)) > lines,
                5,
            )
        c.one_line(ENDED, len(cases))
        c.still_good()
        c.real_good()


def after_hello():
    """The same behind WELCOME, and messages only the server may send."""
    rng = random.Random(seed())
    with Watched("hostile-live") as c:
        ann = c.peer("ann")
        cases = bombs()
        del cases["length 4097"]
        cases["length over 1 MiB"] = struct.pack(">IBB", (1 << 20) + 1, 3, 0)
        for kind in (1, 2, 4, 5, 6, 7, 9, 10, 11, 15, 16, 20, 21):
            cases[f"type {kind}"] = codec.message(kind, {1: 1, 2: 1, 5: b"x"})
        cases["HELLO again"] = codec.message(1, ann.hello())
        for i in range(60 if NIGHTLY else 15):
            kind = rng.choice((3, 8, 12, 13))
            cases[f"random {i} of type {kind}"] = codec.frame(
                kind, b"\x81" + rng.randbytes(rng.randrange(2, 3000))
            )
        for n, (what, data) in enumerate(cases.items()):
            c.mark()
            ann.connect()
            ann.line.raw(data)
            codes = end_of(ann.line)
            ann.line = None
            check(codes in ([], [1], [2]), f"{what}: {codes}")
            c.one_line(r"level=warn.*msg=closed")
            if n % 10 == 0:
                c.still_good()
        c.still_good()
        c.real_good()


def damaged_vectors():
    """Golden frames with bits turned and bytes cut, one connection each; the
    server answers or closes, and never stops."""
    rng = random.Random(seed())
    with Watched("hostile-bits") as c:
        ann = c.peer("ann")
        frames = [
            d
            for n, d in vectors().items()
            if n.split("-")[0] in ("push", "credit", "ping", "pong", "hello")
        ]
        c.mark()
        for _ in range(1500 if NIGHTLY else 150):
            data = bytearray(rng.choice(frames))
            for _ in range(rng.randrange(1, 4)):
                data[rng.randrange(4, len(data))] ^= 1 << rng.randrange(8)
            ann.close()
            try:
                ann.connect()
            except Refused as e:
                # the one before was taken for a copy's or an early good-bye
                check(e.transient, f"{e}")
                time.sleep(0.05)
                continue
            ann.line.raw(bytes(data[: rng.randrange(5, len(data) + 1)]))
            try:
                ann.line.s.shutdown(socket.SHUT_WR)
                while True:
                    ann.line.recv(10)
            except (Gone, codec.Broken, OSError):
                pass
        ann.close()
        c.still_good()
        c.real_good()


def slow_and_half_open():
    """Slowloris, 200 half-open handshakes, silence behind the handshake: all
    end within their 10 s while others are served."""
    with Watched("hostile-slow") as c:
        c.mark()
        half = []
        for i in range(200):
            s = socket.create_connection(("127.0.0.1", c.port))
            if i % 2:
                s.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
            half.append(s)
        slow = Line("127.0.0.1", c.port, context(c.good.folder))
        silent = Line("127.0.0.1", c.port, context(c.good.folder))
        drip = codec.message(codec.HELLO, c.good.hello())
        c.still_good()
        began = time.monotonic()
        ended = None
        for i in range(len(drip)):
            if time.monotonic() - began > 14 * peer.PATIENCE:
                break
            try:
                slow.raw(drip[i : i + 1])
                slow.s.settimeout(0.5)
                if not slow.s.recv(100):
                    ended = time.monotonic() - began
                    break
            except TimeoutError:
                continue
            except OSError:
                ended = time.monotonic() - began
                break
        check(ended, "a byte now and then keeps a connection for ever")
        check(8 <= ended, f"ended after {ended:.1f} s already")
        end_of(silent)
        for s in half:
            s.settimeout(5 * peer.PATIENCE)
            try:
                equal(s.recv(100)[:1] in (b"", b"\x15"), True, "half-open")
            except ConnectionError:
                pass
            s.close()
        c.one_line(r"(?i)time|late|slow|10 s", 202)
        c.still_good()
        c.real_good()


def push_without_reading():
    """A device that never reads: what the server holds for it is bounded, and
    so is what it takes from it."""
    with Watched("hostile-deaf") as c:
        ann = c.peer("ann")
        x = c.good.find("account", name="X")
        ann.connect()
        ann.line.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.mark()
        # pings ask for an answer each; PUSH for credit and verdicts
        ann.line.s.settimeout(8 * peer.PATIENCE)
        ping = codec.message(codec.PING, {1: 1, 2: now_ms()})
        sent = 0
        try:
            while sent < 96 << 20:
                ann.line.s.sendall(ping * 4000)
                sent += len(ping) * 4000
        except (TimeoutError, OSError):
            pass
        check(sent < 96 << 20, "pings without end were taken from a deaf one")
        grown = c.rss() - c.memory
        print(f"  deaf to PONG: sent {sent >> 20} MiB, grew by {grown:.0f} MiB")
        check(grown < 48 * peer.PATIENCE, f"grew by {grown:.0f} MiB")
        ann.close()
        c.still_good()
        # many begun changesets of 64 MiB that never end: commit_queue_bytes
        others = []
        for n in range(4):
            p = c.peer("ann")
            p.commit(p.insert("account", name="Y"))
            others.append(p)
        for p in others:
            part = {1: 1, 2: 0, 4: 64 << 20, 5: os.urandom(900000)}
            try:
                for n in range(60):
                    part[2] = n
                    p.line.s.settimeout(1)
                    p.line.send(codec.PUSH, part)
            except (TimeoutError, OSError):
                pass
        grown = c.rss() - c.memory
        print(f"  begun changesets: grew by {grown:.0f} MiB")
        check(grown < 160 * peer.PATIENCE, f"begun: grew by {grown:.0f} MiB")
        for p in others:
            p.close()
        c.still_good(mib=160)
        check(x == c.x, "the good device's row")
        c.real_good()


def enrolment():
    """Both ALPNs for the wrong thing; bad invitations."""
    with Watched("hostile-enrol") as c:
        good = c.good
        line = c.invite("ann")
        host, port, token, pin = peer.invitation(line)
        # ENROL on the sync ALPN
        c.mark()
        conn = Line(host, port, context(good.folder))
        fields = {1: 1, 2: 1, 3: token, 4: b"x", 5: b"y"}
        conn.send(codec.ENROL, fields)
        equal(end_of(conn), [1], "ENROL on satchel/1")
        c.one_line(r"level=warn.*msg=closed")
        # sync on the enrolment ALPN, with and without a certificate
        for folder in (good.folder, None):
            c.mark()
            conn = Line(host, port, context(folder, alpn="satchel-enrol/1"))
            conn.send(codec.HELLO, good.hello())
            check(end_of(conn) in ([], [1]), "HELLO on satchel-enrol/1")
            c.one_line(ENDED)
        for what, data in bombs().items():
            c.mark()
            conn = Line(host, port, context(None, alpn="satchel-enrol/1"))
            data = data[:4] + bytes([20]) + data[5:] if len(data) > 4 else data
            conn.raw(data)
            check(end_of(conn) in ([], [1], [2]), what)
            c.one_line(ENDED)
        c.still_good()

        def refused(text, code=10):
            folder = os.path.join(c.top, "refused")
            shutil.rmtree(folder, ignore_errors=True)
            c.mark()
            try:
                peer.enrol(text, folder)
                check(False, f"enrolled with {text}")
            except Refused as e:
                equal(e.code, code, text)
            c.one_line(r"sub=enrol.*invitation")

        base = f"satchel://{host}:{port}"
        refused(f"{base}/{'a' * 32}/{pin}")
        # proof by another key, no proof, a CSR that is none
        key, csr = peer.make_key(c.top, "stranger")
        other, _ = peer.make_key(c.top, "other")
        for what in ("proof of another key", "another exporter", "bad csr"):
            e = peer.Enrolment(host, port, pin)
            exporter = e.handshake()
            if what == "another exporter":
                exporter = bytes(32)
            sign = other if what == "proof of another key" else key
            proof = openssl("dgst", "-sha256", "-sign", sign, stdin=exporter)
            kind, m = e.ask(
                codec.message(
                    codec.ENROL,
                    {
                        1: 1,
                        2: 1,
                        3: token,
                        4: csr if what != "bad csr" else csr[:-5],
                        5: proof,
                    },
                )
            )
            e.close()
            equal(kind, codec.ERROR, what)
            check(m[1] in (1, 10), f"{what}: {m}")
        # the invitation has survived all that, and works once
        p = peer.enrol(line, os.path.join(c.top, "late"))
        refused(line)
        p.connect().pull()
        # expired: as the clock would have it
        late = c.invite("ann")
        c.good.close()
        c.stop()
        import sqlite3

        db = sqlite3.connect(os.path.join(c.dir, "satchel.db"))
        names = [
            (t, col[1])
            for (t,) in db.execute(
                "SELECT name FROM sqlite_master WHERE type='table' "
                "AND name LIKE '%invit%'"
            )
            for col in db.execute(f"PRAGMA table_info({t})")
            if "expire" in col[1]
        ]
        equal(len(names), 1, "one table of invitations that expire")
        t, col = names[0]
        db.execute(f"UPDATE {t} SET {col} = 1000")
        db.commit()
        db.close()
        c.start()
        c.good.connect().pull()
        refused(late)
        c.still_good()
        # a real daemon says it in words
        for text, code in (
            (late, (4,)),
            (f"{base}/{'a' * 32}/{pin}", (4,)),
            (f"{base}/short/{pin}", (2, 4)),
            ("satchel://", (1, 2)),
            ("not an invitation", (1, 2)),
            (f"{base}/{token}/{'0' * 64}", (1, 4)),
            (f"satchel://127.0.0.1:1/{token}/{pin}", (3,)),
        ):
            d = c.device("ann", enroll=False)
            done = d.enroll(text, ok=None)
            check(
                done.returncode in code,
                f"{text}: exit {done.returncode}: {done.stderr}",
            )
            check(
                1 <= len(done.stderr.strip().splitlines()) <= 3,
                f"{text}: {done.stderr!r}",
            )
        c.real_good()


if __name__ == "__main__":
    main(
        [
            before_tls,
            wrong_tls,
            wrong_device,
            instead_of_hello,
            after_hello,
            damaged_vectors,
            slow_and_half_open,
            push_without_reading,
            enrolment,
        ]
    )
