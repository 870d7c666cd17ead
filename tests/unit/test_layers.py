"""The import map of gshell, as a test. A new arrow is an edit here, reviewed as such."""

import ast
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

# -------------------------------------------------------------------------------------- the tables

BASE = {"gshell.errors", "gshell.sitepath"}  # used by everyone, use nobody

MAY_IMPORT = {  # layer: the layers it may use, besides itself and BASE; the longest name counts
    "gshell.errors": set(),
    "gshell.sitepath": set(),
    "gshell.model": set(),
    "gshell.wire": {"gshell.model"},
    "gshell.mpi": {"gshell.model"},
    "gshell.lrms": {"gshell.model"},
    "gshell.plugins": {"gshell.lrms"},  # looking for those of third parties reads files: not pure
    "gshell.jdl": {"gshell.model"},
    "gshell.cast": {"gshell.model"},
    "gshell.config": {"gshell.model"},
    "gshell.net": {"gshell.model", "gshell.wire"},
    "gshell.agent": {
        "gshell.model", "gshell.wire", "gshell.net", "gshell.mpi", "gshell.lrms",
        "gshell.cast",  # it records where no client is
    },
    "gshell.submitter": {
        "gshell.model", "gshell.net", "gshell.lrms", "gshell.plugins", "gshell.config",
        "gshell.agent.pack",
    },
    "gshell.agent.pack": set(),
    "gshell.client": {
        "gshell.model", "gshell.wire", "gshell.net", "gshell.cast", "gshell.config",
    },
    "gshell.glogin": {
        "gshell.model", "gshell.wire", "gshell.net", "gshell.config", "gshell.client",
        "gshell.agent",  # one command line for both ends; with -r it is the remote one
    },
    "gshell.glogin.certificate": set(),
    "gshell.replay": {
        "gshell.model", "gshell.cast", "gshell.client", "gshell.config", "gshell.wire",
        "gshell.net",
    },
    "gshell.web": {
        "gshell.model", "gshell.wire", "gshell.net", "gshell.client", "gshell.config",
    },
    "gshell.sshd": {"gshell.model"},  # a program that agents start where asyncssh is installed
    "gshell.sweep": {
        "gshell.model", "gshell.client", "gshell.config", "gshell.lrms", "gshell.net",
        "gshell.plugins",
        "gshell.glogin.certificate",  # of agents that pass files on to each other
    },
    "gshell.cli": {
        "gshell.model", "gshell.client", "gshell.sweep", "gshell.cast", "gshell.config",
        "gshell.jdl", "gshell.lrms", "gshell.mpi", "gshell.plugins",
        "gshell.net",  # most verbs are one question to the relay
        "relay",  # the verb `relay` is the relay's own command line
        "relay.auth",  # `doctor` reads the dates of a ticket's certificate
        "gshell.agent", "gshell.agent.pack",  # the verb `agent` starts one, or packs it
        "gshell.submitter",  # the verb `submitter` is one; `site add` tries a site as it will
        "gshell.glogin",  # the verb `glogin` is i2glogin
        "gshell.repl",  # no verb at all starts the prompt
        "gshell.replay", "gshell.web",
    },
    "gshell.repl": {
        "gshell.model", "gshell.client", "gshell.cli", "gshell.config",
        "gshell.net",  # the feed and the files of others, on the loop that the client uses
    },
    "gshell.front": {"gshell.client", "gshell.cli"},
    "gshell.__main__": {"gshell.front"},
    "gshell": {  # the public API, all of it loaded on first use
        "gshell.model", "gshell.client", "gshell.sweep", "gshell.cast", "gshell.config",
    },
    "relay.broker": {"gshell.model"},
    "relay.bus": {"gshell.model"},
    "relay.auth": {"gshell.model"},
    "relay.vitals": {"gshell.net"},
    "relay.door": {
        "relay.bus", "relay.auth", "relay.vitals", "gshell.model", "gshell.wire", "gshell.net",
    },
    "relay.archive": {
        "gshell.model", "gshell.wire", "gshell.net",
        "gshell.client",  # it looks on at steps as a client does: the same conversation
        "gshell.agent",  # and shows what it has as an agent does: the same uplink and attachments
    },
    "relay.ssh": {
        "gshell.model", "gshell.net", "relay.auth", "relay.bus", "relay.vitals",
        "gshell.client",  # what it shows to `ssh 42@relay` is a client's run, in its own process
    },
    "relay": {
        "relay.archive", "relay.ssh",
        "relay.broker", "relay.bus", "relay.auth", "relay.vitals", "relay.door", "gshell.model",
        "gshell.wire",
        "gshell.net", "gshell.lrms", "gshell.jdl", "gshell.cast", "gshell.config",
    },
}  # fmt: skip

