"""Shape rules: no long functions or files, no banned calls, tabs, no notes of
unfinished work. Usage: shape.py SOURCE_DIR"""

import os
import re
import sys

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 700
BANNED = re.compile(
    r"(?<![\w.>])(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|atof|rand|srand"
    r"|alloca|assert|strtok)\s*\("
)
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


def sources(top):
    for folder in ("common", "proto", "client", "server", "tests"):
        for path, folders, files in os.walk(os.path.join(top, folder)):
            folders[:] = [f for f in folders if not f.startswith((".", "build"))]
            for name in sorted(files):
                if name.endswith((".c", ".h")):
                    yield os.path.join(path, name)


def strip(text):
    """Blank comments and strings, keep the line structure."""
    pattern = r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(
        pattern,
        lambda m: re.sub(r"[^\n]", " ", m.group(0)),
        text,
        flags=re.S,
    )


def check(path, top, bad):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    name = os.path.relpath(path, top)
    lines = text.split("\n")
    product = not name.startswith("tests/")
    if len(lines) > FILE_LINES_MAX:
        bad.append(f"{name}: {len(lines)} lines, more than {FILE_LINES_MAX}")
    bare = strip(text).split("\n")
    start = None
    for number, line in enumerate(bare, 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            if product and number - start - 1 > FUNCTION_LINES_MAX:
                bad.append(
                    f"{name}:{start}: function of {number - start - 1} lines"
                )
            start = None
        if product and BANNED.search(line):
            bad.append(f"{name}:{number}: banned call: {line.strip()}")
        if line.strip() and lines[number - 1].startswith("    "):
            bad.append(f"{name}:{number}: indented with spaces")
    for number, line in enumerate(lines, 1):
        if UNFINISHED.search(line):
            bad.append(f"{name}:{number}: unfinished: {line.strip()}")


def main():
    top = sys.argv[1]
    bad = []
    count = 0
    for path in sources(top):
        check(path, top, bad)
        count += 1
    if count < 20:
        bad.append(f"only {count} files found: looking in the wrong place?")
    for line in bad:
        print(line)
    print(f"{count} files looked at, {len(bad)} findings")
    return 1 if bad else 0


sys.exit(main())
