"""A background process played by the test, and the fronts that hand over to it."""

import contextlib
import json
import os
import pathlib
import socket
import struct
import subprocess
import sys

import gshell
from gshell.net.address import unix_path
from kit.procs import until
from kit.pty import Pty, state_of

PATIENCE_S = 20.0
FRONT = pathlib.Path(gshell.__file__).with_name("front.py")
SOURCE = FRONT.with_name("data") / "front.c"
NOBODY_LEFT = b"gshell: the background process ended; the job goes on\r\n  try:  gshell jobs\r\n"
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


def python_of(script):
    return [sys.executable, "-I", "-S", "-X", "gshell_site=/nowhere", str(script)]


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


def finish(process):
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


def until_stopped(pid):
    until(lambda: state_of(pid) == "T", "the front to stop")
