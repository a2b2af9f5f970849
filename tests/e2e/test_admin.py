"""Administration of a server: every command, stopped and running, the lock
and the socket, what goes wrong, and what connected devices notice."""
# timeout: 900

import concurrent.futures
import contextlib
import csv
import datetime
import fcntl
import io
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import threading
import time

from harness import (
    DAEMON,
    PATIENCE,
    SERVER,
    Failed,
    Org,
    Process,
    check,
    equal,
    main,
    run,
    wait_for,
)

TABLES = (
    "territory user account contact visit visit_event note opportunity "
    "stage_event product task target survey_response ticket pipeline_rollup "
    "activity_rollup conflict"
).split()
ACTIVITY_BY = "territory region manager rep month quarter".split()
BY = "territory region manager rep stage product month quarter".split()
COMMANDS = (
    "init",
    "run",
    "stop",
    "status",
    "verify",
    "config",
    "territory add",
    "territory list",
    "territory move",
    "user add",
    "user list",
    "user disable",
    "grant add",
    "grant remove",
    "grant list",
    "invite",
    "device list",
    "device revoke",
    "account move",
    "audit list",
    "undo",
    "import",
    "export",
    "report",
    "history",
    "catalogue show",
    "catalogue check",
    "catalogue apply",
)
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


class Company(Org):
    """Nation, region, two patches; a rep in each, a manager above them. Not
    started: what a test needs running it starts."""

    def __enter__(self):
        super().__enter__()
        self.territory("CN", "nation", name="中国")
        self.territory("EAST", "region", "CN")
        self.territory("T1", "patch", "EAST")
        self.territory("T2", "patch", "EAST")
        self.user("ann", "rep", "T1", name="安娜")
        self.user("cid", "rep", "T2")
        self.user("mia", "manager", "EAST")
        return self

    def fails(self, *words, code=1, says=(), **kw):
        """The command fails with that code and one clear sentence."""
        done = self.cmd(*words, ok=code, **kw)
        lines = done.stderr.strip().splitlines()
        check(lines, f"{words} failed without a word")
        if code != 2:
            equal(len(lines), 1, f"{words}: sentences: {done.stderr}")
        for word in (says,) if isinstance(says, str) else says:
            check(word in done.stderr, f"no {word!r} in: {done.stderr}")
        return done

    def find(self, what, **having):
        """The row of `... list` with these values."""
        for row in self.json(what, "list"):
            if all(row[k] == v for k, v in having.items()):
                return row
        raise Failed(f"no {what} with {having}")

    @contextlib.contextmanager
    def running(self):
        self.start()
        yield
        equal(self.stop(), 0, "clean stop")


def stopped_and_running(org):
    """The rest of a test twice: on the files, and through the server."""
    yield "stopped"
    org.start()
    yield "running"
    equal(org.stop(), 0, "clean stop")


def plain(text):
    """What does not depend on when and where a command ran."""
    return TIME.sub("TIME", UUID.sub("ID", text))


# ---- words on the command line ----------------------------------------------


def help_and_usage():
    with Company() as c:
        top = run([SERVER, "--help"]).stdout
        version = run([SERVER, "--version"]).stdout
        check(re.fullmatch(r"satchel-server \d+\.\d+\.\d+\n", version), version)
        # Those of the list, and whatever else --help names.
        listed = re.findall(r"^  ([a-z]+)(?: ([a-z]+)\b(?!\|))?", top, re.M)
        names = {" ".join(x).strip() for x in listed}
        check(names >= set(COMMANDS), f"missing: {set(COMMANDS) - names}")
        for command in sorted(names):
            words = command.split()
            text = run([SERVER, *words, "--help"]).stdout
            check(f"usage: satchel-server {command} " in text, text)
            no_dir = run([SERVER, *words], ok=None)
            wanted = 0 if command == "config" else 2
            equal(no_dir.returncode, wanted, f"{command} without --dir")
            run([SERVER, *words, "--dir", c.dir, "--nonsense"], ok=2)
        for words in (
            [],
            ["frobnicate"],
            ["territory"],
            ["territory", "frobnicate"],
        ):
            run([SERVER, *words], ok=2)


def usage_errors():
    with Company() as c:
        add = ["--code", "X", "--name", "X"]
        person = ["--login", "x", "--name", "x", "--territory", "T1"]
        for words in (
            ["territory", "add", *add],
            ["territory", "add", *add, "--level"],
            ["territory", "move", "--code", "T1"],
            ["user", "add", *person],
            ["user", "add", *person, "--role", "boss"],
            ["user", "disable"],
            ["grant", "add", "--login", "ann"],
            ["grant", "add", "--login", "ann", "--territory", "T2"]
            + ["--role", "boss"],
            ["grant", "remove", "--grant", "one"],
            ["grant", "remove", "--grant", "1x"],
            ["invite"],
            ["invite", "--login", "ann", "--host", "no host"],
            ["invite", "--login", "ann", "--host", "h:port"],
            ["invite", "--login", "ann", "--host", "h:99999"],
            ["device", "revoke"],
            ["device", "revoke", "--device", ""],
            ["account", "move", "--account", "X"],
            ["import", "--map", "m.json"],
            ["import", "file.csv"],
            ["export"],
            ["export", "account", "visit"],
            ["export", "account", "--format", "xml"],
            ["report"],
            ["report", "weather"],
            ["report", "pipeline", "--by", "weekday"],
            ["history", "account"],
            ["catalogue", "check"],
            ["status", "extra"],
            ["verify", "--json=yes"],
        ):
            c.fails(*words, code=2)
        equal(len(c.json("territory", "list")), 4, "nothing was added")
        equal(len(c.json("user", "list")), 3, "nobody was added")


# ---- the same stopped and running -------------------------------------------


