"""The front process, in C and in Python, side by side before a background process played by the test."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import types

import pytest

import gshell
from gshell import config, sitepath
from gshell.client import stub
from gshell.client.terminal import packed, raw_of
from gshell.net.address import unix_path
from kit.procs import until
from kit.pty import Pty, state_of

PATIENCE_S = 20.0
FRONT = pathlib.Path(gshell.__file__).with_name("front.py")
SOURCE = FRONT.with_name("data") / "front.c"
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
NOBODY_LEFT = b"gshell: the background process ended; the job goes on\r\n  try:  gshell jobs\r\n"
REPORT = """
import json, os, sys
fds = []
for fd in os.listdir("/proc/self/fd"):
    try:
        fds.append(os.readlink(f"/proc/self/fd/{fd}"))
    except OSError:
        pass  # of listdir itself
with open("/proc/self/status") as file:
    status = dict(line.split(":", 1) for line in file)
with open(os.environ["REPORT"], "w") as file:
    json.dump(dict(argv=sys.argv, fds=fds, cwd=os.getcwd(), blocked=status["SigBlk"].strip()), file)
sys.exit(9)
"""
# A shell's part: the front has a process group of its own, and the terminal when we are told so.
SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
control, front, *argv = sys.argv[1:]
ready, go = os.pipe()
pid = os.fork()
if pid == 0:
    os.read(ready, 1)
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(argv[0], argv)
os.setpgid(pid, pid)
if front == "1":
    os.tcsetpgrp(0, pid)
os.write(go, b"!")
with open(control) as lines:
    for line in lines:
        if line.split()[0] == "fg":
            os.tcsetpgrp(0, pid)
        else:
            os.tcsetpgrp(0, os.getpgrp())
        os.kill(pid, signal.SIGCONT)
status = os.waitpid(pid, 0)[1]
os.tcsetpgrp(0, os.getpgrp())
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """The C front, without a warning."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: cc")
    program = tmp_path_factory.mktemp("stub") / "front-1"
    argv = [
        "cc",
        "-std=c99",
        "-O2",
        *WARNINGS,
        '-DGSHELL_FRONT_SOURCE="ours"',
        "-o",
        program,
        SOURCE,
    ]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return str(program)


def python_of(script):
    return [sys.executable, "-I", "-S", "-X", "gshell_site=/nowhere", str(script)]


@pytest.fixture
def stub_front(compiled, tmp_path):
    """The C front's argv; instead of gshell's Python, a program that reports."""
    script = tmp_path / "report.py"
    script.write_text(REPORT)
    return [compiled, "6", *python_of(script)]


@pytest.fixture(params=["c", "python"])
def front(request):
    """The beginning of a front's argv."""
    if request.param == "python":
        return python_of(FRONT)
    return request.getfixturevalue("stub_front")


class Talk:
    """The background process's end of one front."""

    def __init__(self, sock):
        self.sock = sock
        sock.settimeout(PATIENCE_S)
        self.heard = b""
        self.fds = []

    def hand_over(self):
        """Words, directory, environment, as they came."""
        data = b""
        while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
            more, rights, _, _ = self.sock.recvmsg(4096, socket.CMSG_SPACE(12))
            assert more, f"it ended after {data!r}"
            for _, _, payload in rights:
                self.fds += struct.unpack("3i", payload)
            data += more
        size = 4 + int.from_bytes(data[:4], "big")
        data, self.heard = data[:size], data[size:]
        words = data[4:].split(b"\0")
        self.folder, self.umask, self.pid = words[1], words[2], int(words[3])
        self.in_front, count = words[4], int(words[5])
        self.argv, self.env = words[6 : 6 + count], words[6 + count :]
        words[3] = b"PID"
        return [data[:4] and words[0], *words[1:]]

    def say(self, lines):
        self.sock.sendall(lines.encode())

    def exit(self, status):
        self.say(f"X {status}\n")
        self.close()

    def line(self):
        while b"\n" not in self.heard:
            more = self.sock.recv(4096)
            assert more, f"it ended after {self.heard!r}"
            self.heard += more
        line, _, self.heard = self.heard.partition(b"\n")
        return line.decode()

    def close(self):
        self.sock.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []


