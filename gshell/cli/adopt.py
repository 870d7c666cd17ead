"""``adopt``: agents for a batch job that runs already, and the job that stands for it."""

from __future__ import annotations

import json
import secrets
import shlex
import sys
import time
from typing import Any

from gshell.cli import launch
from gshell.cli.listing import print_json
from gshell.cli.options import Parsed
from gshell.cli.sites import check_reachable
from gshell.errors import GshellError, LrmsError, UsageError
from gshell.lrms import running
from gshell.lrms.base import State
from gshell.lrms.running_base import BatchJob
from gshell.model.sanitize import sanitize
from gshell.model.ticket import Ticket
from gshell.net.relaylink import ask, items_of

COMING_S = 60.0  # for the agents to come
LOOK_S = 0.2  # between two questions to the relay: who is there now?
SHOWN = 5  # of an array's tasks
CHECK_S = 1.5  # between looks at what the adopter says
STARTED_S = 20.0
HOURS = 24 * 14  # an invite's life: batch jobs that last longer are rare, and enrolled once
LOCAL = ("/tmp/", "/var/tmp/", "/dev/shm/", "/scratch/", "/local/")  # noqa: S108  # as prefixes
"""Where paths commonly mean something else on each host."""
_START = (
    'umask 077; cd "$HOME"; log=$1; shift; command -v setsid >/dev/null && set -- setsid "$@"; '
    'nohup "$@" >"$log" 2>&1 </dev/null & echo $!'
)


def adopt(parsed: Parsed) -> int:
    """The id of the job that stands for it, on stdout."""
    lrms, one = _name(parsed)
    ticket = launch.ticket_for(parsed)
    site = _site(ticket, lrms, parsed["site"])
    from gshell.submitter import worker

    place = worker.open_place(site)
    try:
        job = _running(lrms, one, place, site)
        _refuse_twice(ticket, lrms, job.id, site)
        adoption = _Adoption(parsed, ticket, site, lrms, job, place)
        job_id = adoption.run()
    finally:
        place.close()
    if parsed["attach"]:
        from gshell.cli import commands

        return launch.session(commands.read(["attach", adoption.shown_at]))
    if parsed["json"]:
        print_json("job", job_id)
        return 0
    print(job_id)
    if not parsed["quiet"]:
        sys.stdout.flush()
        name = f" ({job.name})" if job.name else ""
        sys.stderr.write(
            f"gshell: {lrms}:{one}{name} is job {job_id}, on {', '.join(job.hosts)}\n"
            f"  try:  gshell attach {adoption.shown_at}    gshell ranks {job_id}    "
            f"gshell sh {job_id} --rank 0\n"
        )
    return 0


def _name(parsed: Parsed) -> tuple[str, str]:
    hint = "gshell adopt slurm:4711    one task of an array:  slurm:7_3, sge:7.3"
    if len(parsed.words) != 1:
        raise UsageError("adopt what? A batch system and a job's id, please", hint=hint)
    lrms, colon, one = parsed.words[0].partition(":")
    if not colon or not one:
        raise UsageError(f"{parsed.words[0]!r} is not SYSTEM:ID", hint=hint)
    try:
        running.about(lrms, one)
    except LrmsError as error:
        raise UsageError(error.message, hint=error.hint or hint) from None
    return lrms, one


