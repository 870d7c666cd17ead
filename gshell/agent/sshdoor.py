"""The agent's side of the stock-SSH door (gshell/net/SSH.md): admits connections that the relay
announced, and hands them to a server process that speaks SSH. Understands none of it itself.

That process (`gshell.sshd`) needs a library that this one has not; it is started when the first
connection comes, and stays.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from gshell import sitepath
from gshell.net import sshline
from gshell.net.loop import IN, Loop

if TYPE_CHECKING:
    from gshell.agent.session import Session
    from gshell.net.loop import Timer

EXPECT_WAIT_S = 2.0  # as for other clients: the relay's word may come after them
BEGIN_S = 30.0  # until it is served: a first start on a busy node, and the relay's certificate
CERT_S = 12 * 3600.0  # a host certificate is asked for anew when it is older: half its life
MOST_BYTES = 1 << 16  # of a message to or from the server
AT_ONCE = 64  # connections
SERVICE = "ssh"
_PROGRAM = "import sys; sys.path.append(sys.argv[1]); import gshell.sshd.main as m; m.main()"

log = logging.getLogger("gshell.agent")


class Host(Protocol):
    """Who has it: the agent."""

    loop: Loop

    def say(self, message: dict[str, Any]) -> None:
        """To the broker, if it is there."""

    def take_expected(self, att: str) -> dict[str, Any] | None:
        """What the relay announced of this opening, once."""

    def find(self, step: str) -> Session | None: ...

    def ssh_lane(self, visit: Visit, began: bool) -> None:
        """A terminal was opened in it, or it ended."""


class Visit:
    """One SSH connection. What the lanes want to know of a step is here, too."""

    lane = "interactive"
    loss: float | None = None

    def __init__(self, sock: socket.socket, att: str) -> None:
        self.sock: socket.socket | None = sock
        """Until the server has it."""
        self.att = att
        self.expect: dict[str, Any] = {}
        """What the relay said of it, once it has."""
        self.pid = 0
        self.began_at = 0.0
        self.terminal = False
        self.timer: Timer | None = None

    def pids(self) -> list[int]:
        return [self.pid] if self.pid else []

    @property
    def step(self) -> tuple[str, int]:
        return str(self.expect.get("job")), int(self.expect.get("index", 0))


class SshDoor:
    """Invariant: every visit is waiting for the relay's word, or for the server, or is the
    server's; in the last two cases the relay was told that it started."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loop = host.loop
        self._unannounced: dict[str, Visit] = {}
        self.visits: dict[str, Visit] = {}
        self._ready: list[Visit] = []  # announced, not yet the server's
        self._process: subprocess.Popen[bytes] | None = None
        self._server: socket.socket | None = None
        self._key = ""  # the server's public key, once it is up
        self._certified: dict[str, Any] = {}  # the relay's last word about it
        self._certified_at = 0.0
        self._asked = False
        self.missing = ""
        """Why there cannot be a server here, once that is known."""

    # -- a connection comes

    def arrived(self, sock: socket.socket, data: bytes) -> None:
        """A data connection that began with ``data``, which is no TLS."""
        att = sshline.parse_hello(data)
        if not att:
            sock.close()
            return
        visit = Visit(sock, att)
        if not self._tell(visit, sshline.WAIT):
            return
        visit.timer = self._loop.later(EXPECT_WAIT_S, lambda: self._unknown(visit))
        self._unannounced[att] = visit
        self.announced(att)

    def announced(self, att: str) -> None:
        """The relay has said something of this one."""
        visit = self._unannounced.get(att)
        if visit is None:
            return
        expect = self._host.take_expected(att)
        if expect is None:
            return
        del self._unannounced[att]
        self._cancel_timer(visit)
        visit.expect = expect
        if expect.get("op") != "open" or expect.get("service") != SERVICE or att in self.visits:
            self._drop(visit, "this opening is for something else")
            return
        visit.began_at = time.time()
        self.visits[att] = visit
        self._say(visit, "started", {
            "spec_name": SERVICE, "argv0": SERVICE, "pty": False, "tasks": 1, "archive": False,
            "at": visit.began_at, "lane": "batch", "att": att, "service": SERVICE,
            "beside": str(expect.get("beside") or ""),
        })  # fmt: skip
        if len(self.visits) > AT_ONCE:
            self._refuse(visit, f"{AT_ONCE} SSH connections are here already")
            return
        self._ready.append(visit)
        visit.timer = self._loop.later(BEGIN_S, lambda: self._refuse(visit, "sshd does not start"))
        self._go_on()

    def _unknown(self, visit: Visit) -> None:
        if self._unannounced.get(visit.att) is visit:
            del self._unannounced[visit.att]
            self._drop(visit, "the relay did not announce this connection")

    # -- the server

    def _go_on(self) -> None:
        """Hand over who waits, as soon as there is a server with a certificate for its name."""
        if not self._ready:
            return
        if self.missing:
            for visit in self._ready[:]:
                self._refuse(visit, self.missing)
            return
        if self._server is None:
            self._start()
        if not self._key:
            return
        old = time.time() - self._certified_at > CERT_S
        for visit in self._ready[:]:
            if not self._certified or old or not self._is_named(visit):
                self._certify()
                return
            self._hand_over(visit)

    def _is_named(self, visit: Visit) -> bool:
        beside = str(visit.expect.get("beside") or "")
        job, _, index = beside.partition(".")
        return not beside or f"job{job}.{int(index or 0)}" in self._certified.get("names", ())

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        argv = [*sitepath.interpreter(), "-c", _PROGRAM, sitepath.root(), str(theirs.fileno())]
        try:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()], start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            ours.close()
            log.error("sshd: %s", error)
            for visit in self._ready[:]:
                self._refuse(visit, f"sshd cannot be started: {error.strerror}")
            return
        finally:
            theirs.close()
        self._server = ours
        self._loop.add(ours.fileno(), IN, lambda mask: self._heard())

    def _heard(self) -> None:
        assert self._server is not None
        try:
            data = self._server.recv(MOST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._server_lost()
            return
        message = json.loads(data)
        kind, visit = message.get("m"), self.visits.get(str(message.get("att")))
        if kind == "ready":
            self._key = str(message["key"])
            self._go_on()
        elif kind == "missing":
            python = sys.executable
            self.missing = (
                f"no SSH server at this agent: {python} there has no {message.get('what')} "
                f"({python} -m pip install asyncssh); gshell sh, put, get, fwd need none"
            )
            log.warning("%s", self.missing)
            self._go_on()
        elif kind == "serves" and visit is not None:
            visit.pid = int(message["pid"])
        elif kind == "terminal" and visit is not None and not visit.terminal:
            visit.terminal = True
            self._host.ssh_lane(visit, True)
        elif kind == "ended" and visit is not None:
            self._ended(visit, "")

    def _server_lost(self) -> None:
        assert self._server is not None
        assert self._process is not None
        self._loop.remove(self._server.fileno())
        self._server.close()
        self._server, self._key = None, ""
        try:
            self._process.wait(1.0)  # it has closed its end: it is about to
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        log.warning("sshd ended with status %s", self._process.returncode)
        for visit in list(self.visits.values()):
            if visit.sock is not None:
                self._refuse(visit, "sshd failed there; see the agent's log")
            else:
                self._ended(visit, "its sshd ended")

    def _certify(self) -> None:
        if not self._asked:
            self._asked = True
            self._host.say({"m": "ssh-host", "key": self._key})
            self._loop.later(BEGIN_S / 2, self._ask_again)

    def _ask_again(self) -> None:
        """A relay that was away has not heard it."""
        if self._asked:
            self._asked = False
            self._go_on()

    def on_host(self, message: dict[str, Any]) -> None:
        """The relay has signed our server's key, or will not."""
        self._asked = False
        if message.get("ok") is not True:
            why = str(message.get("message") or "no reason given")
            for visit in self._ready[:]:
                self._refuse(visit, f"the relay did not certify this agent's SSH key: {why}")
            return
        names = message.get("names")
        self._certified = {"cert": str(message["cert"]), "ca": str(message["ca"]),
                           "names": list(names) if isinstance(names, list) else []}  # fmt: skip
        self._certified_at = time.time()
        for visit in self._ready[:]:
            if self._is_named(visit):
                self._hand_over(visit)
            else:  # it has ended meanwhile
                self._refuse(visit, sshline.REFUSED["gone"])

    def _hand_over(self, visit: Visit) -> None:
        assert self._server is not None
        neighbour = None
        beside = str(visit.expect.get("beside") or "")
        if beside:
            neighbour = self._host.find(beside)
            if neighbour is None:
                self._refuse(visit, sshline.REFUSED["gone"])
                return
        pid = neighbour.pid() if neighbour is not None else 0
        message = {
            "m": "serve", "att": visit.att, "user": visit.expect["user"],
            "cert": self._certified["cert"], "ca": self._certified["ca"],
            "env": _environment(neighbour, pid) if neighbour is not None else {}, "beside": pid,
        }  # fmt: skip
        self._ready.remove(visit)
        self._cancel_timer(visit)
        sock = visit.sock
        assert sock is not None
        if not self._tell(visit, sshline.OK):
            return
        visit.sock = None
        try:
            socket.send_fds(self._server, [json.dumps(message).encode()], [sock.fileno()])
        except OSError as error:
            log.error("sshd: %s", error)
            self._ended(visit, "its sshd takes no more")
        finally:
            sock.close()

    # -- the end

    def _tell(self, visit: Visit, line: bytes) -> bool:
        """Into an empty socket; False: the other side has gone, and so is the visit."""
        assert visit.sock is not None
        try:
            visit.sock.send(line)
        except OSError:
            visit.sock.close()
            visit.sock = None
            self._ended(visit, "")
            return False
        return True

    def _drop(self, visit: Visit, why: str) -> None:
        """Before the relay knows of it as begun."""
        sock, visit.sock = visit.sock, None
        if sock is None:
            return
        try:
            sock.send(sshline.refusal(why))
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        sock.close()

    def _refuse(self, visit: Visit, why: str) -> None:
        self._drop(visit, why)
        self._ended(visit, why)

    def _ended(self, visit: Visit, error: str) -> None:
        self._cancel_timer(visit)
        if visit in self._ready:
            self._ready.remove(visit)
        if self.visits.get(visit.att) is not visit:
            return
        del self.visits[visit.att]
        if visit.terminal:
            self._host.ssh_lane(visit, False)
        self._say(visit, "ended", {
            "code": 1 if error else 0, "signal": None, "at": time.time(), "error": error or None,
            "archive": False, "started": True, "phase": "run", "stopped": False,
        })  # fmt: skip

    @staticmethod
    def _cancel_timer(visit: Visit) -> None:
        if visit.timer is not None:
            visit.timer.cancel()
            visit.timer = None

    def _say(self, visit: Visit, what: str, more: dict[str, Any]) -> None:
        job, index = visit.step
        attempt = visit.expect.get("attempt", 1)
        self._host.say({"m": what, "job": job, "index": index, "attempt": attempt, **more})

    def end(self, att: str, why: str) -> bool:
        """The right to be here has gone; was it one of ours?"""
        waiting = self._unannounced.pop(att, None)
        if waiting is not None:
            self._cancel_timer(waiting)
            self._drop(waiting, why)
            return True
        visit = self.visits.get(att)
        if visit is None:
            return False
        if visit.sock is not None:
            self._refuse(visit, why)
        elif visit.pid:
            _kill(visit.pid)
        elif self._server is not None:  # it has not said which process that is
            try:
                socket.send_fds(self._server, [json.dumps({"m": "end", "att": att}).encode()], [])
            except OSError as error:  # it has just ended, and all that it served: we shall see
                log.info("sshd: %s", error)
        return True

    def end_job(self, job: str) -> None:
        for visit in list(self.visits.values()):
            if visit.step[0] == job:
                self.end(visit.att, "canceled")

    def end_all(self) -> None:
        for visit in list(self.visits.values()):
            self.end(visit.att, "the agent was stopped")

    def summaries(self) -> list[dict[str, Any]]:
        """SESSIONs of `hello`."""
        return [
            {"job": visit.step[0], "index": visit.step[1], "size": 1, "user": visit.expect["user"],
             "state": "running", "name": SERVICE, "argv0": SERVICE, "pty": False, "archive": False,
             "tasks": 1, "beside": str(visit.expect.get("beside") or ""), "service": SERVICE,
             "lane": "batch", "attempt": visit.expect.get("attempt", 1),
             "started_at": visit.began_at, "ended_at": 0.0, "code": 0, "signal": None,
             "error": None, "started": True, "phase": "run",
             "atts": [{"att": visit.att, "user": visit.expect["user"], "rights": "rw",
                       "live": True, "until": None, "share": "",
                       "cred": str(visit.expect.get("cred") or "")}]}
            for visit in self.visits.values()
        ]  # fmt: skip

    def close(self) -> None:
        """The agent ends: the server sees our end close, and ends with all it serves."""
        if self._server is not None:
            self._loop.remove(self._server.fileno())
            self._server.close()
            self._server = None


def _environment(neighbour: Session, pid: int) -> dict[str, str]:
    """What programs beside a step know of it."""
    env = {"GSHELL_JOB": neighbour.job, "GSHELL_MEMBER": str(neighbour.index)}
    if neighbour.workdir is not None:
        env["GSHELL_WORKDIR"] = neighbour.workdir
    if pid:
        env["GSHELL_BESIDE_PID"] = str(pid)
    return env


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except OSError:
        pass  # it has just ended
