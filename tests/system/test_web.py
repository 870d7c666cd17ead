"""A shared job in a real browser: it shows what a terminal shows, types when it may, and no more."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kit.faultproxy import FaultProxy
from kit.procs import Env, until
from kit.pty import Pty

chromium = pytest.importorskip("kit.chromium", reason="needs websockets")
pytestmark = pytest.mark.skipif(chromium.program() is None, reason="no chromium here")

SCREEN = """import('/page.js').then(({screen: {term}}) => {
  const rows = [], buffer = term.buffer.active;
  for (let y = 0; y < term.rows; y++) rows.push(buffer.getLine(buffer.viewportY + y)?.translateToString(true) ?? '');
  return rows.map((row) => row.trimEnd()).join('\\n').trimEnd();
})"""
HISTORY = """import('/page.js').then(({screen: {term}}) => {
  const rows = [], buffer = term.buffer.normal;
  for (let y = 0; y < buffer.length; y++) rows.push(buffer.getLine(y).translateToString(true).trimEnd());
  return rows.join('\\n');
})"""


class Gateway:
    """``gshell web`` as a process of its own."""

    def __init__(self, env: Env, *words: str, listen: str = "127.0.0.1:0") -> None:
        self.env = env
        self.log = env.root / f"web{len(list(env.root.glob('web*.log')))}.log"
        with open(self.log, "wb") as log:
            self.process = env.popen(
                "web", "--listen", listen, *words, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        found = until(
            lambda: re.search(r"http://127\.0\.0\.1:\d+/", self.log.read_text()),
            "the gateway to listen", show=env.logs,
        )  # fmt: skip
        self.url = found[0].rstrip("/")

    @property
    def address(self) -> str:
        return self.url.removeprefix("http://")

    def link(self, job: str, *words: str, via: str = "") -> str:
        done = self.env.gshell("share", job, "-q", "--web", via or self.url, *words)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(15) == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with chromium.chromium() as one:
        yield one


@pytest.fixture(scope="module")
def gateway(relay_env: Env) -> Iterator[Gateway]:
    one = Gateway(relay_env)
    yield one
    one.close()


@pytest.fixture
def look(browser) -> Iterator[Callable[..., object]]:
    """Opens a page and waits until it is connected."""
    pages = []

    def opened(url: str, **more: object) -> object:
        page = browser.page(url, **more)
        pages.append(page)
        page.until(lambda: page.text("#state") == "connected", "the page to be connected")
        return page

    yield opened
    for page in pages:
        page.close()


class Owner(Pty):
    """The owner's terminal; the job, which would go on without it, ends with it."""

    cancel: Callable[[], object]

    def close(self) -> None:
        self.cancel()
        super().close()


def started(relay: Env, *argv: str, name: str = "shared") -> tuple[Pty, str]:
    """A program at a terminal, and its job."""
    before = {job["id"] for job in relay.jobs()}
    pty = Owner(relay.argv("run", "-t", "-J", name, "--", *argv), relay.env)
    pty.cancel = lambda: None
    found = until(
        lambda: [j for j in relay.jobs() if j["id"] not in before and j["state"] == "ACTIVE"],
        "the job to run",
    )
    job = str(found[0]["id"])
    pty.cancel = lambda: relay.gshell("cancel", job)
    return pty, job


def shows(page, text: str, what: str = SCREEN) -> None:
    page.until(lambda: text in page.js(what), f"{text!r} on the page")


class Tmux:
    """A gshell client in a tmux of its own: what its terminal shows, tmux says."""

    def __init__(self, relay: Env, *argv: str) -> None:
        self.socket = f"gshell-web-{os.getpid()}"
        words = relay.argv("run", "-t", "--", *argv)
        self.run(
            "-f", "/dev/null", "new-session", "-d", "-x", "90", "-y", "28", *words, env=relay.env
        )

    def run(self, *words: str, env: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            ["tmux", "-L", self.socket, *words], env=env, capture_output=True, check=True
        )
        return done.stdout.decode()

    def screen(self) -> str:
        return "\n".join(
            row.rstrip() for row in self.run("capture-pane", "-p").split("\n")
        ).rstrip()

    def close(self) -> None:
        subprocess.run(["tmux", "-L", self.socket, "kill-server"], capture_output=True, check=False)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux here")
