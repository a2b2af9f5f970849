"""Roll-ups as people meet them: manager and head office read totals offline by
plain SQL, reports say the same as roll-ups and as the rows themselves, verify
proves it and finds what was changed behind its back; funnel and time per
stage by one statement each.
"""
# timeout: 300

import csv
import datetime
import os
import sqlite3
import statistics

from harness import SERVER, Org, check, data_folder, equal, main, run

SOURCE = os.environ.get(
    "SATCHEL_SOURCE",
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
)


def documented(title):
    """The statement that proto/catalogue/README.md gives under that title."""
    path = os.path.join(SOURCE, "proto/catalogue/README.md")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    check(f"\n**{title}**" in text, f"no statement for {title}")
    lines = text.split(f"\n**{title}**")[1].split("\n\n")[1].splitlines()
    check(all(line.startswith("    ") for line in lines), title)
    return "\n".join(lines)


# What a level shows, in the words of the tree.
LEVEL = """SELECT t.code, sum(r.deal_count), sum(r.amount), sum(r.weighted)
FROM pipeline_rollup r JOIN territory t ON t.id = r.territory_id
WHERE t.level = ? GROUP BY t.code"""


def total(rows):
    return tuple(sum(r[i] for r in rows) for i in (1, 2, 3))


class Company(Org):
    """nation > east (p1, p2), west (p3)"""

    def __enter__(self):
        super().__enter__()
        self.territory("CN", "nation")
        for code, parent in (("EAST", "CN"), ("WEST", "CN")):
            self.territory(code, "region", parent)
        for code, parent in (("P1", "EAST"), ("P2", "EAST"), ("P3", "WEST")):
            self.territory(code, "patch", parent)
        for login, home in (("ann", "P1"), ("bob", "P1"), ("cy", "P3")):
            self.user(login, "rep", home)
        self.user("max", "manager", "EAST")
        self.user("hq", "hq", "CN")
        self.start()
        return self


def facts(device):
    """Every device's own total over the rows it holds."""
    return device.one(
        "SELECT count(*), sum(amount), sum((amount * CASE stage "
        "WHEN 'prospect' THEN 10 WHEN 'lead' THEN 20 WHEN 'opportunity' "
        "THEN 50 WHEN 'contract' THEN 80 WHEN 'won' THEN 100 ELSE 0 END "
        "+ 50) / 100) FROM opportunity"
    )


def totals_offline():
    with Company() as c:
        ann, cy, max_, hq = (c.device(l) for l in ("ann", "cy", "max", "hq"))
        ann.script(
            "INSERT INTO account(name) VALUES ('Shop');"
            "INSERT INTO opportunity(name, stage, amount, expect_close) VALUES"
            " ('a', 'lead', 33333, '2026-03-01'),"
            " ('b', 'prospect', 15, '2026-03-09'),"
            " ('c', 'contract', 100000, NULL);"
            "INSERT INTO visit(account_id, started_at) SELECT id,"
            " 1770000000000 FROM account;"
            "INSERT INTO visit(account_id, state) SELECT id, 'planned'"
            " FROM account;"
            "INSERT INTO survey_response(account_id, csat) SELECT id, 4"
            " FROM account;"
        )
        cy.script(
            "INSERT INTO opportunity(name, stage, amount, closed_at) VALUES"
            " ('d', 'won', 777, '2026-02-03');"
        )
        for d in (ann, cy, ann, max_, hq):
            equal(d.once(), 0, "rejected")
        c.stop()  # from here on everybody is offline

        nation = hq.sql(LEVEL, ("nation",))
        equal(nation, [("CN", *facts(hq))], "nation")
        regions, reps = hq.sql(LEVEL, ("region",)), hq.sql(LEVEL, ("patch",))
        equal(total(regions), total(nation), "nation = sum of regions")
        equal(total(reps), total(nation), "nation = sum of reps")
        equal(max_.sql(LEVEL, ("region",)), [("EAST", *facts(max_))], "east")
        equal(max_.sql(LEVEL, ("nation",)), [], "not the nation")
        equal(ann.sql(LEVEL, ("patch",)), [("P1", *facts(ann))], "own patch")
        equal(facts(ann), (3, 133348, 6667 + 2 + 80000), "by hand")
        equal(
            hq.sql(
                "SELECT t.code, u.login, r.day, r.visits, r.won_amount,"
                " r.csat_sum, r.csat_count FROM activity_rollup r"
                " JOIN territory t ON t.id = r.territory_id"
                " JOIN user u ON u.id = r.user_id"
                " WHERE r.visits + r.won_count > 0 ORDER BY 1, 3"
            ),
            [
                ("P1", "ann", "2026-02-02", 1, 0, 0, 0),
                ("P3", "cy", "2026-02-03", 0, 777, 0, 0),
            ],
            "activity",
        )
        equal(
            max_.one("SELECT sum(csat_sum), sum(csat_count) FROM activity_rollup"),
            (4, 1),
            "satisfaction",
        )
        c.verify()


