"""kill -9 of the server and of daemons at random points, 200 times in all,
while people write with plain SQL: no accepted write is lost or doubled, no
transaction is torn, and every copy agrees in the end.

SATCHEL_SEED replays a run as far as the machine lets it; SAT_NIGHTLY=1 kills
two thousand times.
"""
# timeout: 600
# serial

import random
import time

from harness import NIGHTLY, Org, check, equal, main, seed
from workload import (
    Writer,
    check_all,
    check_files,
    company,
    look_for_torn,
    seed_accounts,
    settle,
)

KILLS = 2000 if NIGHTLY else 200
PER_ROUND = 20


class Killer:
    """One process is killed at a random moment and comes back a moment later;
    meanwhile the others go on."""

    def __init__(self, org, devices, rng):
        self.org = org
        self.devices = devices
        self.rng = rng
        self.kills = {"server": 0, "daemon": 0}
        self.exits = 0

    def one(self):
        if self.rng.random() < 0.4:
            self.org.kill()
            time.sleep(self.rng.random() * 0.2)
            self.org.start()
            self.kills["server"] += 1
        else:
            d = self.rng.choice(self.devices)
            check(d.daemon.alive, f"{d.login}: daemon died: {d.daemon.tail()}")
            d.kill()
            time.sleep(self.rng.random() * 0.2)
            d.start()
            self.kills["daemon"] += 1
        # Also in the first milliseconds: while files are opened, a backlog
        # is gathered, HELLO is said.
        time.sleep(self.rng.random() ** 3 * 0.6)

    def count(self):
        return sum(self.kills.values())


def two_hundred_kills():
    s = seed()
    rng = random.Random(s)
    began = time.monotonic()
    with Org("kill") as org:
        devices = company(org)
        accounts = seed_accounts(devices)
        for d in devices:
            d.start()
        writers = [
            Writer(d, accounts, random.Random(rng.random()), 0) for d in devices
        ]
        for w in writers:
            w.start()
        killer = Killer(org, devices, rng)
        try:
            while killer.count() < KILLS:
                killer.one()
                if killer.count() % PER_ROUND == 0:
                    look_for_torn(devices)
        finally:
            for w in writers:
                w.stopping = True
            for w in writers:
                w.join()
        settle(devices)
        check_all(org, devices, writers)
        for d in devices:
            equal(d.stop(), 0, f"{d.login}: clean stop")
        equal(org.stop(), 0, "clean stop of the server")
        check_files(org, devices)
        org.verify()
        print(
            f"  {killer.kills['server']} kills of the server, "
            f"{killer.kills['daemon']} of daemons, "
            f"{sum(len(w.pairs) for w in writers)} visits, "
            f"{sum(len(w.deleted) for w in writers)} deleted, "
            f"{sum(w.next for w in writers)} transactions, "
            f"{time.monotonic() - began:.0f} s"
        )


main([two_hundred_kills])
