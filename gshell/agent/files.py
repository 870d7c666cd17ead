"""Copies files in and out over stdin and stdout: the far end of put, get, cp and sandboxes."""

from __future__ import annotations


def main(words: list[str]) -> int:
    raise NotImplementedError
