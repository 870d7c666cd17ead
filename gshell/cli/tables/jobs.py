"""The commands of jobs, from their description to their files. Knows not what they do."""

from __future__ import annotations

from gshell.cli import values
from gshell.cli.listing import EVERY, OTHERS, WATCH, fields_option, states
from gshell.cli.options import Command, Option
from gshell.cli.sessions import GLOBAL, JOB_NAME


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
        Option("-j --job", "ID,..", "these alone, as words say it"),
        fields_option("jobs"),
        *OTHERS,
        Option("--me", help="mine (as it is anyway)"),
        WATCH,
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
WHY = Command(
    "why",
    "why a job waits, and what would start now",
    words="ID [ID...]",
    examples=(("gshell why 42", "with command lines that would start at once"),),
    common=GLOBAL,
)
_SIGNAL = Option("-s --signal", "SIG", "TERM, KILL, 15, ...", values.parse_signal)
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
