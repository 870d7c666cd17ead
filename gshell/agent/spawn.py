"""Starts one program on a pty or on pipes, signals it, reaps it. Knows no session, log or network.

By `posix_spawn`: it costs the same whatever the agent's memory, which fork does not, and it gives a
session leader its controlling terminal by opening the slave. What it lacks (working directory,
umask) is set around the call, so this module wants a process with one thread.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal as signals
import stat
import struct
import termios
from typing import NamedTuple

from gshell.errors import SpawnFailed
from gshell.net.machine import core_dumps_as_before

_TIOCSPTLCK = 0x40045431
_TIOCGPTN = 0x80045430
_TIOCSIG = 0x40045436
_IUTF8 = 0x4000  # not in `termios` before 3.13
_F_SETPIPE_SZ = 1031  # `fcntl` has it from 3.10 on

OUTPUT_PIPE_BYTES = 1 << 20  # the kernel's limit without privileges
USUAL_SIZE = (24, 80)  # rows, columns where none are known: a size of 0 breaks full-screen programs

_TTY_SENDS_ITSELF = frozenset((signals.SIGINT, signals.SIGQUIT, signals.SIGTSTP))  # TIOCSIG
_OF_THE_TERMINAL = _TTY_SENDS_ITSELF | {signals.SIGWINCH}  # they go to whoever has the terminal
_TO_BOTH = frozenset((signals.SIGCONT, signals.SIGKILL))  # a shell may have put its job in front
# CPython ignores PIPE and XFSZ, an agent started with `&` INT and QUIT: a child would inherit that.
_RESET = sorted(signals.valid_signals() - {signals.SIGKILL, signals.SIGSTOP})

_FILES_AT_START = resource.getrlimit(resource.RLIMIT_NOFILE)


class SpawnSpec(NamedTuple):
    """A program to start, and in what surroundings."""

    argv: list[str]
    env: dict[str, str]
    """All of it; ours is not added."""
    cwd: str | None = None
    """None: the agent's."""
    pty: tuple[int, int] | None = None
    """(rows, columns) of its terminal; None: pipes."""
    umask: int | None = None
    """None: the agent's."""
    stdin: str = "pipe"
    """"pipe", "null" or a file's path; without meaning on a pty."""
    pipe_bytes: int = OUTPUT_PIPE_BYTES
    """Room in each output pipe. All pipes of a user together have 64 MiB (pipe-user-pages-soft),
    beyond which new ones, the programs' own too, get 8 KiB: ask for less for many ranks."""
    inherit: tuple[int, int] | None = None
    """(a descriptor of ours, its number in the program)."""

    def __repr__(self) -> str:
        return f"SpawnSpec({self.argv[0]}, ***)"


class Exit(NamedTuple):
    """How a program ended."""

    code: int
    """As a shell says it: 128 + signal where a signal ended it."""
    signal: int | None
    core_dumped: bool


