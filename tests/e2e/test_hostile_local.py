"""Bad places: a port in use, wrong and newer and read-only folders, a held
lock, a full disk on either side. A clear sentence, the right exit code, and
nothing lost.
"""
# timeout: 300

import hashlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time

from harness import (
    CLI,
    DAEMON,
    Org,
    PATIENCE,
    SERVER,
    Process,
    check,
    equal,
    main,
    run,
    wait_for,
)
from peer import Refused
from peer_org import Company, account, visit
import peer_codec as codec


def says(done, code, *words):
    """One or two sentences on stderr, with these words in them."""
    text = done.stderr.strip()
    equal(done.returncode, code, f"{done.args}: {done.stdout[-300:]}{text}")
    lines = [x for x in text.splitlines() if "level=info" not in x]
    check(1 <= len(lines) <= 4, f"{done.args}: not clear: {text!r}")
    for w in words:
        check(w.lower() in text.lower(), f"{done.args}: no {w!r} in {text!r}")
    for w in ("assert", "errno", "(null)", "Sanitizer"):
        check(w not in text, f"{done.args}: {text!r}")


def serve(folder, port=0, ok=None):
    return run(
        [SERVER, "run", "--dir", folder, "--listen", f"127.0.0.1:{port}"],
        ok=ok,
        timeout=20,
    )


def digest(folder):
    out = {}
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and not name.endswith("-shm"):
            with open(path, "rb") as f:
                out[name] = hashlib.sha256(f.read()).hexdigest()
    return out


def mount(*words):
    """Root may; others skip that part, saying so."""
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    if done.returncode != 0:
        print(f"  part skipped: mount: {done.stderr.strip()}")
        return False
    return True


def unmount(path):
    subprocess.run(["umount", "-l", path], capture_output=True)


def port_in_use():
    with Company("local-port") as c:
        other = os.path.join(c.top, "other")
        run([SERVER, "init", "--dir", other, "--org", "O", "--host", "x"])
        says(serve(other, c.port), 75, "in use")
        says(
            run(
                [SERVER, "run", "--dir", other, "--listen", "203.0.113.9:7443"],
                ok=None,
            ),
            1,
        )
        for bad in ("nonsense", "127.0.0.1:99999", "127.0.0.1", ":"):
            done = run(
                [SERVER, "run", "--dir", other, "--listen", bad], ok=None
            )
            check(done.returncode in (1, 2), f"--listen {bad}")
            check(done.stderr.strip(), f"--listen {bad}: not a word")
        # and the folder serves once the port is right
        p = Process(
            [SERVER, "run", "--dir", other, "--listen", "127.0.0.1:0"],
            other + ".log",
        )
        wait_for("it listens", lambda: "listening" in p.stdout())
        equal(p.stop(), 0)


