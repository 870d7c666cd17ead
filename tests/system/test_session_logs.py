"""What is kept of a job's output, what is not, and how that is told."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from kit.procs import Env, below, until
from kit.pty import Pty, children, kill

LINES = b"".join(b"%d\n" % number for number in range(1, 1_000_001))  # 6.9 MB
WRITE = "seq 1000000"


def detach(env: Env, script: str, *options: str) -> str:
    done = env.gshell("run", "--detach", *options, "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def ended(env: Env, job: str) -> None:
    until(
        lambda: any(one["id"] == job and one["state"] == "COMPLETED" for one in env.jobs()),
        "the end", show=env.logs,
    )  # fmt: skip


def test_what_is_kept_is_shown_from_its_start_as_it_was_written(relay: Env) -> None:
    run = relay.gshell("run", "--keep", "-J", "kept", "--", "sh", "-c", WRITE)
    assert run.stdout == LINES
    job = next(one["id"] for one in relay.jobs() if one["name"] == "kept")
    done = relay.gshell("logs", "--since", "start", job)
    assert (done.stdout, done.stderr) == (LINES, b"")


def test_a_terminal_s_output_that_is_kept_is_written_to_a_file_as_it_was(
    relay: Env, tmp_path: Path
) -> None:
    script = f"printf 'a\\033[6nb\\033[?1049h'; {WRITE}; printf '\\033[?1049l'"
    with Pty(relay.argv("run", "-t", "--keep", "-J", "drawn", "--", "sh", "-c", script),
             relay.client_env(False)) as pty:  # fmt: skip
        assert pty.wait() == 0
    job = next(one["id"] for one in relay.jobs() if one["name"] == "drawn")
    done = relay.gshell("logs", "--since", "start", job)
    whole = b"a\x1b[6nb\x1b[?1049h" + LINES.replace(b"\n", b"\r\n") + b"\x1b[?1049l"
    assert done.stdout == whole


def test_beyond_what_is_kept_the_gap_is_told_first_and_never_among_the_output(relay: Env) -> None:
    job = detach(relay, WRITE, "--quota", "1M")
    ended(relay, job)
    done = relay.gshell("logs", "--since", "start", job)
    gap = re.fullmatch(rb"\[gap: (\d\.\d) MB not kept\]\n", done.stderr)
    assert gap
    assert LINES.endswith(done.stdout)
    assert abs(float(gap[1]) * 1e6 - (len(LINES) - len(done.stdout))) < 60_000
    quiet = relay.gshell("logs", "-q", "--since", "start", job)
    assert (quiet.stdout, quiet.stderr) == (done.stdout, b"")
    with Pty(relay.argv("attach", "--since", "start", job), relay.client_env(False)) as pty:
        assert pty.wait() == 0
        assert bytes(pty.seen).count(b"MB not kept]\r\n") == 1
        assert bytes(pty.seen).index(b"[gap") < bytes(pty.seen).index(
            done.stdout[-100:-60].split(b"\n")[1]
        )


def test_who_comes_amid_a_flood_of_a_kept_job_has_all_of_it(relay: Env, tmp_path: Path) -> None:
    job = detach(relay, f"{WRITE}; until test -e {tmp_path}/go; do sleep 0.02; done; {WRITE}")
    viewers = [
        relay.popen("attach", "--read-only", "--since", "start", job, stdin=subprocess.DEVNULL)
        for _ in range(2)
    ]
    (tmp_path / "go").touch()
    for viewer in viewers:
        output, said = viewer.communicate(timeout=60)
        assert viewer.returncode == 0
        assert output == LINES + LINES
        assert b"gap" not in said


def test_history_on_a_terminal_begins_with_a_whole_line(relay: Env, tmp_path: Path) -> None:
    waits = f"until test -e {tmp_path}/go; do sleep 0.02; done"
    with Pty(
        relay.argv("run", "-t", "--keep", "--quota", "1M", "-J", "lines", "--", "sh", "-c",
                   f"seq 1000000 1999999; echo al''l; {waits}"),
        relay.client_env(False),
    ) as pty:  # fmt: skip
        pty.wait_for("all\r\n", 40)
        job = next(one["id"] for one in relay.jobs() if one["name"] == "lines")
        with Pty(
            relay.argv("attach", "--read-only", "--since", "start", job), relay.client_env(False)
        ) as other:
            other.wait_for("all\r\n", 40)
            shown = bytes(other.seen).split(b"not kept]\r\n")[1].split(b"\r\n")
            assert int(shown[0]) >= 1_000_000
            assert all(len(line) == 7 for line in shown[:1000])
            (tmp_path / "go").touch()
            assert other.wait() == 0
        assert pty.wait() == 0


def test_nonsense_is_a_usage_error(relay: Env) -> None:
    for words in (["--on-full", "never"], ["--quota", "lots"], ["--quota", "9999T"]):
        done = relay.gshell("run", *words, "--", "true")
        assert done.returncode == 2
        assert words[1].encode() in done.stderr


def test_a_killed_agent_leaves_nothing_on_disk(alone: Env) -> None:
    keeper = alone.start_agent("one", alone.start_relay())
    detach(alone, "head -c 5000000 /dev/zero; exec sleep 600")
    spool = alone.root / "one.spool"
    until(
        lambda: any(len(path.relative_to(spool).parts) == 3 for path in below(spool)),
        "something on disk",
        show=alone.logs,
    )
    kill(children(keeper.pid)[0])
    until(lambda: not any(spool.iterdir()), "it to be removed", show=alone.logs)
