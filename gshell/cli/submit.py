"""``submit`` and ``match``: job descriptions and job scripts."""

from __future__ import annotations

import codecs
import glob
import importlib
import os
import re
import shlex
import sys
import time
from typing import Any

from gshell.cli import launch, scripts
from gshell.cli.listing import print_json
from gshell.cli.meeting import Meeting
from gshell.cli.options import Parsed
from gshell.cli.progress import Progress
from gshell.errors import BrokerError, GshellError, LinkLost, UsageError
from gshell.jdl import job as jdl
from gshell.jdl import sandbox
from gshell.jdl.description import Description
from gshell.jdl.errors import Finding, JdlError
from gshell.jdl.steps import Request, requests, with_pin
from gshell.jdl.syntax import quoted
from gshell.model.ticket import Ticket
from gshell.net.loop import Loop
from gshell.net.relaylink import ANSWER_S, RelayLink, ask, items_of, said_no, unreachable

MOST_BYTES = 1 << 20
SCRIPT_BYTES = 1 << 16  # looked at, of a script that goes along
AWAY_S = 600.0  # so long a relay may be away while somebody waits for a job
LOOK_AGAIN_S = 0.5
SECRET_VARIABLE = "GSHELL_GLOGIN_SECRET_FILE"  # noqa: S105 - names, of a variable and of a file
SECRET_NAME = ".i2glogin"  # noqa: S105
_OF_HTCONDOR = re.compile(r"(?im)^[ \t]*(?:universe[ \t]*=|queue[ \t]*(?:\d*|\w+ .*)$)")


def submit(parsed: Parsed) -> int:
    """The jobs' ids on stdout, a line each; what to do next on stderr."""
    path = one_file(parsed)
    description = describe(path, parsed["set"], bool(parsed["dirac"]))
    tell(description, bool(parsed["quiet"]))
    if parsed["dry_run"]:
        from gshell.cli.dryrun import dry_run

        return dry_run(description, path, bool(parsed["quiet"]))
    meeting = Meeting()
    try:
        made = plan(description, path, parsed["name"], meeting)
        ticket = launch.ticket_for(parsed)
        made = pin(ticket, made, parsed["resource"])
        ids = send(ticket, made)
        told = _told(parsed, made, ids)
        scripted = parsed["json"] or parsed["wait"] or parsed["no_listen"]
        if not scripted and (address := meets_here(made, meeting)):
            return meeting.wait(ticket, next(iter(ids.values())), address)
    finally:
        meeting.close()
    if not parsed["quiet"]:
        sys.stderr.write(told)
    return wait(ticket, list(ids.values())) if parsed["wait"] else 0


def _told(parsed: Parsed, made: list[Request], ids: dict[str, str]) -> str:
    """The ids, to where they are wanted; what could be done next."""
    if parsed["output"]:
        write_ids(parsed["output"], list(ids.values()))
    if parsed["json"]:
        jobs = [{"id": id_, "node": node} for node, id_ in ids.items()]
        print_json("jobs", jobs)
    else:
        sys.stdout.write("".join(f"{id_}\n" for id_ in ids.values()))
    sys.stdout.flush()
    return next_steps(made, ids)


def meets_here(made: list[Request], meeting: Meeting) -> str:
    """The address at which this very process should wait for the job; empty: it should not."""
    if len(made) != 1 or not meeting.is_ours(made[0].glogin):
        return ""
    return made[0].glogin if sys.stdin.isatty() and sys.stdout.isatty() else ""


def one_file(parsed: Parsed) -> str:
    if len(parsed.words) != 1:
        raise UsageError(f"gshell {parsed.command.name} takes one FILE")
    path: str = parsed.words[0]
    return path


# ------------------------------------------------------------------------------------------ reading


def read_text(path: str) -> str:
    """With its line ends as they are.

    Raises:
        OSError, UnicodeDecodeError: it cannot be read.
    """
    if path == "-":
        return decoded(sys.stdin.buffer.read(MOST_BYTES + 1))
    with open(path, "rb") as file:
        return decoded(file.read(MOST_BYTES + 1))


def decoded(data: bytes) -> str:
    """Text as UTF-8; older editors wrote one byte for a letter, others two for each.

    Raises:
        UnicodeDecodeError: it is no text.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    if b"\0" in data and not data.startswith(b"#!"):  # a script may have an archive behind it
        raise UnicodeDecodeError("utf-8", b"\0", 0, 1, "NUL")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def describe(path: str, sets: list[tuple[str, str]], dirac: bool) -> Description:
    """The job description in a file; a job script's headers make one, too.

    Raises:
        GshellError: there is none, or it is wrong.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", hint="gshell submit FILE"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text: a program is run with `gshell run`") from None
    if scripts.is_one(text):
        return scripts.describe(path, text, sets)
    folder = os.path.dirname(path)

    def load(name: str) -> str:
        found = read_text(name if os.path.exists(name) else os.path.join(folder, name))
        return found.replace("\r\n", "\n")

    name = os.path.basename(path) if path != "-" else "stdin"
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        return jdl.read(text, name, jdl.Options(dirac, sets, load))
    except JdlError as error:
        if _OF_HTCONDOR.search(text):
            error.hint = f"condor_submit {shlex.quote(path)}    (if it is HTCondor's)"
        raise


