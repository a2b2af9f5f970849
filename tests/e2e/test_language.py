"""People read their own language, whichever program speaks and wherever the
sentence was made: every line that is not data has Chinese in a Chinese
environment, and none in an English one. And what an empty list, a refusal or a
wrong word says."""
# timeout: 200

import json
import os
import re
import socket
import sqlite3

from harness import CLI, DAEMON, Org, SERVER, check, equal, main, run, wait_for

ZH = {"LC_ALL": "zh_CN.UTF-8"}
EN = {"LC_ALL": "C.UTF-8"}
CJK = re.compile("[\u4e00-\u9fff]")


def chinese(words, ok=0, **kw):
    """Run in a Chinese environment. Each line on stderr, and on stdout each
    that is not data, says something in Chinese."""
    done = run(words, ok=ok, env=ZH, **kw)
    check(done.stdout + done.stderr, f"{words}: nothing was said")
    for line in done.stderr.splitlines():
        if line.startswith("  --json "):  # an option with its help
            line = line[9:]
        check(CJK.search(line) or not line.strip(), f"{words}: {line!r}")
    check("程序报告" not in done.stderr, f"{words}: {done.stderr}")
    return done


def fails(words, code, piece, **kw):
    """A failure: its first line is a Chinese sentence with that piece."""
    done = run(words, ok=code, env=ZH, **kw)
    first = (done.stderr or "?").splitlines()[0]
    check(CJK.search(first), f"{words}: {first!r}")
    check("程序报告" not in first, f"{words}: {first!r} has no pair")
    check(piece in first, f"{words}: {piece!r} in {first!r}")
    return done


def what_an_operator_reads():
    with Org("zh") as org:
        def s(*words):
            two = words[0] in ("territory", "user", "grant", "device", "audit")
            n = 2 if two else 1
            return [SERVER, *words[:n], "--dir", org.dir, *words[n:]]

        for words, piece in (
            (("territory", "list"), "还没有区域"),
            (("user", "list"), "还没有用户"),
            (("grant", "list"), "还没有授权"),
            (("device", "list"), "还没有设备"),
            (("audit", "list"), "没有符合的记录"),
            (("report", "pipeline"), "尚无可汇总的内容"),
            (("report", "activity"), "尚无可汇总的内容"),
        ):
            check(piece in chinese(s(*words)).stdout, f"{words} with no data")
            equal(org.json(*words), [], f"{words} for programs")
            english = run(s(*words), env=EN)
            check(not CJK.search(english.stdout), english.stdout)
            check(" yet" in english.stdout or "no such" in english.stdout,
                  english.stdout)
        level = ["--code", "CN", "--name", "全国", "--level"]
        fails(s("territory", "add", *level, "foo"), 1,
              "nation, region, province, city, patch")
        done = run(s("territory", "add", *level, "foo"), ok=1, env=EN)
        check("--level is one of nation, region, province, city, patch, not "
              '"foo"' in done.stderr, done.stderr)
        chinese(s("territory", "add", *level, "nation"))
        fails(s("territory", "add", *level, "nation"), 1, "已经存在")
        fails(s("territory", "add", "--code", "X", "--name", "X", "--level",
                "patch", "--parent", "NO"), 1, "“NO”")
        user = ["--login", "li", "--name", "李娜", "--role"]
        fails(s("user", "add", *user, "king", "--territory", "CN"), 2, "rep|")
        chinese(s("user", "add", *user, "rep", "--territory", "CN"))
        fails(s("invite", "--login", "nobody"), 1, "没有这个用户")
        fails(s("device", "revoke", "--device", "99"), 1, "没有设备 99")
        fails(s("device", "revoke", "--device", "x"), 2, "数字")
        fails(s("grant", "add", "--login", "li", "--territory", "NO"), 1, "NO")
        fails(s("fly"), 2, "没有命令")
        fails(s("invite"), 2, "需要 --login")
        fails([SERVER, "status"], 2, "--dir")
        fails([SERVER, "status", "--dir", org.top], 1, "不是服务器的文件夹")
        fails([SERVER, "init", "--dir", org.dir, "--org", "X"], 1, "已经是")
        fails(s("export", "nothing"), 1, "没有名为“nothing”的表")
        fails(s("import", "--map", "/nowhere", "/nowhere"), 1, "没有这个文件")
        fails([SERVER, "status", "--dir", org.dir, "--lang", "fr"], 2, "--lang")
        # columns show codes, which other commands take, and no ids of others
        rows = org.json("user", "list")
        equal([(u["login"], u["territory"]) for u in rows], [("li", "CN")])
        check("区域" in chinese(s("user", "list")).stdout, "titles")
        # the option beats the environment
        for words in (["user", "--help", "--lang", "zh"], ["--lang", "zh"]):
            done = run([SERVER, *words], ok=None, env=EN)
            check(CJK.search(done.stdout + done.stderr), f"{words}")
        every_command_has_help()


