"""What members of one job say to each other: once, whole and in order, whatever is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gshell.agent import peers
from gshell.agent.peers import Book, Me, Peers


class Clock:
    """Timers, and a time that goes on when told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[list[Any]] = []

    def later(self, delay: float, call: Callable[[], None]) -> Any:
        timer = [self.now + delay, call]
        self.timers.append(timer)

        class Handle:
            def cancel(_) -> None:
                if timer in self.timers:
                    self.timers.remove(timer)

        return Handle()

    def go(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer[0] <= end]:
            timer = min(due, key=lambda one: one[0])
            self.timers.remove(timer)
            self.now = timer[0]
            timer[1]()
        self.now = end


class Pair:
    """Two members and a relay between them that does as it is told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.way: list[dict[str, Any]] = []
        self.heard: list[list[dict[str, Any]]] = [[], []]
        self.ends = [Peers(Me("7", n, 1), self.way.append, self.clock.later) for n in (0, 1)]
        for n, end in enumerate(self.ends):
            end.attach(lambda index, body, n=n: self.heard[n].append(body))

    def hand_on(self, message: dict[str, Any]) -> None:
        handed = {**message, "index": message["to"], "from": message["index"]}
        self.ends[message["to"]].on_message(handed)

    def deliver(self) -> int:
        """All that is on the way; how many messages that were."""
        count = 0
        while self.way:
            self.hand_on(self.way.pop(0))
            count += 1
        return count


def test_what_is_said_arrives_and_is_confirmed_without_being_said_again() -> None:
    pair = Pair()
    for number in range(5):
        pair.ends[0].tell(1, {"t": "x", "n": number})
    pair.deliver()
    assert [body["n"] for body in pair.heard[1]] == [0, 1, 2, 3, 4]
    pair.clock.go(0.5)
    assert pair.deliver() == 1  # one confirmation of all
    pair.clock.go(60)
    assert pair.way == []
    assert pair.clock.timers == []


def test_an_answer_confirms_as_well() -> None:
    pair = Pair()
    pair.ends[0].tell(1, {"t": "in"})
    pair.deliver()
    pair.ends[1].tell(0, {"t": "out"})
    pair.deliver()
    pair.clock.go(0.5)
    assert pair.deliver() == 1  # the answer's confirmation


def test_what_is_lost_is_said_again_and_what_came_twice_is_heard_once() -> None:
    pair = Pair()
    pair.ends[0].tell(1, {"t": "x", "n": 1})
    pair.way.clear()
    pair.ends[0].tell(1, {"t": "x", "n": 2})
    pair.deliver()
    assert pair.heard[1] == []  # not the second before the first
    pair.clock.go(peers.REPEAT_S)
    pair.deliver()
    pair.ends[0].repeat()
    pair.deliver()
    assert [body["n"] for body in pair.heard[1]] == [1, 2]


def test_a_large_body_goes_in_pieces_below_the_relays_limit() -> None:
    import json

    pair = Pair()
    body = {"t": "out", "puts": {f'k"{n}': '\\"\ud800' * 500 for n in range(200)}}
    pair.ends[0].tell(1, body)
    sizes = [len(json.dumps(message["body"])) for message in pair.way]
    assert len(sizes) > 10
    assert max(sizes) <= 1 << 16
    while pair.deliver():
        pair.clock.go(0.3)
    assert pair.heard[1] == [body]


def test_one_that_confirms_nothing_is_not_flooded() -> None:
    pair = Pair()
    for _ in range(100):
        pair.ends[0].tell(1, {"t": "x" * 20_000})
    assert sum(len(message["body"]["t"]) for message in pair.way) < peers.WINDOW + 30_000
    while pair.deliver():
        pair.clock.go(0.3)
    assert len(pair.heard[1]) == 100


def test_what_comes_before_the_step_is_here_waits_for_it() -> None:
    clock, said = Clock(), []
    book = Book(said.append, clock.later)
    message = {"m": "peer", "job": "7", "index": 0, "from": 1, "attempt": 2}
    book.on_control({**message, "seq": 1, "body": {"t": "here"}})
    book.on_control({**message, "seq": 2, "body": {"t": "more"}})
    heard: list[Any] = []
    book.of("7", 0, 1).attach(lambda index, body: heard.append("another attempt's"))
    assert heard == []
    book.of("7", 0, 2).attach(lambda index, body: heard.append((index, body["t"])))
    assert heard == [(1, "here"), (1, "more")]


def test_of_those_that_nobody_comes_for_only_so_many_are_kept() -> None:
    clock, said = Clock(), []
    book = Book(said.append, clock.later)
    mine = book.of("1", 0, 1)
    mine.attach(lambda index, body: None)
    for number in range(Book.MAX + 10):
        book.of(str(number + 2), 0, 1)
    assert len(book._all) <= Book.MAX
    assert book.of("1", 0, 1) is mine


def test_who_the_relay_does_not_know_yet_gets_all_of_it_later_and_not_too_often() -> None:
    pair = Pair()
    pair.ends[0].tell(1, {"t": "x"})
    pair.way.clear()
    pair.ends[0].on_nobody()
    pair.clock.go(60)
    assert 1 <= len(pair.way) <= 2 + 60 / peers.REPEAT_MOST_S
    pair.ends[0].tell(1, {"t": "y"})
    pair.deliver()
    assert pair.heard[1] == [{"t": "x"}, {"t": "y"}]
