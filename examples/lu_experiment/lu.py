#!/usr/bin/env python3
"""The experiment of lu.toml as a program of one's own: LU, classes S and W, on 1, 2 and 4 ranks.

./lu.py                     # into lu_DATE
./lu.py -c lu_DATE          # go on, whatever ended it
gshell sweep plot lu_DATE
"""

import os
import re

from gshell.sweep import Engine, ParamSweeper, Process, logger, slugify, sweep

HERE = os.path.dirname(os.path.abspath(__file__))
MPI = {
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}
ATTEMPTS = 3


class lu(Engine):
    """Runs LU for each class and number of ranks, three times each."""

    def __init__(self):
        super().__init__()
        self.args_parser.add_argument("--sizes", default="S,W", help="classes (default S,W)")
        self.args_parser.add_argument("--ranks", default="1,2,4", help="numbers (default 1,2,4)")
        self.args_parser.add_argument("--repetitions", type=int, default=3)

    def run(self):
        self.define_parameters()
        return self.prepare_bench() and self.run_xp()

    def define_parameters(self):
        self.parameters = {
            "size": self.args.sizes.split(","),
            "ranks": [int(one) for one in self.args.ranks.split(",")],
            "repetition": range(1, self.args.repetitions + 1),
        }
        points = sweep(self.parameters)
        self.sweeper = ParamSweeper(os.path.join(self.result_dir, "sweeps"), points)
        logger.info("%s", self.sweeper)

    def prepare_bench(self):
        """One program for each class and number of ranks; make does nothing twice."""
        build = os.path.join(self.result_dir, "build")
        for size in self.parameters["size"]:
            for ranks in self.parameters["ranks"]:
                made = Process(
                    [
                        "make",
                        "-s",
                        "-C",
                        os.path.join(HERE, "..", "lu"),
                        "lu",
                        f"CLASS={size}",
                        f"NPROCS={ranks}",
                        f"BUILD={build}",
                    ]
                ).run()
                if not made.ok:
                    logger.error("cannot be compiled: %s", made.stderr)
                    return False
        return True

    def run_xp(self):
        failures = {}
        while comb := self.sweeper.get_next():
            logger.info("%s", comb)
            if self.bench(comb):
                self.sweeper.done(comb)
                continue
            failures[comb] = failures.get(comb, 0) + 1
            if failures[comb] < ATTEMPTS:
                self.sweeper.cancel(comb)  # again, after the others
            else:
                self.sweeper.skip(comb)  # the next run may try
        logger.info("%s", self.sweeper)
        return not self.sweeper.get_skipped()

    def bench(self, comb):
        """Its output has its name only if it is whole, and verified."""
        out = os.path.join(self.result_dir, slugify(comb) + ".out")
        if os.path.exists(out + ".part"):
            os.remove(out + ".part")
        program = os.path.join(
            self.result_dir, "build", "bin", f"lu.{comb['size']}.{comb['ranks']}"
        )
        run = Process(
            ["mpirun", "-n", str(comb["ranks"]), program],
            env=MPI,
            timeout="10:00",
            stdout_handlers=[out + ".part"],
        ).run()
        if not run.ok or not re.search(r"^ Verification +=\s+SUCCESSFUL", run.stdout, re.M):
            os.rename(out + ".part", out + ".failed")
            return False
        os.rename(out + ".part", out)
        return True


if __name__ == "__main__":
    raise SystemExit(lu().start())
