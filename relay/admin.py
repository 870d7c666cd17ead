"""Users, keys and invites, as whoever runs the relay manages them: `gshell relay user|key|invite`.

They ask the running broker: over its bus on the relay's own host, else as an administrator over the
network. Talks to people; decides nothing.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import time
from typing import Any

from gshell.errors import BrokerError, GshellError, UsageError
from relay import state

ASK_S = 10.0
JSON_SCHEMA = 1  # of what --json prints: fields are added, never changed

Message = dict[str, Any]


def describe(verbs: Any) -> None:
    """Add the commands to the relay's own."""

    def verb(under: Any, name: str, text: str) -> argparse.ArgumentParser:
        one: argparse.ArgumentParser = under.add_parser(name, help=text, description=text)
        one.add_argument("--state", metavar="DIR", help="the relay's directory")
        return one

    user = verbs.add_parser("user", help="add, list and revoke users")
    users = user.add_subparsers(dest="what", required=True, metavar="add|list|revoke")
    add = verb(users, "add", "add a user, or change one, and print an invite")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--role", choices=("admin", "user"), help="admins manage users (user)")
    add.add_argument("--group", action="append", metavar="G", help="may be repeated")
    add.add_argument("--hours", type=float, metavar="H", help="how long the invite is valid (24)")
    add.add_argument("--uses", type=int, metavar="N", help="on how many machines (1)")
    listing = verb(users, "list", "list the users")
    listing.add_argument("--json", action="store_true")
    gone = verb(users, "revoke", "end a user: keys, connections, agents and jobs, at once")
    gone.add_argument("name", metavar="NAME")

    key = verbs.add_parser("key", help="list and revoke keys")
    keys = key.add_subparsers(dest="what", required=True, metavar="list|revoke")
    listing = verb(keys, "list", "list the keys of all users, or of one")
    listing.add_argument("--user", metavar="NAME")
    listing.add_argument("--json", action="store_true")
    gone = verb(keys, "revoke", "end a key, and every connection that was made with it, at once")
    gone.add_argument("serial", metavar="SERIAL", help="its first digits, six at least")


def run(args: argparse.Namespace) -> int:
    """One of them."""
    match args.verb, args.what:
        case "user", "add":
            return _user_add(args)
        case "user", "list":
            return _user_list(args)
        case "user", _:
            answer = _ask(args, {"m": "user-revoke", "user": args.name})
            print(f"The user {args.name} is revoked, with {answer['keys']} keys.")
        case "key", "list":
            return _key_list(args)
        case _:
            answer = _ask(args, {"m": "revoke", "what": args.serial, "any": True})
            print(f"The key {answer['id']} is revoked.")
    return 0


def _user_add(args: argparse.Namespace) -> int:
    fields = {"role": args.role, "groups": args.group, "hours": args.hours, "uses": args.uses}
    given = {key: value for key, value in fields.items() if value is not None}
    answer = _ask(args, {"m": "user-add", "user": args.name, **given})
    groups = f", in {', '.join(answer['groups'])}" if answer["groups"] else ""
    print(f"{args.name} is a user of this relay ({answer['role']}{groups}).")
    show_invite(answer["invite"], args.name, answer["uses"], answer["hours"], "client")
    return 0


def _user_list(args: argparse.Namespace) -> int:
    users = _ask(args, {"m": "users"})["users"]
    if args.json:
        print(json.dumps({"schema": JSON_SCHEMA, "users": users}, indent=1))
        return 0
    print_table(("NAME", "ROLE", "KEYS", "SINCE", "GROUPS"), [
        (user["name"], user["role"], str(user["keys"]), day(user["made_at"]),
         ",".join(user["groups"])) for user in users
    ])  # fmt: skip
    return 0


def _key_list(args: argparse.Namespace) -> int:
    keys = _ask(args, {"m": "keys", "all": True, "user": args.user})["keys"]
    if args.json:
        print(json.dumps({"schema": JSON_SCHEMA, "keys": keys}, indent=1))
        return 0
    print_table(("SERIAL", "USER", "FOR", "MADE", "LAST SEEN"), [
        (key["serial"][:12], key["user"], key["agent_id"] or "client", day(key["made_at"]),
         day(key["seen_at"])) for key in keys
    ])  # fmt: skip
    return 0


def invite(args: argparse.Namespace) -> int:
    """`gshell relay invite`."""
    user, role = user_name(args.user), args.role or "any"
    fields = {"uses": args.uses, "hours": args.hours}
    given = {key: value for key, value in fields.items() if value is not None}
    answer = _ask(args, {"m": "invite", "user": user, "role": role, **given})
    show_invite(answer["invite"], user, args.uses, args.hours, role)
    return 0


def show_invite(text: str, user: str, uses: int | None, hours: float | None, role: str) -> None:
    from relay import desk

    uses = desk.INVITE_USES if uses is None else uses
    hours = desk.INVITE_HOURS if hours is None else hours
    often = "once" if uses == 1 else f"{uses} times"
    print(f"\nFor {user}, to be used {often} within {hours:g} hours:\n")
    if role != "agent":
        print(f"  gshell login '{text}'")
    if role != "client":
        print(f"  gshell agent start --invite '{text}'")


def user_name(name: str | None) -> str:
    """
    Raises:
        UsageError: no user can have it.
    """
    from relay.auth import check_name

    if name is None:
        try:
            name = getpass.getuser()
        except (KeyError, OSError):
            raise UsageError("cannot tell who you are", hint="say it: --user NAME") from None
    return check_name(name, "a user's name")


def print_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def day(at: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at)) if at else "-"


# ------------------------------------------------------------------------------------------- asking


def _ask(args: argparse.Namespace, message: Message) -> Message:
    """The answer, from the relay on this host or, as an administrator, from the configured one.

    Raises:
        GshellError: it said no, or there is none.
    """
    folder = os.path.abspath(args.state or state.default())
    if not args.state and not _runs(folder):
        from gshell import config

        ticket = config.find_ticket()
        if ticket is not None:
            from gshell.net.relaylink import ask

            return ask(ticket, message)
    running(folder)
    answer = ask_here(folder, message)
    if not answer:
        raise GshellError("the relay's broker does not answer", hint=f"tail {folder}/{state.LOG}")
    if not answer.get("ok"):
        said = str(answer.get("message") or answer.get("code"))
        error = UsageError if answer.get("code") == "usage" else BrokerError
        raise error(said, hint=answer.get("hint"))
    return answer


def _runs(folder: str) -> bool:
    return os.access(folder, os.R_OK | os.X_OK) and state.running(folder) is not None


def running(folder: str) -> Message:
    """What is known of the relay that runs there.

    Raises:
        GshellError: none does.
    """
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
    return facts or state.wait_running(folder, ASK_S)


def ask_here(folder: str, message: Message | None = None) -> Message:
    """The broker's answer over its bus, to nothing: how it is. Empty if it does not answer."""
    from gshell import sitepath

    sitepath.enable()
    from relay.bus import DoorBus

    os.chdir(folder)  # the bus's name must be short
    bus = DoorBus(state.BUS, f"ask{os.getpid()}")
    try:
        answer = _next(bus)
        if message is None or not answer:
            return answer
        bus.send([message])
        return _next(bus)
    finally:
        bus.close()


def _next(bus: Any) -> Message:
    return next(iter(bus.drain()), {}) if bus.wait(ASK_S) else {}
