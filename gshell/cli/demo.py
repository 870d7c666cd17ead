"""`gshell demo`: an MPI program with and without gshell, compared. Knows no other command.

The program is LU (examples/lu), compiled here with whatever MPI there is. It verifies its own
results, so a run is good or bad by its own word, not by ours.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gshell import sitepath
from gshell.errors import GshellError, LaunchError, NoMpi

OPEN_MPI = "Open MPI"
MPICH = "MPICH"  # and its family: MVAPICH2, Intel MPI

CFLAGS = ("-O3", "-std=c99")
CLASSES = ("S", "W", "A", "B", "C", "D", "E")
DEFAULT_CLASSES = "S,W"  # together about two seconds on one core
PROBE_TIMEOUT_S = 20.0  # mpirun --version takes 20 ms; a cold network file system takes its time
SAID_LINES = 12  # of a failed command's output: mpirun's banner is 8, the reason is above it
HOW_TO_GET_MPI = "pip install 'gshell[mpi]'    or    apt-get install openmpi-bin libopenmpi-dev"

# ------------------------------------------------------------------------------------- which MPI


@dataclass(frozen=True)
class MpiToolchain:
    """A compiler and a launcher that belong together."""

    mpicc: list[str]
    mpirun: list[str]
    """With the options that let it run anywhere; `-n` and the program follow."""
    flavour: str
    version: str
    env_additions: dict[str, str] = field(default_factory=dict)

    def launch(self, ranks: int, program: Path) -> list[str]:
        """An argv complete in itself: what the environment needs goes along, wherever it is run."""
        env = [f"{name}={value}" for name, value in self.env_additions.items()]
        return [*(["env", *env] if env else []), *self.mpirun, "-n", str(ranks), str(program)]


def find_mpi(env: Mapping[str, str]) -> MpiToolchain:
    """The first usable MPI: the system's on PATH, else PyPI's beside this interpreter.

    Raises:
        NoMpi: there is none; the message says what was wrong with those that were tried.
    """
    problems: list[str] = []
    for mpicc, mpirun in mpi_candidates(env):
        found = examine(mpicc, mpirun, env)
        if isinstance(found, MpiToolchain):
            return found
        problems.append(found)
    if problems:
        raise NoMpi("no usable MPI: " + "; ".join(problems), HOW_TO_GET_MPI)
    raise NoMpi("no MPI: mpicc and mpirun are neither on PATH nor beside Python", HOW_TO_GET_MPI)


def mpi_candidates(env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Pairs of mpicc and mpirun. Never from two directories: they would hardly be the same MPI."""
    # The wheels put their programs into the environment's bin, which need not be on PATH.
    directories = [*env.get("PATH", os.defpath).split(os.pathsep), os.path.dirname(sys.executable)]
    for directory in dict.fromkeys(filter(None, directories)):
        # Debian's suffixes, for where its two alternatives point to different MPIs.
        for suffix in ("", ".openmpi", ".mpich"):
            mpicc = os.path.join(directory, "mpicc" + suffix)
            mpirun = os.path.join(directory, "mpirun" + suffix)
            if os.access(mpicc, os.X_OK) and os.access(mpirun, os.X_OK):
                yield mpicc, mpirun


def examine(mpicc: str, mpirun: str, env: Mapping[str, str]) -> MpiToolchain | str:
    """The toolchain of this pair, or what is wrong with it."""
    header = _output([mpicc, "-E", "-dM", "-x", "c", "-"], env, "#include <mpi.h>\n")
    compiles_for = identify_header(header)
    if compiles_for is None:
        return f"{mpicc} can't compile (is there a C compiler?)"
    flavour, version = compiles_for
    launches = identify_launcher(_output([mpirun, "--version"], env))
    if launches is None:
        return f"{mpirun} doesn't run"
    if launches != flavour:
        return f"{mpicc} is {flavour} but {mpirun} is {launches}"
    options, additions = launch_options(flavour, os.geteuid() == 0)
    return MpiToolchain([mpicc], [mpirun, *options], flavour, version, additions)


