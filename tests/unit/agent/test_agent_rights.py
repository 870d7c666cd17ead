"""Whom an agent lets in: its user, and the relay's archive to look on at what may be archived."""

import pytest

from gshell.agent.agent import Agent
from gshell.agent.rights import Rights
from gshell.agent.spec import StepSpec

ATTACH = {"user": "@archive", "rights": "r", "op": "attach", "job": "1", "index": 0}


class Step:
    job, index, state = "1", 0, "ended"

    def __init__(self, spec):
        self.spec = spec


MINE = Rights("me", "")


@pytest.mark.parametrize(
    ("change", "spec", "may"),
    [
        ({}, {}, True),
        ({"op": "resume"}, {}, True),
        ({"op": "open"}, {}, False),
        ({"rights": "rw"}, {}, False),
        ({}, {"archive": False}, False),
        ({}, {"pty": [24, 80]}, False),
        ({}, {"pty": [24, 80], "keep": True}, True),
    ],
)
def test_the_archive_looks_on_and_nothing_else(change, spec, may):
    step = Step(StepSpec.parse({"argv": ["x"], **spec}))
    assert MINE.may_archive({**ATTACH, **change}, [step]) == may


@pytest.mark.parametrize(
    ("announced", "user", "may"),
    [("me", "me", True), ("@archive", "@archive", True), ("@archive", "me", False),
     ("me", "@archive", False), ("you", "you", False)],
)  # fmt: skip
def test_who_comes_is_who_was_announced(announced, user, may):
    assert MINE.may({**ATTACH, "user": announced}, user) == may


def test_a_service_that_nobody_is_left_to_talk_to_is_ended():
    class Step:
        state, service, attachments, cancelled = "running", "forward", {}, False

        def cancel(self) -> None:
            self.cancelled = True

    for service, attachments, ends in (
        ("forward", {}, True),
        ("", {}, False),
        ("files", {1: 1}, False),
    ):
        step = Step()
        step.service, step.attachments = service, attachments
        Agent.on_left(None, step)  # type: ignore[arg-type]
        assert step.cancelled is ends
