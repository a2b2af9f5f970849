"""Another role reads other columns: rows that did not change come again, what
may no longer be read is gone from the device, and back again with the right.
"""
# timeout: 120

from harness import Org, equal, main, wait_for


def limits(d):
    return sorted(
        d.sql("SELECT name, phone, credit_limit FROM account"), key=repr
    )


def seqs(d):
    return sorted(d.sql("SELECT hex(id), seq FROM _satchel_row WHERE meta <> ''"
                        " AND t = (SELECT t FROM _satchel_row GROUP BY t"
                        " ORDER BY count(*) DESC LIMIT 1)"))


def company(c):
    c.territory("CN", "nation")
    c.territory("T1", "patch", "CN")
    c.user("mia", "rep", "T1")
    c.user("max", "manager", "T1")
    c.start()
    boss, mia = c.device("max"), c.device("mia")
    boss.script(
        ";".join(
            "INSERT INTO account(name, phone, credit_limit)"
            f" VALUES ('n{n:02}', '{n}', {n + 1}00)"
            for n in range(30)
        )
    )
    boss.once()
    return boss, mia


def promote(c):
    c.cmd("grant", "add", "--login", "mia", "--territory", "T1", "--role",
          "manager")
    return max(g[0] for g in c.sql("SELECT max(no) FROM _grant"))


def look(c, step):
    """As rep, as manager, as rep, as manager; `step` brings the news."""
    boss, mia = company(c)
    full = limits(boss)
    blind = [(name, phone, None) for name, phone, _ in full]
    step(mia, blind)
    unchanged = seqs(mia)
    for _ in range(2):
        no = promote(c)
        step(mia, full)
        equal(seqs(mia), unchanged, "the rows changed on the server")
        equal(mia.status()["digest"], "equal")
        c.cmd("grant", "remove", "--grant", str(no))
        step(mia, blind)
        equal(seqs(mia), unchanged, "the rows changed on the server")
        equal(mia.status()["digest"], "equal")
    promote(c)
    mia.sql("UPDATE account SET phone='edited' WHERE name='n07'")
    step(mia, [(n, "edited" if n == "n07" else p, l) for n, p, l in full])
    equal(mia.status()["rows_repaired"], 0)
    c.verify()


def at_the_next_connection():
    def step(mia, wanted):
        mia.once()
        equal(limits(mia), wanted)

    with Org("roles") as c:
        look(c, step)


def while_connected():
    def step(mia, wanted):
        if not mia.daemon:
            mia.start()
        wait_for("the device has it", lambda: limits(mia) == wanted, 30)
        wait_for(
            "its checkpoint", lambda: mia.status()["digest"] == "equal", 30
        )

    with Org("roles") as c:
        look(c, step)


main([at_the_next_connection, while_connected])
