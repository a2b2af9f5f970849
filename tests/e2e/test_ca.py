"""The organisation's CA is replaced while devices come and go. Both CAs are
trusted until everybody has been here; then the old one is good for nothing.
"""
# timeout: 200

import json
import os
import shutil
import subprocess

from harness import DAEMON, Org, check, equal, main, run, wait_for


class Company(Org):
    def __enter__(self):
        super().__enter__()
        self.territory("CN", "nation")
        self.territory("T1", "patch", "CN")
        for login in ("ann", "bob", "eve"):
            self.user(login, "rep", "T1")
        self.start()
        return self

    def path(self, *names):
        return os.path.join(self.dir, *names)


def openssl(*words, ok=0):
    done = subprocess.run(["openssl", *words], capture_output=True, text=True)
    check(ok is None or done.returncode == ok, done.stderr)
    return done


def signed_by(ca, pem):
    """Does that CA, and no other, vouch for the certificate?"""
    done = openssl("verify", "-no-CAfile", "-no-CApath", "-CAfile", ca, pem,
                   ok=None)
    return done.returncode == 0


def cas(d):
    with open(os.path.join(d.dir, "ca.pem")) as f:
        return f.read().count("BEGIN CERTIFICATE")


def pem(d):
    return os.path.join(d.dir, "device.pem")


def findings(c):
    done = c.cmd("doctor", "--json", ok=None)
    return {r["check"]: r for r in json.loads(done.stdout)}


def one_device_here_one_away():
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        equal(c.json("ca", "status")["state"], "one CA")
        ann.start()
        wait_for("ann is connected",
                 lambda: ann.status()["connection"] == "connected")
        pid = c.process.p.pid
        old = c.path("ca.pem")
        shutil.copy(old, c.path("kept.pem"))
        c.cmd("ca", "rollover")
        next_ca = c.path("ca.next.pem")
        # ann is connected: she learns of both within moments, by herself.
        wait_for("ann's certificate is of the new CA",
                 lambda: signed_by(next_ca, pem(ann)))
        equal(cas(ann), 2, "ann trusts both")
        wait_for("the server knows",
                 lambda: c.json("ca", "status")["ready"] == 1)
        check(not signed_by(next_ca, pem(bob)), "bob was not here")
        state = c.json("ca", "status")
        equal((state["devices"], state["ready"]), (2, 1))
        equal([w["login"] for w in state["waiting"]], ["bob"])
        check("bob" in c.cmd("ca", "status").stdout, "named for people too")
        check("1 of 2" in findings(c)["rollover"]["finding"], findings(c))
        # Not while bob would be left behind; nothing has changed then.
        refused = c.cmd("ca", "finish", ok=1)
        check("(bob)" in refused.stderr, refused.stderr)
        check(os.path.exists(next_ca), "still both")
        # A start in the middle, and asking twice.
        c.stop()
        c.start()
        c.cmd("ca", "rollover")
        check(c.process.p.pid != pid, "another process")
        # A device that enrols now begins with the new one.
        eve = c.device("eve")
        check(signed_by(next_ca, pem(eve)), "eve")
        equal(cas(eve), 2)
        # bob was away all the time; one ordinary sync is enough.
        bob.sql("INSERT INTO account(name) VALUES ('from bob')")
        equal(bob.once(), 0)
        check(signed_by(next_ca, pem(bob)), "bob's is of the new CA")
        equal(cas(bob), 2)
        wait_for("ann is back",
                 lambda: c.json("ca", "status")["ready"] == 3)
        equal(findings(c)["rollover"]["command"], "satchel-server ca finish")
        stale = c.invite("ann")
        done = c.cmd("ca", "finish")
        check("invitation" in done.stdout, done.stdout)
        check(not os.path.exists(next_ca), "one again")
        check(signed_by(old, c.path("server.pem")), "and the server shows it")
        check(not signed_by(c.path("kept.pem"), c.path("server.pem")), "only")
        equal(c.json("ca", "status")["state"], "one CA")
        check("rollover" not in findings(c), "all is well")
        for d in (bob, eve):
            d.sql("INSERT INTO account(name) VALUES (?)", (d.login,))
            equal(d.once(), 0, "after it, " + d.login)
        wait_for("ann sees them all",
                 lambda: ann.one("SELECT count(*) FROM account") == 3)
        # Whom nobody has used names a CA that is gone.
        other = os.path.join(c.top, "late")
        late = run([DAEMON, "enroll", "--dir", other, stale], ok=None)
        check(late.returncode != 0, "a stale invitation")
        c.device("ann")
        c.verify()


