"""history and why: who, when, from which device, what won and why."""
# timeout: 300

import time
import uuid

from harness import Org, check, equal, main


class Company(Org):
    def __enter__(self):
        super().__enter__()
        self.territory("CN", "nation")
        self.territory("T1", "patch", "CN")
        self.user("ann", "rep", "T1", "安娜")
        self.user("bob", "rep", "T1", "Bob")
        self.start()
        return self

    def settle(self, *devices):
        for _ in range(2):
            for d in devices:
                equal(d.once(), 0, f"{d.login}: rejected")

    def fight(self):
        """Both set the phone at once; Bob's is later."""
        ann, bob = self.device("ann"), self.device("bob")
        ann.sql("INSERT INTO account(name, phone) VALUES ('X', '100')")
        ann.once()
        bob.once()
        ann.sql("UPDATE account SET phone='111'")
        time.sleep(0.05)
        bob.sql("UPDATE account SET phone='222'")
        self.settle(ann, bob)
        return ann, bob


def why_a_phone_is_what_it_is():
    with Company() as c:
        ann, bob = c.fight()
        x = ann.one("SELECT id FROM account")
        for d in (ann, bob):
            story = d.json("why", "account", "X", "phone")
            last = [s for s in story if s["value"] == "222"]
            equal(len(last), 1, f"{d.login}: {story}")
            equal((last[0]["who"], last[0]["note"]), ("Bob", "shown now"))
            lost = [s for s in story if s["what"] == "lost"]
            equal([(s["who"], s["value"], s["before"]) for s in lost],
                  [("安娜", "111", "100")])
            for word in ("Latest wins", "neither had seen", "Bob"):
                check(word in lost[0]["note"], f"{word}: {lost[0]['note']}")
        own = [s for s in ann.json("why", "account", x, "phone")
               if s["what"] == "insert"]
        equal([(s["value"], s["seen"], s["who"]) for s in own],
              [("100", "", "安娜")])
        mine = [s for s in ann.json("why", "account", x, "phone")
                if s["what"] == "update"]
        equal(mine[0]["seen"], own[0]["write"], "she had seen her first write")
        text = ann.cli("why", "account", "X", "phone", "--lang", "en").stdout
        check("the latest write stands" in text, text)
        zh = ann.cli("why", "account", "X", "phone", "--lang", "zh").stdout
        check("以最新写入为准" in zh and "落选" in zh and "安娜" in zh, zh)
        # An answer that covers both is told as one.
        ann.cli("restore", ann.one("SELECT id FROM conflict"))
        c.settle(ann, bob)
        shown = [s for s in ann.json("why", "account", x, "phone")
                 if s["note"] == "shown now"]
        equal([(s["who"], s["value"]) for s in shown], [("安娜", "111")])
        check(len(shown[0]["seen"].split(", ")) == 3, shown)


def a_rows_story():
    with Company() as c:
        ann, bob = c.fight()
        x = ann.one("SELECT id FROM account")
        ann.sql("UPDATE account SET email='a@x'")
        story = ann.json("history", "account", "X")
        equal([s["value"] for s in story if s["field"] == "name"], ["X"])
        ann.cli("sync", ok=None)
        times = [s["at"] for s in story if s["at"]]
        equal(times, sorted(times), "in order")
        check("seen" not in story[0], "history is short")
        ann.once()
        bob.once()
        bob.sql("DELETE FROM account")
        c.settle(bob, ann)
        equal(ann.sql("SELECT * FROM account"), [])
        gone = [s for s in ann.json("history", "account", x)
                if s["what"] == "delete"]
        equal([(s["who"], s["note"]) for s in gone],
              [("Bob", "the row is deleted")])
        done = ann.cli("history", "account", str(uuid.uuid4()), ok=1)
        check("nothing is known" in done.stderr, done.stderr)
        done = ann.cli("why", "account", x, "shoe_size", ok=1)
        check("shoe_size" in done.stderr, done.stderr)
        equal(ann.cli("history", "nothing", x, ok=None).returncode, 1)


