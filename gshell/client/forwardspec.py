"""What ``-L``, ``-R``, ``-D`` and ``-X`` say, in ssh's syntax. Pure."""

from __future__ import annotations

from gshell.model.record import Record

LOOPBACK = "localhost"


class Tcp(Record):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Unix(Record):
    path: str

    def __str__(self) -> str:
        return self.path


End = Tcp | Unix


class Forward(Record):
    """One forwarding."""

    kind: str
    """"L": listens here; "R": listens there; "D": a SOCKS server here; "X": a display there."""
    at: End | None = None
    """Where it listens."""
    to: End | None = None
    """Where connections go: of "L" as seen from there, of "R" as seen from here."""

    def __str__(self) -> str:
        return f"-{self.kind} {self.at}" + (f" to {self.to}" if self.to else "")


class Display(Record):
    """The user's own X display, and how the one there is to be known."""

    display: str
    authority: str
    """The file that has its cookie."""
    there: int | None = None
    """The display's number there, where it must be known before."""
    file: str = ""
    """Its authority file there, likewise."""


def parse(kind: str, text: str) -> Forward:
    """``[bind:]port:host:hostport``, a unix socket's path in place of either end; of ``D``
    ``[bind:]port``.

    Raises:
        ValueError: it is none of these.
    """
    form = "[BIND:]PORT" if kind == "D" else "[BIND:]PORT:HOST:PORT, or paths of unix sockets"
    wrong = ValueError(f"{text!r} is not {form}")
    words = _split(text)
    if words is None:
        raise wrong
    if kind == "D":
        if not 1 <= len(words) <= 2 or _is_path(words[-1]):
            raise wrong
        return Forward(kind, _listening(words, wrong))
    if _is_path(words[-1]):
        to: End = Unix(words.pop())
    else:
        if len(words) < 2:
            raise wrong
        port, host = words.pop(), words.pop()
        to = Tcp(host, _port(port, wrong))
        if not to.port or not host:
            raise wrong
    if not words:
        raise wrong
    return Forward(kind, _listening(words, wrong), to)


def _is_path(word: str) -> bool:
    return "/" in word


def _listening(words: list[str], wrong: ValueError) -> End:
    if len(words) == 1 and _is_path(words[0]):
        return Unix(words[0])
    if len(words) > 2:
        raise wrong
    host = words[0] if len(words) == 2 else LOOPBACK
    if _is_path(host):
        raise wrong
    return Tcp(host or "*", _port(words[-1], wrong))


def _port(text: str, wrong: ValueError) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or int(text) > 65535:
        raise wrong
    return int(text)


def _split(text: str) -> list[str] | None:
    """At colons, but not within brackets, which are taken off; None: brackets that do not match."""
    words: list[str] = []
    rest = text
    while True:
        if rest.startswith("["):
            inside, bracket, rest = rest[1:].partition("]")
            if not bracket or (rest and not rest.startswith(":")):
                return None
            words.append(inside)
        else:
            word = rest.partition(":")[0]
            words.append(word)
            rest = rest[len(word) :]
        if not rest:
            return words
        rest = rest[1:]
