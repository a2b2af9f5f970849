"""The commands that write: log-visit, resolve, rejected, sql; refusals."""

import json
import time

from device import ANN, BOB, EAST, Device, filled, insert, main, uuid


def test_log_visit_is_one_row_with_all_that_was_said():
    d = filled()
    v = d.json("log-visit", "--account", "行囊商", "--outcome", "下单",
               "--purpose", "return_visit", "--note", "要 20 个\n\"样品\"",
               "--next", "2026-12-01 09:30", "--next-action", "送货",
               "--at", "2026-11-20 10:00", "--until", "2026-11-20T03:00:00Z",
               "--amount", "1054.50", "--lat", "31.23", "--lon=121.47")
    assert v["saved"] is True and v["task_id"] is None
    got = d.json("visits", "--account", uuid(1))
    assert len(got) == 1
    g = got[0]
    assert g["id"] == v["id"]
    want = {"account_id": uuid(1), "outcome": "order", "user_id": ANN,
            "territory_id": EAST, "purpose": "return_visit",
            "notes": "要 20 个\n\"样品\"", "next_action": "送货",
            "next_at": "2026-12-01T01:30:00.000Z",
            "started_at": "2026-11-20T02:00:00.000Z",
            "ended_at": "2026-11-20T03:00:00.000Z", "amount": 1054.5,
            "lat": 31.23, "lon": 121.47, "state": "done"}
    for k, w in want.items():
        assert g[k] == w, (k, g[k], w)
    # It was captured: the daemon has something to send.
    assert d.json("status")["pending_rows"] == 1
    d.close()


def test_log_visit_with_a_task_is_one_transaction():
    d = filled()
    out = d.ok("log-visit", "--account", "Acme", "--outcome", "done",
               "--next", "+7d", "--task")
    assert "saved here" in out and "task" in out
    t = d.json("tasks")
    assert len(t) == 1 and t[0]["title"] == "Follow up: Acme"
    assert t[0]["account_id"] == uuid(3)
    assert t[0]["visit_id"] == d.json("visits")[0]["id"]
    assert t[0]["due_at"] == d.json("visits")[0]["next_at"]
    # The task is refused: the visit is not there either.
    db = d.connect()
    db.execute("CREATE TRIGGER no AFTER INSERT ON task BEGIN "
               "SELECT RAISE(ABORT, 'task: no'); END")
    db.close()
    err = d.fails(1, "log-visit", "--account", "Acme", "--next", "tomorrow",
                  "--task")
    assert "task: no" in err, err
    assert len(d.json("visits")) == 1
    d.close()


def test_planned_visits_show_up_today():
    d = filled()
    d.ok("log-visit", "--account", "Acme", "--planned", "--at", "today")
    v = d.json("visits")[0]
    assert v["state"] == "planned" and v["plan_at"] == v["started_at"]
    assert [x["what"] for x in d.json("today")] == ["visit"]
    assert "--at" in d.fails(2, "log-visit", "--account", "Acme",
                             "--planned")
    d.close()


def test_accounts_are_found_by_name():
    d = filled()

    def logged(word):
        v = d.json("log-visit", "--account", word)
        return [x["account_id"] for x in d.json("visits")
                if x["id"] == v["id"]][0]

    assert logged("Acme") == uuid(3)  # exact before another case
    assert logged("acme") == uuid(4)
    assert logged("juice") == uuid(6)  # a part that is unique
    assert logged("JUICE") == uuid(6)
    assert logged(uuid(2)) == uuid(2)
    assert logged(uuid(2)[-12:]) == uuid(2)
    n = len(d.json("visits"))
    err = d.fails(1, "log-visit", "--account", "acm")
    assert uuid(3) in err and uuid(4) in err and "fits 2" in err, err
    err = d.fails(1, "log-visit", "--account", "上海", lang="zh")
    assert "匹配 2 条" in err and "上海 Bag Shop" in err, err
    assert "there is no" in d.fails(1, "log-visit", "--account", "nobody")
    d.fails(2, "log-visit", "--account", "")
    assert len(d.json("visits")) == n
    # Many candidates: the list ends.
    d.from_server(*[insert("account", id=uuid(100 + i), name="Branch %d" % i)
                    for i in range(50)])
    err = d.fails(1, "log-visit", "--account", "branch")
    assert "and 30 more" in err and err.count("Branch") == 20, err
    d.close()