def identify_header(macros: str) -> tuple[str, str] | None:
    """Flavour and version by the macros mpi.h defines; the only thing all of them have."""
    defined = dict(re.findall(r'^#define (\w+) "?([\w.]+)"?$', macros, re.MULTILINE))
    if "OMPI_MAJOR_VERSION" in defined:
        parts = (defined.get(f"OMPI_{part}_VERSION", "0") for part in ("MAJOR", "MINOR", "RELEASE"))
        return OPEN_MPI, ".".join(parts)
    for name in ("I_MPI_VERSION", "MVAPICH2_VERSION", "MPICH_VERSION"):
        if name in defined:
            return MPICH, defined[name]
    return None


def identify_launcher(version_text: str) -> str | None:
    """The flavour by what `mpirun --version` says."""
    if "Open MPI" in version_text or "OpenRTE" in version_text:
        return OPEN_MPI
    return MPICH if re.search(r"HYDRA|Intel\(R\) MPI|mpich", version_text, re.I) else None


def launch_options(flavour: str, as_root: bool) -> tuple[list[str], dict[str, str]]:
    """What mpirun must be told so that it runs anywhere: options, and environment."""
    if flavour != OPEN_MPI:
        return [], {}  # hydra neither counts cores nor minds who starts it
    # Both spellings are understood by Open MPI 4 and 5; the environment's differ between them.
    # One or two ranks are bound to a core each, even to one that somebody else keeps busy.
    options = ["--oversubscribe", "--bind-to", "none"]
    if as_root:
        options.append("--allow-run-as-root")
    # Containers often forbid the system call it copies with; every message is then a line on
    # stderr: open-mpi/ompi#4948. Open MPI 5 looks before it leaps and ignores this.
    return options, {"OMPI_MCA_btl_vader_single_copy_mechanism": "none"}