def _site(ticket: Ticket, lrms: str, named: str | None) -> Any:
    """Whose commands are to be used: a site's, else those of this host."""
    from gshell.submitter import book
    from gshell.submitter import site as sites

    found = [s for s in items_of(ask(ticket, {"m": "sites"}), "sites") if s.get("lrms") == lrms]
    if named:
        found = [site for site in found if site.get("name") == named]
        if not found:
            raise UsageError(f"there is no site {named} with {lrms}", hint="gshell sites")
    if len(found) > 1:
        names = ", ".join(sorted(str(site.get("name")) for site in found))
        raise UsageError(f"several sites have {lrms}: {names}", hint="--site NAME says which")
    if not found:
        return sites.Site("here", lrms)
    site = sites.read(found[0])
    host = str(found[0].get("submitter") or "")
    if not site.ssh and host and host != book.host():
        raise GshellError(
            f"site {site.name} is the batch system of {host}, and this is {book.host()}",
            hint=f"on {host}:  gshell adopt {lrms}:ID --site {site.name}",
        )
    if site.inline:
        raise GshellError(
            f"site {site.name} is one where nothing can be staged (--inline), and a job that runs "
            "already has no room in its script for an agent",
            hint=running.WHAT_TO_DO,
        )
    return site


def _refuse_twice(ticket: Ticket, lrms: str, one: str, site: Any) -> set[str]:
    """Whose agents are there for this batch job already, if no job of ours is.

    Raises:
        GshellError: one is.
    """
    there = {
        str(agent.get("id")): agent.get("state") != "away"
        for agent in items_of(ask(ticket, {"m": "agents"}), "agents")
        if agent.get("lrms_id") == one
        and _SYSTEM + lrms in (agent.get("tags") or ())
        and agent.get("site") == site.name
    }
    for job in items_of(ask(ticket, {"m": "jobs", "all": False}), "jobs"):
        if there.keys() & set(job.get("agents") or ()) and job.get("argv0") == "adopt":
            raise GshellError(
                f"{lrms}:{one} is adopted already: it is job {job.get('id')}",
                hint=f"gshell attach {job.get('id')}",
            )
    return {name.rpartition(".")[0] for name, near in there.items() if near}


_SYSTEM = "lrms-"  # a tag of the agents: which batch system's id theirs is


def look(lrms: str, one: str, place: Any) -> BatchJob | None:
    from gshell.submitter.place import run

    done = [run(place, command) for command in running.about(lrms, one)]
    if done[0].code == 127:
        where = getattr(place, "target", "this host")
        raise GshellError(
            f"the commands of {lrms} are not on {where}: {done[0].err.strip()}",
            hint=f"gshell site add NAME --lrms {lrms} --ssh USER@FRONTEND",
        )
    return running.told(lrms, one, done)


def _running(lrms: str, one: str, place: Any, site: Any) -> BatchJob:
    """The job, which runs and is ours.

    Raises:
        GshellError: it is not, does not, or is nobody's.
    """
    job = look(lrms, one, place)
    where = f"site {site.name}" if site.name != "here" else "this host"
    if job is None:
        raise GshellError(
            f"{where}: {lrms} knows no job {one}", hint="its own list:  squeue, oarstat, qstat"
        )
    if job.user and job.user != place.user:
        raise GshellError(f"{lrms}:{one} is {job.user}'s, not {place.user}'s: it stays alone")
    if job.several:
        names = [f"{lrms}:{each}" for each in job.several[:SHOWN]]
        more = f" and {len(job.several) - SHOWN} more" if len(job.several) > SHOWN else ""
        raise UsageError(
            f"{lrms}:{one} is several jobs: {', '.join(names)}{more}",
            hint=f"one of them:  gshell adopt {names[0]}",
        )
    if job.state in (State.ENDED, State.ENDING):
        how = "" if job.code is None else f", exit status {job.code}"
        raise GshellError(f"{lrms}:{one} is over: {job.word}{how}", hint="its output files have it")
    if job.state is not State.RUNNING or not job.hosts:
        raise GshellError(
            f"{lrms}:{one} does not run yet: {job.word or job.state.value}",
            hint=f"again when it does; a job begun with gshell is followed from the queue on:  "
            f"gshell run {'--site ' + site.name if site.name != 'here' else ''} -- ...",
        )
    return job


