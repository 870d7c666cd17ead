"""SOCKS requests, whole, byte by byte and with the connection's first bytes behind them."""

from __future__ import annotations

import socket

import pytest

from gshell.net.socks import BadSocks, Socks

FOUR = b"\x04\x01\x00\x50" + socket.inet_aton("10.0.0.1") + b"me\0"
FOUR_A = b"\x04\x01\x01\xbb\0\0\0\x01me\0node.example\0"
HELLO = b"\x05\x02\x00\x02"
FIVE = HELLO + b"\x05\x01\x00\x03\x04node\x00\x16"
FIVE_4 = HELLO + b"\x05\x01\x00\x01\x7f\0\0\x01\x00\x50"
FIVE_6 = HELLO + b"\x05\x01\x00\x04" + socket.inet_pton(socket.AF_INET6, "::1") + b"\x00\x50"


@pytest.mark.parametrize(
    ("request_", "place"),
    [
        (FOUR, ("10.0.0.1", 80)), (FOUR_A, ("node.example", 443)), (FIVE, ("node", 22)),
        (FIVE_4, ("127.0.0.1", 80)), (FIVE_6, ("::1", 80)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 1000])
def test_a_request_says_where_to(request_, place, size):
    socks, found = Socks(), None
    for at in range(0, len(request_), size):
        assert found is None
        found = socks.feed(request_[at : at + size])
    assert found == place
    assert socks.out == (b"\x05\x00" if request_[0] == 5 else b"")


@pytest.mark.parametrize("request_", [FOUR, FOUR_A, FIVE, FIVE_6])
def test_what_came_behind_the_request_belongs_to_the_connection(request_):
    socks = Socks()
    assert socks.feed(request_ + b"GET /") is not None
    assert socks.rest == b"GET /"


@pytest.mark.parametrize(
    ("wrong", "answer"),
    [
        (b"GET / HTTP/1.0\r\n", b""),
        (b"\x05\x01\x02", b"\x05\xff"),  # no method of ours
        (b"\x04\x02" + FOUR[2:], b"\0\x5b" + bytes(6)),  # BIND
        (HELLO + b"\x05\x03\x00\x01\x7f\0\0\x01\x00\x50", b"\x05\x07\0\x01" + bytes(6)),  # UDP
        (b"\x04\x01\x00\x50\x0a\0\0\x01" + b"u" * 2000, b"\0\x5b" + bytes(6)),
    ],
)
def test_what_is_no_request_is_told_so_in_its_own_tongue(wrong, answer):
    with pytest.raises(BadSocks) as caught:
        Socks().feed(wrong)
    assert caught.value.answer == answer


def test_half_a_request_is_waited_for():
    assert Socks().feed(HELLO + b"\x05\x02\x00\x01") is None


def test_why_it_was_refused_is_one_of_socks_codes():
    four, five = Socks(), Socks()
    four.feed(FOUR)
    five.feed(FIVE)
    assert four.refused("ECONNREFUSED")[1] == 91
    assert [five.refused(c)[1] for c in ("ECONNREFUSED", "EHOSTUNREACH", "x")] == [5, 4, 1]
