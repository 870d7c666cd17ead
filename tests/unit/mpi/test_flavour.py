"""Which MPI: programs' bytes and launchers' words."""

import struct

import pytest

from gshell.mpi import flavour
from gshell.mpi.flavour import Launcher, Linked

HYDRA = """HYDRA build details:
    Version:                                 {}
    Release Date:                            Thu Jan 26 2023
    CC:                              gcc
"""


def elf(needed: list[str], runpath: str = "", *, wide: bool = True, tag: int = 29) -> bytes:
    """A file with nothing in it but what a loader looks at for libraries."""
    strings = b"\0"
    entries = []
    for name in needed:
        entries.append((1, len(strings)))
        strings += name.encode() + b"\0"
    if runpath:
        entries.append((tag, len(strings)))
        strings += runpath.encode() + b"\0"
    base = 0x400000
    head, size = (64, 56) if wide else (52, 32)
    table = head + 2 * size
    entry = "<qQ" if wide else "<iI"
    dynamic_size = struct.calcsize(entry) * (len(entries) + 2)
    entries += [(5, base + table + dynamic_size), (0, 0)]
    dynamic = b"".join(struct.pack(entry, *one) for one in entries)
    total = table + len(dynamic) + len(strings)
    if wide:
        start = struct.pack(
            "<4sBB10xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 2, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0
        )
        load = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, total, total, 4096)
        where = struct.pack("<IIQQQQQQ", 2, 6, table, base + table, 0, len(dynamic), 0, 8)
    else:
        start = struct.pack(
            "<4sBB10xHHIIIIIHHHHHH", b"\x7fELF", 1, 1, 2, 3, 1, 0, 52, 0, 0, 52, 32, 2, 0, 0, 0
        )
        load = struct.pack("<IIIIIIII", 1, 0, base, base, total, total, 5, 4096)
        where = struct.pack("<IIIIIIII", 2, table, base + table, 0, len(dynamic), 0, 6, 4)
    return start + load + where + dynamic + strings


@pytest.mark.parametrize("wide", [True, False])
def test_a_programs_libraries_and_their_places_are_read(wide: bool) -> None:
    data = elf(["libmpi.so.40", "libc.so.6"], "$ORIGIN/../lib:/opt/x", wide=wide)
    assert flavour.linked(data) == (("libmpi.so.40", "libc.so.6"), ("$ORIGIN/../lib", "/opt/x"))


def test_the_older_way_to_say_where_counts_if_there_is_no_newer() -> None:
    assert flavour.linked(elf(["a"], "/old", tag=15)) == (("a",), ("/old",))


def test_what_is_no_program_is_none_and_damage_is_no_crash() -> None:
    whole = elf(["libmpi.so.40"], "/opt")
    assert flavour.linked(b"#!/bin/sh\n") is None
    for end in range(len(whole)):
        flavour.linked(whole[:end])
    for at in range(120):
        flavour.linked(whole[:at] + b"\xff" * 8 + whole[at + 8 :])


@pytest.mark.parametrize(
    ("needed", "paths", "expected"),
    [
        (("libmpi.so.40",), (), "openmpi"),
        (("libmpi.so.12", "libopen-rte.so.12"), (), "openmpi"),  # 1.10 had MPICH's number
        (("libmpi.so.1",), (), "openmpi"),
        (("libmpi_mpifh.so.40", "libmpi.so.40"), (), "openmpi"),
        (("libmpi.so.12",), (), "mpich"),
        (("libmpich.so.12",), (), "mpich"),
        (("libmpifort.so.12", "libmpi.so.12"), ("/opt/intel/mpi/lib",), "intel"),
        (("libmpi.so.12",), ("/opt/mvapich2-2.3/lib",), "mvapich2"),
        (("libmpi_abi.so.0",), (), ""),
        (("libm.so.6", "libc.so.6"), (), None),
        (("libmpix.so.1", "libmpfr.so.6"), (), ""),
    ],
)
def test_the_library_says_which_mpi(
    needed: tuple[str, ...], paths: tuple[str, ...], expected: "str | None"
) -> None:
    found = flavour.library(Linked(needed, paths))
    assert (found and found[0]) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "mpirun (Open MPI) 5.0.11\n\nReport bugs to https://www.open-mpi.org/",
            ("openmpi", (5, 0, 11)),
        ),
        ("mpirun.openmpi (OpenRTE) 4.1.4\n", ("openmpi", (4, 1, 4))),
        ("mpirun (Open MPI) 1.10.7", ("openmpi", (1, 10, 7))),
        (HYDRA.format("4.0.2"), ("mpich", (4, 0, 2))),
        (HYDRA.format("5.0.2"), ("mpich", (5, 0, 2))),
        ("Intel(R) MPI Library for Linux* OS, Version 2021.9 Build 20230307", ("intel", (2021, 9))),
        ("MVAPICH2 Version:     \t2.3.7\n", ("mvapich2", (2, 3, 7))),
        ("srun: unrecognized option", ("generic", ())),
        ("", ("generic", ())),
    ],
)
def test_a_launchers_words_say_whose_it_is(
    text: str, expected: "tuple[str, tuple[int, ...]]"
) -> None:
    assert flavour.launcher(text) == Launcher(*expected)
