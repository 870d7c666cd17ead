"""Where a process's output goes besides its own memory: files, descriptors, objects, functions.

Bytes are never lost: files and descriptors get them as they came, text is decoded with what is no
UTF-8 as lone surrogates, and a character is never cut in two.
"""

from __future__ import annotations

import codecs
import io
import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from gshell.sweep.expect import Match, Texts, compiled
from gshell.sweep.log import logger
from gshell.sweep.times import patience

if TYPE_CHECKING:
    import inspect

STDOUT, STDERR = 1, 2
LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"  # as str.splitlines has them


class Sink(Protocol):
    """What the reader of a process's output calls, in one thread."""

    def feed(self, data: bytes) -> None: ...

    def end(self) -> None: ...


class Lines:
    """Text that comes in pieces, as lines without their ends; each as soon as it has one."""

    def __init__(self) -> None:
        self._rest: list[str] = []
        self._half = False
        """A carriage return came last: the line feed of it may come next."""

    def add(self, text: str, last: bool) -> Iterator[str]:
        if self._half and text:
            self._half = False
            if text[0] == "\n":
                text = text[1:]
        for part in text.splitlines(keepends=True):
            if part[-1] not in LINE_ENDS:
                self._rest.append(part)
                continue
            self._rest.append(part[: -2 if part.endswith("\r\n") else -1])
            yield self._whole()
        self._half = text.endswith("\r") if text else self._half
        if last and self._rest:
            yield self._whole()

    def _whole(self) -> str:
        line = self._rest[0] if len(self._rest) == 1 else "".join(self._rest)
        self._rest.clear()
        return line


class ProcessOutputHandler:
    """To be inherited: ``read`` gets all that comes, as it comes; as it is here, it gives
    ``read_line`` whole lines. One may serve several processes."""

    def read(self, process: Any, stream: int, string: str, eof: bool, error: bool) -> None:
        """``stream``: `STDOUT` or `STDERR`. ``eof``: that was the last. ``error``: it broke."""
        of: dict[tuple[int, int], Lines] = self.__dict__.setdefault("_lines", {})
        key = (id(process), stream)
        lines = of.setdefault(key, Lines())
        failed: Exception | None = None
        for line in lines.add(string, eof):
            try:
                self.read_line(process, stream, line)
            except Exception as mistake:  # the lines after it are told too
                failed = failed or mistake
        if eof:
            of.pop(key, None)
        if failed is not None:
            raise failed

    def read_line(self, process: Any, stream: int, string: str) -> None:
        """Without its line end."""


class ExpectOutputHandler(ProcessOutputHandler):
    """For ``expect`` in the output of several processes at the same time."""

    def __init__(self) -> None:
        self._texts = Texts()

    def read(self, process: Any, stream: int, string: str, eof: bool, error: bool) -> None:
        self._texts.add((process, stream), string, eof)

    def expect(self, regexes: Any, timeout: Any = None) -> dict[Any, Match]:
        """Until one of ``regexes`` is in the output of any: ``{(process, stream): (which, match)}``
        of those where it is; empty when ``timeout`` is over, or all have ended."""
        return self._texts.expect(compiled(regexes), patience(timeout))


class _Text:
    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def decode(self, data: bytes, last: bool = False) -> str:
        return self._decoder.decode(data, last)


class _Handler(_Text):
    def __init__(self, process: Any, stream: int, handler: ProcessOutputHandler) -> None:
        super().__init__()
        self._process, self._stream, self._handler = process, stream, handler

    def feed(self, data: bytes) -> None:
        text = self.decode(data)
        if text:
            self._handler.read(self._process, self._stream, text, False, False)

    def end(self) -> None:
        self._handler.read(self._process, self._stream, self.decode(b"", True), True, False)


class _Function(_Text):
    """A function of (process, stream, text, eof, error), or an object with ``write(text)``."""

    def __init__(self, call: Callable[[str, bool], None]) -> None:
        super().__init__()
        self._call = call

    def feed(self, data: bytes) -> None:
        text = self.decode(data)
        if text:
            self._call(text, False)

    def end(self) -> None:
        self._call(self.decode(b"", True), True)


