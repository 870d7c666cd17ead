"""The command line: which command it is, and who does it. Turns our errors into words and
statuses."""

from __future__ import annotations

import errno
import os
import sys

from gshell.errors import GshellError

_OWN_STREAMS = frozenset(("run", "mpi", "sh", "attach", "logs", "glogin", "rec", "submit"))
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gshell.cli.configfile import Settings
    from gshell.cli.options import Parsed


def main(argv: list[str]) -> int:
    """Run it; the exit status."""
    _stand_in_for_closed()
    try:
        status = _main(argv)
        sys.stdout.flush()
    except BrokenPipeError:  # who read our list has seen enough
        _drop(1)
        status = 141
    except OSError as error:
        _drop(1)
        complain(GshellError(f"cannot write: {error.strerror}"))
        status = 1
    try:
        sys.stderr.flush()
    except OSError:
        _drop(2)
    return status


def _drop(fd: int) -> None:
    """What is still to be printed goes nowhere: python would complain again when it flushes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), fd)


def _in_our_words(error: OSError) -> GshellError:
    """What no verb has an answer to: a directory that is not there, a file of somebody else's.

    Raises:
        OSError: it is of what we print.
    """
    if isinstance(error, BrokenPipeError) or (error.errno in _FULL and not error.filename):
        raise error
    what = error.strerror or str(error)
    return GshellError(f"{error.filename}: {what}" if error.filename else what)


def _main(argv: list[str]) -> int:
    parsed: Parsed | None = None
    kept: Settings | None = None
    try:
        if argv and argv[0] == "bg":
            from gshell.cli.launch import background_main

            return background_main(argv[1:])
        from gshell.cli import sessions

        argv, kept = _kept_settings(argv)
        parsed = sessions.read(argv)
        if parsed is None:
            from gshell.cli import commands

            parsed = commands.read(argv)
        if parsed.options.get("relay"):
            os.environ["GSHELL_RELAY"] = parsed["relay"]
        _apply(parsed, kept)
        return run(parsed)
    except (GshellError, OSError) as caught:
        from gshell.cli import saying

        error = caught if isinstance(caught, GshellError) else _in_our_words(caught)
        if kept is not None and kept.wrong and error.message.startswith("unknown command"):
            error.hint = f"gshell config check    as something in {kept.path} does not count"
        as_json, color = saying.asked_for(argv)
        if parsed is not None:
            as_json, color = bool(parsed["json"]), parsed["color"]
        saying.complain(error, as_json, color)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _stand_in_for_closed() -> None:
    """Somebody started us with ``>&-``: what we print then goes nowhere, and behind ``<&-`` there
    is nothing to read. And what a terminal's encoding does not have is spelt out, no exception."""
    errors = getattr(sys.stdout, "errors", None)
    if errors in ("strict", "surrogateescape"):
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if sys.stdin is None or sys.stdout is None or sys.stderr is None:
        import io

        sys.stdin = sys.stdin or io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
        sys.stdout = sys.stdout or io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
        sys.stderr = sys.stderr or io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")


def complain(error: GshellError) -> None:
    from gshell.cli import saying

    saying.complain(error)


def _kept_settings(argv: list[str]) -> tuple[list[str], Settings | None]:
    """The command line with an alias of config.toml spelt out, and what else that file says."""
    from gshell import config

    try:
        if not os.path.exists(config.config_dir() + "/config.toml"):
            return argv, None
    except ValueError:  # a null byte in a variable: somebody else says so
        return argv, None
    from gshell.cli import commands, configfile

    kept = configfile.load()
    at = commands.verb_at(argv)
    if at < len(argv):
        words = kept.alias.get(argv[at])
        if words and commands.find(argv[at]) is None and argv[at] not in commands.GROUPS:
            argv = [*argv[:at], *words, *argv[at + 1 :]]
    return argv, kept


