"""Reservations of all kinds, for whoever goes on with an experiment that died."""

from __future__ import annotations

import time
from importlib import import_module

from gshell.sweep import batch
from gshell.sweep.ledger import Reservation
from gshell.sweep.log import logger

KINDS = ("oar", "slurm", "sge")


def system_of(kind: str) -> batch.System:
    system: batch.System = import_module(f"gshell.sweep.{kind}").SYSTEM
    return system


def end(one: Reservation) -> bool:
    """Whether it is known to be over. What was asked for without an answer is found by its tag."""
    if one.kind not in KINDS:
        logger.warning("no batch system of kind %r: %s", one.kind, one)
        return False
    return batch.end(system_of(one.kind), one, time.time())
