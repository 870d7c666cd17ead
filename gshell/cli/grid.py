"""The commands of gLite and int.eu.grid: ``glite-wms-job-*``, ``i2g-job-*``. Their options, their
way of telling, our jobs. What was for services that are gone is taken and noted.
"""

from __future__ import annotations

import getopt
import importlib
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gshell.cli import launch, submit
from gshell.cli.match import offers
from gshell.cli.meeting import Meeting
from gshell.errors import BrokerError, GshellError, UsageError
from gshell.model.sanitize import sanitize
from gshell.model.ticket import Ticket
from gshell.net.relaylink import ask, items_of

WIDTH = 74
_ID = re.compile(r"(?:.*/)?(\d{1,18})\Z")  # whatever stood before it

STATES = {
    "NEW": "Submitted", "QUEUED": "Waiting", "HELD": "Ready", "STAGE_IN": "Scheduled",
    "ACTIVE": "Running", "STAGE_OUT": "Running", "FAILED": "Aborted", "CANCELED": "Cancelled",
}  # fmt: skip

# Taken as they were; what they asked of is not here.
_IGNORED = {
    "-a": "delegation", "--autm-delegation": "delegation", "-d": "delegation",
    "--delegationid": "delegation", "-e": "the service", "--endpoint": "the service",
    "-c": "the configuration", "--config": "the configuration", "--vo": "the VO",
    "--nogui": "the console", "--lrms": "the batch system's name",
    "--logfile": "the log file", "--debug": "", "-v": "", "--verbosity": "", "--proto": "",
    "--register-only": "registering without a start", "--start": "starting later",
    "--valid": "the validity", "--to": "the time limit",
}  # fmt: skip
_SHORT = "ad:e:c:o:i:r:v:h"
_LONG = [
    "autm-delegation", "delegationid=", "endpoint=", "config=", "config-vo=", "vo=", "nolisten",
    "nogui", "lrms=", "logfile=", "debug", "verbosity=", "proto=", "register-only", "start=",
    "valid=", "to=", "noint", "nomsg", "output=", "input=", "resource=", "dir=", "all", "rank",
    "version", "help", "nosubdir", "list-only", "nopurge",
]  # fmt: skip
_USAGE = {
    "submit": "[-a | -d ID] [-o FILE] [-r PLACE] [--nomsg] [--nolisten] FILE.jdl",
    "status": "[-i FILE] [-o FILE] [--all] [ID...]",
    "cancel": "[-i FILE] [-o FILE] [--noint] [ID...]",
    "output": "[-i FILE] [--dir DIR] [--nosubdir] [--list-only] [--noint] [ID...]",
    "list-match": "[-a | -d ID] [-o FILE] [--rank] FILE.jdl",
}


class Said(NamedTuple):
    """A command line, read."""

    name: str
    """Of the command, as it was called."""
    options: dict[str, str]
    words: list[str]

    def get(self, short: str, long: str = "") -> str:
        return self.options.get(long) or self.options.get(short, "")


def main() -> int:
    """As an installed command: by the name it was called by."""
    from gshell.cli.main import complain

    try:
        status = run([os.path.basename(sys.argv[0]), *sys.argv[1:]])
        sys.stdout.flush()
        return status
    except GshellError as error:
        complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def run(words: Sequence[str]) -> int:
    """``words``: the command's name and its own.

    Raises:
        GshellError: it cannot be done.
    """
    name, *rest = words or [""]
    kind = name.removeprefix("i2g-job-").removeprefix("glite-wms-job-").removeprefix("get-")
    if name == kind or kind not in VERBS:
        known = ", ".join(f"i2g-job-{'get-' * (k == 'output')}{k}" for k in VERBS)
        raise UsageError(f"{name or 'nothing'} is no command of the grid: {known}")
    try:
        given, left = getopt.gnu_getopt(rest, _SHORT, _LONG)
    except getopt.GetoptError as error:
        raise UsageError(f"{name}: {error}", hint=f"{name} --help") from None
    options = dict(given)
    if "--help" in options or "-h" in options:
        print(f"usage: {name} {_USAGE[kind]}")
        return 0
    if "--version" in options:
        from gshell import __version__

        print(f"{name} of gshell {__version__}")
        return 0
    said = Said(name, options, left)
    quiet = "--nomsg" in options
    ignored = dict.fromkeys(_IGNORED[key] for key in options if _IGNORED.get(key))
    if ignored and not quiet:
        submit.show([f"{name}: note: {what} changes nothing here" for what in ignored])
    return VERBS[kind](said)


# --------------------------------------------------------------------------------------- the verbs


