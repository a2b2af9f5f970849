"""Certificates that end: a device asks for another one with its key."""
# timeout: 120

import os
import shutil
import subprocess

from harness import Device, Org, check, equal, main


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


def put(d, name, text):
    path = os.path.join(d.dir, name)
    if text is None:
        if os.path.exists(path):
            os.remove(path)
        return
    with open(path, "w") as f:
        f.write(text)


def get(d, name):
    with open(os.path.join(d.dir, name)) as f:
        return f.read()


NAMES = ("device.key", "device.pem", "device.key.new", "device.pem.new")


def copy_of(c, d):
    other = Device(c, d.login, os.path.join(c.top, "copy"))
    shutil.copytree(d.dir, other.dir)
    c.devices.append(other)
    return other


def replica(d):
    return d.one("SELECT v FROM _satchel_kv WHERE k='replica'")


def a_cut_at_any_step_of_becoming_another():
    """A copy gets a key, a certificate and a number of its own. Whatever of
    that is on the disk when the power goes, it connects again, as itself."""
    with Company() as c:
        ann, bob = c.device("ann"), c.device("bob")
        ann.sql("INSERT INTO account(name) VALUES ('first')")
        ann.once()
        two = copy_of(c, ann)
        old = (get(two, "device.key"), get(two, "device.pem"))
        ann.once()
        ann.once()  # the copy's ratchet is stale now
        two.sql("INSERT INTO account(name) VALUES ('of the copy')")

        def state(files, what):
            for name, text in zip(NAMES, files):
                put(two, name, text)
            equal(two.once(), 0, what)
            for name in NAMES[2:]:
                check(not os.path.exists(os.path.join(two.dir, name)),
                      f"{what}: {name} is left")
            # the replica's number and the certificate's are one
            text = openssl("x509", "-in", os.path.join(two.dir, "device.pem"),
                           "-noout", "-ext", "subjectAltName")
            check(f"satchel:device:{replica(two)}:" in text, text)

        # The replica is not another yet: a key was made, and a certificate
        # came that it never took the number of.
        key = openssl("genpkey", "-algorithm", "EC", "-pkeyopt",
                      "ec_paramgen_curve:P-256")
        state((*old, key, get(bob, "device.pem")), "not yet another")
        equal(get(two, "device.key"), key, "the key that was made serves")
        number = replica(two)
        check(number != replica(ann), "it became another")
        new = (key, get(two, "device.pem"))
        # The replica has its number; key and certificate follow.
        state((*old, *new), "neither is in place")
        equal((get(two, "device.key"), get(two, "device.pem")), new)
        state((new[0], old[1], None, new[1]), "only the key is")
        equal((get(two, "device.key"), get(two, "device.pem")), new)
        state((*new, None, None), "both are")
        # A file that is no certificate does not keep anybody out.
        state((*new, None, "no certificate\n"), "rubbish")
        equal(replica(two), number)
        for d in (two, ann, bob):
            d.once()
        equal(bob.one("SELECT count(*) FROM account"), 2)
        equal(len([r for r in c.json("device", "list")
                   if r["login"] == "ann"]), 2, "no third device came to be")


def a_cut_between_the_ca_and_the_certificate():
    """Renewal over the same key: whom to trust is written first."""
    with Company() as c:
        ann = c.device("ann")
        was = {n: get(ann, n) for n in ("ca.pem", "device.pem")}
        c.cmd("ca", "rollover")
        ann.once()
        now = {n: get(ann, n) for n in was}
        check(now["ca.pem"] != was["ca.pem"], "both CAs")
        at = [os.stat(os.path.join(ann.dir, n)).st_mtime_ns for n in was]
        check(at[0] <= at[1], f"the CAs were written first: {at}")
        for ca, pem in ((was, was), (now, was), (now, now)):
            put(ann, "ca.pem", ca["ca.pem"])
            put(ann, "device.pem", pem["device.pem"])
            equal(ann.once(), 0)
            equal(c.json("ca", "status")["ready"], 1)


main([a_cut_at_any_step_of_becoming_another,
      a_cut_between_the_ca_and_the_certificate, an_ended_certificate_is_renewed_by_itself, a_revoked_device_gets_none])
