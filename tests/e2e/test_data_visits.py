"""The field visits of 2013: each group is a rep's device, its visits are
written offline into its replica with plain SQL, day by day, and sent once a
month; afterwards server, manager and HQ hold all of them.
"""
# timeout: 300

import csv
import datetime
import os

from harness import (
    SERVER,
    Org,
    check,
    data_folder,
    equal,
    main,
    run,
    same_content,
    uuid_text,
)

SOURCE = os.environ.get(
    "SATCHEL_SOURCE",
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
)
HERE = os.path.join(SOURCE, "deploy/import/field_visits")
DATA = data_folder("field_visits")
GROUPS = ("blue", "brown", "green", "orange", "purple", "yellow", "grey")
OUTCOME = {"Pass": "done", "Pass w/ Conditions": "follow_up", "Fail": "refused"}
COLUMNS = (
    "id, account_id, user_id, territory_id, started_at, outcome, notes, lat, lon"
)


def visits():
    """All lines by group and month and day, in the order of the days."""
    by_group = {g: {} for g in GROUPS}
    with open(os.path.join(DATA, "visits_2013.csv"), newline="") as f:
        for row in csv.DictReader(f):
            months = by_group[row["sanitarian"] or "grey"]
            day = row["Inspection_Date"]
            months.setdefault(day[:7], {}).setdefault(day, []).append(row)
    return by_group


def started_at(row, n):
    """The n-th visit of a day, from eight o'clock on."""
    day = datetime.datetime.fromisoformat(row["Inspection_Date"])
    eight = day.replace(hour=8, tzinfo=datetime.timezone.utc)
    return int(eight.timestamp() * 1000) + n * 600000


def number(text):
    return float(text) if text else None


def write_day(db, rows, written):
    """A day's visits in one transaction, as an app would write them."""
    db.execute("BEGIN IMMEDIATE")
    for n, row in enumerate(rows):
        found = db.execute(
            "SELECT id FROM account WHERE code = ?", (row["License"],)
        ).fetchall()
        equal(len(found), 1, f"account {row['License']} on the device")
        at = started_at(row, n)
        values = (
            found[0][0],
            at,
            OUTCOME[row["Results"]],
            f"{row['Inspection_ID']} {row['Inspection_Type']}",
            number(row["Latitude"]),
            number(row["Longitude"]),
        )
        visit = db.execute(
            "INSERT INTO visit(account_id, started_at, outcome, notes, lat, lon)"
            " VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
            values,
        ).fetchone()[0]
        db.execute(
            "UPDATE account SET visit_count = coalesce(visit_count, 0) + 1 "
            "WHERE id = ?",
            (found[0][0],),
        )
        db.execute(
            "UPDATE account SET last_visit_at = ? WHERE id = ? "
            "AND coalesce(last_visit_at, 0) < ?",
            (at, found[0][0], at),
        )
        written[row["Inspection_ID"]] = (visit, *values)
    db.execute("COMMIT")


def a_year_of_visits():
    """Seven reps, twelve months; every visit also counts on its account,
    which several groups may share."""
    lines = visits()
    total = sum(len(d) for g in lines.values() for m in g.values() for d in m.values())
    equal(total, 8811, "visits in the file")
    with Org("visits") as org:
        # the folder that holds the set, then the set's own
        for folder in (os.path.dirname(DATA), DATA):
            run(
                [os.path.join(HERE, "load"), org.dir, folder],
                env={"SATCHEL_SERVER": SERVER},
            )
        org.start()
        reps = {g: org.device(g) for g in GROUPS}
        months = sorted({m for g in lines.values() for m in g})
        equal(len(months), 12, "months")
        written = {g: {} for g in GROUPS}
        for month in months:
            for g, rep in reps.items():
                db = rep.connect()
                for day in sorted(lines[g].get(month, {})):
                    write_day(db, lines[g][month][day], written[g])
                db.close()
            for g, rep in reps.items():
                equal(rep.once(), 0, f"{g} in {month}: rejected")
        manager, hq = org.device("manager"), org.device("hq")
        for d in (manager, hq, *reps.values()):
            equal(d.once(), 0, f"{d.login}: rejected")

        wanted = sorted(
            (v[0], v[1], v[2], v[3], v[4], v[5], v[6])
            for g in GROUPS
            for v in written[g].values()
        )
        equal(len(wanted), 8811, "visits written")
        short = "id, account_id, started_at, outcome, notes, lat, lon"
        for d in (manager, hq):
            got = sorted(d.sql(f"SELECT {short} FROM visit"))
            equal(len(got), 8811, f"{d.login}: visits")
            check(got == wanted, f"{d.login}: other content than the file's")
        same_content([manager, hq], "visit", COLUMNS)
        same_content([manager, hq], "account", "id, code, visit_count, last_visit_at")
        # Counters add up and the last visit is the last, whoever made it.
        by_shop = {}
        for v in (v for g in GROUPS for v in written[g].values()):
            n, last = by_shop.get(v[1], (0, 0))
            by_shop[v[1]] = (n + 1, max(last, v[2]))
        for d in (manager, hq):
            got = d.sql(
                "SELECT id, visit_count, last_visit_at FROM account "
                "WHERE visit_count > 0"
            )
            check({r[0]: r[1:] for r in got} == by_shop, f"{d.login}: counters")
        on_server = sorted(
            (uuid_text(i), uuid_text(a), at, o, n, la, lo)
            for i, a, at, o, n, la, lo in org.sql(f"SELECT {short} FROM visit")
        )
        check(on_server == wanted, "the server: other content than the file's")

        # Every device holds the visits of its own group, by its own login.
        for g, rep in reps.items():
            mine = sorted(v[0] for v in written[g].values())
            got = sorted(r[0] for r in rep.sql("SELECT id FROM visit"))
            equal(got == mine, True, f"{g}: its own visits")
            who = rep.one("SELECT id FROM user WHERE login = ?", (g,))
            equal(rep.sql("SELECT DISTINCT user_id FROM visit"), [(who,)], g)
        # Reports on the server count the same.
        for by, column in (("rep", "rep"), ("territory", "territory")):
            rows = org.json("report", "activity", "--by", by)
            counts = {r[column]: r["visits"] for r in rows if r["visits"]}
            equal(counts, {g: len(written[g]) for g in GROUPS}, f"by {by}")
        counts = {
            r["month"]: r["visits"]
            for r in org.json("report", "activity", "--by", "month")
            if r["visits"]
        }
        equal(
            counts,
            {
                m: sum(len(d) for g in GROUPS for d in lines[g].get(m, {}).values())
                for m in months
            },
            "by month",
        )
        for d in (manager, hq, *reps.values()):
            status = d.status()
            equal(status["digest"], "equal", f"{d.login}: digest")
            equal(status["missing"], 0, f"{d.login}: missing")
        org.verify()


def two_loads_write_nothing():
    """With the third argument the visits are imported; again: no change."""
    with Org("visits") as org:
        words = [os.path.join(HERE, "load"), org.dir, DATA, "visits"]
        env = {"SATCHEL_SERVER": SERVER}
        first = run(words, env=env).stdout
        check("8811 written, 0 unchanged, 0 refused" in first, first)
        again = run(words, env=env).stdout.splitlines()
        for result in again[1::2]:
            check(result.startswith("0 written, "), f"second load: {again}")
        org.verify()


main([a_year_of_visits, two_loads_write_nothing])
