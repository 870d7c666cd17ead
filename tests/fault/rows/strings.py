"""Hostile strings in every field that is shown, in every place that shows it, inside tmux.

A relay and an agent that lie say them: names, hosts, errors, hints, reasons, notices, what an agent
writes when it leaves. Afterwards the terminal is as it was: title, screen, modes, clipboard, nothing
typed by itself, and not a control character in all that was printed but line ends and our own
colours. Who looks on and who reads a log is shown hostile *output*, which is raw by nature: there no
question and no clipboard may reach the terminal.

Guards `sanitize_all` at the decode boundary (``gshell/net/relaylink.py``,
``gshell/client/conversation.py``) and `LiveFilter`: with the one returning what it was given, or the
other passing all, this fails. The same strings printed raw are the proof that it would be seen.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fault.rows import Finding, Form, Row

from gshell.net import rendezvous
from kit import hostile, hostiledriver
from kit.hostilerelay import USER, Agent, HostileRelay
from kit.procs import until

STRINGS = 300
FLAGS = [
    "pane_title", "window_name", "pane_path", "alternate_on", "cursor_flag", "insert_flag",
    "keypad_flag", "keypad_cursor_flag", "mouse_any_flag", "mouse_button_flag", "mouse_all_flag",
    "mouse_standard_flag", "mouse_sgr_flag", "mouse_utf8_flag", "origin_flag", "wrap_flag",
    "scroll_region_upper", "scroll_region_lower", "pane_in_mode", "pane_width", "pane_height",
    "pane_tabs",
]  # fmt: skip
OURS = re.compile(rb"\x1b\[[0-9;]*m|\r?\n|\r\r\n")  # colours and line ends
NOT_FOR_WATCHERS = re.compile(
    rb"\x05|\x1bZ|\x1b\[(?:[>=]?[0-9;]*c|\??[0-9;]*n)|\x1b\[(?:2[01]|1[0-9])t"
    rb"|\x1b\](?!0*[012789];|133;|777;)[0-9]+;[^\x07\x1b]*\?[\x07\x1b]"
    rb"|\x1b\](?:52|5522)(?![0-9])|\x1bP[0-9;]*[$+]q|\x1b\[\?u|\x1b\[>q|\xc2[\x80-\x9f]|\x1b\[\??5i|\x1bP[0-9;]*\|"
)
STATES = ["ACTIVE", "QUEUED", "FAILED", "COMPLETED"]


class Tmux:
    """A server of our own with one pane, in which a driver runs command lines."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self._env = env
        self._count = 0

    def _socket(self) -> Path:
        """One for each run: a server that is ending would still take the next one's word."""
        return self.folder / f"tmux{self._count}.sock"

    def do(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self._socket()), "-f", "/dev/null", *words],
            env=self._env, capture_output=True, timeout=20, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout.decode(errors="replace")

    def state(self) -> dict[str, str]:
        said = self.do("display-message", "-p", "\x01".join(f"#{{{flag}}}" for flag in FLAGS))
        shown = dict(zip(FLAGS, said.rstrip("\n").split("\x01"), strict=False))
        return {**shown, "clipboard": self.do("list-buffers")}

    def run(self, commands: list[list[str]]) -> tuple[dict[str, str], dict[str, str], bytes, bytes]:
        """(state before, state after, what was printed, what was typed by itself)."""
        self._count += 1
        base = self.folder / f"run{self._count}"
        plan, result, printed = (base.with_suffix(end) for end in (".json", ".done", ".out"))
        go = base.with_suffix(".go")
        plan.write_text(json.dumps(commands))
        driver = [sys.executable, hostiledriver.__file__, str(plan), str(result)]
        # The shell waits until everything printed is seen, and stays for the state afterwards.
        script = f"until [ -e {go} ]; do sleep 0.02; done; {shlex.join(driver)}; exec sleep 1000"
        self.do("new-session", "-d", "-x", "500", "-y", "50", "-n", "before", script)
        try:
            self.do("set-option", "-g", "set-clipboard", "on")
            self.do("set-option", "-g", "allow-passthrough", "on")
            self.do("set-option", "-g", "allow-rename", "on")
            self.do("set-buffer", "-b", "mine", "what was copied before")
            self.do("select-pane", "-T", "before")
            self.do("pipe-pane", "-o", f"cat > {printed}")
            before = self.state()
            go.touch()
            until(result.exists, "the commands to end", 60, lambda: self.do("capture-pane", "-p"))
            end = hostiledriver.END.encode()
            until(lambda: printed.exists() and end in printed.read_bytes(), "what was printed", 20)
            after = self.state()
        finally:
            self.do("kill-server")
        shown = printed.read_bytes().partition(end)[0]
        return before, after, shown, bytes.fromhex(json.loads(result.read_text())["typed"])


