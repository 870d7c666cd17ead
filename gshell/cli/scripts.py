"""Job scripts with header lines of a batch system (#SBATCH, #OAR, #PBS, #$), as job descriptions.

The script itself is what is run, once, with as many slots as it asks for; its directory is the
job's own, not the one it is submitted from: nothing is shared.
"""

from __future__ import annotations

import importlib
import os
import re
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gshell.errors import UsageError
from gshell.jdl import job as jdl
from gshell.jdl.description import Description
from gshell.jdl.errors import At
from gshell.jdl.parse import parse_expression
from gshell.jdl.reader import Findings
from gshell.jdl.syntax import Ad, Entry, Items, Literal
from gshell.lrms import common
from gshell.lrms.base import LrmsError

if TYPE_CHECKING:
    from gshell.lrms.base import Headers

# One of a batch system's lines with an option; in a description it would be an odd comment.
_HEADER = re.compile(r"(?m)^#(?:SBATCH|PBS|OAR|BSUB|\$)[ \t]+-")
_PLACEHOLDER = re.compile(r"%[a-z_]+%|%[0-9]*[A-Za-z]|\$\{?[A-Za-z_]+\}?")
# What a job asks for in vain, or before its time.
_MATTERS = re.compile(r"gpu|depend|hold_jid|begin|licen[cs]e|^-[ad] ")


def is_one(text: str) -> bool:
    """Is it a script, and no job description?"""
    return text.startswith("#!") or _HEADER.search(text) is not None


def describe(path: str, text: str, sets: Iterable[tuple[str, str]] = ()) -> Description:
    """
    Raises:
        UsageError, JdlError: its headers make no sense, or ask for what is not there.
    """
    name = os.path.basename(path) if path != "-" else "script"
    if path == "-":
        raise UsageError("a script is sent as a file", hint="gshell submit script.sh")
    if "\r\n" in text:
        why = "has the line ends of Windows: no shell runs it so"
        raise UsageError(f"{name} {why}", f"sed -i 's/\\r$//' {shlex.quote(path)}", name)
    findings = Findings(name, [])
    runs = [Entry("Executable", Literal(name))]
    if not text.startswith("#!"):
        findings.note(At(1, 1), "no #! line: /bin/sh runs it")
        runs = [
            Entry("Executable", Literal("/bin/sh")),
            Entry("Arguments", Literal(shlex.quote(name))),
        ]
    ad = Ad(
        (
            *runs,
            Entry("InputSandbox", Literal(path)),
            Entry("JobName", Literal(name)),
        )
    )
    try:
        headers = read_headers(text)
    except LrmsError as error:
        raise UsageError(error.message, error.hint, origin=name) from None
    if headers is not None:
        ad = ad.with_(*_entries(headers, name, findings))
    else:
        findings.note(At(1, 1), "no header lines of a batch system: one task")
    for number, line in _too_late(text):
        findings.warning(At(number, 1), f"behind the first command, it does not count: {line}")
    for attribute, expression in sets:
        value = parse_expression(expression, f"--set {attribute}")
        ad = ad.with_(Entry(attribute, value))
    return jdl.read_ad(ad, findings, jdl.Options())


def read_headers(text: str) -> Headers | None:
    """Of the first batch system whose lines are in it; None: of none.

    Raises:
        LrmsError: with the line's number.
    """
    for plugin in _plugins():
        # A script may have lines for several: the first that are there count.
        found: Headers | None = plugin.headers(text)
        if found is not None:
            return found
    return None


def _too_late(text: str) -> list[tuple[int, str]]:
    """Header lines that their batch system would not look at either."""
    found = []
    for directive in ("#SBATCH", "#PBS"):
        counting = dict(common.header_lines(text, directive))
        every = common.header_lines(text, directive, whole=True)
        found += [(n, f"{directive} {line}") for n, line in every if n not in counting]
    return sorted(found)


def _plugins() -> list[Any]:
    try:
        registry = importlib.import_module("gshell.lrms.registry")
    except ImportError:
        return []
    found = [registry.built_in(name) for name in registry.NAMES]
    return [one for one in found if one is not None and one.directive]


def _file_name(key: str, path: str) -> str:
    base = re.sub(r"[-_.]+(?=\.|\Z)", "", _PLACEHOLDER.sub("", os.path.basename(path)))
    if not base.strip(".") or (base[0] == "." and os.path.basename(path)[0] != "."):
        base = key.lower() + base  # nobody looks for a hidden file
    return base


def _entries(headers: Headers, name: str, findings: Findings) -> list[Entry]:
    found: dict[str, str | int | None] = {
        "JobName": headers.name or None,
        "WallTime": int(headers.walltime_s) if headers.walltime_s else None,
    }
    nodes = headers.nodes or 1
    slots = headers.tasks or nodes * (headers.tasks_per_node or 1)
    slots *= headers.cpus_per_task or 1
    if nodes > 1:
        findings.error(
            At(1, 1),
            f"{name} asks for {nodes} nodes: it would run on one only; "
            "`gshell agent start --site SITE -N NODES` gets them, then `gshell run -N`",
        )
    if slots > 1:
        found["CpuNumber"] = slots
    if headers.whole:
        found["WholeNodes"] = True
    outputs = []
    named: dict[str, str] = {}
    for key, path in (("StdOutput", headers.output), ("StdError", headers.error)):
        if path and path != "/dev/null":
            # Both may go to one file: that has one name.
            base = named[path] = named.get(path) or _file_name(key, path)
            if base != path:
                findings.note(At(1, 1), f"{key} is the file {base} of the job ({path} was written)")
            found[key] = base
            outputs.append(base)
    if headers.array:
        findings.error(
            At(1, 1),
            f"an array of jobs ({headers.array}): write JobType = Parametric in a JDL file",
        )
    for what, value in (("queue", headers.queue), ("account", headers.account)):
        if value:
            findings.note(At(1, 1), f"the {what} {value} is the site's: see gshell site add")
    if headers.cwd:
        findings.note(At(1, 1), f"the directory {headers.cwd}: the job has one of its own")
    for option in headers.ignored:
        add = findings.warning if _MATTERS.search(option) else findings.note
        add(At(1, 1), f"changes nothing: {option}")
    entries = [Entry(key, Literal(value)) for key, value in found.items() if value is not None]
    if headers.memory_bytes:
        of_all = slots if headers.memory_of_slot else 1
        entries.append(Entry("Memory", Literal(int(headers.memory_bytes) * of_all)))
    if outputs:
        names = tuple(map(Literal, dict.fromkeys(outputs)))
        entries.append(Entry("OutputSandbox", Items(names)))
    return entries
