"""A newer catalogue: applied with devices connected and offline, refused when
it does not fit, and met by a server that is older than its devices."""
# timeout: 400

import copy
import json
import os
import re
import shutil
import socket
import threading

from harness import Org, check, equal, main, same_content, wait_for

SOURCE = os.environ.get(
    "SATCHEL_SOURCE",
    os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."),
)
with open(
    os.path.join(SOURCE, "proto", "catalogue", "field_sales.json"),
    encoding="utf-8",
) as f:
    FIRST = json.load(f)


def label(en, zh):
    return {"en": en, "zh": zh}


def table(catalogue, name):
    return next(t for t in catalogue["tables"] if t["name"] == name)


def column(catalogue, place):
    t, c = place.split(".")
    return next(x for x in table(catalogue, t)["columns"] if x["name"] == c)


def second():
    """Version 2: a table, columns, an enum value and a label more."""
    c = copy.deepcopy(FIRST)
    c["version"] = 2
    account = table(c, "account")["columns"]
    no = max(x["no"] for x in account) + 1
    account += [
        {"name": "grade", "no": no, "type": "text", "default": "C",
         "label": label("Grade", "等级"), "max_bytes": 8},
        {"name": "fleet", "no": no + 1, "type": "int",
         "label": label("Vehicles", "车辆数")},
        {"name": "calls", "no": no + 2, "type": "counter",
         "label": label("Calls", "电话次数")},
        {"name": "brands", "no": no + 3, "type": "set",
         "label": label("Brands", "品牌")},
    ]
    column(c, "account.class")["values"].append(
        {"name": "partner", "label": label("Partner", "合作伙伴")}
    )
    column(c, "account.phone")["label"] = label("Telephone", "联系电话")
    c["tables"].append(
        {
            "name": "sample",
            "no": max(t["no"] for t in c["tables"]) + 1,
            "label": label("Sample", "样品"),
            "scope": [{"via": "account_id"}],
            "insert": ["rep", "manager", "hq"],
            "columns": [
                {"name": "account_id", "no": 1, "type": "ref", "ref": "account",
                 "label": label("Account", "客户"), "required": True},
                {"name": "what", "no": 2, "type": "text",
                 "label": label("What", "内容"), "required": True},
                {"name": "given", "no": 3, "type": "date",
                 "label": label("Given on", "日期"), "default": {"today": True}},
            ],
        }
    )
    return c


class Relay:
    """Passes bytes on and counts what the server sends."""

    def __init__(self, port):
        self.target = port
        self.down = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            for a, b in ((client, server), (server, client)):
                threading.Thread(
                    target=self.pump, args=(a, b, a is server), daemon=True
                ).start()

    def pump(self, a, b, is_down):
        try:
            while data := a.recv(65536):
                if is_down:
                    self.down += len(data)
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Company(Org):
    def __enter__(self):
        super().__enter__()
        self.territory("CN", "nation")
        self.territory("T1", "patch", "CN")
        self.user("ann", "rep", "T1")
        self.user("bob", "rep", "T1")
        self.user("hugo", "hq", "CN")
        self.start()
        return self

    def write(self, catalogue, name="next.json"):
        path = os.path.join(self.top, name)
        with open(path, "w", encoding="utf-8") as f:
            json.dump(catalogue, f, ensure_ascii=False)
        return path

    def apply(self, catalogue=None):
        path = self.write(catalogue or second())
        return self.cmd("catalogue", "apply", path)

    def version(self):
        return self.json("status")["catalogue"]

    def rows(self):
        """Everything that a row of the first catalogue is on the server."""
        found = {}
        for t in FIRST["tables"]:
            found[t["name"]] = self.sql(
                f"SELECT _seq, id, _origin, _flags, _meta, _places FROM "
                f"{t['name']} ORDER BY _seq"
            )
        found["feed"] = self.sql("SELECT * FROM _feed ORDER BY scope, seq")
        found["digest"] = self.sql("SELECT * FROM _digest ORDER BY scope, role")
        return found

    def behind_relay(self, login):
        relay = Relay(self.port)
        d = self.device(login, enroll=False)
        invite = self.invite(login).replace(f":{self.port}/", f":{relay.port}/")
        d.enroll(invite)
        return d, relay


