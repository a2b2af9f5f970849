"""A small company with Python devices, and looks at its server: the log, the
memory, whether it still serves.
"""

import os
import re

from harness import Org, PATIENCE, check, equal, wait_for
from peer import APPLIED, enrol, now_ms, uuid7

# A sanitizer keeps 256 MiB of what was freed; memory is measured here.
os.environ["ASAN_OPTIONS"] = ":".join(
    x for x in (os.environ.get("ASAN_OPTIONS"), "quarantine_size_mb=8") if x
)
FULL = {"class": "vip", "kind": "direct", "state": "active"}


class Company(Org):
    def __enter__(self):
        """A set-up that fails leaves no server behind."""
        try:
            self.set_up()
        except BaseException as e:
            self.__exit__(type(e), e, None)
            raise
        return self

    def set_up(self):
        super().__enter__()
        self.territory("CN", "nation")
        self.territory("T1", "patch", "CN")
        self.territory("T2", "patch", "CN")
        for login, role, place in (
            ("ann", "rep", "T1"),
            ("bob", "rep", "T1"),
            ("cid", "rep", "T2"),
            ("hugo", "hq", "CN"),
        ):
            self.user(login, role, place)
        self.start()

    def peer(self, login):
        """An enrolled Python device that has its first checkpoint."""
        n = sum(1 for x in os.listdir(self.top) if x.startswith("peer-"))
        folder = os.path.join(self.top, f"peer-{n}-{login}")
        return enrol(self.invite(login), folder).connect().pull()


def account(p, name="X", **values):
    """Push an account; its id."""
    row_id = uuid7()
    values = {"territory_id": p.home, "owner_id": p.user, **FULL, **values}
    v = p.do(p.insert("account", row_id, name=name, **values))
    equal(v[2], APPLIED, "account")
    p.pull()
    return row_id


def visit(p, account_id, **values):
    values = {"started_at": now_ms(), "outcome": "order", **values}
    return p.insert("visit", account_id=account_id, **values)


class Watched(Company):
    """A company whose server is watched while somebody is hostile."""

    def set_up(self):
        super().set_up()
        self.good = self.peer("bob")
        self.x = account(self.good)
        self.device("hugo")

    def log(self):
        path = os.path.join(self.top, "server.log")
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.readlines()

    def mark(self):
        """From here on: lines of the log, memory."""
        self.lines = len(self.log())
        self.memory = self.rss()

    def news(self, pattern=r"level=(warn|error)"):
        return [x for x in self.log()[self.lines :] if re.search(pattern, x)]

    def rss(self):
        with open(f"/proc/{self.process.p.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1)) / 1024

    def one_line(self, pattern, count=1):
        """Exactly so many lines of the log since mark() match, and they name
        a reason."""
        wait_for(
            f"{count} lines of the log with {pattern}; there are "
            + "".join(self.log()[self.lines :][-12:]),
            lambda: len(self.news(pattern)) >= count,
            5,
        )
        found = self.news(pattern)
        check(len(found) == count, f"{pattern}: " + "".join(found))
        for line in found:
            check(
                re.search(r'(why|msg)=("[^"]{3,}"|\w{3,})', line),
                f"no reason in: {line}",
            )

    def still_good(self, mib=48):
        """The server lives, serves a device that is connected, and has not
        grown."""
        check(self.process.alive, "the server died: " + self.process.tail())
        v = self.good.do(visit(self.good, self.x))
        equal(v[2], APPLIED, "a good device")
        grown = self.rss() - self.memory
        # a sanitizer keeps what was freed for a while
        check(grown < mib * PATIENCE, f"the server grew by {grown:.0f} MiB")

    def real_good(self):
        """And a real device, from connecting to a checkpoint."""
        hugo = self.devices[0]
        equal(hugo.once(), 0, "a real device")
        n = len(self.sql("SELECT 1 FROM visit"))
        equal(hugo.one("SELECT count(*) FROM visit"), n, "visits")
        self.verify()
