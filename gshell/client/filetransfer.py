"""Files to an agent and from there, many over one session: what `fileput`, `fileget` share.

Knows no command line and no screen. What is asked and answered: gshell/net/FILES.md.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, NamedTuple

from gshell.client.servicetalk import PATIENCE_S, ServiceTalk
from gshell.errors import GshellError, RemoteProtocolError
from gshell.model.sanitize import sanitize
from gshell.net import filewire
from gshell.net.trouble import Trouble, trouble

if TYPE_CHECKING:
    from gshell.client.conversation import Dialler

RESUME_FROM = 1 << 18  # smaller files are sent again sooner than it is asked what is there
AHEAD = 64  # files asked for ahead of what has come
MAX_LISTED = 2_000_000  # files of one transfer
SHOWN_COLUMNS = 200

Handler = Callable[
    ["dict[str, Any] | bytes"], bool
]  # gets an answer; was it the last of its request?


class Failed(NamedTuple):
    """A file that was not copied."""

    path: str
    code: str
    message: str

    def __str__(self) -> str:
        return f"{sanitize(self.path, SHOWN_COLUMNS)}: {sanitize(self.message)}"


class Tally:
    """How far it is. Bytes of files, resumed and skipped ones counted apart."""

    def __init__(self) -> None:
        self.files = 0
        """Whole at the other end, those that were there already too."""
        self.skipped = 0
        """Of these, were there already."""
        self.bytes = 0
        """Sent, or received."""
        self.kept = 0
        """Were there already, of files and whole ones."""
        self.total = 0
        """Of all that are known of so far."""
        self.listed = True
        """``total`` is all of it."""
        self.failed: list[Failed] = []


class Source(NamedTuple):
    """A file or directory to send, and what it is to be called there."""

    path: str
    name: str


class Transfer:
    """One session of service ``files``. Invariant: ``_handlers`` are the requests that were sent
    and not answered to the end, in order, as the far end answers them."""

    def __init__(
        self,
        dialler: Dialler,
        request: dict[str, Any],
        on_done: Callable[[GshellError | None], None],
        agents_of: str = "",
        patience_s: float = PATIENCE_S,
    ) -> None:
        """``request``: where, fields of an ``open``."""
        self.tally = Tally()
        opening = {"service": "files", **request}
        self.talk = ServiceTalk(dialler, self, opening, [], agents_of, patience_s)
        self._on_done = on_done
        self._decoder = filewire.Decoder()
        self._handlers: deque[Handler] = deque()
        self._count = 0
        self._greeted = False
        self._steps: Generator[None, None, None] | None = None
        self._waits = False  # for an answer, before anything else is sent
        self._stepping = False
        self._resume = True

    def start(self, steps: Generator[None, None, None]) -> None:
        self._steps = steps
        self.talk.start()
        self._go()

    def close(self) -> None:
        self.talk.close()
        if self._steps is not None:
            self._steps.close()

    def ask(self, message: dict[str, Any], handler: Handler) -> int:
        self._count += 1
        self.talk.send(filewire.encode({**message, "n": self._count}))
        self._handlers.append(handler)
        return self._count

    def wait_for(self, message: dict[str, Any]) -> Generator[None, None, dict[str, Any]]:
        """One request and its one answer, with nothing in between.

        Raises:
            Trouble: it is a no.
        """
        got: list[dict[str, Any]] = []

        def handler(item: dict[str, Any] | bytes) -> bool:
            got.append(message_of(item))
            self._waits = False
            return True

        self.ask(message, handler)
        self._waits = True
        while not got:
            yield
        if got[0].get("m") == "error":
            raise refusal(got[0])
        return got[0]

    # -- the talk

    def on_bytes(self, data: bytes) -> None:
        try:
            items = self._decoder.feed(data)
            for item in items:
                self._item(item)
                if self.talk.over:
                    return
        except Trouble as error:  # of our own disk: more would not go better
            self._end(error)
        except OSError as error:
            self._end(trouble(error))
        except RemoteProtocolError as error:
            self._end(GshellError(f"the agent makes no sense: {error.message}"))
        self._go()

    def _item(self, item: dict[str, Any] | bytes) -> None:
        if not self._greeted:
            message = message_of(item)
            if message.get("m") != "files" or message.get("v") != filewire.VERSION:
                raise RemoteProtocolError("bad-message", "no greeting that is understood")
            self._greeted = True
            return
        if not self._handlers:
            raise RemoteProtocolError("bad-message", "an answer to nothing")
        if self._handlers[0](item):
            self._handlers.popleft()

    def on_room(self) -> None:
        self._go()

    def _go(self) -> None:
        """Send what may be sent now."""
        if self._stepping or self._steps is None:
            return
        self._stepping = True
        try:
            while self.talk.room and not self._waits:
                try:
                    next(self._steps)
                except StopIteration:
                    self._steps = None
                    self.talk.end()
                    return
                if self._idle():
                    break
        except Trouble as error:
            self._end(error)
        except OSError as error:
            self._end(trouble(error))
        except RemoteProtocolError as error:
            self._end(GshellError(f"the agent makes no sense: {error.message}"))
        except Exception as error:  # a mistake of ours must not look like the end
            self._end(GshellError(f"{type(error).__name__}: {error}"))
            raise
        finally:
            self._stepping = False
            if not self.talk.over:
                self.talk.flush()

    def _idle(self) -> bool:
        """Has it nothing to do until an answer comes?"""
        return False

    def on_over(self, error: GshellError | None) -> None:
        if error is None and (self._handlers or self._steps is not None):
            error = GshellError("the far end ended before all was done")
        self._done(error)

    def _end(self, error: GshellError) -> None:
        if not self.talk.over:
            self.talk.close()
            self._done(error)

    def _done(self, error: GshellError | None) -> None:
        if self._steps is not None:
            steps, self._steps = self._steps, None
            if not self._stepping:
                steps.close()
        self.left()
        self._on_done(error)

    def left(self) -> None:
        """Close what is open."""

    def failed(self, path: str, error: Trouble) -> None:
        """One file less; a full disk ends it all."""
        self.tally.failed.append(Failed(path, error.code, error.message))
        if error.code in ("full", "limit"):
            shown = sanitize(path, SHOWN_COLUMNS)
            raise Trouble(error.code, f"{shown}: {sanitize(error.message)}")


def message_of(item: dict[str, Any] | bytes) -> dict[str, Any]:
    if isinstance(item, bytes):
        raise RemoteProtocolError("bad-message", "data that nobody asked for")
    return item


def refusal(message: dict[str, Any]) -> Trouble:
    code, text = message.get("code"), message.get("message")
    return Trouble(str(code)[:20], sanitize(str(text)[:500]))


def key_of(*facts: object) -> str:
    """The name of a file's parts: the same for the same file of the same place, as it is now."""
    words = "\0".join(str(fact) for fact in facts)
    return hashlib.sha256(words.encode(errors="surrogatepass")).hexdigest()[:16]
