"""The embedded default: a private relay and a local agent for this user, started when first needed.

The background process supervises both: starts again whichever dies, ends both when it goes. If it
was killed itself they go on, with all their jobs, and the next one takes them over.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from typing import Union

from gshell import config, sitepath
from gshell.client import adopted
from gshell.client.adopted import Adopted
from gshell.errors import GshellError
from gshell.model.ticket import Ticket
from gshell.net import address
from gshell.net.loop import Loop
from gshell.net.machine import core_dumps_as_before, user_name

START_S = 30.0  # the very first time keys are made; a loaded machine takes its time
BACKOFF_S = (0.0, 0.2, 1.0, 5.0)
STOP_S = 20.0  # an agent gives its steps five seconds, and the archive ten


Process = Union["subprocess.Popen[bytes]", Adopted]


def relay_address() -> str:
    return f"unix:{config.runtime_dir()}/relay.sock"


def relay_user(name: str) -> str:
    """``name`` as one that a relay takes: those of directory services have other letters.

    >>> relay_user("DOMAIN\\\\bob"), relay_user("-é")
    ('DOMAIN_bob', '__')
    """
    fit = "".join(c if c.isascii() and (c.isalnum() or c in "_.@-") else "_" for c in name)[:64]
    return fit if fit[:1].isalnum() else "_" + fit[1:]


class Supervisor:
    """Owns the two processes. Invariant: there is one of each at most, whoever started it."""

    def __init__(self) -> None:
        self._relay: Process | None = None
        self._agent: Process | None = None
        self._deaths = {"relay": 0, "agent": 0}
        self._loop: Loop | None = None
        self._stopping = False

    def start(self) -> Ticket:
        """Both, and wait until the agent is registered.

        Raises:
            GshellError: one of them cannot run; its words.
        """
        config.private_dir(config.runtime_dir())
        config.private_dir(config.embedded_dir())
        self._relay = self._start_relay()
        self._agent = self._start_agent()
        ticket = config.embedded_ticket()
        if ticket is None:
            raise GshellError("the private relay made no ticket", hint="gshell doctor")
        return ticket

    def adopt(self) -> bool:
        """Take over what runs without starting anything; whether that was something."""
        self._relay, self._agent = adopted.find("relay"), adopted.find("agent")
        return self._relay is not None or self._agent is not None

    def _start_relay(self) -> Process:
        return self._start("relay")

    def _start_agent(self) -> Process:
        return self._start("agent")

    def _argv(self, name: str) -> tuple[list[str], list[str]]:
        """(the command, what goes before the number of the descriptor to say "ready" on)."""
        return self._agent_argv() if name == "agent" else self._relay_argv()

    def _relay_argv(self) -> tuple[list[str], list[str]]:
        script = os.path.join(sitepath.root(), "relay", "embedded.py")
        argv = [
            *sitepath.interpreter(),
            script,
            config.embedded_dir(),
            relay_address(),
            relay_user(user_name()),
        ]
        return argv, []

    def _agent_argv(self) -> tuple[list[str], list[str]]:
        script = os.path.join(sitepath.root(), "gshell", "agent", "__main__.py")
        argv = [
            *sitepath.interpreter(),
            script,
            "--ticket",
            config.embedded_dir() + "/agent.ticket",
        ]
        argv += ["--spool", config.private_dir(config.embedded_dir() + "/spool")]
        return argv, ["--ready-fd"]

    def _start(self, name: str) -> Process:
        """The one that runs, or a new one; waits until it serves."""
        there = adopted.find(name)
        if there is not None and (name != "relay" or _serves(there)):
            return there
        process, reads = self._spawn(name)
        try:
            said = _wait_ready(reads, time.monotonic() + START_S)
        finally:
            os.close(reads)
        return self._begun(name, process, said)

    def _spawn(self, name: str) -> tuple[subprocess.Popen[bytes], int]:
        """A new process, and the pipe on which it will say that it serves."""
        argv, ready = self._argv(name)
        reads, writes = os.pipe()
        log = os.open(
            f"{config.embedded_dir()}/{name}.out",
            os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC,
            0o600,
        )
        try:
            with core_dumps_as_before():  # an agent hands it on to the user's programs
                process = subprocess.Popen(
                    [*argv, *ready, str(writes)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(writes,),
                    start_new_session=True,
                    cwd="/",
                )
        except OSError as error:
            os.close(reads)
            raise GshellError(f"cannot start the private {name}: {error.strerror}") from None
        finally:
            os.close(writes)
            os.close(log)
        # At once: should we be killed before it serves, nobody else would know whom to end.
        adopted.remember(name, process.pid)
        return process, reads

    def _begun(self, name: str, process: subprocess.Popen[bytes], said: str) -> Process:
        """It has said what it had to say, or its time is up."""
        if said != "ready":
            process.terminate()
            with open(f"{config.embedded_dir()}/{name}.out", errors="replace") as file:
                words = said or file.read()[-500:].strip() or "it ended without a word"
            raise GshellError(f"the private {name} did not start: {words}", hint="gshell doctor")
        return process

    def attach(self, loop: Loop) -> None:
        """Watch over them from now on."""
        self._loop = loop
        self._watch("relay", self._relay)
        self._watch("agent", self._agent)

    def _watch(self, name: str, process: Process | None) -> None:
        loop = self._loop
        if process is None or loop is None:
            return
        try:
            fd = os.pidfd_open(process.pid)
        except ProcessLookupError:  # it has ended, and somebody has taken its status
            self._again(name)
            return

        def ended(mask: int) -> None:
            loop.remove(fd)
            os.close(fd)
            process.wait()
            self._again(name)

        loop.add(fd, select.EPOLLIN, ended)

    def _again(self, name: str) -> None:
        if self._loop is not None and not self._stopping:
            count = self._deaths[name]
            self._deaths[name] += 1
            wait = BACKOFF_S[min(count, len(BACKOFF_S) - 1)]
            self._loop.later(wait, lambda: self._restart(name))

    def _restart(self, name: str) -> None:
        """Start it again without waiting: sessions of others go on meanwhile."""
        loop = self._loop
        if self._stopping or loop is None:
            return
        there = adopted.find(name)
        if there is not None:
            self._has(name, there)
            return
        try:
            process, reads = self._spawn(name)
        except GshellError:
            loop.later(BACKOFF_S[-1], lambda: self._restart(name))
            return
        self._set(name, process)  # so that `stop` ends it, too
        said: list[bytes] = []

        def over() -> None:
            loop.remove(reads)
            os.close(reads)
            timer.cancel()
            text = b"".join(said).decode(errors="replace").strip()
            if self._stopping:
                return
            try:
                self._has(name, self._begun(name, process, text))
            except GshellError:
                process.kill()  # a second process would find the first one's lock
                self._watch(name, process)  # its end is the next attempt

        def heard(mask: int) -> None:
            data = os.read(reads, 4096)
            said.append(data)
            if not data or data.endswith(b"\n"):
                over()

        loop.add(reads, select.EPOLLIN, heard)
        timer = loop.later(START_S, over)

    def _set(self, name: str, process: Process) -> None:
        if name == "relay":
            self._relay = process
        else:
            self._agent = process

    def _has(self, name: str, process: Process) -> None:
        self._set(name, process)
        self._watch(name, process)

    def nothing_lives(self) -> bool:
        """No job is queued or runs: nobody would miss us."""
        from gshell.net.relaylink import ask

        ticket = config.embedded_ticket()
        if ticket is None:
            return True
        try:
            return not ask(ticket, {"m": "jobs", "all": False}).get("jobs")
        except GshellError:
            return False

    def stop(self) -> None:
        """End both: the agent first, it has steps to end."""
        self._stopping = True
        for process in (self._agent, self._relay):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _serves(relay: Adopted) -> bool:
    """Wait for one that was just being started when who started it was killed; False: it ended.

    Raises:
        GshellError: it does not serve.
    """
    end = time.monotonic() + START_S
    while relay.poll() is None:
        if config.embedded_ticket() is not None and _answers():
            return True
        if time.monotonic() > end:
            raise GshellError("the private relay does not answer", hint="gshell stop --force")
        time.sleep(0.02)  # another process's start: nothing tells us of it
    return False


def _answers() -> bool:
    try:
        sock, _ = address.start_connect(relay_address())
    except OSError:
        return False
    sock.close()
    return True


def _wait_ready(fd: int, until: float) -> str:
    """What is written there until it is closed, or the time is up."""
    said = b""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while poll.poll(max(0.0, until - time.monotonic()) * 1000):
        data = os.read(fd, 4096)
        if not data:
            break
        said += data
        if said.endswith(b"\n"):
            break
    return said.decode(errors="replace").strip()