class _Descriptor:
    """Gets the bytes as they are."""

    def __init__(self, fd: int) -> None:
        """``fd`` is copied: who gave it may close it."""
        self._fd = os.dup(fd)

    @property
    def quick(self) -> bool:
        """A plain file: nobody has to read what is written there."""
        mode = os.fstat(self._fd).st_mode
        return stat.S_ISREG(mode)

    def feed(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()

    def end(self) -> None:
        os.close(self._fd)


class _File(_Descriptor):
    """Several processes that name the same file share it; it has all of them, whole reads each."""

    _open: dict[str, list[int]] = {}  # noqa: RUF012  all of this Python's; name -> [fd, users]
    _lock = threading.Lock()

    def __init__(self, name: str) -> None:
        self._name = os.path.abspath(os.path.expanduser(name))
        with self._lock:
            entry = self._open.get(self._name)
            if entry is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                entry = self._open[self._name] = [os.open(self._name, flags, 0o666), 0]
            entry[1] += 1
        self._fd = entry[0]

    def end(self) -> None:
        with self._lock:
            entry = self._open[self._name]
            entry[1] -= 1
            if not entry[1]:
                del self._open[self._name]
                os.close(entry[0])


def _forked() -> None:
    _File._lock = threading.Lock()


os.register_at_fork(after_in_child=_forked)


def sink(handler: Any, process: Any, stream: int) -> Sink:
    """What ``handler`` is: a file's name, a descriptor, a `ProcessOutputHandler`, a file object or
    anything with ``write``, ``read_line`` or ``read`` as that has it, or a function of (process,
    stream, text, eof, error) or of (text).

    Raises:
        TypeError: none of these.
        OSError: the file cannot be opened.
    """
    if isinstance(handler, str | os.PathLike):
        return _File(os.fspath(handler))
    if isinstance(handler, int) and not isinstance(handler, bool):
        return _Descriptor(handler)
    if isinstance(handler, ProcessOutputHandler):
        return _Handler(process, stream, handler)
    if callable(getattr(handler, "read_line", None)):
        given = ProcessOutputHandler()
        given.read_line = handler.read_line  # type: ignore[method-assign]
        return _Handler(process, stream, given)
    write = getattr(handler, "write", None)
    if write is not None:
        if isinstance(handler, io.RawIOBase | io.BufferedIOBase) or "b" in str(
            getattr(handler, "mode", "")
        ):
            return _Binary(handler)
        return _Function(lambda text, last: _write(handler, text) if text else None)
    if callable(handler):
        if _takes_text(handler):
            return _Function(lambda text, last: handler(text) if text else None)
        return _Function(lambda text, last: handler(process, stream, text, last, False))
    if callable(getattr(handler, "read", None)):
        return _Handler(process, stream, handler)
    raise TypeError(
        f"{handler!r} is no output handler: a file's name, a descriptor, an object with write, read"
        " or read_line, or a function of (process, stream, text, eof, error) or of (text)"
    )


def _write(file: Any, text: str) -> None:
    try:
        file.write(text)
    except UnicodeEncodeError:  # what was no UTF-8, where the file below has room for any bytes
        below, encoding = getattr(file, "buffer", None), getattr(file, "encoding", None)
        if below is None or not encoding:
            raise
        file.flush()
        below.write(text.encode(encoding, "surrogateescape"))


def _takes_text(function: Any) -> bool:
    """One argument, as ``list.append``; what takes five gets them."""
    import inspect

    try:
        wanted = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin that does not tell
        return False
    return not _fits(wanted, 5) and _fits(wanted, 1)


def _fits(wanted: inspect.Signature, count: int) -> bool:
    try:
        wanted.bind(*range(count))
    except TypeError:
        return False
    return True


class _Binary:
    def __init__(self, file: Any) -> None:
        self._file = file

    def feed(self, data: bytes) -> None:
        self._file.write(data)

    def end(self) -> None:
        flush = getattr(self._file, "flush", None)
        if flush is not None:
            flush()


class Guarded:
    """A sink whose mistakes are told and cost nobody else anything."""

    def __init__(self, inner: Sink, name: str) -> None:
        self._inner, self._name = inner, name
        self.users = not (isinstance(inner, _Descriptor) and inner.quick)
        """It calls its user's code, which may take its time, or start other processes and wait; or
        it writes where somebody has to read."""
        self.failed: Exception | None = None
        """The first time that it could not take what it was given."""

    def feed(self, data: bytes) -> None:
        try:
            self._inner.feed(data)
        except Exception as error:
            self._tell(error)

    def end(self) -> None:
        try:
            self._inner.end()
        except Exception as error:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        if not isinstance(error, OSError):
            logger.error("an output handler of %s", self._name, exc_info=error)
        elif not self.failed:  # a full disk: once is enough
            logger.error("an output of %s cannot be kept: %s", self._name, error.strerror or error)
        self.failed = self.failed or error


class Aside:
    """A thread for what handlers of one process do, in order: whoever reads processes waits for
    none of them. Who has more than ``most`` bytes waiting is told to ``pause``, and to go on when
    half of them are handed out."""

    def __init__(self, most: int, pause: Callable[[bool], None]) -> None:
        self._most, self._pause = most, pause
        self._waiting: deque[tuple[Sink, bytes] | Callable[[], None]] = deque()
        self._bytes = 0
        self._paused = False
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="sweep-handlers", daemon=True).start()

    def hand(self, one: Sink, data: bytes) -> None:
        """Empty: the end."""
        with self._changed:
            self._waiting.append((one, data))
            self._bytes += len(data)
            self._changed.notify()
            if self._bytes > self._most and not self._paused:
                self._paused = True
                self._pause(True)

    def end(self, call: Callable[[], None]) -> None:
        """``call`` is called when all was handed out."""
        with self._changed:
            self._waiting.append(call)
            self._changed.notify()

    def _next(self) -> tuple[Sink, bytes] | Callable[[], None]:
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            return self._waiting.popleft()

    def _run(self) -> None:
        while isinstance(item := self._next(), tuple):
            one, data = item
            if data:
                one.feed(data)
            else:
                one.end()
            with self._changed:
                self._bytes -= len(data)
                if self._paused and self._bytes <= self._most // 2:
                    self._paused = False
                    self._pause(False)
        item()
