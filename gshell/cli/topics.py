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
  GSHELL_NODE_ADDRESS
                      an agent's: where others reach its node, to get big files
                      from there (AgentPut); else at any of its addresses
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
    "experiments": Topic("sweeps over parameters that survive crashes", """
  gshell sweep run lu.toml            prepare, run every point, check, collect
  gshell sweep run --dry-run lu.toml  only say what would be run
  gshell sweep status -w              how far it is, from another terminal
  gshell sweep resume                 after Ctrl-C, a crash, a power cut
  gshell sweep resume --retry         failed points, too
  gshell sweep show -o lu.csv         a table: .csv, .jsonl, .parquet
  gshell sweep plot -o lu.png         plots; without -o in the terminal

The file says factors, the command, what a right result is, and where it runs:
here, on agents, by ssh, or in reservations at OAR, Slurm or Grid Engine.
  [factors]
  size = ["S", "W"]
  ranks = { from = 1, to = 4, times = 2 }
  [run]
  command = "mpirun -n {ranks} ./lu.{size}.{ranks}"
  [results]
  format = "npb"
  verify = "verified"
  [where]
  kind = "here"
A point is done when its command ended with 0 in time and its results are
right; else it is tried again. Nothing is done twice, and nothing is lost.

The same in Python, with execo's names: `from gshell.sweep import *` has
Process, SshProcess, Remote, Put, Get, Report, oarsub, ParamSweeper, Engine.
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
  gshell rec demo.cast                a shell, recorded; exit ends it
  gshell rec demo.cast -I             with what is typed, to replay it
  gshell rec demo.cast -- ./lu.A.1    a command
  gshell rec 42                       a job that runs, from its beginning
  gshell run --rec a.cast -- ./a.out  a run as any other
  ~R  ~m                              while attached: begin or end; a marker

  gshell play demo.cast               space pauses, arrows seek, / searches
  gshell play -s 3 -i 1s demo.cast    three times as fast, no long pauses
  gshell cast info demo.cast          size, length, markers, exit status
  gshell cast convert demo.cast demo.svg   or .html, .txt: by its name
  gshell logs 42                      the text alone, also without recording

Files are asciicast v2, which asciinema plays. What is typed is in them only
with -I, and then never what a program reads without showing it: passwords are
asked for again when it is replayed. With -I the shell also notes where each
command ends and with which status (OSC 133 marks, which terminals ignore).
"""),
    "replay": Topic("do a recorded session again, and judge it", """
  gshell rec lu.cast -I               work as always; exit ends it
  gshell replay lu.cast               again, in my shell on an agent
  gshell replay lu.cast --on beta     ... there; --local: on this machine
  gshell replay lu.cast --learn --write lu.gst   three runs; a test to keep
  gshell replay lu.gst -D N=4         with a parameter (@param N=1 in it)
  gshell replay lu.gst --matrix N=1,2,4 --csv times.csv    a table of times

It types when the program waits for input, never before and never by the clock
(SYNC says how it knew). Of a recording as it is, times, rates, process ids and
digits from the ninth on may differ; all else must be as it was. A .gst says it
line by line:
  $ mpirun -n ${N} ./lu.S.${N}        a command for the shell
  (gdb)> bt                           a line for a program with that prompt
  ... (any*)                          any lines
  Time in seconds = (num as t)        any number, kept: a column of the table
  residual (num 0.0161963 rel=1e-8)   this number, nearly
  at (re /0x[0-9a-f]+/) on (time)     a regex; a date, a time, a duration
  [0]                                 its exit status
Nothing written below an input: nothing is judged. - was expected, + was seen.
Statuses: 0 as expected, 1 something differs, 2 the script is wrong, 124 a step
took too long, 125 not started, 255 lost. What differs is recorded: play it.
"""),
    "ssh": Topic("stock ssh to jobs and agents, and ssh under gshell", """
  gshell ssh-config --install         once: jobs and agents are hosts for ssh
  ssh job42    ssh job42.1            a shell beside the job, or its member 1
  ssh n014.gshell                     a shell at that agent
  scp FILE job42:    rsync -a DIR job42:    sftp job42
  ssh -L 8888:localhost:8888 job42    ports, each way; -D, -A, ProxyJump, too
  gshell ssh 42 -- make               the same, with nothing installed
What passes is between your ssh and the agent; no relay reads it. Keys are
yours or gshell's own, with a certificate that renews itself, and
`gshell revoke KEY` ends what it opened. Nobody is asked about fingerprints.

  ssh 42@gshell-relay                 job 42's own terminal, as gshell attach
  ssh watch+job42@gshell-relay        only to look; ssh -T: the output
  ssh job42.r3@gshell-relay           rank 3; job42.1 is the job's member 1
This one does pass through the relay in clear, and works only where the relay
was started with --ssh-attach. ~. of ssh, or Ctrl-] three times, leaves; the
job goes on, and its exit status is ssh's. From a machine without gshell:
ssh -p PORT -o CertificateFile=... -i KEY job42@HOST.

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