TARGET = """INSERT INTO target(territory_id, user_id, metric, period, start_day,
value, valid_from) VALUES ((SELECT id FROM territory WHERE code = ?),
(SELECT id FROM user WHERE login = ?), ?, ?, ?, ?, ?)"""


def reached(device, day):
    """{(territory, person, metric): (target, reached)} on that day."""
    db = sqlite3.connect(device.db)
    rows = db.execute(documented("Attainment"), {"day": day}).fetchall()
    names = {
        r[0]: r[1:]
        for r in db.execute(
            "SELECT t.id, n.code, u.login FROM target t JOIN territory n ON"
            " n.id = t.territory_id LEFT JOIN user u ON u.id = t.user_id"
        )
    }
    db.close()
    return {(*names[r[0]], r[1]): r[2:] for r in rows}


def targets():
    """Versions in mid-period, attainment of nodes and people offline, and
    what does not add up."""
    with Company() as c:
        ann, cy, max_, hq = (c.device(l) for l in ("ann", "cy", "max", "hq"))
        for row in (
            ("CN", None, "amount", "quarter", "2026-01-01", 3000, None),
            ("EAST", None, "amount", "quarter", "2026-01-01", 2000, None),
            ("WEST", None, "amount", "quarter", "2026-01-01", 900, None),
            ("WEST", None, "amount", "quarter", "2026-01-01", 1000, "2026-02-15"),
            ("CN", None, "visits", "month", "2026-02-01", 10, None),
            ("CN", None, "conversion", "year", "2026-01-01", 60, None),
            ("CN", None, "margin", "year", "2026-01-01", 30, None),
        ):
            hq.sql(TARGET, row)
        max_.sql(TARGET, ("P1", "ann", "visits", "month", "2026-02-01", 4, None))
        max_.sql(
            TARGET, ("P1", "ann", "satisfaction", "half", "2026-01-01", 90, None)
        )
        for d in (hq, max_):
            equal(d.once(), 0, "rejected")
        ann.script(
            "INSERT INTO account(name) VALUES ('Shop');"
            "INSERT INTO visit(account_id, started_at) SELECT id,"
            " 1770000000000 FROM account;"
            "INSERT INTO visit(account_id, started_at) SELECT id,"
            " 1760000000000 FROM account;"
            "INSERT INTO survey_response(account_id, csat, at) SELECT id, 4,"
            " 1770000000000 FROM account;"
            "INSERT INTO opportunity(name, stage, amount, closed_at) VALUES"
            " ('a', 'won', 150000, '2026-03-31'), ('b', 'won', 1, '2026-04-01'),"
            " ('c', 'lost', 5, '2026-02-01'), ('d', 'contract', 7, NULL);"
        )
        cy.script(
            "INSERT INTO opportunity(name, stage, amount, closed_at) VALUES"
            " ('e', 'won', 77700, '2026-01-01');"
        )
        for d in (ann, cy, ann, max_, hq, ann):
            equal(d.once(), 0, "rejected")
        c.stop()
        nation = {
            ("CN", None, "amount"): (3000, 2277),
            ("EAST", None, "amount"): (2000, 1500),
            ("WEST", None, "amount"): (900, 777),
            ("CN", None, "visits"): (10, 1),
            ("CN", None, "conversion"): (60, 75),
            ("CN", None, "margin"): (30, None),
            ("P1", "ann", "visits"): (4, 1),
            ("P1", "ann", "satisfaction"): (90, 80),
        }
        equal(reached(hq, "2026-02-14"), nation, "before it was changed")
        nation["WEST", None, "amount"] = (1000, 777)
        equal(reached(hq, "2026-02-15"), nation, "and since")
        equal(hq.one("SELECT count(*) FROM target WHERE value = 900"), 1, "kept")
        own = {k: v for k, v in nation.items() if k[1] == "ann"}
        equal(reached(ann, "2026-02-15"), own, "her own")
        db = sqlite3.connect(hq.db)
        odd = documented("Targets that do not add up")
        rows = db.execute(odd, {"day": "2026-02-14"}).fetchall()
        equal([r[1:] for r in rows], [("amount", 3000, 2900)], "2,000 + 900")
        equal(db.execute(odd, {"day": "2026-02-15"}).fetchall(), [], "fits now")
        db.close()


def concurrent_stages():
    with Company() as c:
        ann, bob, hq = (c.device(l) for l in ("ann", "bob", "hq"))
        ann.script(
            "INSERT INTO opportunity(name, stage, amount, expect_close)"
            " VALUES ('x', 'prospect', 1000, '2026-03-01')"
        )
        ann.once()
        bob.once()
        ann.sql("UPDATE opportunity SET stage = 'contract'")
        bob.sql("UPDATE opportunity SET stage = 'lead'")
        for d in (ann, bob, ann, hq):
            equal(d.once(), 0, "rejected")
        for d in (ann, bob, hq):
            d.once()
            equal(
                d.sql(
                    "SELECT from_stage, to_stage FROM stage_event ORDER BY"
                    " at, from_stage IS NOT NULL"
                ),
                [(None, "prospect"), ("prospect", "contract")],
                "what was shown changed once",
            )
        equal(hq.sql(LEVEL, ("nation",)), [("CN", 1, 1000, 800)])
        # Deleted: its changes and its figures go; undone: they are back.
        ann.sql("DELETE FROM opportunity")
        for d in (ann, hq):
            d.once()
        equal(hq.one("SELECT count(*) FROM stage_event"), 0)
        equal(hq.one("SELECT count(*) FROM pipeline_rollup"), 0)
        c.verify()


