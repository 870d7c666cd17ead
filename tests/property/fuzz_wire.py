"""Hostile bytes at a Peer: it answers with events or RemoteProtocolError, whatever they are.

One line, for as long as you like (with atheris if that is installed, else seeded random bytes)::

    PYTHONPATH=. python tests/property/fuzz_wire.py --seconds 60

A failure prints the seed; ``--seed N --runs 1`` plays it again.
"""

import argparse
import importlib
import random
import sys
import time
from collections.abc import Iterator

from gshell.errors import RemoteProtocolError
from gshell.wire import frames, peer
from gshell.wire.peer import Event, Peer
from gshell.wire.streams import SendBuffer

WINDOW = 1000
EVENTS = (
    peer.StreamData, peer.StreamEnded, peer.StreamGap, peer.StreamStopped, peer.ControlReceived,
    peer.Greeted, peer.PongReceived, peer.Ended,
)  # fmt: skip
INTERESTING = [0, 1, 2, 3, 4, 7, 255, 999, 1000, 1001, 65536, 2**31, 2**32 - 1, 2**62, 2**64 - 1]
WORDS = [
    b'{"v":1,"have":{"0":[0,0,1000]}}',
    b'{"v":1,"have":{},"stopped":[2,3]}',
    b'{"v":1,"have":{"\\u00b2":[0,0,1000]}}',
    b'{"v":1,"have":{"3":[5,0,1000],"2":[1,1,4611686018427387904]},"stopped":[true,3,[],null]}',
    b'{"v":1,"have":[]}',
    b'{"v":[[[]]],"have":{}}',
    b'{"v":1e999}',
    b'{"code":{"a":[]},"reason":1}',
    b'{"code":"done","reason":"\\ud800"}',
    b"[" * 3000,
    b'{"a":' * 3000,
    b"9" * 5000,
    b"\xff\xfe{\x00}\x00",
    b"null\n{}\n\n",
    b"{}\n" * 40,
    b"",
]


def make_bytes(rng: random.Random) -> bytes:
    """Frames that are nearly right: most get past the decoder."""
    out = bytearray()
    for _ in range(rng.randrange(1, 12)):
        number = rng.choice(INTERESTING)
        stream = rng.choice([0, 2, 3, 3, 9])
        kind = rng.randrange(10)
        if kind < 3:
            data = rng.choice(WORDS) if stream == 0 else rng.randbytes(rng.randrange(60))
            at = rng.choice([0, 0, 1, 60, number % 2**64])
            out += frames.data_head(stream, at, len(data), rng.random() < 0.1) + data
        elif kind < 6:
            body = rng.choice(WORDS)
            type_ = rng.choice([frames.HELLO, frames.WELCOME, frames.BYE])
            out += bytes([type_]) + len(body).to_bytes(4, "big") + body
        elif kind == 6:
            numbers = (rng.choice(INTERESTING) % 2**64, number % 2**64)
            frame: frames.Frame = frames.Grant(stream, *numbers)
            if number % 2:
                frame = frames.Gap(stream, *numbers)
            out += frames.encode(frame)
        elif kind == 7:
            frame = frames.Stop(stream) if number % 2 else frames.Ping(number % 2**64)
            out += frames.encode(frame)
        elif kind == 8:
            out += rng.randbytes(rng.randrange(30))
        elif out:
            out[rng.randrange(len(out))] = rng.randrange(256)
    return bytes(out)


def attack(data: bytes, client: bool, piece: int, greeted: bool) -> None:
    """Feed ``data`` to a Peer in pieces, with an owner that does its duty, over two links.

    ``greeted``: a good greeting comes first, so that what follows is looked at.
    """
    victim = Peer(client)
    source = SendBuffer()
    source.append(bytes(100))
    victim.add_send(3, source, WINDOW)
    victim.add_recv(2, WINDOW)
    for _link in range(2):
        if client:
            victim.link_up({}, early_data=piece % 2 == 0)
        if greeted:
            type_ = frames.Welcome if client else frames.Hello
            data = frames.encode(type_({"v": 1, "have": {"3": [0, 0, WINDOW]}})) + data
        try:
            for at in range(0, len(data), piece):
                for event in own(victim, victim.receive(data[at : at + piece]), client):
                    assert isinstance(event, EVENTS)
                b"".join(victim.pull(1 << 16))
        except RemoteProtocolError:
            pass
        stream = victim.receiving(2)
        assert stream is not None
        assert stream.consumed <= stream.have <= stream.limit
        assert victim._held_bytes <= 2 * peer._MAX_HELD_BYTES
        victim.link_lost()


def own(victim: Peer, events: list[Event], client: bool) -> Iterator[Event]:
    for event in events:
        yield event
        if isinstance(event, peer.StreamData):
            victim.consume(event.stream, len(event.data))
        elif isinstance(event, peer.StreamGap):
            victim.consume(event.stream, event.end - event.start)
        elif isinstance(event, peer.Greeted):
            if not client:
                victim.link_up({})
            yield from own(victim, victim.adopt(event.message), client)


def run(seed: int) -> None:
    rng = random.Random(seed)
    attack(
        make_bytes(rng), rng.random() < 0.5, rng.choice([1, 2, 7, 100, 100_000]), rng.random() < 0.7
    )


def fuzz_with_atheris() -> None:
    atheris = importlib.import_module("atheris")

    def one(data: bytes) -> None:
        if data:
            attack(data[1:], bool(data[0] & 1), 1 + (data[0] >> 2), bool(data[0] & 2))

    atheris.instrument_all()
    atheris.Setup(sys.argv[:1], one)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="without atheris: time limit")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--runs", type=int, default=sys.maxsize)
    options = parser.parse_args()
    if len(sys.argv) == 1:
        try:
            fuzz_with_atheris()
        except ImportError:
            pass  # the plain loop does
    until = time.monotonic() + options.seconds
    seed = options.seed
    while seed < options.seed + options.runs and time.monotonic() < until:
        try:
            run(seed)
        except BaseException:
            print(f"seed {seed}")
            raise
        seed += 1
    print(f"{seed - options.seed} runs, nothing found")


if __name__ == "__main__":
    main()