def columns_of(d, name):
    return [r[1] for r in d.sql(f"PRAGMA table_info({name})")]


def catalogue_of(d):
    return d.status()["catalogue"]


def row_states(d):
    return d.sql("SELECT * FROM _satchel_row ORDER BY 1, 2")


def many_visits(d, n):
    d.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n "
        f"WHERE i < {n}) INSERT INTO visit(account_id, notes) "
        "SELECT (SELECT id FROM account), hex(randomblob(30)) FROM n"
    )


def connected_and_offline():
    with Company() as c:
        ann, relay = c.behind_relay("ann")
        bob, hugo = c.device("bob"), c.device("hugo")
        ann.sql("INSERT INTO account(name, phone) VALUES ('X', '1')")
        many_visits(ann, 6000)
        for d in (ann, bob, hugo):
            d.once()
        # Bob goes offline with edits made under version 1.
        bob.sql("UPDATE account SET phone = 'bob'")
        bob.sql("INSERT INTO account(name) VALUES ('Bob offline')")
        bob.sql("DELETE FROM visit WHERE id = (SELECT max(id) FROM visit)")
        refused = bob.cli("sql", "UPDATE account SET class='partner'", ok=1)
        check("class" in refused.stderr, refused.stderr)
        ann.start()
        hugo.start()
        for d in (ann, hugo):
            wait_for("connected", lambda: d.status()["connection"] == "connected")
            wait_for("equal", lambda: d.status()["digest"] == "equal")
        before, states, down = c.rows(), row_states(ann), relay.down

        equal(c.apply().stdout.strip(), "applied as version: 2")
        for d in (ann, hugo):
            wait_for("altered", lambda: catalogue_of(d) == 2, 5)
            check("grade" in columns_of(d, "account"), "the new column")
            equal(d.sql("SELECT count(*) FROM sample"), [(0,)], "the new table")
        equal(c.rows(), before, "rows, metadata, feed and digests as before")
        equal(row_states(ann), states, "no state came again")
        size = os.path.getsize(os.path.join(c.top, "next.json"))
        took = relay.down - down
        print(f"  {took} bytes to a connected device, catalogue of {size}")
        check(took < size + 20000, f"{took} bytes for a catalogue of {size}")

        # Plain SQL with what is new, at once and both ways.
        ann.script(
            "UPDATE account SET grade='A', fleet=7, calls=calls+2, "
            "brands='[\"甲\"]', class='partner';"
            "INSERT INTO account(name) VALUES ('New');"
            "INSERT INTO sample(account_id, what) SELECT id, '小样' FROM account"
            " WHERE name='X'"
        )
        wait_for("hugo has it", lambda: hugo.sql(
            "SELECT grade, fleet, calls, brands, class FROM account "
            "WHERE name='X'") == [("A", 7, 2, '["甲"]', "partner")])
        equal(hugo.sql("SELECT grade FROM account WHERE name='New'"), [("C",)],
              "the default")
        equal(hugo.sql("SELECT what FROM sample"), [("小样",)])
        refused = ann.cli("sql", "UPDATE account SET class='nonsense'", ok=1)
        check("class" in refused.stderr, refused.stderr)

        # Bob's edits of version 1 arrive; then he has version 2 and all rows.
        equal(bob.once(), 0, "nothing rejected")
        equal(catalogue_of(bob), 2, "bob")
        equal(
            bob.sql("SELECT grade, fleet, class, phone FROM account "
                    "WHERE name='X'"),
            [("A", 7, "partner", "bob")],
        )
        wait_for("all the same", lambda: same_or_none(
            [ann, bob, hugo], "account", "id, name, phone, grade, fleet, calls, "
            "brands, class") == 3)
        equal(same_content([ann, bob, hugo], "visit", "id, notes"), 5999)
        for d in (ann, bob, hugo):
            wait_for("equal", lambda: d.status()["digest"] == "equal")
        c.verify()
        labels = {(r["table"], r["column"]): (r["english"], r["chinese"])
                  for r in c.json("catalogue", "show")}
        equal(labels["account", "phone"], ("Telephone", "联系电话"))
        # A new device gets version 2 from the start.
        late = c.device("ann")
        equal(catalogue_of(late), 2)
        equal(same_content([late, hugo], "sample", "id, what, given"), 1)


