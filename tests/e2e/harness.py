"""Real processes over real TLS on loopback: a server, its devices, and what
tests ask of them. Standard library only.

    with Org("name") as org:
        org.territory("CN", "nation")
        org.user("ann", "rep", "CN")
        org.start()
        ann = org.device("ann")
        ann.sql("INSERT INTO account(name) VALUES ('X')")
        ann.once()

SATCHEL_BIN is the build folder (set by ctest); SATCHEL_KEEP=1 keeps the
folders of a test for a look.
"""

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

# What tests read is English, whoever runs them.
os.environ["LC_ALL"] = "C.UTF-8"

BIN = os.environ.get("SATCHEL_BIN", "")
SERVER = os.path.join(BIN, "server", "satchel-server")
DAEMON = os.path.join(BIN, "client", "satcheld")
CLI = os.path.join(BIN, "client", "satchel")
NIGHTLY = os.environ.get("SAT_NIGHTLY") == "1"
SKIP = 77

# Sanitized builds are slower; every wait is a ceiling, never a pause.
PATIENCE = float(os.environ.get("SATCHEL_PATIENCE", "1"))


class Failed(AssertionError):
    pass


def check(condition, message):
    if not condition:
        raise Failed(message)


def equal(got, wanted, message=""):
    if got != wanted:
        raise Failed(f"{message}: got {got!r}, wanted {wanted!r}")


def data_folder(name):
    """A real data set, or skip: with SATCHEL_DATA_REQUIRED a skip fails."""
    top = os.environ.get("SATCHEL_DATA", "")
    path = os.path.join(top, name)
    if top and os.path.isdir(path):
        return path
    print(f"skipped: SATCHEL_DATA has no {name}")
    sys.exit(1 if os.environ.get("SATCHEL_DATA_REQUIRED") else SKIP)


def wait_for(what, predicate, seconds=20):
    end = time.monotonic() + seconds * PATIENCE
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"waited {seconds} s in vain for: {what}")
        time.sleep(0.02)


def run(words, ok=0, stdin=None, timeout=120, env=None):
    """Run a program; its exit code must be `ok` (None: any)."""
    done = subprocess.run(
        [str(w) for w in words],
        input=stdin,
        capture_output=True,
        timeout=timeout * PATIENCE,
        text=True,
        env={**os.environ, **(env or {})},
    )
    if ok is not None and done.returncode != ok:
        raise Failed(
            f"{' '.join(map(str, words))}\n  exit {done.returncode}, "
            f"wanted {ok}\n  stdout: {done.stdout[-2000:]}\n"
            f"  stderr: {done.stderr[-2000:]}"
        )
    return done


class Process:
    """A program in the background with its output in files."""

    def __init__(self, words, log):
        self.log = log
        self.file = open(log, "ab")
        self.out = open(log + ".out", "wb")
        self.p = subprocess.Popen(
            [str(w) for w in words],
            stdout=self.out,
            stderr=self.file,
            stdin=subprocess.DEVNULL,
        )

    @property
    def alive(self):
        return self.p.poll() is None

    def kill(self):
        self.p.kill()
        self.p.wait()
        self.close()

    def stop(self, seconds=20):
        """SIGTERM; returns the exit code."""
        if self.alive:
            self.p.send_signal(signal.SIGTERM)
        try:
            code = self.p.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"did not stop on SIGTERM: {self.tail()}")
        self.close()
        return code

    def close(self):
        self.file.close()
        self.out.close()

    def stdout(self):
        with open(self.log + ".out", encoding="utf-8", errors="replace") as f:
            return f.read()

    def tail(self, lines=20):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return "".join(f.readlines()[-lines:])


class Device:
    def __init__(self, org, login, folder):
        self.org = org
        self.login = login
        self.dir = folder
        self.daemon = None

    @property
    def db(self):
        return os.path.join(self.dir, "replica.db")

    def enroll(self, invite=None, ok=0):
        invite = invite or self.org.invite(self.login)
        return run([DAEMON, "enroll", "--dir", self.dir, invite], ok=ok)

    def once(self, ok=0, timeout=60):
        """Send everything, fetch everything; returns the rejected count."""
        done = run(
            [DAEMON, "run", "--dir", self.dir, "--once", "--timeout", timeout],
            ok=ok,
            timeout=timeout + 30,
        )
        found = re.search(r"(\d+) confirmed, (\d+) rejected", done.stdout)
        return int(found.group(2)) if found else None

    def start(self):
        self.daemon = Process(
            [DAEMON, "run", "--dir", self.dir], self.dir + ".log"
        )
        return self

    def stop(self):
        if self.daemon:
            code = self.daemon.stop()
            self.daemon = None
            return code
        return None

    def kill(self):
        if self.daemon:
            self.daemon.kill()
            self.daemon = None

    def connect(self):
        """An ordinary SQLite connection, as any app would have."""
        c = sqlite3.connect(self.db, timeout=30, isolation_level=None)
        c.row_factory = sqlite3.Row
        return c

    def sql(self, query, args=()):
        c = self.connect()
        try:
            return [tuple(r) for r in c.execute(query, args).fetchall()]
        finally:
            c.close()

    def script(self, text):
        """Several statements in one transaction."""
        c = self.connect()
        try:
            c.executescript("BEGIN;" + text + ";COMMIT;")
        finally:
            c.close()

    def one(self, query, args=()):
        rows = self.sql(query, args)
        check(len(rows) == 1, f"{self.login}: {len(rows)} rows for {query}")
        return rows[0][0] if len(rows[0]) == 1 else rows[0]

    def cli(self, *words, ok=0, **kw):
        return run([CLI, "--dir", self.dir, *words], ok=ok, **kw)

    def json(self, *words):
        return json.loads(self.cli(*words, "--json").stdout)

    def status(self):
        return self.json("status")


