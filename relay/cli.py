"""`gshell-relay`, also `gshell relay`: start, status, stop, invite. Talks to people; decides
nothing.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import signal
import sys
import time
from typing import Any, NoReturn

from gshell.errors import GshellError, UsageError
from gshell.model.sanitize import sanitize
from relay import state

_STOP_S = 15.0
_ASK_S = 3.0
_HELP = "A relay that everyone connects out to: one public port, no privileges."


def main(argv: list[str] | None = None) -> int:
    """Run one command; the process's exit status."""
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except GshellError as error:
        said = "\n".join(map(sanitize, error.explained().split("\n")))
        print(f"gshell: {said}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        return 141
    except KeyboardInterrupt:
        return 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"{self.prog} --help")


def _run(argv: list[str]) -> int:
    parser = _Parser(prog="gshell-relay", description=_HELP)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="start|status|stop|invite")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, help=text, description=text)
        one.add_argument("--state", metavar="DIR", help="the relay's directory")
        return one

    start = verb("start", "start the relay, and print an invite")
    start.add_argument("--listen", required=True, metavar="HOST:PORT", help="or unix:PATH")
    start.add_argument(
        "--advertise", metavar="HOST:PORT", help="the address others dial, if another"
    )
    start.add_argument("--foreground", action="store_true", help="do not go into the background")
    start.add_argument("--user", metavar="NAME", help="whom the invite is for (default: you)")
    status = verb("status", "say whether the relay runs, and what it has to do")
    status.add_argument("--json", action="store_true")
    verb("stop", "end the relay; what runs on agents goes on")
    invite = verb("invite", "print a new invite for a client or an agent")
    invite.add_argument("--user", metavar="NAME", help="whom it is for (default: you)")
    invite.add_argument("--uses", type=int, metavar="N", help="how often it can be used (10)")
    invite.add_argument("--hours", type=float, metavar="H", help="how long it is valid (24)")
    invite.add_argument("--role", choices=("client", "agent"), help="only for this (default: both)")
    args = parser.parse_args(argv)

    folder = os.path.abspath(args.state or state.default())
    match args.verb:
        case "start":
            return _start(folder, args)
        case "status":
            return _status(folder, args.json)
        case "stop":
            return _stop(folder)
        case _:
            return _invite(folder, args)


# -------------------------------------------------------------------------------------------- start


def _start(folder: str, args: argparse.Namespace) -> int:
    from gshell import sitepath
    from gshell.net import address

    sitepath.enable()
    listen = args.listen
    if listen.startswith("unix:"):
        listen = "unix:" + os.path.abspath(listen[5:])
    for given in (listen, args.advertise):
        if given:
            address.split(given)  # a wrong one is the user's error, not the system's
    user = _user(args.user)
    state.prepare(folder)
    folder = os.path.realpath(folder)

    from relay import children, log, supervise

    handler = log.set_up(os.path.join(folder, state.LOG))
    relay = supervise.Relay(children.Plan(folder, listen, args.advertise or ""))
    relay.prepare()
    invite = _make_invite(folder, relay.relays, user, None, None, "any")

    def greet() -> None:
        print(f"The relay listens on {relay.listen}; its state is in {folder}")
        _show_invite(invite, user, None, None, "any")
        sys.stdout.flush()

    if args.foreground:
        relay.run(greet)
        return 0
    reader, writer = os.pipe2(os.O_CLOEXEC)
    if os.fork() == 0:
        _daemon(relay, writer)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        said = pipe.readline()
        if said != "ready\n":  # door and broker hold the pipe too: its end is theirs
            said += pipe.read()
    if said != "ready\n":
        raise GshellError(said.strip() or f"the relay did not start; see {handler.path}")
    greet()
    return 0


def _daemon(relay: Any, writer: int) -> NoReturn:
    """The background half of `start`."""
    from relay import children

    code = 1

    def ready() -> None:
        os.write(writer, b"ready\n")
        os.close(writer)

    try:
        os.setsid()
        children.detach_stdio()
        children.close_others({writer, *relay.descriptors()})
        relay.run(ready)
        code = 0
    except GshellError as error:
        os.write(writer, error.explained().encode())
        code = error.exit_code
    finally:
        os._exit(code)


