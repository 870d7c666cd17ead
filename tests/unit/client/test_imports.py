"""What a fast path must not load: each costs milliseconds before a byte is sent."""

import pathlib
import subprocess
import sys

import pytest

import gshell

ROOT = str(pathlib.Path(gshell.__file__).parents[1])
CHEAP = {
    "__future__", "errno", "fcntl", "select", "stat", "_stat", "struct", "_struct", "termios",
    "os", "os.path", "posixpath", "genericpath", "_collections_abc",
}  # fmt: skip
TABLES = {
    f"gshell.cli.tables.{path.stem}"
    for path in pathlib.Path(ROOT).glob("gshell/cli/tables/[a-z]*.py")
}
FAST = {
    "gshell.cli.options": set(),
    "gshell.cli.values": set(),
    "gshell.cli.commands": {
        "gshell.cli.listing",
        "gshell.cli.options",
        "gshell.cli.sessions",
        "gshell.cli.values",
        "gshell.cli.tables",
        *TABLES,
    },
    "gshell.client.escape": set(),
    "gshell.client.modes": set(),
    "gshell.client.render": {"gshell.model", "gshell.model.sanitize"},
    "gshell.client.stdio": set(),
    "gshell.client.terminal": {"gshell.client.modes"},
}
SCRIPT = (
    "import sys\n"
    "sys.path.append(sys.argv[1])\n"
    "before = set(sys.modules)\n"
    "{what}\n"
    "print(*sorted(set(sys.modules) - before))\n"
)


def loaded(what):
    script = SCRIPT.format(what=what)
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, ROOT], capture_output=True, text=True, timeout=50
    )
    assert ran.stderr == ""
    return set(ran.stdout.split())


@pytest.mark.parametrize("module", FAST)
def test_a_fast_module_loads_next_to_nothing(module):
    package = module.rpartition(".")[0]
    expected = {"gshell", package, module} | FAST[module] | CHEAP
    assert loaded(f"import {module}") <= expected


def test_reading_a_command_line_loads_no_more():
    line = ["run", "-t", "-n4", "--env", "A=b", "--timeout", "5m", "--", "ls"]
    more = loaded(f"from gshell.cli.commands import read; read({line!r})")
    assert (
        more
        <= {"gshell", "gshell.cli", "gshell.cli.commands", *FAST["gshell.cli.commands"]} | CHEAP
    )


def test_a_list_of_jobs_needs_no_library_of_others():
    """Nor could it: without `site` there are none."""
    what = (
        "import os; os.environ['GSHELL_HOME'] = '/nonexistent'; sys.stdout = sys.stderr\n"
        "from gshell.cli.main import main\n"
        "import gshell.client.glance, gshell.client.feed, gshell.client.render, gshell.net.tls\n"
        "sys.stdout = open(os.devnull, 'w')\n"
        "assert main(['jobs', '--json']) == 0\n"
        "sys.stdout = sys.__stdout__\n"
        "assert 'site' not in sys.modules"
    )
    roots = {name.partition(".")[0] for name in loaded(what)}
    assert roots <= {"gshell", *sys.stdlib_module_names}


def test_a_guarded_terminal_loads_no_more():
    what = (
        "import os; from gshell.client.terminal import Terminal\n"
        "fd = os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY)\n"
        "t = Terminal(fd); t.guard(); t.raw(); t.size(); t.output(b'\\x1b[?25l'); t.close()"
    )
    assert loaded(what) <= {
        "gshell", "gshell.client", "gshell.client.terminal", "gshell.client.modes",
    } | CHEAP  # fmt: skip


def test_a_session_in_this_very_process_loads_no_library_that_is_dear():
    what = (
        "from gshell.cli.commands import read\n"
        "import gshell.cli.launch, gshell.cli.main, gshell.cli.plan, gshell.client.direct\n"
        "gshell.cli.launch.answers('/nonexistent')\n"
        "from gshell.net import rendezvous\n"
        "rendezvous.encode(rendezvous.CLIENT, {'t': 1.5}, b'hello', bytes(32))"
    )
    dear = {
        "collections",
        "enum",
        "functools",
        "json",
        "re",
        "selectors",
        "signal",
        "socket",
        "ssl",
    }
    assert not loaded(what) & (dear | {"asyncio", "dataclasses", "hashlib", "subprocess", "typing"})