def tell(description: Description, quiet: bool) -> None:
    """What was seen in it, on stderr: warnings, and notes unless ``quiet``."""
    found = description.all_findings()
    lines = [f.shown(name) for name, f in found if f.level != "note" or not quiet]
    show(lines)


def show(lines: list[str]) -> None:
    from gshell.model.sanitize import sanitize

    sys.stderr.write("".join(f"{sanitize(line)}\n" for line in lines))


def plan(
    description: Description, path: str, name: str | None = None, meeting: Meeting | None = None
) -> list[Request]:
    """
    Raises:
        GshellError: it cannot be run; files that are not there.
    """
    umask = os.umask(0)
    os.umask(umask)
    base = "" if path == "-" else os.path.splitext(os.path.basename(path))[0]
    meet = meeting.place if meeting is not None else None
    expand = expander(os.path.dirname(path))
    made = requests(description, expand, umask, name or base, meet, _text_of)
    if name and not description.nodes:
        made = [with_pin(made[0], name=name, spec={**made[0].message["spec"], "name": name})]
    seen: set[Finding] = set()
    for request in made:
        new = [one for one in request.findings.found if one not in seen]
        seen.update(new)
        show([one.shown(description.name) for one in new])
    return made


def _text_of(path: str) -> str:
    """The beginning of a file that goes along."""
    try:
        with open(path, "rb") as file:
            return file.read(SCRIPT_BYTES).decode("latin-1")
    except OSError:
        return ""


def plan_anywhere(description: Description, path: str) -> list[Request]:
    """The same, whether its files are here or not."""
    name = "" if path == "-" else os.path.splitext(os.path.basename(path))[0]
    return requests(description, lambda word: [word], None, name)


def expander(folder: str) -> Any:
    """What an entry of an InputSandbox means: files as named from here, else from ``folder``."""

    def expand(word: str) -> list[str]:
        if why := sandbox.elsewhere(word):
            raise ValueError(why)
        for path in dict.fromkeys((word, os.path.join(folder, word))):
            if os.path.isfile(path):
                return [path]
            if sandbox.is_glob(path):
                found = sorted(one for one in glob.glob(path) if os.path.isfile(one))
                if found:
                    return found
        if any(os.path.isdir(path) for path in (word, os.path.join(folder, word))):
            raise ValueError(f"{word} is a directory: its files are {word.rstrip('/')}/*")
        return []

    return expand


# ------------------------------------------------------------------------------------------ sending


def pin(ticket: Ticket, made: list[Request], resource: str | None) -> list[Request]:
    """The same for one site or several, one agent, or the GlueCEUniqueID that is meant.

    Raises:
        UsageError: there is none of that name.
    """
    wanted = {resource or request.submit_to for request in made} - {""}
    known: dict[str, dict[str, Any]] = {}
    if wanted:
        agents, sites = places(ticket)
        known.update((str(one.get("id")), {"agent": one.get("id")}) for one in agents)
        known.update((str(one.get("name")), {"site": [one.get("name")]}) for one in sites)
    return [_pinned(request, resource or request.submit_to, known) for request in made]


def _pinned(request: Request, place: str, known: dict[str, dict[str, Any]]) -> Request:
    if not place:
        return request
    if place in known:
        return with_pin(request, **known[place])
    several = [known.get(name, {}).get("site", [""])[0] for name in place.split(",")]
    if all(several):
        return with_pin(request, site=several)
    if ":" in place and "/" in place:
        condition = f"other.GlueCEUniqueID == {quoted(place)}"
        own = request.message.get("req")
        return with_pin(request, req=f"({own}) && {condition}" if own else condition)
    there = ", ".join(sorted(known)) or "none at all"
    raise UsageError(
        f"there is no site and no agent {place!r}; there are: {there}", hint="gshell agents"
    )