ONLY_IN = {  # third party: the only modules that know it
    "asyncssh": {"relay.ssh", "gshell.sshd", "gshell.submitter.ssh", "gshell.sweep"},
    "classad2": {"gshell.jdl.eval"},
    "cryptography": {
        "relay.auth",
        "relay.sshca",
        "gshell.glogin.certificate",  # a listener's own: the standard library makes none
    },
    "matplotlib": {"gshell.sweep.plots"},
    "prompt_toolkit": {"gshell.repl"},
    "pyarrow": {"gshell.sweep.results"},  # optional: tables as Parquet
    "rich": {"gshell.cli.render"},
    "uvloop": {"relay.door"},
    "websockets": {"gshell.web"},
    "zmq": {"relay.bus"},
}

PURE = {
    "gshell.model", "gshell.wire", "gshell.lrms", "gshell.mpi",
    "gshell.cast.format", "gshell.cast.screen", "gshell.cast.cells",
    "gshell.cast.width", "gshell.cast.asciicast", "gshell.cast.typescript", "gshell.cast.ttyrec",
    "gshell.cast.octets", "gshell.cast.edit", "gshell.cast.redraw", "gshell.cast.frames",
    "gshell.cast.svg", "gshell.cast.html", "gshell.cast.load", "gshell.cast.palette",
    "gshell.replay.script", "gshell.replay.heard", "gshell.replay.gst", "gshell.replay.gstwrite", "gshell.replay.gstinput", "gshell.replay.tape", "gshell.replay.masks", "gshell.replay.matching",
    "gshell.replay.judge", "gshell.replay.keys", "gshell.replay.screen", "gshell.replay.learn",
    "gshell.replay.fromcast", "gshell.replay.matrix", "gshell.sweep.space", "relay.broker",
    "gshell.net.handshake", "gshell.net.mux",
    "gshell.net.x11", "gshell.cast.recorder", "gshell.cast.playback", "gshell.cast.playsafe",
}  # fmt: skip
# All that a pure module may use of the standard library: no I/O, no clock, no luck.
PURE_LIBRARY = {
    "__future__", "_collections", "_json", "abc", "base64", "binascii", "bisect", "collections", "contextlib", "copy",
    "dataclasses", "datetime", "enum", "fnmatch", "fractions", "functools", "graphlib", "hashlib",
    "heapq", "hmac", "ipaddress", "itertools", "json", "math", "numbers", "operator", "posixpath",
    "re", "shlex", "statistics", "string", "struct", "textwrap", "types", "typing", "unicodedata",
    "zlib",
}  # fmt: skip
# ... and these have an impure part beside the pure one.
PURE_NAMES = {
    "codecs": {"getincrementaldecoder"},
    "pathlib": {"PurePath", "PurePosixPath"}, "signal": {"Signals"},
    "warnings": {"catch_warnings", "simplefilter"},  # compiling a user's regex, quietly
}  # fmt: skip
IMPURE_CALLS = {"open", "input", "print", "exec", "eval", "__import__", "breakpoint"}
IMPURE_METHODS = {"now", "utcnow", "today"}  # datetime's clock

