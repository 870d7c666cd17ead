"""Every command of gshell with its options and its help, as a table. Knows not what they do."""

from __future__ import annotations

from gshell.cli import options as o
from gshell.cli import values
from gshell.cli.listing import EVERY, fields_option, states
from gshell.cli.options import Command, Option, Parsed
from gshell.cli.sessions import (
    ATTACH,
    FWD,
    GLOBAL,
    JOB_NAME,
    LOGS,
    MPI,
    RANKS,
    RUN,
    SH,
    quota,
    seconds,
)
from gshell.cli.tables import (
    casts,
    comforts,
    doors,
    prompting,
    recording,
    replaying,
    sweeping,
)  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def _attribute(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip().isidentifier() or not value.strip():
        raise ValueError(f"{text!r} is not ATTRIBUTE=EXPRESSION (a string in quotes)")
    return name.strip(), value


_SET = Option(
    "--set",
    "ATTR=EXPR",
    "an attribute beside the file: --set NodeNumber=8, --set 'Arguments=\"-v\"'",
    _attribute,
    repeat=True,
)
_DIRAC = Option("--dirac", help="read it as DIRAC does: Parameters is a count, %s %n are filled in")
SUBMIT = Command(
    "submit",
    "submit a job description (JDL), or a job script with its headers",
    (
        _SET,
        Option("-r --resource", "PLACE", "on this site or agent, or spread over SITE,SITE"),
        Option("-o --output", "FILE", "append the ids to FILE"),
        JOB_NAME,
        Option("--wait", help="until the jobs have ended; the highest of their statuses"),
        Option("--no-listen", help="do not be the terminal of an i2glogin that calls nowhere else"),
        Option("--dry-run", help="say what is wrong, or what would be asked for; submit nothing"),
        _DIRAC,
    ),
    words="FILE",
    examples=(
        ("gshell submit simple.jdl", "prints the job's id"),
        ("gshell submit --dry-run theirs.jdl", "its errors and warnings; needs no relay"),
        ("gshell submit --wait --set NodeNumber=8 cpi.jdl", "with one attribute changed"),
        ("gshell submit -r finis job.sh", "a script with #SBATCH, #OAR, #PBS or #$ lines"),
    ),
    about="Attributes and expressions as on gLite and int.eu.grid: Executable, Arguments, "
    "InputSandbox, OutputSandbox, JobType Normal, Parallel, Interactive, Parametric, collections "
    "and DAGs, Requirements, Rank, ... `gshell match FILE` shows where it could run. "
    "If InteractiveAgent is i2glogin and its -p is missing or has port 0, a free port of this "
    "machine is taken: on a terminal this command is then the job's, else it prints the "
    "`i2glogin -p PORT:IP` to type.",
    common=GLOBAL,
)
MATCH = Command(
    "match",
    "list where a job description could run, best first",
    (_SET, _DIRAC),
    words="FILE",
    examples=(
        ("gshell match simple.jdl", "none: which requirement fails, and where it fails least"),
        ("gshell match --set Rank=other.cpus simple.jdl", "the largest first"),
    ),
    about="Requirements and Rank know GLUE's names (other.GlueCEStateFreeCPUs, ...) and short ones:"
    " cpus, free_slots, memory_mb, host, site, lrms, queue, tags, ends_in (seconds), os, cpu_model."
    " The exit status is 1 if nothing matches.",
    common=GLOBAL,
)
_OTHERS = (
    Option("-A --everyone", help="everybody's (for administrators)"),
    Option("-u --user", "USER", "that user's (for administrators)"),
)
_WATCH = Option("-w --watch", help="keep the list up to date until Ctrl-C")
JOBS = Command(
    "jobs",
    "list my jobs",
    (
        Option("-a --all", help="ended ones too"),
        Option(
            "-t --state",
            "STATE",
            "queued, active, done, failed, canceled, all; or Slurm's PD, R, CD, F, CA",
            states,
            repeat=True,
        ),
        Option("-n --name", "NAME", "of this name; * and ? as in file names"),
        Option("-j --job", "ID,..", "these, as words do"),
        fields_option("jobs"),
        *_OTHERS,
        Option("--me", help="mine (as it is anyway)"),
        _WATCH,
        EVERY,
    ),
    words="[ID...]",
    aliases=("ps",),
    examples=(
        ("gshell jobs", "what is queued and running"),
        ("gshell jobs -a --json", "all of it"),
        ("gshell jobs -t failed -o id,name,code", "those, and of each these fields"),
        ("gshell jobs -q -t active", "ids alone: gshell cancel $(...)"),
        ("gshell jobs -w", "as they go (-i 10: every ten seconds)"),
    ),
    about="With -o the table has these fields however wide it gets; with -q too it has no titles.",
    common=GLOBAL,
)
AGENTS = Command(
    "agents",
    "list the agents that wait or work for me",
    (fields_option("agents"), *_OTHERS, _WATCH, EVERY),
    examples=(
        ("gshell agents", "where a job can start at once"),
        ("gshell agents -o id,host,free", "of each these fields"),
    ),
    common=GLOBAL,
)
TOP = Command(
    "top",
    "my jobs and agents on the whole screen, as they change",
    (Option("--once", help="print one picture and end (as it does where there is no terminal)"),),
    examples=(
        ("gshell top", "F1 tells its keys, htop's; F10 or q leaves"),
        ("gshell top --once", "for a script or a log"),
    ),
    common=GLOBAL,
)
EVENTS = Command(
    "events",
    "print what happens to my jobs and agents, a line each",
    (Option("-f --follow", help="go on until Ctrl-C"), fields_option("events")),
    examples=(
        ("gshell events -f", "as it happens"),
        ("gshell events -f --json", "a JSON object a line: schema, at, seq, kind, ..."),
    ),
    common=GLOBAL,
)
FORGET = Command(
    "forget",
    "delete finished jobs of mine, with their output in the archive",
    words="ID [ID...]",
    examples=(("gshell forget 42", "as if it had never been"),),
    common=GLOBAL,
)
_RECURSIVE = Option("-r --recursive", help="directories, with all that is in them")
_NO_RESUME = Option("--no-resume", help="begin anew, whatever is there of an earlier try")
_COPIES = (
    "WHERE is a job (42, or 42.1: paths are those of its work directory), an agent's id (paths are "
    "those of your home there), or site:NAME. What was interrupted goes on where it stopped; a "
    "file is seen under its name only when it is whole and its hash is right. Links are followed, "
    "as by scp."
)
PUT = Command(
    "put",
    "copy files to where a job runs, or to an agent",
    (_RECURSIVE, _NO_RESUME),
    words="SRC... WHERE:PATH",
    examples=(
        ("gshell put data.h5 42:", "into the work directory of job 42"),
        ("gshell put -r src n014:work/", "into ~/work at the agent n014"),
    ),
    about=_COPIES,
    common=GLOBAL,
)
GET = Command(
    "get",
    "copy files from where a job runs, or from an agent",
    (_RECURSIVE, _NO_RESUME),
    words="WHERE:PATH... DST",
    examples=(
        ("gshell get 42:out.log .", "as it is now"),
        ("gshell get '42:*.vtk' results/", "the pattern is the far end's"),
    ),
    about=_COPIES,
    common=GLOBAL,
)
CP = Command(
    "cp",
    "copy files either way, as scp does",
    (_RECURSIVE, _NO_RESUME),
    words="SRC... DST",
    examples=(
        ("gshell cp a.txt n014:", "to the agent"),
        ("gshell cp -r n014:results .", "and back"),
    ),
    about=_COPIES,
    common=GLOBAL,
)
FETCH = Command(
    "fetch",
    "bring a job's output files here, when it has ended",
    (
        Option("-d --dir", "DIR", "into this directory (else jobID), made if it is not there"),
        Option("-l --list", help="only say what there is"),
        Option("--now", help="what is in its work directory now, while it runs"),
        Option("-f --force", help="replace files that are here already"),
    ),
    words="ID",
    examples=(
        ("gshell fetch 42", "into job42/"),
        ("gshell fetch 42 --list", "what was kept of it"),
    ),
    about="The relay keeps the files of a job's output sandbox with its record, until `gshell "
    "forget ID`. What is here already is not replaced without --force; the same file is no "
    "conflict, so a fetch that was interrupted can be repeated.",
    aliases=("get-output",),
    common=GLOBAL,
)
_SIGNAL = Option("-s --signal", "SIG", "TERM, KILL, 15, ...", values.parse_signal)
WHY = Command(
    "why",
    "why a job waits, and what would start now",
    words="ID [ID...]",
    examples=(("gshell why 42", "with command lines that would start at once"),),
    common=GLOBAL,
)
CANCEL = Command(
    "cancel",
    "end jobs: TERM, then KILL after 5 s; queued ones are removed",
    (_SIGNAL, Option("--cancel-job", help="of an adopted job: the batch job itself")),
    words="ID [ID...]",
    examples=(("gshell cancel 42", "end it"),),
    bare="signal",
    common=GLOBAL,
)
KILL = Command(
    "kill",
    "send jobs a signal (else TERM, then KILL after 5 s)",
    (_SIGNAL,),
    words="ID [ID...]",
    examples=(("gshell kill -s USR1 42", "one signal"), ("gshell kill -9 42 43", "as in kill(1)")),
    bare="signal",
    common=GLOBAL,
)
SHARE = Command(
    "share",
    "let somebody look at a job, by a link",
    (
        Option("--write", help="they may type, too (as you: your rights there are theirs)"),
        Option("--for", "T", "how long: 90 (seconds), 30m, 2h (else 1h)", values.parse_duration),
        Option("--once", help="for one visit; it is over when that leaves"),
        Option("--uses", "N", "how many may use it (else any number)", values.whole_number),
        Option("--to", "USER", "for this user only"),
        Option("--web", "URL", "for a browser, at this gateway (gshell web prints its URL)"),
    ),
    words="[ID]",
    examples=(
        ("gshell share 42", "prints the command for your colleague"),
        ("gshell share 42 --write --for 10m", "to type together"),
        ("gshell share 42 --once --to bob", "one visit, of one user"),
        ("gshell share 42 --web http://h:8080", "prints an address for a browser"),
    ),
    about="`gshell shares` lists them, `gshell revoke ID` ends one. Who has the link needs no "
    "login. They see the job's output, from before too, and what you type if the program shows it. "
    "What they type goes nowhere, unless --write.",
    common=GLOBAL,
)
SHARES = Command(
    "shares",
    "list what I share, and with whom",
    (fields_option("shares"),),
    examples=(("gshell shares", "gshell revoke ID ends one"),),
    common=GLOBAL,
)
STOP = Command(
    "stop",
    "end the private relay, its agent and the background process",
    (Option("--force", help="even while jobs run: they are ended"),),
    examples=(("gshell stop", "the next gshell run starts them again"),),
    common=GLOBAL,
)
WHOAMI = Command("whoami", "who I am to the relay, and which relay that is", common=GLOBAL)
KEYS = Command(
    "keys",
    "list my keys: which machines and agents may come as me",
    (fields_option("keys"),),
    examples=(("gshell keys", "the one in use has a star"),),
    common=GLOBAL,
)
REVOKE = Command(
    "revoke",
    "end a share or a key of mine at once, live connections too",
    words="ID [ID...]",
    examples=(
        ("gshell revoke 5f0c2a91", "a share: whoever looks on is sent away"),
        ("gshell revoke 3fa91c", "a key: its first digits, from gshell keys"),
    ),
    common=GLOBAL,
)
AUDIT = Command(
    "audit",
    "check or show a relay's audit log, on the relay's host",
    words="verify|show ...",
    opaque=True,
    examples=(
        ("gshell audit verify", "1 if it is not what the relay wrote"),
        ("gshell audit show --user bob", "what bob did"),
    ),
    common=GLOBAL,
)
DOCTOR = Command("doctor", "check everything and say what to do", common=GLOBAL)
VERSION = Command("version", "print the version", common=GLOBAL)
HELP_COMMAND = Command(
    "help",
    "explain a command or a topic",
    words="[COMMAND...]",
    examples=(
        ("gshell help", "all commands, and the topics"),
        ("gshell help keys", "a command, a topic, or both"),
        ("gshell help agent start", "as gshell agent start --help"),
    ),
    common=GLOBAL,
)
DEMO = Command(
    "demo",
    "compile a small MPI program and run it on a waiting agent",
    opaque=True,
    examples=(("gshell demo", "the LU benchmark, classes S and W"),),
    common=GLOBAL,
)
GLOGIN = Command(
    "glogin",
    "be the terminal of a job that calls, with no relay between",
    words="-p PORT:IP ...",
    opaque=True,
    examples=(
        ("gshell glogin -p 24599:158.109.65.149", "waits; then it is the job's terminal"),
        ("gshell glogin -r -p PORT:IP -t -c CMD", "in the job: calls, runs CMD"),
    ),
    about="`gshell glogin --help` has all options. Who calls must know the secret that `gshell "
    "submit` gave the job.",
    common=GLOBAL,
)
MPI_START = Command(
    "mpi-start",
    "start a parallel program with the MPI that is here",
    words="[OPTION]... PROGRAM [ARGUMENT]...",
    opaque=True,
    examples=(
        ("gshell mpi-start -t openmpi -np 4 ./cpi", "in a job of any batch system"),
        ("gshell mpi-start -npnode 1 -pre hooks.sh ./cpi", "one on each host"),
    ),
    about="`gshell mpi-start -h` has all options. It needs no relay; it is the command `mpi-start` "
    "of int.eu.grid, with its variables, hooks and plug-ins.",
    common=GLOBAL,
)
LOGIN = Command(
    "login",
    "enrol with a relay",
    words="INVITE",
    examples=(("gshell login gshell://HOST:4433/PIN#TOKEN", "what `gshell relay start` printed"),),
    common=GLOBAL,
)
RELAY = Command(
    "relay",
    "start, inspect and stop a relay; its users and their keys",
    words="start|status|restart|stop|invite|user|key|doctor ...",
    opaque=True,
    examples=(
        ("gshell relay start --listen 0.0.0.0:4433", "prints an invite"),
        ("gshell relay user add bob", "prints one for bob"),
        ("gshell relay user revoke bob", "ends all that is bob's, at once"),
        ("gshell relay restart", "after an update: sessions go on"),
    ),
    common=GLOBAL,
)
AGENT_START = Command(
    "agent start",
    "offer this machine, or nodes of a site, to the relay",
    (
        Option("--site", "NAME", "have this site start a pilot: agents on nodes of its own"),
        Option("-N --nodes", "N", "with --site: nodes of the pilot", values.whole_number),
        Option("-t --walltime", "T", "with --site: for so long, as in Slurm", seconds),
        Option("-n --count", "N", "with --site: so many pilots", values.whole_number),
        Option("--ticket", "FILE", "the ticket to enrol with"),
        Option("--invite", "INVITE", "enrol with a relay's invite (@FILE: it stands there)"),
        Option("--node", "I", "as node I of the pilot whose invite it is", values.count),
        Option("--restart", "R", "the how many-th start of that node it is (0)", values.count),
        Option(
            "--slots", "N", "tasks at a time (else 4 per cpu, at least 64)", values.whole_number
        ),
        Option("--tag", "TAG", "a word that jobs can ask for", repeat=True),
        Option(
            "--quota",
            "SIZE",
            "disk for output of all jobs together (else 4G, at most half of what is free)",
            quota,
        ),
        Option(
            "--pool",
            "GROUP",
            "serve everybody in GROUP, under YOUR account: what they start can do all that you "
            "can, and you can read all of theirs",
        ),
        Option("--foreground", help="stay here until stopped (what a batch job wants)"),
    ),
    examples=(
        ("gshell agent start --tag gpu", "returns once it waits; it stays behind"),
        ("gshell agent start --ticket agent.ticket --foreground", "in a batch job"),
        ("gshell agent start --site alpha -N 2 -t 1:00:00", "two nodes of alpha, for an hour"),
    ),
    common=GLOBAL,
)
AGENT_STOP = Command(
    "agent stop",
    "end agents",
    (Option("--force", help="even while jobs run: they are ended"),),
    words="ID [ID...]",
    examples=(("gshell agent stop n014", "once its jobs are done"),),
    common=GLOBAL,
)
AGENT_DRAIN = Command(
    "agent drain",
    "let agents take no more jobs",
    (Option("--undo", help="let them take jobs again"),),
    words="ID [ID...]",
    examples=(("gshell agent drain n014", "what runs there goes on"),),
    common=GLOBAL,
)
AGENT_PACK = Command(
    "agent pack",
    "write the agent as one file that needs only python3",
    (Option("--force", help="replace FILE"),),
    words="FILE",
    examples=(("gshell agent pack agent.pyz", "there: python3 agent.pyz --ticket FILE"),),
    common=GLOBAL,
)
AGENT_TICKET = Command(
    "agent ticket",
    "write a ticket for an agent that starts elsewhere",
    (Option("--force", help="replace FILE"),),
    words="FILE",
    examples=(("gshell agent ticket agent.ticket", "readable by you alone; move it safely"),),
    common=GLOBAL,
)
AGENT_PILOT = Command(
    "agent pilot",
    "write an invite for the nodes of one batch job",
    (
        Option("--name", "NAME", "its agents are NAME.0, NAME.1, ..."),
        Option("--nodes", "N", "how many nodes (1); each is given out once", values.whole_number),
        Option("--hours", "H", "how long it is valid (24)", values.whole_number),
        Option("--force", help="replace FILE"),
    ),
    words="FILE",
    examples=(
        ("gshell agent pilot --nodes 4 pilot.invite", "there: agent start --invite @FILE --node I"),
    ),
    common=GLOBAL,
)
_QUEUE = Option("-p --queue", "QUEUE", "its queue or partition (else the default)")
SITE_ADD = Command(
    "site add",
    "tell gshell of a batch system that I may use",
    (
        Option("--lrms", "NAME", "slurm, oar, sge, pbs, lsf, htcondor, local (else what is there)"),
        Option("--ssh", "USER@FRONTEND", "its commands are there, not on this host"),
        _QUEUE,
        Option("-A --account", "ACCOUNT", "what its time is charged to"),
        Option("--max-agents", "N", "never more agents than this", values.count),
        Option("--min-waiting", "N", "have so many wait, always (0)", values.count),
        Option("-N --nodes", "N", "nodes of each pilot (1)", values.whole_number),
        Option("--slots", "N", "slots on each node (else all of the node)", values.whole_number),
        Option("-t --walltime", "T", "how long a pilot lasts: 30 (minutes), 1:00:00", seconds),
        Option("--idle", "T", "an agent without work ends after this", values.parse_duration),
        Option("--memory", "SIZE", "memory of each node", values.parse_size),
        Option("--lane", "LANE", "what its agents take", choices=("batch", "interactive")),
        Option(
            "--inline",
            help="its nodes see none of my files: all that a pilot needs goes into its batch "
            "script, its invite too",
        ),
    ),
    words="NAME [EXTRA...]",
    examples=(
        ("gshell site add alpha", "the batch system of this host"),
        ("gshell site add beta --lrms oar --ssh me@frontend.beta", "as `ssh` would reach it"),
        ("gshell site add gamma --queue short -- --constraint=ib", "options of its own command"),
    ),
    about="It is tried before it is kept. My own submitter on this host does what is to be done "
    "there, with my rights: ssh keys, agent and ~/.ssh/config are those of this account.",
    common=GLOBAL,
)
ADOPT = Command(
    "adopt",
    "look after a batch job that gshell did not start",
    (
        Option("--site", "NAME", "it is this site's (else the one with that batch system)"),
        Option("-a --attach", help="attach to it at once"),
        Option("--slots", "N", "its agents take so many tasks of mine, too", values.whole_number),
        Option("--timeout", "T", "give up if its agents are not there by then (60)",
               values.parse_duration),
    ),
    words="SYSTEM:ID",
    examples=(
        ("gshell adopt slurm:4711", "prints the id of the job that stands for it"),
        ("gshell adopt -a oar:1234 --site beta", "and follow its output"),
        ("gshell adopt slurm:7_3", "one task of an array (sge:7.3)"),
    ),
    about="An agent is put on each node of the running allocation, and one where it was submitted "
    "from: `gshell ranks JOB` shows its MPI ranks, `gshell sh JOB --rank 3` is a shell "
    "beside one. They take no work of their own accord and leave with it. `gshell cancel` of "
    "the job makes only these agents leave; with --cancel-job the batch job ends.",
    common=GLOBAL,
)  # fmt: skip
SITE_SHOW = Command(
    "site show",
    "all about one site",
    words="NAME",
    examples=(("gshell site show alpha", "gshell sites   lists them"),),
    common=GLOBAL,
)
SITE_REMOVE = Command(
    "site remove",
    "forget a site",
    (Option("--force", help="even while it has pilots: they are canceled"),),
    words="NAME",
    examples=(("gshell site remove alpha", "gshell sites   lists them"),),
    common=GLOBAL,
)
SITE_PAUSE = Command(
    "site pause",
    "start no more pilots there",
    words="NAME",
    examples=(("gshell site pause alpha", "gshell sites   lists them"),),
    common=GLOBAL,
)
SITE_RESUME = Command(
    "site resume",
    "start pilots there again",
    words="NAME",
    examples=(("gshell site resume alpha", "gshell sites   lists them"),),
    common=GLOBAL,
)
SITES = Command(
    "sites",
    "list my sites: batch systems, and what waits and runs there",
    (fields_option("sites"), _WATCH, EVERY),
    examples=(("gshell sites", "gshell site add NAME   makes one"),),
    common=GLOBAL,
)
PILOTS = Command(
    "pilots",
    "list the batch jobs that hold nodes for me",
    (
        Option("-a --all", help="ended ones too, with how they ended"),
        Option("--site", "NAME", "of this site"),
        fields_option("pilots"),
        _WATCH,
        EVERY,
    ),
    examples=(("gshell pilots", "position and expected start of those that wait"),),
    common=GLOBAL,
)
PILOT_CANCEL = Command(
    "pilot cancel",
    "end pilots, with all that runs on their agents",
    words="PILOT [PILOT...]",
    examples=(("gshell pilot cancel p3abc", "gshell pilots   lists them"),),
    common=GLOBAL,
)
SUBMITTER = Command("submitter", "the submitter itself", common=GLOBAL, hidden=True)
GRID = Command(
    "grid",
    "the commands of gLite and int.eu.grid, by their names",
    words="COMMAND ...",
    opaque=True,
    hidden=True,
    examples=(("gshell grid i2g-job-submit simple.jdl", "as if it were installed"),),
    common=GLOBAL,
)
BG = Command("bg", "the background process itself", opaque=True, hidden=True)

COMMANDS = (
    RUN, MPI, SH, SUBMIT, MATCH, ATTACH, RANKS, JOBS, LOGS, TOP, EVENTS, WHY, PUT, GET, CP, FETCH,
    CANCEL, KILL,
    FORGET, SHARE, SHARES, AGENTS, AGENT_START, AGENT_STOP, AGENT_DRAIN, AGENT_PACK, AGENT_TICKET,
    AGENT_PILOT, ADOPT, SITES, SITE_ADD, SITE_SHOW, SITE_REMOVE, SITE_PAUSE, SITE_RESUME, PILOTS,
    PILOT_CANCEL, RELAY, LOGIN, GLOGIN, MPI_START, FWD, GRID, WHOAMI, KEYS, REVOKE, AUDIT, STOP,
    *recording.COMMANDS, *replaying.COMMANDS, *casts.COMMANDS, *doors.COMMANDS,
    *comforts.COMMANDS, *prompting.COMMANDS, *sweeping.COMMANDS,
    DOCTOR, DEMO, HELP_COMMAND, VERSION, SUBMITTER, BG,
)  # fmt: skip
GROUPS = {
    "agent": "start, stop, drain and pack agents",
    "site": "add, show, pause and remove sites: batch systems",
    "pilot": "cancel pilots: batch jobs that hold nodes",
    **sweeping.GROUPS,
    "cast": "look at recordings; join, cut, convert and check them",
}

ROOT = Command(
    "",
    "an instant terminal on machines that only a batch system can reach",
    (Option("-V --version", help="print the version"), *prompting.SCRIPT),
    remainder="[COMMAND ...]",
    examples=(
        ("gshell", "a prompt: the same commands, with Tab"),
        ("gshell run hostname", "run a command on a waiting agent"),
        ("gshell sh", "a shell there; ~. leaves it running"),
        ("gshell jobs", "what runs; attach ID comes back to it"),
        ("gshell help run", "all about one command"),
    ),
    common=GLOBAL,
)
_BY_NAME = {name: command for command in COMMANDS for name in (command.name, *command.aliases)}


def read(argv: Sequence[str]) -> Parsed:
    """The whole command line, without the program's own name.

    ``help`` in every spelling comes back as the command `HELP_COMMAND` with what it is about in
    ``words``. No command at all is the prompt, or a script of its lines.

    Raises:
        UsageError: with the nearest command or option, where there is one.
    """
    before = o.parse(ROOT, argv)
    if before["version"] and not before.help:
        return Parsed(VERSION, before)
    if before.help:
        return Parsed(HELP_COMMAND, before)
    if not before.words or before["file"] or prompting.is_script(before.words[0]):
        return o.parse(prompting.REPL, before.words, before)
    command, rest = _find(before.words)
    if command is None:
        return _help(list(before.words[:1]), before)
    parsed = o.parse(command, rest, before)
    return _help(command.name.split(), before) if parsed.help else parsed


def _help(words: list[str], before: Parsed) -> Parsed:
    parsed = Parsed(HELP_COMMAND, before)
    parsed.words = words
    return parsed


def verb_at(argv: Sequence[str]) -> int:
    """Where the command word stands, behind options of the whole program; or the end."""
    at = 0
    while at < len(argv) and argv[at].startswith("-"):
        name, equals, _ = argv[at].partition("=")
        takes = any(name in option.names and option.metavar for option in ROOT.common)
        at += 2 if takes and not equals else 1
    return min(at, len(argv))


def _find(words: Sequence[str]) -> tuple[Command | None, list[str]]:
    """The command that ``words`` begin with and what follows it; None for a group's help."""
    first, rest = words[0], list(words[1:])
    if first in GROUPS:
        if not rest or rest[0] in ("-h", "--help"):
            return None, rest
        first, rest = f"{first} {rest[0]}", rest[1:]
    command = _BY_NAME.get(first)
    if command is None:
        raise _unknown(first)
    return command, rest


def find(name: str) -> Command | None:
    """The command of that name (``jobs``, ``ps``, ``agent start``); None if there is none."""
    return _BY_NAME.get(name)


def named(words: Sequence[str]) -> tuple[Command, int] | None:
    """The command that a line names, whatever else is wrong with it, and where its own words
    begin; None if it names none."""
    takes = {name for option in (*ROOT.options, *GLOBAL) if option.metavar for name in option.names}
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in takes else 1
    if at >= len(words):
        return None
    if words[at] in GROUPS and at + 1 < len(words):
        command = _BY_NAME.get(f"{words[at]} {words[at + 1]}")
        return (command, at + 2) if command is not None else None
    command = _BY_NAME.get(words[at])
    return (command, at + 1) if command is not None else None


def _unknown(name: str, topics: Iterable[str] = ()) -> Exception:
    shown = [known for known, command in _BY_NAME.items() if not command.hidden]
    near = o.nearest(name, [*shown, *GROUPS, *topics])
    also = f"; did you mean {near!r}?" if near else ""
    how = "gshell help" if near in topics else "gshell"
    return o.wrong(
        ROOT, f"unknown command {name!r}{also}", f"{how} {near}" if near else "gshell help"
    )


def help_page(words: Sequence[str]) -> str:
    """What ``gshell help WORDS`` prints.

    Raises:
        UsageError: there is no such command.
    """
    if not words:
        return _overview()
    name = " ".join(words)
    if name in GROUPS:
        rows = [(c.name, c.summary) for c in COMMANDS if c.name.startswith(name + " ")]
        return "\n".join([f"gshell {name}: {GROUPS[name]}", "", *o.columns(rows, 18)]) + "\n"
    from gshell.cli.topics import TOPICS

    topic = TOPICS.get(name)
    page = f"gshell: {topic.summary}\n\n{topic.text}" if topic else ""
    if name in _BY_NAME:
        return o.help_text(_BY_NAME[name]) + ("\n" + page if page else "")
    if not page:
        raise _unknown(name, TOPICS)
    return page


# How `gshell help` groups them; what is in no group comes last.
USES = (
    ("run, and come back", ("run", "mpi", "sh", "attach", "logs", "ranks", "fwd", "demo")),
    ("jobs", ("jobs", "top", "show", "why", "events", "cancel", "kill", "forget", "adopt")),
    ("job descriptions", ("submit", "match", "fetch")),
    ("files", ("put", "get", "cp")),
    ("record and replay", ("rec", "play", "replay", "cast")),
    ("agents and sites", ("agents", "agent", "sites", "site", "pilots", "pilot")),
    ("with others", ("share", "shares", "revoke", "web", "ssh", "ssh-config")),
    ("relay and identity", ("login", "whoami", "keys", "relay", "audit", "stop")),
    ("help", ("help", "doctor", "config", "completion", "man", "version")),
)


def help_table(words: Sequence[str]) -> list[dict[str, object]]:
    """The commands (of these words; none: all) as values."""
    if words:
        help_page(words)  # says so if there is none
    name = " ".join(words)
    return [
        {
            "name": c.name, "aliases": list(c.aliases), "summary": c.summary,
            "usage": o.usage(c), "about": c.about,
            "options": [{"names": one.names, "value": one.metavar, "help": one.help}
                        for one in (*c.options, *c.common)],
            "examples": [{"line": line, "what": what} for line, what in c.examples],
        }
        for c in COMMANDS
        if not c.hidden
        and (not words or name in (c.name, *c.aliases) or c.name.startswith(name + " "))
    ]  # fmt: skip


def _overview() -> str:
    from gshell.cli.topics import TOPICS

    left = {
        command.name: (", ".join((command.name, *command.aliases)), command.summary)
        for command in COMMANDS
        if not command.hidden and " " not in command.name
    }
    left.update({name: (name, what) for name, what in GROUPS.items()})
    parts = []
    for title, names in USES:
        rows = [left.pop(name) for name in names if name in left]
        if rows:
            parts.append("\n".join([title, *o.columns(rows, 18)]))
    if left:
        parts.append("\n".join(["more", *o.columns(left.values(), 18)]))
    topics = o.columns(((name, topic.summary) for name, topic in TOPICS.items()), 18)
    parts.append("\n".join(["topics: gshell help TOPIC", *topics]))
    page, everywhere = o.help_text(ROOT).split("\n\noptions\n")
    commands = "\n\n".join(parts)
    return f"{page}\n\n{commands}\n\noptions\n{everywhere}"
