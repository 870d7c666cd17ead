"""What a client asks to start: good words become a spec, others an error."""

from __future__ import annotations

import pytest

from gshell.agent.main import Settings
from gshell.agent.spec import StepSpec
from gshell.errors import RemoteProtocolError, UsageError

ASKED = {"argv": ["true"]}


def test_what_was_not_said_is_as_usual():
    spec = StepSpec.parse(ASKED)
    assert (spec.keep, spec.on_full, spec.quota_bytes) == (False, None, 64 << 20)


def test_policies_of_the_output():
    spec = StepSpec.parse({**ASKED, "keep": True, "on_full": "gap", "quota": 0})
    assert (spec.keep, spec.on_full, spec.quota_bytes) == (True, "gap", 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"on_full": "never"},
        {"on_full": ["gap"]},
        {"on_full": 1},
        {"quota": -1},
        {"quota": 1 << 60},
        {"quota": 1.5},
        {"quota": "64M"},
        {"quota": None},
        {"argv": []},
        {"argv": "true"},
    ],
)
def test_nonsense_is_the_client_s_error(wrong):
    with pytest.raises(RemoteProtocolError):
        StepSpec.parse({**ASKED, **wrong})


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("4096", 4096), ("64M", 64 << 20), ("4g", 4 << 30), ("1T", 1 << 40)],
)
def test_an_agent_s_quota(text, size):
    assert Settings(["--quota", text]).quota == size


@pytest.mark.parametrize("text", ["", "M", "-1", "1.5G", "4GB", "9" * 20, "²"])
def test_an_agent_s_quota_that_is_none(text):
    with pytest.raises(UsageError, match="size"):
        Settings(["--quota", text])
