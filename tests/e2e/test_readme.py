"""Every command of README.md works, in the order a reader types them; its
links lead somewhere; the help texts name what the README uses."""
# timeout: 200

import os
import re
import shutil
import subprocess
import tempfile

from harness import BIN, check, main, run, SERVER, DAEMON, CLI

SOURCE = os.environ["SATCHEL_SOURCE"]


def readme():
    with open(os.path.join(SOURCE, "README.md"), encoding="utf-8") as f:
        return f.read()


def blocks(text):
    """Fenced shell blocks, as one script of lines with their origin."""
    return "\n".join(re.findall(r"```sh\n(.*?)```", text, flags=re.S))


def the_first_steps_work():
    script = blocks(readme())
    check(script.count("satchel") > 20, "the README has lost its commands")
    # The reader's build folder is this test's; the port is any free one.
    script = re.sub(
        r"export PATH=\S+", f"export PATH={BIN}/server:{BIN}/client:$PATH", script
    )
    port = str(20000 + os.getpid() % 20000)
    script = script.replace("127.0.0.1:7443", "127.0.0.1:" + port)
    # A reader sees the server come up before typing on; a script must wait.
    script = re.sub(
        r"(satchel-server run .*) &",
        r"\1 > run.out 2> run.log &\n"
        "for i in $(seq 100); do grep -q listening run.out && break; sleep 0.1; done",
        script,
    )
    folder = tempfile.mkdtemp(prefix="satchel-readme-")
    try:
        done = subprocess.run(
            ["bash", "-eux", "-o", "pipefail", "-c", script],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=150,
        )
        check(
            done.returncode == 0,
            f"exit {done.returncode}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}",
        )
        for word in ("永和便利店", "stopped", "ok: true"):
            check(word in done.stdout, f"{word} in what a reader sees")
    finally:
        subprocess.run(["pkill", "-f", folder], check=False)
        subprocess.run(
            ["bash", "-c", f"pkill -f 'listen 127.0.0.1:{port}' || true"], check=False
        )
        shutil.rmtree(folder, ignore_errors=True)


def links_lead_somewhere():
    for document in ("README.md", "tests/README.md", "deploy/import/README.md"):
        with open(os.path.join(SOURCE, document), encoding="utf-8") as f:
            text = f.read()
        for target in re.findall(r"\]\(([^)#]+)", text):
            path = os.path.join(SOURCE, os.path.dirname(document), target)
            check(os.path.exists(path), f"{document}: {target}")


def help_is_there():
    for program in (SERVER, DAEMON, CLI):
        text = run([program, "--help"]).stdout
        check("usage" in text, f"{program} --help")
        check(run([program, "--version"]).stdout.strip() != "", "a version")
        run([program, "nonsense"], ok=2)
    commands = re.findall(r"satchel-server ([a-z]+)", readme())
    text = run([SERVER, "--help"]).stdout
    for c in commands:
        check(c in text, f"satchel-server --help names {c}")


main([links_lead_somewhere, help_is_there, the_first_steps_work])
