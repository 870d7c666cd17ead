"""A real agent in a process of its own, whose relay is the caller: what starts there, it says."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import gshell
from gshell.model.ticket import Ticket
from gshell.net import control, rendezvous
from kit.hostilerelay import USER, HostileRelay, Message
from relay import auth

ROOT = Path(gshell.__file__).parents[1]
_WELCOME = {"m": "welcome", "park_key": "00" * 32, "spares": 0, "now": 0, "archive": "off"}


def start_message(job: int, argv: list[str], **more: Any) -> Message:
    """A `start`; ``part``: what its spec has as ``job``."""
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), **more.pop("env", {})}
    spec = {"argv": argv, "extra_env": env, "job": more.pop("part", None)}
    return {
        "m": "start",
        "job": str(job),
        "index": 0,
        "size": 1,
        "user": USER,
        "spec": spec,
        **more,
    }


class OneAgent:
    """Use with ``with``. Invariant: the agent and all it started are gone after it."""

    def __init__(self, folder: Path, *options: str, **env: str) -> None:
        self.folder = folder
        self.spool = folder / "spool"
        self._options = options
        self._env = env
        self._wants: list[Message] = []
        self._lock = threading.Lock()
        self.heard: list[Message] = []
        self.relay = HostileRelay(folder / "relay")
        self.relay.answer = self._answer

    def __enter__(self) -> OneAgent:
        self.spool.mkdir()
        ticket = self.folder / "ticket"
        ticket.touch(0o600)
        ticket.write_text(self._ticket().dump())
        main = str(ROOT / "gshell" / "agent" / "__main__.py")
        argv = [sys.executable, main, "--ticket", str(ticket), "--spool", str(self.spool)]
        env = {**os.environ, "PYTHONPATH": str(ROOT), **self._env}
        self.keeper = subprocess.Popen([*argv, *self._options], env=env)
        return self

    def __exit__(self, *_: object) -> None:
        if self.keeper.poll() is None:
            self.keeper.terminate()
            try:
                self.keeper.wait(20)
            except subprocess.TimeoutExpired:
                self.keeper.kill()
                self.keeper.wait(20)
        self.relay.close()

    def say(self, *messages: Message) -> None:
        """Said as soon as the agent has said hello."""
        with self._lock:
            line = self.relay.line
            if line is None or not self.pid:
                self._wants += messages
                return
            for message in messages:
                line.send(control.encode(message))

    @property
    def pid(self) -> int:
        """Of the agent; 0: it has not said hello."""
        return next((int(m["pid"]) for m in self.heard if m["m"] == "hello"), 0)

    def said(self, kind: str) -> list[Message]:
        return [m for m in self.heard if m["m"] == kind]

    def _answer(self, message: Message) -> list[Message]:
        self.heard.append(message)
        with self._lock:
            wants, self._wants = self._wants, []
        return [_WELCOME, *wants] if message["m"] == "hello" else wants

    def _ticket(self) -> Ticket:
        state = str(self.relay.folder)
        made = auth.issue(state, f"gshell:agent:{USER}:n1", agent=True)
        key = rendezvous.client_key(auth.mac_secret(state), made.serial).hex()
        return Ticket("agent", USER, "n1", [self.relay.address], auth.pin(state),
                      auth.ca_text(state), made.cert, made.key, made.serial, key)  # fmt: skip