def _apply(parsed: Parsed, kept: Settings | None) -> None:
    if kept is not None and kept.color and "color" not in parsed.given:
        told = os.environ.get("NO_COLOR") or os.environ.get("FORCE_COLOR", "0") not in ("", "0")
        if not told:
            parsed.options["color"] = kept.color
    if kept is not None and kept.ascii:
        parsed.options["ascii"] = True
    if parsed.options.get("ascii"):
        from gshell.cli import plain

        plain.ascii_only()


def _by_module(parsed: Parsed) -> int:
    from importlib import import_module

    command = parsed.command
    if command.packages:
        from gshell import sitepath

        sitepath.enable()
    status: int = import_module(command.module).VERBS[command.name](parsed)
    return status


def run(parsed: Parsed) -> int:
    name = parsed.command.name
    if parsed["json"]:
        from gshell.cli import saying

        if name in saying.DEEDS:
            return saying.deed(parsed, _run)
    if "help" in (parsed.options.get("fields") or ()):
        from gshell.client.fields import help_text

        sys.stdout.write(help_text(name))
        return 0
    return _run(parsed)


def _run(parsed: Parsed) -> int:
    name = parsed.command.name
    if name not in _OWN_STREAMS and None in (sys.__stdin__, sys.__stdout__, sys.__stderr__):
        from gshell.client.stdio import standard_descriptors

        standard_descriptors()  # a pipe to what we start would get the number of a closed one
    if parsed.command.module:
        return _by_module(parsed)
    if name in ("run", "mpi", "sh", "attach", "logs"):
        from gshell.cli.launch import session

        return session(parsed)
    if name == "fwd":
        from gshell.cli.forward import forward

        return forward(parsed)
    if name == "glogin":
        from gshell.client.stdio import standard_descriptors
        from gshell.glogin.main import main as glogin_main

        return glogin_main(parsed.words, standard_descriptors())
    if name == "mpi-start":
        from gshell.agent import mpistart

        return mpistart.main(parsed.words)
    if name == "version":
        from gshell import __version__

        if parsed["json"]:
            from gshell.cli.listing import print_json

            print_json("version", __version__)
        else:
            print(f"gshell {__version__}")
        return 0
    if name == "help":
        from gshell.cli.helppages import help_page, help_table

        if parsed["json"]:
            from gshell.cli.listing import print_json

            print_json("commands", help_table(parsed.words))
            return 0

        sys.stdout.write(help_page(parsed.words))
        return 0
    if name == "demo":
        from gshell.cli.demo import run_demo

        return run_demo(parsed.words)
    if name == "relay":
        from gshell import sitepath

        sitepath.enable()
        from relay.cli import main as relay_main

        return relay_main(parsed.words)
    if name == "audit":
        from gshell import sitepath

        sitepath.enable()
        from relay.auditing import run as run_audit

        return run_audit(parsed.words)
    if name == "grid":
        from gshell import sitepath

        sitepath.enable()
        from gshell.cli import grid

        return grid.run(parsed.words)
    if name in ("submit", "match"):
        from gshell import sitepath

        sitepath.enable()  # for the library that computes expressions
        from gshell.cli import submit

        return submit.verb(parsed)
    if name in ("share", "shares"):
        from gshell.cli import shares

        return shares.VERBS[name](parsed)
    if name in ("put", "get", "cp", "fetch"):
        from gshell.cli import files

        copy: int = getattr(files, name)(parsed)
        return copy
    if name == "adopt" or (name == "cancel" and parsed["cancel_job"]):
        from gshell import sitepath

        sitepath.enable()  # asyncssh
        from gshell.cli import adopt

        return adopt.VERBS[name](parsed)
    if name == "ranks":
        from gshell.cli import ranks

        return ranks.ranks(parsed)
    if name == "why":
        from gshell.cli import why

        return why.why(parsed)
    if name in ("sites", "pilots", "pilot cancel", "submitter") or name.startswith("site "):
        from gshell import sitepath

        if name in ("site add", "submitter"):
            sitepath.enable()  # asyncssh
        from gshell.cli import sites

        return sites.VERBS[name](parsed)
    from gshell.cli import verbs

    return verbs.VERBS[name](parsed)