def wrong_folder():
    with Company("local-folder") as c:
        d = c.device("ann")
        empty = os.path.join(c.top, "empty")
        os.mkdir(empty)
        plain = os.path.join(c.top, "file")
        with open(plain, "w") as f:
            f.write("not a folder")
        for folder in (os.path.join(c.top, "none"), empty, plain, d.dir):
            says(serve(folder), 1)
            for words in (("verify",), ("status",), ("user", "list")):
                done = run(
                    [SERVER, *words, "--dir", folder], ok=None, timeout=20
                )
                says(done, 1)
        for folder in (os.path.join(c.top, "none"), empty, plain, c.dir):
            done = run(
                [DAEMON, "run", "--dir", folder, "--once", "--timeout", "2"],
                ok=None,
            )
            says(done, 5)
            says(run([CLI, "--dir", folder, "status"], ok=None), 1)
            says(run([CLI, "--dir", folder, "accounts"], ok=None), 1)
        equal(os.listdir(empty), [], "nothing was written there")
        check(not os.path.exists(os.path.join(c.top, "none")), "nor made")
        # init over a folder that is one already
        before = digest(c.dir)
        says(c.cmd("init", "--org", "X", ok=None), 75)
        c.stop()
        says(c.cmd("init", "--org", "X", ok=None), 1)
        c.start()
        keys = ("ca.key", "ca.pem", "server.key")
        after = digest(c.dir)
        equal([after[k] for k in keys], [before[k] for k in keys], "the keys")
        # a file that is no database
        d2 = c.device("bob")
        d2.once()
        for junk in (b"", b"not a database at all" * 500):
            path = os.path.join(c.top, "junk")
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(d2.dir, path, ignore=shutil.ignore_patterns("sock"))
            for ext in ("-wal", "-shm"):
                if os.path.exists(path + "/replica.db" + ext):
                    os.unlink(path + "/replica.db" + ext)
            with open(path + "/replica.db", "wb") as f:
                f.write(junk)
            says(run([CLI, "--dir", path, "status"], ok=None), 1)
        d2.once()
        for words, code in (
            ([SERVER], 2),
            ([SERVER, "fly"], 2),
            ([SERVER, "run"], 2),
            ([SERVER, "run", "--dir", c.dir, "--fly", "x"], 2),
            ([DAEMON], 2),
            ([DAEMON, "run"], 2),
            ([DAEMON, "run", "--dir"], 2),
            ([DAEMON, "enroll", "--dir", empty], 2),
            ([CLI], 2),
            ([CLI, "--dir", d.dir, "fly"], 2),
        ):
            equal(run(words, ok=None).returncode, code, f"{words}")


def newer_database():
    """A folder of a later version is left byte for byte as it is."""
    with Company("local-newer") as c:
        d = c.device("ann")
        d.sql("INSERT INTO account(name) VALUES ('X')")
        d.once()
        c.stop()
        for folder, name in ((c.dir, "satchel.db"), (d.dir, "replica.db")):
            db = sqlite3.connect(os.path.join(folder, name))
            version = db.execute("PRAGMA user_version").fetchone()[0]
            check(version > 0, f"{name} has no version")
            db.execute("PRAGMA user_version = 4711")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.close()
            with open(os.path.join(folder, name), "rb") as f:
                before = f.read()
            if folder == c.dir:
                says(serve(folder), 1, "newer")
                says(c.cmd("verify", ok=None), 1, "newer")
                says(c.cmd("user", "list", ok=None), 1, "newer")
                says(
                    c.cmd("territory", "add", "--code", "Z", "--name", "Z",
                          "--level", "patch", ok=None),
                    1,
                    "newer",
                )
            else:
                for words in (["--once", "--timeout", "2"], []):
                    done = run(
                        [DAEMON, "run", "--dir", folder, *words], ok=None
                    )
                    says(done, 5, "newer")
                says(d.cli("status", ok=None), 1, "newer")
                says(d.cli("sql", "UPDATE account SET phone='1'", ok=None), 1)
            with open(os.path.join(folder, name), "rb") as f:
                check(f.read() == before, f"{name} was changed")
            check(
                not os.path.exists(os.path.join(folder, name + "-wal"))
                or os.path.getsize(os.path.join(folder, name + "-wal")) == 0,
                f"{name}-wal was written",
            )
            db = sqlite3.connect(os.path.join(folder, name))
            db.execute(f"PRAGMA user_version = {version}")
            db.close()
        c.start()
        equal(d.once(), 0, "and back")
        equal(d.one("SELECT name FROM account"), "X")


def read_only():
    with Company("local-ro") as c:
        d = c.device("ann")
        d.sql("INSERT INTO account(name) VALUES ('X')")
        d.once()
        c.stop()
        for folder in (c.dir, d.dir):
            if not mount("--bind", folder, folder):
                return
            try:
                if not mount("-o", "remount,bind,ro", folder):
                    return
                if folder == c.dir:
                    says(serve(folder), 1, "read-only")
                    done = c.cmd("user", "add", "--login", "z", "--name", "z",
                                 "--role", "rep", "--territory", "T1", ok=None)
                    says(done, 1, "read-only")
                else:
                    done = run(
                        [DAEMON, "run", "--dir", folder, "--once"]
                        + ["--timeout", "2"],
                        ok=None,
                    )
                    says(done, 5, "read-only")
                    done = d.cli("log-visit", "--account", "X", "--outcome",
                                 "order", ok=None)
                    equal(done.returncode, 1, done.stderr)
                    check(done.stderr.strip(), "not a word")
            finally:
                unmount(folder)
        c.start()
        d.sql("UPDATE account SET phone='1'")
        equal(d.once(), 0)
        c.verify()