class _Adoption:
    """One attempt. Invariant: what it began at the site is ended again if it does not succeed."""

    def __init__(
        self, parsed: Parsed, ticket: Ticket, site: Any, lrms: str, job: BatchJob, place: Any
    ) -> None:
        self.parsed, self.ticket, self.site = parsed, ticket, site
        self.lrms, self.job, self.place = lrms, job, place
        number = job.id.translate({ord(sign): "-" for sign in "_+."})
        self.name = f"{lrms}{number}-{secrets.token_hex(2)}"
        base = f"{place.home}/adopt-{self.name}"
        self.log, self.invite, self.script = base + ".out", base + ".invite", base + ".sh"
        self.pid = ""
        self.shown_at = ""
        """What is to be attached to: the member that sees the output files."""

    def run(self) -> str:
        check_reachable(self.ticket, self.lrms, self.site.ssh)
        self._start()
        try:
            agents = self._await_agents()
            self._await_rivals()
            job_id = self._submit(agents)
        except BaseException:
            undo = f"kill {self.pid} 2>/dev/null; rm -f {shlex.quote(self.invite)}"
            self.place.run(["sh", "-c", undo])
            raise
        return job_id

    def _start(self) -> None:
        from gshell.submitter import script, stage

        count = len(self.job.hosts) + 1
        answer = ask(self.ticket, {"m": "pilot", "name": self.name, "nodes": count, "hours": HOURS})
        pyz = stage.put_pyz(self.place)
        files = {
            self.invite: (str(answer.get("invite")) + "\n", 0o600),
            self.script: (script.runner(pyz), 0o700),
        }
        stage.put(self.place, files)
        tags = ["adopted", _SYSTEM + self.lrms]
        slots = self.parsed["slots"] or 0
        if slots:
            tags.append("open")
        words = [
            "sh", self.script, "adopter", "--invite", "@" + self.invite, "--lrms", self.lrms,
            "--lrms-id", self.job.id, "--hosts", ",".join(self.job.hosts), "--script", self.script,
            "--site", self.site.name, "--tag", ",".join(tags), "--slots", str(1 + slots),
        ]  # fmt: skip
        code, out, err = self.place.run(["sh", "-c", _START, "sh", self.log, *words])
        self.pid = out.decode("ascii", "replace").strip()
        if code or not self.pid.isdigit():
            why = sanitize(err.decode("utf-8", "replace").strip()) or f"status {code}"
            raise GshellError(f"the adopter does not start at {self.site.where}: {why}")

    def _await_agents(self) -> list[str]:
        """All of them, ours at the submit host first.

        Raises:
            GshellError: who did not come, and what was said there.
        """
        wanted = [f"{self.name}.{node}" for node in range(len(self.job.hosts) + 1)]
        until = time.monotonic() + (self.parsed["timeout"] or COMING_S)
        check_at = time.monotonic() + CHECK_S
        while True:
            agents = items_of(ask(self.ticket, {"m": "agents"}), "agents")
            there = {str(one.get("id")) for one in agents if one.get("state") != "away"}
            missing = [name for name in wanted if name not in there]
            if not missing:
                return wanted
            now = time.monotonic()
            if now > check_at:
                check_at = now + CHECK_S
                alive, _, _ = self.place.run(["kill", "-0", self.pid])
                job = look(self.lrms, self.job.id, self.place)
                if job is None or job.state is not State.RUNNING:
                    raise GshellError(f"{self.lrms}:{self.job.id} ended while it was being adopted")
                if alive or now > until or self._gave_up():
                    raise GshellError(self._why_missing(missing), hint=f"less {self.log}")
            time.sleep(LOOK_S)

    def _await_rivals(self) -> None:
        """Two that adopt one job at the same moment see each other here: the lesser name goes on,
        when the other has gone.

        Raises:
            GshellError: the other one does it.
        """
        until = time.monotonic() + STARTED_S
        while True:
            others = _refuse_twice(self.ticket, self.lrms, self.job.id, self.site) - {self.name}
            if not others or (self.name < min(others) and time.monotonic() > until):
                return  # left by one that was killed: they leave by themselves
            if min(others) < self.name:
                what = f"{self.lrms}:{self.job.id} is being adopted by another gshell adopt"
                raise GshellError(what, hint="gshell jobs")
            time.sleep(LOOK_S)

    def _said(self) -> list[str]:
        code, out, _ = self.place.run(["tail", "-c", "2000", self.log])
        lines = out.decode("utf-8", "replace").splitlines() if not code else []
        return [sanitize(line) for line in lines if line.strip()]

    def _gave_up(self) -> bool:
        """Is there a launcher that ended?"""
        return any("ended with status" in line for line in self._said())

    def _why_missing(self, missing: list[str]) -> str:
        nodes = [int(name.rpartition(".")[2]) for name in missing]
        names = ", ".join(self.job.hosts[node - 1] if node else "the submit host" for node in nodes)
        said = [line for line in self._said() if "ended with status" not in line]
        text = f"no agent came from {names}"
        return text + (f": {said[-1]}" if said else "")

    def _submit(self, agents: list[str]) -> str:
        job = self.job
        paths = list(job.outputs)
        here = [path for path in paths if self._visible(path)]
        follows_here = here == paths
        spec = {
            "argv": ["adopt", json.dumps({
                "lrms": self.lrms, "id": job.id, "files": paths, "asks_at": 0,
                "follows_at": 0 if follows_here else 1,
            })],
            "service": "adopt", "name": job.name or f"{self.lrms}:{job.id}", "tasks": 1,
            "size": 1, "keep": True, "on_full": "gap",
        }  # fmt: skip
        request: dict[str, Any] = {
            "m": "submit", "spec": spec, "n": 1, "size": len(agents), "agents": agents,
            "lead": True, "name": spec["name"],
        }  # fmt: skip
        job_id = str(ask(self.ticket, request).get("job"))
        self.shown_at = job_id if follows_here else f"{job_id}.1"
        until = time.monotonic() + STARTED_S
        while time.monotonic() < until:
            found = items_of(ask(self.ticket, {"m": "jobs", "ids": [job_id]}), "jobs")
            if found and found[0].get("state") not in ("NEW", "QUEUED", "HELD"):
                return job_id
            time.sleep(0.05)  # as a person sees no delay; it is asked a few times
        ask(self.ticket, {"m": "cancel", "job": job_id})
        raise GshellError(f"job {job_id} did not start on its agents", hint="gshell agents")

    def _visible(self, path: str) -> bool:
        if path.startswith(LOCAL):
            return False
        code, _, _ = self.place.run(["test", "-e", path])
        return bool(code == 0)


