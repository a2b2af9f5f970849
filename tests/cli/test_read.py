"""The commands that only read: tables, JSON, filters."""

import json
import unicodedata

from device import ANN, BOB, Device, filled, insert, main, uuid


def width(text):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1
               for c in text)


def rows(text):
    return text.rstrip("\n").split("\n")


def test_accounts_line_up_on_a_terminal():
    d = filled()
    lines = rows(d.ok("accounts"))
    assert lines[0].split()[:4] == ["id", "Name", "Class", "City"], lines
    assert len(lines) == 7
    # The class begins at one place in all lines, whatever the names.
    at = {width(l[: l.index(w)])
          for l, w in zip(lines, ["Class", "Potential", "Potential",
                                  "Potential", "Potential", "Normal",
                                  "VIP"])}
    assert len(at) == 1, lines
    d.close()


def test_json_is_for_programs():
    d = filled()
    all_ = {a["id"]: a for a in d.json("accounts")}
    a = all_[uuid(1)]
    assert a["tags"] == ["gold", "老客户"]
    assert all_[uuid(3)]["tags"] == []
    assert a["class"] == "vip"
    assert a["owner_id"] == ANN and a["owner"] == "安娜"
    assert a["annual_revenue"] == 1234567.89
    assert '"annual_revenue": 1234567.89' in d.ok("accounts", "--json")
    # A rep does not receive the credit limit: it is not there at all.
    assert "credit_limit" not in a
    d.close()
    d = filled("manager")
    assert "credit_limit" in d.json("accounts")[0]
    d.close()


def test_accounts_are_filtered():
    d = filled()

    def names(*words):
        return [a["name"] for a in d.json("accounts", *words)]

    assert names("--class", "VIP") == ["上海行囊商店"]
    assert names("--class", "普通") == ["上海 Bag Shop"]
    assert names("--search", "行囊") == ["上海行囊商店"]
    assert names("行囊商") == ["上海行囊商店"]
    assert names("--search", "BAG") == ["上海 Bag Shop"]
    assert names("上海", "--search", "shop") == ["上海 Bag Shop"]
    assert names("--search", "老客户") == ["上海行囊商店"]
    assert names("--owner", "bob") == ["上海 Bag Shop"]
    assert names("--territory", "华北") == ["上海 Bag Shop"]
    assert names("--territory", "E", "--class", "vip") == ["上海行囊商店"]
    # No wildcards: a percent sign is a percent sign.
    assert names("--search", "0% j") == ["100% juice_bar"]
    assert names("--search", "%") == ["100% juice_bar"]
    assert names("--search", "e_b") == ["100% juice_bar"]
    assert names("--search", "'") == []
    assert len(names("--limit", "2")) == 2
    p = d.run("accounts", "--limit", "2")
    assert len(rows(p.stdout.decode())) == 3
    assert "--limit 0" in p.stderr.decode()
    assert "--limit" not in d.run("accounts", "--limit", "6").stderr.decode()
    err = d.fails(1, "accounts", "--class", "gold")
    assert "potential (Potential)" in err, err
    assert "is a number of rows" in d.fails(2, "accounts", "--limit", "x")
    assert "not -1" not in d.fails(2, "accounts", "--limit", "-1")
    d.close()


def test_tables_stop_at_a_hundred_rows_and_say_so():
    d = Device()
    d.from_server(*[insert("account", id=uuid(i), name="n%d" % i)
                    for i in range(150)])
    p = d.run("accounts")
    assert len(rows(p.stdout.decode())) == 101
    assert "first 100 rows" in p.stderr.decode()
    assert len(rows(d.ok("accounts", "--limit", "0"))) == 151
    assert len(d.json("accounts")) == 150
    d.close()