# What a worker node runs: the standard library only, Python 3.9.
CLOSURE = BASE | {
    "gshell.agent", "gshell.net", "gshell.wire", "gshell.model", "gshell.mpi", "gshell.lrms",
    "gshell.cast.format", "gshell.cast.lines", "gshell.cast.recorder",
}  # fmt: skip
CLOSURE_SYNTAX = (3, 9)

STDLIB = sys.stdlib_module_names


# -------------------------------------------------------------------------------------- the checks


class Import(NamedTuple):
    target: str
    names: tuple[str, ...]  # of `from target import names`
    line: int


def within(module: str, layers: set[str] | frozenset[str]) -> bool:
    return any(module == layer or module.startswith(layer + ".") for layer in layers)


def layer_of(module: str) -> str | None:
    return max((name for name in MAY_IMPORT if within(module, {name})), key=len, default=None)


def imports(tree: ast.AST) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, (), node.lineno)
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            yield Import("." * node.level + (node.module or ""), names, node.lineno)


def targets(found: Import) -> set[str]:
    """The modules that an import may mean: ``from gshell import net`` is gshell.net."""
    if found.target in ("gshell", "relay") and found.names:
        # The version is a constant, not an arrow.
        return {f"{found.target}.{name}" for name in found.names if name != "__version__"}
    return {found.target}


def offences(module: str, text: str) -> list[str]:
    """Every way in which ``text``, as the source of ``module``, breaks the map."""
    in_closure = within(module, CLOSURE)
    try:
        # Best effort: match and except* are seen; newer library calls are vermin's part.
        tree = ast.parse(text, feature_version=CLOSURE_SYNTAX if in_closure else None)
    except SyntaxError as error:
        return [f"{module}:{error.lineno}: {error.msg}: the agent's closure runs on 3.9"]
    here = layer_of(module)
    if here is None:
        return [f"{module}: belongs to no layer of the map"]
    bad = []
    for found in imports(tree):
        at = f"{module}:{found.line}: imports {found.target}"
        if found.target.startswith("."):
            bad.append(f"{at}: absolute imports only")
            continue
        for target in targets(found):
            there = layer_of(target)
            if there and there != here and there not in MAY_IMPORT[here] | BASE:
                bad.append(f"{at}: {here} may not use {there}")
        root = found.target.partition(".")[0]
        if root in ("gshell", "relay"):
            continue
        if root not in STDLIB:
            if root not in ONLY_IN:
                bad.append(f"{at}: a library the map doesn't know")
            elif not within(module, ONLY_IN[root]):
                bad.append(f"{at}: only {', '.join(sorted(ONLY_IN[root]))} may")
            if in_closure:
                bad.append(f"{at}: the agent's closure has the standard library only")
        elif within(module, PURE) and root not in PURE_LIBRARY:
            if found.names and PURE_NAMES.get(root, set()).issuperset(found.names):
                continue
            bad.append(f"{at}: pure modules take time, bytes and luck as arguments")
    if within(module, PURE):
        bad += impure_calls(module, tree)
    return bad