def cancel(parsed: Parsed) -> int:
    """``cancel --cancel-job``: the batch job that an adopted job stands for."""
    from gshell.submitter import worker
    from gshell.submitter.place import run

    if not parsed.words:
        raise UsageError("gshell cancel needs a job id", hint="gshell jobs")
    ticket = launch.ticket_for(parsed, start=False)
    agents = {str(a.get("id")): a for a in items_of(ask(ticket, {"m": "agents"}), "agents")}
    for word in parsed.words:
        found = items_of(ask(ticket, {"m": "jobs", "ids": [word]}), "jobs")
        first = agents.get((found[0].get("agents") or [""])[0]) if found else None
        tags = (first or {}).get("tags") or ()
        lrms = next((tag[len(_SYSTEM) :] for tag in tags if tag.startswith(_SYSTEM)), "")
        if first is None or not lrms:
            raise UsageError(f"job {word} is no adopted job", hint=f"gshell cancel {word}")
        name = str(first.get("site"))
        site = _site(ticket, lrms, None if name == "here" else name)
        place = worker.open_place(site)
        try:
            done = run(place, running.cancel(lrms, str(first.get("lrms_id"))))
        finally:
            place.close()
        if done.code:
            raise GshellError(f"{lrms}:{first.get('lrms_id')}: {sanitize(done.err.strip())}")
    return 0


VERBS = {"adopt": adopt, "cancel": cancel}
