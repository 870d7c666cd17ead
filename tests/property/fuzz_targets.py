"""What `fuzz.py` feeds: one target for each parser, with what it may raise and what must hold."""

from __future__ import annotations

from property import (
    fuzz_agent,
    fuzz_broker,
    fuzz_client,
    fuzz_files,
    fuzz_net,
    fuzz_person,
    fuzz_ranks,
    fuzz_replay,
)

FAMILIES = (
    fuzz_net, fuzz_person, fuzz_broker, fuzz_agent, fuzz_ranks, fuzz_client, fuzz_files,
    fuzz_replay,
)  # fmt: skip
TARGETS = {target.name: target for family in FAMILIES for target in family.TARGETS}