class Fake:
    """Listens where the fronts look, for as long as the test."""

    def __init__(self, root):
        self.root = root
        self.home = root / "home"
        (self.home / "run").mkdir(parents=True)
        self.stack = contextlib.ExitStack()
        self.env = {
            "GSHELL_HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "REPORT": str(root / "report"),
        }
        self.listener = self.listen(str(self.home / "run/bg.sock"))

    def listen(self, path):
        listener = self.stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        with unix_path(path) as short:
            listener.bind(short)
        listener.listen(5)
        listener.settimeout(PATIENCE_S)
        return listener

    def accept(self, listener=None):
        sock, _ = (listener or self.listener).accept()
        talk = Talk(sock)
        self.stack.callback(talk.close)
        return talk

    def meet(self, listener=None):
        talk = self.accept(listener)
        talk.hand_over()
        return talk

    def start(self, argv, *words, **more):
        more.setdefault("env", self.env)
        for name in ("stdin", "stdout", "stderr"):
            more.setdefault(name, subprocess.PIPE)
        process = subprocess.Popen([*argv, *(words or ("run", "true"))], **more)

        def end():
            process.kill()
            process.communicate()

        self.stack.callback(end)
        return process

    def pty(self, argv, **more):
        """A front that leads its terminal's session: nothing can stop it."""
        return self.stack.enter_context(Pty([*argv, "run", "true"], self.env, **more))

    def shell(self, argv, foreground=True, **more):
        """A front under job control; ``control`` writes "fg" and "bg"."""
        fifo = self.root / "control"
        os.mkfifo(fifo)
        script = self.root / "shell.py"
        script.write_text(SHELL)
        words = [
            sys.executable,
            "-I",
            str(script),
            str(fifo),
            str(int(foreground)),
            *argv,
            "run",
            "true",
        ]
        screen = self.stack.enter_context(Pty(words, self.env, **more))
        control = self.stack.enter_context(open(fifo, "w", buffering=1))  # noqa: SIM115 - the stack closes it
        talk = self.meet()
        return screen, control, talk

    def report(self):
        return json.loads((self.root / "report").read_text())


@pytest.fixture
def fake(tmp_path):
    fake = Fake(tmp_path)
    with fake.stack:
        yield fake


def finish(process):
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


def until_stopped(pid):
    until(lambda: state_of(pid) == "T", "the front to stop")


# ------------------------------------------------------------------------------------- handing over


ODD = ("run", "a b", "", "*", "line\nbreak", "ünï", b"\xff\xfe", "--", "-x", "$HOME")


@pytest.mark.parametrize("folder", ["plain", "with blank", b"\xff\xfe", "gone"])
def test_both_hand_over_the_same_bytes(fake, stub_front, folder):
    there = os.path.join(os.fsencode(fake.root), os.fsencode(folder))
    os.mkdir(there)
    gone = ["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh"] if folder == "gone" else []
    env = {
        **fake.env,
        "EMPTY": "",
        "B": "=",
        "C": "line\nbreak",
        "D": b"\xff",
        "é": "1",
        "LC_ALL": "C",
    }
    said = []
    for front in (stub_front, python_of(FRONT)):
        os.makedirs(there, exist_ok=True)
        fake.start([*gone, *front], *ODD, cwd=there, env=env, umask=0o027)
        said.append(fake.accept().hand_over())
    assert said[0] == said[1]
    assert said[0][:5] == [b"1", b"/" if gone else there, b"27", b"PID", b"1"]
    assert said[0][6 : 6 + len(ODD)] == [os.fsencode(word) for word in ODD]
    assert {b"EMPTY=", b"B==", b"D=\xff", b"C=line\nbreak"} < set(said[0])


def test_an_environment_larger_than_a_socket_s_buffer_arrives(fake, front):
    env = {**fake.env, **{f"BIG{n}": chr(97 + n) * 100_000 for n in range(10)}}
    fake.start(front, env=env)
    said = dict(entry.split(b"=", 1) for entry in fake.meet().env)
    assert all(said[b"BIG%d" % n] == b"%c" % (97 + n) * 100_000 for n in range(10))


def test_the_three_descriptors_are_handed_over(fake, front):
    process = fake.start(front)
    talk = fake.meet()
    process.stdin.write(b"typed")
    process.stdin.flush()
    assert os.read(talk.fds[0], 100) == b"typed"
    os.write(talk.fds[1], b"out")
    os.write(talk.fds[2], b"err")
    talk.exit(7)
    assert finish(process) == (7, b"out", b"err")


