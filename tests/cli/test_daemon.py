"""status, sync and verify with a daemon, without one, and with one that does
not answer. The daemon here is a socket that speaks as satcheld does."""

import fcntl
import json
import os
import socket
import struct
import threading

from device import Device, filled, main


class FakeDaemon:
    def __init__(self, dir, answers, silent=False):
        self.answers, self.asked = answers, []
        self.silent = silent
        self.s = socket.socket(socket.AF_UNIX)
        self.s.bind(os.path.join(dir, "sock"))
        self.s.listen(8)
        self.t = threading.Thread(target=self.serve, daemon=True)
        self.t.start()

    @staticmethod
    def send(c, obj):
        b = json.dumps(obj).encode()
        c.sendall(struct.pack(">I", len(b)) + b)

    @staticmethod
    def receive(c):
        n = struct.unpack(">I", c.recv(4, socket.MSG_WAITALL))[0]
        return json.loads(c.recv(n, socket.MSG_WAITALL))

    def serve(self):
        held = []
        while True:
            try:
                c, _ = self.s.accept()
            except OSError:
                return
            if self.silent:
                held.append(c)
                continue
            self.send(c, {"satchel": "satcheld test"})
            q = self.receive(c)
            self.asked.append(q)
            if q["ask"] in self.answers:
                self.send(c, self.answers[q["ask"]])
            c.close()

    def close(self):
        self.s.shutdown(socket.SHUT_RDWR)
        self.s.close()
        self.t.join(5)


STATUS = {"rc": 0, "connection": "connected", "attempts": 3, "next_ms": 0,
          "last_error": "", "digest_ok": True, "local_failure": False,
          "pid": 4711}


def test_status_without_a_daemon_shows_stored_figures():
    d = filled()
    d.ok("log-visit", "--account", "Acme")
    out = d.ok("status")
    assert "1 saved here, 0 confirmed durable, 0 missing" in out
    assert "1 changes, 1 of them not gathered yet" in out
    assert "satcheld is not running; these are the stored figures" in out
    assert "安娜 (ann), Sales representative" in out
    s = d.json("status")
    assert s["daemon"] is False and s["connection"] is None
    assert s["role"] == "rep" and s["replica"] == 7 and s["epoch"] == "77"
    assert s["pending_rows"] == 1 and s["digest"] == "unknown"
    assert s["filling"] is True and s["checkpoint_at"] is None
    assert "satcheld 未运行" in d.ok("status", lang="zh")
    d.close()


def test_status_tells_confirmed_waiting_and_missing_apart():
    d = filled()
    db = d.connect()
    db.execute("UPDATE _satchel_kv SET v = 5 WHERE k = 'seq'")
    db.execute("INSERT OR REPLACE INTO _satchel_kv VALUES('seq', 5)")
    db.execute("INSERT OR REPLACE INTO _satchel_kv VALUES('verdict_seq', 2)")
    for seq in (4, 5):
        db.execute("INSERT INTO _satchel_outbox(seq, state, rows)"
                   " VALUES(?, 0, 2)", (seq,))
    for name, v in (("changes", 9), ("settled", 3), ("refused", 1)):
        db.execute("INSERT OR REPLACE INTO _satchel_kv VALUES(?, ?)",
                   (name, v))
    db.execute("INSERT OR REPLACE INTO _satchel_kv VALUES('cursor', 9)")
    db.execute("INSERT OR REPLACE INTO _satchel_kv VALUES("
               "'checkpoint_ms', 1763712000000)")
    db.execute("INSERT OR REPLACE INTO _satchel_kv VALUES("
               "'digest_state', -1)")
    db.close()
    s = d.json("status")
    assert (s["saved"], s["confirmed"], s["waiting"], s["missing"],
            s["outbox"]) == (9 + s["pending_rows"], 2, 4 + s["pending_rows"],
                             2, 2), s
    assert s["checkpoint_at"] == "2025-11-21T08:00:00.000Z"
    assert s["digest"] == "mismatch" and s["cursor"] == 9
    out = d.ok("status")
    assert "2025-11-21 16:00" in out and "2 missing" in out
    assert "differs from the server's" in out
    d.close()


