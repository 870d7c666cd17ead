"""What execo leaves in a sweeper's directory."""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest


def left_by_execo(
    folder: Path, points: Iterable[Mapping[str, Any]], done: Iterable[Mapping[str, Any]],
    protocol: int = pickle.HIGHEST_PROTOCOL,
) -> None:  # fmt: skip
    """As execo 2.8 does: a pickle for each that is ``done``, one of all ``points`` that were
    kept."""
    module: Any = types.ModuleType("execo_engine.sweep")

    def hashed(point: Any) -> int:
        return hash(frozenset(point.items()))

    theirs: Any = type("HashableDict", (dict,), {"__module__": module.__name__, "__hash__": hashed})
    module.HashableDict = theirs
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "execo_engine", types.ModuleType("execo_engine"))
        patch.setitem(sys.modules, module.__name__, module)
        folder.mkdir()
        with open(folder / "done", "wb") as file:
            for one in done:
                pickle.dump(theirs(one), file, protocol)
        (folder / "sweeps").write_bytes(pickle.dumps(set(map(theirs, points)), protocol))
