"""One experiment on two clusters at once, of two batch systems: OAR at one site, Slurm at another.

    CLUSTERS="edel.lyon:oar big.paris:slurm" python3 two_clusters.py

A cluster is NAME.SITE:BATCH_SYSTEM; SITE is its front end, reached by ssh; its hosts are reached as
~/.ssh/config says. Beside this is NPB3.3-MPI.tar.bz2, which npb.sh makes.
"""

import collections
import os

from gshell.sweep import (
    OarSubmission,
    ParamSweeper,
    Put,
    Remote,
    SlurmSubmission,
    SshProcess,
    logger,
    slugify,
    sweep,
)
from gshell.sweep.clusters import ClusterEngine

KINDS = dict(one.split(":") for one in os.environ.get("CLUSTERS", "").split())
SIZES = os.environ.get("SIZES", "S W").split()
N_CORES = [int(one) for one in os.environ.get("N_CORES", "1 2 4").split()]
N_NODES = 2
ATTEMPTS = 3
MPIRUN = "mpirun --oversubscribe --mca pml ob1 --mca btl tcp,self"


class TwoClusters(ClusterEngine):
    """LU of several sizes and numbers of ranks on all clusters, each as fast as it can."""

    def init(self):
        points = sweep({"cluster": list(KINDS), "n_core": N_CORES, "size": SIZES})
        self.sweeper = ParamSweeper(os.path.join(self.result_dir, "sweeps"), points)
        self.failures = collections.Counter()
        self.build(sorted({self.get_site(cluster) for cluster in KINDS}))

    def build(self, sites):
        """The programs, at all sites at once."""
        suite = "".join(f"lu\\t{size}\\t{cores}\\n" for size in SIZES for cores in N_CORES)
        make = f"cd NPB3.3-MPI && printf '{suite}' > config/suite.def && make suite"
        for step in (
            Put(sites, ["NPB3.3-MPI.tar.bz2"]),
            Remote(f"tar -xjf NPB3.3-MPI.tar.bz2 && {make}", sites),
        ):
            if not step.run().ok:
                raise SystemExit(f"not built: {step}")

    def get_clusters(self):
        return list(KINDS)

    def get_job(self, cluster):
        def mine(points):
            return [point for point in points if point["cluster"] == cluster]

        point = self.sweeper.get_next(mine)
        if point is None:
            return None
        if KINDS[cluster] == "slurm":
            return SlurmSubmission(f"nodes={N_NODES},exclusive", walltime="0:10:00"), point
        return OarSubmission(f"nodes={N_NODES}", walltime="0:10:00",
                             job_type="allow_classic_ssh"), point  # fmt: skip

    def worker(self, cluster, site, data, nodes, worker_index, oarsubmission, jobid):
        if nodes is None:
            self.sweeper.cancel(data)
            return
        hosts = ",".join(node.address for node in nodes)
        program = f"NPB3.3-MPI/bin/lu.{data['size']}.{data['n_core']}"
        output = os.path.join(self.result_dir, slugify(data) + ".out")
        lu = SshProcess(f"{MPIRUN} -H {hosts} -n {data['n_core']} {program}", nodes[0])
        lu.stdout_handlers.append(output)
        lu.run()
        if lu.ok and "SUCCESSFUL" in lu.stdout:
            logger.info("done on %s: %s", hosts, data)
            self.sweeper.done(data)
            return
        self.failures[data] += 1
        if self.failures[data] < ATTEMPTS:
            self.sweeper.cancel(data)
        else:
            logger.error("failed on %s, %d times: %s", hosts, ATTEMPTS, data)
            self.sweeper.skip(data)


if __name__ == "__main__":
    if not KINDS:
        raise SystemExit(__doc__)
    raise SystemExit(TwoClusters().start())
