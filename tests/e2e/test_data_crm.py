"""The CRM sales set: 8,800 deals of one year, loaded by its script, and the
golden totals to the unit.
"""
# timeout: 200

import csv
import os
import subprocess

from harness import SERVER, Org, check, data_folder, equal, main, run

SOURCE = os.environ.get(
    "SATCHEL_SOURCE",
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
)
HERE = os.path.join(SOURCE, "deploy/import/crm_sales_opportunities")
DATA = data_folder("crm_sales_opportunities")


def load(org, folder=DATA):
    """What the load script prints, as {map: (written, unchanged, refused)}."""
    done = run(
        [os.path.join(HERE, "load"), org.dir, folder],
        env={"SATCHEL_SERVER": SERVER},
    )
    lines, counts = done.stdout.splitlines(), {}
    for name, result in zip(lines[::2], lines[1::2]):
        words = result.replace(",", "").split()
        counts[name.split(" -> ")[1]] = tuple(map(int, words[0:6:2]))
    return counts


def pipeline():
    with open(os.path.join(DATA, "sales_pipeline.csv"), newline="") as f:
        return list(csv.DictReader(f))


def report(org, by, column):
    rows = org.json("report", "pipeline", "--by", by)
    return {r[by]: r[column] for r in rows}


def golden_totals():
    with Org("crm") as org:
        counts = load(org)
        equal(counts["pipeline"], (8800, 0, 0), "deals")
        equal(counts["accounts"], (85, 0, 0), "accounts")
        equal(counts["products"], (7, 0, 0), "products")
        equal(counts["patches"], (35, 0, 0), "agents")

        regions = report(org, "region", "won_amount")
        equal(
            regions,
            {"West": 3568647, "Central": 3346293, "East": 3090594},
            "won by region",
        )
        equal(sum(regions.values()), 10005534, "won")
        equal(
            report(org, "manager", "won_amount"),
            {
                "melvin.marxen": 2251930,
                "summer.sewald": 1964750,
                "rocco.neubert": 1960545,
                "celia.rouche": 1603897,
                "cara.losch": 1130049,
                "dustin.brinkmann": 1094363,
            },
            "won by manager",
        )
        quarters = report(org, "quarter", "won_amount")
        equal(
            {q: v for q, v in quarters.items() if v},
            {
                "2017-Q1": 1134672,
                "2017-Q2": 3086111,
                "2017-Q3": 2982255,
                "2017-Q4": 2802496,
            },
            "won by quarter",
        )
        equal(
            report(org, "stage", "deals"),
            {"prospect": 500, "opportunity": 1589, "won": 4238, "lost": 2473},
            "deals by stage",
        )
        # Nation = sum of reps = sum of months = sum of products.
        for by in ("rep", "month", "product", "territory"):
            equal(sum(report(org, by, "won_amount").values()), 10005534, by)
            equal(sum(report(org, by, "deals").values()), 8800, by)
        # GTXPro is GTX Pro, and open deals without an account are kept.
        wanted = sum(r["product"] == "GTXPro" for r in pipeline())
        equal(report(org, "product", "deals")["GTX Pro"], wanted, "GTX Pro")
        alone = sum(r["account"] == "" for r in pipeline())
        equal(alone, 1425, "deals without account in the file")
        equal(
            org.sql("SELECT count(*) FROM opportunity WHERE account_id IS NULL"),
            [(alone,)],
            "deals without account",
        )
        org.verify()

        # Again: nothing changes, so no device is sent anything.
        before = org.sql("SELECT count(*), max(seq) FROM _feed")
        # (the folder that holds the set does as well as the set's own)
        for name, count in load(org, os.path.dirname(DATA)).items():
            equal((name, count[0], count[2]), (name, 0, 0), "second load")
        equal(org.sql("SELECT count(*), max(seq) FROM _feed"), before, "feed")


