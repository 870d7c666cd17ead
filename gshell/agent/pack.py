"""Makes the agent one file that needs only ``python3``: a zip of the closure it imports."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator

CLOSURE = ("agent", "net", "wire", "model", "mpi", "lrms")  # packages; plus the files below
FILES = ("__init__.py", "errors.py", "sitepath.py")
_MAIN = """\
import sys
from gshell.agent.main import main
sys.exit(main(sys.argv[1:]))
"""
_DATE = (2020, 1, 1, 0, 0, 0)  # the same sources make the same file


def members() -> Iterator[tuple[str, bytes]]:
    """(name, content) of everything in the file, in order."""
    top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for name in FILES:
        yield "gshell/" + name, _read(os.path.join(top, name))
    for package in CLOSURE:
        folder = os.path.join(top, package)
        if os.path.isdir(folder):
            for name in sorted(os.listdir(folder)):
                if name.endswith(".py"):
                    yield f"gshell/{package}/{name}", _read(os.path.join(folder, name))
    yield "__main__.py", _MAIN.encode()


def pack(path: str) -> int:
    """Write the file (executable, replaced in one step); its size in bytes."""
    new = f"{path}.{os.getpid()}.new"
    with open(new, "wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members():
                archive.writestr(zipfile.ZipInfo(name, _DATE), content, zipfile.ZIP_DEFLATED)
    os.chmod(new, 0o755)  # noqa: S103 - a program, to be started by whoever may read it
    os.rename(new, path)
    return os.path.getsize(path)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
