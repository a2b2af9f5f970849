"""A replica over the years: what is kept and what goes, a damaged file, and
rows that were changed behind the triggers' back.
"""
# timeout: 200

import fcntl
import os
import pty
import re
import struct
import subprocess
import threading
import time

from harness import DAEMON, Org, check, equal, main, run, same_content, wait_for

DAY = 86400 * 1000


class Company(Org):
    def __enter__(self):
        super().__enter__()
        self.territory("CN", "nation")
        self.territory("T1", "patch", "CN")
        self.user("ann", "rep", "T1")
        self.user("hugo", "hq", "CN")
        self.start()
        self.ann, self.hugo = self.device("ann"), self.device("hugo")
        db = self.ann.connect()
        db.execute("BEGIN")
        db.executemany(
            "INSERT INTO account(name, address) VALUES (?, ?)",
            ((f"shop {n}", f"street {n} " * 20) for n in range(2000)),
        )
        db.execute("COMMIT")
        db.close()
        equal(self.ann.once(), 0, "ann: rejected")
        equal(self.hugo.once(), 0, "hugo: rejected")
        return self


def on_a_terminal(command):
    """Exit code and all that the command wrote to its terminal's stderr."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    process.stdout.read()
    return process.wait(60), seen.decode()


def first_data_shows_how_far_it_is():
    with Company() as org:
        folder = os.path.join(org.top, "device-new")
        code, seen = on_a_terminal(
            [DAEMON, "enroll", "--dir", folder, org.invite("hugo")]
        )
        equal(code, 0, seen)
        percent = [int(p) for p in re.findall(r"(\d+) %", seen)]
        check(len(percent) > 2, f"a bar that moves: {seen!r}")
        equal(percent, sorted(percent), "it never goes back")
        check(0 < percent[0] < 100 and percent[-1] == 100, f"{percent}")
        # With everything there it has nothing to show.
        code, seen = on_a_terminal([DAEMON, "run", "--dir", folder, "--once"])
        equal((code, seen), (0, ""), "no bar")


def once_counts_what_it_did():
    with Company() as org:
        ann = org.ann
        once = [DAEMON, "run", "--dir", ann.dir, "--once"]
        for n in range(2):
            ann.sql("UPDATE account SET phone = ? WHERE name = 'shop 1'", (str(n),))
            equal(run(once).stdout, "done: 1 confirmed, 0 rejected\n")
        ann.start()
        wait_for("the daemon answers", lambda: run(once).returncode == 0)
        equal(run(once).stdout, "done: 0 confirmed, 0 rejected\n")


def changes_are_counted_alike_before_and_after():
    """Gathered or not, sent or not: a person counts rows that she changed."""
    with Company() as org:
        ann = org.ann

        def counts():
            s = ann.status()
            return [s[k] - was[k] for k in ("saved", "confirmed", "waiting")]

        was = dict.fromkeys(("saved", "confirmed", "waiting"), 0)
        was = ann.status()
        org.stop()
        ann.sql("UPDATE account SET phone = '1' WHERE name < 'shop 11'")
        n = ann.one("SELECT count(*) FROM account WHERE phone = '1'")
        check(n > 5, f"{n} rows")
        equal(counts(), [n, 0, n], "written, no daemon")
        ann.once(ok=3, timeout=1)
        equal(ann.status()["pending_rows"], 0, "gathered")
        equal(counts(), [n, 0, n], "gathered, no server")
        ann.start()
        ann.sql("UPDATE account SET phone = '2' WHERE name = 'shop 1'")
        wait_for("gathered", lambda: ann.status()["pending_rows"] == 0)
        equal(counts(), [n + 1, 0, n + 1], "written beside the daemon")
        org.start()
        wait_for("confirmed", lambda: counts() == [n + 1, n + 1, 0])
        equal(ann.status()["missing"], 0, "missing")
        check(f"{ann.status()['saved']} saved here" in ann.cli("status").stdout, "said")


def once_waits_for_whoever_has_the_folder():
    """Longer than a daemon needs that has just started; and one that ends
    without having listened leaves the work to the one that waits."""
    with Company() as org:
        ann = org.ann
        ann.sql("UPDATE account SET phone = '7' WHERE name = 'shop 1'")
        with open(os.path.join(ann.dir, "lock"), "r+b") as lock:
            F_OFD_SETLK = 37
            whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            fcntl.fcntl(lock, F_OFD_SETLK, whole)
            done = []
            waits = threading.Thread(target=lambda: done.append(ann.once()))
            waits.start()
            time.sleep(11)
            check(waits.is_alive(), "it waits")
        waits.join()
        equal(done, [0], "rejected")
        equal(org.sql("SELECT phone FROM account WHERE name = 'shop 1'"), [("7",)])


def outbox(device):
    return [r[0] for r in device.sql("SELECT seq FROM _satchel_outbox ORDER BY seq")]


def confirmed_changesets_go_after_their_time():
    with Company() as org:
        ann = org.ann
        for n in range(3):
            ann.sql("UPDATE account SET phone = ? WHERE name = 'shop 1'", (str(n),))
            equal(ann.once(), 0, "rejected")
        equal(outbox(ann), [1, 2, 3, 4], "kept, to refill a restored server")
        # Two of them were confirmed forty days ago; one more waits unsent.
        ann.sql("UPDATE _satchel_outbox SET ms = ms - ? WHERE seq <= 2", (40 * DAY,))
        org.stop()
        ann.sql("UPDATE account SET phone = 'waits' WHERE name = 'shop 1'")
        ann.once(ok=3, timeout=1)
        ann.sql("UPDATE _satchel_outbox SET ms = ms - ? WHERE seq = 5", (40 * DAY,))
        ann.start()
        wait_for("the old ones are gone", lambda: outbox(ann) == [3, 4, 5])
        equal(ann.stop(), 0, "clean stop")
        org.start()
        # The chain goes on from what is left.
        equal(ann.once(), 0, "rejected")
        equal(org.sql("SELECT phone FROM account WHERE name = 'shop 1'"), [("waits",)])
        org.verify()


def damage(path):
    """Garbage over the middle of the file, as a bad card leaves it; the
    first pages, which say what the file is, stay."""
    size = os.path.getsize(path)
    with open(path, "r+b") as f:
        for at in range(size // 4, size * 3 // 4, 4096 * 8):
            f.seek(at)
            f.write(os.urandom(4096))


def a_damaged_file_is_rescued():
    """The daemon died, the file is damaged: what was not sent is saved from
    it, everything else is fetched again."""
    with Company() as org:
        ann = org.ann
        ann.start()
        wait_for("connected", lambda: ann.status()["connection"] == "connected")
        ann.kill()
        ann.sql("UPDATE account SET phone = 'unsent' WHERE name = 'shop 7'")
        ann.sql("INSERT INTO visit(account_id, notes) SELECT id, 'unsent' FROM "
                "account WHERE name = 'shop 7'")
        ann.sql("PRAGMA wal_checkpoint(TRUNCATE)")
        damage(ann.db)
        check(ann.one("PRAGMA quick_check(1)") != "ok", "it is damaged")
        done = run([DAEMON, "run", "--dir", ann.dir, "--once", "--timeout", "60"])
        check("damaged" in done.stderr, f"it says so: {done.stderr}")
        equal(ann.one("PRAGMA quick_check"), "ok", "a sound file again")
        equal(
            org.sql("SELECT notes FROM visit"), [("unsent",)], "the unsent visit"
        )
        equal(
            org.sql("SELECT phone FROM account WHERE name = 'shop 7'"), [("unsent",)]
        )
        org.hugo.once()
        n = same_content([ann, org.hugo], "account", "id, name, address, phone")
        equal(n, 2000, "fetched again")
        equal(ann.status()["digest"], "equal", "digest")
        # It works on: the triggers are there, ids and chain go on.
        ann.sql("UPDATE account SET phone = 'later' WHERE name = 'shop 8'")
        equal(ann.once(), 0, "rejected")
        equal(
            org.sql("SELECT phone FROM account WHERE name = 'shop 8'"), [("later",)]
        )
        org.verify()


def a_lost_certificate_costs_nothing():
    """Without device.pem a folder looks as if an enrolment was cut. What was
    written there must not make room for a new one."""
    with Company() as org:
        ann = org.ann
        ann.once()
        ann.sql("UPDATE account SET phone = 'unsent' WHERE name = 'shop 7'")
        pem = os.path.join(ann.dir, "device.pem")
        os.rename(pem, pem + ".lost")
        done = run([DAEMON, "run", "--dir", ann.dir, "--once"], ok=5)
        check("device.pem is missing" in done.stderr, done.stderr)
        done = ann.enroll(ok=1)
        check("satchel rescue" in done.stderr, f"what to do: {done.stderr}")
        os.rename(pem + ".lost", pem)
        equal(ann.once(), 0, "rejected")
        equal(
            org.sql("SELECT phone FROM account WHERE name = 'shop 7'"), [("unsent",)]
        )


def rows_changed_behind_the_triggers():
    """Not an edit, so it must not travel; verify finds it."""
    with Company() as org:
        ann = org.ann
        check("0 differ" in ann.cli("verify").stdout, "sound before")
        ann.script(
            "INSERT INTO _satchel_guard DEFAULT VALUES;"
            "UPDATE account SET phone = 'bit rot' WHERE name = 'shop 3';"
            "DELETE FROM _satchel_guard"
        )
        done = ann.cli("verify", ok=1)
        check("1 differ" in done.stdout, f"found: {done.stdout}")
        ann.once()
        equal(
            org.sql("SELECT phone FROM account WHERE name = 'shop 3'"),
            [(None,)],
            "damage does not travel",
        )


main(
    [
        first_data_shows_how_far_it_is,
        once_counts_what_it_did,
        changes_are_counted_alike_before_and_after,
        once_waits_for_whoever_has_the_folder,
        confirmed_changesets_go_after_their_time,
        a_damaged_file_is_rescued,
        a_lost_certificate_costs_nothing,
        rows_changed_behind_the_triggers,
    ]
)