class Child:
    """A started program, leader of its own session. Invariant: no signal after it was reaped."""

    __slots__ = ("_held", "exit", "pid", "pidfd", "pty", "stderr", "stdin", "stdout")

    def __init__(self, pid: int, stdin: int, stdout: int, stderr: int, held: int) -> None:
        self.pid = pid
        self.pty = held >= 0
        self.stdin = stdin
        """Our end, non-blocking; -1: none. On a pty the same number as `stdout`."""
        self.stdout = stdout
        self.stderr = stderr
        """-1 on a pty."""
        self.exit: Exit | None = None
        """Once reaped."""
        # The slave's side. While we hold it, EIO can't come before the end: a program may close its
        # terminal, go on, and open /dev/tty again for a question.
        self._held = held
        try:
            self.pidfd = os.pidfd_open(pid)
            """Readable when the program ends; -1 before Linux 5.3: ask `reap` now and then."""
        except (AttributeError, OSError):
            self.pidfd = -1

    # ------------------------------------------------------------------------------------- terminal

    @property
    def held(self) -> int:
        """The program's side of its terminal, which we hold open too; -1: none."""
        return self._held

    def resize(self, rows: int, columns: int) -> None:
        """Give the terminal another size; the kernel sends WINCH if it really is another."""
        if self.pty and self.stdout >= 0:
            try:
                fcntl.ioctl(self.stdout, termios.TIOCSWINSZ, _winsize(rows, columns))
            except OSError:  # EIO: the other side is gone
                pass

    def foreground(self) -> int:
        """The process group that has the terminal, or the program's own; 0: none."""
        if self.pty and self.stdout >= 0:
            try:
                return os.tcgetpgrp(self.stdout)
            except OSError:
                return 0
        return 0 if self.exit is not None else self.pid

    # -------------------------------------------------------------------------------------- signals

    def signal(self, number: int) -> bool:
        """Send a signal as the terminal, or else whoever owns the program, would.

        INT, QUIT, TSTP and WINCH go to the terminal's foreground group, everything else, or where
        there is no terminal, to the program's own group, CONT and KILL to both. Returns whether
        there was somebody to send it to.
        """
        if self.exit is not None:
            return False  # its number may be somebody else's by now
        if not self.pty or self.stdout < 0:
            return self._signal_group(self.pid, number)
        if number in _TTY_SENDS_ITSELF:
            try:
                fcntl.ioctl(self.stdout, _TIOCSIG, number)  # no group number, so no race
                return True
            except OSError:
                pass
        front = self.foreground()
        if number in _TO_BOTH and front != self.pid:
            self._signal_group(front, number)
        return self._signal_group(front if number in _OF_THE_TERMINAL else self.pid, number)

    def _signal_group(self, group: int, number: int) -> bool:
        if group <= 1:
            return False
        try:
            if group != self.pid and os.getsid(group) != self.pid:
                return False  # the group has ended and its number was given away
        except ProcessLookupError:
            pass  # its leader has ended; the number stays taken while the group has members
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):  # EPERM: none is ours (setuid programs)
            return False
        return True

    # --------------------------------------------------------------------------------------- ending

    def reap(self) -> Exit | None:
        """How it ended; None while it runs. Never waits.

        From then on the terminal reads what is left and then EIO, unless a descendant has it open
        still: it may for ever, as it may a pipe, so whoever drains must set an end to it.
        """
        if self.exit is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.exit = exit_of(status)
                self._close("_held")
        return self.exit

    def close_stdin(self) -> None:
        """End of input for a program on pipes. Nothing on a pty: there it is a character."""
        if not self.pty:
            self._close("stdin")

    def close(self) -> None:
        """Close everything; a program that still has the terminal gets HUP from the kernel."""
        if self.pty:
            self.stdin = -1
        for name in ("stdin", "stdout", "stderr", "pidfd", "_held"):
            self._close(name)

    def _close(self, name: str) -> None:
        fd = getattr(self, name)
        if fd >= 0:
            setattr(self, name, -1)
            os.close(fd)


def exit_of(status: int) -> Exit:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return Exit(128 + number, number, os.WCOREDUMP(status))
    return Exit(os.WEXITSTATUS(status), None, False)


# -------------------------------------------------------------------------------------------- spawn


def spawn(spec: SpawnSpec) -> Child:
    """Start it.

    Raises:
        SpawnFailed: not found (127), or impossible to execute, or no such directory (126).
    """
    assert spec.argv
    prepare()
    try:
        home = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:  # EMFILE
        raise _failed(spec, error) from error
    umask = os.umask(spec.umask) if spec.umask is not None else None
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    ours: list[int] = []
    theirs: list[int] = []
    done = False
    try:
        _enter(spec.cwd)
        path = find(spec.argv[0], spec.env.get("PATH"))
        if spec.pty is not None:
            held, actions = _on_pty(spec, ours)
            ends = (ours[0], ours[0], -1, held)
        else:
            actions = _on_pipes(spec, ours, theirs)
            ends = (ours[2] if spec.stdin == "pipe" else -1, ours[0], ours[1], -1)
        if spec.inherit is not None:  # last: its number may be that of one of the others here
            actions.append((os.POSIX_SPAWN_DUP2, *spec.inherit))
        if files[0] != _FILES_AT_START[0]:  # raised for ourselves; programs that use select() break
            resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES_AT_START[0], files[1]))
        with core_dumps_as_before():
            pid = _execute(path, spec, actions)
        done = True
    except OSError as error:
        raise _failed(spec, error) from error
    finally:
        if files[0] != _FILES_AT_START[0]:
            resource.setrlimit(resource.RLIMIT_NOFILE, files)
        if umask is not None:
            os.umask(umask)
        os.fchdir(home)
        os.close(home)
        for fd in theirs if done else theirs + ours:
            os.close(fd)
    return Child(pid, *ends)