def _submit(said: Said) -> int:
    path = _jdl(said)
    quiet = "--nomsg" in said.options
    description = submit.describe(path, [], dirac=False)
    submit.tell(description, quiet)
    meeting = Meeting()
    try:
        made = submit.plan(description, path, meeting=meeting)
        ticket = launch.ticket_for(None)
        ids = submit.send(ticket, submit.pin(ticket, made, said.get("-r", "--resource") or None))
        _tell_submitted(said, ids)
        address = submit.meets_here(made, meeting)
        if address and "--nolisten" not in said.options:
            return meeting.wait(ticket, next(iter(ids.values())), address)
    finally:
        meeting.close()
    if made[0].glogin and "--nomsg" not in said.options:
        sys.stderr.write(submit.next_steps(made, ids))
    return 0


def _tell_submitted(said: Said, ids: dict[str, str]) -> None:
    out = said.get("-o", "--output")
    if out:
        submit.write_ids(out, list(ids.values()))
    if "--nomsg" in said.options:
        print("\n".join(ids.values()), flush=True)
        return
    print(_title(f"{said.name} Success"))
    print("\nThe job has been successfully submitted to the broker")
    print(f"Your job identifier{'s are' if len(ids) > 1 else ' is'}:\n")
    for node, id_ in ids.items():
        print(f"{id_}    ({node})" if node else id_)
    if out:
        print(f"\nThe job identifier has been saved in the following file:\n{os.path.abspath(out)}")
    print("\n" + "=" * WIDTH, flush=True)


def _status(said: Said) -> int:
    ids = [] if "--all" in said.options else _ids(said)
    ticket = launch.ticket_for(None, start=False)
    if ids:
        jobs = _jobs(ticket, ids)
    else:
        jobs = items_of(ask(ticket, {"m": "jobs", "all": True, "why": True}), "jobs")
    text = ""
    for job in jobs:
        lines = "".join(f"{key + ':':<19} {value}\n" for key, value in status_lines(job))
        text += f"\n{'*' * 61}\nBOOKKEEPING INFORMATION:\n\n{lines}{'*' * 61}\n"
    if out := said.get("-o", "--output"):
        _write(out, text)
        print(f"The status has been saved in the following file:\n{os.path.abspath(out)}")
    else:
        sys.stdout.write(text)
    return 0


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise GshellError(f"cannot write {path}: {error.strerror}") from None


def status_lines(job: dict[str, Any]) -> list[tuple[str, str]]:
    """What is told of one job, in order."""
    found = [("Status info for the Job", str(job.get("id"))), ("Current Status", state(job))]
    if job.get("code") is not None:
        found.append(("Exit code", str(job["code"])))
    if job.get("retries"):
        found.append(("Resubmissions", str(job["retries"])))
    reason = job.get("error") or job.get("why")
    if reason:
        found.append(("Status Reason", str(reason)))
    places = [*filter(None, [job.get("site")]), *(job.get("hosts") or ())]
    if places:
        found.append(("Destination", ", ".join(map(str, dict.fromkeys(places)))))
    for key, name in (
        ("Submitted", "created_at"),
        ("Started", "started_at"),
        ("Ended", "ended_at"),
    ):
        at = job.get(name)
        if isinstance(at, int | float):
            found.append((key, time.strftime("%a %b %e %H:%M:%S %Y %Z", time.localtime(at))))
    return found


def state(job: dict[str, Any]) -> str:
    """In the grid's words."""
    ran = job.get("started_at") is not None and not job.get("error")
    if job.get("state") == "COMPLETED":
        return "Done (Success)"
    if job.get("state") == "FAILED" and job.get("code") and ran:
        return "Done (Exit Code !=0)"
    if job.get("phase"):
        return "Running"  # the wrapper does, as it was meant then
    return STATES.get(str(job.get("state")), str(job.get("state")))


def _cancel(said: Said) -> int:
    ids = _ids(said)
    if "--noint" not in said.options and sys.stdin.isatty():
        sys.stdout.write("Are you sure you want to remove specified job(s) [y/n]n : ")
        sys.stdout.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            print("bye")
            return 0
    ticket = launch.ticket_for(None, start=False)
    done, refused = [], []
    for id_ in ids:
        try:
            ask(ticket, {"m": "cancel", "job": id_})
            done.append(id_)
        except BrokerError as error:
            refused.append(f"{id_}: {error.message}")
    if done:
        print(_title(f"{said.name} Success"))
        print("\nThe cancellation request has been successfully submitted for the job(s):\n")
        print("".join(f"- {id_}\n" for id_ in done) + "\n" + "=" * WIDTH)
        if out := said.get("-o", "--output"):
            submit.write_ids(out, done)
    if refused:
        sys.stdout.flush()
        submit.show([f"{said.name}: not cancelled: {why}" for why in refused])
    return 1 if refused else 0


