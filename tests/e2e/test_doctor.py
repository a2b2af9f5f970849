"""satchel doctor and satchel-server doctor: quiet on a sound system, one
sentence and one command for what was broken on purpose."""
# timeout: 300

import json
import os
import stat

from harness import CLI, SERVER, Org, check, equal, main, run, wait_for


class Company(Org):
    def __enter__(self):
        super().__enter__()
        self.territory("CN", "nation")
        self.user("ann", "rep", "CN")
        self.start()
        return self


def findings(d, *words, lang="en"):
    done = d.cli("doctor", "--json", "--lang", lang, *words, ok=None)
    found = json.loads(done.stdout)
    equal(done.returncode, 1 if found else 0, "exit code")
    for f in found:
        check(f["finding"] and f["command"], f)
    return {f["check"]: f for f in found}


def a_sound_device_and_what_breaks_it():
    with Company() as c:
        ann = c.device("ann")
        ann.once()
        equal(set(findings(ann)), {"daemon"}, "no daemon")
        ann.start()
        wait_for("connected", lambda: ann.status()["connection"] == "connected")
        equal(findings(ann), {})
        check("all is well" in ann.cli("doctor", "--lang", "en").stdout, "well")
        check("一切正常" in ann.cli("doctor", "--lang", "zh").stdout, "好")
        # The server goes away: reachability, as the daemon sees it.
        c.kill()
        wait_for("cut", lambda: ann.status()["connection"] != "connected")
        check("server" in findings(ann), "reachability")
        ann.kill()
        # The clock, the key, the certificate.
        ann.sql("UPDATE _satchel_kv SET v=? WHERE k='offset_ms'",
                (3600 * 1000,))
        found = findings(ann)
        check("60 minutes" in found["clock"]["finding"], found)
        check("时钟" in findings(ann, lang="zh")["clock"]["finding"], "zh")
        key = os.path.join(ann.dir, "device.key")
        os.chmod(key, 0o644)
        equal(findings(ann)["key"]["command"], f"chmod 600 {key}")
        os.remove(os.path.join(ann.dir, "device.pem"))
        check("certificate" in findings(ann), "certificate")
        with open(ann.db + "-wal", "wb") as f:
            f.truncate(65 * 1024 * 1024)
        check("wal" in findings(ann), "wal")
        for tail in ("-wal", "-shm"):
            if os.path.exists(ann.db + tail):
                os.remove(ann.db + tail)
        # A file that is no database any more.
        with open(ann.db, "r+b") as f:
            f.write(b"x" * 8192)
        found = findings(ann)
        check("rescue" in found["integrity"]["command"], found)
        os.remove(ann.db)
        check("enroll" in findings(ann)["integrity"]["command"], "empty")
        equal(run([CLI, "doctor", "--help"]).returncode, 0)


def server_findings(c):
    done = c.cmd("doctor", "--json", ok=None)
    rows = json.loads(done.stdout)
    equal(done.returncode, 1 if rows else 0, "exit code")
    return {r["check"]: r for r in rows}


def a_sound_server_and_what_breaks_it():
    with Company() as c:
        c.cmd("config", "--check")
        conf = os.path.join(c.dir, "server.conf")
        with open(conf) as f:
            text = f.read()

        def advertise(where, again=""):
            lines = [
                f"advertise = {where}" if x.startswith("advertise") else x
                for x in text.splitlines()
            ]
            with open(conf, "w") as f:
                f.write("\n".join(lines) + "\n" + again)

        c.stop()
        equal(set(server_findings(c)), {"server"}, "not running")
        advertise("127.0.0.1:1", "advertise = 127.0.0.1:2\n")
        found = server_findings(c)
        check("set twice" in found["settings"]["finding"], found)
        advertise(f"127.0.0.1:{c.port}")
        c.start()
        equal(server_findings(c), {})
        check("all is well" in c.cmd("doctor").stdout, "well")
        key = os.path.join(c.dir, "ca.key")
        os.chmod(key, 0o640)
        equal(server_findings(c)["key"]["command"], f"chmod 600 {key}")
        os.chmod(key, stat.S_IRUSR | stat.S_IWUSR)
        os.rename(os.path.join(c.dir, "ca.pem"), os.path.join(c.dir, "x"))
        check("ca.pem" in server_findings(c)["certificate"]["finding"], "ca")
        os.rename(os.path.join(c.dir, "x"), os.path.join(c.dir, "ca.pem"))
        c.stop()
        # Nobody answers where invitations lead.
        advertise("127.0.0.1:1")
        c.start()
        found = server_findings(c)
        check("127.0.0.1:1" in found["reachability"]["finding"], found)
        c.stop()
        with open(os.path.join(c.dir, "satchel.db"), "r+b") as f:
            f.seek(4096 * 2)
            f.write(os.urandom(4096 * 20))
        check("integrity" in server_findings(c), "damage")
        equal(run([SERVER, "doctor", "--help"]).returncode, 0)


main([a_sound_device_and_what_breaks_it, a_sound_server_and_what_breaks_it])
