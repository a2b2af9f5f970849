"""Certificates that end: a device asks for another one with its key."""
# timeout: 120

import os
import subprocess

from harness import Org, check, equal, main


class Company(Org):
    def __enter__(self):
        super().__enter__()
        self.territory("CN", "nation")
        self.territory("T1", "patch", "CN")
        for login in ("ann", "bob"):
            self.user(login, "rep", "T1")
        self.start()
        return self


def openssl(*words):
    return subprocess.run(
        ["openssl", *words], check=True, capture_output=True, text=True
    ).stdout


def dates(d):
    return openssl(
        "x509", "-in", os.path.join(d.dir, "device.pem"), "-noout", "-enddate"
    )


def expire(c, d):
    """The same certificate, but ended: as after 120 days without a sync."""
    pem = os.path.join(d.dir, "device.pem")
    key = os.path.join(d.dir, "device.key")
    text = openssl("x509", "-in", pem, "-noout", "-ext", "subjectAltName")
    uri = [w for w in text.split() if w.startswith("URI:")][0]
    csr, ext = os.path.join(c.top, "csr"), os.path.join(c.top, "ext")
    with open(ext, "w") as f:
        f.write(
            f"subjectAltName=critical,{uri}\n"
            "keyUsage=critical,digitalSignature\n"
            "extendedKeyUsage=clientAuth\n"
            "basicConstraints=critical,CA:FALSE\n"
        )
    openssl("req", "-new", "-key", key, "-subj", "/CN=x", "-out", csr)
    cfg = os.path.join(c.top, "ca.cnf")
    with open(cfg, "w") as f:
        f.write(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={c.top}/index\n"
            f"new_certs_dir={c.top}\nserial={c.top}/serial\n"
            "default_md=sha256\npolicy=p\n[p]\ncommonName=optional\n"
        )
    open(os.path.join(c.top, "index"), "w").close()
    with open(os.path.join(c.top, "serial"), "w") as f:
        f.write("1234567890ABCDEF\n")
    openssl(
        "ca", "-batch", "-notext", "-config", cfg,
        "-cert", os.path.join(c.dir, "ca.pem"),
        "-keyfile", os.path.join(c.dir, "ca.key"),
        "-in", csr, "-out", pem, "-extfile", ext,
        "-startdate", "20200101000000Z", "-enddate", "20200401000000Z",
    )


def an_ended_certificate_is_renewed_by_itself():
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        good = dates(ann)
        expire(c, ann)
        check(dates(ann) != good, "it has ended")
        ann.sql("INSERT INTO account(name) VALUES ('after 120 days')")
        ended = dates(ann)
        equal(ann.once(), 0, "nobody helps")
        check(dates(ann) != ended, "another one")
        bob.once()
        equal(bob.one("SELECT name FROM account"), "after 120 days")
        openssl(
            "verify", "-CAfile", os.path.join(c.dir, "ca.pem"),
            os.path.join(ann.dir, "device.pem"),
        )


def a_revoked_device_gets_none():
    with Company() as c:
        ann = c.device("ann")
        no = ann.one("SELECT v FROM _satchel_kv WHERE k='replica'")
        c.cmd("device", "revoke", "--device", no)
        expire(c, ann)
        ended = dates(ann)
        check(ann.once(ok=None, timeout=3) is None, "not synced")
        equal(dates(ann), ended, "not renewed")


main([an_ended_certificate_is_renewed_by_itself, a_revoked_device_gets_none])
