"""The commands of the relay and of who one is to it, and those that need none. Knows not what they
do.
"""

from __future__ import annotations

from gshell.cli import values
from gshell.cli.listing import fields_option
from gshell.cli.options import Command, Option
from gshell.cli.sessions import GLOBAL

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
DOCTOR = Command("doctor", "check everything and say what to do", common=GLOBAL)
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
GRID = Command(
    "grid",
    "the commands of gLite and int.eu.grid, by their names",
    words="COMMAND ...",
    opaque=True,
    hidden=True,
    examples=(("gshell grid i2g-job-submit simple.jdl", "as if it were installed"),),
    common=GLOBAL,
)
