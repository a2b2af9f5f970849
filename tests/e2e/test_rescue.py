"""What a device has not sent is taken out of it, damaged or not, and taken in
by the server under a new replica id."""
# timeout: 300

import json
import os
import uuid

from harness import CLI, SERVER, Org, check, equal, main, run, wait_for


class Company(Org):
    def __enter__(self):
        super().__enter__()
        self.territory("CN", "nation")
        self.territory("EAST", "region", "CN")
        self.territory("T1", "patch", "EAST")
        self.user("ann", "rep", "T1")
        self.user("bob", "rep", "T1")
        self.user("mia", "manager", "EAST")
        self.start()
        return self

    def adopt(self, file, login="ann", **kw):
        return self.cmd("adopt", file, "--login", login, "--json", **kw)


def rescue(c, d, name="out.rescue", ok=0):
    out = os.path.join(c.top, name)
    done = run([CLI, "rescue", d.dir, out, "--json", "--lang", "en"], ok=ok)
    return (out, json.loads(done.stdout)) if ok == 0 else (out, done)


def folder(d):
    return {n: os.stat(os.path.join(d.dir, n)).st_size for n in os.listdir(d.dir)}


def work(c):
    """Ann has synced work, then unsent changesets that build on each other,
    then edits that are only captured; Bob edits the same account."""
    ann, bob = c.device("ann"), c.device("bob")
    ann.sql("INSERT INTO account(name, phone) VALUES ('X', '100')")
    ann.once()
    bob.once()
    x = ann.one("SELECT id FROM account")
    c.kill()
    ann.sql("UPDATE account SET name='Ann 1'")
    ann.once(ok=None, timeout=1)
    ann.sql("UPDATE account SET name='Ann 2', phone='111'")
    ann.sql("INSERT INTO visit(account_id, notes) VALUES (?, 'tea')", (x,))
    ann.once(ok=None, timeout=1)
    equal(ann.status()["outbox"], 2, "unsent changesets")
    ann.sql("INSERT INTO task(account_id, title) VALUES (?, 'call')", (x,))
    bob.sql("UPDATE account SET email='b@x'")
    c.start()
    bob.once()
    return ann, bob, x


def shows_all(c, d):
    d.once()
    equal(
        d.sql("SELECT name, phone, email FROM account"),
        [("Ann 2", "111", "b@x")],
        "both people's edits, and no conflict of Ann with herself",
    )
    equal(d.sql("SELECT notes FROM visit"), [("tea",)])
    equal(d.sql("SELECT title FROM task"), [("call",)])
    equal(d.sql("SELECT * FROM conflict"), [])
    equal(d.sql("SELECT * FROM satchel_siblings"), [])
    c.verify()


def a_sound_replica():
    with Company() as c:
        ann, bob, _ = work(c)
        before = folder(ann)
        out, said = rescue(c, ann)
        equal((said["changesets"], said["damaged"]), (3, False))
        equal(folder(ann), before, "the folder is as it was")
        got = json.loads(c.adopt(out).stdout)
        equal((got["adopted"], got["known"], got["verdicts"]), (3, 0, []))
        shows_all(c, bob)
        again, _ = rescue(c, ann, ok=1)
        check(os.path.exists(again), "an existing file is not written over")
        # The person goes on with a new device.
        shows_all(c, c.device("ann"))


def a_damaged_replica():
    with Company() as c:
        ann, bob, _ = work(c)
        size = os.path.getsize(ann.db)
        with open(ann.db, "r+b") as f:
            f.seek(size // 2 // 4096 * 4096)
            f.write(os.urandom(4096))
        c2 = ann.connect()
        try:
            ok = c2.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
        except Exception:
            ok = False
        finally:
            c2.close()
        if ok:  # a free page: hit the table of rows itself
            with open(ann.db, "r+b") as f:
                f.seek(size - 4096)
                f.write(b"\xff" * 4096)
        out, said = rescue(c, ann)
        check(said["changesets"] >= 2, f"the outbox came out: {said}")
        got = json.loads(c.adopt(out).stdout)
        equal(got["adopted"], said["changesets"])
        bob.once()
        equal(bob.one("SELECT name, phone FROM account"), ("Ann 2", "111"))
        c.verify()


def what_the_server_has_is_not_taken_twice():
    """The verdict was lost with the device: the file holds what the server
    has applied."""
    with Company() as c:
        ann, bob, _ = work(c)
        out, _ = rescue(c, ann)
        ann.once()
        got = json.loads(c.adopt(out).stdout)
        equal((got["adopted"] + got["known"], got["known"] >= 2), (3, True))
        bob.once()
        equal(bob.sql("SELECT name, phone FROM account"), [("Ann 2", "111")])
        equal(bob.sql("SELECT notes FROM visit"), [("tea",)])
        equal(bob.sql("SELECT title FROM task"), [("call",)])
        c.verify()


def refusals_are_sentences():
    with Company() as c:
        ann = c.device("ann")
        ann.once()
        ann.sql("INSERT INTO visit(account_id) VALUES (?)", (str(uuid.uuid4()),))
        out, said = rescue(c, ann)
        got = json.loads(c.adopt(out).stdout)
        equal([r["verdict"] for r in got["verdicts"]], ["rejected"])
        check("does not exist" in got["verdicts"][0]["why"], got)
        check("no user" in c.adopt(out, login="zoe", ok=1).stderr, "who?")
        bad = os.path.join(c.top, "bad")
        for text in ("", "{}\n", '{"satchel_rescue":1}\n', "nonsense\n"):
            with open(bad, "w") as f:
                f.write(text)
            done = c.adopt(bad, ok=1)
            check("satchel-server adopt:" in done.stderr, (text, done.stderr))
        with open(out) as f:
            lines = f.read().splitlines()
        with open(bad, "w") as f:
            f.write(lines[0] + "\n" + lines[1][: len(lines[1]) // 2])
        check("cut" in c.adopt(bad, ok=1).stderr, "a file that was cut")
        empty = os.path.join(c.top, "empty")
        os.mkdir(empty)
        done = run([CLI, "rescue", empty, bad + "2", "--lang", "zh"], ok=1)
        check("没有本地数据" in done.stderr, done.stderr)
        equal(os.listdir(empty), [])
        check(not os.path.exists(bad + "2"), "no file of nothing")
        left = [n for n in os.listdir(c.top) if ".copy-" in n or n.startswith("bad2")]
        equal(left, [], "nothing is left behind")
        ann.start()
        wait_for("a daemon", lambda: ann.status()["daemon"])
        _, busy = rescue(c, ann, "busy", ok=75)
        check("kill" in busy.stderr, busy.stderr)
        equal(run([SERVER, "adopt", "--help"]).returncode, 0)
        c.verify()


main(
    [
        a_sound_replica,
        a_damaged_replica,
        what_the_server_has_is_not_taken_twice,
        refusals_are_sentences,
    ]
)
