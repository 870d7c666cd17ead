import json

import pytest

from gshell.errors import RemoteProtocolError
from gshell.net import rendezvous
from gshell.net.rendezvous import AGENT, CLIENT, Preamble, parse

KEY = b"k" * 32
BODY = {"k": "u1", "t": 1700000000.5, "n": "00" * 16, "op": "open", "att": "ff"}
HELLO = b"\x16\x03\x01" + b"h" * 300
GOOD = rendezvous.encode(CLIENT, BODY, HELLO, KEY)


def complete(data: bytes) -> Preamble:
    preamble = parse(data)
    assert preamble is not None
    return preamble


def raw(body: bytes, kind: int = CLIENT, hello: bytes = b"", magic: bytes = b"GSHELL/1") -> bytes:
    return (
        magic
        + bytes([kind])
        + len(body).to_bytes(2, "big")
        + len(hello).to_bytes(2, "big")
        + body
        + hello
        + bytes(32)
    )


def test_a_preamble_is_complete_with_its_last_byte_and_not_before() -> None:
    assert {parse(GOOD[:size]) for size in range(len(GOOD))} == {None}
    preamble = complete(GOOD + b"what follows")
    assert (preamble.kind, preamble.body, preamble.hello) == (CLIENT, BODY, HELLO)
    assert GOOD[preamble.size :] == b""
    assert preamble.genuine(KEY)


def test_no_byte_of_it_can_be_changed() -> None:
    for at in range(len(GOOD)):
        changed = GOOD[:at] + bytes([GOOD[at] ^ 1]) + GOOD[at + 1 :]
        try:
            preamble = parse(changed + bytes(70_000))
        except RemoteProtocolError:
            continue
        assert preamble is None or not preamble.genuine(KEY)


def test_another_key_is_not_genuine() -> None:
    assert not complete(GOOD).genuine(b"x" * 32)


def test_an_agent_parks_without_a_hello() -> None:
    preamble = complete(rendezvous.encode(AGENT, {"a": "n1"}, b"", KEY))
    assert (preamble.kind, preamble.hello) == (AGENT, b"")


@pytest.mark.parametrize(
    "data",
    [
        b"X",
        b"GSHELL/2",
        b"GET / HTTP/1.1\r\n\r\n",
        raw(b"{}", kind=ord("B")),
        raw(b"{}", magic=b"GSHELL/0"),
        raw(b"x" * 2049)[:13],
        raw(b"{}", hello=b"x" * 4097)[:13],
        raw(b""),
        raw(b"[]"),
        raw(b"null"),
        raw(b"\xff\xfe"),
        raw(b"[" * 2000),
        raw(b'{"t":' + b"9" * 2000),
    ],
)
def test_what_cannot_become_a_preamble_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="bad-preamble"):
        parse(data)


def test_a_clients_key_depends_on_the_relay_and_on_the_credential() -> None:
    keys = {rendezvous.client_key(relay, id) for relay in (b"a" * 32, b"b" * 64) for id in "xy"}
    assert len(keys) == 4
    assert rendezvous.public_id(b"s") != rendezvous.public_id(b"t")


@pytest.mark.parametrize(
    ("data", "meaning"),
    [
        (rendezvous.refusal("again", 1.5), ("again", 1.5)),
        (rendezvous.refusal("denied"), ("denied", 0.0)),
        (b"GSHELL/1 NO again 1e9\n", ("again", 60.0)),
        (b"GSHELL/1 NO again -4\n", ("again", 0.0)),
        (b"GSHELL/1 NO again nan\n", ("again", 0.0)),
        (b"GSHELL/1 NO again soon\n", ("garbled", 0.0)),
        (b"GSHELL/1 NO again", ("garbled", 0.0)),
        (b"GSHELL/1 YES again 1\n", ("garbled", 0.0)),
        (b"\xff\xfe" * 500, ("garbled", 0.0)),
        (b"", ("garbled", 0.0)),
    ],
)
def test_a_doors_clear_answer_is_read_with_suspicion(
    data: bytes, meaning: tuple[str, float]
) -> None:
    assert rendezvous.parse_refusal(data) == meaning


def test_the_body_is_plain_json() -> None:
    body = GOOD[13 : 13 + int.from_bytes(GOOD[9:11], "big")]
    assert json.loads(body) == BODY
