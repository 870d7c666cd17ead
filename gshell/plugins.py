"""Batch systems of third parties: the modules that installed packages have put into the entry point
group ``gshell.lrms``. Knows none of ours (`gshell.lrms.registry` does), and nothing of the agent:
what starts on a node has only what we ship.

    [project.entry-points."gshell.lrms"]
    flux = "flux_for_gshell.plugin"
"""

from __future__ import annotations

import importlib.metadata

from gshell.errors import LrmsError
from gshell.lrms import registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gshell.lrms.base import Plugin

GROUP = "gshell.lrms"


def lrms(name: str) -> Plugin:
    """The plug-in for a batch system: ours, else one that is installed.

    Raises:
        LrmsError: there is none of that name, or it cannot be loaded.
    """
    ours = registry.built_in(name)
    if ours is not None:
        return ours
    there = {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}
    if name not in there:
        return registry.plugin(name, dict.fromkeys(there))  # says what there is
    try:
        found: Plugin = there[name].load()
    except Exception as error:  # it is somebody else's code
        raise LrmsError("refused", f"the plug-in {name!r} ({there[name].value}): {error}")
    return found


def names() -> list[str]:
    """Of all that there are."""
    others = {point.name for point in importlib.metadata.entry_points(group=GROUP)}
    return [*registry.NAMES, *sorted(others - set(registry.NAMES))]
