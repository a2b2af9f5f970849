"""Every setting of the one table does something: its number is read somewhere
besides the table. A setting that is only listed is a promise not kept."""

import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
table = (root / "common/config.h").read_text()
names = re.findall(r"^\tX\(([A-Z_]+),", table, re.M)
code = "".join(
    p.read_text()
    for part in ("proto", "client", "server")
    for p in (root / part).rglob("*.c")
)
unread = [n for n in names if not re.search(rf"\bSAT_CFG_{n}\b", code)]
for n in unread:
    print(f"common/config.h: nobody reads the setting {n}")
print(f"{len(names)} settings, {len(unread)} findings")
sys.exit(1 if unread or not names else 0)
