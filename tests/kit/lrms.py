"""What batch systems have printed, for tests: recorded on the real ones (Slurm, OAR, Grid Engine),
after their manuals (PBS, LSF, HTCondor), made up (local)."""

import json
import pathlib

from gshell.lrms import local
from gshell.lrms.base import Done, State
from gshell.lrms.conformance import Samples

DATA = pathlib.Path(__file__).parents[1] / "data" / "lrms"

Q, H, R, E = State.QUEUED, State.HELD, State.RUNNING, State.ENDED


def text(kind: str, name: str) -> str:
    path = DATA / kind / name
    return path.read_text("utf-8") if path.exists() else ""


def done(kind: str, name: str, code: int = 0) -> Done:
    return Done(code, text(kind, f"{name}.out"), text(kind, f"{name}.err"))


def both(kind: str, name: str) -> list[Done]:
    return [done(kind, name), done(kind, f"{name}-2")]


def env(kind: str) -> dict[str, str]:
    lines = text(kind, "env.txt").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def job(pid: int, name: str) -> str:
    return f"{pid:7} sh -c {local.JOB} {name} /home/alice/{name}.sh 60 2\n"


OAR_STRANGE = json.dumps({"1": {"Job_Id": 1, "state": "Pondering"}}) + "\n"

SAMPLES = {
    "slurm": Samples(
        submitted=done("slurm", "submitted"),
        id="1",
        refused=done("slurm", "refused", 1),
        status=both("slurm", "status"),
        states={"1": R, "2": E, "3": Q, "4": Q, "5": H},
        strange=[Done(0, "1|PONDERING|None|1795336205|n1\n")],
        strange_id="1",
        found=done("slurm", "found"),
        names={"1": "gshell-two", "3": "gshell-wait0", "4": "gshell-wait1", "5": "gshell-held"},
        offered=both("slurm", "offers-busy"),
        env=env("slurm"),
        files={},
        hosts=(("n1", 2), ("n2", 2)),
    ),
    "oar": Samples(
        submitted=done("oar", "submitted"),
        id="1",
        refused=done("oar", "refused", 248),
        status=both("oar", "status"),
        states={"1": R, "2": E, "3": Q, "4": Q, "5": H},
        strange=[Done(0, OAR_STRANGE)],
        strange_id="1",
        found=done("oar", "found"),
        names={"1": "gshell-two", "3": "gshell-wait0", "4": "gshell-wait1", "5": "gshell-held"},
        offered=both("oar", "offers-busy"),
        env=env("oar"),
        files={"/var/lib/oar/1": text("oar", "nodefile.txt")},
        hosts=(("n1", 2), ("n2", 2)),
        lacks=("memory_bytes",),
    ),
    "sge": Samples(
        submitted=done("sge", "submitted"),
        id="1",
        refused=done("sge", "refused", 1),
        status=both("sge", "status"),
        states={"1": R, "4": R, "5": Q, "6": H},
        strange=[Done(0, text("sge", "status.out").replace("<state>r<", "<state>Y<"))],
        strange_id="1",
        found=done("sge", "found"),
        names={"1": "gshell-two", "4": "gshell-wait0", "5": "gshell-wait1", "6": "gshell-held"},
        offered=both("sge", "offers-busy"),
        env=env("sge"),
        files={env("sge")["PE_HOSTFILE"]: text("sge", "nodefile.txt")},
        hosts=(("n1", 1), ("n2", 1)),
        extra=("-pe", "openmpi"),
    ),
    "pbs": Samples(
        submitted=Done(0, "548.moab\n"),
        id="548.moab",
        refused=Done(170, "", "qsub: Unknown queue MSG=cannot locate queue\n"),
        status=[done("pbs", "status", 153), done("pbs", "status-2")],
        states={"548.moab": R, "549.moab": Q, "550.moab": H, "551.moab": E},
        strange=[done("pbs", "strange")],
        strange_id="548.moab",
        found=done("pbs", "status"),
        names={"548.moab": "gshell-two", "549.moab": "gshell-wait", "550.moab": "gshell-held"},
        offered=[done("pbs", "queues"), done("pbs", "nodes-torque"), done("pbs", "server")],
        env={
            "PBS_JOBID": "548.moab",
            "PBS_NODEFILE": "/var/spool/torque/aux/548.moab",
            "PBS_QUEUE": "batch",
            "PBS_JOBNAME": "gshell-two",
            "PBS_WALLTIME": "108000",
        },
        files={"/var/spool/torque/aux/548.moab": "n1\nn1\nn1\nn10\nn10\n"},
        hosts=(("n1", 3), ("n10", 2)),
    ),
    "lsf": Samples(
        submitted=Done(0, "Job <930> is submitted to default queue <normal>.\n"),
        id="930",
        refused=Done(255, "", "nix: No such queue. Job not submitted.\n"),
        status=[done("lsf", "status", 255), done("lsf", "status-2")],
        states={"930": R, "931": Q, "932": H, "933": E, "934": E},
        strange=[done("lsf", "strange")],
        strange_id="930",
        found=Done(0, "930|gshell-two\n931|gshell|odd\n"),
        names={"930": "gshell-two", "931": "gshell|odd"},
        offered=[done("lsf", "queues"), done("lsf", "hosts"), done("lsf", "params")],
        env={
            "LSB_JOBID": "930",
            "LSB_MCPU_HOSTS": "n1 2 n10 3 ",
            "LSB_HOSTS": "n1 n1 n10 n10 n10",
            "LSB_QUEUE": "normal",
            "LSB_JOBNAME": "gshell-two",
            "LSB_RESTART": "Y",
        },
        files={},
        hosts=(("n1", 2), ("n10", 3)),
    ),
    "htcondor": Samples(
        submitted=Done(0, "12.0 - 12.0\n"),
        id="12.0",
        refused=Done(1, "", "ERROR: on Line 3 of submit file: \n"),
        status=[done("htcondor", "status"), done("htcondor", "status-2")],
        states={"11.0": E, "12.0": R, "13.0": Q, "14.0": H},
        strange=[Done(0, '[{"ClusterId": 12, "ProcId": 0, "JobStatus": 99}]\n')],
        strange_id="12.0",
        found=done("htcondor", "found"),
        names={"12.0": "gshell-p1", "20.3": ""},
        offered=[done("htcondor", "slots")],
        env={"_CONDOR_JOB_AD": "/s/.job.ad", "_CONDOR_MACHINE_AD": "/s/.machine.ad"},
        files={
            "/s/.job.ad": text("htcondor", "job.ad"),
            "/s/.machine.ad": text("htcondor", "machine.ad"),
        },
        hosts=(("n10.cluster", 2),),
        lacks=("nodes", "queue"),
    ),
    "local": Samples(
        submitted=Done(0, "4242.gshell-p1\n"),
        id="4242.gshell-p1",
        refused=Done(2, "", "sh: 1: Cannot fork\n"),
        status=[Done(0, job(4242, "gshell-p1") + job(4243, "gshell-p2") + "   4300 vi\n")],
        states={"4242.gshell-p1": R, "4243.gshell-p2": R, "4300.gshell-p3": E},
        strange=[Done(0, "   4242\n" + job(4243, "gshell-p2"))],
        strange_id="4242.gshell-p1",
        found=Done(0, job(4242, "gshell-p1") + "   4300 vi x\n"),
        names={"4242.gshell-p1": "gshell-p1"},
        offered=[Done(0, "4\n1.25 0.5 0.1 1/99 4242\nMemTotal:    1024 kB\n")],
        env={
            "GSHELL_LOCAL_JOB": "4242.gshell-p1",
            "GSHELL_LOCAL_HOST": "here",
            "GSHELL_LOCAL_SLOTS": "4",
            "GSHELL_LOCAL_ENDS": "1700000000",
        },
        files={},
        hosts=(("here", 4),),
        lacks=("nodes", "queue", "account", "memory_bytes"),
    ),
}
