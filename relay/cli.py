"""`gshell-relay`, also `gshell relay`: start, status, restart, stop, invite, user, key, doctor.
Talks to people;
decides nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import time
from typing import Any, NoReturn

from gshell.errors import GshellError, UsageError
from gshell.model.sanitize import sanitize
from relay import admin, state

_STOP_S = 15.0
_RULES = {"policy": "archive", "days": "archive_days", "bytes": "archive_size"}
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
    verbs = parser.add_subparsers(
        dest="verb", required=True, metavar="start|status|restart|stop|invite|user|key|doctor"
    )

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, help=text, description=text)
        one.add_argument("--state", metavar="DIR", help="the relay's directory")
        return one

    start = verb("start", "start the relay, and print an invite")
    start.add_argument(
        "--listen", required=True, action="append", metavar="HOST:PORT",
        help="or unix:PATH; may be repeated: one relay, several ways to it",
    )  # fmt: skip
    start.add_argument(
        "--advertise", action="append", metavar="HOST:PORT",
        help="the address others dial, if another; may be repeated, the first is tried first",
    )  # fmt: skip
    start.add_argument("--foreground", action="store_true", help="do not go into the background")
    start.add_argument("--user", metavar="NAME", help="whom the invite is for (default: you)")
    start.add_argument(
        "--archive",
        choices=("off", "on-exit", "live"),
        help="keep the output of finished jobs: never, fetched at their end (the default), or as it"
        " comes; remembered for the next start",
    )
    start.add_argument(
        "--archive-days", type=float, metavar="DAYS", help="for so long (30); remembered"
    )
    start.add_argument(
        "--archive-size", type=_size, metavar="SIZE", help="at most so much, 500M, 10G; remembered"
    )
    start.add_argument(
        "--metrics", metavar="ADDRESS", help="figures for Prometheus: 127.0.0.1:9464 or unix:PATH"
    )
    start.add_argument(
        "--metrics-anywhere", action="store_true", help="let --metrics be an address others reach"
    )
    start.add_argument(
        "--no-ssh", action="store_true",
        help="do not serve stock ssh (ssh -J gshell-relay job42) on the same port",
    )  # fmt: skip
    start.add_argument(
        "--ssh-attach", action="store_true",
        help="show a job's terminal to ssh 42@gshell-relay: this relay then sees what passes",
    )  # fmt: skip
    start.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="of relay.log (text)"
    )
    start.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info",
        help="what is worth a line in relay.log (info)",
    )  # fmt: skip
    status = verb("status", "say whether the relay runs, and what it has to do")
    status.add_argument("--json", action="store_true")
    doctor = verb("doctor", "look for what is wrong with this relay, and say what to do")
    doctor.add_argument("--json", action="store_true")
    verb("restart", "put the gshell installed now in the running one's place; sessions go on")
    verb("stop", "end the relay; what runs on agents goes on")
    invite = verb("invite", "print a new invite for a client or an agent")
    invite.add_argument("--user", metavar="NAME", help="whom it is for (default: you)")
    invite.add_argument("--uses", type=int, metavar="N", help="how often it can be used (10)")
    invite.add_argument("--hours", type=float, metavar="H", help="how long it is valid (24)")
    invite.add_argument("--role", choices=("client", "agent"), help="only for this (default: both)")
    admin.describe(verbs)
    args = parser.parse_args(argv)
    if args.verb in ("user", "key"):
        return admin.run(args)

    folder = os.path.abspath(args.state or state.default())
    match args.verb:
        case "start":
            return _start(folder, args)
        case "status":
            return _status(folder, args.json)
        case "restart":
            return _restart(folder)
        case "stop":
            return _stop(folder)
        case "doctor":
            return _doctor(folder, args.json)
        case _:
            return admin.invite(args)


# -------------------------------------------------------------------------------------------- start


def _start(folder: str, args: argparse.Namespace) -> int:
    from gshell import sitepath
    from gshell.net import address

    sitepath.enable()
    listen = tuple(
        "unix:" + os.path.abspath(where[5:]) if where.startswith("unix:") else where
        for where in args.listen
    )
    advertise = tuple(args.advertise or ())
    for given in listen + advertise:
        address.split(given)  # a wrong one is the user's error, not the system's
    metrics = args.metrics or ""
    if metrics:
        from relay.listening import check_metrics

        if metrics.startswith("unix:"):
            metrics = "unix:" + os.path.abspath(metrics[5:])
        check_metrics(metrics, args.metrics_anywhere)
    if args.ssh_attach and args.no_ssh:
        raise UsageError("--ssh-attach is a way into SSH, and --no-ssh closes that")
    user = admin.user_name(args.user)
    state.prepare(folder)
    folder = os.path.realpath(folder)

    from relay import children, log, supervise

    ordered = {
        name: value
        for name in ("policy", "days", "bytes")
        if (value := getattr(args, _RULES[name])) is not None
    }
    rules = children.Rules(**{**state.archive_rules(folder), **ordered})
    plan = children.Plan(
        folder, listen, advertise, archive=rules, metrics=metrics, log_format=args.log_format,
        log_level=args.log_level, ssh=not args.no_ssh, ssh_attach=args.ssh_attach,
    )  # fmt: skip
    path = os.path.join(folder, state.LOG)
    handler = log.set_up(path, log.level_of(plan.log_level), plan.log_format)
    relay = supervise.Relay(plan)
    if ordered:
        state.remember_archive_rules(folder, dataclasses.asdict(rules))
    relay.prepare()
    invite = _first_invite(folder, relay, user)

    def greet() -> None:
        print(f"The relay listens on {', '.join(relay.listen)}; its state is in {folder}")
        if relay.scraped:
            print(f"Its figures are at {relay.scraped} (GET /metrics)")
        admin.show_invite(invite, user, None, None, "any")
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


def _size(text: str) -> int:
    """``500M``, ``10G``: 1024 each."""
    unit = "KMGT".find(text[-1:].upper()) + 1
    try:
        size = float(text[:-1] if unit else text) * 1024**unit
    except ValueError:
        size = -1.0
    if not 0 <= size < 1 << 60:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: 500M, 10G")
    return int(size)


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


def _first_invite(folder: str, relay: Any, user: str) -> str:
    """For the administrator: whoever starts the relay, or is named then."""
    from relay.broker.events import Audit
    from relay.brokerd import LOCAL
    from relay.desk import INVITE_HOURS, INVITE_USES, Desk
    from relay.journal import Journal

    journal = Journal(os.path.join(folder, state.JOURNAL))
    try:
        desk = Desk(folder, journal, relay.relays)
        now = time.time()
        desk.ensure_user(user, now, "admin")
        invite = desk.invite(user, "any", INVITE_USES, INVITE_HOURS, now)
        relay.notes.append(Audit(LOCAL, "invite", f"user {user}", detail={"role": "any"}))
        return invite
    finally:
        journal.close()


# ---------------------------------------------------------------------------------- status and stop


def _status(folder: str, as_json: bool) -> int:
    try:
        facts = admin.running(folder)
    except GshellError:
        if as_json:
            print(json.dumps({"schema": 1, "running": False}))
            return 125
        raise
    facts = {"schema": 1, "running": True, **facts, **admin.ask_here(folder)}
    if as_json:
        print(json.dumps(facts, indent=1))
        return 0
    where = ", ".join(facts.get("listens") or [str(facts.get("listen"))])
    print(f"The relay listens on {where} (pid {facts.get('pid')}, state in {folder})")
    if "agents" in facts:
        hours = facts["uptime_s"] / 3600.0
        print(f"{facts['agents']} agents, {facts['jobs']} jobs; broker up for {hours:.1f} h")
    else:
        print("its broker does not answer; see relay.log")
    return 0


def _doctor(folder: str, as_json: bool) -> int:
    from gshell import sitepath

    sitepath.enable()
    from relay import doctor

    try:
        facts = state.running(folder) if os.path.isdir(folder) else None
    except GshellError:
        facts = None  # the directory's own check says why
    found = doctor.examine(folder, facts, lambda: admin.ask_here(folder), time.time())
    bad = sum(1 for _, finding in found if finding.level == "bad")
    if as_json:
        lines = [{"check": name, **finding._asdict()} for name, finding in found]
        print(json.dumps({"schema": 1, "findings": lines}, indent=1))
        return 1 if bad else 0
    signs = {"ok": "ok ", "note": "!  ", "bad": "BAD"}
    for _, finding in found:
        print(f"{signs[finding.level]} {finding.text}")
        if finding.fix:
            print(f"    try:  {finding.fix}")
    print("everything is fine" if not bad else f"{bad} problem{'s' if bad > 1 else ''}")
    return 1 if bad else 0


def _restart(folder: str) -> int:
    from gshell import __version__, sitepath

    facts = admin.running(folder)
    pidfd = _pidfd(facts)
    was = facts.get("version", "of unknown version")
    if not facts.get("takeover"):
        listen = " --listen ".join(facts.get("listens") or [facts.get("listen", "HOST:PORT")])
        raise GshellError(
            f"the relay that runs ({was}) cannot be taken over; sessions go on all the same after",
            hint=f"gshell relay stop --state {folder}\n"
            f"        gshell relay start --state {folder} --listen {listen}",
        )
    sitepath.enable()
    from relay import supervise, takeover  # all that the relay needs: it can be loaded
    from relay.journal import check

    look = f"tail {os.path.join(folder, state.LOG)}"
    check(os.path.join(folder, state.JOURNAL))
    takeover.request(folder, pidfd)
    end = time.monotonic() + supervise.START_S + _STOP_S
    while time.monotonic() < end:
        now = state.running(folder)
        if now is None:
            break
        if now and now.get("boot") != facts.get("boot"):
            if now.get("program") != takeover.program():
                raise GshellError(
                    f"this gshell ({__version__}) could not take over; {was} goes on", hint=look
                )
            print(f"The relay runs gshell {__version__} now; it was {was}. Sessions go on.")
            return 0
        time.sleep(0.02)  # another process begins: its file tells nobody
    raise GshellError("the relay did not come up again", hint=look)


def _pidfd(facts: dict[str, Any]) -> int:
    try:
        return os.pidfd_open(int(facts["pid"]))
    except (KeyError, OSError):
        raise GshellError("the relay is on its way up or down", hint="try again") from None


def _stop(folder: str) -> int:
    facts = admin.running(folder)
    pidfd = _pidfd(facts)
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
