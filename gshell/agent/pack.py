"""Makes the agent one file that needs only ``python3``: a zip of the closure it imports."""

from __future__ import annotations

import os
import py_compile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator

CLOSURE = ("agent", "net", "wire", "model", "mpi", "lrms", "sshd")  # packages; plus the files below
FILES = (
    "__init__.py", "errors.py", "sitepath.py",
    "cast/__init__.py", "cast/format.py", "cast/lines.py", "cast/recorder.py",
)  # fmt: skip
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
                if name.endswith((".py", ".c")):
                    yield f"gshell/{package}/{name}", _read(os.path.join(folder, name))
    yield from _mpi_start(os.path.join(top, "mpi"))
    yield "__main__.py", _MAIN.encode()


def _mpi_start(folder: str) -> Iterator[tuple[str, bytes]]:
    """It is bash, in a few files: see gshell/agent/mpistart.py."""
    own = "mpi-start.d"
    for name in ["mpi-start", *(f"{own}/{one}" for one in sorted(os.listdir(f"{folder}/{own}")))]:
        yield f"gshell/mpi/{name}", _read(os.path.join(folder, name))


def pack(path: str) -> int:
    """Write the file (executable, replaced in one step); its size in bytes."""
    return _write(path, members())


def compile_packed(packed: str, path: str) -> int:
    """Write to ``path`` what is in the file ``packed`` with this Python's bytecode beside it: it
    starts in a third of the time here, and as before under other versions. Its size in bytes.

    Raises:
        OSError, zipfile.BadZipFile: it cannot be.
    """
    with zipfile.ZipFile(packed) as archive:
        found = [(name, archive.read(name)) for name in archive.namelist()]
    return _write(path, _with_bytecode(found))


def _with_bytecode(found: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    # By the hash of its source, which nobody checks: both are in one file.
    by_hash = py_compile.PycInvalidationMode.UNCHECKED_HASH
    with tempfile.TemporaryDirectory(prefix="gshell-compile-") as folder:
        source, bytecode = os.path.join(folder, "source"), os.path.join(folder, "bytecode")
        for name, content in found:
            yield name, content
            if name.endswith(".py"):
                with open(source, "wb") as file:
                    file.write(content)
                py_compile.compile(
                    source, bytecode, dfile=name, doraise=True, invalidation_mode=by_hash
                )
                yield name + "c", _read(bytecode)


def _write(path: str, content: Iterable[tuple[str, bytes]]) -> int:
    new = f"{path}.{os.getpid()}.new"
    with open(new, "wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in content:
                archive.writestr(zipfile.ZipInfo(name, _DATE), data, zipfile.ZIP_DEFLATED)
    os.chmod(new, 0o755)  # noqa: S103 - a program, to be started by whoever may read it
    os.rename(new, path)
    return os.path.getsize(path)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