def play(c):
    """Every writing command once; returns what was said and what is there."""
    said = []

    def cmd(*words, **kw):
        done = c.cmd(*words, **kw)
        said.append((words, done.returncode, done.stdout, done.stderr))
        return done

    cmd("territory", "add", "--code", "T3", "--name", "三", "--level", "patch")
    cmd("territory", "move", "--code", "T3", "--parent", "EAST")
    cmd("user", "add", "--login", "bob", "--name", "Bob", "--role", "rep",
        "--territory", "T3")
    cmd("grant", "add", "--login", "bob", "--territory", "T1",
        "--role", "manager", "--from", "2026-01-01", "--to", "2030-01-01")
    no = c.find("grant", login="bob", role="manager")["grant"]
    cmd("grant", "remove", "--grant", no)
    cmd("grant", "add", "--login", "bob", "--territory", "T2")
    cmd("user", "disable", "--login", "bob")
    csv_file = os.path.join(c.top, "accounts.csv")
    with open(csv_file, "w", encoding="utf-8") as f:
        f.write("no,name,patch\n1,第一,T1\n2,Second,T1\n3,Third,T9\n")
    map_file = os.path.join(c.top, "map.json")
    with open(map_file, "w", encoding="utf-8") as f:
        json.dump(
            {
                "table": "account",
                "key": ["no"],
                "columns": {
                    "name": {"from": "name"},
                    "territory_id": {
                        "from": "patch",
                        "lookup": {"table": "territory", "column": "code"},
                    },
                },
            },
            f,
        )
    cmd("import", "--map", map_file, csv_file, ok=1)
    cmd("account", "move", "--account", "第一", "--territory", "T2")
    ident = c.json("export", "account")[1]["id"]
    cmd("account", "move", "--account", ident, "--territory", "T2")
    cmd("catalogue", "check", builtin(c), ok=None)
    for words in (
        ["territory", "add", "--code", "T1", "--name", "x", "--level", "patch"],
        ["territory", "add", "--code", "T8", "--name", "x", "--level", "moon"],
        ["territory", "add", "--code", "T8", "--name", "x", "--level", "patch",
         "--parent", "T7"],
        ["territory", "move", "--code", "EAST", "--parent", "T1"],
        ["territory", "move", "--code", "T7", "--parent", "T1"],
        ["user", "add", "--login", "ann", "--name", "x", "--role", "rep",
         "--territory", "T1"],
        ["user", "add", "--login", "zoe", "--name", "x", "--role", "rep",
         "--territory", "T7"],
        ["user", "disable", "--login", "nobody"],
        ["grant", "add", "--login", "nobody", "--territory", "T1"],
        ["grant", "add", "--login", "ann", "--territory", "T7"],
        ["grant", "add", "--login", "ann", "--territory", "T1", "--from", "soon"],
        ["grant", "remove", "--grant", "999"],
        ["invite", "--login", "nobody"],
        ["invite", "--login", "bob"],
        ["device", "revoke", "--device", "999"],
        ["device", "revoke", "--device", "1"],
        ["account", "move", "--account", "Nobody", "--territory", "T1"],
        ["account", "move", "--account", "Second", "--territory", "T7"],
        ["export", "nonsense"],
        ["history", "account", "not-an-id"],
        ["history", "account", "00000000-0000-7000-8000-000000000000"],
        ["history", "nonsense", ident],
        ["import", "--map", "/nonexistent.json", csv_file],
        ["import", "--map", map_file, "/nonexistent.csv"],
        ["catalogue", "check", "/nonexistent.json"],
    ):
        done = c.fails(*words)
        said.append((words, done.returncode, done.stdout, done.stderr))
    return [plain(repr(x)).replace(c.top, "TOP") for x in said]


def builtin(c):
    """The catalogue in force as a file."""
    path = os.path.join(c.top, "catalogue.json")
    source = os.path.join(
        os.environ.get(
            "SATCHEL_SOURCE",
            os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."),
        ),
        "proto/catalogue/field_sales.json",
    )
    shutil.copyfile(source, path)
    return path


def looks(c):
    """What every reading command says, as text and as JSON."""
    seen = {}
    for words in (
        ["territory", "list"],
        ["user", "list"],
        ["grant", "list"],
        ["device", "list"],
        ["catalogue", "show"],
        ["verify"],
        *(["report", "pipeline", "--by", by] for by in BY),
        *(["report", "activity", "--by", by] for by in ACTIVITY_BY),
        *(["export", t] for t in TABLES),
    ):
        name = " ".join(words)
        seen[name] = c.cmd(*words).stdout
        seen[name + " --json"] = json.dumps(c.json(*words), sort_keys=True)
    for row in c.json("export", "account"):
        words = ["history", "account", row["id"]]
        seen["history " + row["name"]] = c.cmd(*words).stdout
        json.loads(c.cmd(*words, "--json").stdout)
    return seen


def same_results_stopped_and_running():
    """Two servers get the same commands, one stopped, one running: they say
    the same and hold the same; and then each way of looking agrees."""
    with Company("a") as a, Company("b") as b:
        stopped = play(a)
        with b.running():
            running = play(b)
            b.verify()
        for x, y in zip(stopped, running):
            equal(y, x, "running against stopped")
        a.verify()
        by_file = looks(a)
        for name, text in looks(b).items():
            if name.startswith("verify"):
                continue
            equal(
                sorted(plain(text).split()),
                sorted(plain(by_file[name]).split()),
                f"{name}: two servers",
            )
        with a.running():
            for name, text in looks(a).items():
                equal(text, by_file[name], f"{name}: running against stopped")


