"""What terminal programs show, direct and through gshell: scenarios whose screens differ."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from bench.lab import Lab
from bench.table import FAILED, MISSING, OK, Line
from kit.screens import SCENARIOS, Gone, Panes, missing

TIMES = 5


def screens(lab: Lab) -> list[Line]:
    line = Line("screens", "terminal programs: screens that differ")
    if shutil.which("tmux") is None:
        line.verdict, line.note = MISSING, "tmux not installed"
        return [line]
    wanted = [one for one in SCENARIOS if one.quick or not lab.quick]
    played = [one for one in wanted if not missing(one)]
    times = 1 if lab.quick else TIMES
    client, wrong = lab.warm, []
    with tempfile.TemporaryDirectory(prefix="gsh-screens-") as folder:
        env = {"HOME": folder, **client.env}
        with Panes(client.run(options=["-t"]), env, Path(folder)) as panes:
            for turn in range(times):
                for scenario in played:
                    try:
                        wrong += [f"{scenario.name}: {one}" for one in panes.play(scenario)[:1]]
                    except Gone as gone:
                        wrong.append(f"{turn}: {str(gone).splitlines()[0]}")
    line.figure, line.ours = len(wrong), f"{len(wrong)} of {len(played)} x {times}"
    line.verdict = FAILED if wrong else OK
    left_out = [one.name for one in wanted if one not in played]
    line.note = "; ".join(wrong[:3] + [f"not installed: {', '.join(left_out)}"] * bool(left_out))
    return [line]
