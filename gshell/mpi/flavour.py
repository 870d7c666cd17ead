"""Which MPI a program is linked with, and which one a launcher belongs to, from bytes and texts.
Opens no file and starts nothing: see gshell/agent/mpifind.py.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

OPENMPI, MPICH, INTEL, MVAPICH2, GENERIC = "openmpi", "mpich", "intel", "mvapich2", "generic"
MPICH_FAMILY = (MPICH, INTEL, MVAPICH2)
ANY = ""  # an MPI, or a program that may use one: its launcher decides

_ELF = b"\x7fELF"
_PT_LOAD, _PT_DYNAMIC = 1, 2
_NEEDED, _STRTAB, _RPATH, _RUNPATH = 1, 5, 15, 29
_MOST_ENTRIES = 4096  # of a dynamic section, or of program headers; real ones have dozens


class Linked(NamedTuple):
    """What a program's file says of its libraries."""

    needed: tuple[str, ...]
    paths: tuple[str, ...]
    """RUNPATH, else RPATH: where they are looked for, with $ORIGIN as it stands there."""


class Launcher(NamedTuple):
    """An mpirun or mpiexec."""

    flavour: str
    version: tuple[int, ...]
    """Empty: not said."""


def linked(data: bytes) -> Linked | None:
    """None: no ELF file, or a damaged one. Static programs need nothing."""
    try:
        return _linked(data)
    except (struct.error, ValueError, OverflowError):
        return None


def _linked(data: bytes) -> Linked | None:
    if data[:4] != _ELF or data[4] not in (1, 2) or data[5] not in (1, 2):
        return None
    wide = data[4] == 2
    order = "<" if data[5] == 1 else ">"
    headers, size, count = _program_headers(data, wide, order)
    loads: list[tuple[int, int, int]] = []  # address, offset, bytes in the file
    dynamic = None
    for number in range(min(count, _MOST_ENTRIES)):
        at = headers + number * size
        if wide:
            kind, _, offset, address, _, length = struct.unpack_from(order + "IIQQQQ", data, at)
        else:
            kind, offset, address, _, length = struct.unpack_from(order + "IIIII", data, at)
        if kind == _PT_LOAD:
            loads.append((address, offset, length))
        elif kind == _PT_DYNAMIC:
            dynamic = offset, length
    if dynamic is None:
        return Linked((), ())
    entry = struct.Struct(order + ("qQ" if wide else "iI"))
    found: list[tuple[int, int]] = []
    strings = None
    for at in range(dynamic[0], dynamic[0] + dynamic[1] - entry.size + 1, entry.size):
        tag, value = entry.unpack_from(data, at)
        if tag == 0 or len(found) > _MOST_ENTRIES:
            break
        if tag == _STRTAB:
            strings = value
        elif tag in (_NEEDED, _RPATH, _RUNPATH):
            found.append((tag, value))
    base = next(
        (o + strings - a for a, o, n in loads if strings is not None and a <= strings < a + n), None
    )
    if base is None:
        return Linked((), ())
    words = [(tag, _string(data, base + value)) for tag, value in found]
    paths = [w for tag, w in words if tag == _RUNPATH] or [w for tag, w in words if tag == _RPATH]
    folders = tuple(folder for text in paths for folder in text.split(":") if folder)
    return Linked(tuple(word for tag, word in words if tag == _NEEDED), folders)


def _program_headers(data: bytes, wide: bool, order: str) -> tuple[int, int, int]:
    """(where, size of one, how many)"""
    if wide:
        where = struct.unpack_from(order + "Q", data, 32)[0]
        return (where, *struct.unpack_from(order + "HH", data, 54))
    where = struct.unpack_from(order + "I", data, 28)[0]
    return (where, *struct.unpack_from(order + "HH", data, 42))


def _string(data: bytes, at: int) -> str:
    end = data.find(b"\0", at)
    return data[at:end].decode("utf-8", "surrogateescape") if at >= 0 and end >= 0 else ""


