"""X11's first message: only who knows our cookie gets through, and the display sees its own."""

from __future__ import annotations

import struct

import pytest

from gshell.net import x11

OURS, REAL = b"o" * 16, b"r" * 16


def hello(order: str, name: bytes, cookie: bytes) -> bytes:
    mark = b"B" if order == ">" else b"l"
    head = mark + b"\0" + struct.pack(order + "HHHH", 11, 0, len(name), len(cookie)) + b"\0\0"
    return head + name + bytes(-len(name) % 4) + cookie + bytes(-len(cookie) % 4)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_one_cookie_takes_the_others_place(order, size):
    data, gate = hello(order, x11.COOKIE, OURS) + b"more", x11.Substitution(OURS, REAL)
    out = [gate.feed(data[at : at + size]) for at in range(0, len(data), size)]
    passed = next(piece for piece in out if piece is not None)
    assert passed.startswith(hello(order, x11.COOKIE, REAL))
    assert OURS not in passed


def test_a_display_without_a_cookie_is_shown_none():
    gate = x11.Substitution(OURS, b"")
    assert gate.feed(hello("<", x11.COOKIE, OURS)) == hello("<", b"", b"")


@pytest.mark.parametrize(
    "wrong",
    [
        hello("<", x11.COOKIE, b"x" * 16), hello("<", b"", b""), hello("<", b"XDM", OURS),
        hello(">", x11.COOKIE, OURS[:15]), b"GET / HTTP/1.0\r\n",
        b"l\0" + struct.pack("<HHHH", 11, 0, 60000, 16) + b"\0\0",
    ],
)  # fmt: skip
def test_who_knows_another_cookie_is_let_nowhere(wrong):
    with pytest.raises(ValueError, match="X11"):
        x11.Substitution(OURS, REAL).feed(wrong)


def test_an_authority_file_of_ours_is_read_back_by_every_name_of_the_display():
    file = x11.authority(10, OURS)
    assert x11.cookie_for(file, "node", "localhost", 10) == OURS
    assert x11.cookie_for(file, "node", "", 10) == OURS
    assert x11.cookie_for(file, "node", "", 11) == b""
    for cut in range(len(file)):
        assert x11.cookie_for(file[:cut], "node", "", 10) == b""


@pytest.mark.parametrize("text", ["", "x", ":x", "host", ":1234567", "::"])
def test_what_names_no_display(text):
    assert x11.parse_display(text) is None
