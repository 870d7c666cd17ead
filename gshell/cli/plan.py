"""From a parsed command line to a Plan. Knows the surroundings it is given, touches nothing."""

from __future__ import annotations

import os

from gshell.client.plan import Plan, Surroundings
from gshell.errors import UsageError

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gshell.cli.options import Parsed


WAIT_FOR_DISPLAY = (  # the authority file is there as soon as the display is
    'n=0; while [ ! -e "$XAUTHORITY" ] && [ $n -lt 200 ]; do sleep 0.05; n=$((n+1)); done; '
    'exec "$@"'
)
DISPLAYS = range(100, 1000)  # there, from which one is drawn: below are sshd's


def make(parsed: Parsed, here: Surroundings) -> Plan:
    """What ``run``, ``sh``, ``attach`` or ``logs`` asks for.

    Raises:
        UsageError: it makes no sense.
    """
    name = parsed.command.name
    on_terminal = here.stdin_tty and here.stdout_tty
    inside_ssh = bool(here.env.get("SSH_TTY") or here.env.get("SSH_CONNECTION"))
    quiet = bool(parsed["quiet"] or parsed["json"])  # notes are for people
    if name in ("attach", "logs"):
        return _attachment(parsed, name, here, inside_ssh, quiet)
    shell = name == "sh"
    words = list(parsed.words)
    if shell and words and not (len(words) == 1 and _is_step(words[0])):
        raise UsageError(
            f"gshell sh takes no command (got {words[0]!r})", hint="gshell run -t -- CMD..."
        )
    if shell and not words and parsed.options.get("rank") is not None:
        raise UsageError("--rank is of a job's ID", hint="gshell sh ID --rank N")
    if not shell and not words:
        raise UsageError("no command to run", hint="gshell run -- CMD...")
    options = parsed.options
    pty = on_terminal
    if shell or options.get("pty"):
        pty = True
    if options.get("no_pty") or options.get("detach"):
        pty = False
    wish = _wish(options) if name == "mpi" else None
    if wish is not None:
        pty = False
    tasks = (options.get("tasks") or 1) if wish is None else 1
    agents = (options.get("agents") or 1) if wish is None else 1
    if pty and tasks * agents > 1:
        if options.get("pty"):
            raise UsageError("a terminal has one task", hint="leave out -t, or -n and -N")
        pty = False
    if shell and not here.stdin_tty and not options.get("pty"):
        pty = here.stdout_tty and here.stdin_tty
    extra = {}
    for pair in options.get("env") or ():
        key, value = pair
        if value is None:
            value = here.env.get(key)
        if value is not None:
            extra[key] = value
    spec: dict[str, Any] = {
        "argv": words if words and not shell else ["sh"],
        "shell": shell,
        "env": here.env,
        "extra_env": extra,
        "cwd": _directory(options.get("cwd"), here.cwd),
        "home": here.cwd,
        "where": here.where,
        "umask": here.umask,
        "name": options.get("name") or ("sh" if shell else os.path.basename(words[0])),
        "keep": bool(options.get("detach") or options.get("keep")),
    }
    if shell and options.get("rank") is not None:
        spec["beside_rank"] = options["rank"]
    if options.get("no_archive"):
        if options.get("keep"):
            raise UsageError("--keep archives the output, --no-archive does not: take one")
        spec["archive"] = False
    if options.get("on_full"):
        spec["on_full"] = options["on_full"]
    if options.get("quota") is not None:
        spec["quota"] = options["quota"]
    if options.get("detach") and forwards_of(parsed, here):
        raise UsageError(
            "port forwarding ends with this command, and --detach ends it at once",
            hint="gshell fwd ID ...    once it runs",
        )
    if options.get("detach") and options.get("rec"):
        raise UsageError(
            "recording ends with this command, and --detach ends it at once",
            hint="gshell rec ID    once it runs",
        )
    display = display_of(parsed, here, known_before=True)
    if display is not None:
        extra["DISPLAY"] = f"localhost:{display.there}.0"
        extra["XAUTHORITY"] = display.file
        if not shell:
            spec["argv"] = ["/bin/sh", "-c", WAIT_FOR_DISPLAY, words[0], *words]
    if wish is not None:
        spec["mpi"] = _mpi(options, here)
    plan = Plan(
        verb="run",
        forwards=forwards_of(parsed, here),
        display=display,
        here=here,
        record=record(parsed, here),
        spec=spec,
        pty=pty,
        tasks=tasks,
        agents=agents,
        agent=options.get("agent"),
        pool=options.get("pool") or "",
        wants=_wants(options),
        label=bool(options.get("label")),
        fold=bool(options.get("fold")),
        rank=options.get("rank") or "" if not shell else "",
        wish=wish,
        beside=words[0] if shell and words else "",
        detach=bool(options.get("detach")),
        timeout_s=options.get("timeout"),
        escape=escape(parsed),
        quiet=quiet,
        as_json=bool(parsed["json"]),
        inside_ssh=inside_ssh,
    )
    if wish is not None:
        from gshell.client.layout import at_first

        layout = at_first(wish)
        _check_ranks(options, wish.ranks)
        return plan if layout is None else plan.laid_out(layout)
    _check_ranks(options, tasks * agents)
    return plan


