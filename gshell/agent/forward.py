"""Opens, and listens for, connections on this node over stdin and stdout: the far end of
port forwarding."""

from __future__ import annotations


def main(words: list[str]) -> int:
    raise NotImplementedError