@pytest.mark.parametrize("status", [0, 1, 137, 255])
def test_the_exit_status_is_what_it_is_told(fake, front, status):
    process = fake.start(front)
    talk = fake.meet()
    for piece in f"X {status}\n":
        talk.say(piece)
    talk.close()
    assert finish(process) == (status, b"", b"")


@pytest.mark.parametrize(
    "env",
    [
        {"GSHELL_HOME": "home/"},
        {"GSHELL_HOME": "long/" + "x" * 150},
        {"GSHELL_RELAY": "relay.example:7000"},
        {"GSHELL_RELAY": "relé.example"},
        {"XDG_RUNTIME_DIR": "runtime"},
        {"XDG_RUNTIME_DIR": "missing", "HOME": "me"},
        {"HOME": "me"},
    ],
    ids=str,
)
def test_it_is_looked_for_where_it_listens(fake, front, env, monkeypatch):
    if "é" in str(env) and front[0].endswith("front-1"):
        pytest.skip("left to Python: which letters count as such")
    (fake.root / "runtime").mkdir()
    settings = {
        k: v if k in ("GSHELL_HOME", "GSHELL_RELAY") else str(fake.root / v) for k, v in env.items()
    }
    monkeypatch.chdir(fake.root)
    for name in ("GSHELL_HOME", "GSHELL_RELAY", "XDG_RUNTIME_DIR", "HOME"):
        monkeypatch.delenv(name, raising=False)
        if name in settings:
            monkeypatch.setenv(name, settings[name])
    if "GSHELL_RELAY" in env:
        monkeypatch.setenv("HOME", str(fake.root))
    path = pathlib.Path(config.background_socket())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = fake.listen(str(path))
    fake.start(front, env=dict(os.environ))
    assert fake.meet(listener).argv == [b"run", b"true"]


# ------------------------------------------------------------------------------------------ signals


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2"])
def test_a_signal_is_passed_on(fake, front, name):
    process = fake.start(front)
    talk = fake.meet()
    process.send_signal(getattr(signal, "SIG" + name))
    assert talk.line() == f"S {name}"
    talk.exit(3)
    assert finish(process)[0] == 3


def test_many_signals_are_all_passed_on(fake, front):
    process = fake.start(front)
    talk = fake.meet()
    for _ in range(50):
        process.send_signal(signal.SIGUSR1)
        assert talk.line() == "S USR1"


def test_signals_ignored_at_the_start_stay_ignored(fake, front):
    ignoring = ["sh", "-c", 'trap "" HUP INT; exec "$@"', "sh"]
    process = fake.start([*ignoring, *front])
    talk = fake.meet()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
    assert talk.line() == "S TERM"


def test_a_new_size_is_told(fake, front):
    screen = fake.pty(front)
    talk = fake.meet()
    screen.resize(30, 100)
    assert talk.line() == "W 30 100"


def test_without_a_terminal_the_size_is_nought(fake, front):
    process = fake.start(front)
    talk = fake.meet()
    process.send_signal(signal.SIGWINCH)
    assert talk.line() == "W 0 0"


# ----------------------------------------------------------------------------------------- terminal


def odd_modes(fd):
    modes = termios.tcgetattr(fd)
    modes[0] |= termios.IXANY | termios.PARMRK
    modes[4] = modes[5] = termios.B9600
    modes[6][termios.VKILL] = b"\x07"
    modes[6][termios.VEOL2] = b"\xff"
    termios.tcsetattr(fd, termios.TCSANOW, modes)
    return termios.tcgetattr(fd)


def test_raw_mode_its_reply_and_back(fake, front):
    screen = fake.pty(front)
    talk = fake.meet()
    before = odd_modes(screen.master)
    talk.say("R\n")
    assert talk.line() == f"r {packed(raw_of(before)).hex()} {packed(before).hex()}"
    assert talk.line() == "W 24 80"
    assert packed(screen.modes()) == packed(raw_of(before))
    talk.say("R\n")  # again: nothing changes, the answer is the same
    assert talk.line() == f"r {packed(raw_of(before)).hex()} {packed(before).hex()}"
    talk.say("K\n")
    until(lambda: screen.modes() == before, "the terminal to be cooked")
    talk.say("R\nX 5\n")
    assert screen.wait() == 5
    assert screen.modes() == before