def exports_are_whole_and_parse():
    with Company() as c:
        odd = 'a "quoted", name\nin two lines'
        c.start()
        ann = c.device("ann")
        ann.sql("INSERT INTO account(name, tags) VALUES (?, '[\"x\",\"y\"]')",
                (odd,))
        ann.sql("INSERT INTO opportunity(name, stage, amount) "
                "VALUES ('D', 'lead', 123456)")
        ann.sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n "
                "WHERE i < 4500) INSERT INTO visit(account_id, notes) "
                "SELECT (SELECT id FROM account), 'n' || i FROM n")
        ann.sql("DELETE FROM visit WHERE notes = 'n7'")
        ann.once()
        for table in TABLES:
            rows = c.json("export", table)
            lines = list(csv.reader(io.StringIO(
                c.cmd("export", table, "--format", "csv").stdout)))
            check(lines[0][0] == "id", f"{table}: header {lines[:1]}")
            equal(len(lines) - 1, len(rows), f"{table}: csv against json")
            for r, line in zip(rows, lines[1:]):
                equal(sorted(r), sorted(lines[0]), f"{table}: columns")
                equal(line[0], r["id"], f"{table}: same order")
        equal(len(c.json("export", "visit")), 4499, "the deleted one is gone")
        row = c.json("export", "account")[0]
        equal((row["name"], row["tags"]), (odd, ["x", "y"]))
        cells = list(csv.DictReader(io.StringIO(c.cmd("export", "account").stdout)))
        equal(cells[0]["name"], odd, "quoted in CSV")
        equal(c.json("export", "opportunity")[0]["amount"], 1234.56)
        equal(
            [r["amount"] for r in c.json("report", "pipeline", "--by", "stage")],
            [1234.56],
        )
        story = c.json("history", "account", row["id"])
        check(any("ann" in json.dumps(s) for s in story), f"history: {story}")


def status_tells():
    with Company() as c:
        s = c.json("status")
        equal((s["running"], s["head"] > 0), (False, True), "stopped")
        equal(s["devices"], {"active": 0, "revoked": 0, "wiping": 0})
        equal((s["oldest_cursor"], s["longest_unseen"]), (None, None))
        c.start()
        ann, cid = c.device("ann"), c.device("cid")
        ann.sql("INSERT INTO account(name) VALUES ('X'), ('Y')")
        ann.once()
        ann.sql("DELETE FROM account WHERE name = 'Y'")
        ann.once()
        ann.start()
        wait_for("a session", lambda: c.json("status")["sessions"] == 1)
        s = c.json("status")
        equal(s["rows"]["account"], 1, "live rows")
        equal(s["deleted"]["account"], 1, "deleted rows")
        equal(s["rows"]["user"], 3)
        equal(s["devices"], {"active": 2, "revoked": 0, "wiping": 0})
        check(s["disk_free_bytes"] > 0 and s["wal_pages"] >= 0, f"{s}")
        check(s["pid"] == c.process.p.pid and s["port"] == c.port, f"{s}")
        check(s["head"] >= s["oldest_cursor"] > 0, f"{s}")
        equal(s["epoch"], str(ann.status()["epoch"]), "the device's history")
        seen = c.find("device", login="cid")["seen"]
        equal(s["longest_unseen"], {"login": "cid", "seen": seen,
                                    "device": c.find("device", login="cid")["device"]})
        text = c.cmd("status").stdout
        check("running: true" in text and "account" in text, text)
        ann.stop()
        epoch = s["epoch"]
        c.stop()
        equal(c.json("status")["epoch"], epoch, "the same history")


def the_log_is_folded_in():
    """What was written goes into the database file once nobody writes, and
    verdicts that a device has stored are forgotten."""
    with Company() as c:
        c.start()
        ann = c.device("ann")
        ann.sql("INSERT INTO account(name) VALUES ('X')")
        ann.once()
        for n in range(5):
            ann.sql(f"UPDATE account SET phone = '{n}'")
            ann.once()
        check(c.json("status")["wal_pages"] > 0, "something is in the log")
        wait_for("the log is empty", lambda: c.json("status")["wal_pages"] == 0)
        kept = c.sql("SELECT count(*) FROM _verdict")[0][0]
        check(kept <= 1, f"{kept} verdicts kept of 6")
        equal(c.sql("SELECT count(*) FROM _changeset WHERE dot >> 31 > 1")[0][0],
              6, "the changesets stay")
        c.verify()


def config_is_checked():
    with Company() as c:
        sample = run([SERVER, "config"]).stdout
        check("invite_hours" in sample and "listen" in sample, sample)
        manual = run([SERVER, "config", "--manual"]).stdout
        check(len(manual) > len(sample) / 2 and "invite_hours" in manual, manual)
        equal(c.cmd("config", "--check").returncode, 0)
        conf = os.path.join(c.dir, "server.conf")
        good = open(conf).read()
        for line in ("nonsense = 1", "invite_hours = never", "invite_hours = -1"):
            with open(conf, "w") as f:
                f.write(good + "\n" + line + "\n")
            c.fails("config", "--check", says=["server.conf", line.split()[0]])
            c.fails("status", says=line.split()[0])
            done = c.cmd("run", ok=1)
            check(line.split()[0] in done.stderr, done.stderr)
        with open(conf, "w") as f:
            f.write(good)
        c.cmd("status")


# ---- folders, locks, sockets ------------------------------------------------


def wrong_folders():
    with Company() as c:
        empty = os.path.join(c.top, "empty")
        os.mkdir(empty)
        for folder in (empty, os.path.join(c.top, "none"), "/etc/passwd"):
            for command in ("status", "run", "stop", "verify"):
                done = run([SERVER, command, "--dir", folder], ok=1)
                check(
                    "is not a server's folder" in done.stderr and
                    folder in done.stderr,
                    f"{command} {folder}: {done.stderr}",
                )
        equal(os.listdir(empty), [], "nothing was made in the wrong folder")
        before = snapshot(c.dir)
        c.fails("init", "--org", "Other", says="already")
        equal(snapshot(c.dir), before, "init twice changes nothing")
        broken = os.path.join(c.top, "broken")
        os.mkdir(broken)
        with open(os.path.join(broken, "satchel.db"), "wb") as f:
            f.write(b"not a database at all" * 500)
        done = run([SERVER, "status", "--dir", broken], ok=1)
        check("satchel.db" in done.stderr or broken in done.stderr, done.stderr)


def snapshot(folder):
    """Bytes of every file but the lock's pid."""
    found = {}
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and name != "lock":
            with open(path, "rb") as f:
                found[name] = f.read()
    return found


def newer_database():
    with Company() as c:
        db = os.path.join(c.dir, "satchel.db")
        con = sqlite3.connect(db)
        version = con.execute("PRAGMA user_version").fetchone()[0]
        con.execute(f"PRAGMA user_version = {version + 1}")
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        con.close()
        before = open(db, "rb").read()
        for words in (["run"], ["status"], ["verify"], ["export", "account"],
                      ["territory", "add", "--code", "N", "--name", "N",
                       "--level", "patch"]):
            c.fails(*words, says="newer")
        check(open(db, "rb").read() == before, "the file was changed")