def a_region_moves():
    with Company() as c:
        ann, hq = c.device("ann"), c.device("hq")
        ann.script(
            "INSERT INTO opportunity(name, stage, amount) VALUES"
            " ('x', 'lead', 1000)"
        )
        ann.once()
        c.cmd("territory", "move", "--code", "P1", "--parent", "WEST")
        hq.once()
        equal(hq.sql(LEVEL, ("region",)), [("WEST", 1, 1000, 200)], "moved")
        equal(hq.sql(LEVEL, ("nation",)), [("CN", 1, 1000, 200)], "the same")
        c.verify()


def real_data():
    data = data_folder("crm_sales_opportunities")
    with Org("crm") as org:
        load = os.path.join(
            SOURCE, "deploy/import/crm_sales_opportunities/load"
        )
        run([load, org.dir, data], env={"SATCHEL_SERVER": SERVER})
        with open(os.path.join(data, "sales_pipeline.csv"), newline="") as f:
            deals = list(csv.DictReader(f))
        per_level = {
            level: org.sql(LEVEL, (level,))
            for level in ("nation", "region", "patch")
        }
        for level, rows in per_level.items():
            equal(total(rows), total(per_level["nation"]), level)
        equal(total(per_level["nation"])[0], 8800, "deals")
        # region = its report = the file
        won = dict(
            org.sql(
                LEVEL.replace("t.code, sum(r.deal_count), ", "t.code, ")
                .replace(", sum(r.weighted)", "")
                .replace("GROUP", "AND r.stage = 'won' GROUP"),
                ("region",),
            )
        )
        said = {
            r["region"]: r for r in org.json("report", "pipeline", "--by", "region")
        }
        equal(won, {k: v["won_amount"] * 100 for k, v in said.items()}, "won")
        equal(sum(won.values()), 1000553400, "golden total")
        equal(
            {r[0]: r[3] for r in per_level["region"]},
            {k: round(v["weighted"] * 100) for k, v in said.items()},
            "weighted",
        )
        months = {
            r["month"]: r["deals"]
            for r in org.json("report", "pipeline", "--by", "month")
        }
        nation = org.sql("SELECT id FROM territory WHERE level = 'nation'")[0][0]
        equal(
            dict(
                org.sql(
                    "SELECT month, sum(deal_count) FROM pipeline_rollup"
                    " WHERE territory_id = ? AND _flags & 2 = 0 GROUP BY month",
                    (nation,),
                )
            ),
            months,
            "by month",
        )
        acts = {
            r["rep"]: (r["won"], r["won_amount"] * 100, r["new_accounts"])
            for r in org.json("report", "activity", "--by", "rep")
        }
        equal(
            {
                r[0]: r[1:]
                for r in org.sql(
                    "SELECT u.login, sum(won_count), sum(won_amount),"
                    " sum(new_accounts) FROM activity_rollup r"
                    " LEFT JOIN user u ON u.id = r.user_id"
                    " WHERE r._flags & 2 = 0 GROUP BY 1"
                )
            },
            acts,
            "activity by rep",
        )
        # Time and conversion from the changes alone.
        day = datetime.date.fromisoformat
        cycle = statistics.median(
            (day(r["close_date"]) - day(r["engage_date"])).days
            for r in deals
            if r["close_date"]
        )
        equal(cycle, 45, "golden cycle")
        server = sqlite3.connect(os.path.join(org.dir, "satchel.db"))
        equal(
            [r[1] for r in server.execute(documented("Median days per stage"))],
            [45],
            "all of them came in closed",
        )
        funnel = server.execute(documented("Funnel")).fetchall()
        equal([r[:2] for r in funnel][0], ("prospect", 8800 - 2473), "funnel")
        equal(funnel[-1][:2], ("won", 4238), "funnel")
        server.close()
        check(org.json("verify")["figures"] > 1000, "keys")
        org.verify()

        # Behind the server's back.
        server = sqlite3.connect(os.path.join(org.dir, "satchel.db"))
        server.execute(
            "UPDATE pipeline_rollup SET amount = amount + 1 WHERE _seq ="
            " (SELECT max(_seq) FROM pipeline_rollup)"
        )
        server.execute(
            "UPDATE stage_event SET to_stage = 'lost' WHERE _seq = (SELECT"
            " max(_seq) FROM stage_event WHERE to_stage = 'won')"
        )
        server.commit()
        server.close()
        found = org.cmd("verify", ok=1).stdout
        check("the rows add up to" in found, found)
        check("its last change leads to another value" in found, found)


main([totals_offline, targets, concurrent_stages, a_region_moves, real_data])
