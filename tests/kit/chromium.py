"""A real Chromium without a window, driven by the DevTools protocol over its WebSocket. Knows no gshell."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from kit.procs import until

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PATIENCE_S = 30.0  # a browser on a busy machine of two cores


def program() -> str | None:
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Browser:
    """One process; ``page`` opens tabs. Use as a context."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="gsh-chromium-")
        self._log = open(Path(self._folder) / "log", "wb")  # noqa: SIM115
        self._process = subprocess.Popen(
            [
                str(program()),
                "--headless",
                "--no-sandbox",  # the tests run as root, and open nothing but our own page
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--remote-debugging-port=0",
                f"--user-data-dir={self._folder}/profile",
                "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        port = Path(self._folder) / "profile" / "DevToolsActivePort"
        until(
            lambda: port.exists() and len(port.read_text().split()) == 2,
            "the browser to listen",
            PATIENCE_S,
        )
        number, path = port.read_text().split()
        url = f"ws://127.0.0.1:{number}{path}"
        self._stack = contextlib.ExitStack()
        self._socket = self._stack.enter_context(connect(url, max_size=None, compression=None))
        self._count = 0
        self._pages: dict[str, Page] = {}

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.call("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stack.close()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """One command and its result."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        self._socket.send(json.dumps(message))
        end = time.monotonic() + PATIENCE_S
        while True:
            said = json.loads(self._socket.recv(timeout=max(0.1, end - time.monotonic())))
            if said.get("id") == message["id"]:
                if "error" in said:
                    away = any(word in str(said["error"]) for word in _AWAY)
                    raise (Elsewhere if away else AssertionError)(f"{method}: {said['error']}")
                return dict(said["result"])
            page = self._pages.get(said.get("sessionId", ""))
            if page is not None:
                page.happened(said)

    def page(self, url: str, size: tuple[int, int] = (1000, 640)) -> Page:
        """A tab of its own, with storage of its own."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call(
            "Target.createTarget", url="about:blank", browserContextId=context,
            width=size[0], height=size[1],
        )["targetId"]  # fmt: skip
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session, target)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.call("Page.navigate", url=url)
        return page


_AWAY = ("navigated or closed", "context was destroyed", "Cannot find context")


class Elsewhere(AssertionError):
    """The page that was asked is being left for another one."""


class Page:
    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser = browser
        self._session = session
        self._target = target
        self.complaints: list[str] = []
        """What its console and its scripts complained of."""
        self.asked: list[str] = []
        """Addresses that it asked for."""

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def happened(self, said: dict[str, Any]) -> None:
        method, detail = said.get("method"), said.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(detail["exceptionDetails"])[:500])
        elif method == "Log.entryAdded" and detail["entry"]["level"] == "error":
            self.complaints.append(f"{detail['entry']['text']} {detail['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.asked.append(detail["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.asked.append(detail["url"])

    def js(self, text: str) -> Any:
        """The value of an expression, which may be a promise."""
        done = self.call("Runtime.evaluate", expression=text, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in done:
            raise AssertionError(f"{text}: {done['exceptionDetails']}")
        return done["result"].get("value")

    def text(self, selector: str) -> str:
        found = self.js(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''")
        return str(found)

    def click(self, selector: str) -> None:
        self.js(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, text: str) -> None:
        """Keys, as a person presses them."""
        for character in text:
            if character == "\r":
                for kind in ("keyDown", "keyUp"):
                    self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter",
                              windowsVirtualKeyCode=13, text="\r")  # fmt: skip
            elif character < " ":
                letter = chr(ord(character) + 64)
                for kind in ("rawKeyDown", "keyUp"):
                    self.call("Input.dispatchKeyEvent", type=kind, key=letter.lower(), modifiers=2,
                              code=f"Key{letter}", windowsVirtualKeyCode=ord(letter))  # fmt: skip
            else:
                self.call("Input.dispatchKeyEvent", type="keyDown", key=character, text=character)
                self.call("Input.dispatchKeyEvent", type="keyUp", key=character)

    def paste(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def resize(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip

    def screenshot(self, path: str | Path) -> None:
        data = self.call("Page.captureScreenshot", format="png")["data"]
        Path(path).write_bytes(base64.b64decode(data))

    def close(self) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        def holds() -> Any:
            with contextlib.suppress(Elsewhere):
                return condition()

        return until(holds, what, PATIENCE_S, self.seen)

    def seen(self) -> str:
        return f"{self.js('document.body.innerText')!r} {self.complaints}"


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


__all__ = ["Browser", "Page", "chromium", "program"]