def test_raw_mode_without_a_terminal_is_answered_too(fake, front):
    process = fake.start(front)
    talk = fake.meet()
    talk.say("R\n")
    assert (talk.line(), talk.line()) == ("r  ", "W 0 0")
    talk.exit(0)
    assert finish(process) == (0, b"", b"")


def test_when_the_background_process_dies_the_terminal_is_put_in_order(fake, front):
    screen = fake.pty(front)
    talk = fake.meet()
    talk.say("R\n")
    talk.line()
    talk.say(f"O {b'old'.hex()}\nO {b'!reset!'.hex()}\n")
    talk.close()
    assert screen.wait() == 255
    assert bytes(screen.seen) == b"!reset!" + NOBODY_LEFT
    assert screen.modes() == screen.modes_at_start


def test_nothing_is_reset_where_nothing_was_set(fake, front):
    screen = fake.pty(front)
    talk = fake.meet()
    talk.say(f"R\nO {b'old'.hex()}\nO \n")
    talk.line()
    talk.close()
    assert screen.wait() == 255
    assert bytes(screen.seen) == NOBODY_LEFT


def test_a_hang_up_is_told(fake, front):
    screen = fake.pty(front)
    talk = fake.meet()
    talk.say("R\n")
    talk.line()
    os.close(os.dup(screen.master))
    os.kill(talk.pid, signal.SIGHUP)
    assert talk.line() == "W 24 80"
    assert talk.line() == "S HUP"


# --------------------------------------------------------------------------------- stopping, going on


def test_it_stops_when_our_typing_is_left_alone_and_goes_on(fake, front):
    screen, control, talk = fake.shell(front)
    talk.say("R\n")
    assert (talk.line()[0], talk.line()) == ("r", "W 24 80")
    os.kill(talk.pid, signal.SIGTSTP)
    assert talk.line() == "P"
    assert state_of(talk.pid) != "T"
    assert screen.is_raw()
    talk.say("p\n")
    until_stopped(talk.pid)
    assert screen.modes() == screen.modes_at_start
    screen.resize(40, 90)
    control.write("fg\n")
    lines = {talk.line(), talk.line()}  # the size is told twice: it changed, too
    assert lines == {"C 40 90", "W 40 90"}
    talk.say("R\n")
    assert talk.line()[0] == "r"
    assert screen.is_raw()
    talk.exit(4)
    control.close()
    assert screen.wait() == 4
    assert screen.modes() == screen.modes_at_start


def test_it_stops_and_goes_on_again_and_again(fake, front):
    _, control, talk = fake.shell(front)
    for _ in range(5):
        os.kill(talk.pid, signal.SIGTSTP)
        assert talk.line() == "P"
        talk.say("p\n")
        until_stopped(talk.pid)
        control.write("fg\n")
        assert talk.line() == "C 24 80"


def test_it_stops_without_an_answer_too(fake, front):
    _, control, talk = fake.shell(front)
    os.kill(talk.pid, signal.SIGTSTP)
    assert talk.line() == "P"
    until_stopped(talk.pid)
    talk.say("p\n")  # late
    control.write("fg\n")
    assert talk.line() == "C 24 80"
    os.kill(talk.pid, signal.SIGUSR1)
    assert talk.line() == "S USR1"


def test_the_background_process_may_ask_it_to_stop(fake, front):
    screen, control, talk = fake.shell(front)
    talk.say("R\n")
    assert (talk.line()[0], talk.line()) == ("r", "W 24 80")
    talk.say("K\nZ\n")
    assert talk.line() == "P"
    talk.say("p\n")
    until_stopped(talk.pid)
    assert screen.modes() == screen.modes_at_start
    control.write("fg\n")
    assert talk.line() == "C 24 80"


def test_in_the_background_it_says_so_and_when_it_is_back(fake, front):
    screen, control, talk = fake.shell(front)
    talk.say("R\n")
    assert (talk.line()[0], talk.line()) == ("r", "W 24 80")
    os.kill(talk.pid, signal.SIGTSTP)
    assert talk.line() == "P"
    talk.say("p\n")
    until_stopped(talk.pid)
    control.write("bg\n")
    assert talk.line() == "F 0"
    talk.say("K\n")  # not ours to change now
    control.write("fg\n")
    assert talk.line() == "C 24 80"  # not only "F 1": the terminal has to be made raw again
    talk.say("R\n")
    assert talk.line()[0] == "r"
    assert screen.is_raw()


