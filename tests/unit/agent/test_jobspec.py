"""What a job may ask for around its program."""

from __future__ import annotations

from typing import Any

import pytest

from gshell.agent.jobspec import JobPart
from gshell.agent.spec import StepSpec
from gshell.errors import RemoteProtocolError


def test_files_need_a_directory() -> None:
    assert JobPart.parse({"stdout": "o"}).workdir
    assert not JobPart.parse({"prologue": ["a"]}).workdir
    assert StepSpec.parse({"argv": ["x"]}).job is None


@pytest.mark.parametrize(
    "job",
    [
        {"stdout": "/etc/passwd"}, {"stdin": "../x"}, {"stderr": "a/../../x"}, {"inputs": [".."]},
        {"inputs": "x"}, {"inputs": [7]}, {"stdout": "a\0b"}, {"prologue": "rm x"},
        {"epilogue": [""]}, {"epilogue": [7]}, {"perusal": {"every": "x", "files": ["a"]}},
        {"perusal": {"every": -1}}, {"perusal": 7}, {"stdout": "."}, {"stdout": ["x"]}, "x", [1], 7,
    ],
)  # fmt: skip
def test_nonsense_is_refused(job: Any) -> None:
    with pytest.raises(RemoteProtocolError):
        StepSpec.parse({"argv": ["x"], "job": job})


def test_nobody_looks_more_often_than_every_second() -> None:
    job = JobPart.parse({"perusal": {"every": 0.01, "files": ["a"]}})
    assert (job.perusal_every_s, job.workdir) == (1.0, True)
