"""``gshell show``: all about a job, as the relay knows it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from gshell.cli import launch, saying
from gshell.cli.listing import color_of
from gshell.cli.options import Parsed
from gshell.cli.verbs import _job_id, print_json
from gshell.client import fields, render
from gshell.errors import BrokerError
from gshell.net.relaylink import ask, items_of

# what a page says in its own words, or what says nothing to a person
_TOLD = frozenset((
    "id", "name", "user", "state", "phase", "hosts", "agents", "size", "tasks", "layout", "code",
    "created_at", "started_at", "ended_at", "signal", "error", "watchers", "attached", "archived",
    "archived_bytes", "outputs", "progress", "why", "eta", "argv0", "pty", "site", "lane",
    "walltime", "after", "parent", "pool", "attempt", "retries",
))  # fmt: skip


def show(parsed: Parsed) -> int:
    """
    Raises:
        GshellError: there is no such job, or nobody knows.
    """
    ids = [_job_id(word) for word in parsed.words]
    ticket = launch.ticket_for(parsed, start=False)
    answer = ask(ticket, {"m": "jobs", "all": True, "ids": ids, "why": True})
    found = {str(job.get("id")): job for job in items_of(answer, "jobs")}
    missing = [job for job in ids if job not in found]
    jobs = [found[job] for job in dict.fromkeys(ids) if job in found]
    if parsed["json"]:
        if jobs:
            print_json("jobs", jobs)
    else:
        color, now = color_of(parsed), time.time()
        pages = ["".join(f"{line}\n" for line in page(job, now, color)) for job in jobs]
        sys.stdout.write("\n".join(pages))
    if missing:
        sys.stdout.flush()
        error = BrokerError(f"there is no job {', '.join(missing)}", hint="gshell jobs -a")
        saying.complain(error, bool(parsed["json"]), parsed["color"])
    return 1 if missing else 0


def page(job: Mapping[str, Any], now: float, color: bool = False) -> Iterator[str]:
    """The lines about one job."""

    def row(name: str, value: str) -> str:
        return f"  {name:<11} {value}"

    state, paint = render.state_text(job)
    name = str(job.get("name") or job.get("argv0") or "")
    yield (
        render.painted(f"job {job.get('id')}", "bold", color)
        + f"  {name}  "
        + render.painted(state, paint, color)
    )
    if job.get("error"):
        yield row("error", str(job["error"]))
    if job.get("why"):
        yield row("waits", str(job["why"]))
    yield from (row(key, text) for key, text in _facts(job, now) if text)
    for key in sorted(set(job) - _TOLD):  # of a newer relay
        text = fields.plain(job[key])
        if text not in ("-", "no", "0"):
            yield row(key.replace("_", " "), text)
    commands = list(_next(job))
    if commands:
        yield ""
        yield "  " + "    ".join(commands)


def _facts(job: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    yield "program", str(job.get("argv0") or "")
    yield "owner", _owner(job)
    yield "size", _size(job)
    hosts = render.hosts_text(render.texts_of(job, "hosts"))
    yield "where", ", ".join(filter(None, (hosts, _named("site", job), _named("lane", job))))
    yield "agents", ", ".join(render.texts_of(job, "agents"))
    yield "created", _when(job, "created_at", now)
    yield "started", _when(job, "started_at", now)
    yield "ended", _when(job, "ended_at", now)
    started, ended = render.stamp(job, "started_at"), render.stamp(job, "ended_at")
    if started is not None:
        limit = render.stamp(job, "walltime")
        ran = render.duration_text((ended if ended is not None else now) - started)
        yield "ran", ran + (f" of {render.duration_text(limit)}" if limit else "")
    eta = render.stamp(job, "eta")
    if eta is not None and started is None:
        yield "starts", f"in {render.duration_text(eta - now)}, at the latest"
    progress = render.progress_text(job, now)
    yield "progress", progress if progress != "-" else ""
    yield "exit", _exit(job)
    looked_at = render.watch_text(job)
    yield "looked at", looked_at if ended is None and looked_at != "-" else ""
    if job.get("archived"):
        yield (
            "kept",
            f"{render.bytes_text(render.stamp(job, 'archived_bytes') or 0)} of output at the relay",
        )
    yield from _files(job)
    yield "after", ", ".join(f"job {one}" for one in render.texts_of(job, "after"))
    yield "part of", f"job {job['parent']}" if job.get("parent") else ""
    attempt = render.stamp(job, "attempt") or 1
    yield "attempt", f"{attempt:.0f}" if attempt > 1 else ""


def _owner(job: Mapping[str, Any]) -> str:
    pool = f", on an agent of the pool {job['pool']}" if job.get("pool") else ""
    return f"{job.get('user') or ''}{pool}"


def _size(job: Mapping[str, Any]) -> str:
    tasks, agents = job.get("tasks") or job.get("size") or 1, job.get("size") or 1
    text = f"{tasks} task{'' if tasks == 1 else 's'}"
    layout = job.get("layout")
    if agents != 1 and isinstance(layout, list):
        text += f" on {agents} agents: " + " + ".join(map(str, layout))
    return text + (", with a terminal" if job.get("pty") else "")


def _named(key: str, job: Mapping[str, Any]) -> str:
    return f"{key} {job[key]}" if job.get(key) else ""


def _when(job: Mapping[str, Any], key: str, now: float) -> str:
    at = render.stamp(job, key)
    if at is None:
        return ""
    return (
        f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at))}  ({render.ago_text(now - at)})"
    )


def _exit(job: Mapping[str, Any]) -> str:
    if job.get("ended_at") is None:
        return ""
    if job.get("signal"):
        return f"by signal {render.state_text({**job, 'state': 'FAILED'})[0].partition(' ')[2]}"
    return "" if job.get("code") is None else str(job["code"])


def _files(job: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    outputs = job.get("outputs")
    for index, one in enumerate(outputs if isinstance(outputs, list) else ()):
        if isinstance(one, dict):
            count, size = one.get("files") or 0, render.stamp(one, "bytes") or 0
            text = f"{count} file{'' if count == 1 else 's'}, {render.bytes_text(size)}"
            if one.get("missing"):
                text += f"; missing: {fields.plain(one['missing'])}"
            if one.get("error"):
                text += f"; {one['error']}"
            yield "output" if len(outputs) == 1 else f"output {index}", text  # type: ignore[arg-type]


def _next(job: Mapping[str, Any]) -> Iterator[str]:
    """What one may want to type now."""
    id_ = job.get("id")
    if job.get("started_at") is None and job.get("ended_at") is None:
        yield f"gshell why {id_}"
        yield f"gshell cancel {id_}"
    elif job.get("ended_at") is None:
        yield f"gshell attach {id_}"
        yield f"gshell logs {id_} -f"
    elif job.get("archived"):
        yield f"gshell logs {id_}"
    outputs = job.get("outputs")
    if isinstance(outputs, list) and any(isinstance(one, dict) for one in outputs):
        yield f"gshell fetch {id_}"


VERBS = {"show": show}