def folders(found: Linked, program: str) -> list[str]:
    """Where the libraries of the program at this path are looked for first.

    >>> folders(Linked((), ("$ORIGIN/../lib",)), "/opt/x/bin/p")
    ['/opt/x/bin/../lib']
    """
    origin = program.rpartition("/")[0] or "."
    return [path.replace("${ORIGIN}", origin).replace("$ORIGIN", origin) for path in found.paths]


_OPEN_MPI_ALSO = re.compile(r"lib(open-rte|open-pal|mpi_mpifh|mpi_usempi\w*|mpi_cxx)\.so\.")
_OPEN_MPI = re.compile(r"libmpi\.so\.(40|20|1|0)\Z")  # 2.0 and later, 1.7 and 1.8, before
_ABI_OF_MPICH = re.compile(r"lib(mpi|mpifort|mpicxx)\.so\.12\Z")  # MPICH, Intel, MVAPICH2
_MPICH = re.compile(r"lib(mpich|mpichcxx|mpichf90|fmpich)\.so\.\d+\Z")
_ABI = re.compile(r"libmpi_abi\.so\.")  # of the standard: any MPI's launcher
_MPI = re.compile(r"libmpi[\w-]*\.so(\.|\Z)")


def library(found: Linked) -> tuple[str, str] | None:
    """(flavour, name of the MPI library) that a program is linked with; None: with none.

    >>> library(Linked(("libc.so.6", "libmpi.so.40"), ()))
    ('openmpi', 'libmpi.so.40')
    >>> library(Linked(("libmpi.so.12",), ("/opt/intel/oneapi/mpi/2021.9/lib",)))
    ('intel', 'libmpi.so.12')
    >>> library(Linked(("libm.so.6",), ())) is None
    True
    """
    own = [name for name in found.needed if _MPI.match(name) or _MPICH.match(name)]
    if not own:
        return None
    if any(_OPEN_MPI_ALSO.match(name) for name in found.needed):
        return OPENMPI, own[0]
    for name in own:
        if _OPEN_MPI.match(name):
            return OPENMPI, name
        if _ABI_OF_MPICH.match(name) or _MPICH.match(name):
            return of_path(":".join(found.paths)) or MPICH, name
    return ANY, own[0]


def of_path(path: str) -> str:
    """What the names of directories give away: "" if nothing.

    >>> of_path("/usr/lib64/mvapich2/lib"), of_path("/usr/lib")
    ('mvapich2', '')
    """
    low = path.lower()
    if "mvapich" in low:
        return MVAPICH2
    return INTEL if "impi" in low or "/intel/" in low else ""


_VERSIONS = (
    (OPENMPI, re.compile(r"\(Open ?MPI\)\s+v?(\d[\d.]*)")),
    (OPENMPI, re.compile(r"\bOpenRTE\)?\s+v?(\d[\d.]*)")),
    (INTEL, re.compile(r"Intel\(R\) MPI Library.*?Version\s+(\d[\d.]*)", re.S)),
    (MVAPICH2, re.compile(r"MVAPICH2?\s*(?:Version)?[:\s-]*(\d[\d.]*)", re.I)),
    (MPICH, re.compile(r"HYDRA build details:.*?Version:\s*(\d[\d.]*)", re.S)),
    (MPICH, re.compile(r"MPICH Version:\s*(\d[\d.]*)")),
)


def launcher(text: str) -> Launcher:
    """Whose `mpirun --version` this is.

    >>> launcher("mpirun (Open MPI) 4.1.4")
    Launcher(flavour='openmpi', version=(4, 1, 4))
    >>> launcher("srun 22.05")
    Launcher(flavour='generic', version=())
    """
    for flavour, pattern in _VERSIONS:
        match = pattern.search(text)
        if match:
            parts = [part for part in match[1].split(".") if part]
            return Launcher(flavour, tuple(int(part) for part in parts if len(part) < 9))
    return Launcher(GENERIC, ())