def lock_busy():
    """Who holds the lock is named; a silent holder is not waited for ever."""
    with Company("local-lock") as c:
        pid = str(c.process.p.pid)
        done = serve(c.dir)
        says(done, 75, pid)
        d = c.device("ann").start()
        wait_for("the daemon is up", lambda: d.status()["connection"])
        done = run([DAEMON, "run", "--dir", d.dir], ok=None, timeout=20)
        equal(done.returncode, 75, done.stderr)
        check(str(d.daemon.p.pid) in done.stderr, f"pid: {done.stderr!r}")
        check(d.daemon.alive, "the first one goes on")
        # a daemon runs: --once asks it
        d.sql("INSERT INTO account(name) VALUES ('asked')")
        equal(d.once(), 0, "through the daemon")
        d.stop()
        # the server holds the lock and does not answer
        c.process.p.send_signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            done = c.cmd("user", "list", ok=None, timeout=30)
            took = time.monotonic() - began
            says(done, 75, pid)
            check(4 <= took <= 9 * PATIENCE, f"{took:.1f} s")
        finally:
            c.process.p.send_signal(signal.SIGCONT)
        c.cmd("user", "list")
        # a stale socket of one that died is removed by the next holder
        c.kill()
        check(os.path.exists(os.path.join(c.dir, "admin.sock")), "stale socket")
        c.cmd("user", "list")
        c.start()
        c.cmd("user", "list")
        says(serve(c.dir), 75, str(c.process.p.pid))


def fill(folder):
    """Use up the space of a small file system; the path of the filler."""
    path = os.path.join(folder, "filler")
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    size = 1 << 16
    while size:
        try:
            os.write(fd, bytes(size))
        except OSError:
            size //= 2
    os.close(fd)
    return path


def lock_on_a_full_disk():
    """No room for the holder's pid: the lock holds all the same."""
    c = Org("local-flock")
    os.makedirs(c.dir)
    if not mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", c.dir):
        shutil.rmtree(c.top)
        return
    try:
        with c:
            c.start()
            c.kill()
            os.unlink(os.path.join(c.dir, "lock"))
            filler = fill(c.dir)
            c.start()
            says(serve(c.dir), 75, "another process")
            check(c.process.alive, "it died: " + c.process.tail())
            # and where a pid once was, there is room for the next one
            os.unlink(filler)
            equal(c.stop(), 0)
            c.start()
            c.kill()
            fill(c.dir)
            c.start()
            says(serve(c.dir), 75, f"process {c.process.p.pid}")
    finally:
        unmount(c.dir)
        shutil.rmtree(c.top, ignore_errors=True)


