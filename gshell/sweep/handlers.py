"""Where a process's output goes besides its own memory: files, descriptors, objects, functions.

Bytes are never lost: files and descriptors get them as they came, text is decoded with what is no
UTF-8 as lone surrogates, and a character is never cut in two.
"""

from __future__ import annotations

import codecs
import os
import queue
import re
import threading
from collections.abc import Callable
from typing import Any, Protocol

from gshell.sweep.log import logger

STDOUT, STDERR = 1, 2
_LINE_END = re.compile(r"\r\n|[\n\r]")


class Sink(Protocol):
    """What the reader of a process's output calls, in one thread."""

    def feed(self, data: bytes) -> None: ...

    def end(self) -> None: ...


class ProcessOutputHandler:
    """To be inherited: ``read`` gets all that comes, as it comes, or ``read_line`` whole lines."""

    def read(self, process: Any, stream: int, string: str, eof: bool, error: bool) -> None:
        """``stream``: `STDOUT` or `STDERR`. ``eof``: that was the last. ``error``: it broke."""

    def read_line(self, process: Any, stream: int, line: str) -> None:
        """With its line end; the last one may have none."""


class _Text:
    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def decode(self, data: bytes, last: bool = False) -> str:
        return self._decoder.decode(data, last)


class _Handler(_Text):
    def __init__(self, process: Any, stream: int, handler: ProcessOutputHandler) -> None:
        super().__init__()
        self._process, self._stream, self._handler = process, stream, handler
        kind = type(handler)
        self._lines = kind.read_line is not ProcessOutputHandler.read_line
        self._reads = kind.read is not ProcessOutputHandler.read
        self._rest = ""

    def _give(self, text: str, last: bool) -> None:
        if self._reads and (text or last):
            self._handler.read(self._process, self._stream, text, last, False)
        if not self._lines:
            return
        text = self._rest + text
        at = 0
        for found in _LINE_END.finditer(text):
            if found.end() == len(text) and found.group() == "\r" and not last:
                break  # its line feed may come next
            self._handler.read_line(self._process, self._stream, text[at : found.end()])
            at = found.end()
        self._rest = text[at:]
        if last and self._rest:
            self._handler.read_line(self._process, self._stream, self._rest)

    def feed(self, data: bytes) -> None:
        self._give(self.decode(data), False)

    def end(self) -> None:
        self._give(self.decode(b"", True), True)


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
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def feed(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def end(self) -> None:
        pass


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
        super().__init__(entry[0])

    def end(self) -> None:
        with self._lock:
            entry = self._open[self._name]
            entry[1] -= 1
            if not entry[1]:
                del self._open[self._name]
                os.close(entry[0])


def sink(handler: Any, process: Any, stream: int) -> Sink:
    """What ``handler`` is: a file's name, a descriptor, a `ProcessOutputHandler`, a file object or
    anything with ``write``, or a function of (process, stream, text, eof, error).

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
    write = getattr(handler, "write", None)
    if write is not None:
        binary = getattr(handler, "mode", "") and "b" in str(handler.mode)
        if binary or type(handler).__name__ in ("BytesIO", "BufferedWriter", "FileIO"):
            return _Binary(handler)
        return _Function(lambda text, last: write(text) if text else None)
    if callable(handler):
        return _Function(lambda text, last: handler(process, stream, text, last, False))
    raise TypeError(
        f"{handler!r} is no output handler: a file's name, a descriptor, an object with write or"
        " read, or a function of (process, stream, text, eof, error)"
    )


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
        self.users = not isinstance(inner, _Descriptor)
        """It calls its user's code, which may take its time, or start other processes and wait."""

    def feed(self, data: bytes) -> None:
        try:
            self._inner.feed(data)
        except Exception:
            logger.exception("an output handler of %s", self._name)

    def end(self) -> None:
        try:
            self._inner.end()
        except Exception:
            logger.exception("an output handler of %s", self._name)


class Aside:
    """A thread for what handlers of one process do, in order: whoever reads processes waits for
    none of them. What it has not yet handed out is in memory, as the output itself is."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[Sink, bytes] | Callable[[], None]] = (
            queue.SimpleQueue()
        )
        threading.Thread(target=self._run, name="sweep-handlers", daemon=True).start()

    def hand(self, one: Sink, data: bytes) -> None:
        """Empty: the end."""
        self._queue.put((one, data))

    def end(self, call: Callable[[], None]) -> None:
        """``call`` is called when all was handed out."""
        self._queue.put(call)

    def _run(self) -> None:
        while isinstance(item := self._queue.get(), tuple):
            one, data = item
            if data:
                one.feed(data)
            else:
                one.end()
        item()
