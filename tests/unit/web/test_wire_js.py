"""The page speaks the protocol: its own code, under node, against the golden bytes and our agent's half."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from gshell.wire import frames, peer
from gshell.wire.constants import INPUT_WINDOW, INTERACTIVE_WINDOW
from gshell.wire.peer import Peer
from gshell.wire.streams import SendBuffer

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="no node here")
TESTS = Path(__file__).parents[2]
V1 = TESTS / "data" / "wire" / "v1"

Page = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """Operations on the page's Peer; see the driver."""
    wire = resources.files("gshell.web") / "static" / "wire.js"
    with subprocess.Popen(
        ["node", str(TESTS / "kit" / "wiredriver.mjs"), str(wire)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={"NODE_NO_WARNINGS": "1", "PATH": "/usr/bin:/bin"},
    ) as node:  # fmt: skip
        assert node.stdin is not None
        assert node.stdout is not None

        def do(op: str, **more: Any) -> dict[str, Any]:
            node.stdin.write(json.dumps({"op": op, **more}) + "\n")
            node.stdin.flush()
            return dict(json.loads(node.stdout.readline()))

        yield do
        node.stdin.close()


@pytest.mark.parametrize("name", [path.stem for path in sorted(V1.glob("*.bin"))])
def test_golden_bytes_decode_however_they_are_cut(page: Page, name: str) -> None:
    data = (V1 / f"{name}.bin").read_bytes()
    ours = frames.Decoder().feed(data)
    for size in (1, 2, 3, 7, 64, len(data)):
        found = page("decode", data=data.hex(), size=size)
        assert len(found["frames"]) == len(ours), found
        for theirs, frame in zip(found["frames"], ours, strict=True):
            if isinstance(frame, frames.Data):
                assert (theirs["stream"], theirs["offset"], theirs["fin"]) == (
                    frame.stream, frame.offset, frame.fin,
                )  # fmt: skip
                assert bytes.fromhex(theirs["data"]) == frame.data
            elif isinstance(frame, frames.Hello | frames.Welcome):
                assert theirs["message"] == frame.message
            else:
                said = {k: v for k, v in theirs.items() if k != "type"}
                assert {k: str(v) for k, v in said.items()} == {
                    k: str(v) for k, v in frame._asdict().items()
                }
    if name not in ("hello", "welcome", "conversation_client", "conversation_agent"):
        assert found["again"] == data.hex() or name == "bye"  # JSON has many spellings
    assert frames.Decoder().feed(bytes.fromhex(found["again"])) == ours


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("0a00000000", "unknown-frame"),
        ("01ffffffff", "frame-too-long"),
        ("0100000001ff", "short-frame"),
        ("010000000d0000000300000000000000" + "0002", "bad-flags"),
        ("010000000d00000003ffffffffffffffff00", "bad-offset"),
        ("0200000001ff", "short-frame"),
        ("06000000027b5b", "bad-json"),
        ("06000000025b5d", "bad-json"),
        ("010000000d00000003000000000000000000", "before-greeting"),
        ("05000000027b7d", "unexpected-greeting"),
        ("0600000007" + b'{"v":2}'.hex(), "version"),
        ("0600000007" + b'{"v":1}'.hex(), "bad-greeting"),
    ],
)
def test_what_an_agent_must_not_say_ends_the_link(page: Page, data: str, code: str) -> None:
    page("new")
    page("up", hello={"op": "attach", "secret": "00"})
    assert page("receive", data=data) == {"error": code}


class Agent:
    """Our half, in Python: a log of output, and what arrived of the input."""

    def __init__(self) -> None:
        self.log = SendBuffer()
        self.peer = self._fresh()
        self.got = bytearray()
        self.said: list[dict[str, Any]] = []
        self.greeted = False

    def _fresh(self) -> Peer:
        found = Peer(client=False)
        found.add_send(3, self.log, INTERACTIVE_WINDOW)
        found.add_recv(2, INPUT_WINDOW)
        return found

    def receive(self, data: bytes) -> None:
        events = self.peer.receive(data)
        while events:
            event = events.pop(0)
            if isinstance(event, peer.Greeted):
                self.peer.link_up(
                    {"pty": True, "writer": True, "start": {"3": 0}, "live": {"3": 0}}
                )
                events = [*self.peer.adopt(event.message), *events]
                self.greeted = True
            elif isinstance(event, peer.StreamData):
                self.got += event.data
                self.peer.consume(2, len(event.data))
            elif isinstance(event, peer.ControlReceived):
                self.said.append(event.message)

    def lost(self) -> None:
        """The next link's HELLO is read by a Peer that knows nothing; here it is the same."""
        self.peer.link_lost()
        self.greeted = False


