"""The commands that make or join a session: run, mpi, sh, attach, logs, fwd, ranks; a table.

Knows not what they do.
"""

from __future__ import annotations

from gshell.cli import values
from gshell.cli.listing import fields_option
from gshell.cli.options import Command, Option, Parsed, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

HELP = Option("-h --help", help="this page")
GLOBAL = (
    Option("--relay", "HOST:PORT", "the relay to use instead of the configured or private one"),
    Option("--json", help="print JSON instead of tables"),
    Option("-q --quiet", help="only what was asked for: no notes, lists as bare ids"),
    Option("-v --verbose", help="say what is being done; -vv more", repeat=True),
    Option(
        "--color",
        "WHEN",
        "auto, always or never (also: NO_COLOR, FORCE_COLOR)",
        default="auto",
        choices=("auto", "always", "never"),
    ),
    Option("--ascii", help="no character beyond ASCII"),
    Option("--no-background", help="do everything in this process: slower, nothing stays behind"),
    HELP,
)


def _tasks(text: str) -> int:
    if text[:1] == "p" and text[1:].isdigit() == bool(text[1:]):  # mpirun's -np 4, or -np4
        raise ValueError("one letter is enough here: -n N, not -np N")
    try:
        return values.whole_number(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number of tasks; a job's name is given with -J")


def _agents(text: str) -> int:
    try:
        return values.whole_number(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number of agents; a job's name is given with -J")


def ranks_text(text: str) -> str:
    """A set of ranks, as it is written."""
    from gshell.model.rankset import RankSet  # only for who gives one

    return RankSet.parse("" if text == "none" else text).text()


def _rank(text: str) -> int:
    if not text.isdigit() or len(text) > 6:
        raise ValueError(f"{text!r} is not a rank")
    return int(text)


FLAVOURS = {name: name for name in ("auto", "mpich", "openmpi", "intel", "mvapich2", "generic")}
FLAVOURS["mpich2"] = "mpich"


def _flavour(text: str) -> str:
    name = FLAVOURS.get(text.lower())
    if name is None:
        raise ValueError(f"{text!r} is no MPI: auto, mpich, openmpi, intel, mvapich2, generic")
    return name


def since(text: str) -> float | str:
    return text if text == "start" else values.parse_duration(text)


def _escape(text: str) -> str:
    from gshell.client.escape import escape_char  # only for who gives one

    escape_char(text)  # who needs the character asks again; None is "not given" in this table
    return text


JOB_NAME = Option("-J --name", "NAME", "the job's name (else the program's)")
_ENV = Option(
    "--env", "K=V", "set a variable; K alone: its value here", values.parse_env, None, True
)
_CWD = Option("--cwd", "DIR", "start there (else in this directory, if it exists there)")
_AGENT = Option("--agent", "ID", "on this agent")
_POOL = Option(
    "--pool",
    "GROUP",
    "on an agent that serves this group; it runs under the account of that agent's owner, who can "
    "read everything of it",
)
_TIMEOUT = Option(
    "--timeout",
    "T",
    "give up after T: 90 (seconds), 30m, 1:30:00; exit status 124",
    values.parse_duration,
)
_NO_ARCHIVE = Option("--no-archive", help="the relay shall not keep its output")


def quota(text: str) -> int:
    size = values.parse_size(text)
    if size > 1 << 50:
        raise ValueError(f"{text!r} is more than any disk has")
    return size


_ON_FULL = Option(
    "--on-full",
    "WHAT",
    "no room for output: block the program, or gap: forget the oldest (else block while you are "
    "there, gap when you are not)",
    choices=("block", "gap"),
)
_QUOTA = Option(
    "--quota",
    "SIZE",
    "disk for its output on the agent: 64M unless given; 0: memory only",
    quota,
)
_KEEP = Option(
    "--keep",
    help="keep what it prints from the start on, as far as the quota goes, and archive it",
)
_ESCAPE = Option(
    "-e --escape", "CHAR", "escape character, ^X for Ctrl-X, or none", _escape, default="~"
)


def _names(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if not names:
        raise ValueError(f"{text!r} names no site")
    return names


def _percent(text: str) -> int:
    if not text.isdigit() or len(text) > 3 or int(text) > 100:
        raise ValueError(f"{text!r} is not a share in percent, 0 to 100")
    return int(text)


def seconds(text: str) -> int:
    return int(values.parse_walltime(text))


_WANTS = (
    Option("--site", "NAME,..", "on agents of these sites only; one is made if none waits", _names),
    Option("--walltime", "T", "where there is so much time left: 30 (minutes), 1:30:00", seconds),
    Option("--memory", "SIZE", "on agents with so much memory", values.parse_size),
    Option("--req", "EXPR", "requirements, a ClassAd expression: 'other.CpuNumber >= 4'"),
    Option("--prefer", "EXPR", "rank those that fit by this expression, the highest first"),
    Option(
        "--lane",
        "LANE",
        "batch, or interactive: beside a batch job on the same cores (else interactive with a "
        "terminal)",
        choices=("batch", "interactive"),
    ),
    Option("--loss", "PERCENT", "what a batch job beside it keeps of the cores", _percent),
)


def _forward(kind: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        from gshell.client.forwardspec import parse

        return parse(kind, text)

    return parse


_FORWARDS = (
    Option(
        "-L --local-forward",
        "[BIND:]PORT:HOST:PORT",
        "connections to PORT here go to HOST:PORT there; a path is a unix socket",
        _forward("L"),
        None,
        True,
    ),
    Option(
        "-R --remote-forward",
        "[BIND:]PORT:HOST:PORT",
        "connections to PORT there go to HOST:PORT here",
        _forward("R"),
        None,
        True,
    ),
    Option(
        "-D --dynamic-forward",
        "[BIND:]PORT",
        "a SOCKS server here, whose connections begin there",
        _forward("D"),
        None,
        True,
    ),
    Option("-X --x11", help="a display there that is this one"),
)
_FORMAT = Option(
    "--rec-format",
    "V",
    "asciicast v2, which all players read, or v3",
    default="v2",
    choices=("v2", "v3"),
)
RECORDS = (
    Option("-I --rec-input", help="record what is typed, too, but for passwords and the like"),
    _FORMAT,
    Option("--overwrite", help="a recording that is there already"),
    Option("--append", help="to a recording that is there already"),
)
_RECORD = (
    Option("--rec", "FILE", "record it there; %r in it: a file for each rank, %j: the job's id"),
    *RECORDS,
)
LINES = (
    Option("-l --label", help="begin each line with the rank it comes from"),
    Option("--fold", help="lines that ranks have in common once: [0-63] text"),
)
_RANKS = Option("--rank", "RANKS", "only of these: 3, or 0-3,7", ranks_text)
RUN = Command(
    "run",
    "run a command on waiting agents, as if it were here",
    (
        Option("-t --pty", help="give it a terminal (else: if stdin and stdout are one)"),
        Option("-T --no-pty", help="never a terminal: stdout and stderr apart, bytes untouched"),
        Option("-n --tasks", "N", "number of tasks (ranks) on each agent", _tasks),
        Option("-N --agents", "AGENTS", "number of agents, all or none", _agents),
        JOB_NAME,
        _ENV,
        _CWD,
        _AGENT,
        _POOL,
        Option("--detach", help="print the job's id and leave it running"),
        _TIMEOUT,
        *LINES,
        _RANKS,
        _KEEP,
        _NO_ARCHIVE,
        _ON_FULL,
        _QUOTA,
        _ESCAPE,
        *_WANTS,
        *_RECORD,
        *_FORWARDS,
    ),
    remainder="CMD...",
    examples=(
        ("gshell run hostname", "on one waiting agent"),
        ("gshell run -n 4 -l -- ./a.out -x 1", "four tasks, lines labelled"),
        ("tar c d | gshell run -- tar t", "pipes work both ways"),
        ("gshell run --detach -- ./lu.A.1", "prints the id: attach ID, logs ID"),
        ("gshell run --site alpha -- hostname", "there; the wait is explained as it goes"),
        (
            "gshell run -N 2 -n 4 --site alpha,beta -- ./a.out",
            "4 + 4 tasks, together or not at all",
        ),
    ),
    about="The exit status is the program's own, or 128 + the signal that ended it. Else: 2 wrong "
    "usage, 124 our time-out, 125 not started, 126 not executable, 127 not found, 255 link lost.",
    common=GLOBAL,
)
MPI = Command(
    "mpi",
    "run an MPI program on waiting agents",
    (
        Option("-n --tasks", "N", "number of ranks, of all agents together", _tasks),
        Option(
            "-N --agents",
            "AGENTS",
            "on so many agents (else one, or as many as it takes); without -n: all they have",
            _agents,
        ),
        Option(
            "--flavour",
            "MPI",
            "auto, mpich, openmpi, intel, mvapich2, generic (else: what PROG is linked with)",
            _flavour,
        ),
        *LINES,
        _RANKS,
        Option(
            "-i --input", "RANKS", "who reads stdin: none, all, or 0-3,7 (else rank 0)", ranks_text
        ),
        Option("--pty", "RANKS", "who has a terminal of its own: attach --rank N", ranks_text),
        Option("--oversubscribe", help="more ranks than slots: take what slots there are"),
        Option("--pre", "FILE", "hooks to run before it on its first node, as mpi-start's"),
        Option("--post", "FILE", "hooks to run after it"),
        Option("--option", "WORD", "one more word for the launcher", repeat=True),
        JOB_NAME,
        _ENV,
        _CWD,
        _AGENT,
        _POOL,
        Option("--detach", help="print the job's id and leave it running"),
        _TIMEOUT,
        _KEEP,
        _NO_ARCHIVE,
        _ON_FULL,
        _QUOTA,
        _ESCAPE,
        *_WANTS,
        *_RECORD,
        *_FORWARDS,
    ),
    remainder="PROG...",
    examples=(
        ("gshell mpi -n 4 -l -- ./lu.A.4", "four ranks, each line with its rank"),
        ("gshell mpi -n 5 -N 2 -- ./a.out", "3 + 2 ranks on two agents"),
        ("gshell mpi -n 64 --fold -- ./hello", "what all say is said once: [0-63] hello"),
        ("gshell mpi -n 4 -i 2 -- ./ask", "stdin goes to rank 2"),
        ("gshell mpi -n 4 --pty all --detach -- ./dbg", "then: gshell attach JOB --rank 2"),
    ),
    about="The exit status is the highest of its ranks. `gshell ranks JOB` shows them, `gshell "
    "attach JOB --rank 2` joins one, `gshell sh JOB --rank 2` is a shell beside it. The line ~. "
    "typed while it runs leaves it running, ~# shows its ranks, ~? what else there is.",
    common=GLOBAL,
)
SH = Command(
    "sh",
    "a shell on a waiting agent",
    (
        Option("--rank", "N", "with a job's ID: beside this rank of it", _rank),
        JOB_NAME,
        _ENV,
        _CWD,
        _AGENT,
        _POOL,
        _KEEP,
        _ON_FULL,
        _QUOTA,
        _ESCAPE,
        *_WANTS,
        *_RECORD,
        *_FORWARDS,
    ),
    words="[ID]",
    examples=(
        ("gshell sh", "~. leaves it, attach comes back"),
        ("gshell sh 42 --rank 3", "beside rank 3 of job 42: gdb -p, py-spy, top"),
        ("gshell sh --agent n014", "on that one"),
    ),
    common=GLOBAL,
)


ATTACH = Command(
    "attach",
    "come back to a running job, or look on; show an ended one",
    (
        Option("-r --read-only", help="look, type nothing"),
        Option("--steal", help="take over typing from whoever has it"),
        Option("--rank", "RANKS", "only these, and type to them: 3, or 0-3,7", ranks_text),
        *LINES,
        Option("--since", "T", "history from T ago (10m), or from the start", since),
        _ESCAPE,
        *_RECORD,
        *_FORWARDS,
    ),
    words="[ID|LINK]",
    examples=(
        ("gshell attach", "the newest one that runs"),
        ("gshell attach 42", "its screen, then live"),
        ("gshell attach 42 --read-only", "beside the one who types"),
        ("gshell attach 42 --rank 3", "that rank's output; its terminal or stdin, if it has one"),
        ("gshell attach 'gshell://H:P/PIN#share.T'", "a colleague's, no login needed"),
    ),
    about="~. leaves, at the beginning of a line; where the program has no terminal, in a line of "
    "its own. Ctrl-C is the program's, unless you only look on.",
    common=GLOBAL,
)
FWD = Command(
    "fwd",
    "forward ports to where a job or an agent is, until Ctrl-C",
    (*_FORWARDS, Option("-N --no-command", help="as in ssh; it never starts a command")),
    words="ID|AGENT",
    examples=(
        ("gshell fwd 42 -L 8888:localhost:8888", "the job's notebook, here"),
        ("gshell fwd 42 -L 0:db:5432", "any free port; it is printed"),
        ("gshell fwd n014 -D 1080", "a SOCKS proxy that begins there"),
        ("gshell fwd 42 -R 9000:localhost:9000", "a server of mine, there"),
    ),
    about="Also options of run, sh and attach. Listeners are on localhost unless BIND says "
    "otherwise (* is all). Broken links are mended, with all connections; it ends with the job.",
    common=GLOBAL,
)
LOGS = Command(
    "logs",
    "print a job's output so far",
    (
        Option("-f --follow", help="go on until the job ends"),
        Option("--since", "T", "from T ago (10m), or from the start", since),
        Option("--grep", "REGEX", "only lines that match; status 0 if there are any, else 1"),
        Option("-i --ignore-case", help="with --grep: capitals or not"),
        *LINES,
        _RANKS,
    ),
    words="[ID|LINK]",
    examples=(
        ("gshell logs 42", "what it printed"),
        ("gshell logs -f 42", "and goes on printing"),
        ("gshell logs 42 --grep 'error|warn'", "those lines"),
        ("gshell logs 42 --rank 0-3 -l", "of these ranks, labelled"),
    ),
    about="Also of a job that has ended: the relay's archive has what it printed, unless it had a "
    "terminal and was started without --keep.",
    common=GLOBAL,
)
RANKS = Command(
    "ranks",
    "what each rank of a job does: state, pid, cpu, memory, last line",
    (
        Option("--rank", "RANKS", "only these: 3, or 0-3,7", ranks_text),
        fields_option("ranks"),
        Option("-w --watch", help="keep the table up to date until Ctrl-C"),
    ),
    words="ID",
    examples=(
        ("gshell ranks 42", "a line for each"),
        ("gshell ranks 42 -w", "as they go"),
    ),
    common=GLOBAL,
)

_FIRST = {command.name: command for command in (RUN, MPI, SH, ATTACH, LOGS)}


def read(argv: Sequence[str]) -> Parsed | None:
    """A line that begins with one of these, without the table of all other commands, which takes a
    millisecond to make; None for other lines, and for who wants help.

    Raises:
        UsageError: as `commands.read`.
    """
    command = _FIRST.get(argv[0]) if argv else None
    parsed = parse(command, argv[1:]) if command is not None else None
    return None if parsed is None or parsed.help else parsed
