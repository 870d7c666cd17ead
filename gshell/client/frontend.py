"""The front process of a session, in front of the background process that does the work.

What a background process can do for us is handed to it with our descriptors, and we wait for the
status: this file then imports nothing but what is compiled into the interpreter. Else the command
line runs here.

The two processes talk in lines over a unix socket (see ``client/background.py`` for the other
end)::

    to it    S NAME     a signal for the program
             W R C      the terminal's size
             P          we are about to stop
             C R C      we go on, in the foreground
             r HEX HEX  raw now: these modes, those before
             F N        may you read our stdin (0/1)
    from it  R          make the terminal raw
             K          and back
             O HEX      what would reset its modes now
             Z          suspend yourself
             p          not reading: go ahead and stop
             X N        done, exit status N

``data/front.c`` is the same in C, for where a compiler is found; ``tests/component/stub``
holds the two side by side.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket

    from gshell.client.terminal import Terminal

FORWARDED = ("INT", "TERM", "HUP", "QUIT", "USR1", "USR2")
STOP_PATIENCE_S = 1.0  # for the word that our typing is left alone
LOOK_AGAIN_S = 0.25  # in the background: nothing tells us of ``fg``
_SOL_SOCKET, _SCM_RIGHTS, _SO_PEERCRED, _MSG_PEEK = 1, 1, 17, 2
_UNIX_PATH_MAX = 107  # bytes that fit into sockaddr_un


def through_background(argv: "list[str]") -> "int | None":
    """The exit status, or None if there is no background process (that wants it)."""
    import posix

    environ = posix.environ
    if environ.get(b"GSHELL_BACKGROUND") in (b"0", b"no", b"off") or "--no-background" in argv:
        return None
    try:
        for fd in (0, 1, 2):
            posix.fstat(fd)  # a closed one: our socket would get its number. The slow way knows
        sock = _dial(_socket_path(environ))
    except OSError:
        return None
    if sock is None:
        return None
    front = _Front(sock)
    front.hold_signals()
    status = front.wait() if front.hand_over(argv, environ) else None
    if status is None:
        front.release_signals()
        sock.close()
    return status


def _dial(path: bytes) -> "Socket | None":
    """To the background process, if one listens there that is ours: not another user's, after
    ``su``."""
    import _socket
    import posix

    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    if len(path) <= _UNIX_PATH_MAX:
        sock.connect(path)
    else:  # however long it is: through its directory's descriptor
        folder, _, name = path.rpartition(b"/")
        fd = posix.open(folder, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
        try:
            sock.connect(b"/proc/self/fd/%d/%s" % (fd, name))
        finally:
            posix.close(fd)
    uid = sock.getsockopt(_SOL_SOCKET, _SO_PEERCRED, 12)[4:8]
    return sock if int.from_bytes(uid, sys.byteorder) == posix.geteuid() else None


def _socket_path(environ: "dict[bytes, bytes]") -> bytes:
    """As config.background_socket() finds it, without importing anything."""
    relay = environ.get(b"GSHELL_RELAY", b"").decode("utf-8", "surrogateescape")
    name = b"bg.sock"
    if relay:
        name = b"bg-" + "".join(c if c.isalnum() else "_" for c in relay).encode() + b".sock"
    base = environ.get(b"GSHELL_HOME")
    if base:
        import posix

        if not base.startswith(b"/"):
            base = posix.getcwdb() + b"/" + base
        return base.rstrip(b"/") + b"/run/" + name
    base = environ.get(b"XDG_RUNTIME_DIR", b"")
    if base.startswith(b"/"):
        import posix

        if posix.access(base, 2):
            return base + b"/gshell/" + name
    home = environ.get(b"HOME")
    return home + b"/.gshell/run/" + name if home else b"/nonexistent"


class _Woken(Exception):
    """A signal has been noted. Raised only where we wait, so no other work is cut in two."""


class _Front:
    """Our end: keeps job control, the signals and the terminal's mode; reads and writes nothing."""

    def __init__(self, sock: "Socket") -> None:
        self.sock = sock
        self.heard = b""
        self.heard_any = False
        self.silent = True  # nothing was said since the hand-over
        self.unread = False  # it went without having read all of that: it has begun nothing
        self.status: int | None = None
        self.terminal: Terminal | None = None
        self.reset = b""  # what undoes the modes that output has set, should nobody else be left
        self.tty = False
        self.stopping = False  # until it leaves our typing alone
        self.away = False  # in the background: look now and then whether we still are
        self.stopped = False  # and so the terminal is not raw
        self.noted: list[int] = []  # signals, by their handler
        self.waiting = False
        self.before: dict[int, object] = {}  # the handlers we replace
        self.mask: set[int] = set()

    # -- signals

    def hold_signals(self) -> None:
        """Until `wait` can tell of them: Ctrl-C once a job is handed over means the job.

        Those ignored at the start (nohup) stay ignored.
        """
        import _signal  # type: ignore[import-not-found]

        for name in (*FORWARDED, "TSTP", "WINCH"):
            number = getattr(_signal, "SIG" + name)
            handler = _signal.getsignal(number)
            if handler != _signal.SIG_IGN or name == "WINCH":
                self.before[number] = handler
        self.mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, self.before)

    def release_signals(self) -> None:
        """As they were: somebody else carries on in this process."""
        import _signal

        _signal.setitimer(_signal.ITIMER_REAL, 0)
        for number, handler in self.before.items():
            _signal.signal(number, handler)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self.mask)

    def _note(self, number: int, frame: object) -> None:
        self.noted.append(number)
        if self.waiting:
            self.waiting = False
            raise _Woken

    def _tell_signals(self) -> None:
        import _signal

        while self.noted and self.status is None:
            number = self.noted.pop(0)
            if number == _signal.SIGWINCH:
                self._size(b"W")
            elif number == _signal.SIGTSTP:
                self._stop()
            elif number == _signal.SIGALRM:
                self._look_again()
            else:
                for name in FORWARDED:
                    if number == getattr(_signal, "SIG" + name):
                        self._say(b"S " + name.encode())

    # -- handing over

    def hand_over(self, argv: "list[str]", environ: "dict[bytes, bytes]") -> bool:
        """Send what we are: words, directory, environment and the three descriptors."""
        import posix

        fds = (0, 1, 2)
        try:
            cwd = posix.getcwdb()
        except OSError:
            cwd = b"/"
        umask = posix.umask(0)
        posix.umask(umask)
        self.tty = posix.isatty(0)
        front = self._foreground()
        self.away = not front  # asked once: what we say and what we watch for must agree
        words = [b"1", cwd, b"%o" % umask, b"%d" % posix.getpid(), b"%d" % front, b"%d" % len(argv)]
        encoding = sys.getfilesystemencoding()  # what they were decoded with
        words += [word.encode(encoding, "surrogateescape") for word in argv]
        words += [key + b"=" + value for key, value in environ.items()]
        body = b"\0".join(words)
        data = len(body).to_bytes(4, "big") + body
        packed = b"".join(fd.to_bytes(4, sys.byteorder) for fd in fds)
        try:
            sent = self.sock.sendmsg([data], [(_SOL_SOCKET, _SCM_RIGHTS, packed)])
            while sent < len(data):
                sent += self.sock.send(data[sent:])
        except OSError:
            return False
        return True

    def _foreground(self) -> int:
        """Is our process group the one that the terminal at stdin listens to?"""
        import posix

        if not self.tty:
            return 1
        try:
            return int(posix.tcgetpgrp(0) == posix.getpgrp())
        except OSError:
            return 1

    # -- doing what it says

    def wait(self) -> "int | None":
        """Do what the background process says until it says we are done; None: it is for us to
        do."""
        import _signal

        for number in self.before:
            _signal.signal(number, self._note)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self.mask)
        if self.away:
            self._go_on_looking()
        there = True
        while there and self.status is None:
            self._tell_signals()
            if self.status is None:
                there = self._hear()
        if self.status is None and self.reset and self.terminal is not None and self._foreground():
            _show(self.reset)
        if self.terminal is not None:
            self.terminal.close()
        if self.status is None and self.unread:
            return None
        if self.status is None:
            sys.stderr.write(
                "gshell: the background process ended; the job goes on\n  try:  gshell jobs\n"
            )
            return 255
        return None if self.status == -1 else self.status

    def _hear(self) -> bool:
        """Wait for a word, and do it, or for a signal; False if the background process is gone."""
        gone = False
        try:
            self.waiting = True
            try:
                if not self.noted:
                    self.sock.recv(1, _MSG_PEEK)  # a signal may end this, nothing is lost by it
            except OSError as error:
                gone = True
                self.unread = (
                    isinstance(error, ConnectionResetError) and self.silent and not self.heard_any
                )
            self.waiting = False
        except _Woken:
            return True
        return not gone and (bool(self.noted) or self._take())

    def _take(self) -> bool:
        """Do what was said; False if nothing will be said any more."""
        data = self.sock.recv(4096)
        self.heard += data
        while b"\n" in self.heard and self.status is None:
            line, _, self.heard = self.heard.partition(b"\n")
            self._do(line.split(b" "))
        return bool(data)

    def _say(self, line: bytes) -> None:
        self.silent = False
        try:
            self.sock.send(line + b"\n")
        except OSError:
            pass  # it died: recv will say so

    def _do(self, words: "list[bytes]") -> None:
        self.heard_any = True
        kind = words[0]
        if kind == b"X":
            self.status = int(words[1])
        elif kind == b"R":
            self._raw()
        elif kind == b"K":
            if self.terminal is not None:
                self.terminal.cooked()
        elif kind == b"O":
            self.reset = bytes.fromhex(words[1].decode())
        elif kind == b"Z":
            if not self.stopping:
                self._stop()
        elif kind == b"p":
            self.stopping = False

    # -- the terminal

    def _raw(self) -> None:
        import termios

        from gshell.client.terminal import Terminal, packed, raw_of

        try:
            if self.terminal is None:
                self.terminal = Terminal(0)
            self.terminal.raw()
            saved = self.terminal.saved
            self._say(
                b"r " + packed(raw_of(saved)).hex().encode() + b" " + packed(saved).hex().encode()
            )
        except termios.error:  # `run -t </dev/null`, or hung up: nothing to put in order later
            self._say(b"r  ")
        self._size(b"W")

    def _size(self, kind: bytes) -> None:
        import posix

        for fd in (0, 1, 2):
            try:
                columns, rows = posix.get_terminal_size(fd)
            except OSError:
                continue
            self._say(b"%s %d %d" % (kind, rows, columns))
            return
        self._say(kind + b" 0 0")

    # -- stopping and going on

    def _stop(self) -> None:
        """Stop as a program does for Ctrl-Z, but not before our typing is left alone."""
        import _signal
        import posix
        import time

        self._say(b"P")
        self.stopping = True
        end = time.monotonic() + STOP_PATIENCE_S
        try:
            while self.stopping and self.status is None:
                self.sock.settimeout(max(0.001, end - time.monotonic()))
                if not self._take():
                    break
        except OSError:
            pass  # it does not answer, or is gone: that is seen when we go on
        self.stopping = False
        self.sock.settimeout(None)
        if self.status is not None:
            return
        if self.terminal is not None:
            self.terminal.restore()
        before = _signal.signal(_signal.SIGTSTP, _signal.SIG_DFL)
        posix.kill(0, _signal.SIGTSTP)
        _signal.signal(_signal.SIGTSTP, before)
        while _signal.SIGTSTP in self.noted:
            self.noted.remove(_signal.SIGTSTP)  # pressed twice: it has stopped
        self.away = self.stopped = not self._foreground()
        if self.away:
            self._say(b"F 0")
            self._go_on_looking()
        else:
            self._size(b"C")

    def _go_on_looking(self) -> None:
        import _signal

        _signal.signal(_signal.SIGALRM, self._note)
        _signal.setitimer(_signal.ITIMER_REAL, LOOK_AGAIN_S, LOOK_AGAIN_S)

    def _look_again(self) -> None:
        if self.away and not self._foreground():
            return
        import _signal

        _signal.setitimer(_signal.ITIMER_REAL, 0)
        if not self.away:
            return
        self.away = False
        if self.stopped:
            self._size(b"C")
        else:
            self._say(b"F 1")
        self.stopped = False


def _show(data: bytes) -> None:
    import posix

    try:
        posix.write(1, data)
    except OSError:
        pass  # hung up
