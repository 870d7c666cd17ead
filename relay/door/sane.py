"""Is what a peer sent of a kind that can be handed on? Knows no message."""

from __future__ import annotations

DEPTH = 16  # of nested lists and objects; the deepest of ours has five
_CONTAINERS = (dict, list)


def shallow(value: object, depth: int = DEPTH) -> bool:
    """Not nested so deep that whoever writes it out again runs out of stack."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return depth > 0 and all(shallow(v, depth - 1) for v in value if isinstance(v, _CONTAINERS))
    return True