def server_disk_full():
    """FULL is transient: reads go on, pushes start again, nothing is lost."""
    c = Company("local-full")
    os.makedirs(c.dir)
    if not mount("-t", "tmpfs", "-o", "size=32m", "tmpfs", c.dir):
        shutil.rmtree(c.top)
        return
    try:
        with c:
            ann, bob = c.peer("ann"), c.peer("bob")
            x = account(ann)
            bob.pump(lambda: bob.get("account", x), "X")
            filler = fill(c.dir)
            # large enough to need new pages whatever the files have spare
            big = ["n" * 60000 + str(i) for i in range(60)]
            seq = ann.commit(*(visit(ann, x, notes=n) for n in big))
            entry = ann.outbox[seq]
            ann.push(seq)
            told = None
            try:
                ann.pump(lambda: entry[2], "verdict or FULL", 10)
            except Refused as e:
                told = e
            check(told, f"a full disk, and a verdict: {entry[2]}")
            equal((told.code, told.transient), (7, True), str(told))
            check(c.process.alive, "the server died: " + c.process.tail())
            # the connection is open and reads go on
            ann.line.send(codec.PING, {1: 9, 2: 0})
            seen = len(ann.seen)
            ann.pump(lambda: codec.PONG in ann.seen[seen:], "PONG")
            # commands say it in words
            done = c.cmd("invite", "--login", "ann", ok=None)
            says(done, 1, "full")
            full = [x for x in open(c.process.log) if "FULL" in x.upper()]
            check(1 <= len(full) <= 20, f"{len(full)} lines of the log")
            os.unlink(filler)
            ann.sent = 0
            ann.push(seq)
            ann.pump(lambda: entry[2], "verdict after space was freed", 30)
            equal(entry[2][2], 0, "applied")
            ann.pull()
            bob.pump(
                lambda: sum(1 for t, _ in bob.rows if t == 5) == 60, "visits"
            )
            c.verify()
            equal(c.stop(), 0)
            c.start()
            c.verify()
    finally:
        unmount(c.dir)
        shutil.rmtree(c.top, ignore_errors=True)


def device_disk_full():
    """A local write is refused in words, what was accepted is kept, and sync
    goes on when there is space again."""
    with Company("local-dfull") as c:
        ann = c.peer("ann")
        x = account(ann, name="X")
        d = c.device("bob", enroll=False)
        os.makedirs(d.dir)
        if not mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", d.dir):
            return
        try:
            d.enroll()
            d.once()
            d.sql("UPDATE account SET phone='kept'")
            app = d.connect()  # as an app that is open when the disk fills
            app.execute("SELECT count(*) FROM visit").fetchone()
            d.start()
            wait_for("connected", lambda: d.status()["connection"])
            filler = fill(d.dir)
            refused = None
            try:
                for i in range(100):
                    app.execute(
                        "INSERT INTO visit(account_id, notes) "
                        "SELECT id, ? FROM account",
                        ("n" * 60000,),
                    )
            except sqlite3.OperationalError as e:
                refused = str(e)
            check(refused and "full" in refused, f"refused: {refused}")
            accepted = len(d.sql("SELECT id FROM visit"))
            done = d.cli(
                "log-visit", "--account", "X", "--outcome", "order",
                "--note", "n" * 60000, ok=None,
            )
            equal(done.returncode, 1, done.stderr)
            check("full" in done.stderr.lower(), f"{done.stderr!r}")
            # the daemon neither stops nor loses anything
            v = ann.do(*(visit(ann, x, notes="m" * 60000) for _ in range(40)))
            equal(v[2], 0)
            began = len(d.daemon.tail(1000).splitlines())
            time.sleep(3)
            check(d.daemon.alive, "the daemon died: " + d.daemon.tail())
            log = d.daemon.tail(1000)
            check("full" in log.lower(), "not a word: " + log)
            lines = len(log.splitlines()) - began
            check(lines < 60, f"{lines} lines of the log in 3 s")
            d.stop()
            done = run(
                [DAEMON, "run", "--dir", d.dir, "--once", "--timeout", "3"],
                ok=None,
            )
            check(done.returncode in (3, 5), f"exit {done.returncode}")
            check(
                "full" in done.stderr.lower() or "space" in done.stderr,
                f"{done.stderr!r}",
            )
            os.unlink(filler)
            app.close()
            equal(d.once(), 0, "rejected")
            equal(d.one("SELECT phone FROM account"), "kept")
            equal(d.one("SELECT count(*) FROM visit"), accepted + 40)
            equal(d.one("PRAGMA integrity_check"), "ok")
            equal(d.status()["digest"], "equal")
            ann.pump(
                lambda: ann.get("account", x).get("phone") == "kept", "phone"
            )
            c.verify()
        finally:
            d.kill()
            unmount(d.dir)


if __name__ == "__main__":
    main(
        [
            port_in_use,
            wrong_folder,
            newer_database,
            read_only,
            lock_busy,
            lock_on_a_full_disk,
            server_disk_full,
            device_disk_full,
        ]
    )
