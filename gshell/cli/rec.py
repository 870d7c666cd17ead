"""``gshell rec``: a shell, a command or a job that runs, into a file."""

from __future__ import annotations

import os
import sys
import time

from gshell.errors import GshellError, UsageError
from gshell.model.ticket import Ticket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gshell.cli.options import Parsed
    from gshell.client.plan import Plan, Surroundings

SEVERAL = 100  # names tried for a file that has none


def rec(parsed: Parsed) -> int:
    job, file, command = words_of(parsed)
    for flag in ("since", "rank"):
        if not job and parsed[flag] is not None:
            raise UsageError(f"rec: --{flag} is of a job", hint="gshell rec ID")
    if parsed["there"] or parsed["stop"]:
        if not job:
            raise UsageError("rec: --there is of a job", hint="gshell rec ID --there")
        return _there(parsed, job, file)
    return _beside(parsed, job, file) if job else _new(parsed, file, command)


def words_of(parsed: Parsed) -> tuple[str, str, list[str]]:
    """The job, the file (or nothing), and the command.

    Raises:
        UsageError: they are no such thing.
    """
    at = len(parsed.words) if parsed.rest_at is None else parsed.rest_at
    words, command = parsed.words[:at], parsed.words[at:]
    job = ""
    if words and words[0].replace(".", "", 1).isdigit() and words[0][0] != ".":
        job = words.pop(0)
    if len(words) > 1:
        raise UsageError(f"rec: {words[1]!r} is one word too many", hint="gshell rec [FILE] -- CMD")
    if job and command:
        raise UsageError("rec: a job's ID or a command", hint="gshell rec ID [FILE]")
    return job, words[0] if words else "", command


def own_name(stem: str, exists: Callable[[str], bool] = os.path.lexists) -> str:
    """A name in this directory that nothing has.

    Raises:
        UsageError: all are taken.
    """
    for number in range(SEVERAL):
        name = f"{stem}{f'-{number}' if number else ''}.cast"
        if not exists(name):
            return name
    raise UsageError(f"there are {SEVERAL} recordings {stem}*.cast here", hint="gshell rec FILE")


def _new(parsed: Parsed, file: str, command: list[str]) -> int:
    from gshell.cli import commands, launch

    stem = os.path.basename(command[0]) if command else "shell"
    named = file or own_name(f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}")
    argv = ["run" if command else "sh", "--rec", named, "--rec-format", parsed["rec_format"]]
    for key, flag in (("rec_input", "-I"), ("overwrite", "--overwrite"), ("append", "--append"),
                      ("quiet", "-q"), ("no_background", "--no-background")):  # fmt: skip
        if parsed[key]:
            argv.append(flag)
    if parsed["pty"] and command:
        argv.append("-t")
    if command:
        argv += ["--", *command]
    return launch.session(commands.read(argv), _said)


def _said(plan: Plan) -> Plan:
    """Where it is, is said at the end, whoever looks."""
    return plan._replace(record=plan.record._replace(told=not plan.quiet))


def _beside(parsed: Parsed, job: str, file: str) -> int:
    from gshell.cli import launch
    from gshell.client.direct import run_here
    from gshell.client.stdio import standard_descriptors

    here = launch.surroundings()
    ticket: Ticket = launch.ticket_for(parsed, start=False)
    named = file or own_name(f"{job}-{time.strftime('%Y%m%d-%H%M%S')}")
    if parsed["rank"]:
        launch.check_ranks(ticket, job.partition(".")[0], parsed["rank"])
    plan = beside_plan(parsed, here, job, named)
    _, _, err = standard_descriptors()
    if not plan.quiet and sys.stderr.isatty():
        sys.stderr.write(f"[recording job {job} to {named}; Ctrl-C ends that]\n")
    return run_here(plan, ticket, (-1, -1, err))


def _there(parsed: Parsed, job: str, file: str) -> int:
    from gshell.cli import launch
    from gshell.client.conversation import Dialler
    from gshell.client.recordthere import RecordThere
    from gshell.model.sanitize import sanitize
    from gshell.net.loop import Loop

    ticket: Ticket = launch.ticket_for(parsed, start=False)
    rank = parsed["rank"] or "0"
    if not rank.isdigit():
        raise UsageError("rec: --there records one rank", hint="gshell rec ID --there --rank 3")
    request = {
        "t": "record",
        "on": not parsed["stop"],
        "file": file,
        "rank": int(rank),
        "input": bool(parsed["rec_input"]),
        "version": int(parsed["rec_format"][1:]),
    }
    loop = Loop()
    answer = RecordThere(loop, Dialler(loop, ticket), job, request).ask()
    if answer.get("error"):
        raise GshellError(f"job {job}: {sanitize(str(answer['error']))}")
    where = sanitize(str(answer.get("file")))
    if not parsed["quiet"]:
        doing = "is recorded there until it ends" if answer.get("on") else "was recorded there"
        sys.stderr.write(f"[job {job} {doing}; `gshell get` fetches it]\n")
    print(f"{job}:{where}")
    return 0


def beside_plan(parsed: Parsed, here: Surroundings, job: str, named: str) -> Plan:
    """Who looks on without showing anything."""
    from gshell.client.plan import Plan
    from gshell.client.recordspec import RecordSpec

    number, _, index = job.partition(".")
    if parsed["overwrite"] and parsed["append"]:
        raise UsageError("--overwrite and --append: take one")
    return Plan(
        verb="logs",
        spec={},
        pty=False,
        job=number,
        part=int(index or 0),
        whole=not index,
        rights="r",
        since="start" if parsed["since"] is None else parsed["since"],
        escape=None,
        quiet=bool(parsed["quiet"]),
        rank=parsed["rank"] or "",
        here=here,
        silent=True,
        record=RecordSpec(
            os.path.join(here.cwd, named),
            input=bool(parsed["rec_input"]),
            version=int(parsed["rec_format"][1:]),
            append=bool(parsed["append"]),
            overwrite=bool(parsed["overwrite"]),
            history=True,
            told=not parsed["quiet"],
        ),
    )


VERBS = {"rec": rec}
