"""A program at the first of two agents that uses both nodes by GSHELL_PEERS, as mpi-start does."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from kit.mpinode import PATIENCE_S, Pair


def start(pair: Pair, script: str, **more: Any) -> None:
    pair.start({"argv": ["bash", "-c", script], "crew": [2, 1], **more})


def test_it_runs_once_knows_all_hosts_and_reaches_them(pair: Pair) -> None:
    start(
        pair, "echo \"$GSHELL_HOSTS\"; $GSHELL_PEERS gshell-1 'echo here; echo there >&2; exit 4'"
    )
    assert pair.end() == [4, 0]
    first, second = pair.nodes
    assert first.out(0) == ".:2 gshell-1:1\nhere\n"
    assert first.err(0) == "there\n"
    assert (second.out(0), second.err(0)) == ("", "")
    assert second.said("started")


def test_megabytes_pass_both_ways_unharmed(pair: Pair) -> None:
    """More than is under way at once, and than all pipes between hold."""
    start(
        pair,
        "d=$(mktemp); head -c 9000000 /dev/urandom >$d; $GSHELL_PEERS gshell-1 cat <$d | cmp - $d"
        " && echo same; rm $d",
    )
    assert pair.end() == [0, 0]
    assert pair.nodes[0].out(0) == "same\n"


def test_a_command_that_reads_slowly_makes_who_feeds_it_wait(pair: Pair) -> None:
    start(pair, "head -c 5000000 /dev/zero | $GSHELL_PEERS gshell-1 'sleep 0.3; wc -c'")
    assert pair.end() == [0, 0]
    assert pair.nodes[0].out(0) == "5000000\n"


def test_a_host_that_is_none_of_the_jobs_is_named(pair: Pair) -> None:
    start(pair, "$GSHELL_PEERS elsewhere true")
    assert pair.end() == [255, 0]
    assert pair.nodes[0].err(0) == "gshell: no member of this job is at elsewhere\n"


def test_what_runs_on_the_other_node_ends_with_the_job(pair: Pair, tmp_path: Path) -> None:
    start(pair, f"$GSHELL_PEERS gshell-1 'echo $$ >{tmp_path}/pid; exec sleep 600' & sleep 600")
    pid = tmp_path / "pid"
    assert pair.loop.run_until(lambda: pid.exists() and pid.read_text().strip(), PATIENCE_S)
    pair.nodes[0].session.cancel()
    assert pair.end() == [128 + signal.SIGTERM, 0]
    assert pair.loop.run_until(
        lambda: not os.path.exists(f"/proc/{int(pid.read_text())}"), PATIENCE_S
    )


def test_a_program_that_cannot_be_started_ends_the_others(pair: Pair) -> None:
    start(pair, "", argv=["/nowhere/at/all"])
    assert pair.end() == [127, 0]


def test_a_batch_job_has_its_files_and_scripts_at_the_first_member_only(pair: Pair) -> None:
    part = {"workdir": True, "stdout": "out", "prologue": ["sh", "-c", "echo before >>trace"],
            "epilogue": ["sh", "-c", "echo behind >>trace"]}  # fmt: skip
    start(pair, "echo program >>trace; $GSHELL_PEERS gshell-1 pwd", job=part)
    assert pair.end() == [0, 0]
    first, second = (Path(node.session.workdir or "") for node in pair.nodes)
    assert (first / "out").read_text() == f"{second}\n"
    assert (first / "trace").read_text() == "before\nprogram\nbehind\n"
    assert not list(second.iterdir())


def test_a_script_that_fails_before_the_program_lets_the_other_members_go(pair: Pair) -> None:
    start(pair, "touch ran", job={"workdir": True, "prologue": ["sh", "-c", "exit 9"]})
    assert pair.end() == [9, 0]