def test_pipeline_counts_and_weighs():
    d = filled()
    p = {r["stage"]: r for r in d.json("pipeline")}
    assert list(p) == ["prospect", "lead", "opportunity", "contract", "won",
                       "lost"]
    assert p["contract"] == {"stage": "contract", "deals": 2,
                             "amount": 1000.51, "weighted": 800.41}
    assert p["won"]["weighted"] == 5000
    assert p["lead"] == {"stage": "lead", "deals": 1, "amount": 0,
                         "weighted": 0}
    assert p["lost"]["deals"] == 0
    text = rows(d.ok("pipeline"))
    assert text[-1].split() == ["Total", "4", "6000.51", "5800.41"], text
    by = d.json("pipeline", "--by", "owner")
    assert [(r["owner"], r["stage"], r["deals"]) for r in by] == [
        ("Bob", "won", 1), ("安娜", "lead", 1), ("安娜", "contract", 2)], by
    assert by[0]["owner_id"] == BOB
    by = d.json("pipeline", "--by", "territory", "--stage", "成交")
    assert [(r["territory"], r["amount"]) for r in by] == [("华北", 5000)]
    since = d.json("pipeline", "--since", "2026-02-01")
    assert {r["stage"]: r["deals"] for r in since}["contract"] == 1
    assert "owner, territory or product" in d.fails(
        2, "pipeline", "--by", "moon")
    assert "成交" in d.ok("pipeline", lang="zh")
    d.close()


def test_deals_and_tasks():
    d = filled()
    assert [x["name"] for x in d.json("deals", "--stage", "合同")] == [
        "A", "B"]
    assert d.json("deals", "--account", "上海行囊商店")[0]["amount"] == 1000.5
    d.from_server(
        insert("task", id=uuid(31), title="one", due_at=1, state="open"),
        insert("task", id=uuid(32), title="two", due_at=2, state="done"),
        insert("task", id=uuid(33), title="three", due_at=0, state="doing"),
    )
    assert [t["title"] for t in d.json("tasks")] == ["three", "one"]
    assert [t["title"] for t in d.json("tasks", "--all")] == [
        "three", "one", "two"]
    assert [t["title"] for t in d.json("tasks", "--state", "已完成")] == ["two"]
    d.close()


def test_visits_are_local_on_screen_and_utc_in_json():
    d = filled()
    d.from_server(
        insert("visit", id=uuid(41), account_id=uuid(1), outcome="order",
               started_at=1763712000000, notes="送样品"),
        insert("visit", id=uuid(42), account_id=uuid(3), user_id=BOB,
               started_at=1763798400000),
    )
    v = d.json("visits")
    assert [x["id"] for x in v] == [uuid(42), uuid(41)]
    assert v[1]["started_at"] == "2025-11-21T08:00:00.000Z"
    assert v[1]["account"] == "上海行囊商店"
    assert "2025-11-21 16:00" in d.ok("visits")
    assert "Order taken" in d.ok("visits") and "下单" in d.ok("visits",
                                                           lang="zh")
    assert [x["id"] for x in d.json("visits", "样品")] == [uuid(41)]
    assert [x["id"] for x in d.json("visits", "行囊")] == [uuid(41)]
    assert [x["id"] for x in d.json("visits", "--user", "Bob")] == [uuid(42)]
    assert [x["id"] for x in d.json("visits", "--since", "2025-11-22")] == [
        uuid(42)]
    assert [x["id"] for x in d.json(
        "visits", "--since", "2025-11-22T08:00:01Z")] == []
    assert [x["id"] for x in d.json("visits", "--outcome", "下单")] == [
        uuid(41)]
    assert "a time such as" in d.fails(1, "visits", "--since", "soon")
    assert "a time such as" in d.fails(1, "visits", "--since", "2025-02-30")
    d.close()


def test_today_is_what_is_due_and_not_yet_kept():
    import time

    d = filled()
    now = int(time.time() * 1000)
    day = 86400000
    d.from_server(
        insert("task", id=uuid(51), title="overdue", due_at=now - 3 * day),
        insert("task", id=uuid(52), title="done", due_at=now - day,
               state="done"),
        insert("task", id=uuid(53), title="later", due_at=now + 3 * day),
        insert("task", id=uuid(54), title="of bob", due_at=now - 4 * day,
               assignee_id=BOB),
        insert("visit", id=uuid(55), account_id=uuid(1), state="planned",
               plan_at=now - 2 * day, started_at=now - 2 * day),
        insert("visit", id=uuid(56), account_id=uuid(3), next_at=now - day,
               started_at=now - 9 * day, next_action="bring samples"),
        insert("visit", id=uuid(57), account_id=uuid(2), next_at=now - day,
               started_at=now - 9 * day),
        insert("visit", id=uuid(58), account_id=uuid(2),
               started_at=now - 5 * day),
        insert("visit", id=uuid(59), account_id=uuid(4),
               next_at=now + 5 * day, started_at=now),
    )
    t = d.json("today")
    assert [(x["what"], x["id"]) for x in t] == [
        ("task", uuid(51)), ("visit", uuid(55)), ("return", uuid(56))], t
    assert t[0]["overdue"] is True
    assert t[2]["text"] == "bring samples" and t[2]["account"] == "Acme"
    assert uuid(54) in [x["id"] for x in d.json("today", "--all")]
    assert "计划拜访" in d.ok("today", lang="zh")
    assert len(d.json("today", "--limit", "1")) == 1
    d.close()


