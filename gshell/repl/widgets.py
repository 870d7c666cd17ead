"""The parts of the prompt that prompt_toolkit calls: keys, completion, history, colours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import TYPE_CHECKING, Any

from prompt_toolkit.auto_suggest import AutoSuggest, Suggestion
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completion
from prompt_toolkit.completion import Completer as BaseCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import History as BaseHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.styles import BaseStyle, Style

from gshell.model.sanitize import sanitize
from gshell.repl import completing, history, reading
from gshell.repl.places import Place

if TYPE_CHECKING:
    from gshell.repl.prompt import Prompt

ANSWER_S = 1.5  # for what has to be asked for; without it there is no completion
FRESH_S = 10.0  # what was asked for is good for so long


def style(color: bool) -> BaseStyle:
    """By meaning only; sixteen colours are enough, and none is, too."""
    rules = {
        "bottom-toolbar": "noreverse",
        "line": "reverse",
        "line.away": "reverse bold",
        "prompt": "bold",
        "status": "bold",
        "auto-suggestion": "italic",
    }
    if color:
        rules |= {
            "prompt": "ansicyan bold",
            "status": "ansired bold",
            "search": "ansiyellow",
            "line.away": "bg:ansired ansiwhite noreverse",
            "auto-suggestion": "ansibrightblack",
            "pane": "",
        }
    return Style.from_dict(rules)


def condition(call: Callable[[], bool]) -> Condition:
    return Condition(call)


class History(BaseHistory):
    """The file, as prompt_toolkit wants it: newest first, read when it is first looked for."""

    def load_history_strings(self) -> Iterable[str]:
        return reversed(history.load())

    def store_string(self, string: str) -> None:
        history.append(string)

    def append_string(self, string: str) -> None:
        if history.wanted(string) and (self.get_strings() or [""])[-1] != string:
            super().append_string(string)


class Suggest(AutoSuggest):
    """The newest line of the history that begins so."""

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt

    def get_suggestion(self, buffer: Buffer, document: Document) -> Suggestion | None:
        text = document.text
        off = self._prompt.session.settings["suggest"] != "on" or self._prompt.searching
        if not text.strip() or "\n" in text or off:
            return None
        for line in reversed(buffer.history.get_strings()):
            if line.startswith(text) and "\n" not in line and len(line) > len(text):
                return Suggestion(line[len(text) :])
        return None


class Completer(BaseCompleter):
    """`completing.candidates`, with what has to be asked for; a `completing.World`."""

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt
        self._known: dict[Place | str, tuple[float, list[Any]]] = {}

    def forget(self) -> None:
        """A command may have changed what is there."""
        self._known.clear()

    # -- the world

    @property
    def facts(self) -> Any:
        return self._prompt.facts

    @property
    def now(self) -> float:
        return time.time()

    @property
    def aliases(self) -> dict[str, str]:
        return self._prompt.session.aliases

    @property
    def place(self) -> Place:
        return self._prompt.session.place

    @property
    def numbers(self) -> dict[str, int]:
        self._prompt.session.numbers.see(self.facts.live)
        return self._prompt.session.numbers.of

    def folder(self, place: Place) -> list[tuple[str, str]]:
        return self._look(place)

    def items(self, kind: str) -> list[dict[str, Any]]:
        return self._look(kind)

    def _look(self, what: Place | str) -> list[Any]:
        at, found = self._known.get(what, (0.0, []))
        if time.monotonic() - at > FRESH_S:
            raise completing.Wanted(what)
        return found

    # -- prompt_toolkit's

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        if self._prompt.searching:
            return [_found(line, document) for line in self._search(document.text)]
        try:
            return [
                _completion(one, document)
                for one in completing.candidates(document.text_before_cursor, self)
            ]
        except completing.Wanted:
            return []

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        for _ in range(3):  # an answer may lead to another question
            try:
                if not self._prompt.searching:
                    completing.candidates(document.text_before_cursor, self)
                break
            except completing.Wanted as wanted:
                if not await self._ask(wanted.what):
                    return
        for one in self.get_completions(document, complete_event):
            yield one

    async def _ask(self, what: Place | str) -> bool:
        watcher = self._prompt.watcher
        if watcher is None:
            return False
        future = watcher.folder(what) if isinstance(what, Place) else watcher.ask({"m": what})
        try:
            answer = await asyncio.wait_for(asyncio.wrap_future(future), ANSWER_S)
        except TimeoutError:
            return False
        if isinstance(what, str):
            items = answer.get(what)
            answer = (
                [one for one in items if isinstance(one, dict)] if isinstance(items, list) else []
            )
        self._known[what] = (time.monotonic(), answer)
        return True

    def _search(self, pattern: str) -> list[str]:
        return history.search(pattern, self._prompt.kept_lines.get_strings())


def _completion(one: completing.Candidate, document: Document) -> Completion:
    back = one.start - document.cursor_position
    return Completion(one.text, min(0, back), display=one.shown, display_meta=one.meta)


def _found(line: str, document: Document) -> Completion:
    shown = sanitize(line.replace("\n", " "), 200)
    return Completion(line, -document.cursor_position, display=shown)


def keys(prompt: Prompt) -> KeyBindings:
    """What ours do beyond Emacs' keys."""
    table = KeyBindings()
    searching = Condition(lambda: prompt.searching)

    @table.add("enter", filter=~searching)
    def _enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        state = buffer.complete_state
        if state is not None and state.current_completion and len(state.completions) > 1:
            buffer.complete_state = None  # chosen from several; the next Enter does it
            return
        text = buffer.text
        if not text.lstrip().startswith("!") and reading.is_open(text):
            buffer.newline(copy_margin=False)
        else:
            buffer.validate_and_handle()

    @table.add("escape", "enter")
    def _detached(event: KeyPressEvent) -> None:
        prompt.detached = True
        event.current_buffer.validate_and_handle()

    @table.add("c-r", filter=~searching)
    def _search(event: KeyPressEvent) -> None:
        prompt.searching = True
        buffer = event.current_buffer
        prompt.kept = ""
        buffer.start_completion(select_first=False)

    @table.add("c-r", filter=searching)
    def _older(event: KeyPressEvent) -> None:
        event.current_buffer.complete_next()

    @table.add("enter", filter=searching, eager=True)
    @table.add("right", filter=searching, eager=True)
    def _take(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        state = buffer.complete_state
        if state is not None and state.current_completion is None and state.completions:
            buffer.apply_completion(state.completions[0])
        buffer.complete_state = None
        prompt.searching = False

    @table.add("c-g", filter=searching, eager=True)
    @table.add("escape", filter=searching, eager=True)
    @table.add("c-c", filter=searching, eager=True)
    def _leave(event: KeyPressEvent) -> None:
        event.current_buffer.cancel_completion()
        prompt.searching = False

    @table.add("backspace", filter=searching, eager=True)
    def _back(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state is not None:
            buffer.cancel_completion()
        buffer.delete_before_cursor()
        buffer.start_completion(select_first=False)

    @table.add("f2")
    def _pane(event: KeyPressEvent) -> None:
        prompt.toggle_pane()

    @table.add("f3")
    def _attach(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        prompt.kept = buffer.text
        buffer.text = " attach %+"  # the blank: it is not for the history
        buffer.validate_and_handle()

    return table
