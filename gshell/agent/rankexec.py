"""What a launcher starts instead of a rank, and instead of ssh. A program of its own: it imports
nothing of ours, and as little as it can, since every rank waits for it.

    rankexec.py rank PROG ARG..      asks the agent for stdin, stdout and stderr, and becomes PROG
    rankexec.py rsh [-OPTION].. HOST COMMAND..    has COMMAND run on the member of the job at HOST

The agent's sockets are in GSHELL_RANKS, their keys in GSHELL_RANKS_KEY (several where agents of
one job share a machine: the first one that knows the rank answers). Packets are NUL-separated
words; gshell/mpi/MPI.md has them.
"""

from __future__ import annotations

import _socket
import posix
import select
import sys

PATIENCE_S = 60  # for an agent that is there and does not answer
PACKET = 1 << 17
KEYS = (b"GSHELL_RANKS", b"GSHELL_RANKS_KEY", b"GSHELL_RANK_EXEC")  # not for the program
NUMBERS = (b"PMIX_RANK", b"OMPI_COMM_WORLD_RANK", b"PMI_RANK", b"SLURM_PROCID")
SIZES = (b"OMPI_COMM_WORLD_SIZE", b"PMI_SIZE", b"SLURM_NTASKS")
FORWARDED = (1, 2, 3, 10, 12, 15, 18)  # HUP INT QUIT USR1 USR2 TERM CONT
TIOCSCTTY = 0x540E
PR_SET_PDEATHSIG = 1
SIGKILL = 9


def ask(words: list[bytes]) -> tuple[_socket.socket | None, list[bytes], list[int]]:
    """(socket, first packet of the answer, descriptors) of the first agent that answers; (None,
    [], []): none does."""
    environ = posix.environ
    paths = environ.get(KEYS[0], b"").split()
    keys = environ.get(KEYS[1], b"").split()
    for path, key in zip(paths, keys) if words else ():
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        sock.settimeout(PATIENCE_S)
        control: list[tuple[int, int, bytes]] = []
        try:
            sock.connect(path)
            sock.send(b"\0".join([words[0], key, *words[1:]]))
            room = _socket.CMSG_SPACE(12)
            data, control, _, _ = sock.recvmsg(PACKET, room, _socket.MSG_CMSG_CLOEXEC)
        except OSError:  # it has ended; or is stuck
            data = b""
        if data:
            sock.settimeout(None)
            given = []
            for level, kind, body in control:
                if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                    given += memoryview(body).cast("i").tolist()
            return sock, data.split(b"\0"), given
        sock.close()
    return None, [], []


# --------------------------------------------------------------------------------------------- rank


def rank(argv: list[bytes]) -> None:
    environ = posix.environ
    number = first_of(environ, NUMBERS)
    words: list[bytes] = []
    if number:
        try:
            where = posix.getcwdb()
        except OSError:  # it was removed
            where = b""
        words = [b"rank", number, first_of(environ, SIZES), where, argv[0]]
    sock, answer, given = ask(words)
    for name in KEYS:
        environ.pop(name, None)
    if environ.get(b"LC_CTYPE") == b"C.UTF-8" and not given_to_us(b"LC_CTYPE=C.UTF-8"):
        del environ[b"LC_CTYPE"]  # by the interpreter, for itself
    program = b""
    if sock is not None:
        directory, program, variables = answer[2], answer[3], answer[4:]
        for variable in variables:
            name, _, value = variable.partition(b"=")
            environ[name] = value
        if directory:
            try:
                posix.chdir(directory)
            except OSError:
                pass  # where the launcher has put us
        if answer[1] == b"pty":
            take_terminal(sock, given[0])
        else:
            for target, fd in enumerate(given[:3]):
                posix.dup2(fd, target)
    become(program or argv[0], argv, environ)


def given_to_us(variable: bytes) -> bool:
    try:
        fd = posix.open("/proc/self/environ", posix.O_RDONLY)
    except OSError:
        return True
    text = b""
    while True:
        data = posix.read(fd, 1 << 16)
        if not data:
            break
        text += data
    posix.close(fd)
    return variable in text.split(b"\0")


def first_of(environ: dict[bytes, bytes], names: tuple[bytes, ...]) -> bytes:
    for name in names:
        if environ.get(name):
            return environ[name]
    return b""


def take_terminal(sock: _socket.socket, fd: int) -> None:
    """Have it as the controlling one. Only a session's leader can, and launchers make their ranks
    leaders of groups, who can't become that: then a child is the rank, and we wait for it."""
    if posix.getsid(0) != posix.getpid():
        import signal

        # Blocked: what comes before the child exists is forwarded when it does.
        signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
        child = posix.fork()
        if child:
            wait(child)
        die_with_parent()
        posix.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    import fcntl

    fcntl.ioctl(fd, TIOCSCTTY, 0)
    for target in (0, 1, 2):
        posix.dup2(fd, target)
    sock.send(str(posix.getpid()).encode())
    sock.close()