def test_bad_words_write_nothing():
    d = filled()
    for words, code, says in (
        (["--outcome", "zzz"], 1, "order (Order taken)"),
        (["--next", "someday"], 1, "a time such as"),
        (["--at", "2026-13-01"], 1, "a time such as"),
        (["--amount", "1.234"], 1, "an amount such as"),
        (["--amount", "-5"], 1, "visit.amount"),  # the trigger's sentence
        (["--lat", "91"], 1, "visit.lat"),
        (["--lat", "nan"], 1, "a number"),
        (["--task"], 2, "--next"),
        (["--class", "vip"], 2, "--class means nothing here"),
        (["extra"], 2, "extra"),
        (["--note"], 2, "--note"),
        (["--note", b"\xff\xfe"], 2, "not understood"),
    ):
        err = d.fails(code, "log-visit", "--account", "Acme", *words)
        assert says in err, (words, err)
    assert "--account" in d.fails(2, "log-visit")
    assert d.query("SELECT count(*) FROM visit") == [(0,)]
    d.close()


def test_refusals_name_column_and_role():
    d = filled()
    err = d.fails(1, "sql", "UPDATE target SET value = 99 WHERE id = '%s'"
                  % uuid(21))
    assert "target.value" in err and "rep" in err, err
    assert d.query("SELECT value FROM target") == [(40.0,)]
    err = d.fails(1, "sql", "UPDATE account SET class = 'gold'")
    assert "account.class" in err and "potential" in err
    err = d.fails(1, "sql", "UPDATE account SET credit_limit = 5")
    assert "account.credit_limit" in err and "rep" in err
    err = d.fails(1, "sql", "INSERT INTO conflict(state) VALUES('open')")
    assert "only the server" in err
    # People read their own language; the trigger's text stays English.
    err = d.fails(1, "sql", "UPDATE account SET credit_limit = 5", lang="zh")
    assert "客户·信用额度：您的角色（销售代表）无权修改" in err, err
    err = d.fails(1, "sql", "UPDATE account SET class = 'x'", lang="zh")
    assert "客户分类" in err and "vip（VIP）" in err and "potential（潜在）" in err
    err = d.fails(1, "sql", "INSERT INTO conflict(state) VALUES('open')",
                  lang="zh")
    assert "由服务器自动生成" in err
    err = d.fails(1, "sql", "UPDATE account SET nonsense = 5", lang="zh")
    assert "没有名为 nonsense 的列" in err, err
    # A manager may.
    d.close()
    d = filled("manager")
    d.ok("sql", "UPDATE target SET value = 99")
    assert d.query("SELECT value FROM target") == [(99.0,)]
    d.close()


def test_sql_statements_stand_for_themselves():
    d = filled()
    out = d.ok("sql", "UPDATE account SET city = 'Z' WHERE city = '上海'; "
               "CREATE TEMP TABLE x(a); DELETE FROM account WHERE name='Acme'")
    assert "3 rows changed" in out, out
    err = d.fails(1, "sql", "UPDATE account SET city = 'Q' WHERE id='%s'; "
                  "nonsense" % uuid(4))
    assert "nonsense" in err
    assert d.query("SELECT city FROM account WHERE id=?", (uuid(4),)) == [
        ("Q",)]
    err = d.fails(1, "sql", "BEGIN; UPDATE account SET city = 'W'")
    assert "rolled back" in err
    assert d.query("SELECT count(*) FROM account WHERE city='W'") == [(0,)]
    d.ok("sql", "BEGIN; UPDATE account SET city = 'W'; COMMIT")
    assert d.query("SELECT count(*) FROM account WHERE city='W'") == [(5,)]
    d.close()


