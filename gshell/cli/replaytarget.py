"""What a script is to be played to, from the words after ``--``. Starts nothing but what is asked
of the relay."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

from gshell.cli.options import Parsed
from gshell.client.plan import Plan, Surroundings
from gshell.errors import UsageError
from gshell.model.ticket import Ticket
from gshell.net.loop import Loop
from gshell.replay import shells
from gshell.replay.script import Script
from gshell.replay.targets import SIZE, Local, Target

VERBS = ("sh", "run", "mpi", "attach")
TERM = "xterm-256color"  # of every replay, so that it does not depend on who looks

Make = Callable[[Loop, Script, dict[str, str]], Target]
"""(loop, script, parameters) to something that has not started yet."""


def chosen(parsed: Parsed, here: Surroundings, values: dict[str, str], command: str = "") -> Make:
    """``values``: parameters that there will be, to see whether it makes sense with them.
    ``command``: what was recorded, for who names nothing else.

    Raises:
        UsageError: it makes no sense.
    """
    words = parsed.words[1:]
    if parsed["local"]:
        if parsed["on"]:
            raise UsageError("replay: --local is here, --on is there: take one")
        return _local(words or _of_command(command), here)
    if parsed["on"] and words and words[0] != "sh":
        raise UsageError(
            "replay: --on is for a shell", hint=f"gshell replay FILE -- {words[0]} --agent ID ..."
        )
    if words and words[0] not in VERBS:
        raise UsageError(
            f"replay: {words[0]!r} is none of {', '.join(VERBS)}",
            hint=f"gshell replay FILE -- run -- {words[0]} ...    or, here:  --local -- {words[0]}",
        )
    if command and not words:
        words = ["run", "--", *_of_command(command)]
    from gshell.cli import commands

    commands.read(expanded(words, values) or ["sh"])  # what is wrong is said before it begins
    return _remote(parsed, words or ["sh"], here)


def _of_command(command: str) -> list[str]:
    """Words that start what a shell would start, itself if there is nothing a shell has to do."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    plain = words and "=" not in words[0] and not re.search(r"[|&;<>()$`*?\[#~!{\n]", command)
    return words if plain else ["/bin/sh", "-c", command] if command.strip() else []


def expanded(words: list[str], values: dict[str, str]) -> list[str]:
    """``${N}`` in them, of the parameters that there are."""
    out = []
    for word in words:
        for name, value in values.items():
            word = word.replace("${" + name + "}", value)
        out.append(word)
    return out


def _local(words: list[str], here: Surroundings) -> Make:
    def make(loop: Loop, script: Script, values: dict[str, str]) -> Target:
        env = {name: value for name, value in here.env.items() if name not in ("LINES", "COLUMNS")}
        env.update({"TERM": TERM}, **dict(script.env))
        argv = shells.argv(rather=script.shell)
        if words:
            argv = shells.marking(expanded(words, values))
        return Local(loop, argv, env, None, script.size or SIZE)

    return make


def _remote(parsed: Parsed, words: list[str], here: Surroundings) -> Make:
    def make(loop: Loop, script: Script, values: dict[str, str]) -> Target:
        from gshell.replay.remote import Remote

        plan, ticket = _planned(parsed, expanded(words, values), here)
        return Remote(loop, ticket, _in_shape(plan, script), script.size or SIZE)

    return make


def _planned(parsed: Parsed, words: list[str], here: Surroundings) -> tuple[Plan, Ticket]:
    from gshell.cli import commands, launch
    from gshell.cli import plan as plans

    verb = commands.read(words)
    for name in ("relay", "quiet", "no_background"):
        if parsed.options.get(name) and not verb.options.get(name):
            verb.options[name] = parsed.options[name]
    if verb.command.name == "attach" and not verb.words:
        raise UsageError("replay: attach to which job?", hint="gshell jobs")
    if parsed["on"]:
        _place(verb, parsed["on"])
    # As if it was typed in a terminal, wherever this was.
    plan = plans.make(verb, here._replace(stdin_tty=True, stdout_tty=True))
    ticket = launch.ticket_for(verb, start=plan.verb == "run")
    if plan.beside and "." not in plan.beside:
        beside = launch.step_of(ticket, plan.beside, plan.spec.get("beside_rank"))
        plan = plan._replace(beside=beside)
    if plan.wish is not None and not plan.spec["mpi"]["layout"]:
        from gshell.client.layout import fit
        from gshell.net.relaylink import ask, items_of

        plan = plan.laid_out(fit(plan.wish, items_of(ask(ticket, {"m": "agents"}), "agents")))
    return plan, ticket


def _place(verb: Parsed, name: str) -> None:
    """An agent, or a site if there is one of that name."""
    from gshell.cli.launch import ticket_for
    from gshell.net.relaylink import ask, items_of

    sites = items_of(ask(ticket_for(verb), {"m": "sites"}), "sites")
    if any(site.get("name") == name for site in sites):
        verb.options["site"] = [name]
    else:
        verb.options["agent"] = name


def _in_shape(plan: Plan, script: Script) -> Plan:
    """With a shell that marks its prompts, and the script's environment."""
    if plan.verb != "run":
        return plan
    spec = dict(plan.spec)
    extra = dict(spec.get("extra_env") or {})
    if plan.pty:
        extra["TERM"] = TERM
    extra.update(script.env)
    spec["extra_env"] = extra
    if spec.get("shell"):
        spec.update(shell=False, argv=shells.argv(rather=script.shell))
    elif plan.pty and spec.get("argv"):
        spec["argv"] = shells.marking(list(spec["argv"]))
    return plan._replace(spec=spec, detach=False)