def every_command_has_help():
    for program in (SERVER, DAEMON, CLI):
        for env, wanted in ((ZH, True), (EN, False)):
            text = run([program, "--help"], env=env).stdout
            check(bool(CJK.search(text)) == wanted, f"{program}: {text[:200]}")
        english = run([program, "--help"], env=EN).stdout
        for word in ("usage: ", "Exit codes: "):
            check(word in english, f"{program} --help has {word}")
    text = run([SERVER, "--help"], env=ZH).stdout
    names = re.findall(r"^  ([a-z]+(?: [a-z]+)?)(?: .*)?\n      (.*)$", text,
                       flags=re.M)
    check(len(names) > 30, f"{len(names)} commands")
    for name, sentence in names:
        check(CJK.search(sentence), f"{name}: {sentence}")
        words = [w for w in name.split() if w.islower()]
        one = run([SERVER, *words, "--help"], env=ZH).stdout
        for line in one.splitlines():
            check(CJK.search(line) or "rep|manager" in line or "|" in line,
                  f"{name} --help: {line!r}")


def a_running_server():
    with Org("zhrun") as org:
        org.territory("CN", "nation", name="全国")
        org.user("li", "rep", "CN", name="李娜")
        org.start()
        port = f"127.0.0.1:{org.port}"
        fails([SERVER, "run", "--dir", org.dir, "--listen", port], 75, "进程")
        other = os.path.join(org.top, "other")
        chinese([SERVER, "init", "--dir", other, "--org", "Other"])
        fails([SERVER, "run", "--dir", other, "--listen", port], 75, "已被占用")
        with open(os.path.join(other, "server.conf"), "a") as f:
            f.write("ping_seconds = many\n")
        fails([SERVER, "config", "--check", "--dir", other], 1, "不是整数")
        out = chinese([SERVER, "status", "--dir", org.dir]).stdout
        check("运行中：是" in out and "连接数" in out, out)
        out = chinese([SERVER, "verify", "--dir", org.dir]).stdout
        check("正常：是" in out, out)
        check("ok: true" in run([SERVER, "verify", "--dir", org.dir]).stdout, "")

        invite = org.invite("li")
        folder = os.path.join(org.top, "li")

        def enroll(invite, folder=folder):
            return [DAEMON, "enroll", "--dir", folder, invite]

        fails(enroll("quatsch"), 1, "这不是邀请")
        out = chinese(enroll(invite)).stdout
        check("已注册：li" in out and "完成：0 组已确认" in out, out)
        fails(enroll(invite), 1, "已经注册过")
        fails(enroll(invite, folder + "2"), 4, "已被使用")
        wrong = invite.replace("/" + invite.split("/")[3], "/" + "a" * 32)
        fails(enroll(wrong, folder + "3"), 4, "没有这个邀请")
        fails([DAEMON, "run", "--dir", org.top], 5, "不是已注册的设备")
        fails([DAEMON, "run"], 2, "--dir")
        fails([DAEMON, "fly", "--dir", folder], 2, "没有命令")
        fails([DAEMON, "run", "--dir", folder, "--timeout", "x"], 2, "秒")
        a_device(org, folder)


def a_device(org, folder):
    def c(*words):
        return [CLI, "--dir", folder, *words]

    once = [DAEMON, "run", "--dir", folder, "--once", "--timeout", "20"]
    for words, piece in (
        (("accounts",), "下次同步"),
        (("visits",), "log-visit"),
        (("deals",), "还没有记录"),
        (("tasks",), "还没有记录"),
        (("conflicts",), "无需处理"),
        (("rejected", "list"), "没有被拒绝"),
        (("today",), "今天没有"),
        (("accounts", "--search", "x"), "去掉某个选项"),
    ):
        done = chinese(c(*words))
        check(piece in done.stderr, f"{words}: {done.stderr}")
        equal(done.stdout, "", f"{words}: no head without a row")
        check(not CJK.search(run(c(*words), env=EN).stderr), f"{words}")
        equal(json.loads(run(c(*words, "--json")).stdout), [], f"{words}")
    # triggers and SQLite
    for sql, piece in (
        ("INSERT INTO visit(account_id) VALUES ('x')", "UUID"),
        ("INSERT INTO nowhere VALUES (1)", "没有名为 nowhere 的表"),
        ("SELECT * frm account", "语法错误"),
        ("INSERT INTO account(name, class) VALUES ('x', 'king')", "只能是"),
    ):
        fails(c("sql", sql), 1, piece)
    fails(c("log-visit", "--account", "nobody", "--outcome", "order"), 1, "没有")
    done = fails(c("resolve", "1", "--keep"), 2, "--keep 需要一个值")
    done = run(c("resolve", "1", "--keep"), ok=2, env=EN)
    check("--keep needs a value: shown|other|VALUE" in done.stderr, done.stderr)

    chinese(c("sql", "INSERT INTO account(name) VALUES ('永和')"))
    check("1 组已确认" in chinese(once).stdout, "what --once did")
    out = chinese([SERVER, "report", "activity", "--dir", org.dir]).stdout
    check("新客户" in out, out)

    # cut off while no daemon runs: the next try learns it, status tells it
    number = run(c("status", "--json")).stdout
    number = str(json.loads(number)["replica"])
    check("拒绝" in chinese([SERVER, "device", "revoke", "--dir", org.dir,
                             "--device", number]).stdout, "")
    check("已停用" in chinese([SERVER, "device", "list", "--dir", org.dir]).stdout,
          "the state of a device")
    fails(once, 4, "已被停用")
    out = chinese(c("status")).stdout
    check("拒绝" in out and "管理员" in out and "rescue" in out, out)
    out = run(c("status"), env=EN).stdout
    check("refused at the last try: this device was revoked" in out, out)
    check("ask your administrator" in out, out)
    equal(json.loads(run(c("status", "--json")).stdout)["refused"],
          "this device was revoked", "for programs")
    org.stop()
    fails(once[:-1] + ["1"], 3, "连接被拒绝")