@pytest.mark.parametrize("seed", range(4))
def test_over_many_breaks_all_arrives_once_and_in_order(page: Page, seed: int) -> None:
    rng = random.Random(seed)
    agent = Agent()
    page("new")
    typed, printed, shown, said = bytearray(), bytearray(), bytearray(), 0
    unshown = 0

    def carry(limit: int) -> None:
        """Both ways, up to so many bytes: then the link breaks wherever it was."""
        nonlocal unshown
        for _ in range(12):
            up = bytes.fromhex(page("pull", most=rng.choice((50, 5000, 200_000)))["data"])
            agent.receive(up[: max(0, limit)])
            down = b"".join(agent.peer.pull(rng.choice((50, 5000, 200_000))))[: max(0, limit)]
            limit -= len(up) + len(down)
            for event in page("receive", data=down.hex())["events"]:
                if event["event"] == "data":
                    assert event["offset"] == len(shown)
                    shown.extend(bytes.fromhex(event["data"]))
                    unshown += len(event["data"]) // 2
            taken = rng.randint(0, unshown)
            if taken:
                page("consume", stream=3, count=taken)
                unshown -= taken
            if limit <= 0:
                return

    for turn in range(14):
        page("up", hello={"op": "resume" if turn else "attach", "secret": "00"})
        key = rng.randbytes(rng.choice((1, 40, 70_000)))
        page("write", data=key.hex())
        typed += key
        out = rng.randbytes(rng.choice((1, 3000, 150_000)))
        agent.log.append(out)
        printed += out
        page("say", message={"t": "resize", "rows": turn, "cols": 1})
        said += 1
        carry(rng.choice((10, 200, 5000, 100_000, 1 << 22)))
        page("lost")
        agent.lost()
    page("up", hello={"op": "resume", "secret": "00"})
    for _ in range(40):
        carry(1 << 24)
    assert agent.got == typed
    assert shown == printed
    assert [message["rows"] for message in agent.said] == list(range(said))


def test_what_the_page_does_not_show_is_not_sent(page: Page) -> None:
    agent = Agent()
    page("new")
    page("up", hello={"op": "attach", "secret": "00"})
    agent.log.append(bytes(1 << 20))
    came = 0

    def turn() -> None:
        nonlocal came
        agent.receive(bytes.fromhex(page("pull", most=1 << 20)["data"]))
        down = b"".join(agent.peer.pull(1 << 22))
        for event in page("receive", data=down.hex())["events"]:
            came += len(event.get("data", "")) // 2

    for _ in range(5):
        turn()
    assert came == INTERACTIVE_WINDOW
    page("consume", stream=3, count=INTERACTIVE_WINDOW // 2 - 1)
    turn()
    turn()
    assert came == INTERACTIVE_WINDOW  # less than half a window is not worth a word
    page("consume", stream=3, count=1)
    turn()
    turn()
    assert came == INTERACTIVE_WINDOW + INTERACTIVE_WINDOW // 2


def test_what_came_before_a_break_is_not_shown_again(page: Page) -> None:
    page("new")
    page("up", hello={"op": "attach", "secret": "00"})
    welcome = frames.Welcome({"v": 1, "pty": True, "start": {"3": 5}, "have": {}, "stopped": []})
    said = [
        welcome, frames.Data(3, 5, b"abc", False), frames.Data(3, 5, b"abcdef", False),
        frames.Data(3, 6, b"bc", False), frames.Gap(3, 7, 20), frames.Gap(3, 11, 20),
        frames.Data(3, 20, b"g", True), frames.Data(3, 20, b"g", True),
    ]  # fmt: skip
    events = page("receive", data=b"".join(map(frames.encode, said)).hex())["events"][1:]
    assert [(e["event"], e.get("offset", e.get("start")), e.get("data", e.get("end"))) for e in events] == [
        ("data", 5, b"abc".hex()), ("data", 8, b"def".hex()), ("gap", 11, 20), ("data", 20, b"g".hex()),
        ("end", None, None),
    ]  # fmt: skip