def devices_of_the_set():
    """An agent holds his deals and the accounts he works, nothing else; his
    manager those of the team; head office everything."""
    with Org("crm") as org:
        load(org)
        org.start()
        deals = pipeline()
        agent, manager, hq = (
            org.device(login)
            for login in ("moses.frase", "dustin.brinkmann", "hq")
        )
        mine = {
            r["opportunity_id"] for r in deals if r["sales_agent"] == "Moses Frase"
        }
        shops = {
            r["account"]
            for r in deals
            if r["sales_agent"] == "Moses Frase" and r["account"]
        }
        equal({r[0] for r in agent.sql("SELECT code FROM opportunity")}, mine)
        equal({r[0] for r in agent.sql("SELECT name FROM account")}, shops)
        with open(os.path.join(DATA, "sales_teams.csv"), newline="") as f:
            team = {
                r["sales_agent"]
                for r in csv.DictReader(f)
                if r["manager"] == "Dustin Brinkmann"
            }
        theirs = {
            r["opportunity_id"] for r in deals if r["sales_agent"] in team
        }
        equal({r[0] for r in manager.sql("SELECT code FROM opportunity")}, theirs)
        equal(hq.one("SELECT count(*) FROM opportunity"), 8800)
        equal(hq.one("SELECT count(*) FROM account"), 85)
        equal(
            hq.one("SELECT sum(amount) FROM opportunity WHERE stage = 'won'"),
            1000553400,
            "head office's own sum, in cents",
        )

        # A deal won offline moves the totals by exactly its amount.
        code, amount = agent.one(
            "SELECT code, 12345 FROM opportunity WHERE stage = 'opportunity' "
            "ORDER BY code LIMIT 1"
        )
        agent.sql(
            "UPDATE opportunity SET stage = 'won', amount = ?, "
            "closed_at = '2018-01-05' WHERE code = ?",
            (amount * 100, code),
        )
        equal(agent.once(), 0, "rejected")
        equal(sum(report(org, "region", "won_amount").values()), 10005534 + amount)
        hq.once()
        equal(
            hq.one("SELECT sum(amount) FROM opportunity WHERE stage = 'won'"),
            1000553400 + amount * 100,
        )
        # Loading the file again does not undo what the agent did since: the
        # file's empty fields say nothing, and an equal stage writes nothing.
        org.verify()


HEADER = (
    "opportunity_id,sales_agent,product,account,"
    "deal_stage,engage_date,close_date,close_value"
)
GOOD = b"OK000001,Moses Frase,GTXPro,Cancity,Won,2018-01-02,2018-02-03,100"
# One field wrong in each: (line, what is wrong with it, the line corrected).
BAD = (
    (
        b"BAD00001,Nobody Here,GTX Pro,Cancity,Won,2018-01-02,2018-02-03,100",
        "Nobody Here",
        b"BAD00001,Moses Frase,GTX Pro,Cancity,Won,2018-01-02,2018-02-03,100",
    ),
    (
        b"BAD00002,Moses Frase,GTX Pro,Cancity,Won,2018-13-02,2018-02-03,100",
        "opened_at",
        b"BAD00002,Moses Frase,GTX Pro,Cancity,Won,2018-01-02,2018-02-03,100",
    ),
    (
        b"BAD00003,Moses Frase,GTX Pro",
        "fields",
        b"BAD00003,Moses Frase,GTX Pro,Cancity,Won,2018-01-02,2018-02-03,100",
    ),
    (
        b"BAD00004,Moses Frase,GTX Pro,Can\xe9city,Won,2018-01-02,2018-02-03,9",
        "UTF-8",
        b"BAD00004,Moses Frase,GTX Pro,Cancity,Won,2018-01-02,2018-02-03,9",
    ),
    (
        b"BAD00005,Moses Frase,GTX Pro,Cancity,Maybe,2018-01-02,2018-02-03,1",
        "stage",
        b"BAD00005,Moses Frase,GTX Pro,Cancity,Lost,2018-01-02,2018-02-03,1",
    ),
    (
        b"BAD00006,Moses Frase,GTX Pro,Cancity,Won,2018-01-02,2018-02-03,1e5x",
        "amount",
        b"BAD00006,Moses Frase,GTX Pro,Cancity,Won,2018-01-02,2018-02-03,1",
    ),
    (
        b",Moses Frase,GTX Pro,Cancity,Won,2018-01-02,2018-02-03,1",
        "opportunity_id",
        b"BAD00007,Moses Frase,GTX Pro,Cancity,Won,2018-01-02,2018-02-03,1",
    ),
)


