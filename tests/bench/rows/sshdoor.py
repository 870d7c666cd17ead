"""Stock ssh to a job's node, beside the same through two OpenSSH servers (``ssh -J``): how long
``true`` takes, and how fast a file is copied there and back. Both of our ways: by the relay's SSH
server (-J), and over the data connection that ``gshell proxy`` makes.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from bench.lab import Lab
from bench.measure import Failed, Sample, Turn, interleaved, run_checked, whole_process
from bench.table import Line, against, at_least, at_most
from kit.sshd import JUMP, TARGET

MB = 1e6


def _job(lab: Lab) -> tuple[str, str]:
    """(the configuration that `ssh-config` writes, a job's host)."""
    client = lab.direct

    def said(*words: str) -> str:
        done = subprocess.run(
            [*client.command, *words], env=client.env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Failed(f"{words}: {done.stderr}")
        return done.stdout

    job = said("run", "--detach", "--", "sleep", "3600").split()[0]
    said("ssh-config")
    config = Path(client.env["GSHELL_HOME"]) / "config" / "ssh" / "config"
    return str(config), f"job{job}"


def ssh_door(lab: Lab) -> list[Line]:
    config, host = _job(lab)
    try:
        return _measured(lab, config, host)
    finally:
        argv = [*lab.direct.command, "cancel", host[3:]]
        subprocess.run(argv, env=lab.direct.env, capture_output=True, check=False)


def _measured(lab: Lab, config: str, host: str) -> list[Line]:
    env = lab.direct.env
    ours = ["ssh", "-F", config]
    jump = ["-J", "gshell-relay"]
    theirs = ["-F", str(lab.sshd.config)]
    turns: dict[str, Turn] = {
        "gshell -J": lambda: whole_process([*ours, *jump, host, "true"], env),
        "gshell proxy": lambda: whole_process([*ours, host, "true"], env),
        "ssh -J": lambda: whole_process(lab.sshd.ssh("true", jump=True), lab.env),
    }
    got = interleaved(turns, lab.rounds(15, 5))
    what = "ssh job true"
    lines = [
        against("ssh", f"{what}, -J relay", got["gshell -J"], got["ssh -J"], "ms", at_most(1.2)),
        against("ssh", f"{what}, proxy", got["gshell proxy"], got["ssh -J"], "ms", at_most(1.2)),
    ]
    size = 100_000_000
    source = lab.random_file(size)
    copy = lab.directory / "copied"

    def scp(words: list[str], frm: str, to: str) -> Sample:
        begun = time.perf_counter()
        run_checked(["scp", "-q", *words, frm, to], env)
        return {"MB/s": size / MB / (time.perf_counter() - begun)}

    for way in ("there", "back"):

        def places(machine: str, way: str = way) -> tuple[str, str]:
            there = f"{machine}:{copy}"
            return (str(source), there) if way == "there" else (f"{machine}:{source}", str(copy))

        got = interleaved(
            {
                "gshell -J": lambda: scp(["-F", config, *jump], *places(host)),
                "gshell proxy": lambda: scp(["-F", config], *places(host)),
                "ssh -J": lambda: scp([*theirs, "-J", JUMP], *places(TARGET)),
            },
            lab.rounds(5, 3),
        )
        what = f"scp of 100 MB {way}"
        for name, through in (("gshell -J", "-J relay"), ("gshell proxy", "proxy")):
            lines.append(against("ssh", f"{what}, {through}", got[name], got["ssh -J"], "MB/s",
                                 at_least(0.5)))  # fmt: skip
    return lines