def _wish(options: dict[str, Any]) -> Any:
    from gshell.client.layout import Wish

    return Wish(
        ranks=options.get("tasks"),
        agents=options.get("agents"),
        oversubscribe=bool(options.get("oversubscribe")),
        agent=options.get("agent") or "",
    )


def _mpi(options: dict[str, Any], here: Surroundings) -> dict[str, Any]:
    """MPI.md's words for what was asked, yet without a layout."""
    stdin = options.get("input")
    mpi: dict[str, Any] = {
        "layout": [],
        "flavour": options.get("flavour") or "auto",
        "input": stdin if stdin is not None else "" if options.get("detach") else "0",
        "pty": options.get("pty") or "",
        "options": list(options.get("option") or ()),
    }
    for hook in ("pre", "post"):
        if options.get(hook):
            mpi[hook] = options[hook]  # a file of the job's first node, from the job's directory
    return mpi


def _check_ranks(options: dict[str, Any], size: int | None) -> None:
    """
    Raises:
        UsageError: ranks are named that there are not going to be.
    """
    for name, flag in (("rank", "--rank"), ("input", "-i"), ("pty", "--pty")):
        text = options.get(name)
        if size is None or not isinstance(text, str) or not text:
            continue
        from gshell.model.rankset import RankSet

        if RankSet.parse(text).beyond(size):
            last = f"0 to {size - 1}" if size > 1 else "0 only"
            raise UsageError(f"{flag} {text}: there are {size} ranks, {last}")


def _is_step(word: str) -> bool:
    """``42``, ``42.1``?"""
    job, dot, index = word.partition(".")
    return job.isdigit() and (index.isdigit() or not dot)


MOST_WANTED = 3000  # characters: a preamble has 4 KiB


def _wants(options: dict[str, Any]) -> dict[str, Any]:
    """What is asked of the agent, in CONTROL.md's words."""
    words = {"site": "site", "walltime": "walltime", "memory": "memory", "req": "req",
             "prefer": "rank", "lane": "lane", "loss": "loss"}  # fmt: skip
    wants = {
        word: options[name] for name, word in words.items() if options.get(name) not in (None, "")
    }
    if sum(len(str(value)) for value in wants.values()) > MOST_WANTED:
        raise UsageError(
            f"--req and --prefer are longer than {MOST_WANTED} characters",
            hint="gshell submit FILE.jdl",
        )
    return wants


def _directory(named: str | None, cwd: str) -> str | None:
    if named is None:
        return None
    return named if named.startswith("/") else os.path.normpath(os.path.join(cwd, named))