def _user(name: str | None) -> str:
    from relay.auth import check_name

    if name is None:
        try:
            name = getpass.getuser()
        except (KeyError, OSError):
            raise UsageError("cannot tell who you are", hint="say it: --user NAME") from None
    return check_name(name, "a user's name")


# ------------------------------------------------------------------------------------------- invite


def _invite(folder: str, args: argparse.Namespace) -> int:
    facts = _running(folder)
    user, role = _user(args.user), args.role or "any"
    text = _make_invite(folder, facts["relays"], user, args.uses, args.hours, role)
    _show_invite(text, user, args.uses, args.hours, role)
    return 0


def _make_invite(
    folder: str, relays: list[str], user: str, uses: int | None, hours: float | None, role: str
) -> str:
    from relay import desk
    from relay.journal import Journal

    journal = Journal(os.path.join(folder, state.JOURNAL))
    try:
        office = desk.Desk(folder, journal, relays)
        uses = desk.INVITE_USES if uses is None else uses
        return office.invite(
            user, role, uses, desk.INVITE_HOURS if hours is None else hours, time.time()
        )
    finally:
        journal.close()


def _show_invite(text: str, user: str, uses: int | None, hours: float | None, role: str) -> None:
    from relay import desk

    uses = desk.INVITE_USES if uses is None else uses
    hours = desk.INVITE_HOURS if hours is None else hours
    print(f"\nFor {user}, to be used {uses} times within {hours:g} hours:\n")
    if role != "agent":
        print(f"  gshell login '{text}'")
    if role != "client":
        print(f"  gshell agent start --invite '{text}'")


# ---------------------------------------------------------------------------------- status and stop


def _running(folder: str) -> dict[str, Any]:
    if not os.path.isdir(folder):
        raise GshellError(
            f"no relay has ever run from {folder}", hint="gshell relay start --listen HOST:PORT"
        )
    if not os.access(folder, os.R_OK | os.X_OK):
        raise GshellError(
            f"cannot read the state directory {folder}", hint="choose another: --state DIR"
        )
    facts = state.running(folder)
    if facts is None:
        raise GshellError(
            f"no relay runs from {folder}", hint="gshell relay start --listen HOST:PORT"
        )
    return facts or state.wait_running(folder, _ASK_S)


def _status(folder: str, as_json: bool) -> int:
    try:
        facts = _running(folder)
    except GshellError:
        if as_json:
            print(json.dumps({"running": False}))
            return 125
        raise
    facts = {"running": True, **facts, **_ask(folder)}
    if as_json:
        print(json.dumps(facts, indent=1))
        return 0
    print(f"The relay listens on {facts.get('listen')} (pid {facts.get('pid')}, state in {folder})")
    if "agents" in facts:
        hours = facts["uptime_s"] / 3600.0
        print(f"{facts['agents']} agents, {facts['jobs']} jobs; broker up for {hours:.1f} h")
    else:
        print("its broker does not answer; see relay.log")
    return 0


def _ask(folder: str) -> dict[str, Any]:
    """The broker's own words; empty if it does not answer."""
    from gshell import sitepath

    sitepath.enable()
    from relay.bus import DoorBus

    os.chdir(folder)  # the bus's name must be short
    bus = DoorBus(state.BUS, f"ask{os.getpid()}")
    try:
        return next(iter(bus.drain()), {}) if bus.wait(_ASK_S) else {}
    finally:
        bus.close()


def _stop(folder: str) -> int:
    facts = _running(folder)
    try:
        pidfd = os.pidfd_open(int(facts["pid"]))
    except (KeyError, OSError):
        raise GshellError("the relay is on its way up or down", hint="try again") from None
    import select

    signal.pidfd_send_signal(pidfd, signal.SIGTERM)
    if not select.select([pidfd], [], [], _STOP_S)[0]:
        raise GshellError(
            f"the relay (pid {facts['pid']}) does not end", hint=f"kill -9 {facts['pid']}"
        )
    print("The relay has ended.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