def same_or_none(devices, name, columns):
    try:
        return same_content(devices, name, columns)
    except AssertionError:
        return None


def rows_of_the_new_version_come_after_it():
    """Many devices and writes around the moment: no row of version 2 is ever
    held by a replica that lost a value of it."""
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        ann.sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n "
                "WHERE i < 300) INSERT INTO account(name) SELECT i FROM n")
        ann.once()
        bob.once()
        ann.start()
        bob.start()
        for d in (ann, bob):
            wait_for("connected", lambda: d.status()["connection"] == "connected")
        c.apply()
        written = 0
        while written < 300:
            if "fleet" in columns_of(ann, "account"):
                ann.sql("UPDATE account SET fleet = name + 1 WHERE name + 0 = ?",
                        (written + 1,))
                written += 1
                if written % 60 == 0:
                    bob.kill()  # and comes back in the middle
                    bob.start()
            else:
                ann.sql("UPDATE account SET phone = coalesce(phone, 0) + 1 "
                        "WHERE name = '1'")
        wait_for("all of them", lambda: "fleet" in columns_of(bob, "account") and
                 bob.one("SELECT count(*) FROM account WHERE fleet = name + 1")
                 == 300, 30)
        for d in (ann, bob):
            wait_for("equal", lambda: d.status()["digest"] == "equal")
            d.stop()
        equal(same_content([ann, bob], "account", "id, name, phone, fleet"), 300)
        c.verify()


def applied_while_stopped():
    with Company() as c:
        ann = c.device("ann")
        ann.sql("INSERT INTO account(name) VALUES ('X')")
        ann.once()
        ann.start()
        wait_for("connected", lambda: ann.status()["connection"] == "connected")
        c.stop()
        ann.sql("UPDATE account SET phone = 'meanwhile'")
        c.apply()
        equal(c.version(), 2, "stopped")
        c.start()
        equal(c.version(), 2, "running")
        wait_for("ann follows", lambda: catalogue_of(ann) == 2)
        wait_for("her edit", lambda: c.json("export", "account")[0]["phone"] ==
                 "meanwhile")
        ann.sql("UPDATE account SET grade = 'B'")
        wait_for("new column", lambda: c.json("export", "account")[0]["grade"] ==
                 "B")
        c.verify()


def remove(c, place):
    t, name = place.split(".")
    table(c, t)["columns"] = [
        x for x in table(c, t)["columns"] if x["name"] != name
    ]


