"""Arguments, languages, exit codes, folders and catalogues that do not fit."""

import json
import os
import subprocess
import tempfile

from device import REPLICA, SATCHEL, Device, filled, main

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
CATALOGUE = os.path.join(TOP, "proto", "catalogue", "field_sales.json")


def test_the_language_comes_from_option_or_environment():
    d = filled()
    for env, zh in (
        ({"LC_ALL": "zh_CN.UTF-8"}, True),
        ({"LC_ALL": "", "LANG": "zh_CN.UTF-8"}, True),
        ({"LC_ALL": "en_US.UTF-8", "LANG": "zh_CN.UTF-8"}, False),
        ({"LC_ALL": "C"}, False),
        ({"LC_ALL": "zha"}, False),
    ):
        out = d.ok("status", lang=None, env=env)
        assert ("本机已保存" in out) == zh, (env, out)
    assert "本机已保存" in d.ok("status", lang="zh")
    assert "saved here" in d.ok("status", lang="en",
                                env={"LC_ALL": "zh_CN.UTF-8"})
    assert "en or zh" in d.fails(2, "status", lang="fr")
    d.close()


def test_every_command_has_help_in_both_languages():
    d = filled()
    text = d.ok("--help", dir=False)
    names = [l.split()[0] for l in text.split("\n")
             if l.startswith("  ") and not l.startswith("  --")]
    assert "log-visit" in names and len(names) == 20, names
    for n in names:
        en = d.ok(n, "--help", dir=False)
        zh = d.ok(n, "--help", dir=False, lang="zh")
        assert en.startswith("usage: satchel") and "satchel" in zh
        assert zh.startswith("用法") and zh != en
    d.close()


def test_usage_is_checked_before_anything_is_opened():
    d = Device()
    assert "no command" in d.fails(2, "fly")
    assert "没有命令" in d.fails(2, "fly", lang="zh")
    assert "usage" in d.fails(2)
    assert "not understood" in d.fails(2, "status", "--nope")
    assert "not understood" in d.fails(2, "status", "--json=1")
    assert "not understood" in d.fails(2, "status", "more")
    assert "--dir" in d.fails(2, "status", dir=False)
    d.close()


def test_the_folder_may_stand_anywhere():
    d = Device()
    env = {"SATCHEL_DIR": d.dir}
    d.ok("status", dir=False, env=env)
    d.ok("status", "--dir", d.dir, dir=False)
    d.ok("status", "--dir=" + d.dir, dir=False)
    d.ok("status", env={"SATCHEL_DIR": "/nowhere"})
    d.close()


def test_folders_that_are_no_device():
    d = Device()
    with tempfile.TemporaryDirectory() as other:
        for lang, says in (("en", "not an enrolled device"),
                           ("zh", "不是已注册的设备")):
            err = d.fails(1, "status", "--dir", other, dir=False, lang=lang)
            assert says in err, err
        assert os.listdir(other) == []
        with open(os.path.join(other, "replica.db"), "w") as f:
            f.write("this is no database, " * 200)
        err = d.fails(1, "status", "--dir", other, dir=False)
        assert "is not a replica" in err, err
    db = d.connect()
    db.execute("PRAGMA user_version = 99")
    db.close()
    err = d.fails(1, "status")
    assert "newer" in err, err
    d.close()


def smaller(drop_tables=(), drop_columns=()):
    with open(CATALOGUE, encoding="utf-8") as f:
        c = json.load(f)
    c["tables"] = [t for t in c["tables"] if t["name"] not in drop_tables]
    for t in c["tables"]:
        t["columns"] = [
            k for k in t["columns"]
            if k.get("ref") not in drop_tables
            and (t["name"], k["name"]) not in drop_columns]
        kept = {k["name"] for k in t["columns"]} | {"id"}
        t["indexes"] = [i for i in t.get("indexes", [])
                        if all(k.split()[0] in kept for k in i)]
        t["scope"] = [s for s in t["scope"]
                      if not any(isinstance(v, str) and v not in kept
                                 for v in s.values())]
        if t.get("move_with") not in kept:
            t.pop("move_with", None)
        t.pop("rollup", None)  # what they are computed from may be gone
        t.pop("history", None)
    return c


def device_with(catalogue):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump(catalogue, f)
        f.flush()
        return Device(catalogue=f.name)


def test_catalogues_without_a_table_get_a_sentence():
    d = device_with(smaller({"opportunity", "stage_event", "task", "note",
                             "conflict", "ticket"}))
    for words in (["pipeline"], ["deals"], ["tasks"], ["conflicts"],
                  ["resolve", "x", "--keep", "shown"]):
        err = d.fails(1, *words)
        assert "catalogue has no table" in err, (words, err)
        assert "没有数据表" in d.fails(1, *words, lang="zh")
    d.ok("sql", "INSERT INTO account(name) VALUES('Acme')")
    d.ok("log-visit", "--account", "Acme")
    err = d.fails(1, "log-visit", "--account", "Acme", "--next", "today",
                  "--task")
    assert "no table \"task\"" in err, err
    assert d.query("SELECT count(*) FROM visit") == [(1,)]
    assert [x["what"] for x in d.json("today")] == []
    d.close()


def test_catalogues_without_a_column():
    d = device_with(smaller(drop_columns={("account", "class"),
                                          ("visit", "outcome"),
                                          ("visit", "plan_at"),
                                          ("opportunity", "amount")}))
    d.ok("sql", "INSERT INTO account(name) VALUES('Acme')")
    assert "Class" not in d.ok("accounts")
    assert "no account.class" in d.fails(1, "accounts", "--class", "vip")
    err = d.fails(1, "log-visit", "--account", "Acme", "--outcome", "done")
    assert "no visit.outcome" in err
    assert "stages and amounts" in d.fails(1, "pipeline")
    d.ok("deals")
    d.ok("today")
    d.close()


def test_output_that_cannot_be_written_is_an_error():
    d = filled()
    with open("/dev/full", "wb") as full:
        for words in (["accounts"], ["status", "--json"], ["tables"]):
            p = subprocess.run([SATCHEL, "--dir", d.dir] + words, stdout=full,
                               stderr=subprocess.PIPE, timeout=60)
            assert p.returncode == 1, (words, p)
            assert b"could not be written" in p.stderr, p
    d.close()


def test_version():
    p = subprocess.run([SATCHEL, "--version"], capture_output=True)
    assert p.returncode == 0 and p.stdout.startswith(b"satchel ")


main(globals())