def _output(argv: Sequence[str], env: Mapping[str, str], text: str = "") -> str:
    """What a short command prints; nothing if it fails."""
    try:
        done = subprocess.run(
            argv, input=text, capture_output=True, text=True, errors="replace",
            env=dict(env), timeout=PROBE_TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


# ---------------------------------------------------------------------------------- LU's program


def lu_source() -> Path:
    """The directory of LU's source: in an installed gshell, else in the checkout we run from.

    Raises:
        LaunchError: it is in neither.
    """
    package = Path(__file__).resolve().parent.parent
    places = [package / "_examples" / "lu", package.parent / "examples" / "lu"]
    for place in places:
        if (place / "src" / "main.c").is_file():
            return place
    raise LaunchError(f"LU's source is not in {places[0]}", "pip install --force-reinstall gshell")


def default_cache_dir(env: Mapping[str, str]) -> Path:
    """Where compiled programs are kept between runs."""
    base = env.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "gshell" / "lu"


def build_key(mpi: MpiToolchain, sources: Sequence[Path]) -> str:
    """Names a build: another source, compiler or machine gives another name."""
    digest = hashlib.sha256()
    for part in (*mpi.mpicc, mpi.flavour, mpi.version, *CFLAGS, platform.machine()):
        digest.update(part.encode() + b"\0")
    for source in sources:
        content = source.read_bytes()
        digest.update(f"{source.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def build_lu(mpi: MpiToolchain, cls: str, nprocs: int, cache_dir: Path) -> Path:
    """The program `lu.CLASS.NPROCS`, compiled now or earlier.

    One compiler command instead of LU's Makefile: make need not be installed.

    Raises:
        LaunchError: it doesn't compile; with the compiler's last words.
    """
    src = lu_source() / "src"
    target = cache_dir / build_key(mpi, sorted(src.glob("*.[ch]"))) / f"lu.{cls}.{nprocs}"
    if os.access(target, os.X_OK):
        return target
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Under another name first: whoever else looks finds a whole program or none.
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        fresh = Path(scratch) / target.name
        done = subprocess.run(
            [*mpi.mpicc, *CFLAGS, f"-DLU_CLASS='{cls}'", f"-DLU_NPROCS={nprocs}",
             *map(str, sorted(src.glob("*.c"))), "-o", str(fresh), "-lm"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        if done.returncode != 0:
            said = "\n".join(done.stderr.strip().splitlines()[-5:])
            raise LaunchError(f"{mpi.mpicc[0]} could not compile LU:\n{said}", HOW_TO_GET_MPI)
        fresh.replace(target)
    return target


# ----------------------------------------------------------------------------------- its results


@dataclass(frozen=True)
class LuResult:
    """What a finished LU run, or one of NPB's programs, says of itself."""

    cls: str
    iterations: int
    processes: int
    seconds: float
    """By its own clock: the iterations only, without start-up."""
    mops: float
    verified: bool


def parse_npb(text: str) -> LuResult:
    """The result block that NPB's programs end with.

    Raises:
        ValueError: there is none, or a line of it is missing.
    """
    lines = dict(re.findall(r"^ (\S[^=\n]*?) *= +(\S[^\n]*?) *$", text, re.MULTILINE))
    try:
        return LuResult(
            cls=lines["Class"],
            iterations=int(lines["Iterations"]),
            processes=int(lines["Total processes"]),
            # Ours prints microseconds too; NPB itself has two decimals.
            seconds=float(lines.get("Elapsed seconds") or lines["Time in seconds"]),
            mops=float(lines["Mop/s total"]),
            verified=lines["Verification"] == "SUCCESSFUL",
        )
    except KeyError as missing:
        raise ValueError(f"no line {missing} in the program's output") from None


# ----------------------------------------------------------------------------------- the command


@dataclass(frozen=True)
class Timing:
    """One run, seen from outside."""

    seconds: float
    """From starting the command to its end."""
    exit_code: int
    result: LuResult | None
    """None: it printed none."""
    said: str = ""
    """The last lines it printed."""

    @property
    def good(self) -> bool:
        """Verified, and nothing complained afterwards."""
        return self.exit_code == 0 and self.result is not None and self.result.verified


@dataclass(frozen=True)
class Comparison:
    """The same program with and without gshell."""

    cls: str
    ranks: int
    alone: Timing
    gshell: Timing

    @property
    def good(self) -> bool:
        """Both runs are."""
        return self.alone.good and self.gshell.good


def run_demo(argv: Sequence[str]) -> int:
    """The command; `argv` without its name. 0 only if every run verified."""
    parser = argparse.ArgumentParser(
        prog="gshell demo", description="Run LU, an MPI program, with and without gshell."
    )
    parser.add_argument("-n", dest="ranks", type=_ranks, default=1, help="MPI ranks (default 1)")
    parser.add_argument(
        "--class", dest="classes", type=_classes, default=DEFAULT_CLASSES, metavar="CLASSES",
        help=f"problem sizes from {','.join(CLASSES)}, with commas (default {DEFAULT_CLASSES})",
    )  # fmt: skip
    try:
        options = parser.parse_args(argv)
    except SystemExit as done:  # argparse has printed why
        return done.code if isinstance(done.code, int) else 2
    try:
        comparisons = _compare_all(options.classes, options.ranks)
    except GshellError as error:
        print(f"gshell demo: {error.explained()}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    print(f"\n{comparison_table(comparisons)}\n")
    for comparison in comparisons:
        outcome = "Verification Successful" if comparison.good else "Verification FAILED"
        print(f"LU class {comparison.cls} on a waiting agent: {outcome}")
    return 0 if all(comparison.good for comparison in comparisons) else 1


def _ranks(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"not a number of ranks: {text!r}")
    return int(text)


def _classes(text: str) -> list[str]:
    classes = [name.strip().upper() for name in text.split(",")]
    for name in classes:
        if name not in CLASSES:
            raise argparse.ArgumentTypeError(f"no class {name!r}: choose from {','.join(CLASSES)}")
    return classes


def _compare_all(classes: Sequence[str], ranks: int) -> list[Comparison]:
    with _Phase("looking for an MPI") as phase:
        mpi = find_mpi(os.environ)
        phase.note = f"{mpi.flavour} {mpi.version}, {mpi.mpirun[0]}"
    programs: dict[str, Path] = {}
    for cls in classes:
        with _Phase(f"compiling LU, class {cls}, for {ranks} rank{'s' * (ranks > 1)}"):
            programs[cls] = build_lu(mpi, cls, ranks, default_cache_dir(os.environ))
    # Both sides start warm: neither pays for reading MPI from disk, nor for starting the agent.
    with _Phase("loading MPI once"):
        # The fewest points that can be cut for so many ranks, one iteration.
        tiny = [str(max(12, 3 * ranks)), "1"]
        _must_work([*mpi.launch(ranks, programs[classes[0]]), *tiny])
    with _Phase("starting a waiting agent"):
        _must_work([*gshell_command(), "run", "--", "true"])
    return [_compare(mpi, cls, ranks, program) for cls, program in programs.items()]


def _must_work(argv: Sequence[str]) -> None:
    """A command without which there is nothing to compare."""
    timing = measure(argv, live=False)
    if timing.exit_code != 0:
        raise LaunchError(f"{' '.join(argv)}\nended with exit {timing.exit_code}:\n{timing.said}")


def _compare(mpi: MpiToolchain, cls: str, ranks: int, program: Path) -> Comparison:
    command = mpi.launch(ranks, program)
    with _Phase(f"class {cls} without gshell") as phase:
        alone = measure(command, live=False)
        phase.note = verdict(alone)
    if not alone.good:
        print(alone.said)
    print(f"class {cls} on a waiting agent:  gshell run -- {' '.join(command)}", flush=True)
    through = measure([*gshell_command(), "run", "--", *command], live=True)
    print(f"class {cls} on a waiting agent: {verdict(through)}", flush=True)
    return Comparison(cls, ranks, alone, through)


def gshell_command() -> list[str]:
    """gshell itself, as this process was started."""
    if sys.flags.no_site:  # by the launcher: then -m would not find us
        return [*sitepath.interpreter(), str(Path(sitepath.root()) / "gshell" / "front.py")]
    return [sys.executable, "-m", "gshell"]


def measure(argv: Sequence[str], *, live: bool) -> Timing:
    """Runs a command to its end; `live` shows its output as it comes, else it is only kept."""
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,  # mpirun would eat what is typed ahead
            stdout=subprocess.PIPE,
            stderr=None if live else subprocess.STDOUT,
        )
    except FileNotFoundError as error:
        raise LaunchError(f"{argv[0]}: {error.strerror}", HOW_TO_GET_MPI) from error
    output = bytearray()
    with process:
        assert process.stdout is not None
        descriptor = process.stdout.fileno()
        while chunk := os.read(descriptor, 65536):  # not read(n), which waits for all n
            output += chunk
            if live:
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
        exit_code = process.wait()
    seconds = time.monotonic() - started
    text = output.decode(errors="replace")
    try:
        result = parse_npb(text)
    except ValueError:
        result = None
    said = "\n".join(text.strip().splitlines()[-SAID_LINES:])
    return Timing(seconds, exit_code if exit_code >= 0 else 128 - exit_code, result, said)


def verdict(timing: Timing) -> str:
    """A run in a few words."""
    if timing.good:
        return f"verified, {timing.seconds:.2f} s"
    if timing.result is not None and not timing.result.verified:
        return f"NOT verified, exit {timing.exit_code}"
    return f"failed, exit {timing.exit_code}"


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Both times and their ratio: by LU's own clock, and of the whole command with its start."""
    rows = [
        "                     LU's own clock (s)         whole command (s)",
        "class  ranks      alone  gshell   ratio     alone  gshell   ratio   verified",
    ]
    for one in comparisons:
        alone = one.alone.result.seconds if one.alone.result else None
        gshell = one.gshell.result.seconds if one.gshell.result else None
        rows.append(
            f"{one.cls:5}  {one.ranks:5}   {_times(alone, gshell)}"
            f"  {_times(one.alone.seconds, one.gshell.seconds)}   {'yes' if one.good else 'NO'}"
        )
    return "\n".join(rows)


def _times(alone: float | None, gshell: float | None) -> str:
    def cell(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    ratio = gshell / alone if alone and gshell is not None else None
    return f"{cell(alone, 3):>8}{cell(gshell, 3):>8}{cell(ratio, 2):>8}"


class _Phase:
    """One line for one phase: its name when it begins, how it went when it ends."""

    def __init__(self, name: str) -> None:
        self.note = ""
        self._name = name

    def __enter__(self) -> _Phase:
        print(f"{self._name} ... ", end="", flush=True)
        self._started = time.monotonic()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        took = f"{time.monotonic() - self._started:.2f} s"
        print((self.note or took) if kind is None else "failed", flush=True)
