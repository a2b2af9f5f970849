"""Connections that come and go: back-off, reconnecting, a server that hangs,
two daemons on one folder, --once and its exit codes, long paths, orderly ends,
and a daemon that sleeps when nothing happens.
"""
# timeout: 500
# serial

import os
import random
import re
import signal
import tempfile
import time

from harness import DAEMON, NIGHTLY, Org, check, equal, main, run, seed, wait_for

PAUSE = re.compile(r'msg="not connected".* next_ms=(\d+)')
PONG_SECONDS = 25


class Pair(Org):
    """Ann and Bob, reps of one patch, with the settings that a test asks for."""

    settings = ""

    def __enter__(self):
        super().__enter__()
        self.territory("CN", "nation")
        self.territory("T1", "patch", "CN")
        self.user("ann", "rep", "T1")
        self.user("bob", "rep", "T1")
        self.start()
        self.ann, self.bob = self.device("ann"), self.device("bob")
        for d in (self.ann, self.bob):
            with open(os.path.join(d.dir, "satcheld.conf"), "w") as f:
                f.write(self.settings)
        return self


def log_of(device):
    with open(device.dir + ".log", encoding="utf-8", errors="replace") as f:
        return f.read()


def connections(device):
    return log_of(device).count("msg=connected")


def ends(device):
    return log_of(device).count('msg="not connected"')


def wait_connected(device, more_than=0, seconds=20):
    wait_for(
        f"{device.login} is connected",
        lambda: connections(device) > more_than,
        seconds,
    )


def pauses(device):
    return [int(n) for n in PAUSE.findall(log_of(device))]


class Backoff(Pair):
    settings = "backoff_max_seconds = 8\n"


def back_off_grows_and_differs():
    """The server is away: each waits longer, not in step, and never gives up;
    with nobody writing anything, both are back when it is."""
    with Backoff("links") as org:
        org.stop()
        for d in (org.ann, org.bob):
            d.start()
        for d in (org.ann, org.bob):
            wait_for(
                f"{d.login} waits longer than at first",
                lambda d=d: len(pauses(d)) >= 4 and max(pauses(d)) > 2000,
                120,
            )
        for d in (org.ann, org.bob):
            limit = 1000
            for ms in pauses(d):
                check(ms <= limit, f"{d.login}: {ms} ms of at most {limit}")
                limit = min(limit * 2, 8000)
        a, b = pauses(org.ann), pauses(org.bob)
        n = min(len(a), len(b))
        check(a[:n] != b[:n], f"in step: {a}")
        org.start()
        for d in (org.ann, org.bob):
            wait_connected(d, 0, 8 + 5)
        # A connection that worked starts the back-off anew.
        org.stop()
        for d in (org.ann, org.bob):
            ended = len(pauses(d))
            wait_for("a first pause", lambda d=d, n=ended: len(pauses(d)) >= n)
        org.start()
        for d in (org.ann, org.bob):
            wait_connected(d, 1, 8 + 5)
        print(f"  pauses: {a} and {b} ms")


def a_local_write_is_tried_at_once():
    with Pair("links") as org:
        org.stop()
        org.ann.start()

        # Far into the back-off, with seconds to go until the next attempt.
        def sleeping():
            p = pauses(org.ann)
            return p and p[-1] > 5000 and p[-1]

        pause = wait_for("a long pause", sleeping, 120)
        at = time.monotonic()
        org.start()
        org.ann.sql("INSERT INTO account(name) VALUES ('now')")
        wrote = time.monotonic()
        left = pause / 1000 - (wrote - at)
        wait_for(
            "the write arrives",
            lambda: org.sql("SELECT 1 FROM account WHERE name = 'now'"),
            pause / 1000 + 5,
        )
        took = time.monotonic() - wrote
        check(took < 2, f"{took:.2f} s after the write, {left:.1f} s were left")
        print(f"  {took * 1000:.0f} ms, instead of up to {left * 1000:.0f}")


class Ping(Pair):
    settings = "ping_seconds = 5\n"


def a_server_that_hangs():
    """The server is stopped, not ended: its machine still answers for it. Who
    waits for something finds out, and so does who waits for nothing, at its
    next ping. Then it goes on, and nothing is lost."""
    with Ping("links") as org:
        for d in (org.ann, org.bob):
            d.start()
            wait_connected(d)
        # Both have something to compare, and are at rest.
        org.ann.sql("INSERT INTO account(name) VALUES ('before')")
        wait_for("bob has it", lambda: org.bob.sql("SELECT 1 FROM account"))
        os.kill(org.process.p.pid, signal.SIGSTOP)
        try:
            at = time.monotonic()
            org.ann.sql("INSERT INTO account(name) VALUES ('meanwhile')")
            found = {}

            def both():
                for d in (org.ann, org.bob):
                    if d.login not in found and ends(d) > 0:
                        found[d.login] = time.monotonic() - at
                return len(found) == 2

            wait_for("both find out", both, 2 * PONG_SECONDS)
        finally:
            os.kill(org.process.p.pid, signal.SIGCONT)
        for login, seconds in found.items():
            # The last word was heard a moment before; five seconds later they
            # ask, and 25 s later they give up.
            check(seconds <= 5 + PONG_SECONDS + 5, f"{login}: {seconds:.1f} s")
        wait_for(
            "what was written meanwhile arrives",
            lambda: org.bob.sql("SELECT 1 FROM account WHERE name = 'meanwhile'"),
            60,
        )
        equal(org.ann.once(), 0, "ann: rejected")
        equal(
            org.sql("SELECT name FROM account ORDER BY name"),
            [("before",), ("meanwhile",)],
            "each once",
        )
        org.verify()
        print("  found after " + ", ".join(f"{s:.1f} s" for s in found.values()))