def die_with_parent() -> None:
    """A launcher kills what it started; where this does not work, the agent's end of the terminal
    hangs up at the end of the step."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    except (ImportError, OSError, AttributeError):  # no ctypes, another libc
        pass


def wait(child: int) -> None:
    """Forward signals to the child's group and end as it does; never returns."""
    import signal

    awaited = {*FORWARDED, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    null = posix.open("/dev/null", posix.O_RDWR)
    for target in (0, 1, 2):  # the launcher's ends are the program's, which has others
        posix.dup2(null, target)
    while True:
        ended, status = posix.waitpid(child, posix.WNOHANG | posix.WUNTRACED)
        if ended and not posix.WIFSTOPPED(status):
            break
        number = signal.sigwait(awaited)
        if number != signal.SIGCHLD:
            try:
                posix.kill(-child, number)
            except OSError:  # it has no group yet, or none any more
                try:
                    posix.kill(child, number)
                except OSError:
                    pass
    if posix.WIFSIGNALED(status):
        number = posix.WTERMSIG(status)
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the program has written its own
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        posix.kill(posix.getpid(), number)
    posix._exit(posix.WEXITSTATUS(status))


def become(name: bytes, argv: list[bytes], environ: dict[bytes, bytes]) -> None:
    """Execute it, as a shell would find it."""
    # CPython ignores these, and what is ignored stays so.
    import _signal  # type: ignore[import-not-found]  # `signal` takes as long as all else here

    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_DFL)
    files = [name]
    if b"/" not in name:
        path = environ.get(b"PATH", b"/bin:/usr/bin")
        files = [(folder or b".") + b"/" + name for folder in path.split(b":")]
    reason: OSError | None = None
    for file in files:
        try:
            posix.execve(file, argv, environ)
        except FileNotFoundError as error:
            reason = reason or error
        except OSError as error:
            if error.errno == 8:  # ENOEXEC: a script without "#!", which shells give to sh
                posix.execve("/bin/sh", [b"/bin/sh", file, *argv[1:]], environ)
            if reason is None or isinstance(reason, FileNotFoundError):
                reason = error
    missing = isinstance(reason, FileNotFoundError)
    words = "command not found" if missing and b"/" not in name else str(reason and reason.strerror)
    posix.write(2, b"gshell: " + name + b": " + words.encode() + b"\n")
    posix._exit(127 if missing else 126)


# ---------------------------------------------------------------------------------------------- rsh


def rsh(argv: list[bytes]) -> int:
    while argv and argv[0].startswith(b"-"):
        argv = argv[1:]
    if len(argv) < 2:
        posix.write(2, b"usage: rsh HOST COMMAND..\n")
        return 2
    host, command = argv[0], b" ".join(argv[1:])  # as ssh does it: the other side's shell splits
    sock, answer, _ = ask([b"rsh", host, command])
    if sock is None:
        posix.write(2, b"gshell: no agent of this job answers for host " + host + b"\n")
        return 255
    link = Link(sock)
    packet = b"\0".join(answer)
    while packet:
        kind, data = packet[:1], packet[1:]
        if kind == b"x":
            return int(data)
        if kind in (b"1", b"2"):
            write_all(int(kind), data)
        packet = link.next()
    return 255


class Link:
    """The agent's end, and our stdin, which is read when the agent has room for it: who waits there
    and hears nothing might wait for ever."""

    def __init__(self, sock: _socket.socket) -> None:
        self.sock = sock
        self.poll = select.poll()
        self.poll.register(sock.fileno(), select.POLLIN)
        self.poll.register(0, select.POLLIN)
        self.waiting = b""

    def next(self) -> bytes:
        """The next packet of the agent's; empty: it is gone."""
        while True:
            for fd, mask in self.poll.poll():
                if fd == 0:
                    self.read()
                elif mask & select.POLLOUT and self.waiting:
                    self.send()
                if fd != 0 and mask & ~select.POLLOUT:
                    return self.receive()

    def receive(self) -> bytes:
        for _ in range(2):
            try:
                return self.sock.recv(PACKET)
            except OSError:  # it closed and had not read all of ours: what it said is there still
                pass
        return b""

    def read(self) -> None:
        self.poll.unregister(0)  # until this is said
        try:
            data = posix.read(0, 1 << 15)
        except OSError:
            data = b""
        self.waiting = b"0" + data
        self.send()

    def send(self) -> None:
        try:
            self.sock.send(self.waiting, _socket.MSG_DONTWAIT)
        except BlockingIOError:
            self.poll.modify(self.sock.fileno(), select.POLLIN | select.POLLOUT)
            return
        except OSError:  # that is heard
            return
        more, self.waiting = len(self.waiting) > 1, b""
        self.poll.modify(self.sock.fileno(), select.POLLIN)
        if more:
            self.poll.register(0, select.POLLIN)


def write_all(fd: int, data: bytes) -> None:
    try:
        while data:
            data = data[posix.write(fd, data) :]
    except OSError:  # nobody reads it any more
        pass


def main() -> None:
    words = [word.encode("utf-8", "surrogateescape") for word in sys.argv[1:]]
    if len(words) > 1 and words[0] == b"rank":
        rank(words[1:])
    if words and words[0] == b"rsh":
        posix._exit(rsh(words[1:]))
    posix.write(2, (__doc__ or "").encode())
    posix._exit(2)


if __name__ == "__main__":
    main()