def impure_calls(module: str, tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if name in IMPURE_CALLS or method in IMPURE_METHODS:
                yield f"{module}:{node.lineno}: calls {name or method}(): not in a pure module"


def eager_imports(tree: ast.Module) -> list[str]:
    """What importing the module imports: not in functions, not under TYPE_CHECKING."""
    lines = {
        child.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"))
        for child in ast.walk(node)
        if isinstance(child, ast.Import | ast.ImportFrom)
    }
    return [found.target for found in imports(tree) if found.line not in lines]


def sources() -> Iterator[tuple[str, pathlib.Path]]:
    """Module name and file of everything in the two packages, wherever they are installed."""
    for top in ("gshell", "relay"):
        spec = importlib.util.find_spec(top)
        assert spec is not None
        assert spec.submodule_search_locations
        home = pathlib.Path(spec.submodule_search_locations[0])
        for path in sorted(home.rglob("*.py")):
            parts = (top, *path.relative_to(home).with_suffix("").parts)
            if "_examples" not in parts:
                yield ".".join(parts).removesuffix(".__init__"), path


def closure() -> list[str]:
    return [module for module, _ in sources() if module == "gshell" or within(module, CLOSURE)]


# --------------------------------------------------------------------------------------- the tests


def test_the_map_holds():
    bad = [o for module, path in sources() for o in offences(module, path.read_text("utf-8"))]
    assert not bad, "\n" + "\n".join(bad)


def test_the_map_names_no_layer_twice_and_none_that_does_not_exist():
    named = BASE | PURE | CLOSURE | set().union(*MAY_IMPORT.values())
    assert [name for name in named if layer_of(name) is None] == []


def test_arrows_go_one_way():
    def reaches(start: str, goal: str, seen: set[str]) -> bool:
        news = MAY_IMPORT[start] - seen
        return goal in news or any(reaches(n, goal, seen | news) for n in news)

    round_trips = {layer for layer in MAY_IMPORT if reaches(layer, layer, set())}
    assert round_trips == {"gshell.cli", "gshell.repl"}  # one user interface in two rooms


@pytest.mark.parametrize("package", ["gshell", "relay"])
def test_importing_a_top_package_imports_nothing_else(package):
    # Everything below passes through it: the agent on 3.9, and the fast path, to the millisecond.
    path = dict(sources())[package]
    assert set(eager_imports(ast.parse(path.read_text("utf-8")))) <= {"__future__", "typing"}


@pytest.mark.parametrize(
    ("module", "text", "because"),
    [
        ("gshell.model.job", "import gshell.wire.frames", "may not use gshell.wire"),
        ("gshell.model.job", "from gshell import wire", "may not use gshell.wire"),
        ("gshell.wire.peer", "from gshell.net import loop", "may not use gshell.net"),
        ("gshell.wire.peer", "def f():\n    import gshell.net", "may not use gshell.net"),
        ("gshell.net.tls", "import gshell.client.run", "may not use gshell.client"),
        ("gshell.agent.main", "import gshell.client", "may not use gshell.client"),
        ("gshell.agent.main", "import gshell.jdl", "may not use gshell.jdl"),
        ("gshell.client.run", "import relay.door", "may not use relay.door"),
        ("gshell.client.run", "import gshell.agent", "may not use gshell.agent"),
        ("gshell.cli.run", "import gshell.wire", "may not use gshell.wire"),
        ("gshell.cast.format", "import gshell.client", "may not use gshell.client"),
        ("gshell.lrms.slurm", "import gshell.net", "may not use gshell.net"),
        ("gshell.errors", "import gshell.model", "may not use gshell.model"),
        ("relay.broker.core", "import relay.journal", "may not use relay"),
        ("relay.broker.core", "from relay.bus import Bus", "may not use relay.bus"),
        ("relay.door.splice", "import relay.broker.core", "may not use relay.broker"),
        ("relay.door.splice", "from relay import journal", "may not use relay"),
        ("relay.journal", "import gshell.client", "may not use gshell.client"),
        ("gshell.novelty", "import gshell.agent", "gshell may not use gshell.agent"),
        ("elsewhere", "", "belongs to no layer"),
        ("gshell.wire.peer", "from . import frames", "absolute imports only"),
        ("gshell.wire.peer", "import time", "pure modules"),
        ("gshell.wire.peer", "from time import monotonic", "pure modules"),
        ("gshell.model.job", "import random", "pure modules"),
        ("gshell.lrms.slurm", "import subprocess", "pure modules"),
        ("gshell.mpi.plan", "import os", "pure modules"),
        ("gshell.mpi.plan", "from pathlib import Path", "pure modules"),
        ("gshell.cast.format", "import io", "pure modules"),
        ("gshell.sweep.space", "import secrets", "pure modules"),
        ("relay.broker.core", "import asyncio", "pure modules"),
        ("relay.broker.core", "import sqlite3", "pure modules"),
        ("gshell.model.job", "open('x')", "calls open()"),
        ("relay.broker.core", "import datetime\ndatetime.datetime.now()", "calls now()"),
        ("relay.broker.core", "import zmq", "only relay.bus may"),
        ("relay.door.main", "import zmq.asyncio", "only relay.bus may"),
        ("gshell.client.run", "import asyncssh", "only "),
        ("gshell.client.run", "from prompt_toolkit import prompt", "only gshell.repl may"),
        ("gshell.repl.main", "from rich.table import Table", "only gshell.cli.render may"),
        ("gshell.client.run", "import requests", "a library the map doesn't know"),
        ("gshell.agent.main", "import cryptography", "the standard library only"),
        ("gshell.agent.main", "match 1:\n    case 1: pass", "runs on 3.9"),
        ("gshell.wire.peer", "try: pass\nexcept* OSError: pass", "runs on 3.9"),
        ("gshell.net.loop", "def f[T](x: T) -> T: ...", "3.9"),
    ],
)
def test_a_forbidden_line_is_found(module, text, because):
    found = offences(module, text)
    assert any(because in offence for offence in found), found


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("gshell.agent.main", "import os, select\nimport gshell.net.loop, gshell.mpi.plan"),
        ("gshell.agent.main", "from gshell import __version__"),
        ("gshell.client.run", "from gshell import net, wire\nfrom gshell.errors import LinkLost"),
        ("gshell.client.run", "match 1:\n    case 1: pass"),
        ("gshell.mpi.plan", "from pathlib import PurePosixPath\nfrom signal import Signals"),
        ("gshell.cli.main", "import gshell.repl.main, argparse"),
        ("gshell.cli.render", "from rich.table import Table"),
        ("relay.bus", "import zmq.asyncio"),
        ("relay.broker.core", "import heapq\nfrom gshell.model import job"),
        ("relay.journal", "import sqlite3\nimport relay.broker.core"),
    ],
)
def test_an_allowed_line_is_left_alone(module, text):
    assert offences(module, text) == []


