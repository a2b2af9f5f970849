"""2,734 shops with Chinese names under 大区 -> 省 -> 市: loaded by the script,
found by Chinese text on the device, and shown only to whom they belong.
"""
# timeout: 200

import csv
import os
import unicodedata

from harness import SERVER, Org, check, data_folder, equal, main, run

SOURCE = os.environ.get(
    "SATCHEL_SOURCE",
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
)
HERE = os.path.join(SOURCE, "deploy/import/shops_china")
SHOPS = data_folder("starbucks_china")
data_folder("china_divisions")


def shops():
    with open(os.path.join(SHOPS, "china.csv"), newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def load(org, folder=os.path.dirname(SHOPS)):
    return run(
        [os.path.join(HERE, "load"), org.dir, folder],
        env={"SATCHEL_SERVER": SERVER},
    ).stdout


def below(device, code):
    """Ids of a territory and of all below it, by the device's own tree."""
    rows = device.sql(
        "WITH RECURSIVE t(id) AS (SELECT id FROM territory WHERE code = ? "
        "UNION SELECT c.id FROM territory c JOIN t ON c.parent_id = t.id) "
        "SELECT id FROM t",
        (code,),
    )
    return {r[0] for r in rows}


def found_by_chinese_text():
    rows = shops()
    equal(len(rows), 2734, "shops in the file")
    with Org("shops") as org:
        check("2734 written, 0 unchanged, 0 refused" in load(org), "first load")
        done = run([os.path.join(HERE, "load"), org.dir, HERE], ok=1)
        check("holds provinces.csv" in done.stderr, done.stderr)
        # the set's own folder does as well as the one that holds it
        for line in load(org, SHOPS).splitlines()[1::2]:
            check(line.startswith("0 written, "), f"second load: {line}")
        org.start()
        hq, east, shanghai = (org.device(n) for n in ("hq", "east", "shanghai"))

        equal(hq.one("SELECT count(*) FROM account"), 2734, "all shops")
        got = dict(hq.sql("SELECT code, name FROM account"))
        equal(got, {r["store_number"]: r["store_name"] for r in rows}, "names")
        for text in ("太古", "万达", "机场", "虹桥", "店", "a"):
            wanted = sorted(r["store_number"] for r in rows if text in r["store_name"])
            found = hq.sql(
                "SELECT code FROM account WHERE instr(name, ?) ORDER BY code", (text,)
            )
            check(len(wanted) > 0, f"the file has {text}")
            equal([r[0] for r in found], wanted, text)
        wanted = sum("太古" in r["store_name"] for r in rows)
        check(wanted > 0, "the file has such shops")
        equal(
            len(hq.sql("SELECT 1 FROM account WHERE name LIKE '%太古%'")),
            wanted,
            "LIKE",
        )

        # The command line finds the same, and prints it readable.
        told = hq.json("accounts", "--search", "太古")
        equal(len(told), wanted, "accounts --search")
        table = hq.cli("accounts", "--search", "太古").stdout
        check("太古" in table, table[:400])

        # Each sees what is his: by the tree of territories, which all hold.
        tree = hq.sql("SELECT id FROM territory")
        equal(len(tree), 1 + 4 + 34 + 342, "territories")
        for device, code in ((east, "CN-East"), (shanghai, "31"), (hq, "CN")):
            mine = below(device, code)
            wanted = {
                r[0]
                for r in hq.sql("SELECT code, territory_id FROM account")
                if r[1] in mine
            }
            got = {r[0] for r in device.sql("SELECT code FROM account")}
            equal(got ^ wanted, set(), f"{device.login}: shops")
            check(len(got) > 0, f"{device.login}: none")
            equal(device.status()["digest"], "equal", device.login)
        # 542 call their city 上海市; of the others with its province code one
        # names a city of another province, and the city is the better word.
        in_shanghai = {
            r["store_number"]
            for r in rows
            if r["province_code"] == "31" and r["city"] != "宁波市"
        }
        equal(len(in_shanghai), 550, "Shanghai's shops in the file")
        got = {r[0] for r in shanghai.sql("SELECT code FROM account")}
        equal(got ^ in_shanghai, set(), "the Shanghai rep's shops")
        check(
            550 < east.one("SELECT count(*) FROM account") < 2734,
            "the regional manager sees his region only",
        )

        # A visit noted in Chinese in Shanghai is read in the region's office.
        name, shop = shanghai.sql(
            "SELECT name, id FROM account WHERE name LIKE '%虹桥%' ORDER BY id"
        )[0]
        note = ("--note", "补货两箱，下周回访")
        words = ("log-visit", "--account", shop, "--outcome", "order")
        shanghai.cli(*words, *note)
        equal(shanghai.once(), 0, "rejected")
        east.once()
        equal(
            east.one(
                "SELECT a.name, v.notes FROM visit v JOIN account a "
                "ON a.id = v.account_id"
            ),
            (name, "补货两箱，下周回访"),
        )
        org.verify()


def names_stay_as_they_were_written():
    """Nobody normalizes text: composed and decomposed forms stay apart."""
    with Org("shops") as org:
        load(org)
        org.start()
        rep, east = org.device("shanghai"), org.device("east")
        forms = [unicodedata.normalize(f, "咖啡é店ｶﾞ") for f in ("NFC", "NFD", "NFKC")]
        equal(len(set(forms)), 3, "the test's own forms")
        for form in forms:
            rep.sql("INSERT INTO account(name, code) VALUES (?, 'form')", (form,))
        equal(rep.once(), 0, "rejected")
        east.once()
        got = east.sql("SELECT name FROM account WHERE code = 'form'")
        equal(sorted(r[0] for r in got), sorted(forms))


main([found_by_chinese_text, names_stay_as_they_were_written])
