"""Fields of what others say, whatever they said: the right kind, or something harmless."""

from __future__ import annotations

from relay.broker.events import Message

TEXT = 200  # characters kept of a name or a reason


def text(message: Message, key: str, limit: int = TEXT) -> str:
    value = message.get(key)
    return value[:limit] if isinstance(value, str) else ""


def number(message: Message, key: str, default: int = 0, most: int = 1 << 53) -> int:
    value = message.get(key)
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
    return value if good else default  # type: ignore[return-value]


def index_of(message: Message) -> int:
    """-1, which is nobody's, if it is not one."""
    return number(message, "index", 0 if "index" not in message else -1)


def stamp(message: Message, key: str, default: float) -> float:
    value = message.get(key)
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e11 else default