def test_what_a_type_checker_or_a_function_imports_is_not_eager():
    text = "import a\nif TYPE_CHECKING:\n    import b\ndef f():\n    import c\n"
    assert eager_imports(ast.parse(text)) == ["a"]


def python39() -> str | None:
    candidate = os.environ.get("GSHELL_PYTHON39") or shutil.which("python3.9")
    if candidate is None:
        return None
    probe = [candidate, "-I", "-S", "-c", "import sys; sys.exit(sys.version_info[:2] != (3, 9))"]
    # A version manager's shim is on PATH whether or not it leads anywhere.
    return candidate if subprocess.run(probe, capture_output=True).returncode == 0 else None


def test_the_agent_s_closure_imports_on_python_3_9():
    python = python39()
    if python is None:
        pytest.skip("no Python 3.9 here (GSHELL_PYTHON39=/path/to/python3.9)")
    root = dict(sources())["gshell"].parents[1]
    modules = [module for module in closure() if not module.endswith("__main__")]
    # One after the other, each complaint kept; no .pyc of 3.9 is left behind.
    script = (
        "import importlib, sys, traceback\n"
        "root, *modules = sys.argv[1:]\n"
        "sys.path.append(root)\n"
        "for module in modules:\n"
        "    try: importlib.import_module(module)\n"
        "    except BaseException: print(module); traceback.print_exc(limit=-1, file=sys.stdout)\n"
    )
    argv = [python, "-I", "-S", "-B", "-c", script, str(root), *modules]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=50)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