def conflict(**more):
    c = dict(id=uuid(71), table_name="account", row_id=uuid(1), field="phone",
             kind="value", policy="lww", shown_value="222",
             losing_value="111", shown_by=BOB, losing_by=ANN,
             losing_at=1763712000000, state="open")
    c.update(more)
    return insert("conflict", **c)


def test_conflicts_are_listed_in_words():
    d = filled()
    d.from_server(
        conflict(),
        conflict(id=uuid(72), table_name="opportunity", row_id=uuid(11),
                 field="amount", policy="keep", shown_value="100050",
                 losing_value="99900"),
        conflict(id=uuid(73), field=None, kind="deleted", policy="delete",
                 shown_value=None, losing_value=None),
        conflict(id=uuid(74), state="auto"),
        conflict(id=uuid(75), table_name="gone", field="gone"),
    )
    all_ = {x["id"]: x for x in d.json("conflicts")}
    assert set(all_) == {uuid(71), uuid(72), uuid(73), uuid(75)}
    a = all_[uuid(72)]
    assert a["shown"] == 1000.5 and a["other"] == 999
    assert all_[uuid(71)]["row"] == "上海行囊商店"
    assert all_[uuid(71)]["other_by"] == "安娜"
    assert all_[uuid(71)]["other_at"] == "2025-11-21T08:00:00.000Z"
    text = d.ok("conflicts", lang="zh")
    assert "金额" in text and "1000.50" in text and "电话" in text, text
    assert len(d.json("conflicts", "--all")) == 5
    assert [x["id"] for x in d.json("conflicts", "--state", "auto")] == [
        uuid(74)]
    assert d.json("status")["conflicts_open"] == 4
    d.close()


def resolved(d):
    return d.query("SELECT conflict, value, typeof(value) FROM "
                   "satchel_resolve ORDER BY n")


def test_resolve_is_an_insert():
    d = filled()
    d.from_server(
        ("UPDATE account SET phone = '333' WHERE id = ?", (uuid(1),)),
        conflict(),
        conflict(id=uuid(72), table_name="opportunity", row_id=uuid(11),
                 field="amount", policy="keep", shown_value="100050",
                 losing_value="99900"),
        conflict(id=uuid(73), field=None, kind="deleted", policy="delete",
                 shown_value=None, losing_value=None),
        conflict(id=uuid(74), state="resolved"),
        conflict(id=uuid(75), table_name="target", row_id=uuid(21),
                 field="value", losing_value="41"),
        conflict(id=uuid(76), field="last_visit_at", policy="max",
                 shown_value="2", losing_value="1"),
        conflict(id=uuid(77), row_id=uuid(999)),
        conflict(id=uuid(78), table_name="opportunity", row_id=uuid(13),
                 field="stage", policy="ordered", shown_value="won",
                 losing_value="lost"),
        conflict(id=uuid(79), field="visit_count", policy="counter"),
    )
    # shown: what the row shows now, not what the entry remembers
    d.ok("resolve", uuid(71), "--keep", "shown")
    d.ok("resolve", uuid(71), "--keep", "other")
    d.ok("resolve", uuid(71), "--keep", "444")
    d.ok("resolve", uuid(72), "--keep", "other")
    d.ok("resolve", uuid(72), "--keep", "2000.01")
    d.ok("resolve", uuid(72)[-8:], "--keep", "shown")
    d.ok("resolve", uuid(73), "--keep", "shown")
    d.ok("resolve", uuid(73), "--keep", "other")
    d.ok("resolve", uuid(78), "--keep", "丢单")
    assert resolved(d) == [
        (uuid(71), "333", "text"), (uuid(71), "111", "text"),
        (uuid(71), "444", "text"), (uuid(72), 99900, "integer"),
        (uuid(72), 200001, "integer"), (uuid(72), 100050, "integer"),
        (uuid(73), "keep", "text"), (uuid(73), "delete", "text"),
        (uuid(78), "lost", "text")], resolved(d)
    n = len(resolved(d))
    for words, code, says in (
        ([uuid(74), "--keep", "other"], 1, "settled"),
        ([uuid(75), "--keep", "other"], 1, "target.value: your role"),
        ([uuid(76), "--keep", "other"], 1, "settled by its rule (max)"),
        ([uuid(79), "--keep", "5"], 1, "settled by its rule (counter)"),
        ([uuid(77), "--keep", "shown"], 1, "not on this device"),
        ([uuid(73), "--keep", "444"], 2, "--keep shown"),
        ([uuid(78), "--keep", "moon"], 1, "won (Won)"),
        ([uuid(72), "--keep", "moon"], 1, "an amount such as"),
        ([uuid(98), "--keep", "shown"], 1, "there is no"),
        ([uuid(71)], 2, "--keep is needed"),
        (["--keep", "shown"], 2, "CONFLICT is needed"),
    ):
        err = d.fails(code, "resolve", *words)
        assert says in err, (words, err)
    assert len(resolved(d)) == n
    d.close()


