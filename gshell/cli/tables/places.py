"""The commands of where jobs run: agents, sites and their pilots. Knows not what they do."""

from __future__ import annotations

from gshell.cli import values
from gshell.cli.listing import EVERY, OTHERS, WATCH, fields_option
from gshell.cli.options import Command, Option
from gshell.cli.sessions import GLOBAL, quota, seconds

AGENTS = Command(
    "agents",
    "list the agents that wait or work for me",
    (fields_option("agents"), *OTHERS, WATCH, EVERY),
    examples=(
        ("gshell agents", "where a job can start at once"),
        ("gshell agents -o id,host,free", "of each these fields"),
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
        Option("--restart", "R", "how often that node was started before (0)", values.count),
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
    (fields_option("sites"), WATCH, EVERY),
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
        WATCH,
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

COMMANDS = (
    AGENTS, AGENT_START, AGENT_STOP, AGENT_DRAIN, AGENT_PACK, AGENT_TICKET, AGENT_PILOT, ADOPT,
    SITES, SITE_ADD, SITE_SHOW, SITE_REMOVE, SITE_PAUSE, SITE_RESUME, PILOTS, PILOT_CANCEL,
)  # fmt: skip
