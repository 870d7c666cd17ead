"""Fuzz targets: what comes over a socket before anybody is known by it, and addresses of such."""

from __future__ import annotations

import random
from typing import Any

from property import fuzz_wire
from property.fuzz import Luck, Target

from gshell.agent import gloginwords
from gshell.client import forwardspec, render
from gshell.errors import GshellError, RemoteProtocolError, UsageError
from gshell.model.sanitize import sanitize, sanitize_all
from gshell.model.ticket import Ticket
from gshell.net import address, control, handshake, mux, relaylink, rendezvous, socks, x11
from relay.door.sane import shallow


def wire_bytes(data: bytes) -> None:
    if data:
        fuzz_wire.attack(data[1:], bool(data[0] & 1), 1 + (data[0] >> 2), bool(data[0] & 2))


def control_bytes(data: bytes) -> None:
    luck = Luck(data)
    decoder = control.ControlDecoder(1 << 16)
    try:
        for chunk in luck.chunks():
            for message in decoder.feed(chunk):
                if shallow(message):
                    control.encode(message)
                safe = sanitize_all(message)
                assert sanitize_all(safe) == safe
                control.encode(safe)
            assert len(decoder._buffer) <= (1 << 16) + 4
    except RemoteProtocolError:
        pass


def preamble(data: bytes) -> None:
    try:
        parsed = rendezvous.parse(data)
    except RemoteProtocolError:
        parsed = None
    if parsed is not None:
        assert parsed.size <= len(data)
        assert not parsed.genuine(b"k" * 32)
        shallow(parsed.body)
    code, after = rendezvous.parse_refusal(data)
    assert isinstance(code, str)
    assert 0 <= after <= 60


def ticket(data: bytes) -> None:
    try:
        found = Ticket.load(data.decode("utf-8", "replace"), "here")
    except UsageError:
        return
    bytes.fromhex(found.mac_key)
    for shown in (found.user, found.agent_id, *found.relays):
        assert sanitize(shown) == shown
    assert len(found.key) < 12 or found.key not in repr(found)


def invite(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for read in (relaylink.parse_invite, address.split):
        try:
            read(text)
        except UsageError as error:
            render.error_text(error).encode()


_FRAMES = [b"\2" + fuzz_wire.make_bytes(random.Random(n)) for n in range(40)]


def mux_bytes(data: bytes) -> None:
    """Frames of port forwarding, at either end."""
    luck = Luck(data)
    decoder = mux.Decoder()
    try:
        for chunk in luck.chunks():
            decoder.feed(chunk)
            assert len(decoder._hold) <= mux.MAX_JSON + mux.HEAD.size + len(chunk)
    except RemoteProtocolError:
        pass


def first_bytes(data: bytes) -> None:
    """What strangers say first: to a SOCKS server, to a display, to and from an i2glogin."""
    luck = Luck(data)
    kind = luck.number(5)
    chunks = list(luck.chunks())
    key = handshake.key_of(b"k" * 16)
    promised: tuple[type[Exception], ...] = (GshellError,)
    if kind == 0:
        feed: Any = socks.Socks().feed
        promised = (socks.BadSocks,)
    elif kind == 1:
        feed = x11.Substitution(b"c" * 16, b"r" * 16).feed
        promised = (ValueError,)
    elif kind == 2:
        feed = handshake.Host(key, b"c" * 32, b"n" * 32).feed
    elif kind == 3:
        feed = handshake.Caller(key, b"c" * 32, b"i" * 16, b"n" * 32).feed
    else:

        def feed(chunk: bytes) -> None:
            list(x11.entries(chunk))
            x11.cookie_for(chunk, "h", "", 1)

    try:
        for chunk in chunks:
            feed(chunk)
    except promised:
        pass


def forward_words(data: bytes) -> None:
    """Addresses of i2glogin and of -L, -R, -D; DISPLAY."""
    words = data.decode("utf-8", "replace").split("\0")
    for word in words:
        try:
            gloginwords.parse_place(word)
        except UsageError:
            pass
        for kind in "LRD":
            try:
                forwardspec.parse(kind, word)
            except ValueError:
                pass
        x11.parse_display(word)
    try:
        gloginwords.parse(words)
    except UsageError:
        pass


TARGETS = [
    Target("wire", wire_bytes, _FRAMES),
    Target("control", control_bytes, [
        b"\5" + control.encode({"m": "hello", "v": 1}) + control.encode({"m": "x", "a": [{}]})]),
    Target("preamble", preamble, [
        rendezvous.encode(rendezvous.CLIENT, {"k": "x", "op": "open"}, b"hello", b"k"),
        rendezvous.encode(rendezvous.AGENT, {"a": "x"}, b"", b"k"), rendezvous.refusal("again", 1)]),
    Target("ticket", ticket, [
        Ticket("client", "u", "", ["h:1"], "p", "c", "c", "secret of many letters", "m", "00").dump().encode()]),
    Target("invite", invite, [
        b"gshell://host:1/" + b"a" * 64 + b"#token", b"gshell://[::1]:1/" + b"a" * 64 + b"#t",
        b"unix:/a", b"host:80"]),
    Target("mux", mux_bytes, [
        b"\5" + mux.encode(mux.OPEN, 1, {"host": "h", "port": 1}) + mux.data(1, b"abc") + mux.credit(1, 9)]),
    Target("first-bytes", first_bytes, [
        b"\0\5\x05\x01\0\x05\x01\0\x03\x04node\0\x16", b"\0\5\x04\x01\0\x50\0\0\0\1me\0h\0",
        b"\1\5l\0\x0b\0\0\0\x12\0\x10\0\0\0MIT-MAGIC-COOKIE-1\0\0" + b"c" * 16, b"\2\5" + b"x" * 80,
        b"\3\5" + handshake.MAGIC + b"n" * 32 + b"\1" + b"m" * 32, b"\4\5" + x11.authority(1, b"c" * 16)]),
    Target("forward-words", forward_words, [
        b"24599:158.109.65.149\0[::1]:24599\x008080:db:80\0*:1:[fe80::1]:2\0:10.0", b"-r\0-p\x001:h\0-t\0-c\0sh"]),
]  # fmt: skip
