"""Real processes over a bad network: latency, 2G rates, single bytes, cuts at
any byte, refused and half-open connections, partitions; servers and daemons
that are killed or stand still. Again and again: a while of trouble, then the
network heals, and within a minute every copy agrees and nothing that was
accepted is lost or doubled.

SATCHEL_SEED replays a run as far as the machine lets it; SAT_NIGHTLY=1 has a
thousand of them, SATCHEL_FAULT_RUNS any other number.
"""
# timeout: 900

import os
import random
import signal
import time

from fault_proxy import FaultProxy
from harness import NIGHTLY, PATIENCE, Failed, Org, check, equal, main, seed, wait_for
from workload import Writer, check_all, company, seed_accounts

RUNS = int(
    os.environ.get(
        "SATCHEL_FAULT_RUNS", 1000 if NIGHTLY else 15 if PATIENCE == 1 else 4
    )
)
CONTENT = (
    "SELECT notes, next_action FROM visit UNION ALL SELECT title, detail FROM task "
    "UNION ALL SELECT id, visit_count FROM account ORDER BY 1, 2"
)
HEALED_S = 60  # from the end of the trouble until all copies agree


class Lines:
    """A proxy before each device, and what goes wrong on it."""

    def __init__(self, org, rng):
        self.org = org
        self.rng = rng
        self.proxies = []
        self.devices = company(org, self.add)
        self.stopped = []
        self.counts = {}

    def add(self):
        self.proxies.append(FaultProxy(self.org.port, self.rng.random()))
        return self.proxies[-1].port

    def slow(self, p):
        p.latency, p.rate = self.rng.uniform(0.05, 0.4), self.rng.choice((0, 4000, 20000))

    def bytewise(self, p):
        p.splits = True

    def cut(self, p):
        p.cut()

    def cuts(self, p):
        p.cut_after = self.rng.randrange(200, 20000)
        p.cut()

    def half_open(self, p):
        p.silent = True

    def refused(self, p):
        p.refuses = True
        p.cut()

    def partition(self, p):
        """This device and half of the others."""
        for q in {p, *self.rng.sample(self.proxies, len(self.proxies) // 2)}:
            q.silent = True

    def calm(self, p):
        p.heal()

    def kill_server(self, p):
        self.go_on()
        self.org.kill()
        time.sleep(self.rng.random() * 0.5)
        self.org.start()

    def kill_daemon(self, p):
        d = self.devices[self.proxies.index(p)]
        self.go_on()
        check(d.daemon.alive, f"{d.login}: daemon died: {d.daemon.tail()}")
        d.kill()
        time.sleep(self.rng.random() * 0.3)
        d.start()

    def stand_still(self, p):
        """A process that gets no time for a while (a lid that is closed)."""
        d = self.devices[self.proxies.index(p)]
        process = self.rng.choice((self.org.process, d.daemon)).p
        process.send_signal(signal.SIGSTOP)
        self.stopped.append(process)

    def go_on(self):
        for process in self.stopped:
            process.send_signal(signal.SIGCONT)
        self.stopped = []

    KINDS = (
        slow,
        bytewise,
        cut,
        cuts,
        half_open,
        refused,
        partition,
        calm,
        kill_server,
        kill_daemon,
        stand_still,
    )

    def trouble(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            kind = self.rng.choice(self.KINDS)
            self.counts[kind.__name__] = self.counts.get(kind.__name__, 0) + 1
            kind(self, self.rng.choice(self.proxies))
            time.sleep(self.rng.random() * 0.6)

    def heal(self):
        self.go_on()
        for p in self.proxies:
            p.heal()


def quiet(writers):
    for w in writers:
        w.stopping = True
    for w in writers:
        w.join()


def all_agree(devices):
    """By themselves: nobody asks a daemon to sync."""
    seen = set()
    for d in devices:
        s = d.status()
        if s["missing"] or s["pending_rows"] or s["connection"] != "connected":
            return False
        if s["digest"] != "equal":
            return False
        seen.add(tuple(d.sql(CONTENT)))
    return len(seen) == 1


def one_run(org, devices, lines, accounts, writers, rng, number):
    """The writers go on where the last run's ended."""
    fresh = []
    for old in writers:
        w = Writer(old.device, accounts, random.Random(rng.random()), old.next)
        w.pairs, w.deleted = old.pairs, old.deleted
        w.counted, w.edited = old.counted, old.edited
        w.start()
        fresh.append(w)
    try:
        lines.trouble(rng.uniform(1.5, 5))
    finally:
        lines.heal()
        quiet(fresh)
    began = time.monotonic()
    try:
        wait_for("all copies agree", lambda: all_agree(devices), HEALED_S)
    except Failed as e:
        stands = [(d.login, d.status()) for d in devices]
        raise Failed(f"run {number}: {e}\n  {stands}")
    took = time.monotonic() - began
    check_all(org, devices, fresh)
    return fresh, took


def fault_runs():
    s = seed()
    rng = random.Random(s)
    with Org("faults") as org:
        lines = Lines(org, rng)
        devices = lines.devices
        accounts = seed_accounts(devices)
        for d in devices:
            with open(os.path.join(d.dir, "satcheld.conf"), "a") as f:
                f.write("ping_seconds = 5\nbackoff_max_seconds = 10\n")
            d.start()
        writers = [Writer(d, accounts, rng, 0) for d in devices]
        slowest = 0.0
        for number in range(RUNS):
            writers, took = one_run(
                org, devices, lines, accounts, writers, rng, number
            )
            slowest = max(slowest, took)
        for d in devices:
            equal(d.stop(), 0, f"{d.login}: clean stop")
        equal(org.stop(), 0, "clean stop of the server")
        for p in lines.proxies:
            p.stop()
        print(
            f"  {RUNS} runs, {sum(w.next for w in writers)} transactions, "
            f"{sum(p.accepted for p in lines.proxies)} connections, "
            f"{sum(p.passed for p in lines.proxies)} bytes, agreed at the "
            f"latest {slowest:.1f} s after healing; {lines.counts}"
        )


main([fault_runs])