def bad_lines_go_to_the_reject_file():
    with Org("crm") as org:
        load(org)
        lines = [HEADER.encode(), GOOD, b""]  # an empty line is no line
        at = {}  # line number in the file -> index in BAD
        for i, (bad, _, _) in enumerate(BAD):
            lines.append(bad)
            at[len(lines)] = i
            lines.append(
                b'OKx%05d,Moses Frase,GTX Pro,,Engaging,2018-01-02,,' % i
            )
        # A field with a line break in it: the numbers behind it still count.
        lines.append(b'"OKy\n0001",Moses Frase,GTX Pro,,Engaging,2018-01-02,,')
        lines.append(b"BAD00008,Moses Frase,No Such,,Engaging,2018-01-02,,")
        last = len(lines) + 1
        path = os.path.join(org.top, "in.csv")
        with open(path, "wb") as f:
            f.write(b"\r\n".join(lines) + b"\r\n")
        with open(path, "rb") as f:
            numbered = f.read().split(b"\n")
        check(numbered[last - 1].startswith(b"BAD00008"), "the test's own count")
        map_file = os.path.join(HERE, "pipeline.json")
        done = org.cmd("import", "--map", map_file, path, ok=1)
        good = len(BAD) + 2
        check(
            f"{good} written, 0 unchanged, {len(BAD) + 1} refused" in done.stdout,
            done.stdout,
        )
        rejects = path + ".reject.csv"
        check(rejects in done.stdout, "the reject file is named")
        with open(rejects, "rb") as f:
            raw = f.read()
        check(b"Can\xe9city" in raw, "a refused line is kept byte for byte")
        with open(rejects, encoding="latin-1", newline="") as f:
            told = {int(r["line"]): r["reason"] for r in csv.DictReader(f)}
        equal(sorted(told), sorted([*at, last]), "line numbers")
        for number, i in at.items():
            check(BAD[i][1] in told[number], f"{BAD[i][1]}: {told[number]}")
        check("No Such" in told[last], told[last])

        # Corrected as a person would: in the reject file itself.
        fixed = os.path.join(org.top, "fixed.csv")
        with open(fixed, "wb") as f:
            f.write(b"line,reason," + HEADER.encode() + b"\n")
            for i, (_, _, right) in enumerate(BAD):
                f.write(b'%d,"was wrong, is right",' % i + right + b"\n")
        done = org.cmd("import", "--map", map_file, fixed)
        check(f"{len(BAD)} written" in done.stdout, done.stdout)
        check(not os.path.exists(fixed + ".reject.csv"), "no reject file")
        rows = org.sql(
            "SELECT code FROM opportunity WHERE code LIKE 'BAD0000%' ORDER BY code"
        )
        equal([r[0] for r in rows], [f"BAD{i + 1:05}" for i in range(len(BAD))])
        org.verify()


def import_while_the_server_runs():
    """Through the running server, and the devices see it at once."""
    with Org("crm") as org:
        load(org)
        org.start()
        hq = org.device("hq")
        path = os.path.join(org.top, "one.csv")
        with open(path, "w") as f:
            f.write(HEADER + "\n" + GOOD.decode() + "\n")
        org.cmd("import", "--map", os.path.join(HERE, "pipeline.json"), path)
        hq.once()
        equal(
            hq.sql("SELECT stage, amount FROM opportunity WHERE code='OK000001'"),
            [("won", 10000)],
        )


main(
    [
        golden_totals,
        devices_of_the_set,
        bad_lines_go_to_the_reject_file,
        import_while_the_server_runs,
    ]
)
