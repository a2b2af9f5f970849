"""Rows that were changed behind the triggers' back, as by a failing disk, are
found at the next checkpoint after a start and put right; edits stay.
"""
# timeout: 120

from harness import Org, check, equal, main


def company(c):
    c.territory("CN", "nation")
    c.territory("T1", "patch", "CN")
    for login in ("ann", "bob"):
        c.user(login, "rep", "T1")
    c.start()
    ann, bob = c.device("ann"), c.device("bob")
    ann.script(
        ";".join(
            f"INSERT INTO account(name, phone) VALUES ('n{n}', '{n}')"
            for n in range(50)
        )
    )
    ann.once()
    bob.once()
    return ann, bob


def behind_the_triggers(d, text):
    d.script(
        "INSERT INTO _satchel_guard(busy) VALUES (1);"
        + text
        + ";DELETE FROM _satchel_guard"
    )


def mended_after(text):
    with Org("repair") as c:
        ann, bob = company(c)
        equal(bob.status()["digest"], "equal")
        behind_the_triggers(bob, text)
        good = sorted(ann.sql("SELECT id, name, phone FROM account"))
        bob.sql("UPDATE account SET email='kept' WHERE name='n7'")
        bob.once()
        bob.once()
        equal(sorted(bob.sql("SELECT id, name, phone FROM account")), good)
        equal(bob.one("SELECT email FROM account WHERE name='n7'"), "kept")
        equal(bob.status()["digest"], "equal")
        ann.once()
        equal(ann.one("SELECT email FROM account WHERE name='n7'"), "kept")
        check(ann.status()["digest"] == "equal", "the server is as it was")
        c.verify()


def a_changed_value():
    mended_after("UPDATE account SET phone='spoilt' WHERE name='n3'")


def a_lost_row():
    mended_after("DELETE FROM account WHERE name='n4'")


def a_lost_state():
    mended_after(
        "DELETE FROM _satchel_row WHERE (t, id) IN (SELECT t, id FROM "
        "_satchel_row WHERE t = (SELECT t FROM _satchel_row GROUP BY t "
        "ORDER BY count(*) DESC LIMIT 1) LIMIT 1)"
    )


main([a_changed_value, a_lost_row, a_lost_state])
