"""The commands that copy files: put, get, cp. Knows no protocol."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from gshell.cli import launch
from gshell.cli.listing import print_json
from gshell.cli.options import Parsed
from gshell.client.conversation import Dialler
from gshell.client.fileget import Get, Listing
from gshell.client.fileput import Put
from gshell.client.filetransfer import Failed, Transfer
from gshell.client.staging import DEPOT, depot_request
from gshell.errors import BrokerError, GshellError, UsageError
from gshell.model.sanitize import sanitize
from gshell.net.filewire import Entry
from gshell.net.loop import Loop
from gshell.net.relaylink import ask, items_of
from gshell.net.trouble import Trouble

DRAW_S = 0.2  # between two looks of the line that tells how far it is
RATE_OVER_S = 3.0
SHOWN_FAILURES = 20


class Where(NamedTuple):
    """A side of a copy."""

    request: dict[str, Any] | None
    """Fields of an opening; None: here."""
    name: str
    path: str


def parse_where(word: str) -> Where:
    """``JOB:PATH``, ``JOB.INDEX:PATH``, ``AGENT:PATH``, ``site:NAME:PATH``; else a path here.

    >>> parse_where("42:out.txt").request, parse_where("./a:b").request
    ({'beside': '42'}, None)

    Raises:
        UsageError: it is none of them.
    """
    name, colon, path = word.partition(":")
    if not colon or not name or "/" in name:  # as scp has it: ./a:b is here
        return Where(None, "", word)
    if name == "site":
        name, colon, path = path.partition(":")
        if not colon or not name:
            raise UsageError(f"{word!r} is not site:NAME:PATH", hint="gshell sites")
        return Where({"site": [name]}, f"site:{name}", path)
    job, _, index = name.partition(".")
    if job.isdigit() and (index.isdigit() or not index):
        return Where({"beside": name}, name, path)
    return Where({"agent": name}, name, path)


def put(parsed: Parsed) -> int:
    """``gshell put SRC... WHERE:PATH``."""
    *sources, target = _words(parsed, "gshell put SRC... WHERE:PATH")
    where = parse_where(target)
    if where.request is None:
        raise UsageError(
            f"{target!r} says not where: a job, an agent or site:NAME, a colon and a path",
            hint=f"gshell put {' '.join(sources)} AGENT:{target}",
        )
    return _put(parsed, sources, where)


def get(parsed: Parsed) -> int:
    """``gshell get WHERE:PATH... DST``."""
    *sources, target = _words(parsed, "gshell get WHERE:PATH... DST")
    return _get(parsed, [parse_where(word) for word in sources], target)


def cp(parsed: Parsed) -> int:
    """``gshell cp``: one side is here, the other there."""
    *words, last = _words(parsed, "gshell cp SRC... DST")
    target, sources = parse_where(last), [parse_where(word) for word in words]
    if target.request is not None:
        if any(source.request is not None for source in sources):
            raise UsageError("one side of a copy must be here", hint="gshell get, then gshell put")
        return _put(parsed, words, target)
    if all(source.request is None for source in sources):
        raise UsageError("neither side is a job or an agent", hint="gshell cp FILE 42:FILE")
    return _get(parsed, sources, last)


def _words(parsed: Parsed, usage: str) -> list[str]:
    if len(parsed.words) < 2:
        raise UsageError(f"{usage}: what, and where to", hint=f"gshell help {parsed.command.name}")
    return parsed.words


def _put(parsed: Parsed, sources: list[str], where: Where) -> int:
    for source in sources:
        if not os.path.lexists(source):
            raise Trouble("none", f"{sanitize(source)}: no such file or directory")
    assert where.request is not None

    def begin(transfer: Transfer) -> None:
        assert isinstance(transfer, Put)
        transfer.send_to(sources, where.path, bool(parsed["recursive"]), _resume(parsed))

    return Copy(parsed).run([(Put, where.request, "", begin)])


def _get(parsed: Parsed, sources: list[Where], target: str) -> int:
    groups: dict[str, list[Where]] = {}
    for source in sources:
        if source.request is None:
            raise UsageError(
                f"{source.path!r} says not where from: a job, an agent or site:NAME, a colon and "
                "a path", hint=f"gshell get AGENT:{source.path} .",
            )  # fmt: skip
        groups.setdefault(source.name, []).append(source)
    if len(groups) > 1 and not os.path.isdir(target):
        raise Trouble("none", f"{sanitize(target)}: no such directory here")
    plan = []
    for group in groups.values():
        paths = [source.path or "." for source in group]

        def begin(transfer: Transfer, paths: list[str] = paths) -> None:
            assert isinstance(transfer, Get)
            transfer.fetch(paths, target, bool(parsed["recursive"]), _resume(parsed))

        request = group[0].request
        assert request is not None
        plan.append((Get, request, "", begin))
    return Copy(parsed).run(plan)


def fetch(parsed: Parsed) -> int:
    """``gshell fetch ID``: what was kept of its output; ``--now``: what is there now."""
    if len(parsed.words) != 1 or not parsed.words[0].isdigit():
        raise UsageError("gshell fetch takes one job id", hint="gshell jobs -a")
    job = parsed.words[0]
    now, listed = bool(parsed["now"]), bool(parsed["list"])
    found = _job(parsed, job)
    if not now:
        _check_kept(job, found)
    request, whose = ({"beside": job}, "") if now else (depot_request(job=job), DEPOT)
    single = found.get("size", 1) == 1 or len(found.get("outputs") or ()) == 1
    contents = now or single
    path = "." if now else "0" if single else "."
    if listed:
        return Copy(parsed).run([(Listing, request, whose, lambda one: one.look(path))])
    target = parsed["dir"] or f"job{job}"
    try:
        os.makedirs(target, exist_ok=True)
    except OSError as error:
        raise GshellError(f"{target}: {error.strerror}") from None

    def begin(transfer: Transfer) -> None:
        assert isinstance(transfer, Get)
        force = bool(parsed["force"])
        transfer.fetch_into([path], target, "", True, contents=contents, overwrite=force)

    status = Copy(parsed).run([(Get, request, whose, begin)])
    if not parsed["quiet"] and not parsed["json"]:
        for output in filter(None, found.get("outputs") or ()):
            for name in output.get("missing") or ():
                sys.stderr.write(f"gshell: the job left no {name}\n")
            if output.get("error"):
                sys.stderr.write(f"gshell: not all was kept: {output['error']}\n")
        if status == 0:
            print(target)
    return status


def _job(parsed: Parsed, job: str) -> dict[str, Any]:
    ticket = launch.ticket_for(parsed, start=False)
    jobs = items_of(ask(ticket, {"m": "jobs", "ids": [job]}), "jobs")
    if not jobs:
        raise BrokerError(f"no job {job} of yours", hint="gshell jobs -a")
    return jobs[0]


def _check_kept(job: str, found: dict[str, Any]) -> None:
    """
    Raises:
        BrokerError: there is nothing to fetch, or not yet.
    """
    state = found.get("state")
    if state == "STAGE_OUT":
        raise BrokerError(f"the output of job {job} is just being brought here", "try again")
    if found.get("ended_at") is None:
        raise BrokerError(f"job {job} has not ended", f"gshell fetch --now {job}")
    if not found.get("outputs"):
        why = "was submitted without an output sandbox"
        raise NoSandbox(f"job {job} {why}", f"gshell logs {job}")
    kept = [output for output in found["outputs"] if output is not None]
    if not kept:
        why = "it was canceled" if state == "CANCELED" else found.get("error") or "it never ran"
        raise BrokerError(f"no output of job {job} was kept: {why}", f"gshell logs {job}")


class NoSandbox(BrokerError):
    """Nobody asked for anything to be kept."""


def _resume(parsed: Parsed) -> bool:
    return not parsed["no_resume"]


class Copy:
    """Transfers one after the other, with a line on the terminal and words at the end."""

    def __init__(self, parsed: Parsed) -> None:
        self._parsed = parsed
        self._shows = not parsed["quiet"] and not parsed["json"] and sys.stderr.isatty()
        self._loop = Loop()
        self._transfer: Transfer | None = None
        self._ends: list[GshellError | None] = []
        self._began_at = time.monotonic()
        self._seen: list[tuple[float, int]] = []
        self._before = {"files": 0, "skipped": 0, "bytes": 0, "kept": 0}
        self._failed: list[Failed] = []
        self._listing: list[Entry] | None = None

    def run(self, plan: Sequence[tuple[type[Transfer], dict[str, Any], str, Any]]) -> int:
        """Of each: what, an opening's fields, whose agent, how it begins. The exit status."""
        dialler = Dialler(self._loop, launch.ticket_for(self._parsed, start=False))
        error: GshellError | None = None
        if self._shows:
            self._loop.later(DRAW_S, self._draw)
        try:
            for kind, request, whose, begin in plan:
                error = self._one(kind(dialler, request, self._ends.append, whose), begin)
                if error is not None:
                    break
        finally:
            if self._transfer is not None:
                self._transfer.close()
            self._wipe()
            self._loop.close()
        return self._report(error)

    def _one(self, transfer: Transfer, begin: Any) -> GshellError | None:
        self._ends.clear()
        self._transfer = transfer
        begin(transfer)
        while not self._ends:
            self._loop.once()
        tally = transfer.tally
        for name in self._before:
            self._before[name] += getattr(tally, name)
        self._failed += tally.failed
        if isinstance(transfer, Listing):
            self._listing = [entry for entry in transfer.found if entry.kind == "f"]
        self._transfer = None
        return self._ends[0]

    def _report(self, error: GshellError | None) -> int:
        took_s = time.monotonic() - self._began_at
        status = 1 if error is not None or self._failed else 0
        if self._parsed["json"]:
            facts: dict[str, Any] = {
                **self._before, "seconds": round(took_s, 3),
                "failed": [failed._asdict() for failed in self._failed],
                "error": error.message if error is not None else None,
            }  # fmt: skip
            if self._listing is not None:
                facts = {"error": facts["error"], "files": [_facts(e) for e in self._listing]}
            print_json("transfer", facts)
            return status if error is None or isinstance(error, Trouble) else error.exit_code
        shown = [f for f in self._failed if error is None or f.code not in ("full", "limit")]
        for failed in shown[:SHOWN_FAILURES]:
            sys.stderr.write(f"gshell: {failed}\n")
        if len(shown) > SHOWN_FAILURES:
            sys.stderr.write(f"gshell: and {len(shown) - SHOWN_FAILURES} more\n")
        if error is not None:
            raise error
        if self._listing is not None:
            for entry in self._listing:
                print(_line(entry))
        elif self._shows:
            sys.stderr.write(self._summary(took_s))
        return status

    def _summary(self, took_s: float) -> str:
        sums = self._before
        rate = f", {size_text(sums['bytes'] / took_s)}/s" if sums["bytes"] > 1 << 20 else ""
        kept = f"; {size_text(sums['kept'])} were there already" if sums["kept"] else ""
        files = "1 file" if sums["files"] == 1 else f"{sums['files']} files"
        return f"[{files}, {size_text(sums['bytes'])} in {took_s:.1f} s{rate}{kept}]\n"

    # -- the line

    def _draw(self) -> None:
        self._loop.later(DRAW_S, self._draw)
        transfer = self._transfer
        if transfer is None:
            return
        now, tally = time.monotonic(), transfer.tally
        self._seen = [seen for seen in self._seen if now - seen[0] < RATE_OVER_S]
        self._seen.append((now, tally.bytes))
        self._write(progress_line(self._seen, tally.bytes + tally.kept, tally.total, tally.listed,
                                  tally.files, transfer.talk.lost))  # fmt: skip

    def _write(self, line: str) -> None:
        try:
            room = (os.get_terminal_size(2).columns or 80) - 1
        except OSError:
            room = 79
        sys.stderr.write(f"\r{sanitize(line, room)}\x1b[K")
        sys.stderr.flush()

    def _wipe(self) -> None:
        if self._shows:
            self._write("")