def _output(said: Said) -> int:
    ids = _ids(said)
    ticket = launch.ticket_for(None, start=False)
    base = said.get("--dir") or "."
    found = _jobs(ticket, ids)
    for job in found:
        if job.get("ended_at") is None:
            raise GshellError(
                f"job {job.get('id')} has not ended: {state(job)}",
                hint=f"{_other(said.name, 'status')} {job.get('id')}",
            )
    status = 0
    for job in found:
        id_ = str(job.get("id"))
        flat = "--nosubdir" in said.options
        target = base if flat else os.path.join(base, f"{job.get('user')}_{id_}")
        if not job.get("outputs"):
            why = "was submitted without an output sandbox: nothing to be retrieved"
            submit.show([f"{said.name}: warning: job {id_} {why}"])
            continue
        listed = "--list-only" in said.options
        try:
            _fetch(id_, ["--list"] if listed else ["--dir", target, "-q"])
        except GshellError as error:
            submit.show([f"{said.name}: {error.message}"])
            status = 1
            continue
        if listed:
            continue
        print("\n" + "=" * WIDTH + "\n\n" + "JOB GET OUTPUT OUTCOME".center(WIDTH).rstrip())
        print(f"\nOutput sandbox files for the job:\n{id_}")
        print("have been successfully retrieved and stored in the directory:")
        print(f"{os.path.abspath(target)}\n\n" + "=" * WIDTH)
    return status


def _fetch(id_: str, options: Sequence[str]) -> None:
    """``gshell fetch``, by its own verb.

    Raises:
        GshellError: it could not be fetched.
    """
    try:
        files = importlib.import_module("gshell.cli.files")
    except ImportError:
        raise GshellError("this gshell cannot fetch files: update it") from None
    from gshell.cli.commands import read

    if files.fetch(read(["fetch", id_, *options])):
        raise GshellError(f"the output of job {id_} could not be fetched", f"gshell fetch {id_}")


def _list_match(said: Said) -> int:
    path = _jdl(said)
    description = submit.describe(path, [], dirac=False)
    submit.tell(description, "--nomsg" in said.options)
    ticket = launch.ticket_for(None)
    lines: list[str] = []
    for request in submit.plan_anywhere(description, path):
        suits = [one for one in offers(ticket, request, time.time()) if not one.missing]
        if request.name and suits:
            lines.append(f"{request.name}:")
        for one in suits:
            ranked = f"    rank {one.rank:g}" if "--rank" in said.options else ""
            lines.append(f" - {one.unique_id}{ranked}    ({one.kind} {one.name})")
    if not lines:
        print(_title(f"{said.name} failure") + "\nNo Computing Element matching your job "
              "requirements has been found!\n" + "=" * WIDTH)  # fmt: skip
        sys.stdout.flush()
        sys.stderr.write(f"  try:  gshell match {path}\n")
        return 1
    if out := said.get("-o", "--output"):
        _write(out, "".join(f"{line}\n" for line in lines))
    print("\n" + "=" * WIDTH + "\n\n" + "COMPUTING ELEMENT IDs LIST".center(WIDTH).rstrip())
    print(" The following CE(s) matching your job requirements have been found:\n\n\t*CEId*")
    print("\n".join(lines) + "\n\n" + "=" * WIDTH)
    return 0


VERBS: dict[str, Callable[[Said], int]] = {
    "submit": _submit,
    "status": _status,
    "cancel": _cancel,
    "output": _output,
    "list-match": _list_match,
}


# ---------------------------------------------------------------------------------------- helpers


def _title(text: str) -> str:
    return f"\n{f' {text} ':=^{WIDTH}}"


def _other(name: str, kind: str) -> str:
    return f"{'i2g-job' if name.startswith('i2g') else 'glite-wms-job'}-{kind}"


def _jdl(said: Said) -> str:
    if len(said.words) != 1:
        raise UsageError(f"{said.name}: one description, please", hint=f"{said.name} --help")
    return said.words[0]


def _ids(said: Said) -> list[str]:
    words = list(said.words)
    path = said.get("-i", "--input")
    if path:
        try:
            with open(path, encoding="utf-8") as file:
                lines = [line.strip() for line in file]
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise UsageError(f"{said.name}: cannot read {path}: {why}") from None
        words += [line for line in lines if line and not line.startswith("#")]
    if not words:
        raise UsageError(f"{said.name}: which job?", hint=f"{said.name} --help")
    found = []
    for word in words:
        id_ = _ID.match(word)
        if id_ is None:
            raise UsageError(f"{said.name}: {sanitize(word[:80])!r} is no job's identifier")
        found.append(id_.group(1))
    return list(dict.fromkeys(found))


def _jobs(ticket: Ticket, ids: list[str]) -> list[dict[str, Any]]:
    found = items_of(ask(ticket, {"m": "jobs", "all": True, "ids": ids, "why": True}), "jobs")
    by_id = {str(job.get("id")): job for job in found}
    missing = [id_ for id_ in ids if id_ not in by_id]
    if missing:
        raise BrokerError(f"there is no job {', '.join(missing)}", hint="gshell jobs -a")
    return [by_id[id_] for id_ in ids]
