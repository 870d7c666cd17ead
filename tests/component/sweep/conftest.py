"""What tests of experiments share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gshell.sweep.log import logger


@pytest.fixture(autouse=True)
def _as_loud_as_before() -> Iterator[None]:
    """An engine that was told how much to say tells it to everybody."""
    level = logger.level
    yield
    logger.setLevel(level)