def _facts(entry: Entry) -> dict[str, Any]:
    return {"name": sanitize(entry.path), "bytes": entry.size, "mtime": entry.mtime_ns / 1e9}


def _line(entry: Entry) -> str:
    at = time.strftime("%Y-%m-%d %H:%M", time.localtime(min(entry.mtime_ns / 1e9, 1e11)))
    return f"{size_text(entry.size):>10}  {at}  {sanitize(entry.path)}"


def progress_line(
    seen: list[tuple[float, int]], done: int, total: int, listed: bool, files: int,
    lost: GshellError | None,
) -> str:  # fmt: skip
    """How far it is, how fast, how long it will take. ``seen``: (time, bytes) of the last
    moments."""
    (first_at, first), (last_at, last) = seen[0], seen[-1]
    rate = (last - first) / (last_at - first_at) if last_at > first_at else 0.0
    if lost is not None and len(seen) > 3 and not rate:
        return f"{size_text(done)}  [{lost.message}; it goes on when the link is back]"
    parts = [f"{files} files" if files != 1 else "1 file", size_text(done)]
    if listed and total:
        part = min(100, 100 * done // total)
        bar = "#" * (part // 10) + "." * (10 - part // 10)
        parts[1] = f"[{bar}] {part:3d}%  {parts[1]} of {size_text(total)}"
    parts.append(f"{size_text(rate)}/s")
    if listed and rate > 0 and total > done:
        left_s = int((total - done) / rate)
        hours = f"{left_s // 3600}:{left_s // 60 % 60:02d}" if left_s >= 3600 else left_s // 60
        parts.append(f"{hours}:{left_s % 60:02d} left")
    return "  ".join(parts)


def size_text(size: float) -> str:
    """
    >>> size_text(900), size_text(1 << 20), size_text(2.5 * (1 << 30))
    ('900 B', '1.0 MiB', '2.5 GiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
