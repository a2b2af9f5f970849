#!/usr/bin/python3
"""Puts the mutants of tests/sim/mutants.txt and the marks of marks.txt into
copies of the product's sources, so that the sources themselves stay clean.

  hooks.py files TOP                the sources that have any, one a line
  hooks.py make TOP FILE OUT        FILE with its mutants and marks
  hooks.py check TOP                which do not fit any more? exit 1: too many
  hooks.py list TOP                 numbers and titles of the mutants

A mutant is "@ NUMBER TITLE", then "file: PATH", lines that start with "<"
(the text to be found, once) and lines that start with ">" (what stands there
instead; MUTANT is true when the mutant is switched on). A mark is one line
"PATH | text of a line | NAME": the line is passed, so the mark is hit; what
stands before it is found once.
"""

import os
import re
import sys

# Sources move; a few may be stale until somebody puts them where they belong.
FIT_LEAST = 68

HERE = os.path.dirname(os.path.abspath(__file__))


def mutants():
    out, now = [], None
    with open(os.path.join(HERE, "mutants.txt"), encoding="utf-8") as f:
        for line in f:
            line = line.rstrip("\n")
            if line.startswith("@ "):
                number, title = line[2:].split(" ", 1)
                now = {"no": int(number), "title": title, "hunks": []}
                out.append(now)
            elif line.startswith("file: "):
                now["hunks"].append([line[6:], [], []])
            elif line.startswith("<"):
                now["hunks"][-1][1].append(line[1:])
            elif line.startswith(">"):
                now["hunks"][-1][2].append(line[1:])
    return out


def marks():
    out = []
    path = os.path.join(HERE, "marks.txt")
    with open(path, encoding="utf-8") as f:
        for line in f:
            line = line.rstrip("\n")
            if line and not line.startswith("#"):
                part = [p.strip() for p in line.split("|")]
                out.append((part[0], "|".join(part[1:-1]).strip(), part[-1]))
    return out


def apply(text, name, stale):
    for m in mutants():
        for path, old, new in m["hunks"]:
            if path != name:
                continue
            find = "\n".join(old)
            if text.count(find) != 1:
                stale.append(
                    f"mutant {m['no']} ({m['title']}): its text is"
                    f" {text.count(find)} times in {name}"
                )
                continue
            put = "\n".join(new)
            put = put.replace("MUTANT", f"SIM_IS({m['no']})")
            text = text.replace(find, put)
    for number, (path, line, mark) in enumerate(marks()):
        if path != name:
            continue
        found = [l for l in text.split("\n") if l.strip() == line]
        if len(found) != 1:
            stale.append(f"mark {mark}: its line is {len(found)} times in {name}")
            continue
        lines = text.split("\n")
        before = lines[lines.index(found[0]) - 1].strip()
        if before and before[-1] not in "{};/":
            stale.append(f"mark {mark}: it does not begin a statement")
            continue
        tabs = re.match(r"\t*", found[0]).group(0)
        text = text.replace(
            found[0] + "\n", f"{tabs}sim_mark({number});\n{found[0]}\n", 1
        )
    return text


def files():
    names = {h[0] for m in mutants() for h in m["hunks"]}
    names |= {m[0] for m in marks()}
    return sorted(names)


def read(top, name):
    with open(os.path.join(top, name), encoding="utf-8") as f:
        return f.read()


def main():
    what, top = sys.argv[1], sys.argv[2]
    stale = []
    if what == "files":
        print("\n".join(files()))
    elif what == "make":
        name, out = sys.argv[3], sys.argv[4]
        text = apply(read(top, name), name, stale)
        os.makedirs(os.path.dirname(out), exist_ok=True)
        with open(out, "w", encoding="utf-8") as f:
            f.write(f'#include "tests/sim/hooks.h"\n#line 1 "{top}/{name}"\n')
            f.write(text)
    elif what == "marks":
        with open(sys.argv[3], "w", encoding="utf-8") as f:
            f.write('#include "tests/sim/hooks.h"\n')
            f.write("const char *const sim_mark_names[] = {\n")
            for m in marks():
                f.write(f'\t"{m[2]}",\n')
            f.write("\t(const char *)0,\n};\n")
            f.write("const char *const sim_mutant_names[] = {\n")
            for m in mutants():
                f.write(f'\t[{m["no"]}] = "{m["title"]}",\n')
            f.write("};\n")
            f.write(
                "const unsigned sim_mutant_last ="
                f" {max(m['no'] for m in mutants())};\n"
            )
    elif what == "list":
        for m in mutants():
            print(f"{m['no']:3} {m['title']}")
    else:
        for name in files():
            apply(read(top, name), name, stale)
        numbers = [m["no"] for m in mutants()]
        for line in stale:
            print(line)
        fit = len(numbers) + len(marks()) - len(stale)
        print(f"{len(numbers)} mutants, {len(marks())} marks, {len(stale)} stale")
        if sorted(numbers) != list(range(1, len(numbers) + 1)):
            print("the mutants are not numbered from 1 on")
            return 1
        return 1 if fit < FIT_LEAST else 0
    return 0


sys.exit(main())
