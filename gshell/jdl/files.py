"""InputSandbox and OutputSandbox of an ad, as paths and patterns. Touches no file."""

from __future__ import annotations

import difflib

from gshell.jdl import sandbox
from gshell.jdl.reader import Reader


def inputs(reader: Reader) -> tuple[str, ...]:
    base = reader.string("InputSandboxBaseURI").strip()
    found = []
    for one in reader.filled("InputSandbox"):
        try:
            found.append(sandbox.local_path(one.strip(), base))
        except ValueError as error:
            reader.wrong("InputSandbox", f"InputSandbox: {error}")
    found = list(dict.fromkeys(found))
    for one in found:
        if why := sandbox.elsewhere(one):
            reader.findings.warning(reader.at("InputSandbox"), f"InputSandbox: {why}")
    if base := sandbox.twice(found):
        reader.wrong("InputSandbox", f"InputSandbox has two files with the name {base}")
    return tuple(found)


def outputs(
    reader: Reader, streams: tuple[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    found: list[str] = []
    for one in reader.filled("OutputSandbox"):
        name = one.removeprefix("./")
        if not sandbox.inside(name):
            reader.wrong("OutputSandbox", f"OutputSandbox: {one!r} is not in the job's directory")
        elif "/" not in name and not sandbox.is_glob(name) and name not in streams:
            _near_stream(reader, name, streams)
        found.append(name)
    uris = reader.strings("OutputSandboxDestURI")
    base = reader.string("OutputSandboxBaseDestURI")
    if uris and base:
        reader.wrong(
            "OutputSandboxBaseDestURI",
            "OutputSandboxDestURI and OutputSandboxBaseDestURI: say one of them",
        )
    if uris and len(uris) != len(found):
        counts = f"{len(uris)} places for the {len(found)} of OutputSandbox"
        reader.wrong("OutputSandboxDestURI", f"OutputSandboxDestURI has {counts}")
    if uris and any(sandbox.is_glob(name) for name in found):
        reader.wrong(
            "OutputSandbox", "patterns in OutputSandbox go with OutputSandboxBaseDestURI only"
        )
    destinations = [_destination(reader, "OutputSandboxDestURI", uri) for uri in uris]
    place = _destination(reader, "OutputSandboxBaseDestURI", base) if base else ""
    return tuple(found), tuple(destinations), place


def _near_stream(reader: Reader, name: str, streams: tuple[str, str]) -> None:
    """``std.err`` in the sandbox and ``stderr`` as StdError: one of them is a slip."""
    for stream in difflib.get_close_matches(name, [one for one in streams if one], 1, 0.85):
        text = f'OutputSandbox: "{name}", but the job writes "{stream}"'
        reader.findings.warning(reader.at("OutputSandbox"), text)


def _destination(reader: Reader, name: str, uri: str) -> str:
    try:
        return sandbox.destination(uri.strip())
    except ValueError as error:
        reader.findings.warning(reader.at(name), f"{name}: {error}")
        return ""
