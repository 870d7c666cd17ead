"""The commands of experiments. Knows not what they do."""

from __future__ import annotations

from gshell.cli.options import Command, Option
from gshell.cli.sessions import GLOBAL

MODULE = "gshell.cli.sweep"
_RETRY = Option("--retry", help="try again what an earlier run gave up")
_ABOUT = (
    "Each point's output is DIR/POINT.out once it is whole and verified; a failed attempt's is"
    " POINT.failed-N.out. The tables are DIR/results.csv and .jsonl. The exit status is 0 when"
    " every point is done, 1 when some are missing, 130 when it was interrupted; whatever ended it,"
    " a signal 9 too, `gshell sweep resume DIR` goes on."
)
SWEEP_RUN = Command(
    "sweep run",
    "run the experiment that FILE describes",
    (
        Option("-o --directory", "DIR", "the result directory (else: the name and the time)"),
        Option("-c --continue", "DIR", "go on in DIR, with FILE as it is now"),
        _RETRY,
        Option("--dry-run", help="only say what would be run"),
    ),
    words="FILE",
    examples=(
        ("gshell sweep run lu.toml", "prepare, run every point, collect the results"),
        ("gshell sweep run --dry-run lu.toml", "its points and their commands"),
        ("gshell sweep run -c lu_20260314_101500 lu.toml", "with more levels than before"),
    ),
    about=_ABOUT,
    common=GLOBAL,
    module=MODULE,
    packages=True,
)
SWEEP_RESUME = Command(
    "sweep resume",
    "go on with an experiment that was interrupted",
    (_RETRY,),
    words="[DIR]",
    examples=(
        ("gshell sweep resume", "the latest one here"),
        ("gshell sweep resume --retry lu_20260314_101500", "failed points too"),
    ),
    about=_ABOUT,
    common=GLOBAL,
    module=MODULE,
    packages=True,
)
SWEEP_STATUS = Command(
    "sweep status",
    "how far an experiment is",
    (Option("-w --watch", help="keep it up to date until it ends, or Ctrl-C"),),
    words="[DIR]",
    examples=(
        ("gshell sweep status", "the latest one here"),
        ("gshell sweep status -w lu_20260314_101500", "also from another host, or another day"),
    ),
    common=GLOBAL,
    module=MODULE,
)
SWEEP_LIST = Command(
    "sweep list",
    "list experiments: the result directories in DIR",
    words="[DIR]",
    examples=(("gshell sweep list", "those here"),),
    common=GLOBAL,
    module=MODULE,
)
SWEEP_SHOW = Command(
    "sweep show",
    "the results of an experiment as a table",
    (
        Option("-o --output", "FILE", "into FILE: .csv, .jsonl or (with pyarrow) .parquet"),
        Option("--all", help="each repetition, instead of their median"),
    ),
    words="[DIR]",
    examples=(
        ("gshell sweep show", "of the latest one here: medians over repetitions"),
        ("gshell sweep show -o lu.csv lu_20260314_101500", "for other programs"),
        ("gshell sweep show mpi_bench_20260314_101500", "what a program in Python left, too"),
    ),
    common=GLOBAL,
    module=MODULE,
    packages=True,
)
SWEEP_PLOT = Command(
    "sweep plot",
    "plot the results, in the terminal or into files",
    (
        Option("-o --output", "FILE", "PNG, SVG or PDF by its ending (matplotlib)", repeat=True),
        Option("-x", "NAME", "the horizontal axis (else: as the file says, or guessed)"),
        Option("-l --lines", "NAME", "a line for each of its levels", repeat=True),
        Option("-f --figures", "NAME", "a figure for each of its levels", repeat=True),
        Option("-y --value", "NAME", "what is plotted: seconds, mops, speedup, efficiency, ...",
               repeat=True),
    ),
    words="[DIR]",
    examples=(
        ("gshell sweep plot", "the latest one here, as text"),
        ("gshell sweep plot -o lu.png lu_20260314_101500", "time, Mop/s, speed-up, efficiency"),
        ("gshell sweep plot -x cores -l size -y speedup", "other axes"),
    ),
    about="Points are medians over repetitions, bars reach from the least to the most. What was"
    " not verified is marked. DIR may also be a table: results.csv.",
    common=GLOBAL,
    module=MODULE,
    packages=True,
)  # fmt: skip

COMMANDS: tuple[Command, ...] = (
    SWEEP_RUN, SWEEP_RESUME, SWEEP_STATUS, SWEEP_LIST, SWEEP_SHOW, SWEEP_PLOT,
)  # fmt: skip
GROUPS = {"sweep": "run, resume, watch and plot experiments"}