def places(ticket: Ticket) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Agents and sites; a relay that knows no sites has none."""
    agents = items_of(ask(ticket, {"m": "agents"}), "agents")
    try:
        sites = items_of(ask(ticket, {"m": "sites"}), "sites")
    except BrokerError:
        sites = []
    return agents, sites


def send(ticket: Ticket, made: list[Request]) -> dict[str, str]:
    """All of them; node -> job's id. What was sent already is taken back if one is refused.

    Raises:
        GshellError: one is refused, or its files cannot be sent.
    """
    for request in made:
        if request.files.inputs:
            _staging()  # before anything is submitted
    ids: dict[str, str] = {}
    one_by_one = any(request.files.inputs or request.glogin for request in made)
    line = None if one_by_one else Line(ticket)  # a connection must not lie idle for an upload
    try:
        for request in made:
            message = {**request.message, "spec": {**request.message["spec"]}}
            if request.after:
                message["after"] = [ids[name] for name in request.after]
            if ids:
                message["parent"] = next(iter(ids.values()))
            _send_files(ticket, request, message["spec"])
            answer = line.ask(message) if line is not None else ask(ticket, message)
            ids[request.name] = str(answer["job"])
    except BaseException:
        for id_ in ids.values():
            try:
                ask(ticket, {"m": "cancel", "job": id_})
            except GshellError:
                pass  # what went wrong first is what is told
        raise
    finally:
        if line is not None:
            line.close()
    return ids


class Line:
    """One connection for many requests: a thousand jobs need no thousand handshakes."""

    def __init__(self, ticket: Ticket) -> None:
        self._ticket = ticket
        self._loop = Loop()
        self._errors: list[GshellError] = []
        self._link = RelayLink(self._loop, ticket, self._errors.append)
        self._link.open()

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """As `gshell.net.relaylink.ask`."""
        got: list[dict[str, Any]] = []
        self._link.request(message, got.append)
        self._loop.run_until(lambda: bool(got or self._errors), ANSWER_S)
        if not got:
            raise self._errors[0] if self._errors else unreachable(self._ticket, "no answer")
        if not got[0].get("ok"):
            raise said_no(got[0])
        return got[0]

    def close(self) -> None:
        self._link.close()
        self._loop.close()


def _send_files(ticket: Ticket, request: Request, spec: dict[str, Any]) -> None:
    """What goes along with a job, ahead of it; its ``spec`` says under which key."""
    files = [(path, path.rpartition("/")[2]) for path in request.files.inputs]
    if request.glogin and (secret := _secret(request.glogin)):
        files.append((secret, SECRET_NAME))
        spec["extra_env"] = {**spec["extra_env"], SECRET_VARIABLE: SECRET_NAME}
    if files:
        staging = _staging()
        key = staging.new_key()
        with Progress() as progress:
            staging.upload(ticket, key, files, progress.watch)
        spec["job"] = {**spec["job"], "sandbox": key, "inputs": [name for _, name in files]}


def _staging() -> Any:
    """What sends and fetches files."""
    try:
        return importlib.import_module("gshell.client.staging")
    except ImportError:
        raise GshellError(
            "this gshell cannot send files with a job: leave out InputSandbox, or update it"
        ) from None


def _secret(address: str) -> str:
    """The file with the secret that the waiting i2glogin and the one in the job share."""
    try:
        secret = importlib.import_module("gshell.glogin.secret")
    except ImportError:
        return ""
    path, _ = secret.secret_for(address)
    return str(path)


def wait(ticket: Ticket, ids: list[str]) -> int:
    """Until all have ended; the highest of their statuses."""
    worst = 0
    for id_ in ids:
        job = _ended(ticket, id_)
        if job.get("signal"):
            code = 128 + int(job["signal"])
        elif job.get("state") == "CANCELED" or job.get("code") is None:
            code = 125
        else:
            code = int(job["code"])
        if job.get("error"):
            show([f"gshell: job {id_}: {job['error']}"])
        worst = max(worst, code)
    return worst


def _ended(ticket: Ticket, id_: str) -> dict[str, Any]:
    """This job, when it has ended. A relay that is away, or started anew, is asked again.

    Raises:
        GshellError: it says no, or is away for long.
    """
    away_at: float | None = None
    while True:
        asked_at = time.monotonic()
        try:
            job: dict[str, Any] = ask(ticket, {"m": "wait", "job": id_}, wait=True)["job"]
            return job
        except LinkLost:
            now = time.monotonic()
            if away_at is None or now - asked_at > AWAY_S / 10:  # it was there until now
                away_at = now
            if now - away_at > AWAY_S:
                raise
            time.sleep(LOOK_AGAIN_S)


def next_steps(made: list[Request], ids: dict[str, str]) -> str:
    first = next(iter(ids.values()))
    if len(ids) > 1:
        return f"gshell: {len(ids)} jobs\n  try:  gshell jobs    or    gshell why {first}\n"
    request = made[0]
    if request.glogin:
        return f"  try:  i2glogin -p {request.glogin}\n"
    if request.message["spec"].get("pty"):
        return f"  try:  gshell attach {first}\n"
    fetch = f"    or    gshell fetch {first}" if request.files.outputs else ""
    return f"  try:  gshell jobs {first}    or    gshell logs -f {first}{fetch}\n"


def write_ids(path: str, ids: list[str]) -> None:
    """Behind what the file has: each id a line, as the grid's own commands did."""
    try:
        new = not os.path.exists(path) or os.path.getsize(path) == 0
        with open(path, "a", encoding="ascii") as file:
            file.write("###Submitted Job Ids###\n" if new else "")
            file.write("".join(f"{id_}\n" for id_ in ids))
    except OSError as error:
        raise GshellError(f"cannot write {path}: {error.strerror}; the jobs are submitted: "
                          + " ".join(ids)) from None  # fmt: skip


def verb(parsed: Parsed) -> int:
    """``submit``, ``match``."""
    if parsed.command.name == "submit":
        return submit(parsed)
    from gshell.cli.match import match

    return match(parsed)