def test_status_asks_the_daemon():
    d = filled()
    f = FakeDaemon(d.dir, {"status": STATUS})
    assert "connection: connected" in d.ok("status")
    assert "已连接" in d.ok("status", lang="zh")
    assert d.json("status")["connection"] == "connected"
    f.close()
    os.unlink(os.path.join(d.dir, "sock"))
    f = FakeDaemon(d.dir, {"status": dict(
        STATUS, connection="waiting", next_ms=12500, local_failure=True,
        last_error="bad \x1b[31m server")})
    out = d.ok("status")
    assert "waiting: bad \\x1b[31m server" in out, out
    assert "next attempt in 12 s" in out and "disk full" in out
    assert d.json("status")["next_attempt_ms"] == 12500
    f.close()
    # Gone again: a socket file that nobody listens on.
    assert "not running" in d.ok("status")
    d.close()


def test_a_daemon_that_does_not_answer_is_not_waited_for():
    d = filled()
    f = FakeDaemon(d.dir, {}, silent=True)
    assert "does not answer" in d.ok("status")
    f.close()
    d.close()


def test_sync_asks_and_waits():
    d = filled()
    err = d.fails(1, "sync")
    assert "not running" in err and "satcheld run --dir" in err
    assert "未在" in d.fails(1, "sync", lang="zh")
    f = FakeDaemon(d.dir, {"sync": {"rc": 0, "confirmed": 4, "rejected": 1}})
    assert "in sync: 4 confirmed, 1 rejected" in d.ok("sync")
    assert d.json("sync", "--timeout", "5") == {"confirmed": 4, "rejected": 1}
    assert f.asked[-1] == {"ask": "sync", "timeout_ms": 5000}
    f.answers = {"sync": {"rc": -9, "confirmed": 0, "rejected": 0},
                 "status": dict(STATUS, last_error="no route")}
    err = d.fails(1, "sync")
    assert "no server in time" in err and "no route" in err, err
    f.answers["sync"]["rc"] = -11
    assert "refuses this device" in d.fails(1, "sync")
    f.answers["sync"]["rc"] = -6
    assert "could not sync" in d.fails(1, "sync")
    f.answers = {}
    assert "closed the connection" in d.fails(1, "sync")
    assert "seconds" in d.fails(2, "sync", "--timeout", "0")
    f.close()
    d.close()


def test_verify_leaves_the_rows_to_a_daemon_that_runs():
    d = filled()
    out = d.ok("verify")
    assert "file: sound" in out and "0 differ" in out
    assert d.json("verify")["bad"] == 0
    d.ok("sql", "UPDATE account SET city='Q'")
    with open(os.path.join(d.dir, "lock"), "w") as lock:
        lock.write("4711\n")
        lock.flush()
        # A lock of the open file description, as the daemon's is.
        arg = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        fcntl.fcntl(lock, 37, arg)
        assert "satcheld (process 4711)" in d.ok("verify")
        assert d.json("verify")["rows"] is None
        # Nothing was gathered behind the daemon's back.
        assert d.json("status")["pending_rows"] == 6
    d.close()


def test_verify_finds_what_was_changed_behind_the_triggers():
    d = Device()
    d.ok("sql", "INSERT INTO account(name, city) VALUES('Acme', 'Paris')")
    assert "file: sound" in d.ok("verify")
    s = d.json("status")
    assert s["saved"] == 1 and s["pending_rows"] == 0 and s["missing"] == 0
    db = d.connect()
    db.execute("INSERT OR REPLACE INTO _satchel_kv VALUES("
               "'digest_state', -1)")
    db.close()
    err = d.run("verify")
    assert err.returncode == 1 and b"differs" in err.stdout, err
    d.close()


main(globals())
