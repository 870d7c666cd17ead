"""One command on fifty waiting agents, beside pdsh over ssh to fifty names of one host."""

from __future__ import annotations

from bench.lab import Lab
from bench.measure import Failed, Sample, interleaved, run_checked, whole_process
from bench.table import Line, against, at_most

AGENTS = 50
NAMES = "bench-node"  # bench-node1 .. bench-node50, all of them the one sshd


def fanout(lab: Lab) -> list[Line]:
    proven: set[str] = set()

    def gshell() -> Sample:
        lab.gsh.ensure_agents(AGENTS)
        options = ["-N", str(AGENTS)]
        if "gshell" not in proven:
            _, out = run_checked(
                lab.warm.run("echo", "here", options=options), lab.warm.env, stdout=None
            )
            _count(out, "gshell")
            proven.add("gshell")
        return whole_process(lab.warm.run("true", options=options), lab.warm.env)

    def pdsh() -> Sample:
        lab.program("pdsh")
        lab.sshd.add_host(f"{NAMES}*", lab.sshd.port)
        env = {**lab.env, "PDSH_RCMD_TYPE": "ssh", "PDSH_SSH_ARGS": f"-F {lab.sshd.config} %h"}
        argv = ["pdsh", "-S", "-f", "64", "-w", f"{NAMES}[1-{AGENTS}]"]
        if "pdsh" not in proven:
            _, out = run_checked([*argv, "echo", "here"], env, stdout=None)
            _count(out, "pdsh")
            proven.add("pdsh")
            return {"ms": 0.0}  # the warm-up turn; its figure is thrown away
        return whole_process([*argv, "true"], env)

    got = interleaved({"gshell": gshell, "pdsh": pdsh}, lab.rounds(5, 2))
    what = f"true on {AGENTS} waiting agents"
    return [against("fanout", what, got["gshell"], got["pdsh"], "ms", at_most(0.1))]


def _count(out: bytes, name: str) -> None:
    if out.count(b"here") != AGENTS:
        raise Failed(f"{name}: {out.count(b'here')} answers of {AGENTS}")
