"""What is said on a data connection before SSH begins there (gshell/net/SSH.md). Knows no socket.

The one who dials says in its preamble, instead of a ClientHello, which opening this is; the agent
answers in lines, until one says OK: from there on all bytes are SSH's.
"""

from __future__ import annotations

from gshell.net import rendezvous

MAGIC = b"GSHELL-SSH/1 "
MAX_LINE_BYTES = 1024
WAIT = MAGIC + b"WAIT\n"
OK = MAGIC + b"OK\n"

REFUSED = {
    "none": "no job or agent of yours that runs has this name",
    "gone": "it has ended",
    "denied": "the relay refused: these credentials count no more, perhaps",
    "full": "too many sessions",
    "time": "this machine's clock and the relay's differ too much",
    "again": "its agent is away, or had no connection free",
    "used": "a preamble came twice",
}
AGAIN = ("again", "queued")  # these pass


def hello(att: str) -> bytes:
    return MAGIC + att.encode() + b"\n"


def parse_hello(data: bytes) -> str:
    """The opening's name in what came first; empty: that is something else."""
    if not data.startswith(MAGIC) or not data.endswith(b"\n") or len(data) > 128:
        return ""
    att = data[len(MAGIC) : -1].decode("ascii", "replace")
    return att if att.isalnum() else ""


def refusal(why: str) -> bytes:
    """An agent's word that nothing comes of it."""
    line = " ".join(why.split()).encode("utf-8", "replace")[: MAX_LINE_BYTES - 32]
    return MAGIC + b"NO " + line + b"\n"


class Reply:
    """Reads the agent's lines, or a door's. Invariant: ``code`` is set once."""

    def __init__(self) -> None:
        self.code = ""
        """"ok"; "no": the agent refused; else a door's code (`gshell/net/CONTROL.md`)."""
        self.why = ""
        """Of "no": the agent's words, not made safe to show."""
        self.rest = b""
        """Of "ok": SSH's first bytes."""
        self._data = b""

    def feed(self, data: bytes) -> bool:
        """Is it known by now?"""
        self._data += data
        while not self.code and b"\n" in self._data:
            line, _, self._data = self._data.partition(b"\n")
            self._line(line + b"\n")
        if not self.code and len(self._data) > MAX_LINE_BYTES:
            self.code = "garbled"
        self.rest = self._data if self.code == "ok" else b""
        return bool(self.code)

    def _line(self, line: bytes) -> None:
        if line == OK:
            self.code = "ok"
        elif line.startswith(MAGIC + b"NO "):
            self.code = "no"
            self.why = line[len(MAGIC) + 3 : -1].decode("utf-8", "replace")
        elif line.startswith(b"GSHELL/1 NO "):
            self.code = rendezvous.parse_refusal(line)[0]
        elif line != WAIT:
            self.code = "garbled"

    def reason(self) -> str:
        """In a person's words, why it is not "ok"; not made safe to show."""
        if self.code == "no":
            return self.why or "the agent refused"
        return REFUSED.get(self.code, "the relay or the agent answered something else")


def opening(
    mac_id: str, at: float, nonce: str, att: str, place: dict[str, str]
) -> dict[str, object]:
    """The body of the preamble that asks for an agent's SSH service at ``place``."""
    return {"k": mac_id, "t": at, "n": nonce, "att": att, "op": "open", "service": "ssh",
            "tasks": 1, "index": 0, "size": 1, **place}  # fmt: skip
