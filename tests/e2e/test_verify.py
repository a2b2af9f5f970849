"""verify finds what was lost or changed behind the server's back: every
changeset that was answered is in its rows, or was refused."""
# timeout: 200

import os
import sqlite3
import uuid

from harness import Org, check, equal, main


class Company(Org):
    def __enter__(self):
        super().__enter__()
        self.territory("CN", "nation")
        self.user("ann", "rep", "CN")
        self.start()
        return self

    def behind(self, statement, args=()):
        db = sqlite3.connect(os.path.join(self.dir, "satchel.db"))
        n = db.execute(statement, args).rowcount
        db.commit()
        db.close()
        return n

    def findings(self):
        done = self.cmd("verify", "--json", ok=1)
        return done.stdout


def work(c):
    """Two accepted changesets, a refused update, a refused insert."""
    ann = c.device("ann")
    ann.sql("INSERT INTO account(name, phone) VALUES ('X', '1')")
    ann.once()
    ann.sql("UPDATE account SET phone='2'")
    ann.once()
    ann.sql("UPDATE account SET parent_id=?", (str(uuid.uuid4()),))
    ann.once()
    ann.sql("INSERT INTO visit(account_id) VALUES (?)", (str(uuid.uuid4()),))
    ann.once()
    ann.once()  # the verdicts are confirmed and may be forgotten
    equal(len(ann.json("rejected")), 2)
    return ann


def all_is_accounted_for():
    with Company() as c:
        work(c)
        said = c.json("verify")
        equal((said["changesets"], said["refused_changesets"]), (4, 2), said)
        c.verify()


def a_row_that_is_gone():
    with Company() as c:
        work(c)
        c.stop()
        equal(c.behind("DELETE FROM account"), 1)
        check("an accepted changeset is not in its rows" in c.findings(), "lost")


def a_changeset_that_was_changed():
    with Company() as c:
        work(c)
        c.stop()
        equal(
            c.behind(
                "UPDATE _changeset SET bytes = (SELECT bytes FROM _changeset "
                "ORDER BY dot LIMIT 1) WHERE dot = (SELECT max(dot) FROM "
                "_changeset)"
            ),
            1,
        )
        check("not what was received" in c.findings(), "changed")


main([all_is_accounted_for, a_row_that_is_gone, a_changeset_that_was_changed])