def port_in_use():
    with Company() as c:
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        done = c.cmd("run", "--listen", f"127.0.0.1:{port}", ok=None)
        check(done.returncode in (1, 75), f"exit {done.returncode}")
        check(
            str(port) in done.stderr and "in use" in done.stderr, done.stderr
        )
        s.close()
        for bad in ("nonsense", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000"):
            c.cmd("run", "--listen", bad, ok=2)
        c.start()
        done = c.fails("run", code=75, says=str(c.process.p.pid))
        c.cmd("status")


def hold_lock(path):
    """An OFD lock, as a server holds it; give the file to release it."""
    f = open(path, "r+b")
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
    fcntl.fcntl(f, 37, lock)  # F_OFD_SETLK
    return f


def silent_lock_holder():
    with Company() as c:
        path = os.path.join(c.dir, "lock")
        with open(path, "w") as f:
            f.write("424242\n")
        holder = hold_lock(path)
        for words in (["status"], ["user", "list"], ["stop"], ["export", "user"]):
            began = time.monotonic()
            c.fails(*words, code=75, says=["424242", "lock"])
            took = time.monotonic() - began
            check(4 < took < 7 * PATIENCE, f"gave up after {took:.1f} s")
        done = c.cmd("run", ok=75)
        check("424242" in done.stderr, done.stderr)
        # Free again while a command waits: it goes on.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            waiting = pool.submit(c.cmd, "status")
            time.sleep(1)
            check(not waiting.done(), "it did not wait")
            holder.close()
            equal(waiting.result().returncode, 0)


def a_server_that_does_not_answer():
    with Company() as c:
        c.start()
        pid = c.process.p.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            with concurrent.futures.ThreadPoolExecutor(40) as pool:
                # More than the socket's queue holds.
                began = time.monotonic()
                all_of = [
                    pool.submit(c.cmd, "status", ok=75) for _ in range(30)
                ]
                for f in all_of:
                    check(str(pid) in f.result().stderr, "names the process")
            took = time.monotonic() - began
            check(took < 10 * PATIENCE, f"gave up after {took:.1f} s")
        finally:
            os.kill(pid, signal.SIGCONT)
        c.cmd("status")


def the_socket():
    with Company() as c:
        path = os.path.join(c.dir, "admin.sock")
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(path)
        stale.close()
        c.cmd("status")
        check(os.path.exists(path), "only a server removes a stale socket")
        c.start()
        equal(os.stat(path).st_mode & 0o7777, 0o600, "mode of admin.sock")
        equal(c.json("status")["running"], True)
        c.stop()
        check(not os.path.exists(path), "removed at the end")
        # A server that was killed leaves one; the next run takes over.
        c.start()
        c.kill()
        check(os.path.exists(path), "kill -9 leaves the socket")
        equal(c.json("status")["running"], False)
        c.start()
        equal(c.json("status")["running"], True)
        # Garbage on the socket ends that connection and nothing else.
        for junk in (b"\xff\xff\xff\xff", b"\0\0\0\4junk", b"\0\0\0\2{}", b"\0\0"):
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(10)
            s.connect(path)
            s.recv(4096)
            s.sendall(junk)
            s.shutdown(socket.SHUT_WR)
            while s.recv(4096):
                pass
            s.close()
        equal(c.json("status")["running"], True)


def long_and_relative_paths():
    with Company() as c:
        deep = os.path.join(c.top, *["d" * 60] * 4)
        os.makedirs(deep)
        deep = os.path.join(deep, "server")
        shutil.move(c.dir, deep)
        check(len(deep) > 200, "a long path")
        c.dir = deep
        equal(c.json("status")["running"], False)
        c.start()
        equal(c.json("status")["running"], True)
        ann = c.device("ann")
        ann.once()
        c.stop()
        shutil.move(deep, os.path.join(c.top, "server"))
        c.dir = os.path.join(c.top, "server")
        for relative in ("server", "./server/", "server/../server"):
            done = subprocess.run(
                [SERVER, "user", "list", "--dir", relative],
                cwd=c.top, capture_output=True, text=True,
            )
            equal(done.returncode, 0, relative + done.stderr)
        log = os.path.join(c.top, "relative.log")
        p = subprocess.Popen(
            [SERVER, "run", "--dir", "server", "--listen", "127.0.0.1:0"],
            cwd=c.top, stdout=open(log, "wb"), stderr=subprocess.STDOUT,
        )
        try:
            wait_for("it serves", lambda: "listening" in open(log).read())
            equal(c.json("status")["running"], True, "by another name")
            done = subprocess.run(
                [SERVER, "stop", "--dir", "server"], cwd=c.top,
                capture_output=True, text=True,
            )
            equal(done.returncode, 0, done.stderr)
            equal(p.wait(10), 0)
        finally:
            p.kill()


def another_user_is_refused():
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        print("  not root: left out")
        return
    with Company() as c:
        c.start()
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        os.chmod(c.top, 0o755)
        os.chmod(c.dir, 0o755)
        build = os.path.dirname(os.path.dirname(SERVER))
        if subprocess.run([*nobody, SERVER, "--version"]).returncode != 0:
            print(f"  {build} cannot be read by others: left out")
            return
        done = run([*nobody, SERVER, "user", "list", "--dir", c.dir], ok=None)
        check(done.returncode == 1, f"exit {done.returncode}: {done.stderr}")
        equal(done.stdout, "", "nothing is told")
        check("ermission" in done.stderr, done.stderr)
        # With the file modes out of the way the server itself looks.
        os.chmod(os.path.join(c.dir, "admin.sock"), 0o666)
        code = (
            "import socket,sys\n"
            "s=socket.socket(socket.AF_UNIX)\n"
            f"s.connect({os.path.join(c.dir, 'admin.sock')!r})\n"
            "s.settimeout(5)\n"
            "sys.exit(len(s.recv(100)) != 0)"
        )
        done = run([*nobody, "/usr/bin/python3", "-c", code], ok=None)
        equal(done.returncode, 0, "another user got a greeting: " + done.stderr)
        equal(c.json("status")["running"], True)


# ---- life of the server -----------------------------------------------------


def killed_server():
    with Company() as c:
        c.start()
        ann = c.device("ann")
        ann.sql("INSERT INTO account(name) VALUES ('X')")
        ann.once()
        c.kill()
        equal(len(c.json("export", "account")), 1, "on the files")
        c.territory("T3", "patch", "EAST")
        c.verify()
        c.start()
        equal(len(c.json("territory", "list")), 5, "written while stopped")
        ann.sql("UPDATE account SET phone = '1'")
        ann.once()
        equal(c.json("export", "account")[0]["phone"], "1")
        c.verify()


def commands_at_once():
    with Company() as c:
        for mode in stopped_and_running(c):
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                jobs = [
                    pool.submit(c.territory, f"{mode}{i}", "patch", "EAST")
                    for i in range(12)
                ] + [pool.submit(c.json, "territory", "list") for _ in range(8)]
                for j in jobs:
                    j.result()
            codes = [t["code"] for t in c.json("territory", "list")]
            equal(len(codes), len(set(codes)), "no code twice")
            equal(sum(x.startswith(mode) for x in codes), 12, mode)
        # The same code from many at once: one wins, the others are told.
        c.start()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            jobs = [
                pool.submit(c.cmd, "territory", "add", "--code", "ONE",
                            "--name", "n", "--level", "patch", ok=None)
                for i in range(8)
            ]
            codes = sorted(j.result().returncode for j in jobs)
        equal(codes, [0] + [1] * 7, "one of eight")


def stop_waits():
    with Company() as c:
        equal(c.cmd("stop").stdout, "the server is not running\n")
        c.start()
        ann = c.device("ann").start()
        wait_for("connected", lambda: c.json("status")["sessions"] == 1)
        process = c.process
        equal(c.cmd("stop").stdout, "stopped\n")
        check(lock_is_free(c), "stop returned before the folder was free")
        equal(process.p.wait(5), 0, "exit code")
        check(ann.daemon.alive, "the daemon stays")
        c.start()
        wait_for("again", lambda: c.json("status")["sessions"] == 1)
        ann.stop()


def lock_is_free(c):
    try:
        hold_lock(os.path.join(c.dir, "lock")).close()
        return True
    except OSError:
        return False


def sigterm_drains_a_push():
    rows = 20000
    with Company() as c:
        c.start()
        ann = c.device("ann")
        ann.sql("INSERT INTO account(name) VALUES ('X')")
        ann.once()
        ann.start()
        wait_for("connected", lambda: c.json("status")["sessions"] == 1)
        for round in range(3):
            ann.sql(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n "
                f"WHERE i < {rows}) INSERT INTO visit(account_id, notes) "
                "SELECT (SELECT id FROM account), 'n' || i FROM n"
            )
            time.sleep(0.1 + 0.15 * round)
            equal(c.stop(), 0, "SIGTERM")
            confirmed = ann.one(
                "SELECT v FROM _satchel_kv WHERE k = 'verdict_seq'"
            )
            held = c.sql("SELECT max(last_seq) FROM _device")[0][0]
            check(
                held >= confirmed,
                f"{confirmed} confirmed on the device, {held} on the server",
            )
            c.start()
            want = rows * (round + 1)
            wait_for(
                "all visits",
                lambda: c.json("status")["rows"]["visit"] >= want,
                40,
            )
            equal(c.json("status")["rows"]["visit"], want, "none twice")
            wait_for("settled", lambda: ann.status()["missing"] == 0)
        ann.stop()
        equal(ann.one("SELECT count(*) FROM visit"), rows * 3)
        c.verify()


def sighup_reloads():
    with Company() as c:
        conf = os.path.join(c.dir, "server.conf")
        good = open(conf).read()
        c.start()
        port = c.port

        def hup(text):
            with open(conf, "w") as f:
                f.write(text)
            c.process.p.send_signal(signal.SIGHUP)

        def hours():
            done = c.cmd("invite", "--login", "ann", "--json").stdout
            at = json.loads(done)["expires"].replace("Z", "+00:00")
            at = datetime.datetime.fromisoformat(at).timestamp()
            return round((at - time.time()) / 3600)

        before = hours()
        check(before > 1, f"default {before}")
        for n in range(3):
            wanted = before + 300 + n
            hup(good + f"\ninvite_hours = {wanted}\n")
            wait_for("the new setting", lambda: hours() == wanted)
        check(
            "needs_restart=listen" not in c.process.tail(100),
            "--listen of the command line is no change: " + c.process.tail(9),
        )
        hup(good + "\ninvite_hours = nonsense\n")
        wait_for("a word about it",
                 lambda: "the old settings stay" in c.process.tail(100))
        check("invite_hours" in c.process.tail(100), c.process.tail(5))
        equal(hours(), before + 302, "a bad file changes nothing")
        hup(good)
        wait_for("back to the default", lambda: hours() == before)
        equal(c.json("status")["port"], port)
        c.device("ann").once()
        hup(re.sub("(?m)^advertise = .*", "advertise = elsewhere.example:1",
                   good))
        wait_for("another address in invitations", lambda: c.cmd(
            "invite", "--login", "ann").stdout.startswith(
            "satchel://elsewhere.example:1/"))


# ---- devices and people -----------------------------------------------------


def cut(c, device, action, says):
    """A connected daemon is cut within a second, gets nothing more, keeps
    its edits, and says why."""
    bob = c.device("mia")
    device.sql("INSERT INTO account(name) VALUES ('X')")
    device.once()
    bob.once()
    device.start()
    wait_for("connected", lambda: device.status()["connection"] == "connected")
    action()
    began = time.monotonic()
    wait_for("cut", lambda: c.json("status")["sessions"] == 0, 2)
    took = time.monotonic() - began
    check(took < 1.0 * PATIENCE, f"cut after {took:.2f} s")
    bob.sql("UPDATE account SET phone = 'after'")
    bob.once()
    device.sql("UPDATE account SET email = 'mine@x'")
    wait_for("refused", lambda: device.status()["connection"] == "refused")
    equal(device.one("SELECT phone, email FROM account"), (None, "mine@x"))
    s = device.status()
    check(s["saved"] == s["confirmed"] + 1 and s["missing"] == 0, f"{s}")
    check(says in json.dumps(s), f"status says {s}")
    device.stop()
    device.once(ok=4)
    device.once(ok=4)
    equal(device.one("SELECT phone, email FROM account"), (None, "mine@x"))
    equal(c.json("export", "account")[0]["email"], None, "not on the server")


def device_revoke():
    for while_running in (True, False):
        with Company() as c:
            c.start()
            ann = c.device("ann")
            no = c.find("device", login="ann")["device"]
            if while_running:
                cut(c, ann, lambda: c.cmd("device", "revoke", "--device", no),
                    "revoked")
            else:
                c.stop()
                c.cmd("device", "revoke", "--device", no)
                c.start()
                ann.once(ok=4)
            equal(c.find("device", login="ann")["state"], "revoked")
            journal = open(os.path.join(c.dir, "journal", "replicas")).read()
            check(f"revoked {no}" in journal, f"journal: {journal}")
            # The person may have another device.
            again = c.device("ann")
            equal(again.once(), 0)
            c.cmd("device", "revoke", "--device", no)  # twice is fine
            equal(again.once(), 0)


def user_disable():
    with Company() as c:
        c.start()
        ann = c.device("ann")
        cut(c, ann, lambda: c.cmd("user", "disable", "--login", "ann"), "ended")
        equal(c.find("user", login="ann")["active"], False)
        c.fails("invite", "--login", "ann", says="disabled")


def grants_while_connected():
    with Company() as c:
        c.start()
        ann, cid = c.device("ann"), c.device("cid")
        ann.sql("INSERT INTO account(name) VALUES ('A1'), ('A2')")
        ann.sql("INSERT INTO visit(account_id) SELECT id FROM account")
        cid.sql("INSERT INTO account(name) VALUES ('C1')")
        ann.once()
        cid.once()
        cid.start()
        wait_for("connected", lambda: cid.status()["connection"] == "connected")

        def names():
            return [r[0] for r in cid.sql("SELECT name FROM account ORDER BY 1")]

        equal(names(), ["C1"])
        for _ in range(3):
            c.cmd("grant", "add", "--login", "cid", "--territory", "T1")
            no = max(g["grant"] for g in c.json("grant", "list")
                     if g["login"] == "cid")
            wait_for("T1's rows come", lambda: names() == ["A1", "A2", "C1"], 2)
            wait_for("visits too",
                     lambda: cid.one("SELECT count(*) FROM visit") == 2, 2)
            ann.sql("UPDATE account SET phone = coalesce(phone, 0) + 1")
            ann.once()
            wait_for("live", lambda: cid.one(
                "SELECT count(DISTINCT phone) FROM account WHERE name < 'B' "
                "AND phone IS NOT NULL") == 1, 2)
            c.cmd("grant", "remove", "--grant", no)
            wait_for("T1's rows leave", lambda: names() == ["C1"], 2)
            equal(cid.one("SELECT count(*) FROM visit"), 0, "visits too")
        equal(cid.status()["digest"], "equal")
        cid.sql("UPDATE account SET phone = 'still'")
        wait_for("cid still works", lambda: "still" in
                 [r["phone"] for r in c.json("export", "account")])
        check(cid.daemon.alive, "the daemon lives")
        cid.stop()
        c.verify()


def grants_in_time():
    """A grant that begins later, one that is over."""
    with Company() as c:
        c.start()
        ann, cid = c.device("ann"), c.device("cid")
        ann.sql("INSERT INTO account(name) VALUES ('A1')")
        ann.once()
        c.cmd("grant", "add", "--login", "cid", "--territory", "T1",
              "--from", "2099-01-01")
        c.cmd("grant", "add", "--login", "cid", "--territory", "T1",
              "--from", "2020-01-01", "--to", "2021-01-01")
        cid.once()
        equal(cid.sql("SELECT name FROM account"), [], "neither counts today")
        c.cmd("grant", "add", "--login", "cid", "--territory", "T1",
              "--from", "2020-01-01", "--to", "2099-01-01")
        cid.once()
        equal(cid.sql("SELECT name FROM account"), [("A1",)], "this one does")


def account_moves_live():
    with Company() as c:
        c.start()
        ann, cid = c.device("ann"), c.device("cid")
        ann.sql("INSERT INTO account(name) VALUES ('X')")
        ann.sql("INSERT INTO visit(account_id) SELECT id FROM account")
        ann.once()
        ann.start()
        cid.start()
        for d in (ann, cid):
            wait_for("connected",
                     lambda: d.status()["connection"] == "connected")
        for to, there, gone in (("T2", cid, ann), ("T1", ann, cid)):
            c.cmd("account", "move", "--account", "X", "--territory", to)
            for table in ("account", "visit"):
                wait_for(f"{table} arrives", lambda: there.one(
                    f"SELECT count(*) FROM {table}") == 1, 3)
                wait_for(f"{table} leaves", lambda: gone.one(
                    f"SELECT count(*) FROM {table}") == 0, 3)
        c.verify()


# ---- invitations ------------------------------------------------------------


def invitations():
    with Company() as c:
        c.start()
        invite = c.invite("ann")
        check(re.fullmatch(
            r"satchel://127\.0\.0\.1:\d+/[A-Za-z0-9_-]{20,}/[0-9a-f]{64}", invite),
            invite)
        ann = c.device("ann", enroll=False)
        ann.enroll(invite)
        other = c.device("ann", enroll=False)
        done = other.enroll(invite, ok=4)
        check("used" in done.stderr, done.stderr)
        check(invite.split("/")[3] not in done.stderr, "the code is told")
        done = other.enroll(re.sub(r"/[^/]{20,40}/", "/" + "x" * 32 + "/", invite),
                            ok=4)
        check("not known" in done.stderr, done.stderr)
        # Expired: made a day ago.
        late = c.invite("ann")
        c.stop()
        con = sqlite3.connect(os.path.join(c.dir, "satchel.db"))
        con.execute("UPDATE _invite SET expires_ms = expires_ms - 1000*3600*24*60 "
                    "WHERE NOT used")
        con.commit()
        con.close()
        c.start()
        done = other.enroll(late, ok=4)
        check("expired" in done.stderr, done.stderr)
        # Another server answers: not the one that was meant.
        with Company("other") as b:
            b.start()
            wrong = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{b.port}",
                           c.invite("ann"))
            done = other.enroll(wrong, ok=None)
            check(done.returncode != 0 and not os.path.exists(
                os.path.join(other.dir, "device.pem")), done.stderr)
        for bad in ("", "nonsense", "https://x/y/z", "satchel://h/t",
                    "satchel://h:99999/t/" + "0" * 64,
                    "satchel://h:1/t/" + "0" * 63, invite + "0"):
            done = other.enroll(bad or "satchel:", ok=1)
            check("not an invitation" in done.stderr, done.stderr)
        done = other.enroll(
            re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", c.invite("ann")), ok=3)
        check("127.0.0.1:1" in done.stderr, done.stderr)
        # After all that went wrong, the folder still takes a good one.
        other.enroll()
        equal(len(c.json("device", "list")), 2, "devices")
        done = other.enroll(ok=1)
        check("already" in done.stderr, done.stderr)


def default_host_of_invitations():
    with Company() as c:
        for mode in stopped_and_running(c):
            line = c.cmd("invite", "--login", "ann").stdout.strip()
            check(line.startswith("satchel://127.0.0.1:7443/"), f"{mode}: {line}")
            for host, there in (("sales.example.com", "sales.example.com:7443"),
                                ("10.0.0.1:99", "10.0.0.1:99"),
                                ("[::1]:5", "[::1]:5")):
                line = c.cmd("invite", "--login", "ann", "--host", host).stdout
                check(line.startswith(f"satchel://{there}/"), f"{mode}: {line}")
            done = c.cmd("invite", "--login", "ann", "--json").stdout
            check(json.loads(done)["invitation"].startswith("satchel://"), done)


def invitation_after_a_lost_reply():
    """The device is killed after the server answered and before it knew: the
    same invitation with the same key makes the same device."""
    with Company() as c:
        c.start()
        ann = c.device("ann", enroll=False)
        invite = c.invite("ann")
        relay = Relay(c.port)
        through = re.sub(r":\d+/", f":{relay.port}/", invite, count=1)
        ann.enroll(through, ok=3)
        check(relay.answered > 0, "the server did answer")
        equal(len(c.json("device", "list")), 1, "made already")
        check(not os.path.exists(os.path.join(ann.dir, "device.pem")), "cut")
        ann.enroll(invite)
        equal(len(c.json("device", "list")), 1, "the same device")
        equal(ann.once(), 0)
        # And killed at any moment.
        for n in range(12):
            d = c.device("cid", enroll=False)
            invite = c.invite("cid")
            p = Process([DAEMON, "enroll", "--dir", d.dir, invite],
                        d.dir + ".enroll")
            time.sleep(0.005 * n)
            p.kill()
            if os.path.exists(os.path.join(d.dir, "device.pem")):
                equal(d.once(), 0)
            else:
                d.enroll(invite)
            equal(len(c.json("device", "list")), n + 2, f"devices, kill {n}")


class Relay:
    """Passes bytes on until the server has answered with its certificate and
    more; of the answer to ENROL nothing comes back."""

    def __init__(self, port):
        self.answered = 0
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        client, _ = self.listener.accept()
        server = socket.create_connection(("127.0.0.1", self.target))
        server.settimeout(0.5)
        client.settimeout(0.5)
        # Handshake: hello, answer, finished and ENROL, tickets or the answer.
        server.sendall(client.recv(65536))
        hello = b""
        with contextlib.suppress(socket.timeout):
            while True:
                hello += server.recv(65536)
        client.sendall(hello)
        with contextlib.suppress(socket.timeout):
            while True:
                data = client.recv(65536)
                if not data:
                    break
                server.sendall(data)
        with contextlib.suppress(socket.timeout):
            while True:
                data = server.recv(65536)
                if not data:
                    break
                self.answered += len(data)
        client.close()
        server.close()


# ---- import -----------------------------------------------------------------

VISITS = {
    "table": "visit",
    "key": ["no"],
    "columns": {
        "user_id": {
            "from": "rep",
            "lookup": {"table": "user", "column": "login"},
        },
        "account_id": {
            "from": "shop",
            "lookup": {"table": "account", "column": "name"},
        },
        "territory_id": {
            "from": "patch",
            "lookup": {"table": "territory", "column": "code"},
        },
        "notes": {"from": "notes"},
        "started_at": {"from": "at"},
    },
}
SHOPS = {
    "table": "account",
    "key": ["shop"],
    "columns": {
        "name": {"from": "shop"},
        "territory_id": {
            "from": "patch",
            "lookup": {"table": "territory", "column": "code"},
        },
    },
}


def write_files(c, visits, shops=500):
    """Two maps and two CSV files of so many visits to so many shops."""
    at = {}
    for name, value in (("visits", VISITS), ("shops", SHOPS)):
        at[name] = os.path.join(c.top, name + ".json")
        with open(at[name], "w") as f:
            json.dump(value, f)
    at["shops.csv"] = os.path.join(c.top, "shops.csv")
    with open(at["shops.csv"], "w") as f:
        f.write("shop,patch\n")
        f.writelines(f"店{n},T{1 + n % 2}\n" for n in range(shops))
    at["visits.csv"] = os.path.join(c.top, "visits.csv")
    with open(at["visits.csv"], "w") as f:
        f.write("no,rep,shop,patch,notes,at\n")
        f.writelines(
            f"{n},ann,店{n % shops},T{1 + n % shops % 2},\"note {n}, more\","
            f"2026-{1 + n % 12:02}-{1 + n % 28:02} 10:00\n"
            for n in range(visits)
        )
    return at


def words_of(done):
    m = re.match(r"(\d+) written, (\d+) unchanged, (\d+) refused", done.stdout)
    check(m, done.stdout + done.stderr)
    return tuple(int(x) for x in m.groups())


def import_again_after_a_cut():
    visits = 20000
    with Company() as c:
        at = write_files(c, visits)
        equal(words_of(c.cmd("import", "--map", at["shops"], at["shops.csv"])),
              (500, 0, 0))
        for mode in stopped_and_running(c):
            p = subprocess.Popen(
                [SERVER, "import", "--dir", c.dir, "--map", at["visits"],
                 at["visits.csv"]], stdout=subprocess.DEVNULL,
            )
            before = c.sql("SELECT count(*) FROM visit")[0][0]
            if mode == "stopped":
                wait_for("some lines", lambda: c.sql(
                    "SELECT count(*) FROM visit")[0][0] > before)
            p.kill()
            p.wait()
            done = words_of(c.cmd("import", "--map", at["visits"],
                                  at["visits.csv"]))
            equal(done[0] + done[1], visits, "each line once")
            equal(done[2], 0, "refused")
            check(done[1] > 0, f"the cut import left nothing: {done}")
            equal(c.sql("SELECT count(*) FROM visit")[0][0], visits)
            equal(words_of(c.cmd("import", "--map", at["visits"],
                                 at["visits.csv"])), (0, visits, 0), "again")
        c.verify()


def import_speed():
    """100,000 lines; the line of figures is for people, the floor is far
    below what any machine that works does."""
    lines = 100000
    with Company() as c:
        at = write_files(c, lines)
        c.cmd("import", "--map", at["shops"], at["shops.csv"])
        for what in ("first", "again"):
            began = time.monotonic()
            done = words_of(c.cmd("import", "--map", at["visits"],
                                  at["visits.csv"], timeout=300))
            took = time.monotonic() - began
            rate = lines / took
            print(f"  import, {what}: {rate:,.0f} lines/s")
            equal(done[0] + done[1], lines)
            check(rate * PATIENCE > 3000, f"only {rate:.0f} lines/s")
        # A column that finds nothing must not read the table for each line.
        with open(at["visits.csv"]) as f:
            text = f.read().splitlines()[:5001]
        with open(at["visits.csv"], "w") as f:
            f.write("\n".join(x.replace("店", "厂", 1) for x in text) + "\n")
        began = time.monotonic()
        done = words_of(c.cmd("import", "--map", at["visits"],
                              at["visits.csv"], ok=1))
        rate = 5000 / (time.monotonic() - began)
        print(f"  import, all refused: {rate:,.0f} lines/s")
        equal(done, (0, 0, 5000))
        check(rate * PATIENCE > 2000, f"only {rate:.0f} refused lines/s")


def imported_rows_reach_devices():
    with Company() as c:
        at = write_files(c, 3000, 50)
        c.start()
        ann = c.device("ann").start()
        wait_for("connected", lambda: ann.status()["connection"] == "connected")
        c.cmd("import", "--map", at["shops"], at["shops.csv"])
        c.cmd("import", "--map", at["visits"], at["visits.csv"])
        wait_for("visits of T1", lambda: ann.one(
            "SELECT count(*) FROM visit") == 1500)
        wait_for("digest", lambda: ann.status()["digest"] == "equal")
        with open(at["shops.csv"], "w") as f:
            f.write("shop,patch\n店0,T2\n店1,T9\n,T1\n")
        done = c.cmd("import", "--map", at["shops"], at["shops.csv"], ok=1)
        equal(words_of(done), (1, 0, 2))
        rejects = list(csv.reader(open(at["shops.csv"] + ".reject.csv")))
        equal([r[0] for r in rejects], ["line", "3", "4"])
        equal(rejects[1][2:], ["店1", "T9"])
        check("T9" in rejects[1][1], rejects[1][1])
        wait_for("店0 left ann", lambda: ann.one(
            "SELECT count(*) FROM account WHERE name = '店0'") == 0)
        # Nothing refused: no file of an earlier run may say otherwise.
        with open(at["shops.csv"], "w") as f:
            f.write("shop,patch\n店0,T2\n")
        c.cmd("import", "--map", at["shops"], at["shops.csv"])
        check(not os.path.exists(at["shops.csv"] + ".reject.csv"), "stale rejects")
        c.verify()


def everything_is_in_the_audit():
    with Company() as c:
        c.cmd("grant", "add", "--login", "ann", "--territory", "T2")
        c.cmd("invite", "--login", "ann")
        c.cmd("user", "disable", "--login", "cid")
        told = {what: json.loads(detail) for what, detail in c.sql(
            "SELECT what, detail FROM _audit ORDER BY no")}
        for what in ("territory add", "user add", "grant add", "invite",
                     "user disable"):
            check(what in told, f"no audit record of {what}: {sorted(told)}")
        equal(told["user disable"], {"login": "cid"})
        equal(told["grant add"], {"login": "ann", "territory": "T2"})
        before = c.sql("SELECT count(*) FROM _audit")
        c.fails("user", "disable", "--login", "nobody")
        c.cmd("user", "list")
        equal(c.sql("SELECT count(*) FROM _audit"), before)


main(
    [
        help_and_usage,
        usage_errors,
        same_results_stopped_and_running,
        exports_are_whole_and_parse,
        status_tells,
        the_log_is_folded_in,
        config_is_checked,
        everything_is_in_the_audit,
        wrong_folders,
        newer_database,
        port_in_use,
        silent_lock_holder,
        a_server_that_does_not_answer,
        the_socket,
        long_and_relative_paths,
        another_user_is_refused,
        killed_server,
        commands_at_once,
        stop_waits,
        sigterm_drains_a_push,
        sighup_reloads,
        device_revoke,
        user_disable,
        grants_while_connected,
        grants_in_time,
        account_moves_live,
        invitations,
        default_host_of_invitations,
        invitation_after_a_lost_reply,
        import_again_after_a_cut,
        import_speed,
        imported_rows_reach_devices,
    ]
)