def back_after_a_restart_without_a_write():
    with Pair("links") as org:
        for d in (org.ann, org.bob):
            d.start()
            wait_connected(d)
        for n in range(4):
            before = {d: connections(d) for d in (org.ann, org.bob)}
            if n % 2 == 0:
                equal(org.stop(), 0, "clean stop of the server")
            else:
                org.kill()
            org.start()
            for d in (org.ann, org.bob):
                wait_connected(d, before[d], 15)
        org.ann.sql("INSERT INTO account(name) VALUES ('after')")
        wait_for("it works", lambda: org.bob.sql("SELECT 1 FROM account"))


def one_daemon_for_a_folder():
    with Pair("links") as org:
        org.ann.start()
        wait_connected(org.ann)
        second = run([DAEMON, "run", "--dir", org.ann.dir], ok=75, timeout=20)
        check(
            f"process {org.ann.daemon.p.pid} syncs" in second.stderr,
            f"who has it: {second.stderr}",
        )
        check(org.ann.daemon.alive, "the first goes on")
        # --once lets the running one do it.
        org.ann.sql("INSERT INTO account(name) VALUES ('asked')")
        began = connections(org.ann)
        equal(org.ann.once(), 0, "rejected")
        equal(org.sql("SELECT name FROM account"), [("asked",)], "sent")
        equal(connections(org.ann), began, "over the connection there was")
        # It also says what the running one could not do.
        org.stop()
        org.ann.once(ok=3, timeout=1)


def a_daemon_that_does_not_answer():
    """--once asks who has the folder, not for ever, and names him."""
    with Pair("links") as org:
        org.ann.start()
        wait_connected(org.ann)
        pid = org.ann.daemon.p.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            for words in ([], ["--once", "--timeout", "1"]):
                done = run(
                    [DAEMON, "run", "--dir", org.ann.dir, *words],
                    ok=75,
                    timeout=40,
                )
                check(f"process {pid}" in done.stderr, done.stderr)
        finally:
            os.kill(pid, signal.SIGCONT)


def exit_codes_of_once():
    with Pair("links") as org:
        ann = org.ann
        ann.sql("INSERT INTO account(name) VALUES ('one')")
        equal(ann.once(ok=0), 0, "0: done")
        org.stop()
        ann.sql("INSERT INTO account(name) VALUES ('two')")
        began = time.monotonic()
        ann.once(ok=3, timeout=1)
        took = time.monotonic() - began
        check(took < 5, f"3: no server within a second, said after {took:.1f} s")
        org.start()
        ann.once(ok=0)
        equal(org.sql("SELECT count(*) FROM account"), [(2,)], "sent later")

        # 4: revoked. What it wrote stays on the device.
        bob = org.bob
        listed = org.json("device", "list")
        number = [d for d in listed if d["login"] == "bob"][0]
        org.cmd("device", "revoke", "--device", device_number(number))
        bob.sql("INSERT INTO account(name) VALUES ('too late')")
        refused = run(
            [DAEMON, "run", "--dir", bob.dir, "--once", "--timeout", "10"], ok=4
        )
        check(refused.stderr.strip() != "", "it says so")
        equal(bob.sql("SELECT 1 FROM account WHERE name = 'too late'"), [(1,)])
        equal(org.sql("SELECT count(*) FROM account"), [(2,)], "not taken")

        # 5: what is wrong is here.
        nowhere = os.path.join(org.top, "nowhere")
        done = run([DAEMON, "run", "--dir", nowhere, "--once"], ok=5)
        check("not an enrolled device" in done.stderr, done.stderr)
        with open(os.path.join(ann.dir, "satcheld.conf"), "w") as f:
            f.write("no_such_setting = 1\n")
        done = run([DAEMON, "run", "--dir", ann.dir, "--once"], ok=5)
        check("no_such_setting" in done.stderr, done.stderr)
        # 2: usage.
        run([DAEMON, "run", "--once"], ok=2)
        run([DAEMON, "run", "--dir", ann.dir, "--timeout", "x"], ok=2)