class Liar:
    """What the relay and the agent say: each string in each field."""

    def __init__(self, relay: HostileRelay, strings: list[str]) -> None:
        self.strings = strings
        self.turn = itertools.cycle(strings)
        self.said = 0
        relay.answer = self.answer
        relay.meet = self.meet
        relay.serve = self.serve
        self.output = b""
        self.groups = itertools.cycle(
            ["".join(strings[at : at + 15]) for at in range(0, len(strings), 15)]
        )

    def next(self) -> str:
        self.said += 1
        return next(self.turn)

    def answer(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        kind, re_ = message.get("m"), message.get("id")
        if kind == "hello":
            s = self.next()
            return [{"m": "welcome", "user": s, "now": 0, "mac_id": s, "mac_key": "", "version": s}]
        if kind == "jobs":
            return [{"re": re_, "ok": True, "jobs": [self.job(n, s) for n, s in self.all()]}]
        if kind == "agents":
            return [{"re": re_, "ok": True, "agents": [self.agent(n, s) for n, s in self.all()]}]
        if kind == "await":
            why = [{"m": "queue", "att": s, "job": s, "ahead": 1, "why": s} for _, s in self.all()]
            return [*why, self.no(re_)]
        if kind == "whoami":
            s = self.next()
            return [{"re": re_, "ok": True, "user": s, "role": s, "relay": s}]
        if kind == "ticket":
            fields = {"kind": "agent", "user": self.next(), "relays": [self.next()]}
            return [{"re": re_, "ok": True, "ticket": fields}]
        return [self.no(re_)]

    def no(self, re_: object) -> dict[str, Any]:
        s = self.next()
        return {"re": re_, "ok": False, "code": s, "message": s, "hint": s}

    def all(self) -> Iterator[tuple[int, str]]:
        self.said += len(self.strings)
        return enumerate(self.strings)

    def job(self, n: int, s: str) -> dict[str, Any]:
        s = s[:300]  # a table as wide as its longest cell would be cut at the pane's edge anyway
        odd = n % 7 == 3  # and where a number or a list should be
        return {
            "id": s, "name": s, "user": s, "state": s if n % 2 else STATES[n % 4], "agents": [s],
            "hosts": s if odd else [s, s], "size": s, "tasks": s if odd else 3, "pty": s,
            "argv0": s, "created_at": s if odd else n, "started_at": s if odd else n, "ended_at": None,
            "code": s, "signal": s if odd else n % 70, "error": s, "watchers": 2, "attached": s,
            s: s,
        }  # fmt: skip

    def agent(self, n: int, s: str) -> dict[str, Any]:
        s = s[:300]
        odd = n % 7 == 3
        return {
            "id": s, "host": s, "user": s, "cpus": s, "memory_bytes": s if odd else 10**n,
            "tags": s if odd else [s, {s: s}], "slots": s, "free": s, "state": s,
            "since": s if odd else n, "pid": s, "version": s, s: s,
        }  # fmt: skip

    def meet(self, body: dict[str, Any]) -> bytes | None:
        if body["op"] == "open":
            return rendezvous.refusal("queued" if body["tasks"] == 2 else "none")
        return None

    def serve(self, agent: Agent) -> None:
        s = next(self.groups)
        self.said += 15
        job = agent.body.get("job")
        welcome = {
            "job": s if job == "2" else "1", "index": 0, "size": 1, "state": "running",
            "writer": job not in ("4", "5"), "pty": True, "tasks": 1, "name": s,
            "start": {"3": 0}, "live": {"3": len(self.output) if job == "5" else 0},
        }  # fmt: skip
        output = self.output if job in ("4", "5") else b""
        agent.greet(welcome, output)
        if job == "1":
            self.said += len(self.strings)
            agent.say(*({"t": "notice", "text": text} for text in self.strings))
        if job == "3":
            agent.bye(s[:60], s)
        else:
            agent.say({"t": "exit", "rank": 0, "code": 1, "signal": None, "core": False,
                       "final": {"3": len(output)}, "error": s if job not in ("4", "5") else None})  # fmt: skip
        agent.listen()


def places(strings: list[str]) -> list[list[str]]:
    """Command lines that show what the relay and the agent say."""
    groups = (len(strings) + 14) // 15
    each = len(strings)
    ids = [str(n) for n in range(each)]
    commands: list[list[str]] = [["jobs"], ["jobs", "-a"], ["jobs", "-q"], ["jobs", "--json"]]
    commands += [["agents"], ["agents", "-q"], ["agents", "--json"], ["--color", "always", "jobs"]]
    commands += [["cancel", *ids], ["kill", "-s", "USR1", *ids]]
    commands += [["whoami"]] * (each // 2) + [["whoami", "--json"]] * (each - each // 2)
    commands += [["agent", "ticket", "/nowhere/x"], ["doctor"], ["doctor", "--json"]]
    commands += [["run", "-n", "2", "-t", "--", "true"]]  # queued: reasons, then a no
    commands += [["run", "-t", "--", "true"]] * 10  # refused: why
    commands += [["attach", "1"]] + [["attach", "2"]] * groups + [["attach", "3"]] * groups
    commands += [
        ["attach", f"-e{text[:20]}", text] for text in strings if text and "\0" not in text
    ][:60]
    commands += [[text] for text in strings if text and "\0" not in text and text[0] != "-"][:60]
    commands += [["login", f"gshell://{text}/{'0' * 64}#{text}"] for text in strings][:60]
    return commands


def wrong(before: dict[str, str], after: dict[str, str], typed: bytes) -> list[str]:
    changed = [f"{k}: {before[k]!r} -> {after[k]!r}" for k in before if before[k] != after[k]]
    return changed + ([f"typed by itself: {typed!r}"] if typed else [])


def dirty(printed: bytes) -> list[str]:
    """Control characters that are not ours, with what is around them."""
    rest = OURS.sub(b"", printed).decode("utf-8", "replace")
    unseen = "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]"
    bad = list(re.finditer(unseen, rest))
    return [repr(rest[max(0, m.start() - 60) : m.end() + 30]) for m in bad[:5]]


@contextlib.contextmanager
def lab(form: Form) -> Iterator[tuple[Tmux, Liar, list[str]]]:
    folder = Path(tempfile.mkdtemp(prefix="gsh-strings-"))
    strings = hostile.strings(STRINGS, form.seed)
    tests = Path(__file__).parents[2]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GSHELL_", "TMUX"))}
    env |= {
        "GSHELL_HOME": str(folder / "home"), "GSHELL_BACKGROUND": "0", "LC_ALL": "C.UTF-8",
        "PYTHONPATH": f"{tests.parent}:{tests}", "PYTHONDONTWRITEBYTECODE": "1",
        "TERM": "screen-256color", "SHELL": "/bin/sh",
    }  # fmt: skip
    try:
        with HostileRelay(folder / "relay") as relay:
            relay.install(folder / "home")
            yield Tmux(folder, env), Liar(relay, strings), strings
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(form: Form) -> list[Finding]:
    began = time.monotonic()
    with lab(form) as (tmux, liar, strings):
        shown = places(strings)
        if not form.full:
            shown = [words for words in shown if words[0] != "whoami"] + [["whoami"]] * 40
        before, after, printed, typed = tmux.run(shown)
        problems = wrong(before, after, typed) + dirty(printed)
        crashed = printed.count(b"CRASHED")
        took = f"{len(strings)} strings, {liar.said} times in {len(shown)} commands"
        assert liar.said > 5 * len(strings), "the relay was not asked"
        fields = Finding(
            f"hostile strings in every field shown, in tmux ({USER}'s relay and agent lie)",
            f"{took}, seed {form.seed}",
            f"{len(problems)} changes of the terminal, {crashed} tracebacks",
            "terminal unchanged, nothing typed, no control character printed",
            not problems and not crashed,
            "\n".join([*problems, *re.findall("CRASHED.*", printed.decode(errors="replace"))][:20]),
        )

        raw = [text.encode("utf-8", "surrogatepass") for text in strings]
        liar.output = b"\r\n".join(raw) + b"\x18\r\n"
        before, after, printed, typed = tmux.run([["attach", "--read-only", "4"], ["logs", "5"]])
        reached = [m.group() for m in NOT_FOR_WATCHERS.finditer(printed)]
        same = before["clipboard"] == after["clipboard"] and not typed and not reached
        output = Finding(
            "hostile output, shown to who looks on and who reads the log",
            f"{len(strings)} strings each",
            f"{len(reached)} questions or clipboards reached the terminal",
            "none; clipboard as it was",
            same and len(printed) > 10_000,
            f"{before['clipboard']!r} -> {after['clipboard']!r} {typed!r} {reached[:5]} {len(printed)}",
        )

        before, after, printed, typed = tmux.run([["raw", *strings]])
        seen = wrong(before, after, typed)
        proof = Finding(
            "the same strings printed as they are: is harm seen?",
            f"{len(strings)} strings",
            f"{len(seen)} changes, {len(typed)} bytes typed by themselves",
            "changes and typing are noticed",
            len(seen) > 2 and len(typed) > 20 and bool(dirty(printed)),
            f"{seen} after {time.monotonic() - began:.0f} s",
        )
    return [fields, output, proof]


ROW = Row("strings", measure, needs="tmux", short_s=25.0)