def _failed(spec: SpawnSpec, error: OSError | ValueError) -> SpawnFailed:
    reason = getattr(error, "strerror", None) or str(error)
    return SpawnFailed(f"{spec.argv[0]}: cannot be started: {reason}")


def _enter(cwd: str | None) -> None:
    if cwd is None:
        return
    try:
        os.chdir(cwd)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpawnFailed(f"{cwd}: cannot be the working directory: {reason}") from error


def _on_pty(spec: SpawnSpec, ours: list[int]) -> tuple[int, list[tuple[object, ...]]]:
    assert spec.pty is not None
    _, held, slave = open_terminal(spec.pty, spec.env, ours)
    return held, [
        # The first terminal that a session leader opens becomes its controlling one.
        (os.POSIX_SPAWN_OPEN, 0, slave, os.O_RDWR, 0),
        (os.POSIX_SPAWN_DUP2, 0, 1),
        (os.POSIX_SPAWN_DUP2, 0, 2),
    ]


def open_terminal(
    size: tuple[int, int], env: dict[str, str], ours: list[int]
) -> tuple[int, int, str]:
    """A new one: (our side, the other side held open, the other side's path). What was opened is
    appended to ``ours``, whatever happens then."""
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK)
    ours.append(master)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    number = struct.unpack("I", fcntl.ioctl(master, _TIOCGPTN, bytes(4)))[0]
    slave = f"/dev/pts/{number}"
    fcntl.ioctl(master, termios.TIOCSWINSZ, _winsize(*size))
    if _says_utf8(env):
        modes = termios.tcgetattr(master)
        modes[0] |= _IUTF8  # so that erase takes a whole character
        termios.tcsetattr(master, termios.TCSANOW, modes)
    held = os.open(slave, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    ours.append(held)
    return master, held, slave


def output_pipe(pipe_bytes: int) -> tuple[int, int]:
    """(our end, not blocking; the writer's)"""
    read, write = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(read, False)  # ours alone: the two ends are two open files
    try:
        fcntl.fcntl(write, _F_SETPIPE_SZ, pipe_bytes)
    except OSError:  # EPERM: the user's pages are used up; 64 KiB work too
        pass
    return read, write


def _on_pipes(spec: SpawnSpec, ours: list[int], theirs: list[int]) -> list[tuple[object, ...]]:
    """Appends our ends: stdout, stderr and, if it is a pipe, stdin."""
    actions: list[tuple[object, ...]] = []
    for number in (1, 2):
        read, write = output_pipe(spec.pipe_bytes)
        ours.append(read)
        theirs.append(write)
        actions.append((os.POSIX_SPAWN_DUP2, write, number))
    if spec.stdin == "pipe":
        read, write = os.pipe2(os.O_CLOEXEC)
        ours.append(write)
        theirs.append(read)
        os.set_blocking(write, False)
        actions.append((os.POSIX_SPAWN_DUP2, read, 0))
    else:
        path = "/dev/null" if spec.stdin == "null" else spec.stdin
        actions.append((os.POSIX_SPAWN_OPEN, 0, path, os.O_RDONLY, 0))
    return actions


def _execute(path: str, spec: SpawnSpec, actions: list[tuple[object, ...]]) -> int:
    name, argv, env = spec.argv[0], spec.argv, _environment(spec)
    for attempt in (1, 2):
        try:
            return os.posix_spawn(
                path, argv, env, file_actions=actions, setsid=True, setsigmask=[], setsigdef=_RESET
            )
        except ValueError as error:  # a NUL byte in argv or env, or "=" in a variable's name
            raise _failed(spec, error) from error
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise SpawnFailed(f"{name}: its interpreter or loader does not exist") from error
            if error.errno != errno.ENOEXEC or attempt == 2:
                raise
            if _is_binary(path):
                raise SpawnFailed(f"{name}: cannot execute binary file") from error
        # A script without "#!": shells give it to sh, so do we.
        argv = ["/bin/sh", path if not path.startswith("-") else f"./{path}", *argv[1:]]
        path = "/bin/sh"
    raise AssertionError


def _is_binary(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return b"\0" in file.read(128).partition(b"\n")[0]  # bash's test
    except OSError:
        return False


# ------------------------------------------------------------------------------------------- pieces


def find(name: str, path: str | None) -> str:
    """The file that ``name`` means on the search path ``path`` (None: the system's default), seen
    from the present directory.

    Raises:
        SpawnFailed: 127 where there is none, 126 where there are only such as can't be executed.
    """
    if "/" in name:
        problem = _problem(name)
        if problem:
            missing = problem in (errno.ENOENT, errno.ENOTDIR)
            raise SpawnFailed(f"{name}: {os.strerror(problem)}", not_found=missing)
        return name
    if path is None:
        path = os.confstr("CS_PATH") or "/bin:/usr/bin"
    refused = False
    if name:
        for folder in path.split(":"):
            file = f"{folder}/{name}" if folder else name  # empty means here
            problem = _problem(file)
            if not problem:
                return file
            refused = refused or problem == errno.EACCES
    if refused:
        raise SpawnFailed(f"{name}: {os.strerror(errno.EACCES)}")
    raise SpawnFailed(f"{name}: command not found", not_found=True)


def _problem(path: str) -> int:
    """Why this file can't be executed, as an errno; 0: it can."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return error.errno or errno.ENOENT
    except ValueError:  # a NUL byte
        return errno.ENOENT
    if stat.S_ISDIR(mode):
        return errno.EISDIR
    return 0 if stat.S_ISREG(mode) and os.access(path, os.X_OK) else errno.EACCES


def _environment(spec: SpawnSpec) -> dict[str, str]:
    env = spec.env
    ours = [n for n in env if n.startswith("GSHELL_") and os.environ.get(n) == env[n]]
    if ours or (spec.cwd is not None and env.get("PWD") != spec.cwd):
        env = {name: value for name, value in env.items() if name not in ours}
        if spec.cwd is not None:
            if spec.cwd.startswith("/"):
                env["PWD"] = spec.cwd
            else:
                env.pop("PWD", None)  # it would be a lie
    return env


def _says_utf8(env: dict[str, str]) -> bool:
    locale = env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or ""
    return "utf8" in locale.lower().replace("-", "")


def _winsize(rows: int, columns: int) -> bytes:
    rows = min(rows, 0xFFFF) if rows > 0 else USUAL_SIZE[0]
    columns = min(columns, 0xFFFF) if columns > 0 else USUAL_SIZE[1]
    return struct.pack("HHHH", rows, columns, 0, 0)


_prepared = False


def prepare() -> None:
    """Make this process fit to start others; done once, by the first `spawn` if nobody did before.

    Whatever descriptor we inherited is not inherited on, 0 to 2 are taken (else a pipe of ours
    might get such a number), and CHLD, which ignored would throw exit codes away, is not ignored.
    """
    global _prepared
    if _prepared:
        return
    _prepared = True
    if signals.getsignal(signals.SIGCHLD) == signals.SIG_IGN:
        signals.signal(signals.SIGCHLD, signals.SIG_DFL)
    fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    while fd <= 2:
        os.set_inheritable(fd, True)
        fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.close(fd)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError:  # the listing's own
                pass
