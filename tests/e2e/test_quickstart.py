"""The first command of the README on a fresh clone: it builds, plays the main
job, stops everything, and may be run again."""
# timeout: 600
# serial

import os
import shutil
import subprocess
import sys
import tempfile

from harness import SKIP, check, main

SOURCE = os.environ["SATCHEL_SOURCE"]

if "asan" in os.environ.get("SATCHEL_BIN", "") or os.environ.get(
    "SATCHEL_PATIENCE"
):
    print("skipped: quickstart makes its own build, once is enough")
    sys.exit(SKIP)


def clone():
    folder = tempfile.mkdtemp(prefix="satchel-clone-")
    files = subprocess.run(
        ["git", "-C", SOURCE, "ls-files", "-z"], capture_output=True, check=True
    ).stdout
    subprocess.run(
        ["bash", "-c", f"cd '{SOURCE}' && tar -c --null -T - | tar -x -C '{folder}'"],
        input=files,
        check=True,
    )
    return folder


def play(folder, *words):
    done = subprocess.run(
        [os.path.join(folder, "deploy", "quickstart"), *words],
        capture_output=True,
        text=True,
        timeout=550,
        cwd="/",
    )
    check(
        done.returncode == 0,
        f"exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}",
    )
    return done.stdout


def alive(folder):
    found = subprocess.run(["pgrep", "-f", folder], capture_output=True, text=True)
    return found.stdout.split()


def quickstart_once_and_again():
    folder = clone()
    try:
        out = play(folder, "--once")
        for word in ("李娜", "永和", "ledger", "pipeline", "Done."):
            check(word in out, f"{word} is shown")
        check(not alive(folder), "everything is stopped")
        out = play(folder, "--once")
        check("Done." in out, "it runs again")
        play(folder)  # stays up
        check(len(alive(folder)) >= 4, "server and three daemons run")
        play(folder, "--stop")
        check(not alive(folder), "--stop stops them")
        play(folder, "--reset", "--once")
    finally:
        subprocess.run(["pkill", "-f", folder], check=False)
        shutil.rmtree(folder, ignore_errors=True)


main([quickstart_once_and_again])