def reject(d, n, deltas, seq=None):
    db = d.connect()
    db.execute("INSERT INTO _satchel_rejected(n, seq, at, reason, sentence_en,"
               " sentence_zh, content) VALUES(?, ?, 1763712000000, 'role',"
               " 'Your role may not.', '您的角色无权。', ?)",
               (n, seq, json.dumps(deltas)))
    db.close()


def test_changes_without_their_row_are_listed():
    d = Device()
    assert d.json("rejected", "waiting") == []
    assert d.json("status")["orphans"] == 0
    db = d.connect()
    db.executemany(
        "INSERT INTO _satchel_ghost VALUES(3,"
        " x'00000000000070008000000000000001', 4, 'update', 1600000000000,"
        " ?, ?, ?)",
        [("phone", "100", "555"), ("tags", '["a"]', '["b"]')])
    db.commit()
    db.close()
    got = d.json("rejected", "waiting")
    assert [(x["field"], x["before"], x["after"]) for x in got] == [
        ("phone", "100", "555"), ("tags", '["a"]', '["b"]')], got
    assert got[0]["id"] == "00000000-0000-7000-8000-000000000001", got
    assert got[0]["op"] == "update" and got[0]["seq"] == 4
    out = d.ok("rejected", "waiting")
    assert "100" in out and "555" in out, out
    assert "Before" in out and "修改前" in d.ok("rejected", "waiting", lang="zh")
    assert d.json("status")["orphans"] == 1
    assert "row is not here: 1 (see: satchel rejected waiting)" in d.ok("status")
    assert "记录不在本机的修改：1" in d.ok("status", lang="zh")
    d.fails(2, "rejected", "waiting", "1")
    d.close()