def a_device_left_behind_is_refused_cleanly():
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        was = {}
        for name in ("device.pem", "ca.pem"):
            with open(os.path.join(ann.dir, name)) as f:
                was[name] = f.read()
        c.cmd("ca", "rollover")
        equal(ann.once(), 0)
        equal(c.json("ca", "status")["ready"], 1)
        c.cmd("ca", "finish", "--force")
        # bob trusts only the old one: he does not even talk to this server.
        bob.sql("INSERT INTO account(name) VALUES ('mine')")
        done = run([DAEMON, "run", "--dir", bob.dir, "--once", "--timeout",
                    "3"], ok=None)
        check(done.returncode in (3, 4), done)
        check("certificate" in done.stderr, done.stderr)
        equal(bob.one("SELECT name FROM account"), "mine", "nothing is lost")
        # ann with a certificate of the old CA, though she trusts the new one:
        # the server refuses it, and is well.
        now = {}
        for name, text in was.items():
            path = os.path.join(ann.dir, name)
            with open(path) as f:
                now[name] = f.read()
        with open(pem(ann), "w") as f:
            f.write(was["device.pem"])
        done = run([DAEMON, "run", "--dir", ann.dir, "--once", "--timeout",
                    "3"], ok=None)
        check(done.returncode in (3, 4), done)
        with open(pem(ann), "w") as f:
            f.write(now["device.pem"])
        equal(ann.once(), 0, "with her own it is as ever")
        check(c.process.alive, "the server lives")
        # What bob holds comes in as any rescued work does.
        out = os.path.join(c.top, "bob.rescue")
        bob.cli("rescue", bob.dir, out)
        c.cmd("adopt", "--login", "bob", out)
        ann.once()
        equal(ann.one("SELECT name FROM account"), "mine")


def a_cut_while_it_is_finished():
    """Each state that a power cut can leave is taken to its end."""
    steps = ("ca.next.key", "ca.next.pem", "server.next.pem")
    to = ("ca.key", "ca.pem", "server.pem")
    for done in range(3):
        with Company() as c:
            ann = c.device("ann")
            c.cmd("ca", "rollover")
            equal(ann.once(), 0)
            c.stop()
            copy = os.path.join(c.top, "copy")
            shutil.copytree(c.dir, copy)
            c.cmd("ca", "finish")  # makes the server's new certificate
            new = c.path("server.pem")
            shutil.copy(new, os.path.join(copy, "server.next.pem"))
            shutil.rmtree(c.dir)
            os.rename(copy, c.dir)
            for a, b in list(zip(steps, to))[:done]:
                os.rename(c.path(a), c.path(b))
            c.start()
            for a in steps:
                check(not os.path.exists(c.path(a)), f"{done}: {a} is left")
            equal(c.json("ca", "status")["state"], "one CA")
            check(signed_by(c.path("ca.pem"), c.path("server.pem")), done)
            equal(ann.once(), 0, f"after {done} steps")


def the_doctor_counts_the_days():
    with Company() as c:
        c.stop()
        conf = c.path("server.conf")
        with open(conf) as f:
            lines = [x for x in f if not x.startswith("advertise")]
        with open(conf, "w") as f:
            f.writelines(lines + [f"advertise = 127.0.0.1:{c.port}\n"])
        c.start()
        check("CA lasts for 36" in c.cmd("doctor").stdout, "ten years")
        ca, short = c.path("ca.pem"), c.path("short.pem")
        openssl("x509", "-in", ca, "-signkey", c.path("ca.key"), "-days",
                "40", "-out", short)
        os.rename(short, ca)
        found = findings(c)["certificate"]
        check("ends in 39 days" in found["finding"] or
              "ends in 40 days" in found["finding"], found)
        equal(found["command"], "satchel-server ca rollover")
        c.cmd("ca", "rollover")
        check("certificate" not in findings(c), "it is being replaced")
        check("0 of 0" in findings(c)["rollover"]["finding"], findings(c))


main([
    one_device_here_one_away,
    a_device_left_behind_is_refused_cleanly,
    a_cut_while_it_is_finished,
    the_doctor_counts_the_days,
])
