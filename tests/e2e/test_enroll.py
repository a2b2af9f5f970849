"""An enrolment whose server vanishes: before its answer, and between the
certificate and the first data. It ends in time, says so, and the same command
goes on where it was.
"""
# timeout: 200

import os
import random
import re
import signal
import socket
import threading
import time

from harness import DAEMON, PATIENCE, Org, check, equal, main, run, seed


class Shops(Org):
    """A patch with so many shops, each with some text that does not pack."""

    def __init__(self, count):
        super().__init__("enroll")
        self.count = count

    def __enter__(self):
        super().__enter__()
        self.territory("CN", "nation")
        self.territory("T1", "patch", "CN")
        self.user("ann", "rep", "T1")
        self.user("bob", "rep", "T1")
        self.start()
        bob = self.device("bob")
        rng = random.Random(seed())
        c = bob.connect()
        c.execute("BEGIN")
        for n in range(self.count):
            c.execute(
                "INSERT INTO account(name, needs) VALUES (?, ?)",
                (f"shop {n}", rng.randbytes(400).hex()),
            )
        c.execute("COMMIT")
        c.close()
        equal(bob.once(), 0, "rejected")
        return self


class Relay:
    """Passes bytes on: the first connections only, or at some bytes a second."""

    def __init__(self, port, connections=1 << 30, rate=None):
        self.target, self.left, self.rate = port, connections, rate
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def through(self, invite):
        return re.sub(r":\d+/", f":{self.port}/", invite, count=1)

    def serve(self):
        while True:
            client, _ = self.listener.accept()
            if self.left <= 0:
                client.close()
                continue
            self.left -= 1
            server = socket.create_connection(("127.0.0.1", self.target))
            for a, b, rate in (
                (client, server, None),
                (server, client, self.rate),
            ):
                threading.Thread(
                    target=self.copy, args=(a, b, rate), daemon=True
                ).start()

    @staticmethod
    def copy(a, b, rate):
        try:
            while True:
                data = a.recv(16384 if rate is None else rate // 10)
                if not data:
                    break
                b.sendall(data)
                if rate is not None:
                    time.sleep(len(data) / rate)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            b.close()


def enroll(device, invite, timeout, ok):
    began = time.monotonic()
    done = run(
        [DAEMON, "enroll", "--dir", device.dir, "--timeout", timeout, invite],
        ok=ok,
    )
    return done, time.monotonic() - began


def after_the_certificate():
    with Shops(20) as org:
        ann = org.device("ann", enroll=False)
        relay = Relay(org.port, connections=1)
        invite = relay.through(org.invite("ann"))
        done, took = enroll(ann, invite, 2, ok=3)
        check("enrolled as ann" in done.stdout, done.stdout)
        check(done.stderr.strip() != "", "not a word")
        check(took < 8 * PATIENCE, f"after {took:.1f} s")
        check(os.path.exists(os.path.join(ann.dir, "device.pem")), "enrolled")
        check(ann.status()["filling"], "but empty")
        # still away: the same again
        done, took = enroll(ann, invite, 1, ok=3)
        check("goes on" in done.stdout, done.stdout)
        # another server's invitation is not this one's
        elsewhere = re.sub(r":\d+/", ":7/", invite, count=1)
        done, _ = enroll(ann, elsewhere, 1, ok=1)
        check("enrolled already" in done.stderr, done.stderr)
        # and back
        relay.left = 1 << 30
        done, _ = enroll(ann, invite, 20, ok=0)
        equal(ann.one("SELECT count(*) FROM account"), 20)
        equal(len(org.json("device", "list")), 2, "one device each")
        # whole now: an invitation has nothing to do here any more
        done, _ = enroll(ann, invite, 5, ok=1)
        check("enrolled already" in done.stderr, done.stderr)
        equal(ann.once(), 0)

        # `run` goes on with it as well
        relay.left = 1
        two = org.device("ann", enroll=False)
        enroll(two, relay.through(org.invite("ann")), 1, ok=3)
        relay.left = 1 << 30
        equal(two.once(), 0)
        equal(two.one("SELECT count(*) FROM account"), 20)


def before_the_answer():
    """The server takes the connection and says nothing."""
    with Shops(1) as org:
        ann = org.device("ann", enroll=False)
        invite = org.invite("ann")
        os.kill(org.process.p.pid, signal.SIGSTOP)
        try:
            done, took = enroll(ann, invite, 2, ok=3)
        finally:
            os.kill(org.process.p.pid, signal.SIGCONT)
        check(took < 7 * PATIENCE, f"after {took:.1f} s")
        check("does not answer" in done.stderr, done.stderr)
        enroll(ann, invite, 20, ok=0)


def a_slow_line_is_no_silence():
    """Longer than the time-out in all, with rows in every part of it."""
    with Shops(4000) as org:
        ann = org.device("ann", enroll=False)
        relay = Relay(org.port, rate=200_000)
        _, took = enroll(ann, relay.through(org.invite("ann")), int(4 * PATIENCE),
                         ok=0)
        check(took > 5, f"not slow: {took:.1f} s")
        equal(ann.one("SELECT count(*) FROM account"), 4000)
        print(f"  {took:.1f} s")


def a_folder_in_use():
    with Shops(1) as org:
        bob = org.devices[0].start()
        pid = str(bob.daemon.p.pid)
        done, _ = enroll(bob, org.invite("bob"), 5, ok=75)
        check(pid in done.stderr, done.stderr)


main(
    [
        after_the_certificate,
        before_the_answer,
        a_slow_line_is_no_silence,
        a_folder_in_use,
    ]
)
