"""From a command to a running session: which relay, through the background process or not, started
or not."""

from __future__ import annotations

import os
import sys

from gshell import config
from gshell.cli import plan as plans
from gshell.client.plan import Plan, Surroundings
from gshell.errors import GshellError, UsageError
from gshell.model.ticket import Ticket
from gshell.net.machine import machine_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gshell.cli.options import Parsed

START_S = 60.0


def surroundings() -> Surroundings:
    """Of this process."""
    umask = os.umask(0)
    os.umask(umask)
    try:
        cwd = os.getcwd()
    except OSError:
        cwd = "/"
    return Surroundings(
        env=dict(os.environ),
        cwd=cwd,
        umask=umask,
        where=machine_id(),
        stdin_tty=_is_tty(0),
        stdout_tty=_is_tty(1),
    )


def _is_tty(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def session(parsed: Parsed, change: Callable[[Plan], Plan] = lambda plan: plan) -> int:
    """``run``, ``sh``, ``attach``, ``logs``: the exit status. ``change``: what else it is to do.

    Raises:
        GshellError: it could not even begin.
    """
    from gshell.client.direct import run_here
    from gshell.client.stdio import standard_descriptors

    here = surroundings()
    descriptors = standard_descriptors()  # before anything else gets the number of a closed one
    attaching = parsed.command.name in ("attach", "logs")
    if attaching and not parsed.words:
        parsed.words = [_newest_job(ticket_for(parsed, start=False), parsed.command.name)]
    if attaching and _is_link(parsed.words[0]):
        from gshell.cli import shares

        ticket, shared = shares.open_link(parsed.words[0])
        parsed.words = [shared["job"], *parsed.words[1:]]
        plan = plans.make(parsed, here)
        plan = plan._replace(
            share=shared["share"], owner=shared["owner"], until=shared["until"],
            rights=plan.rights if shared["rights"] == "rw" else "r",
        )  # fmt: skip
        return run_here(plan, ticket, descriptors)
    plan = change(plans.make(parsed, here))
    ticket = ticket_for(parsed, start=not attaching)
    if plan.wish is not None and not plan.spec["mpi"]["layout"]:
        from gshell.client.layout import fit
        from gshell.net.relaylink import ask, items_of

        plan = plan.laid_out(fit(plan.wish, items_of(ask(ticket, {"m": "agents"}), "agents")))
    if plan.beside and "." not in plan.beside:
        plan = plan._replace(beside=step_of(ticket, plan.beside, plan.spec.get("beside_rank")))
    if attaching and plan.rank:
        check_ranks(ticket, plan.job, plan.rank)
    return run_here(plan, ticket, descriptors)


def step_of(ticket: Ticket, job: str, rank: int | None) -> str:
    """The job's step with that rank.

    Raises:
        GshellError: there is none.
    """
    from gshell.cli import norank
    from gshell.client import joining
    from gshell.net.relaylink import ask, items_of

    found = items_of(ask(ticket, {"m": "jobs", "ids": [job], "all": True}), "jobs")
    if not found:
        raise GshellError(f"no job {job} of yours", hint="gshell jobs")
    if found[0].get("ended_at") is not None:
        raise GshellError(f"job {job} has ended", hint=f"gshell logs {job}")
    if found[0].get("argv0") == norank.ADOPTED and rank is not None:
        return f"{job}.{_member_with(ticket, job, rank)}"
    left = rank or 0
    layout = [tasks for tasks in found[0].get("layout") or [1] if isinstance(tasks, int)]
    if left and sum(layout) == 1:  # it may have started ranks itself, as mpirun does
        return f"{job}.{_member_with(ticket, job, left)}"
    for index, tasks in enumerate(layout):
        if left < tasks:
            return f"{job}.{index}"
        left -= tasks
    what = joining.lacks(job, str(rank), sum(layout))
    raise UsageError(what, hint=f"gshell ranks {job}")


def _member_with(ticket: Ticket, job: str, rank: int) -> int:
    """Of a job whose ranks are where others have put them.

    Raises:
        GshellError: none of them has it.
    """
    from gshell.client.conversation import Dialler
    from gshell.client.ranksview import RanksView
    from gshell.net.loop import Loop

    loop = Loop()
    view = RanksView(Dialler(loop, ticket), job)
    try:
        rows = view.ask()
    finally:
        view.close()
        loop.close()
    for row in rows:
        if row.get("rank") == rank:
            return int(row["member"])
    there = ", ".join(str(row.get("rank")) for row in rows) or "none"
    raise UsageError(f"job {job} has no rank {rank}; found were: {there}",
                     hint=f"gshell ranks {job}")  # fmt: skip


def check_ranks(ticket: Ticket, job: str, wanted: str) -> None:
    """
    Raises:
        GshellError: these ranks have no streams; says why.
    """
    from gshell.cli import norank
    from gshell.net.relaylink import ask, items_of

    for found in items_of(ask(ticket, {"m": "jobs", "ids": [job]}), "jobs"):
        if wrong := norank.complaint(found, wanted):
            raise wrong


def _is_link(word: str) -> bool:
    """An invite, or a share's link: what is said of each is said where it is read."""
    return word.lstrip().startswith("gshell://")


def _newest_job(ticket: Ticket, verb: str) -> str:
    """Which job is meant by none: the newest (to attach: that runs, with a terminal if there is
    one).

    Raises:
        UsageError: none lives.
    """
    from gshell.client.render import stamp
    from gshell.net.relaylink import ask, items_of

    jobs = items_of(ask(ticket, {"m": "jobs", "all": verb == "logs"}), "jobs")
    found = [job for job in jobs if stamp(job, "started_at")]
    if verb == "attach":
        found = [job for job in found if job.get("pty")] or found
    if not found:
        raise UsageError("no job of yours runs", hint=f"gshell jobs -a    then    gshell {verb} ID")
    return str(max(found, key=lambda job: stamp(job, "started_at") or 0.0).get("id"))


def ticket_for(parsed: Parsed | None, start: bool = True) -> Ticket:
    """The ticket of the relay that is meant; starts the private one where none is configured, and
    the background process unless told not to.

    Raises:
        GshellError: no relay is configured and the private one does not run (``start`` False) or
        cannot.
    """
    background = config.background_allowed() and not (
        parsed is not None and parsed["no_background"]
    )
    ticket = config.find_ticket()
    if ticket is not None:
        if len(ticket.relays) > 1:
            from gshell.net import relays

            relays.remember = config.remember_relay
        if start and background and not answers(config.background_socket()):
            start_background(wait=False)
        return ticket
    ticket = config.embedded_ticket()
    if ticket is not None and answers(relay_socket()):
        if start and background and not answers(config.background_socket()):
            start_background(wait=False)
        return ticket
    if not start:
        raise GshellError(
            "nothing runs: no relay is configured and the private one is not started",
            hint="gshell run -- CMD",
        )
    start_background(wait=True)
    ticket = config.embedded_ticket()
    if ticket is None:
        raise GshellError("the private relay did not start", hint="gshell doctor")
    return ticket


def ticket_or_none() -> Ticket | None:
    """What :func:`ticket_for` would find, without starting anything."""
    return config.find_ticket() or (config.embedded_ticket() if answers(relay_socket()) else None)


def relay_socket() -> str:
    return config.runtime_dir() + "/relay.sock"


def answers(path: str) -> bool:
    """Does somebody listen on this unix socket?"""
    import _socket as socket  # as in net.address

    from gshell.net.address import unix_path

    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with unix_path(path) as short:
            sock.connect(short)
    except OSError:
        return False
    finally:
        sock.close()
    return True


def starting_file() -> str:
    """Has the numbers of background processes that were started, one a line, until one is up."""
    return config.background_socket() + ".starting"


def start_background(wait: bool) -> None:
    """Start it, detached; with ``wait``, until the private relay and its agent serve.

    Raises:
        GshellError: it could not; its words.
    """
    config.private_dir(config.runtime_dir())
    config.private_dir(config.state_dir())
    reads, writes = os.pipe()
    argv = [*config.entry(), "bg", "--ready-fd", str(writes)]
    os.set_inheritable(writes, True)
    log = os.open(
        config.state_dir() + "/background.log",
        os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC,
        0o600,
    )
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        pid = os.posix_spawn(
            argv[0],
            argv,
            config.absolute_environment(),  # it does not stay in this directory
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
            setsid=True,
        )
    except OSError as error:
        os.close(reads)
        raise GshellError(f"cannot start the background process: {error.strerror}") from None
    finally:
        os.close(writes)
        os.close(log)
        os.close(null)
    with open(starting_file(), "a") as file:  # so that `stop` knows of it before it can say so
        file.write(f"{pid}\n")
    if not wait:
        os.close(reads)
        return
    said = b""
    with open(reads, "rb", buffering=0) as pipe:
        if sys.stderr.isatty():
            sys.stderr.write("gshell: starting your private relay and agent ...\r")
        while True:
            data = pipe.read(4096)
            if not data:
                break
            said += data
            if said.endswith(b"\n"):
                break
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
    text = said.decode(errors="replace").strip()
    if text != "ready":
        try:
            os.waitpid(pid, os.WNOHANG)
        except OSError:
            pass
        message, _, hint = text.partition("\n  try:  ")
        raise GshellError(
            message.removeprefix("gshell: ") or "the background process did not start",
            hint=hint or "gshell doctor",
        )


def plan_of(argv: list[str], here: Surroundings) -> Plan | None:
    """What a front process asks for; None for what it does itself (help, other commands).

    Raises:
        UsageError: it makes no sense.
    """
    from gshell.cli import commands

    try:
        parsed = commands.read(argv)
    except UsageError:
        if "--json" in argv:
            return None  # which way that is to be said is decided there
        raise
    name = parsed.command.name
    if parsed["json"]:
        return None
    if name not in ("run", "mpi", "sh", "attach", "logs") or parsed.options.get("relay"):
        return None
    if name in ("attach", "logs") and (not parsed.words or _is_link(parsed.words[0])):
        return None
    plan = plans.make(parsed, here)
    if plan.beside:
        return None  # where that is has to be asked for first
    if plan.wish is not None and not plan.spec["mpi"]["layout"]:
        return None  # what there is has to be asked for first
    if plan.verb in ("attach", "logs") and plan.rank:
        return None  # whether there are such ranks has, too
    return plan


def background_main(argv: list[str]) -> int:
    """``gshell bg --ready-fd N``: be the background process."""
    ready_fd = int(argv[argv.index("--ready-fd") + 1]) if "--ready-fd" in argv else -1
    os.chdir("/")

    def say(text: str) -> None:
        if ready_fd >= 0:
            try:
                os.write(ready_fd, text.encode() + b"\n")
                os.close(ready_fd)
            except OSError:
                pass

    if ready_fd >= 0:
        os.set_inheritable(ready_fd, False)
    from gshell.client import background, embedded, stub
    from gshell.net.machine import no_core_dumps

    no_core_dumps()

    def ready() -> None:
        say("ready")
        stub.build_later()  # the next ones start without an interpreter

    supervisor = None
    try:
        idle_s = _idle_s(background.IDLE_S)
        try:
            listener = background.listen_socket()
        except GshellError:
            say("ready" if _wait_private() else "another background process does not get ready")
            return 0
        ticket = config.find_ticket()
        if ticket is None:
            supervisor = embedded.Supervisor()
            ticket = supervisor.start()
    except GshellError as error:
        say("gshell: " + error.explained())
        if supervisor is not None:
            supervisor.stop()
        return error.exit_code
    background.hold_signals()  # who reads this may end us at once: what we started ends with us
    config.write_private(config.background_socket() + ".pid", f"{os.getpid()}\n")
    try:
        os.unlink(starting_file())
    except OSError:
        pass
    return background.serve(ticket, listener, plan_of, supervisor, ready, idle_s)


def _idle_s(default: float) -> float:
    """After how long without work the background process ends; ``GSHELL_IDLE``: ``600``, ``1h``."""
    text = os.environ.get("GSHELL_IDLE", "")
    if not text:
        return default
    from gshell.cli.values import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"GSHELL_IDLE: {error}") from None


def _wait_private() -> bool:
    """Somebody else was quicker to start the background process: wait for what it starts."""
    import time

    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if config.find_ticket() is not None or (
            config.embedded_ticket() is not None and answers(relay_socket())
        ):
            return True
        time.sleep(0.02)  # another process's start: nothing tells us of it
    return False
