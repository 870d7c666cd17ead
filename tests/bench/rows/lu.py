"""A program that only computes: LU class W under mpirun, through gshell and bare."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from bench.gsh import repository
from bench.lab import Lab
from bench.measure import Failed, Missing, Sample, interleaved, run_checked, tail
from bench.table import Line, against, at_most

CLASS, RANKS = "W", 1  # ranks busy-wait: more than one would compete with gshell for two cores
VERIFIED = b"Verification Successful"
BUILD_DEADLINE_S = 120.0


def lu(lab: Lab) -> list[Line]:
    mpirun = [lab.program("mpirun"), "-n", str(RANKS), str(_build(lab))]
    env = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    lab_env, gshell_env = {**lab.env, **env}, {**lab.warm.env, **env}
    carried = [f"--env={name}={value}" for name, value in env.items()]

    def turn(argv: list[str], env: dict[str, str]) -> Sample:
        begun = time.perf_counter()
        _, out = run_checked(argv, env, stdout=None)
        elapsed = time.perf_counter() - begun
        if VERIFIED not in out:
            raise Failed(f"LU: {tail(out)}")
        return {"s": elapsed}

    got = interleaved(
        {
            "gshell": lambda: turn(lab.warm.run(*mpirun, options=carried), gshell_env),
            "mpirun": lambda: turn(mpirun, lab_env),
        },
        lab.rounds(7, 3),
        warm_up=False,
    )
    what = f"LU class {CLASS}, {RANKS} rank, wall"
    return [against("lu", what, got["gshell"], got["mpirun"], "s", at_most(1.03))]


def _build(lab: Lab) -> Path:
    source, build = repository() / "examples" / "lu", lab.directory / "lu"
    if not (source / "Makefile").exists():
        raise Missing("examples/lu isn't there")
    lab.program("mpicc")
    make = [lab.program("make"), "-s", "-C", str(source), "lu"]
    make += [f"CLASS={CLASS}", f"NPROCS={RANKS}", f"BUILD={build}"]
    built = subprocess.run(make, env=lab.env, capture_output=True, timeout=BUILD_DEADLINE_S)
    if built.returncode != 0:
        raise Failed(f"LU doesn't compile: {tail(built.stderr or built.stdout)}")
    found = [p for p in build.rglob(f"lu.{CLASS}.{RANKS}") if shutil.which(str(p))]
    if not found:
        raise Failed(f"make left no lu.{CLASS}.{RANKS}")
    return found[0]
