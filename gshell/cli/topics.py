"""What `gshell help TOPIC` tells: what no single command's page can. Text only."""

from __future__ import annotations


class Topic:
    """A page: what it is about, and its lines (at most 79 columns)."""

    __slots__ = ("summary", "text")

    def __init__(self, summary: str, text: str) -> None:
        self.summary = summary
        self.text = text.strip("\n") + "\n"


TOPICS: dict[str, Topic] = {
    "quickstart": Topic("the first minutes", """
  gshell run hostname         a command on an agent; the first starts one
  gshell sh                   a shell there; ~. in a new line leaves
  gshell jobs                 what runs
  gshell attach               back to the newest job, from any terminal
  gshell logs 5 -f            what job 5 printed, and goes on printing
  gshell cancel 5             end it
  gshell stop                 end all that the first command started

With no relay configured, gshell starts one of its own on this machine,
with one agent. For other machines: `gshell help sites` and
`gshell relay start`.
Whatever goes wrong: `gshell doctor` says what to type.
"""),
    "keys": Topic("keys while attached, and in gshell top", """
While attached, after Enter (as in ssh):
  ~.  ~d      leave; the job goes on, `gshell attach` comes back
  ~?          the list of keys, with all that this session has
  ~~          one ~ for the program
  ~#          what the job's ranks do
  ~s          status of the connection
  ~r          redraw
  ~K          end the job (asks)
  ~^Z         suspend gshell
Anywhere, even in full-screen programs or inside another ssh:
  Ctrl-]  three times within a second leaves, too
Where the program has no terminal, `~.` is a line of its own.
Another character: --escape ^B; none: --escape none.
Ctrl-C is the program's. Before it has started, Ctrl-C ends the wait.

In gshell top, as in htop:
  F1 h ?      help               F6 > .      sort: choose by what
  F3          find               F9          send a signal: choose which
  F4 \\ /      filter             F10 q       quit
  F5 t        ranks of the job   space       tag; U untags all
  arrows, PgUp, PgDn, Home, End  move        Enter a  attach
"""),
    "exit-codes": Topic("what $? means", """
The program's own status, or 128 + the signal that ended it; of several ranks
the highest. Where the program did not run, or cannot be known:
    1   a verb was refused, or something was not found
    2   wrong usage: nothing was done
  124   our time-out (--timeout) ended it
  125   it was not started
  126   it is there, but cannot be executed
  127   there is no such program
  130   Ctrl-C, before it started
  255   the link was lost, or who we are was refused, while it may have run
With --json an error is an object on stderr; its fields are `message`, `hint`,
`code` (a word: usage, link, auth, broker, ...) and `exit` (this number).
"""),
    "files": Topic("where gshell keeps what", """
  gshell config path          the directories in use here

  ~/.config/gshell/           client.ticket (as secret as a key), config.toml
  ~/.local/state/gshell/      the private relay, logs
  ~/.cache/gshell/            may be deleted at any time
  $XDG_RUNTIME_DIR/gshell/    sockets (else ~/.gshell/run)
XDG_CONFIG_HOME, XDG_STATE_HOME and XDG_CACHE_HOME move these; GSHELL_HOME=DIR
puts all of them below one directory.

Copying:
  gshell put data.h5 42:      into the work directory of job 42
  gshell get 42:out.log .     and back
  gshell cp -r n014:work .    from an agent's home
  gshell fetch 42             its output files, when it has ended
What was interrupted goes on where it stopped.
"""),
    "environment": Topic("variables that gshell reads and sets", """
Read:
  GSHELL_HOME         everything of gshell below this directory
  GSHELL_RELAY        HOST:PORT of the relay to use (as --relay)
  GSHELL_BACKGROUND   0: no background process; commands start more slowly
  GSHELL_IDLE         how long that one stays without work: 30m
  GSHELL_LOG          debug, info, ...: how much the services log
  GSHELL_LOG_FORMAT   text or json
  NO_COLOR            any text: no colour      FORCE_COLOR   1: colour always
  TERM                dumb: no colour, nothing is drawn in place

Set for programs:
  GSHELL_JOB          the job's id
  GSHELL_RANK         which of its tasks this one is, from 0
  GSHELL_SIZE         how many there are
"""),
    "config": Topic("config.toml, and what overrides what", """
  gshell config path          which file it is
  gshell config show          every setting; --origin says where it is from
  gshell config check         errors, with file, line and what was meant

config.toml, all of it optional:
  color = "auto"              auto, always or never
  ascii = false               true: no character beyond ASCII
  [alias]
  j = "jobs -a"               `gshell j` is then `gshell jobs -a`
  here = "run --agent n014 -l"

An option beats a variable (NO_COLOR), a variable beats the file. An alias
never hides a command of gshell, and is not looked up in another alias.
"""),
    "jdl": Topic("job descriptions: gLite's language", """
  Executable = "lu.A.4";
  JobType = "Parallel";  NodeNumber = 4;
  InputSandbox = {"lu.A.4"};  StdOutput = "std.out";
  OutputSandbox = {"std.out"};
  Requirements = other.cpus >= 4;  Rank = other.free_slots;

  gshell submit --dry-run x.jdl   its errors and warnings; asks nobody
  gshell match x.jdl              where it could run, or why nowhere
  gshell submit x.jdl             prints the id
  gshell fetch ID                 brings the output sandbox
Job scripts with #SBATCH, #OAR, #PBS or #$ lines are read, too. The commands
i2g-job-submit, glite-wms-job-status and their kin are there, too.
"""),
    "mpi": Topic("MPI programs: launching, ranks, input", """
  gshell mpi -n 4 -l -- ./lu.A.4      four ranks, each line with its rank
  gshell mpi -n 64 --fold -- ./hello  what all say is said once: [0-63] hello
  gshell mpi -n 5 -N 2 -- ./a.out     3 + 2 ranks on two agents
  gshell mpi -n 4 -i 2 -- ./ask       stdin goes to rank 2 (all, none, 0-3,7)
  gshell mpi -n 4 --pty all --detach -- ./dbg   a terminal for each rank
  gshell ranks 42 -w                  what each does: state, cpu, memory
  gshell attach 42 --rank 2           join that one
  gshell sh 42 --rank 2               a shell beside it: gdb -p, py-spy, top

Which MPI it is comes from the program; --flavour says it instead. Inside a
batch job, `gshell mpi-start` starts a program with the MPI that is there.
"""),
    "sites": Topic("batch systems: agents that they start", """
  gshell site add alpha                      the batch system of this host
  gshell site add beta --ssh me@frontend     one that ssh reaches
  gshell run --site alpha -- hostname        submits a pilot if none waits
  gshell agent start --site alpha -N 4       nodes, before they are needed
  gshell sites    gshell pilots -a           what there is, what failed and why
  gshell why 42                              what a job waits for, what to type

A pilot is a batch job of yours that only holds nodes; the agent in it dials
out to the relay. Slurm, OAR, Grid Engine, PBS, LSF, HTCondor and `local` are
known. `gshell adopt slurm:4711` looks after a job that gshell did not start.
"""),
    "sharing": Topic("work together, or let somebody look", """
  gshell share 42                     prints the command for your colleague
  gshell share 42 --write --for 10m   to type together
  gshell share 42 --once --to bob     one visit, of one user
  gshell shares                       what is shared; revoke ID ends one

Who has the link needs no login. They see the output, from before too. What
they type goes nowhere unless --write; then it has all of your rights there.
`gshell run --pool GROUP` runs on an agent that serves a group, under the
account of that agent's owner.
"""),
    "recording": Topic("keep what a session showed, and show it again", """
Every session's output is kept by its agent with its times, so that a
recording can begin at any moment, also afterwards:
  gshell logs 42                 the text; --since 10m, --grep REGEX
  gshell help                    lists rec, play and cast where they are there
Recordings are asciicast files. What is typed is recorded only where that was
asked for, and never what a program asks for without echo.
"""),
    "replay": Topic("do a recorded session again, and judge it", """
A replay types a recorded session's input into a live program and compares
what it answers. It waits for the program, never for the clock: for marks of
the shell, for the program to want input, for expected text. Numbers may have
a tolerance, lines may come in any order.
  gshell help replay             its options, where the command is there
"""),
    "ssh": Topic("stock ssh, and ssh under gshell", """
  gshell fwd 42 -L 8888:localhost:8888   ports, as ssh -L, -R and -D
  gshell run -X -- xclock                X11
  gshell site add beta --ssh me@front    a batch system that ssh reaches; keys,
                                         agent and ~/.ssh/config are yours
Inside an ssh session the outer ssh takes ~. for itself: leave with Ctrl-]
three times.
"""),
    "security": Topic("who can see and do what", """
Between you and your agent everything is encrypted end to end: the relay joins
two connections and copies what it cannot read. Agents and clients dial out;
nobody listens but the relay.
  gshell whoami    gshell keys     who I am there; which keys come as me
  gshell revoke KEY                ends one at once, live connections too
  gshell audit verify              on the relay's host: is its log whole?
A ticket is as secret as a key (files of mode 0600). An agent runs as you; an
agent with --pool runs other people's jobs under YOUR account. Text from
elsewhere (names, errors, titles) is shown with what a terminal would obey
spelt out; only an attached session is raw.
"""),
    "scripting": Topic("gshell in scripts: --json, -q, -o, statuses", """
  id=$(gshell run --detach -q -- ./a.out)       the id alone
  gshell jobs -t active -q                      ids, one a line
  gshell jobs -a -q -o id,state,code            columns, without titles
  gshell jobs --json | jq '.jobs[].id'          every verb has --json
  gshell events -f --json                       an object a line, as it happens
What --json prints has a number `schema`; within it fields are added, never
changed or removed. With --json an error is one object on stderr too:
  {"schema":1,"error":{"message":..,"hint":..,"code":"link","exit":255}}
Nothing asks questions where stdin is no terminal; progress and notes go to
stderr, and only if that is a terminal. Statuses: `gshell help exit-codes`.
"""),
}  # fmt: skip