def test_started_in_the_background_it_says_so_and_when_it_is_in_front(fake, front):
    _, control, talk = fake.shell(front, foreground=False)
    assert talk.in_front == b"0"
    control.write("fg\n")
    assert talk.line() == "F 1"


def test_raw_mode_in_the_background_waits_for_the_foreground(fake, front):
    screen, control, talk = fake.shell(front, foreground=False)
    talk.say("R\n")
    until_stopped(talk.pid)
    assert screen.modes() == screen.modes_at_start
    control.write("fg\n")
    assert talk.line()[0] == "r"
    assert screen.is_raw()


def test_the_end_may_come_instead_of_the_leave_to_stop(fake, front):
    screen, control, talk = fake.shell(front)
    os.kill(talk.pid, signal.SIGTSTP)
    assert talk.line() == "P"
    talk.exit(6)
    control.close()
    assert screen.wait() == 6


def test_what_is_said_before_the_leave_to_stop_is_done_first(fake, front):
    screen, control, talk = fake.shell(front)
    os.kill(talk.pid, signal.SIGTSTP)
    assert talk.line() == "P"
    talk.say("R\np\nO 41\n")
    assert talk.line()[0] == "r"
    until_stopped(talk.pid)
    assert screen.modes() == screen.modes_at_start
    assert talk.line() == "W 24 80"
    control.write("fg\n")
    assert talk.line() == "C 24 80"
    talk.close()
    control.close()
    assert screen.wait() == 255
    assert bytes(screen.seen) == b"A" + NOBODY_LEFT


def test_where_nothing_can_stop_it_it_goes_on_at_once(fake, front):
    fake.pty(front)
    talk = fake.meet()
    os.kill(talk.pid, signal.SIGTSTP)
    assert talk.line() == "P"
    talk.say("p\n")
    assert talk.line() == "C 24 80"


# ------------------------------------------------------------------------------------ left to Python


def assert_python_ran(fake, process, *words):
    assert finish(process) == (9, b"", b"")
    report = fake.report()
    assert report["argv"][1:] == list(words)
    assert (report["blocked"], report["cwd"]) == ("0" * 16, os.getcwd())
    return report


@pytest.mark.parametrize("value", ["0", "no", "off"])
def test_without_the_user_s_leave_python_does_it(fake, stub_front, value):
    process = fake.start(stub_front, "run", "a b", "", env={**fake.env, "GSHELL_BACKGROUND": value})
    assert_python_ran(fake, process, "run", "a b", "")


def test_with_the_option_python_does_it(fake, stub_front):
    assert_python_ran(
        fake, fake.start(stub_front, "sh", "--no-background"), "sh", "--no-background"
    )


@pytest.mark.parametrize("how", ["missing", "stale", "relay", "no home"])
def test_without_a_background_process_python_does_it(fake, stub_front, how):
    env = dict(fake.env)
    if how == "missing":
        (fake.home / "run/bg.sock").unlink()
    elif how == "stale":
        fake.listener.close()
    elif how == "relay":
        env["GSHELL_RELAY"] = "x" * 300
    else:
        del env["GSHELL_HOME"]
    assert_python_ran(fake, fake.start(stub_front, env=env), "run", "true")


def test_what_is_not_the_background_process_s_affair_python_does(fake, stub_front):
    process = fake.start(stub_front, "run", "--help")
    talk = fake.meet()
    talk.exit(-1)
    report = assert_python_ran(fake, process, "run", "--help")
    assert len(report["fds"]) == 3


def test_one_that_goes_before_it_has_begun_leaves_it_to_python(fake, stub_front):
    process = fake.start(stub_front)
    sock, _ = fake.listener.accept()
    until(lambda: len(sock.recv(4, socket.MSG_PEEK)) == 4, "a hand-over")
    sock.close()  # unread: the other end is told
    assert_python_ran(fake, process, "run", "true")


def test_one_that_goes_after_it_has_begun_does_not(fake, stub_front):
    process = fake.start(stub_front)
    fake.meet().close()
    assert finish(process) == (255, b"", NOBODY_LEFT.replace(b"\r", b""))