def device_number(device):
    for key in ("device", "replica", "number", "id"):
        if key in device:
            return device[key]
    raise AssertionError(f"a device without a number: {device}")


def long_paths():
    """A Unix socket's name holds 108 bytes; folders may be longer."""
    top = tempfile.mkdtemp(prefix="satchel-links-")
    deep = os.path.join(top, *(["a-folder-with-a-long-name-行囊"] * 6))
    os.makedirs(deep)
    check(len(deep.encode()) > 200, "long enough")
    try:
        with Pair("links", folder=deep) as org:
            # The running server is asked over its socket.
            org.user("cid", "rep", "T1")
            equal(org.sql("SELECT count(*) FROM user WHERE login = 'cid'"), [(1,)])
            check("running" in org.cmd("status").stdout, "it answered itself")
            org.ann.start()
            wait_connected(org.ann)
            equal(org.ann.status()["connection"], "connected", "the daemon's answer")
            org.ann.sql("INSERT INTO account(name) VALUES ('deep')")
            org.ann.cli("sync")
            equal(org.ann.once(), 0, "rejected")
            equal(org.sql("SELECT name FROM account"), [("deep",)])
            equal(org.ann.stop(), 0, "clean stop")
            check(not os.path.exists(os.path.join(org.ann.dir, "sock")), "socket")
            equal(org.stop(), 0, "clean stop of the server")
    finally:
        run(["rm", "-rf", top])


def orderly_end_at_any_moment():
    """SIGTERM while it opens, connects, is connected, pushes, waits, and while
    the server hangs. Only before it listens at all may the signal just end
    the process, which is what a power cut does."""
    rng = random.Random(seed())
    with Pair("links") as org:
        ann = org.ann
        sock = os.path.join(ann.dir, "sock")
        running = os.path.join(ann.dir, "running")
        early = written = 0

        def end_after(seconds, what):
            nonlocal early
            ann.start()
            time.sleep(seconds)
            listening = os.path.exists(sock)
            began = time.monotonic()
            code = ann.daemon.stop(10)
            took = time.monotonic() - began
            if code == -signal.SIGTERM and not listening:
                early += 1
                return
            equal(code, 0, f"exit code, {what}, after {seconds:.3f} s")
            check(took < 6, f"{what}: it took {took:.1f} s")
            check(not os.path.exists(sock), f"{what}: the socket stays")
            check(not os.path.exists(running), f"{what}: not a clean stop")

        for n in range(40 if NIGHTLY else 20):
            ann.sql("INSERT INTO account(name) VALUES (?)", (f"up {n}",))
            written += 1
            end_after(rng.random() * 0.25, "server up")
        org.stop()
        for n in range(8):
            ann.sql("INSERT INTO account(name) VALUES (?)", (f"down {n}",))
            written += 1
            end_after(rng.random() * 0.5, "server away")
        org.start()
        os.kill(org.process.p.pid, signal.SIGSTOP)
        try:
            for n in range(4):
                end_after(0.1 + rng.random() * 0.5, "server hangs")
        finally:
            os.kill(org.process.p.pid, signal.SIGCONT)
        ann.start()
        wait_connected(ann, connections(ann) - 1)
        os.kill(org.process.p.pid, signal.SIGSTOP)
        try:
            ann.sql("INSERT INTO account(name) VALUES ('pushing')")
            written += 1
            time.sleep(0.3)
            equal(ann.daemon.stop(10), 0, "while a verdict is awaited")
        finally:
            os.kill(org.process.p.pid, signal.SIGCONT)
        equal(ann.once(), 0, "rejected")
        equal(org.sql("SELECT count(*) FROM account"), [(written,)], "each once")
        check(early < 20, f"{early} of 32 ended before they listened")
        print(f"  {early} ended before the daemon listened")


def switches(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", f.read(), re.M)[1])


def it_sleeps():
    """A connected daemon with nothing to do is not woken, neither is one that
    a neighbour's work does not concern."""
    seconds = 60 if NIGHTLY else 20
    with Pair("links") as org:
        for d in (org.ann, org.bob):
            d.start()
            wait_connected(d)
        time.sleep(4)  # the upkeep soon after the start
        before = {d: switches(d.daemon.p.pid) for d in (org.ann, org.bob)}
        time.sleep(seconds)
        woken = {
            d.login: switches(d.daemon.p.pid) - n for d, n in before.items()
        }
        for login, n in woken.items():
            check(n < 10, f"{login}: {n} wake-ups in {seconds} s")
        print(f"  wake-ups in {seconds} s: {woken}")


main(
    [
        back_off_grows_and_differs,
        a_local_write_is_tried_at_once,
        a_server_that_hangs,
        back_after_a_restart_without_a_write,
        one_daemon_for_a_folder,
        a_daemon_that_does_not_answer,
        exit_codes_of_once,
        long_paths,
        orderly_end_at_any_moment,
        it_sleeps,
    ]
)
