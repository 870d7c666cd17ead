"""What members of one job say to each other: handed on between them, and nobody else."""

from __future__ import annotations
