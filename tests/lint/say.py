"""What people read is in the table of pairs (common/say.h): every sentence of
the programs, every error of the parts that people use. And every variable that
changes the tests is in tests/README.md. Usage: say.py SOURCE_DIR"""

import glob
import os
import re
import sys

# Their errors reach people as they are; what the others say is an internal
# matter, and is led in by a sentence (sat_say_text).
FOLDERS = (
    "common",
    "client/cli",
    "client/daemon",
    "client/sync",
    "client/replica",
    "server/admin",
    "server/cli",
    "server/commit",
)
STRING = r'"(?:[^"\\\n]|\\.)*"'
ESCAPES = {"n": "\n", '"': '"', "\\": "\\", "t": "\t"}


def unescape(text):
    return re.sub(r"\\(.)", lambda m: ESCAPES[m.group(1)], text)


def joined(words):
    """Adjacent string literals as one text; None when it is something else."""
    words = words.strip().replace("SAT_VERSION", '"@"')
    if not re.fullmatch(rf"(?:{STRING}\s*)+", words):
        return None
    parts = re.findall(STRING, words)
    return unescape("".join(p[1:-1] for p in parts))


def arguments(text, at):
    """The arguments of the call whose parenthesis opens just before `at`."""
    out, depth, start = [], 1, at
    while depth:
        m = re.compile(rf"{STRING}|'(?:[^'\\]|\\.)'|[(){{}}\[\],]").search(text, at)
        if not m:
            return []
        at = m.end()
        if m.group() in ("(", "[", "{"):
            depth += 1
        elif m.group() in (")", "]", "}"):
            depth -= 1
        if depth == 0 or (depth == 1 and m.group() == ","):
            out.append(text[start : m.start()])
            start = at
    return out


def calls(text, name):
    for m in re.finditer(rf"\b{name}\s*\(", text):
        yield arguments(text, m.end())


def pattern(text):
    """Formats that differ in widths only are one pattern."""
    return re.sub(r"%[0-9.*]*(?:ll|l|z|h)?([sdui])", "%", text)


def source(path):
    with open(path, encoding="utf-8") as f:
        return re.sub(r"/\*.*?\*/", " ", f.read(), flags=re.S)


def check_sentences(top, bad):
    known = set()
    for path in glob.glob(f"{top}/common/say_*.c"):
        for m in re.finditer(
            rf"{{\s*((?:(?:{STRING}|SAT_VERSION)\s*)+),", source(path)
        ):
            known.add(joined(m.group(1)))
    patterns = {pattern(k) for k in known}
    count = 0
    for folder in ("common", "client", "server"):
        for path in glob.glob(f"{top}/{folder}/**/*.c", recursive=True):
            text, name = source(path), os.path.relpath(path, top)
            for m in re.finditer(
                rf"usage_text\[\] =\s*((?:(?:{STRING}|SAT_VERSION)\s*)+)", text
            ):
                count += 1
                if joined(m.group(1)) not in known:
                    bad.append(f"{name}: the usage has no Chinese")
            for args in calls(text, "sat_say"):
                said = joined(args[0]) if args else None
                if said is not None:
                    count += 1
                    if said not in known:
                        bad.append(f"{name}: said, but has no Chinese: {said!r}")
            if not name.startswith(FOLDERS):
                continue
            for args in calls(text, "sat_err_set"):
                said = joined(args[4]) if len(args) > 4 else None
                # names and colons only: what they hold is looked up itself
                if said is None or not re.search("[a-z]{2}", pattern(said)):
                    continue
                count += 1
                if pattern(said) not in patterns:
                    bad.append(f"{name}: error without Chinese: {said!r}")
    for path in (f"{top}/server/cli/commands.c",):
        for m in re.finditer(
            rf"\.(?:help|empty) = ((?:{STRING}\s*)+)", source(path)
        ):
            count += 1
            if joined(m.group(1)) not in known:
                bad.append(f"server/cli/commands.c: {joined(m.group(1))!r}")
    return count


def check_variables(top, bad):
    seen = set()
    for folder in ("tests",):
        for path in glob.glob(f"{top}/{folder}/**/*", recursive=True):
            if not os.path.isfile(path) or "__pycache__" in path:
                continue
            if not re.search(r"(\.py|\.c|\.cmake|/run)$", path):
                continue
            with open(path, encoding="utf-8", errors="replace") as f:
                text = f.read()
            seen.update(
                re.findall(
                    r'(?:environ(?:\.get)?\s*[\[(]\s*|getenv\()"(SAT[A-Z_]+)"', text
                )
            )
    with open(f"{top}/tests/README.md", encoding="utf-8") as f:
        readme = f.read()
    for name in sorted(seen):
        if f"`{name}" not in readme:
            bad.append(f"tests/README.md does not say what {name} does")
    return len(seen)


def main():
    top, bad = sys.argv[1], []
    sentences = check_sentences(top, bad)
    variables = check_variables(top, bad)
    if sentences < 300 or variables < 8:
        bad.append(f"only {sentences} sentences and {variables} variables found")
    for line in bad:
        print(line)
    print(f"{sentences} sentences, {variables} variables, {len(bad)} findings")
    return 1 if bad else 0


sys.exit(main())
