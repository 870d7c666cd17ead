"""The front process of a session, in front of the background process that does the work.

What a background process can do for us is handed to it with our descriptors, and we wait for the status:
this file then imports nothing but what is compiled into the interpreter. Else the command line runs here.

The two processes talk in lines over a unix socket (see ``client/background.py`` for the other end)::

    to it    S NAME   a signal for the program        from it   R        make the terminal raw
             W R C    the terminal's size                       K        and back
             P        we are about to stop                      O HEX    what would reset its modes now
             C R C    we go on, in the foreground               Z        suspend yourself
             r HEX HEX  raw now: these modes, those before      p        not reading: go ahead and stop
             F N      may you read our stdin (0/1)              X N      done, exit status N
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket

    from gshell.client.terminal import Terminal

def through_background(argv: "list[str]") -> "int | None":
    """The exit status, or None if there is no background process (that wants it)."""
    import posix

    environ = posix.environ
    if environ.get(b"GSHELL_BACKGROUND") in (b"0", b"no", b"off") or "--no-background" in argv:
        return None
    if None in (sys.stdin, sys.stdout, sys.stderr):
        return None  # closed, which is rare; our socket would get its number. The slow way knows what to do
    import _socket

    try:
        path = _socket_path(environ)
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        sock.connect(path)
    except OSError:
        return None
    front = _Front(sock)
    if not front.hand_over(argv, environ):
        return None
    return front.wait()


def _socket_path(environ: "dict[bytes, bytes]") -> bytes:
    """As config.background_socket() finds it, without importing anything."""
    relay = environ.get(b"GSHELL_RELAY", b"")
    name = b"bg.sock"
    if relay:
        name = b"bg-" + b"".join(bytes((c,)) if bytes((c,)).isalnum() else b"_" for c in relay) + b".sock"
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
    return environ[b"HOME"] + b"/.gshell/run/" + name if b"HOME" in environ else b"/nonexistent"


class _Front:
    """Our end: keeps job control, the signals and the terminal's mode; reads and writes nothing."""

    def __init__(self, sock: "Socket") -> None:
        self.sock = sock
        self.heard = b""
        self.terminal: "Terminal | None" = None
        self.reset = b""  # what undoes the modes that output has set, should nobody else be left
        self.tty = False
        self.away = False  # in the background, when we handed over
        self.stopped = False  # and so the terminal is not raw

    def hand_over(self, argv: "list[str]", environ: "dict[bytes, bytes]") -> bool:
        """Send what we are: words, directory, environment and the three descriptors."""
        import posix

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
        words += [word.encode("utf-8", "surrogateescape") for word in argv]
        words += [key + b"=" + value for key, value in environ.items()]
        body = b"\0".join(words)
        data = len(body).to_bytes(4, "big") + body
        packed = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (0, 1, 2))
        try:
            sent = self.sock.sendmsg([data], [(1, 1, packed)])  # SOL_SOCKET, SCM_RIGHTS
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

    def wait(self) -> "int | None":
        """Do what the background process says until it says we are done."""
        import _signal  # type: ignore[import-not-found]

        # Python's own handler raises KeyboardInterrupt; ours sends a line from within recv's EINTR.
        for name in ("INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "WINCH", "TSTP"):
            number = getattr(_signal, "SIG" + name)
            if _signal.getsignal(number) != _signal.SIG_IGN or name == "WINCH":
                _signal.signal(number, self._on_signal)
        if self.away:
            _signal.signal(_signal.SIGALRM, self._look_again)
            _signal.setitimer(_signal.ITIMER_REAL, 0.25, 0.25)
        status: "int | None" = None
        while status is None:
            try:
                data = self.sock.recv(4096)
            except OSError:
                data = b""
            if not data:
                break
            self.heard += data
            while b"\n" in self.heard:
                line, _, self.heard = self.heard.partition(b"\n")
                status = self._do(line.split(b" "))
        if self.terminal is not None:
            if status is None and self.reset:
                sys.stdout.write(self.reset.decode("latin-1"))
                sys.stdout.flush()
            self.terminal.close()
        if status is None:
            sys.stderr.write("gshell: the background process ended; the job goes on\n  try:  gshell jobs\n")
            return 255
        if status == -1:
            return None
        return status

    def _say(self, line: bytes) -> None:
        try:
            self.sock.send(line + b"\n")
        except OSError:
            pass

    def _do(self, words: "list[bytes]") -> "int | None":
        kind = words[0]
        if kind == b"X":
            return int(words[1])
        if kind == b"R":
            self._raw()
        elif kind == b"K":
            if self.terminal is not None:
                self.terminal.cooked()
        elif kind == b"O":
            self.reset = bytes.fromhex(words[1].decode())
        elif kind == b"Z":
            self._stop()
        return None

    def _raw(self) -> None:
        from gshell.client.terminal import Terminal, packed, raw_of

        if self.terminal is None:
            self.terminal = Terminal(0)
        self.terminal.raw()
        saved = self.terminal.saved
        self._say(b"r " + packed(raw_of(saved)).hex().encode() + b" " + packed(saved).hex().encode())
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

    def _on_signal(self, number: int, frame: object) -> None:
        import _signal

        if number == _signal.SIGWINCH:
            self._size(b"W")
        elif number == _signal.SIGTSTP:
            self._stop()
        else:
            for name in ("INT", "TERM", "HUP", "QUIT", "USR1", "USR2"):
                if number == getattr(_signal, "SIG" + name):
                    self._say(b"S " + name.encode())

    def _look_again(self, number: int, frame: object) -> None:
        if self._foreground():
            import _signal

            _signal.setitimer(_signal.ITIMER_REAL, 0)
            if self.stopped:
                self._size(b"C")
            else:
                self._say(b"F 1")
            self.stopped = False

    def _stop(self) -> None:
        """Stop as a program does for Ctrl-Z, but not before our typing is left alone."""
        import _signal
        import posix

        self._say(b"P")
        self.sock.settimeout(1.0)
        try:
            while b"p\n" not in self.heard and not self.heard.startswith(b"p\n"):
                data = self.sock.recv(4096)
                if not data:
                    break
                self.heard += data
        except OSError:
            pass
        self.sock.settimeout(None)
        self.heard = self.heard.replace(b"p\n", b"", 1)
        if self.terminal is not None:
            self.terminal.restore()
        before = _signal.signal(_signal.SIGTSTP, _signal.SIG_DFL)
        posix.kill(0, _signal.SIGTSTP)
        _signal.signal(_signal.SIGTSTP, before)
        if self.tty and not self._foreground():
            self.stopped = True
            self._say(b"F 0")
            _signal.signal(_signal.SIGALRM, self._look_again)
            _signal.setitimer(_signal.ITIMER_REAL, 0.25, 0.25)
        else:
            self._size(b"C")
