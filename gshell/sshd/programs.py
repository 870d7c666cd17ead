"""What a connection runs: commands, shells, the SFTP server; their terminals and pipes.

The pump is our own: a program has ended when it was reaped *and* all its output was read and
handed on, its exit status is said after that, and not a byte or a status is lost.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pwd
import signal
import struct
import subprocess
import termios
from collections.abc import Callable
from typing import Any

import asyncssh

from gshell import sitepath

READ_BYTES = 1 << 16
PIPE_BYTES = 1 << 20
INPUT_BYTES = 1 << 20  # that wait for a program's stdin; then the other side is not read
SFTP_SERVERS = (
    "/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server", "/usr/libexec/sftp-server", "/usr/lib64/ssh/sftp-server",
    "/usr/lib/sftp-server",
)  # fmt: skip
NOT_TAKEN = ("LD_", "GSHELL_", "DYLD_")  # of variables that a client sends

_SFTP = "import sys; sys.path.append(sys.argv[1]); import gshell.sshd.sftp as m; m.main()"


class Shells:
    """All programs of one connection."""

    def __init__(
        self, env: dict[str, str], beside: int, tell: Callable[[dict[str, Any]], None]
    ) -> None:
        """``beside``: a process of the step beside which they run, or 0."""
        self.env = env
        self.tell = tell
        self.programs: list[Program] = []
        self.left: list[subprocess.Popen[bytes]] = []
        """Those whose channel is gone."""
        self._beside = beside

    def directory(self) -> str:
        """Where programs begin: where the step beside them is now, else at home."""
        places = [self.env.get("GSHELL_WORKDIR", ""), self.env["HOME"], "/"]
        if self._beside:
            try:
                places.insert(0, os.readlink(f"/proc/{self._beside}/cwd"))
            except OSError:
                pass  # it has just ended
        return next(place for place in places if place and os.path.isdir(place))

    def shell(self) -> str:
        try:
            shell = pwd.getpwuid(os.getuid()).pw_shell
        except KeyError:
            shell = ""
        return shell if os.access(shell, os.X_OK) else "/bin/sh"

    def reap(self) -> None:
        for program in self.programs[:]:
            program.look()
        self.left = [process for process in self.left if process.poll() is None]

    def hang_up(self) -> None:
        """Nobody is there any more."""
        for program in self.programs[:]:
            program.hang_up()


class Program(asyncssh.SSHServerSession):  # type: ignore[type-arg]
    """One session channel: a command, a shell or a subsystem."""

    def __init__(self, shells: Shells) -> None:
        self._shells = shells
        self._chan: Any = None
        self._size = (80, 24, 0, 0)
        self._modes: dict[int, int] = {}
        self._term: str | None = None
        self._argv: list[str] = []
        self._name: str | None = None  # argv[0], when it is not the program's path
        self._process: subprocess.Popen[bytes] | None = None
        self._stdin = self._terminal = -1
        self._outputs: dict[int, bool] = {}  # descriptor -> is it stderr?
        self._input = bytearray()
        self._input_ended = False
        self._writing = False  # the loop waits for room in stdin
        self._reading = True  # the other side takes what we read
        self._stopped = False  # it sends nothing until we say so
        self._loop = asyncio.get_running_loop()

    # -- what is wanted

    def connection_made(self, chan: Any) -> None:
        self._chan = chan
        chan.set_encoding(None)
        chan.set_write_buffer_limits(high=1 << 20)
        # OpenSSH's word for "nobody reads this any more", which asyncssh has no name for.
        chan._process_eow_at_openssh_dot_com_request = self._nobody_reads

    def pty_requested(self, term_type: str, term_size: Any, term_modes: Any) -> bool:
        self._term, self._size, self._modes = term_type, term_size, dict(term_modes)
        return True

    def shell_requested(self) -> bool:
        shell = self._shells.shell()
        self._argv, self._name = [shell], "-" + os.path.basename(shell)
        return True

    def exec_requested(self, command: str) -> bool:
        self._argv = [self._shells.shell(), "-c", command]
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        if subsystem != "sftp":
            return False
        found = next((path for path in SFTP_SERVERS if os.access(path, os.X_OK)), "")
        again = [*sitepath.interpreter(), "-c", _SFTP, sitepath.root()]
        self._argv = [found] if found else again
        return True

    def session_started(self) -> None:
        try:
            self._start()
        except OSError as error:
            self._chan.write_stderr(f"gshell sshd: {self._argv[0]}: {error.strerror}\n".encode())
            self._chan.exit(127)

    # -- its start

    def _environment(self) -> dict[str, str]:
        env = dict(self._shells.env)
        sent = self._chan.get_environment().items()
        env.update((name, value) for name, value in sent if not name.startswith(NOT_TAKEN))
        path = self._chan.get_agent_path()
        if path:
            env["SSH_AUTH_SOCK"] = path
        if self._term is not None:
            env["TERM"] = self._term or "dumb"
        return env

    def _start(self) -> None:
        shells = self._shells
        env = self._environment()
        if self._term is not None:
            shells.tell({"m": "terminal"})
            self._start_on_terminal(env)
        else:
            self._start_on_pipes(env)
        shells.programs.append(self)
        for fd in self._outputs:
            os.set_blocking(fd, False)
            self._loop.add_reader(fd, self._read, fd)
        os.set_blocking(self._stdin, False)

    def _start_on_terminal(self, env: dict[str, str]) -> None:
        ours, theirs = os.openpty()
        try:
            self._set_size(ours)
            _set_modes(theirs, self._modes)
            env["SSH_TTY"] = os.ttyname(theirs)
            self._process = subprocess.Popen(
                [self._name or self._argv[0], *self._argv[1:]], executable=self._argv[0],
                stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=self._shells.directory(),
                start_new_session=True, preexec_fn=_take_terminal,
            )  # fmt: skip
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self._terminal = self._stdin = ours
        self._outputs = {ours: False}

    def _start_on_pipes(self, env: dict[str, str]) -> None:
        pipes = [os.pipe() for _ in range(3)]
        (their_in, our_in), (our_out, their_out), (our_err, their_err) = pipes
        try:
            for fd in (our_in, our_out):
                _widen(fd)
            self._process = subprocess.Popen(
                [self._name or self._argv[0], *self._argv[1:]], executable=self._argv[0],
                stdin=their_in, stdout=their_out, stderr=their_err, env=env,
                cwd=self._shells.directory(), start_new_session=True,
            )  # fmt: skip
        except BaseException:
            for fd in (our_in, our_out, our_err):
                os.close(fd)
            raise
        finally:
            for fd in (their_in, their_out, their_err):
                os.close(fd)
        self._stdin = our_in
        self._outputs = {our_out: False, our_err: True}

    # -- its output

    def _read(self, fd: int) -> None:
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # Linux: EIO is the end of a terminal whose other side has closed
            data = b""
        if data:
            if self._outputs[fd]:
                self._chan.write_stderr(data)
            else:
                self._chan.write(data)
            return
        self._end_output(fd)
        self._check()

    def _end_output(self, fd: int) -> None:
        del self._outputs[fd]
        self._loop.remove_reader(fd)
        if fd != self._terminal:
            os.close(fd)

    def pause_writing(self) -> None:
        self._reading = False
        for fd in self._outputs:
            self._loop.remove_reader(fd)

    def resume_writing(self) -> None:
        self._reading = True
        for fd in self._outputs:
            self._loop.add_reader(fd, self._read, fd)

    def _nobody_reads(self, packet: Any) -> bool:
        """`ssh job42 yes | head`: what it goes on printing is a broken pipe to it, as it would be
        here; its end is still told."""
        for fd in [fd for fd, is_stderr in self._outputs.items() if not is_stderr]:
            if fd != self._terminal:
                self._end_output(fd)
        self._check()
        return True

    # -- its input

    def data_received(self, data: bytes, datatype: Any) -> None:
        if self._stdin < 0:
            return
        if not self._input:
            try:
                data = data[os.write(self._stdin, data) :]
            except BlockingIOError:
                pass
            except OSError:  # it reads no more
                self._close_stdin()
                return
        if data:
            self._input += data
            self._wait_for_room()

    def _wait_for_room(self) -> None:
        if not self._writing:
            self._writing = True
            self._loop.add_writer(self._stdin, self._write)
        if not self._stopped and len(self._input) > INPUT_BYTES:
            self._stopped = True
            self._chan.pause_reading()

    def _write(self) -> None:
        try:
            del self._input[: os.write(self._stdin, self._input)]
        except BlockingIOError:
            return
        except OSError:
            self._input.clear()
            self._input_ended = True
        if self._stopped and len(self._input) < INPUT_BYTES // 2:
            self._stopped = False
            self._chan.resume_reading()
        if not self._input:
            self._loop.remove_writer(self._stdin)
            self._writing = False
            if self._input_ended:
                self._close_stdin()

    def eof_received(self) -> bool:
        self._input_ended = True
        if not self._input:
            self._close_stdin()
        return True  # what it prints still goes out

    def _close_stdin(self) -> None:
        fd, self._stdin = self._stdin, -1
        if fd < 0:
            return
        if self._writing:
            self._writing = False
            self._loop.remove_writer(fd)
        if fd != self._terminal:
            os.close(fd)

    # -- its terminal and signals

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        self._size = (width, height, pixwidth, pixheight)
        if self._terminal >= 0:
            self._set_size(self._terminal)

    def _set_size(self, fd: int) -> None:
        columns, rows, width, height = (min(max(0, n), 0xFFFF) for n in self._size)
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, width, height))

    def signal_received(self, signal_name: str) -> None:
        number = getattr(signal, "SIG" + signal_name.partition("@")[0], None)
        if isinstance(number, signal.Signals):
            self._kill(number)

    def _kill(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            try:
                os.killpg(self._process.pid, number)
            except OSError:
                pass  # it has just ended

    # -- its end

    def look(self) -> None:
        """A child has ended; was it this one?"""
        if self._process is not None and self._process.poll() is not None:
            if self._terminal in self._outputs:
                self._drain_terminal()
            self._check()

    def _drain_terminal(self) -> None:
        """What it left in the terminal; who else has that open keeps nobody waiting."""
        fd = self._terminal
        while fd in self._outputs:
            try:
                data = os.read(fd, READ_BYTES)
            except OSError:
                data = b""
            if data:
                self._chan.write(data)
            else:
                self._end_output(fd)

    def _check(self) -> None:
        process = self._process
        if process is None or process.poll() is None or self._outputs:
            return
        self._forget()
        code = process.returncode
        if code >= 0:
            self._chan.exit(code)
            return
        try:
            name = signal.Signals(-code).name[3:]
        except ValueError:  # a real-time one
            self._chan.exit(128 - code)
            return
        self._chan.exit_with_signal(name)

    def _forget(self) -> None:
        self._close_stdin()
        for fd in list(self._outputs):
            self._end_output(fd)
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1
        if self in self._shells.programs:
            self._shells.programs.remove(self)

    def hang_up(self) -> None:
        """The channel is gone, or the connection: so are its pipes and its terminal."""
        self._kill(signal.SIGHUP)
        if self._process is not None and self._process.poll() is None:
            self._shells.left.append(self._process)
        self._process = None
        self._forget()

    def connection_lost(self, exc: Exception | None) -> None:
        self.hang_up()


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _widen(fd: int) -> None:
    try:
        fcntl.fcntl(fd, 1031, PIPE_BYTES)  # F_SETPIPE_SZ, which fcntl has from 3.10 on
    except OSError:
        pass  # this user has too much in pipes already


_CHARACTERS = {
    1: "VINTR", 2: "VQUIT", 3: "VERASE", 4: "VKILL", 5: "VEOF", 6: "VEOL", 7: "VEOL2",
    8: "VSTART", 9: "VSTOP", 10: "VSUSP", 12: "VREPRINT", 13: "VWERASE", 14: "VLNEXT",
    18: "VDISCARD",
}  # fmt: skip
_FLAGS = {  # RFC 4254, section 8: number -> (which of tcgetattr's words, its name)
    30: (0, "IGNPAR"), 31: (0, "PARMRK"), 32: (0, "INPCK"), 33: (0, "ISTRIP"), 34: (0, "INLCR"),
    35: (0, "IGNCR"), 36: (0, "ICRNL"), 38: (0, "IXON"), 39: (0, "IXANY"), 40: (0, "IXOFF"),
    41: (0, "IMAXBEL"), 42: (0, "IUTF8"), 50: (3, "ISIG"), 51: (3, "ICANON"), 53: (3, "ECHO"),
    54: (3, "ECHOE"), 55: (3, "ECHOK"), 56: (3, "ECHONL"), 57: (3, "NOFLSH"), 58: (3, "TOSTOP"),
    59: (3, "IEXTEN"), 60: (3, "ECHOCTL"), 61: (3, "ECHOKE"), 62: (3, "PENDIN"), 70: (1, "OPOST"),
    72: (1, "ONLCR"), 73: (1, "OCRNL"), 74: (1, "ONOCR"), 75: (1, "ONLRET"),
}  # fmt: skip


def _set_modes(fd: int, modes: dict[int, int]) -> None:
    """The client's terminal is set so: so is this one."""
    words = termios.tcgetattr(fd)
    for number, value in modes.items():
        if number in _FLAGS:
            index, name = _FLAGS[number]
            bit = 0o40000 if name == "IUTF8" else getattr(termios, name, 0)
            words[index] = words[index] | bit if value else words[index] & ~bit
        elif number in _CHARACTERS and hasattr(termios, _CHARACTERS[number]):
            # 255 stands for none at all, which Linux writes as 0.
            byte = 0 if value == 255 else value & 0xFF
            words[6][getattr(termios, _CHARACTERS[number])] = bytes([byte])
    termios.tcsetattr(fd, termios.TCSANOW, words)