class Org:
    def __init__(self, name="test", listen="127.0.0.1:0", folder=None):
        self.top = folder or tempfile.mkdtemp(prefix=f"satchel-{name}-")
        self.dir = os.path.join(self.top, "server")
        self.listen = listen
        self.process = None
        self.devices = []
        self.port = None

    def __enter__(self):
        self.cmd("init", "--org", "Test", "--host", "127.0.0.1")
        return self

    def __exit__(self, kind, value, trace):
        for d in self.devices:
            d.kill()
        if kind is not None and self.process:
            print(f"server's last lines:\n{self.process.tail()}")
            for d in self.devices:
                if os.path.exists(d.dir + ".log"):
                    with open(d.dir + ".log") as f:
                        print(f"{d.login}:\n" + "".join(f.readlines()[-8:]))
        if self.process:
            self.process.kill()
        if os.environ.get("SATCHEL_KEEP") == "1":
            print(f"kept: {self.top}")
        else:
            shutil.rmtree(self.top, ignore_errors=True)

    def cmd(self, *words, ok=0, **kw):
        """satchel-server COMMAND --dir DIR WORDS"""
        two = ("territory", "user", "grant", "device", "account", "catalogue", "audit",
               "recovery", "ca")
        n = 2 if words[0] in two else 1
        return run(
            [SERVER, *words[:n], "--dir", self.dir, *words[n:]], ok=ok, **kw
        )

    def json(self, *words):
        return json.loads(self.cmd(*words, "--json").stdout)

    def territory(self, code, level, parent=None, name=None):
        words = ["territory", "add", "--code", code, "--level", level]
        words += ["--name", name or code]
        self.cmd(*words, *(["--parent", parent] if parent else []))

    def user(self, login, role, territory, name=None):
        words = ["--login", login, "--role", role, "--territory", territory]
        self.cmd("user", "add", *words, "--name", name or login)

    def start(self):
        listen = self.listen
        if self.port:  # the same port again, as a real server has
            listen = f"127.0.0.1:{self.port}"
        log = os.path.join(self.top, "server.log")
        self.process = Process(
            [SERVER, "run", "--dir", self.dir, "--listen", listen], log
        )

        def listening():
            check(self.process.alive, "server died: " + self.process.tail())
            m = re.search(r"listening on .*:(\d+)", self.process.stdout())
            return m and int(m.group(1))

        self.port = wait_for("the server listens", listening)
        return self

    def stop(self):
        code = self.process.stop()
        self.process = None
        return code

    def kill(self):
        self.process.kill()
        self.process = None

    def invite(self, login, port=None):
        host = f"127.0.0.1:{port or self.port}"
        done = self.cmd("invite", "--login", login, "--host", host)
        return done.stdout.strip()

    def device(self, login, enroll=True):
        n = sum(1 for d in self.devices if d.login == login)
        name = login if n == 0 else f"{login}{n + 1}"
        d = Device(self, login, os.path.join(self.top, "device-" + name))
        self.devices.append(d)
        if enroll:
            d.enroll()
        return d

    def sql(self, query, args=()):
        """A look into the server's database (reading only)."""
        path = os.path.join(self.dir, "satchel.db")
        c = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
        try:
            return c.execute(query, args).fetchall()
        finally:
            c.close()

    def verify(self):
        done = self.cmd("verify", ok=None)
        check(done.returncode == 0, "verify: " + done.stdout + done.stderr)


def uuid_text(blob):
    h = blob.hex()
    return "-".join((h[:8], h[8:12], h[12:16], h[16:20], h[20:]))


def same_content(devices, table, columns):
    """All devices hold the same rows of a table; returns how many."""
    rows = [
        sorted(d.sql(f"SELECT {columns} FROM {table}"), key=repr)
        for d in devices
    ]
    for d, r in zip(devices[1:], rows[1:]):
        if r != rows[0]:
            extra = [x for x in r if x not in rows[0]][:3]
            missing = [x for x in rows[0] if x not in r][:3]
            raise Failed(
                f"{table}: {d.login} differs from {devices[0].login}: "
                f"extra {extra}, missing {missing}"
            )
    return len(rows[0])


def main(tests):
    """Run test functions (all, or those named on the command line)."""
    wanted = sys.argv[1:]
    failed = 0
    for test in tests:
        if wanted and test.__name__ not in wanted:
            continue
        began = time.monotonic()
        try:
            test()
            word = "ok"
        except Exception as e:  # report every kind, go on with the next
            failed += 1
            word = "FAILED"
            if isinstance(e, Failed):
                print(f"  {e}")
            else:
                import traceback

                traceback.print_exc()
        took = time.monotonic() - began
        print(f"{word:7} {test.__name__} ({took:.1f} s)", flush=True)
    sys.exit(1 if failed else 0)


def seed():
    """A new seed each run, printed; SATCHEL_SEED replays one."""
    s = int(os.environ.get("SATCHEL_SEED", random.SystemRandom().getrandbits(32)))
    print(f"seed: SATCHEL_SEED={s}")
    return s