def test_a_watcher_sees_what_tmux_sees(relay: Env, gateway: Gateway, look, tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.write_text(
        "".join(f"line {n} of many: é 漢字 \N{DOUBLE-STRUCK CAPITAL R}\n" for n in range(200))
    )
    before = {job["id"] for job in relay.jobs()}
    tmux = Tmux(relay, "bash")
    try:
        until(lambda: "ready$" in tmux.screen(), "the prompt")
        job = next(j["id"] for j in relay.jobs() if j["id"] not in before)
        page = look(gateway.link(job))

        def same(text: str) -> None:
            until(lambda: text in tmux.screen(), f"{text!r} in tmux", show=tmux.screen)
            page.until(
                lambda: page.js(SCREEN) == tmux.screen(),
                f"the same screen as tmux:\n{tmux.screen()}",
            )

        same("ready$")
        tmux.run("send-keys", "printf '\\033[1;44mcolours\\033[0m \\033[5;30Hplaced\\n'", "Enter")
        same("placed")
        tmux.run("send-keys", f"less {words}", "Enter")
        same("line 5 of many")
        tmux.run("send-keys", "G")
        same("line 199 of many")
        tmux.run("send-keys", "q")
        tmux.run("send-keys", f"clear; vi {words}", "Enter")
        same("line 20 of many")
        tmux.run("send-keys", "50Gdd:set number", "Enter")
        same(" 50 line 50 of many")
        tmux.run("resize-window", "-x", "70", "-y", "20")  # the owner's: the page follows
        page.until(lambda: page.text("#size") == "70×20", "the new size")
        tmux.run("send-keys", ":q!", "Enter")
        same("ready$")
        # Who comes now sees the same, from the past and not from the live bytes.
        late = look(gateway.link(job))
        late.until(
            lambda: late.js(SCREEN) == tmux.screen(), f"the same screen as tmux:\n{tmux.screen()}"
        )
        assert (page.complaints, late.complaints) == ([], [])
    finally:
        tmux.close()
        relay.gshell("kill", "-9", job)


def test_who_may_only_look_types_nothing_and_who_may_type_does(
    relay: Env, gateway: Gateway, look
) -> None:
    owner, job = started(relay, "cat")
    with owner:
        owner.send("first\r")
        owner.wait_for("first\r\nfirst\r\n")
        watcher = look(gateway.link(job))
        shows(watcher, "first\nfirst")
        assert (watcher.text("#role"), watcher.js("!!document.querySelector('#steal').hidden")) == (
            "read-only",
            True,
        )
        watcher.type("unwanted\r")
        # Not even one who does not heed the page's rules: the agent does not take it.
        watcher.js(
            "import('/page.js').then(({session}) => { session.type(new TextEncoder().encode('forced\\r')); session.say({t: 'steal'}); session.say({t: 'signal', sig: 'INT'}); session.say({t: 'cancel'}); })"
        )
        typist = look(gateway.link(job, "--write"))
        typist.until(lambda: typist.text("#role") == "somebody else types", "who types")
        typist.type("not yet\r")
        typist.click("#steal")
        typist.until(lambda: typist.text("#role") == "you may type", "to be the one who types")
        typist.type("hello\r")
        shows(typist, "hello\nhello")  # the second one is cat's, in its own time
        typist.paste("pasted é漢")
        typist.type("\r")
        shows(typist, "hello\nhello\npasted é漢\npasted é漢")
        shows(watcher, "hello\nhello\npasted é漢\npasted é漢")
        seen = watcher.js(HISTORY)
        assert not [word for word in ("unwanted", "forced", "not yet") if word in seen]
        watcher.until(lambda: watcher.text("#size") == typist.text("#size"), "the typist's size")
        typist.type("\x04")  # the end of input: cat ends
        typist.until(lambda: typist.text("#state") == "over", "the end")
        assert typist.text("#notice-text") == "the program has ended: exit status 0"
        assert (watcher.complaints, typist.complaints) == ([], [])


def test_a_broken_connection_loses_and_doubles_nothing(relay: Env, gateway: Gateway, look) -> None:
    counting = (
        "import sys, tty; tty.setraw(0); n = 0\n"
        "print('go', end='\\r\\n', flush=True)\n"
        "while True:\n"
        "    c = sys.stdin.buffer.raw.read(1)\n"
        "    if c == b'q': break\n"
        "    print(n, c.decode(), end='\\r\\n', flush=True); n += 1\n"
        "for k in range(30000): print(f'line {k}', end='\\r\\n')\n"
        "print('all', end='\\r\\n', flush=True)\n"
        "sys.stdin.buffer.raw.read(1)\n"
    )
    owner, job = started(relay, "python3", "-c", counting)
    typed = "abcdefghijklmnoprstuvwxyz"
    with owner, FaultProxy(gateway.address, "page-gateway") as near:
        page = look(gateway.link(job, "--write", via=f"http://{near.address}"))
        page.click("#steal")
        page.until(lambda: page.text("#role") == "you may type", "to type")
        shows(page, "go")
        for at, key in enumerate(typed):
            page.type(key)
            if at % 6 == 5:
                near.cut()
        shows(page, f"{len(typed) - 1} {typed[-1]}", HISTORY)
        page.type("q")
        shows(page, "line ", HISTORY)
        for _ in range(3):
            near.cut()
            page.until(lambda: page.text("#state") == "connected", "the page to be back")
        shows(page, "all", HISTORY)
        rows = [row for row in page.js(HISTORY).split("\n") if row]
        lines = [int(row.split()[1]) for row in rows if row.startswith("line ")]
        assert lines == list(range(lines[0], 30000))
        assert len(lines) > 4000
        page.type("x")
        page.until(lambda: page.text("#state") == "over", "the end")
        assert page.complaints == [one for one in page.complaints if "WebSocket" in one]


def test_a_relay_that_restarts_and_a_gateway_that_does(relay: Env, browser) -> None:
    owner, job = started(relay, "cat")
    gateway = Gateway(relay)
    with owner:
        page = browser.page(gateway.link(job, "--write", "--uses", "2"))
        try:
            page.until(lambda: page.text("#state") == "connected", "the page to be connected")
            page.click("#steal")
            page.until(lambda: page.text("#role") == "you may type", "to type")
            page.type("before\r")
            shows(page, "before\nbefore")
            state = ["--state", str(relay.state)]
            assert relay.gshell("relay", "stop", *state).returncode == 0
            page.until(lambda: page.text("#state") == "reconnecting", "the loss to be seen")
            page.type("meanwhile\r")
            done = relay.gshell(
                "relay", "start", "--listen", relay.address, "--user", relay.user, *state
            )
            assert done.returncode == 0, done.stderr.decode()
            shows(page, "before\nbefore\nmeanwhile\nmeanwhile")
            assert page.js(HISTORY).count("before") == 2
            gateway.close()
            page.until(lambda: page.text("#state") == "reconnecting", "the loss to be seen")
            gateway = Gateway(relay, listen=gateway.address)
            page.until(lambda: page.text("#state") == "connected", "the page to be back")
            shows(page, "before\nbefore\nmeanwhile\nmeanwhile")  # it joined anew, which was a use
            page.js("window.before = 1; location.reload()")
            page.until(
                lambda: not page.js("window.before") and page.text("#state") == "connected",
                "the page to be back",
            )
            shows(page, "before\nbefore\nmeanwhile\nmeanwhile")  # which was none
        finally:
            page.close()
            gateway.close()
            relay.gshell(
                "cancel", job
            )  # who types now, and so whether it ends with the owner, is open


def test_a_revoked_share_ends_at_once_and_the_page_says_why(
    relay: Env, gateway: Gateway, look
) -> None:
    owner, job = started(relay, "cat")
    with owner:
        link = gateway.link(job)
        page = look(link)
        owner.send("here\r")
        shows(page, "here\nhere")
        [share] = [
            s
            for s in json.loads(relay.gshell("shares", "--json").stdout)["shares"]
            if s["job"] == job
        ]
        assert relay.gshell("revoke", share["id"]).returncode == 0
        page.until(lambda: page.text("#state") == "over", "the end")
        assert "withdrawn" in page.text("#notice-text") or "revoked" in page.text("#notice-text")
        owner.send("secret\r")
        owner.wait_for("secret\r\nsecret\r\n")
        assert "secret" not in page.js(HISTORY)
        page.js(f"window.before = 1; location.replace({json.dumps(link)}); location.reload()")
        page.until(
            lambda: (
                page.js("!window.before && document.readyState") == "complete"
                and page.text("#state") == "over"
            ),
            "the same",
        )
        token = link.partition("#")[2]
        assert [url for url in page.asked if token in url.partition("#")[0]] == []
        assert token not in gateway.log.read_text()
        assert token not in page.js("location.href")


HOSTILE = r"""
import os, select, sys, tty
tty.setraw(0)
def ask(text):
    os.write(1, text)
    answer = b""
    while select.select([0], [], [], 0 if answer.endswith(b"c") else 20)[0]:
        answer += os.read(0, 1000)
        if answer.endswith(b"c"): break
    return answer
os.write(1, b"\x1b[c\x1b[6n\x1b[>c\x1b]52;c;b2ggbm8=\x07\x1b]52;c;?\x07\x1b]0;<b>t\xe2\x80\xaeitle\x1b\\<img src=x onerror=alert(1)>\x1b]11;?\x1b\\")
os.write(1, b"\r\n\x1b]8;;javascript:alert(1)\x1b\\link\x1b]8;;\x1b\\ past\r\n")
sys.stdin.buffer.raw.read(1)
os.write(1, b"answer " + repr(ask(b"\x1b[c")).encode() + b"\r\n")
os.read(0, 1)
"""


def test_what_a_program_prints_can_do_nothing_but_show(relay: Env, gateway: Gateway, look) -> None:
    name = "<img src=x onerror=alert(1)>"
    owner, job = started(relay, "python3", "-c", HOSTILE, name=name)
    owner.wait_for("past")
    owner.cancel = lambda: None
    owner.close()  # which detaches: who comes next types
    watcher = look(gateway.link(job))
    shows(watcher, "<img src=x onerror=alert(1)>\nlink past")
    page = look(gateway.link(job, "--write"))
    shows(page, "link past")
    page.until(lambda: page.text("#role") == "you may type", "to be the one who types")
    page.type("g")
    # One answer, of the one who types, to the one question of the present.
    shows(page, "answer b'\\x1b[?1;2c'")
    shows(watcher, "answer b'\\x1b[?1;2c'")
    for one in (page, watcher):
        assert one.text("#title") == "<b>title"
        assert name in one.text("#job")
        assert (
            one.js("document.images.length + document.querySelectorAll('b, #bar img').length") == 0
        )
        assert one.js("document.title") == "<b>title · gshell"
        assert one.complaints == []
    said = watcher.js("import('/page.js').then(({session}) => session.peer.sending(2).end)")
    assert said == 0  # not a byte of an answer was even said
    page.type("q")
    page.until(lambda: page.text("#state") == "over", "the end")