def _attachment(
    parsed: Parsed, name: str, here: Surroundings, inside_ssh: bool, quiet: bool
) -> Plan:
    on_terminal = here.stdin_tty and here.stdout_tty
    if len(parsed.words) != 1:  # none at all was resolved before: see launch.session
        raise UsageError(f"gshell {name} takes one job id", hint="gshell jobs")
    job, _, index = parsed.words[0].partition(".")
    if not job.isdigit() or (index and not index.isdigit()):
        raise UsageError(f"{parsed.words[0]!r} is not a job id", hint="gshell jobs")
    logs = name == "logs"
    read_only = logs or bool(parsed["read_only"])
    return Plan(
        verb=name,
        spec={},
        pty=on_terminal and not logs,
        job=job,
        part=int(index or 0),
        whole=not index,
        rights="r" if read_only else "rw",
        steal=not logs and bool(parsed["steal"]),
        since="start" if logs and parsed["since"] is None else parsed["since"],
        follow=not logs or bool(parsed["follow"]),
        escape=None if logs else escape(parsed),
        quiet=quiet,
        as_json=bool(parsed["json"]),
        inside_ssh=inside_ssh,
        grep=_pattern(parsed["grep"], bool(parsed["ignore_case"])) if logs else None,
        rank=parsed["rank"] or "",
        label=bool(parsed["label"]),
        fold=bool(parsed["fold"]),
        here=here,
        record=None if logs else record(parsed, here),
        forwards=None if logs else forwards_of(parsed, here),
        display=None if logs else display_of(parsed, here, known_before=False),
    )


def record(parsed: Parsed, here: Surroundings) -> Any:
    """What --rec asks for: a `RecordSpec`; None where it was not given.

    Raises:
        UsageError: what makes no sense without it.
    """
    options = parsed.options
    if not options.get("rec"):
        for key, flag in (
            ("rec_input", "-I"),
            ("overwrite", "--overwrite"),
            ("append", "--append"),
        ):
            if options.get(key):
                raise UsageError(f"{flag} is of a recording", hint="--rec FILE")
        return None
    from gshell.client.recordspec import RecordSpec

    if options["overwrite"] and options["append"]:
        raise UsageError("--overwrite and --append: take one")
    return RecordSpec(
        os.path.join(here.cwd, options["rec"]),
        input=bool(options["rec_input"]),
        version=int(options["rec_format"][1:]),
        append=bool(options["append"]),
        overwrite=bool(options["overwrite"]),
    )


def forwards_of(parsed: Parsed, here: Surroundings) -> Any:
    """What -L, -R, -D and -X ask for; None where none was given."""
    options = parsed.options
    kinds = {"local_forward": "L", "remote_forward": "R", "dynamic_forward": "D"}
    if not any(options.get(name) for name in (*kinds, "x11")):
        return None
    from gshell.client.forwardspec import Forward, Unix

    def ours(end: Any) -> Any:
        return Unix(os.path.join(here.cwd, end.path)) if isinstance(end, Unix) else end

    found = [spec for name in kinds for spec in options.get(name) or ()]
    for at, spec in enumerate(found):  # a path on this side is one of the user's directory
        if spec.kind == "R":
            found[at] = spec._replace(to=ours(spec.to))
        else:
            found[at] = spec._replace(at=ours(spec.at))
    return [*found, *([Forward("X")] if options.get("x11") else [])]


def display_of(parsed: Parsed, here: Surroundings, known_before: bool) -> Any:
    """The user's display, for -X; None where that was not given.

    Raises:
        UsageError: there is none.
    """
    if not parsed.options.get("x11"):
        return None
    from gshell.client.forwardspec import Display

    display = here.env.get("DISPLAY", "")
    if not display:
        raise UsageError("-X: no display here: DISPLAY is not set")
    authority = here.env.get("XAUTHORITY") or os.path.join(here.env.get("HOME", ""), ".Xauthority")
    if not known_before:
        return Display(display, authority)
    luck = os.urandom(10)
    number = DISPLAYS[int.from_bytes(luck[:4], "big") % len(DISPLAYS)]
    return Display(display, authority, number, f"/tmp/gshell-x11-{luck[4:].hex()}/authority")  # noqa: S108 - there


def _pattern(text: str | None, ignore_case: bool) -> Any:
    if text is None:
        return None
    import re

    try:
        return re.compile(os.fsencode(text), re.IGNORECASE if ignore_case else 0)
    except re.error as error:
        raise UsageError(f"--grep {text!r} is not a regular expression: {error}") from None


def escape(parsed: Parsed) -> str | None:
    from gshell.client.escape import escape_char

    text = parsed.options.get("escape", "~")
    try:
        return escape_char(text)
    except ValueError as error:
        raise UsageError(f"-e {error}") from None