def pending_and_rejected_are_told():
    with Company() as c:
        ann, _ = c.fight()
        x = ann.one("SELECT id FROM account")
        c.kill()
        ann.sql("UPDATE account SET phone='333'")
        ann.once(ok=None, timeout=1)
        last = [s for s in ann.json("why", "account", x, "phone")
                if s["value"] == "333"]
        equal(last[0]["note"], "shown now")
        c.start()
        ann.once()
        ann.sql("UPDATE account SET phone='444', parent_id=?",
                (str(uuid.uuid4()),))
        ann.once()
        last = [s for s in ann.json("why", "account", x, "phone")
                if s["value"] == "444"]
        equal(last[0]["note"], "not accepted")


def the_servers_history_says_what_won():
    with Company() as c:
        ann, bob = c.fight()
        x = ann.one("SELECT id FROM account")
        rows = c.json("history", "account", x)
        phones = {r["value"]: r for r in rows if r["field"] == "phone"}
        equal(set(phones), {"100", "111", "222"})
        equal([phones[v]["who"] for v in ("100", "111", "222")],
              ["ann", "ann", "bob"])
        check("shown now" in phones["222"]["outcome"], phones["222"])
        for word in ("lost to 222", "bob", "lww", "auto"):
            check(word in phones["111"]["outcome"], (word, phones["111"]))
        equal(phones["100"]["outcome"], "replaced")


def the_server_says_why():
    with Company() as c:
        ann, bob = c.fight()
        x = ann.one("SELECT id FROM account")
        rows = c.json("why", "account", x, "phone")
        equal({r["field"] for r in rows}, {"phone"})
        phones = {r["value"]: r for r in rows}
        first = phones["100"]["write"]
        # Neither had seen the other's; both had seen what they replaced.
        for value, who in (("111", "ann"), ("222", "bob")):
            equal(phones[value]["who"], who)
            equal(phones[value]["before"], "100")
            equal(phones[value]["had_seen"], [first])
        equal(phones["100"]["had_seen"], [])
        check("lost to 222" in phones["111"]["outcome"], phones["111"])
        ann.cli("restore", ann.one("SELECT id FROM conflict"))
        c.settle(ann, bob)
        again = c.json("why", "account", x, "phone")[0]
        equal((again["value"], again["outcome"]), ("111", "shown now"))
        equal(set(again["had_seen"]), {r["write"] for r in rows})
        text = c.cmd("why", "account", x, "phone").stdout
        for words in ("the latest write stands", "以最新写入为准", "lww"):
            check(words in text, (words, text))
        done = c.cmd("why", "account", x, "shoe_size", ok=1)
        check("shoe_size" in done.stderr, done.stderr)
        c.cmd("why", "account", x, ok=2)
        check("had_seen" not in c.json("history", "account", x)[0], "short")


def people_have_names():
    """Whoever wrote in a row is named, though nothing clashed; people whose
    rows one may not see are not."""
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        ann.sql("INSERT INTO account(name) VALUES ('X')")
        c.settle(ann, bob)
        bob.sql("UPDATE account SET phone='7'")
        ann.sql("UPDATE account SET email='a@x'")
        c.settle(ann, bob)
        x = ann.one("SELECT id FROM account")
        who = {(s["field"], s["who"]) for s in ann.json("history", "account", x)}
        check(("phone", "Bob") in who, who)
        who = {(s["field"], s["who"]) for s in bob.json("history", "account", x)}
        check(("email", "安娜") in who and ("name", "安娜") in who, who)
        # A third person in another territory works on things of her own.
        c.territory("T9", "patch", "CN")
        c.user("zoe", "rep", "T9", "Zoe")
        zoe = c.device("zoe")
        zoe.sql("INSERT INTO account(name) VALUES ('Z')")
        c.settle(zoe, ann, bob)

        def told(d):
            return {r[0] for r in d.sql(
                "SELECT u.login FROM _satchel_author a JOIN user u"
                " ON u.id = a.user")}
        # (oneself may be missing: what one holds already is not sent)
        equal(told(ann) - {"ann"}, {"bob"})
        equal(told(zoe) - {"zoe"}, set())


main(
    [
        people_have_names,
        the_server_says_why,
        why_a_phone_is_what_it_is,
        a_rows_story,
        pending_and_rejected_are_told,
        the_servers_history_says_what_won,
    ]
)
