"""The prompt on a terminal that can move its cursor. All that knows prompt_toolkit is here and in
`widgets`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.shortcuts import CompleteStyle

from gshell.cli.options import Parsed
from gshell.model.sanitize import sanitize
from gshell.repl import news, scripts, session, toolbar, widgets
from gshell.repl.facts import Facts
from gshell.repl.plain import words_of
from gshell.repl.session import Leave, Session

NEWS_KEPT = 200
END_S = 5.0  # for what is left to be done after TERM or HUP
TOGETHER_S = 0.1  # news that come so close are drawn at once


class Prompt:
    """One prompt after the other, and what is shown around it."""

    def __init__(self, parsed: Parsed) -> None:
        self.session = Session(self._live_jobs)
        self.session.interactive = True
        self.watcher: Any = None
        self.pane = False
        self.searching = False
        self.detached = False
        self.kept = ""
        """What was typed when a key asked for something else: it is there again afterwards."""
        self._news: deque[news.News] = deque(maxlen=NEWS_KEPT)
        self._drawing = False
        self._task: Any = None  # kept: the loop itself does not
        self._ascii = ascii_only(os.environ)
        color = parsed["color"] != "never" and not os.environ.get("NO_COLOR")
        self._parsed = parsed
        self.kept_lines = widgets.History()
        self.completer = widgets.Completer(self)
        self.app: PromptSession[str] = PromptSession(
            completer=self.completer,
            complete_while_typing=widgets.condition(lambda: self.searching),
            complete_style=CompleteStyle.COLUMN,
            history=self.kept_lines,
            auto_suggest=widgets.Suggest(self),
            key_bindings=widgets.keys(self),
            style=widgets.style(color),
            color_depth=None if color else ColorDepth.DEPTH_1_BIT,
            include_default_pygments_style=False,
            prompt_continuation=lambda width, number, wrapped: "" if wrapped else "... ",
            reserve_space_for_menu=6,
            mouse_support=False,
            enable_suspend=True,
        )
        self.app.app.renderer.cpr_not_supported_callback = None  # says so on the screen

    # ---------------------------------------------------------------------------------------- lines

    def talk(self) -> int:
        """Until Ctrl-D or `exit`; the status."""
        modes = session.modes()

        def ended(number: int, frame: object) -> None:
            _end_in_time(128 + number, modes)
            raise SystemExit(128 + number)  # past everything that gives the terminal back

        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, ended)
        quiet = session.quiet(modes)
        try:
            if not self._parsed["no_rc"]:
                scripts.startup(self.session)
            while True:
                session.set_modes(quiet)  # what is typed between two prompts is shown by the next
                try:
                    text = self._ask()
                except KeyboardInterrupt:
                    self.session.status = 0
                    continue
                except EOFError:
                    return self.session.status
                session.set_modes(modes)
                self.session.execute(text, self.detached)
                if self.watcher is not None:
                    self.watcher.look()  # a relay may have come, or gone
        except Leave as leave:
            return leave.status
        finally:
            session.set_modes(modes)
            if self.watcher is not None:
                self.watcher.close()

    def _ask(self) -> str:
        self.detached = self.searching = False
        kept, self.kept = self.kept, ""
        on = self.session.settings["toolbar"] == "on"
        self.completer.forget()
        self._show_news()
        return self.app.prompt(
            self._words,
            default=kept,
            bottom_toolbar=self._toolbar if on else None,
            pre_run=self._shown,
        )

    def _shown(self) -> None:
        """The first prompt is there: now there is time for the relay."""
        if self.watcher is None:
            self.app.app.after_render += self._start_watcher
        self.session.numbers.see(self.facts.live)

    def _start_watcher(self, _: object) -> None:
        self.app.app.after_render -= self._start_watcher
        if self.watcher is None:
            from gshell.repl.watching import Watcher

            self.watcher = Watcher(self._changed, self._said)
            self.watcher.start()

    # ------------------------------------------------------------------------------------ the relay

    @property
    def facts(self) -> Facts:
        return self.watcher.facts if self.watcher is not None else Facts(trouble="...")

    def _live_jobs(self) -> list[dict[str, Any]]:
        return self.facts.live if self.facts.up else []

    def _changed(self) -> None:
        """By the watcher's thread."""
        self.app.app.invalidate()

    def _said(self, one: news.News) -> None:
        """By the watcher's thread."""
        self._news.append(one)
        loop = self.app.app.loop
        if loop is not None and not self._drawing:
            self._drawing = True
            try:
                loop.call_soon_threadsafe(lambda: loop.call_later(TOGETHER_S, self._draw_news))
            except RuntimeError:
                self._drawing = False  # that loop has just ended: before the next prompt, then

    def _draw_news(self) -> None:
        self._drawing = False
        app = self.app.app
        if self._news and app.is_running and not app.is_done:
            self._task = asyncio.ensure_future(run_in_terminal(self._show_news))

    def _show_news(self) -> None:
        self._drawing = False
        lines = []
        while self._news:
            one = self._news.popleft()
            if self.session.settings["announce"] == "on" and not self._was_seen(one):
                lines.append(sanitize(one.text))
        if lines:
            mark = "* " if self._ascii else "● "
            text = "".join(f"{mark}{line}\n" for line in lines)
            sys.stdout.write(text.encode("ascii", "replace").decode() if self._ascii else text)
            sys.stdout.flush()

    def _was_seen(self, one: news.News) -> bool:
        if one.ended is None:
            return False
        ended, skew_s = one.ended, one.skew_s
        return any(window.saw_the_end_of(ended, skew_s) for window in self.session.foreground)

    # -------------------------------------------------------------------------------- what is shown

    def _words(self) -> StyleAndTextTuples:
        words = words_of(self.session)
        if self.searching:
            return [("class:search", "history> ")]
        status, bracket, rest = words.partition("] ")
        if self.session.status and bracket:
            return [("class:status", status + bracket), ("class:prompt", rest)]
        return [("class:prompt", words)]

    def _toolbar(self) -> StyleAndTextTuples:
        facts = self.facts
        width = self.app.app.output.get_size().columns
        out: StyleAndTextTuples = []
        if self.pane:
            self.session.numbers.see(facts.live)
            for row in toolbar.pane(
                facts, self.session.numbers.of, time.time(), width, self._ascii
            ):
                out.append(("class:pane", row + "\n"))
        out.append(("class:line" if facts.up else "class:line.away",
                    toolbar.line(facts, width, self._ascii)))  # fmt: skip
        return out

    def toggle_pane(self) -> None:
        self.pane = not self.pane
        if self.watcher is not None:
            self.watcher.tick(self.pane)


def _end_in_time(status: int, modes: list[Any] | None) -> None:
    """What ends a prompt may ask its terminal something, and that may be gone."""

    def end() -> None:
        session.set_modes(modes, now=True)
        os._exit(status)

    timer = threading.Timer(END_S, end)
    timer.daemon = True
    timer.start()


def ascii_only(environ: Mapping[str, str]) -> bool:
    """Does the locale say that this terminal knows nothing else? Python itself would use UTF-8."""
    said = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    return bool(said) and "utf" not in said.lower()


def talk(parsed: Parsed) -> int:
    """The exit status."""
    return Prompt(parsed).talk()
