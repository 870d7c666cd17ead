"""Two ends show each other that they share a secret; nobody else gets anywhere."""

from __future__ import annotations

import pytest

from gshell.errors import AuthError, RemoteProtocolError
from gshell.net.handshake import Caller, Host, Refused, key_of

KEY, OTHER = key_of(b"a secret of many letters"), key_of(b"another one, just as long")
CERT, ID = b"c" * 32, b"i" * 16


def caller(
    key: bytes = KEY, cert: bytes = CERT, id: bytes = ID, nonce: bytes = b"n" * 32
) -> Caller:
    return Caller(key, cert, id, nonce)


def talk(host: Host, called: Caller, size: int = 1000, tail: bytes = b"") -> tuple[bytes, bytes]:
    """Everything that either says, in pieces of ``size``; (what came behind at the host, at the
    caller)."""
    rest, behind = b"", b""
    for _ in range(3):
        out, host.out = host.out, b""
        for at in range(0, len(out), size):
            behind += called.feed(out[at : at + size])
        out, called.out = called.out, b""
        out += tail if out else b""
        for at in range(0, len(out), size):
            piece = out[at : at + size]
            rest += piece if host.done else host.feed(piece)
    return rest, behind


@pytest.mark.parametrize("size", [1, 5, 80, 1000])
def test_both_know_each_other_and_nothing_that_follows_is_lost(size):
    host, called = Host(KEY, CERT, b"N" * 32), caller()
    assert talk(host, called, size, b"hello") == (b"hello", b"")
    assert host.done
    assert called.done
    assert host.id == ID


def test_another_secret_is_refused_and_told_nothing_but_that():
    host, called = Host(KEY, CERT, b"N" * 32), caller(OTHER)
    with pytest.raises(Refused) as caught:
        talk(host, called)
    assert caught.value.reason == b"w"
    assert host.out == b"\0w"
    with pytest.raises(Refused):
        called.feed(host.out)


def test_a_host_with_another_secret_does_not_get_a_session():
    host, called = Host(KEY, CERT, b"N" * 32), caller()
    called.feed(host.out)
    with pytest.raises(AuthError, match="does not know"):
        called.feed(b"\1" + bytes(32))


def test_who_sits_in_between_has_another_certificate_and_gets_nowhere():
    host, called = Host(KEY, CERT, b"N" * 32), caller(cert=b"m" * 32)  # it saw the middle's
    with pytest.raises(Refused):
        talk(host, called)


def test_what_was_said_to_one_connection_is_worth_nothing_on_another():
    first, called = Host(KEY, CERT, b"1" * 32), caller()
    called.feed(first.out)
    second = Host(KEY, CERT, b"2" * 32)
    with pytest.raises(Refused):
        second.feed(called.out)


def test_a_second_caller_with_the_right_secret_is_one_too_many():
    host = Host(KEY, CERT, b"N" * 32, only=b"x" * 16)
    with pytest.raises(Refused) as caught:
        talk(host, caller())
    assert caught.value.reason == b"t"
    again = Host(KEY, CERT, b"N" * 32, only=ID)
    talk(again, caller(nonce=b"m" * 32))
    assert again.done


def test_what_is_no_i2glogin_is_seen_at_its_first_bytes():
    with pytest.raises(RemoteProtocolError):
        caller().feed(b"SSH-2.0-")


def test_a_secret_that_can_be_guessed_is_none():
    with pytest.raises(AuthError):
        key_of(b"  short \n")
    assert key_of(b"a secret of many letters\n") == KEY