def test_rejected_changes_can_be_seen_retried_and_dropped():
    d = filled()
    reject(d, 1, [{"table": "account", "id": uuid(1), "op": "update",
                   "fields": {"phone": {"before": None, "after": "5"},
                              "visit_count": {"add": 2},
                              "annual_revenue": {"before": 1, "after": 250},
                              "tags": {"adds": ["new"],
                                       "removes": ["gold"]}}}], 4)
    reject(d, 2, [{"table": "visit", "id": uuid(81), "op": "insert",
                   "fields": {"account_id": {"before": None,
                                             "after": uuid(3)},
                              "notes": {"before": None, "after": "x"}}},
                  {"table": "account", "id": uuid(4), "op": "delete",
                   "fields": {}}])
    reject(d, 3, [{"table": "target", "id": uuid(21), "op": "update",
                   "fields": {"value": {"before": 40.0, "after": 41.0}}}])
    reject(d, 4, [{"table": "account", "id": uuid(997), "op": "update",
                   "fields": {"phone": {"before": None, "after": "5"}}}])
    reject(d, 5, [{"table": "nope", "id": uuid(997), "op": "update",
                   "fields": {"phone": {"before": None, "after": "5"}}}])
    got = d.json("rejected")
    assert [(x["n"], x["seq"], x["reason"]) for x in got][0] == (1, 4, "role")
    assert got[0]["at"] == "2025-11-21T08:00:00.000Z"
    assert "Your role may not." in d.ok("rejected", "list")
    assert "您的角色无权" in d.ok("rejected", lang="zh")
    show = {x["field"]: x for x in d.json("rejected", "show", "1")}
    assert show["annual_revenue"]["before"] == 0.01
    assert show["annual_revenue"]["after"] == 2.5
    assert show["tags"]["after"] == ["new"]
    assert show["phone"]["table"] == "account"
    assert "2.50" in d.ok("rejected", "show", "1")
    d.ok("rejected", "retry", "1")
    a = d.json("accounts", "行囊商店")[0]
    assert a["phone"] == "5" and a["annual_revenue"] == 2.5
    assert a["visit_count"] == 2 and sorted(a["tags"]) == ["new", "老客户"]
    assert d.json("rejected", "retry", "2") == {"retried": 1}
    assert d.json("visits")[0]["id"] == uuid(81)
    assert uuid(4) not in [x["id"] for x in d.json("accounts")]
    # What the device refuses stays in the list, with its sentence.
    err = d.fails(1, "rejected", "retry", "3")
    assert "target.value" in err and "rep" in err
    err = d.fails(1, "rejected", "retry", "4")
    assert "no longer on this device" in err
    err = d.fails(1, "rejected", "retry", "5")
    assert "does not have" in err
    assert [x["n"] for x in d.json("rejected")] == [3, 4, 5]
    assert d.json("rejected", "show", "5")[0]["table"] == "nope"
    # All or none.
    reject(d, 6, [{"table": "account", "id": uuid(2), "op": "update",
                   "fields": {"phone": {"before": None, "after": "6"}}}])
    d.fails(1, "rejected", "retry", "all")
    assert d.json("accounts", "Bag")[0]["phone"] is None
    d.ok("rejected", "discard", "3")
    assert d.json("rejected", "discard", "all") == {"discarded": 3}
    assert d.json("rejected") == []
    assert "no rejected entry 3" in d.fails(1, "rejected", "discard", "3")
    d.fails(2, "rejected", "discard")
    d.fails(2, "rejected", "eat", "3")
    d.fails(2, "rejected", "show", "x")
    d.close()


def test_what_hangs_together_is_retried_together():
    d = filled()
    new = [{"table": "account", "id": uuid(90), "op": "insert",
            "fields": {"name": {"before": None, "after": "N"}}}]
    visit = [{"table": "visit", "id": uuid(91), "op": "insert",
              "fields": {"account_id": {"before": None, "after": uuid(90)}}}]
    other = [{"table": "account", "id": uuid(3), "op": "update",
              "fields": {"phone": {"before": None, "after": "5"}}}]
    reject(d, 1, new)
    reject(d, 2, other)
    reject(d, 3, visit)
    # The visit alone would refer to nothing: its account goes first.
    assert d.json("rejected", "retry", "3") == {"retried": 2}
    assert [x["n"] for x in d.json("rejected")] == [2]
    assert d.query("SELECT name FROM account WHERE id=?", (uuid(90),)) == [
        ("N",)]
    assert d.query("SELECT account_id FROM visit") == [(uuid(90),)]
    # One is dropped alone: nothing else goes with it.
    reject(d, 4, [dict(new[0], id=uuid(92))])
    assert d.json("rejected", "discard", "2") == {"discarded": 1}
    assert [x["n"] for x in d.json("rejected")] == [4]
    d.close()


def test_a_locked_replica_is_busy_not_broken():
    d = filled()
    db = d.connect()
    db.execute("BEGIN IMMEDIATE")
    started = time.time()
    err = d.fails(75, "log-visit", "--account", "Acme")
    assert "another program is writing" in err
    assert time.time() - started < 30
    # Reading goes on meanwhile.
    assert len(d.json("accounts")) == 6
    db.execute("ROLLBACK")
    db.close()
    d.ok("log-visit", "--account", "Acme")
    d.close()


main(globals())