def refused():
    """Each with the file, the path in it, and why; nothing is changed."""
    def change(place, **values):
        return lambda c: column(c, place).update(values)

    cases = (
        (lambda c: c.update(version=1), "version"),
        (lambda c: remove(c, "account.phone"), "phone"),
        (lambda c: c["tables"].remove(table(c, "ticket")), "ticket"),
        (change("account.phone", type="int", max_bytes=None), "phone"),
        (change("account.phone", policy="keep"), "phone"),
        (change("account.phone", max_bytes=3), "phone"),
        (change("account.phone", no=999), "phone"),
        (change("account.phone", required=True), "phone"),
        (change("account.phone", nonsense=1), "nonsense"),
        (lambda c: column(c, "account.class")["values"].pop(0), "class"),
        (lambda c: table(c, "account").update(scope=[{"global": True}]), "scope"),
        (lambda c: table(c, "account")["columns"].append(
            {"name": "must", "no": 900, "type": "int", "required": True,
             "label": label("Must", "必填")}), "must"),
        (lambda c: c.update(name="other"), "name"),
        (lambda c: c.pop("tables"), "tables"),
    )
    with Company() as c:
        ann = c.device("ann")
        for running in (True, False):
            if not running:
                c.stop()
            before = c.json("catalogue", "show")
            for i, (bend, word) in enumerate(cases):
                bad = second()
                bend(bad)
                for x in (k for t in bad.get("tables", []) for k in t["columns"]):
                    if x.get("max_bytes", 1) is None:
                        del x["max_bytes"]
                path = c.write(bad, f"bad{i}.json")
                for verb in ("check", "apply"):
                    done = c.cmd("catalogue", verb, path, ok=1)
                    for part in (f"bad{i}.json", word):
                        check(part in done.stderr,
                              f"case {i}: no {part!r} in: {done.stderr}")
                    reason = done.stderr.split(f"bad{i}.json: ", 1)[1]
                    check(re.match(r"\S+: \S+", reason),
                          f"case {i}, place and reason: {done.stderr}")
            broken = c.write({}, "broken.json")
            with open(broken, "w") as f:
                f.write('{"name": "x",\n "version": 2,,\n}')
            done = c.cmd("catalogue", "apply", broken, ok=1)
            check("broken.json" in done.stderr and "2" in done.stderr,
                  done.stderr)
            with open(broken, "wb") as f:
                f.write(b'{"name": "\xff"}')
            done = c.cmd("catalogue", "apply", broken, ok=1)
            check("UTF-8" in done.stderr, done.stderr)
            done = c.cmd("catalogue", "check", c.write(second()))
            check("2" in done.stdout, done.stdout)
            equal(c.version(), 1, "nothing was applied")
            equal(c.json("catalogue", "show"), before, "the same columns")
        c.start()
        equal(ann.once(), 0)
        c.apply()
        done = c.cmd("catalogue", "apply", c.write(second()), ok=1)
        check("version" in done.stderr, "the same again: " + done.stderr)
        third = second()
        third["version"] = 7
        c.apply(third)
        ann.once()
        equal(catalogue_of(ann), 7, "versions may be left out")


def a_server_older_than_its_devices():
    with Company() as c:
        ann = c.device("ann")
        ann.sql("INSERT INTO account(name) VALUES ('X')")
        ann.once()
        c.stop()
        backup = os.path.join(c.top, "backup")
        shutil.copytree(c.dir, backup)
        c.start()
        c.apply()
        ann.once()
        ann.sql("UPDATE account SET grade = 'A'")
        ann.once()
        ann.sql("UPDATE account SET fleet = 3")
        c.stop()
        shutil.rmtree(c.dir)
        shutil.copytree(backup, c.dir)
        c.start()
        done = ann.once(ok=None, timeout=4)
        equal(done, None, "it did not sync")
        ann.start()
        wait_for("says why", lambda: "catalogue" in
                 (ann.status()["last_error"] or ""))
        s = ann.status()
        check(s["missing"] == 0 and s["outbox"] == 1, f"{s}")
        equal(ann.sql("SELECT name, grade, fleet FROM account"),
              [("X", "A", 3)])
        check("catalogue" in c.process.tail(), c.process.tail())
        # The newer catalogue is applied there too: all is well by itself.
        c.apply()
        ann.stop()
        ann.once()
        equal([(r["grade"], r["fleet"]) for r in c.json("export", "account")],
              [("A", 3)], "what the lost server had confirmed, and the rest")
        c.verify()


main(
    [
        connected_and_offline,
        rows_of_the_new_version_come_after_it,
        applied_while_stopped,
        refused,
        a_server_older_than_its_devices,
    ]
)