def test_hostile_text_cannot_steer_the_terminal():
    d = filled()
    d.from_server(insert("visit", id=uuid(61), account_id=uuid(5),
                         notes="\x1b]0;gone\x07 \x7f"))
    for words in (["accounts"], ["visits"], ["accounts", "--json"],
                  ["visits", "--json"], ["log-visit", "--account", "Evil"],
                  ["sql", "select name from account"],
                  ["sql", "select notes from visit", "--json"],
                  ["sql", "select 1 as \"\x1b[31m\""],
                  ["sql", "sel\x1b[31mect"],
                  ["visits", "--outcome", "\x1b[31m"],
                  ["\x1b[31m"],
                  ["log-visit", "--account", "\x1b"]):
        p = d.run(*words)
        for bad in (b"\x1b", b"\x07", b"\x7f", "\u202e".encode(),
                    "\u009b".encode()):
            assert bad not in p.stdout, (words, p.stdout)
            assert bad not in p.stderr, (words, p.stderr)
    assert "Evil\\x1b[31m\\u202eshop\\nnext" in d.ok("accounts")
    # JSON says the same text that is stored.
    assert d.json("accounts", "Evil")[0]["name"].startswith("Evil\x1b[31m\u202e")
    d.close()


def test_sql_is_plain():
    d = filled()
    out = d.ok("sql", "SELECT name AS 名称, annual_revenue FROM account "
                      "WHERE id='%s'; SELECT 1 AS one" % uuid(1))
    assert rows(out) == ["名称          annual_revenue",
                         "上海行囊商店       123456789", "", "one", "  1"] \
        or rows(out)[1].split() == ["上海行囊商店", "123456789"], out
    two = d.ok("sql", "--json", "SELECT 1 AS a, NULL AS b, x'00ff' AS c, "
               "0.1 AS r; -- nothing\nSELECT 'q\"' AS s WHERE 0")
    parts = two.replace("]\n[", "]\x00[").split("\x00")
    assert [json.loads(p) for p in parts] == [
        [{"a": 1, "b": None, "c": "00ff", "r": 0.1}], []], two
    assert d.ok("sql", input=b"SELECT 7 AS n") == "n\n7\n"
    assert d.ok("sql", "-", input=b"SELECT 8 AS n") == "n\n8\n"
    assert d.ok("sql", "--", "--x\nSELECT 9 AS n") == "n\n9\n"
    assert d.ok("sql", "") == ""
    assert "NUL" in d.fails(1, "sql", input=b"SELECT 1;\0DROP TABLE visit")
    assert "syntax error" in d.fails(1, "sql", "SELECT 1; SELCT 2")
    assert "no such table: nope" in d.fails(1, "sql", "SELECT * FROM nope")
    # More rows than the printer holds at once.
    many = d.ok("sql", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT "
                "i+1 FROM n WHERE i<2500) SELECT i FROM n")
    assert [int(x) for x in rows(many)[1:]] == list(range(1, 2501))
    d.close()


def test_tables_are_described():
    d = filled()
    t = {x["name"]: x for x in d.json("tables")}
    assert t["account"]["rows"] == 6 and t["account"]["label"] == "Account"
    c = {x["name"]: x for x in d.json("tables", "account")}
    assert c["credit_limit"]["writable"] is False
    assert c["name"]["policy"] == "keep" and c["name"]["required"] is True
    assert "vip (VIP)" in c["class"]["detail"]
    assert "客户分类" in d.ok("tables", "account", lang="zh")
    assert "no table \"nope\"" in d.fails(1, "tables", "nope")
    d.close()


main(globals())
