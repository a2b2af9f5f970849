"""Rows that were changed behind the triggers' back, as by a failing disk, are
found at the next checkpoint after a start, or while the daemon runs, and put
right: only they travel, and edits stay. What the server itself has damaged
stays there.
"""
# timeout: 240

import os
import re

from harness import Org, check, equal, main, wait_for

ROWS = 300


def company(c):
    c.territory("CN", "nation")
    c.territory("T1", "patch", "CN")
    c.territory("T2", "patch", "CN")
    for login in ("ann", "bob"):
        c.user(login, "rep", "T1")
    c.start()
    ann, bob = c.device("ann"), c.device("bob")
    ann.script(
        ";".join(
            f"INSERT INTO account(name, phone) VALUES ('name-{n:04}', '{n}')"
            for n in range(ROWS)
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


class Tap:
    """Names of accounts in what reaches a device."""

    def __init__(self, c):
        self.path = os.path.join(c.top, "tap")

    def __enter__(self):
        if os.path.exists(self.path):
            os.remove(self.path)
        os.environ["SATCHEL_TAP"] = self.path
        return self

    def __exit__(self, *_):
        del os.environ["SATCHEL_TAP"]
        try:
            with open(self.path, "rb") as f:
                self.bytes = f.read()
        except FileNotFoundError:
            self.bytes = b""
        self.names = sorted(set(re.findall(rb"name-\d{4}", self.bytes)))


CONTENT = "SELECT id, name, phone FROM account"


def same_as(ann, bob):
    equal(sorted(bob.sql(CONTENT)), sorted(ann.sql(CONTENT)))


def mended_after(text, names, repaired):
    """Damage, one connection, and it is gone; `names` are the accounts that
    were sent for it."""
    with Org("repair") as c:
        ann, bob = company(c)
        equal(bob.status()["digest"], "equal")
        equal(bob.status()["rows_repaired"], 0)
        behind_the_triggers(bob, text)
        bob.sql("UPDATE account SET email='kept' WHERE name='name-0007'")
        with Tap(c) as tap:
            bob.once()
        same_as(ann, bob)
        equal(
            bob.one("SELECT email FROM account WHERE name='name-0007'"), "kept"
        )
        equal(bob.status()["digest"], "equal")
        equal(bob.status()["rows_repaired"], repaired)
        equal([n for n in tap.names if n != b"name-0007"], names)
        with Tap(c) as tap:
            bob.once()
        equal(tap.names, [])
        bob.cli("verify")
        ann.once()
        equal(
            ann.one("SELECT email FROM account WHERE name='name-0007'"), "kept"
        )
        equal(ann.status()["digest"], "equal")
        equal(ann.status()["rows_repaired"], 0)
        c.verify()


def a_changed_value():
    mended_after(
        "UPDATE account SET phone='spoilt' WHERE name='name-0003'",
        [b"name-0003"],
        1,
    )


def a_lost_row():
    mended_after(
        "DELETE FROM account WHERE name IN ('name-0004', 'name-0150')",
        [b"name-0004", b"name-0150"],
        2,
    )


STATE = (
    "(SELECT t, id FROM _satchel_row WHERE lower(hex(id)) = (SELECT "
    "replace(id, '-', '') FROM account WHERE name = '{}'))"
)


def state_of(name):
    return "(t, id) IN " + STATE.format(name)


def a_lost_state():
    mended_after(
        "DELETE FROM _satchel_row WHERE " + state_of("name-0011"),
        [b"name-0011"],
        1,
    )


def a_row_lost_in_both():
    mended_after(
        "DELETE FROM _satchel_row WHERE "
        + state_of("name-0012")
        + ";DELETE FROM account WHERE name = 'name-0012'",
        [b"name-0012"],
        1,
    )


def a_row_added_in_both():
    mended_after(
        "INSERT INTO _satchel_row SELECT t, x'019a7d552000700380fefefefefefefe',"
        " seq, h, meta, scopes FROM _satchel_row WHERE "
        + state_of("name-0013")
        + ";INSERT INTO account(id, name, territory_id) SELECT"
        " '019a7d55-2000-7003-80fe-fefefefefefe', 'name-9999', territory_id"
        " FROM account WHERE name = 'name-0013'",
        [],
        1,
    )


def damaged_metadata():
    mended_after(
        "UPDATE _satchel_row SET meta = x'ff00ff' WHERE "
        + state_of("name-0014"),
        [b"name-0014"],
        1,
    )


def metadata_cut_short():
    mended_after(
        "UPDATE _satchel_row SET meta = substr(meta, 1, length(meta) - 2)"
        " WHERE " + state_of("name-0015"),
        [b"name-0015"],
        1,
    )


def damaged_memberships():
    mended_after(
        "UPDATE _satchel_row SET scopes = x'ffff' WHERE "
        + state_of("name-0016"),
        [b"name-0016"],
        1,
    )


def a_membership_too_many():
    mended_after(
        "UPDATE _satchel_row SET scopes = CAST(x'00' || scopes AS BLOB) WHERE "
        + state_of("name-0017"),
        [],
        1,
    )


def another_membership():
    """As many as there should be, so the digest does not tell; but the row
    would never leave."""
    mended_after(
        "UPDATE _satchel_row SET scopes = x'7f' WHERE "
        + state_of("name-0022"),
        [b"name-0022"],
        1,
    )


def a_damaged_digest():
    mended_after(
        "UPDATE _satchel_kv SET v = zeroblob(16) WHERE k = 'digest'", [], 0
    )


def a_damaged_hash():
    mended_after(
        "UPDATE _satchel_row SET h = h + 1 WHERE " + state_of("name-0018"),
        [],
        0,
    )


def a_damaged_position():
    """The hash does not cover it; but then the row must not stay as it is
    when it changes on the server."""
    with Org("position") as c:
        ann, bob = company(c)
        behind_the_triggers(
            bob,
            "UPDATE _satchel_row SET seq = 9000000000000000000 WHERE "
            + state_of("name-0019"),
        )
        ann.sql("UPDATE account SET phone='new' WHERE name='name-0019'")
        ann.once()
        bob.once()
        equal(
            bob.one("SELECT phone FROM account WHERE name='name-0019'"), "new"
        )
        equal(bob.status()["digest"], "equal")


def an_edit_of_a_damaged_row():
    """Neither harvest nor verdict stops at a state that cannot be read."""
    with Org("dirty") as c:
        ann, bob = company(c)
        behind_the_triggers(
            bob,
            "UPDATE _satchel_row SET meta = x'00' WHERE "
            + state_of("name-0020"),
        )
        bob.sql("UPDATE account SET email='edited' WHERE name='name-0020'")
        bob.sql("UPDATE account SET email='other' WHERE name='name-0021'")
        bob.once()
        ann.once()
        for d in (ann, bob):
            equal(
                d.sql(
                    "SELECT phone, email FROM account WHERE name IN"
                    " ('name-0020', 'name-0021') ORDER BY name"
                ),
                [("20", "edited"), ("21", "other")],
            )
            equal(d.status()["digest"], "equal")
        c.verify()


def while_the_daemon_runs():
    """The slices that are hashed now and then find it as well, and a row that
    no state knows of."""
    with Org("running") as c:
        ann, bob = company(c)
        with open(os.path.join(bob.dir, "satcheld.conf"), "a") as f:
            f.write("rehash_seconds = 1\n")
        bob.start()
        wait_for(
            "bob is connected",
            lambda: bob.status()["connection"] == "connected",
        )
        behind_the_triggers(
            bob,
            "UPDATE account SET phone='spoilt' WHERE name='name-0030'",
        )
        wait_for(
            "it is put right",
            lambda: bob.status()["rows_repaired"] == 1,
            30,
        )
        same_as(ann, bob)
        behind_the_triggers(
            bob,
            "INSERT INTO account(id, name, territory_id) SELECT"
            " '019a7d55-2000-7003-80fe-fefefefefefe', 'stray',"
            " territory_id FROM account WHERE name = 'name-0013'",
        )
        wait_for(
            "the stray row goes",
            lambda: bob.status()["rows_repaired"] == 2,
            30,
        )
        same_as(ann, bob)
        equal(bob.status()["digest"], "equal")


main(
    [
        a_changed_value,
        a_lost_row,
        a_lost_state,
        a_row_lost_in_both,
        a_row_added_in_both,
        damaged_metadata,
        metadata_cut_short,
        damaged_memberships,
        a_membership_too_many,
        another_membership,
        a_damaged_digest,
        a_damaged_hash,
        a_damaged_position,
        an_edit_of_a_damaged_row,
        while_the_daemon_runs,
    ]
)
