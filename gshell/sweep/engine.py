"""An experiment as a program: its options, its result directory, its log, its end.

To be inherited: ``run`` does the work; ``init`` before that; ``setup_run_name`` and
``setup_result_dir`` for other names. These are ordinary methods: one that is inherited and should
be done too is called by ``super()``.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import itertools
import json
import os
import platform
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from gshell.sweep import ledger as ledgers
from gshell.sweep.log import LEVELS, logger

ABOUT = "experiment.json"
RESERVATIONS = "reservations"


class Engine:
    """Options, a directory for results, and a log; ``start`` runs it.

    What batch systems were asked for meanwhile, by `oarsub` and its kin, is ended with it; and by
    the next one with ``-c`` of its directory, if it had no time to. Several may run with the same
    directory at the same time: each ends its own.
    """

    def __init__(self) -> None:
        self.args_parser = argparse.ArgumentParser(
            prog=os.path.basename(sys.argv[0]) or type(self).__name__,
            description=(type(self).__doc__ or "").strip() or None,
        )
        add = self.args_parser.add_argument
        add(
            "-l",
            dest="log_level",
            metavar="LEVEL",
            default=None,
            help="what is logged: 10, debug, detail, info, warning, ...",
        )
        add(
            "-L",
            dest="copy_outputs",
            action="store_true",
            help="copy what is printed to the files stdout and stderr in the result directory",
        )
        add("-R", dest="redirect_outputs", action="store_true", help="print there instead of here")
        add(
            "-M",
            dest="merge_outputs",
            action="store_true",
            help="with -L or -R: both to one file, stdout+stderr",
        )
        add("-c", "--continue", dest="continue_dir", metavar="DIR", default=None,
            help="go on in this result directory of an earlier run")  # fmt: skip
        self.args: argparse.Namespace = argparse.Namespace()
        self.engine_dir = os.path.abspath(os.path.dirname(sys.argv[0]) or ".")
        self.run_name: str | None = None
        self.result_dir: str | None = None
        self.run_args: list[str] = []

    # ---------------------------------------------------------------------------- to be inherited

    def init(self) -> None:
        """Before `run`, with ``args`` and ``result_dir`` known."""

    def run(self) -> Any:
        """The experiment."""

    def setup_run_name(self) -> None:
        """Sets ``run_name``."""
        now = datetime.datetime.now().astimezone()
        self.run_name = now.strftime(f"{type(self).__name__}_%Y%m%d_%H%M%S_%z")

    def setup_result_dir(self) -> None:
        """Sets ``result_dir``, unless ``-c`` did: a new one, also of two runs in one second."""
        name = os.path.abspath(self.run_name or type(self).__name__)
        for number in itertools.count(1):
            self.result_dir = name if number == 1 else f"{name}-{number}"
            with contextlib.suppress(FileExistsError):
                os.makedirs(self.result_dir)
                break

    # ------------------------------------------------------------------------------------ its life

    def start(self, engineargs: Sequence[str] | None = None) -> int:
        """Read the options and run; the exit status: 0, 1 when `run` returned False, 130 after
        Ctrl-C. An exception of `run` goes through, after everything was ended."""
        self.run_args = list(sys.argv[1:] if engineargs is None else engineargs)
        self.args = self.args_parser.parse_args(self.run_args)
        if self.args.log_level is not None:
            logger.setLevel(_level(self.args.log_level, self.args_parser))
        self.setup_run_name()
        if self.args.continue_dir is None:
            self.setup_result_dir()
        else:
            self.result_dir = os.path.abspath(self.args.continue_dir)
            if not os.path.isdir(self.result_dir):
                self.args_parser.error(
                    f"-c {self.args.continue_dir}: no such directory (to begin in it: mkdir it)"
                )
        assert self.result_dir is not None
        os.makedirs(self.result_dir, exist_ok=True)
        self._write_down()
        with contextlib.ExitStack() as stack:
            stack.enter_context(_terminated())
            stack.enter_context(self._outputs())
            stack.enter_context(self._reservations())
            logger.info("command line: %s", shlex.join([sys.argv[0], *self.run_args]))
            logger.info("run in directory %s", self.result_dir)
            try:
                self.init()
                result = self.run()
            except KeyboardInterrupt:
                logger.warning("interrupted; go on with:  -c %s", shlex.quote(self.result_dir))
                return 130
            return 1 if result is False else 0

    def _write_down(self) -> None:
        """What ran where, a line for each run: code, arguments, host, versions."""
        from gshell import __version__

        assert self.result_dir is not None
        about = {
            "at": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "engine": type(self).__name__, "argv": [sys.argv[0], *self.run_args],
            "cwd": os.getcwd(), "host": platform.node(), "python": platform.python_version(),
            "gshell": __version__, "commit": _commit(self.engine_dir), "pid": os.getpid(),
        }  # fmt: skip
        with open(os.path.join(self.result_dir, ABOUT), "a", encoding="utf-8") as file:
            file.write(json.dumps(about) + "\n")

    @contextlib.contextmanager
    def _reservations(self) -> Iterator[None]:
        assert self.result_dir is not None
        ledger = ledgers.Ledger(os.path.join(self.result_dir, RESERVATIONS))
        with ledger.used():
            # Others may work on the same points: theirs is not left by anybody.
            if ledger.is_alone():
                _end_all(ledger, ledger.open(), "left by an earlier run")
            ledger.share()
            ledgers.use(ledger)
            try:
                yield
            finally:
                ledgers.use(None)
                left = ledger.open()
                if not ledger.is_alone():
                    left = [one for one in left if one.by == ledger.me]
                _end_all(ledger, left, "not given back")

    @contextlib.contextmanager
    def _outputs(self) -> Iterator[None]:
        """Copies, or files instead, of what this Python and its children print."""
        if not (self.args.copy_outputs or self.args.redirect_outputs):
            yield
            return
        assert self.result_dir is not None
        names = ("stdout+stderr",) * 2 if self.args.merge_outputs else ("stdout", "stderr")
        paths = [os.path.join(self.result_dir, name) for name in names]
        with led(paths, copy=self.args.copy_outputs):
            yield


def _end_all(ledger: ledgers.Ledger, left: list[ledgers.Reservation], why: str) -> None:
    if left:
        from gshell.sweep.reservations import end

        for one in left:
            logger.info("ending %s job %s %s: %s", one.kind, one.job or one.tag, one.site, why)
            if end(one):
                ledger.ended(one.tag)


def _level(text: str, parser: argparse.ArgumentParser) -> int:
    import logging

    if text.isdigit():
        return int(text)
    known = {name: level for level, name in LEVELS.items()} | logging.getLevelNamesMapping()
    if text.upper() not in known:
        parser.error(f"-l {text}: one of {', '.join(sorted(known, key=known.__getitem__)).lower()}")
    return known[text.upper()]


def _commit(folder: str) -> str:
    """Of the code that runs, where it is in git; with ``+`` when it was changed since."""
    try:
        done = subprocess.run(
            ["git", "-C", folder, "describe", "--always", "--dirty=+", "--abbrev=12"],
            capture_output=True, text=True, timeout=5,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


@contextlib.contextmanager
def _terminated() -> Iterator[None]:
    """TERM and HUP (a batch system, a lost terminal) end it as Ctrl-C does: everything is given
    back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # What was ignored when we began (nohup) was meant to be.
    before = {
        number: signal.signal(number, interrupt)
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def led(paths: Sequence[str], copy: bool) -> Iterator[None]:
    """Descriptors 1 and 2 into ``paths``, and with ``copy`` also where they led."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    copiers = []
    try:
        for fd, path, before in zip((1, 2), paths, kept, strict=True):
            target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            if copy:
                ours, theirs = os.pipe()
                copier = threading.Thread(target=_copy, args=(ours, target, before), daemon=True)
                copier.start()
                copiers.append(copier)
                target = theirs
            os.dup2(target, fd)
            os.close(target)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for fd, before in zip((1, 2), kept, strict=True):
            os.dup2(before, fd)
        for copier in copiers:
            copier.join(5.0)  # a child that lives on may hold it open
        for before in kept:
            os.close(before)


def _copy(source: int, *targets: int) -> None:
    while data := os.read(source, 1 << 16):
        for target in targets:
            with contextlib.suppress(OSError):
                os.write(target, data)
    os.close(source)
    os.close(targets[0])
