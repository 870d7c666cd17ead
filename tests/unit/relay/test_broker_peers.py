"""What members of one job say to each other: handed on between them, and nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from relay.broker import peers
from relay.broker.events import Send