@pytest.mark.parametrize("fd", [0, 1, 2])
def test_with_a_descriptor_closed_python_does_it(fake, stub_front, fd):
    closing = ["sh", "-c", f'exec "$@" {fd}<&-', "sh"]
    assert_python_ran(fake, fake.start([*closing, *stub_front]), "run", "true")


def test_an_oversized_environment_is_left_to_python(fake, stub_front):
    import resource

    if resource.getrlimit(resource.RLIMIT_STACK)[1] not in (resource.RLIM_INFINITY,):
        pytest.skip("needs a larger stack limit")
    huge = {f"BIG{n}": "x" * 100_000 for n in range(45)}

    def allow():
        resource.setrlimit(resource.RLIMIT_STACK, (64 << 20, resource.RLIM_INFINITY))

    process = fake.start(stub_front, env={**fake.env, **huge}, preexec_fn=allow)
    assert_python_ran(fake, process, "run", "true")


def test_another_user_s_background_process_is_not_told_anything(fake, stub_front):
    if os.geteuid() != 0:
        pytest.skip("needs root, to listen as somebody else")
    path = fake.home / "run/bg.sock"
    path.unlink()
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            os.seteuid(65534)
            listener.listen(1)
            os.write(told, b"!")
            signal.pause()
        finally:
            os._exit(0)
    try:
        os.read(ready, 1)
        assert_python_ran(fake, fake.start(stub_front), "run", "true")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(told)


def test_what_cannot_be_started_is_said(fake, compiled):
    (fake.home / "run/bg.sock").unlink()
    done = finish(fake.start([compiled, "1", "/not/there"]))
    assert done == (127, b"", b"gshell: cannot start /not/there: No such file or directory\n")


# ------------------------------------------------------------------------------------------ compiling


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A package with the source, and a cache of its own."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: cc")
    data = tmp_path / "site/gshell/data"
    data.mkdir(parents=True)
    shutil.copy(SOURCE, data)
    monkeypatch.setattr(sitepath, "root", lambda: str(tmp_path / "site"))
    monkeypatch.setattr(stub, "NICE", 0)  # of this very process
    monkeypatch.setenv("GSHELL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CC", raising=False)
    return types.SimpleNamespace(data=data, home=tmp_path / "home")


def files(folder):
    return [path.name for path in folder.rglob("*") if not path.is_dir()]


def test_it_is_compiled_once_into_a_private_directory(place):
    assert stub.build()
    there = os.stat(stub.path())
    assert (there.st_mode & 0o777, there.st_uid) == (0o755, os.getuid())
    assert os.stat(place.home / "cache").st_mode & 0o777 == 0o700
    assert stub.build()
    assert os.stat(stub.path()).st_ino == there.st_ino
    assert files(place.home) == ["front-1"]


def test_another_source_is_compiled_anew(place):
    assert stub.build()
    with open(place.data / "front.c", "a") as file:
        file.write("/* changed */\n")
    before = os.stat(stub.path()).st_ino
    keep = os.open(stub.path(), os.O_RDONLY)  # so that its number is not used again
    assert stub.build()
    assert os.stat(stub.path()).st_ino != before
    os.close(keep)


@pytest.mark.parametrize("compiler", ["/not/there", "false", "true", "cc -not-an-option"])
def test_without_a_compiler_that_works_nothing_happens(place, monkeypatch, compiler):
    monkeypatch.setenv("CC", compiler)
    assert not stub.build()
    assert files(place.home) == []


def test_what_does_not_run_here_is_not_installed(place, monkeypatch):
    (place.data / "front.c").write_text("int main(void) { return 1; }\n")
    assert not stub.build()
    assert files(place.home) == []


def test_where_no_archive_is_a_dynamic_one_is_made(place, monkeypatch):
    monkeypatch.setattr(stub, "LINKS", (("-static", "-lnot_there"), ()))
    assert stub.build()


def test_no_error_where_the_cache_cannot_be_written(place, monkeypatch):
    place.home.write_text("a file")
    assert not stub.build()


def test_what_nobody_asks_for_is_removed_in_time(place):
    other = place.home / "cache/front/another-host/gone/front-1"
    other.parent.mkdir(parents=True)
    other.write_text("")
    os.utime(other, (0, 0))
    assert stub.build()
    assert files(place.home) == ["front-1"]
