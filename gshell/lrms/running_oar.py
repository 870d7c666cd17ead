"""OAR's running jobs: oarstat, oarsh. Proven on OAR 2.5."""

from __future__ import annotations

from gshell.errors import LrmsError
from gshell.lrms import common, oar
from gshell.lrms.base import Command, State
from gshell.lrms.running_base import BatchJob, outputs, under
from gshell.model.sanitize import sanitize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gshell.lrms.base import Done


def about(one: str) -> list[Command]:
    if not common.known([one], oar.ID):
        raise LrmsError("refused", f"{sanitize(one)!r} is no job of OAR's: its number, please")
    return [Command(["oarstat", "-f", "-J", "-j", one])]


def told(one: str, done: Sequence[Done]) -> BatchJob | None:
    answer = done[0]
    jobs = oar.jobs_of("oarstat", answer)
    job = jobs.get(one)
    if job is None:
        return None

    def text(key: str) -> str:
        value = job.get(key)
        return sanitize(value) if isinstance(value, str) else ""

    word = text("state")
    state = oar.STATES.get(word, State.UNKNOWN)
    hosts = job.get("assigned_network_address")
    name, message = text("name"), text("message")
    values = {"jobid": one, "jobname": name}
    paths = []
    for key in ("stdout_file", "stderr_file"):
        path = text(key)
        for pattern, value in values.items():
            path = path.replace(f"%{pattern}%", value)
        paths.append(under(text("launchingDirectory"), path))
    code = job.get("exit_code")
    return BatchJob(
        one,
        state,
        text("owner") or text("job_user"),
        name,
        word + (f", {message}" if state is State.QUEUED and message else ""),
        tuple(sanitize(host) for host in hosts if isinstance(host, str))
        if isinstance(hosts, list)
        else (),
        outputs(*paths),
        oar.exit_of(code) if isinstance(code, int) else None,
    )


def into(one: str, hosts: Sequence[str], argv: Sequence[str]) -> list[tuple[Command, ...]]:
    return [
        (Command(command.argv, env={"OAR_JOB_ID": one}),)
        for command in common.by_ssh(hosts, argv, ("oarsh", "-n"))
    ]


def cancel(one: str) -> Command:
    return oar.cancel([one])
