"""Members that speak through a relay that loses, doubles and reorders: each body once, in order."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from unit.agent.test_peers import Pair

from gshell.agent import peers

SIZES = (1, 10, peers.PIECE, 3 * peers.PIECE)
steps = st.lists(
    st.tuples(st.sampled_from(("say", "say", "deliver", "deliver", "lose", "double", "swap",
                               "wait", "welcome")),
              st.integers(0, 1), st.integers(0, 3)),
    max_size=60,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(steps)
def test_each_body_arrives_once_and_in_order_and_nothing_stands_still(plan: Any) -> None:
    pair = Pair()
    said: list[list[Any]] = [[], []]
    for kind, side, number in plan:
        if kind == "say":
            body = {"t": "x", "n": len(said[side]), "fill": "y" * SIZES[number]}
            said[side].append(body)
            pair.ends[side].tell(1 - side, body)
        elif kind == "welcome":
            pair.ends[side].repeat()
        elif kind == "wait":
            pair.clock.go(0.7)
        elif pair.way:
            message = pair.way.pop(min(number, len(pair.way) - 1) if kind == "swap" else 0)
            if kind != "lose":
                pair.hand_on(json.loads(json.dumps(message)))
            if kind == "double":
                pair.hand_on(message)
        for side in (0, 1):
            assert pair.heard[1 - side] == said[side][: len(pair.heard[1 - side])]
    for _ in range(100):
        pair.deliver()
        pair.clock.go(peers.REPEAT_MOST_S)
        if not pair.way and not pair.clock.timers:
            break
    assert pair.heard == [said[1], said[0]]
    assert pair.clock.timers == []
