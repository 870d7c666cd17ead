"""Programs compiled with an MPICH, where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def mpicc() -> str | None:
    """An MPICH's compiler: $GSHELL_MPICH's, the one beside our Python (PyPI's), or on PATH."""
    beside = [
        os.path.join(os.environ.get("GSHELL_MPICH", ""), "bin"),
        os.path.dirname(sys.executable),
    ]
    for folder in [*beside, *os.environ.get("PATH", "").split(":")]:
        for name in ("mpicc.mpich", "mpicc"):
            path = shutil.which(name, path=folder)
            if path and os.path.isabs(path) and _is_mpich(path):
                return path
    return None


def _is_mpich(path: str) -> bool:
    done = subprocess.run([path, "-show"], capture_output=True, text=True, timeout=20, check=False)
    return (
        "-lmpi" in done.stdout
        and "open-pal" not in done.stdout
        and "ompi" not in done.stdout.lower()
    )


def compile_with_mpich(folder: Path, name: str, text: str, *flags: str) -> str:
    """The program's file; skips the test where there is no MPICH."""
    compiler = mpicc()
    if compiler is None:
        pytest.skip("no MPICH")
    source = folder / f"{name}.c"
    source.write_text(text)
    program = str(folder / name)
    argv = [compiler, "-O1", "-o", program, str(source), *flags]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return program