def a_refusal_is_forgotten_when_it_ends():
    """And a daemon that stays says it at once."""
    with Org("refused") as org:
        org.territory("CN", "nation")
        org.user("ann", "rep", "CN")
        org.start()
        ann = org.device("ann")
        kept = os.path.join(ann.dir, "refused")
        org.cmd("user", "disable", "--login", "ann")
        ann.once(ok=4)
        check(os.path.exists(kept), "the refusal is kept")
        ann.start()
        wait_for("refused", lambda: ann.status()["connection"] == "refused")
        out = ann.cli("status", env=ZH).stdout
        check("权限已终止" in out and "rescue" in out, out)
        equal(ann.status()["refused"], None, "what the daemon says is newer")
        ann.stop()
        check(ann.status()["refused"], "kept by the daemon too")
        # one that is let in knows of no refusal
        org.user("bob", "rep", "CN")
        bob = org.device("bob")
        with open(os.path.join(bob.dir, "refused"), "w") as f:
            f.write("unknown device\n")
        check("at the last try: unknown device" in bob.cli("status").stdout, "")
        bob.once()
        equal(bob.status()["refused"], None, "forgotten")
        check("not running" in bob.cli("status").stdout, "as ever")


def a_difference_that_stays_is_an_error():
    """A row of the server changed behind its back: everything is fetched again
    and differs still. --once says so and fails; status does not speak of a
    repair that nobody makes."""
    with Org("differs") as org:
        org.territory("CN", "nation")
        org.user("ann", "rep", "CN")
        org.start()
        org.stop()
        c = sqlite3.connect(os.path.join(org.dir, "satchel.db"))
        c.execute("UPDATE user SET name = 'somebody else'")
        c.commit()
        c.close()
        org.start()
        ann = org.device("ann", enroll=False)
        ann.enroll(ok=5)
        words = [DAEMON, "run", "--dir", ann.dir, "--once", "--timeout", "20"]
        done = run(words, ok=5, env=EN)
        check("still differs from the server's" in done.stderr, done.stderr)
        check("done:" not in done.stdout, done.stdout)
        equal(ann.status()["digest"], "mismatch", "said to programs")
        out = ann.cli("status").stdout
        check("satcheld repairs it when it runs" in out, out)
        check("being repaired" not in out, out)
        done = run(words, ok=5, env=ZH)
        check("仍与服务器不一致" in done.stderr, done.stderr)
        # the same beside a daemon, which has tried to mend it and says so
        ann.start()
        wait_for("the daemon found it", lambda: "did not mend it" in
                 ann.cli("status").stdout)
        done = run(words, ok=5, env=EN)
        check("still differs from the server's" in done.stderr, done.stderr)
        done = ann.cli("sync", ok=1)
        check("still differs" in done.stderr, done.stderr)


def a_daemon_asked_by_another():
    """run --once beside a daemon, and a name that nobody answers to."""
    with Org("zhask") as org:
        org.territory("CN", "nation")
        org.user("ann", "rep", "CN")
        org.start()
        ann = org.device("ann")
        ann.start()
        once = [DAEMON, "run", "--dir", ann.dir, "--once", "--timeout", "2"]
        wait_for("connected", lambda: ann.status()["connection"] == "connected")
        check("完成" in chinese(once).stdout, "the daemon did it")
        fails([DAEMON, "run", "--dir", ann.dir], 75, "已在同步")
        org.kill()
        fails(once, 3, "未能及时连上服务器")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        invite = f"satchel://127.0.0.1:{port}/{'a' * 32}/{'0' * 64}"
        fails([DAEMON, "enroll", "--dir", ann.dir + "-new", invite], 3, "连接被拒绝")


if __name__ == "__main__":
    main(
        [
            what_an_operator_reads,
            a_running_server,
            a_refusal_is_forgotten_when_it_ends,
            a_difference_that_stays_is_an_error,
            a_daemon_asked_by_another,
        ]
    )
