"""What batch systems printed, and what we make of it."""

import pytest

from gshell.errors import LrmsError
from gshell.lrms import htcondor, local, lsf, oar, pbs, registry, sge, slurm
from gshell.lrms.base import Allocation, Done, PilotRequest, Queue, State, Status
from kit.lrms import SAMPLES, done, text

Q, H, R, E = State.QUEUED, State.HELD, State.RUNNING, State.ENDED
GIB = 1 << 30


def statuses(name):
    samples = SAMPLES[name]
    plugin = registry.plugin(name)
    return list(plugin.statuses(list(samples.states), samples.status).values())


def by_id(name):
    return {status.id: status for status in statuses(name)}


def test_slurm_s_squeue():
    assert by_id("slurm") == {
        "1": Status("1", R, "", 1795336205.0, hosts=("n1", "n2")),
        "2": Status("2", E, "FAILED", 1795336205.0, hosts=("n1",)),
        "3": Status("3", Q, "Resources", 1795339805.0, 0),
        "4": Status("4", Q, "Priority", 1795343400.0, 1),
        "5": Status("5", H, "JobHeldUser"),
    }


def test_oar_s_oarstat():
    found = by_id("oar")
    assert found["1"] == Status("1", R, "", 1795336218.0, hosts=("n1", "n2"))
    assert found["2"] == Status("2", E, "Terminated", 1795336225.0, hosts=("n3",), code=3)
    assert (found["3"].position, found["4"].position) == (0, 1)
    assert found["4"].start_at == 1795343540.0
    assert found["5"] == Status("5", H, "Hold")


def test_oar_says_who_ended_a_job():
    ended = oar.statuses(["1"], [done("oar", "status-cancelled")])["1"]
    assert (ended.state, ended.reason) == (E, "deleted (FRAG_JOB_REQUEST)")


def test_grid_engine_s_qstat():
    found = by_id("sge")
    assert found["1"] == Status("1", R, "", 1795336269.0, hosts=("n1", "n2"))
    assert found["4"].hosts == ("n1", "n2", "n3", "n4")
    assert found["5"] == Status(
        "5", Q, 'queue instance "all.q@n4" dropped because it is full', None, 0
    )
    assert found["6"] == Status("6", H, "hqw")


def test_grid_engine_says_why_a_job_has_an_error():
    listed = text("sge", "status.out").replace("<state>hqw<", "<state>Eqw<")
    why = "job_number:   6\nerror reason    1:      can't open output file\n"
    held = sge.statuses(["6"], [Done(0, listed), Done(0, why)])["6"]
    assert (held.state, held.reason) == (H, "can't open output file")


def test_torque_s_qstat():
    found = by_id("pbs")
    assert found["548.moab"] == Status("548.moab", R, "", 1519309668.0, hosts=("n003", "n10"))
    assert found["549.moab"].reason == "Not Running: Insufficient amount of resource: ncpus"
    assert (found["549.moab"].position, found["549.moab"].start_at) == (1, 1519417668.0)
    assert found["551.moab"] == Status("551.moab", E, "exit status 3", hosts=("n003",), code=3)


def test_a_pbs_server_may_have_two_names():
    found = pbs.statuses(["548.other.name"], [done("pbs", "status")])
    assert found["548.other.name"].state is R


def test_slurm_s_imitation_of_pbs_indents_with_tabs():
    answer = "Job Id:\t1\n\tjob_state = R\n\texec_host = n1/3+n2/1\n\n"
    assert pbs.statuses(["1"], [Done(0, answer)]) == {"1": Status("1", R, hosts=("n1", "n2"))}


def test_lsf_s_bjobs():
    found = by_id("lsf")
    assert found["930"] == Status("930", R, hosts=("hostA", "hostB"))
    assert found["931"].position == 1
    assert found["933"] == Status(
        "933", E, "TERM_OWNER: job killed by owner", hosts=("hostA",), code=3
    )
    assert found["934"].code == 0


def test_htcondor_s_queue_and_history():
    found = by_id("htcondor")
    assert found["11.0"] == Status("11.0", E, "Completed", code=3)
    assert found["12.0"] == Status("12.0", R, "", 1700000000.0, hosts=("n10.cluster",))
    assert found["14.0"].reason == "via condor_hold (by user alice)"


@pytest.mark.parametrize(
    ("name", "queues"),
    [
        (
            "slurm",
            [
                Queue("main", 4, 2, 16, 12, 4, 4000 << 20, None, 1, 3, True),
                Queue("short", 1, 0, 4, 2, 4, 4000 << 20, 300, 0, 0),
            ],
        ),
        ("oar", [Queue("default", 4, 2, 8, 4, 2, None, None, 1, 2, True)]),
        ("sge", [Queue("all.q", 4, 0, 8, 0, 2, 25232932864, None, 2, 2, True)]),
        (
            "pbs",
            [
                Queue("batch", 3, 1, 12, 6, 4, None, 72 * 3600, 1, 2, True),
                Queue("long", 3, 1, 12, 6, 4, None, None, 0, 0, False, False),
            ],
        ),
        (
            "lsf",
            [
                Queue("owners", 4, 1, 16, 6, 4, running=0, waiting=0),
                Queue("normal", 4, 1, 16, 6, 4, running=4, waiting=2, default=True),
                Queue("night", 4, 1, 16, 6, 4, running=0, waiting=0, up=False),
            ],
        ),
        ("htcondor", [Queue("pool", 2, 1, 16, 14, 8, 32000 << 20, default=True)]),
        ("local", [Queue("local", 1, None, 4, 3, 4, 1 << 20, default=True)]),
    ],
)
def test_what_a_site_offers(name, queues):
    assert registry.plugin(name).offered(SAMPLES[name].offered) == queues


def test_openpbs_tells_a_node_s_memory():
    nodes = pbs.offered([done("pbs", "queues"), done("pbs", "nodes-openpbs")])[0]
    assert (nodes.cpus, nodes.cpus_free, nodes.memory_bytes) == (8, 6, 32768000 << 10)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("slurm", "refused", "invalid partition specified: nix"),
        ("oar", "refused", "The queue nix does not exist"),
        ("sge", "refused", 'job requests unknown queue "nix"'),
        ("pbs", "refused", "Unknown queue"),
        ("lsf", "refused", "nix: No such queue"),
        ("local", "busy", "Cannot fork"),
    ],
)
def test_a_refusal_is_told_in_the_site_s_words(name, code, words):
    with pytest.raises(LrmsError) as refused:
        registry.plugin(name).submitted(SAMPLES[name].refused)
    assert refused.value.code == code
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("plugin", "answer", "ends_at"),
    [
        (slurm, done("slurm", "ends"), 1795339805.0),
        (oar, done("oar", "ends"), 1795336218.0 + 3600),
        (sge, done("sge", "ends"), 1795336269.0 + 3600),
        (pbs, done("pbs", "status"), 1000.0 + 3593),
        (lsf, Done(0, "1:30 L\n"), 1000.0 + 5400),
        (lsf, Done(0, "1:30 E\n"), None),
        (slurm, Done(0, "NONE\n"), None),
    ],
)
def test_when_a_batch_job_ends(plugin, answer, ends_at):
    assert plugin.ended_at(answer, 1000.0) == ends_at


def inside(name, **changed):
    env = {**SAMPLES[name].env, **changed}
    return registry.plugin(name).allocation(env, SAMPLES[name].files.__getitem__, 1000.0)


def test_what_the_environment_tells_besides_the_hosts():
    assert inside("slurm", SLURM_RESTART_COUNT="2", SLURM_JOB_END_TIME="1795339805") == Allocation(
        "slurm", "1", (("n1", 2), ("n2", 2)), 1795339805.0, 2, "main", "gshell-two"
    )
    assert inside("oar").ends_at == 1000.0 + 3600
    assert inside("sge", RESTARTED="1").restart == 1
    assert inside("pbs").ends_at == 1000.0 + 108000
    assert inside("lsf").restart == 1
    assert inside("htcondor") == Allocation(
        "htcondor", "12.0", (("n10.cluster", 2),), 4600.0, 1, name="gshell-p1"
    )
    assert inside("local").ends_at == 1700000000.0


@pytest.mark.parametrize(
    ("env", "hosts"),
    [
        # in a step, the tasks are the step's
        ({"SLURM_STEP_ID": "0", "SLURM_TASKS_PER_NODE": "1(x2)", "SLURM_JOB_CPUS_PER_NODE": "4,8"},
         (("n1", 4), ("n2", 8))),
        ({"SLURM_TASKS_PER_NODE": "7", "SLURM_JOB_CPUS_PER_NODE": "8(x2)", "SLURM_CPUS_PER_TASK": "4"},
         (("n1", 2), ("n2", 2))),
        ({"SLURM_TASKS_PER_NODE": "3,1"}, (("n1", 3), ("n2", 1))),
        ({"SLURM_TASKS_PER_NODE": "", "SLURM_JOB_CPUS_PER_NODE": ""}, (("n1", 1), ("n2", 1))),
    ],
)  # fmt: skip
def test_slurm_s_slots_are_the_tasks_of_the_job(env, hosts):
    assert inside("slurm", **env).hosts == hosts


def test_lsf_without_counts_has_a_word_for_each_slot():
    assert inside("lsf", LSB_MCPU_HOSTS="").hosts == (("n1", 2), ("n10", 3))


def test_a_pbs_task_is_started_by_the_node_file_s_line():
    here = inside("pbs")
    assert here.hosts == (("n1", 3), ("n10", 2))
    [command] = pbs.on_nodes(here, ["n10"], ["sh", "-c", "a b"])
    assert command.argv == ["pbsdsh", "-n", "3", "--", "sh", "-c", "a b"]


REQUEST = PilotRequest("gshell-p1", "/h/p1.sh", "/h/p1.out", 2, 4, 108000, 8 * GIB, "long", "lab")


@pytest.mark.parametrize(
    ("plugin", "extra", "lines"),
    [
        (slurm, (), ["--job-name=gshell-p1", "--output=/h/p1.out", "--nodes=2",
                     "--ntasks-per-node=4", "--time=30:00:00", "--mem=8192M", "--partition=long",
                     "--account=lab"]),
        (oar, (), ["-n gshell-p1", "-l /nodes=2/core=4,walltime=30:00:00", "-O /h/p1.out",
                   "-E /h/p1.out", "-q long", "--project lab"]),
        (sge, ("-pe", "mpi"), ["-S /bin/sh", "-N gshell-p1", "-o /h/p1.out", "-j y", "-pe mpi 8",
                               "-l h_rt=30:00:00", "-l h_vmem=2048M", "-q long", "-P lab"]),
        (pbs, (), ["-N gshell-p1", "-o /h/p1.out", "-j oe", "-l nodes=2:ppn=4",
                   "-l walltime=30:00:00", "-l mem=16384mb", "-q long", "-A lab"]),
        (lsf, (), ["-J gshell-p1", "-o /h/p1.out", "-n 8", '-R "span[ptile=4]"', "-W 30:00",
                   "-M 8192MB", "-q long", "-P lab"]),
    ],
)  # fmt: skip
def test_a_pilot_s_header(plugin, extra, lines):
    assert plugin.header(REQUEST._replace(extra=extra)) == [
        f"{plugin.directive} {line}" for line in lines
    ]


def test_whole_nodes_where_there_is_such_a_thing():
    whole = REQUEST._replace(slots=0)
    assert "#SBATCH --exclusive" in slurm.header(whole)
    assert "#OAR -l /nodes=2,walltime=30:00:00" in oar.header(whole)
    assert "#BSUB -x" in lsf.header(whole)


def test_htcondor_s_description_says_when_to_end():
    request = REQUEST._replace(nodes=1, queue="")
    lines = htcondor.submit(request).stdin.splitlines()
    assert "request_memory = 8192" in lines
    assert any(line.startswith("periodic_remove") and "108000" in line for line in lines)


def test_grid_engine_asks_for_the_parallel_environment_s_name():
    with pytest.raises(LrmsError, match="8 slots need a parallel environment") as refused:
        sge.header(REQUEST)
    assert "qconf -spl" in refused.value.hint


def test_a_parallel_environment_with_a_number_is_the_user_s_business():
    request = REQUEST._replace(extra=("-pe", "smp", "3", "-V"))
    assert not [line for line in sge.header(request) if "-pe" in line]
    assert sge.submit(request).argv == ["qsub", "-terse", "-pe", "smp", "3", "-V", "/h/p1.sh"]


def test_a_local_pilot_that_is_not_the_one_has_gone():
    row = "   4242 sh -c something else gshell-p1\n"
    assert local.statuses(["4242.gshell-p1"], [Done(0, row)])["4242.gshell-p1"].reason == "gone"


@pytest.mark.parametrize(
    ("name", "script", "fields"),
    [
        ("slurm", "#SBATCH -N2 -n 8 --time=1-0 # c\n#SBATCH -p 'a b' --gres=gpu:1 --requeue\n\ntrue\n#SBATCH -n 1\n",
         {"nodes": 2, "tasks": 8, "walltime_s": 86400, "queue": "a b",
          "ignored": ("--gres=gpu:1", "--requeue")}),
        ("slurm", "#SBATCH --ntasks=8 --tasks-per-node 4 --mem-per-cpu=2G -o log -t 1-02:00\n#SBATCH -t infinite\n",
         {"tasks": 8, "tasks_per_node": 4, "nodes": 2, "memory_bytes": 2 * GIB, "memory_of_slot": True,
          "output": "log", "error": "log", "walltime_s": None}),
        ("slurm", "#SBATCH -c4 --exclusive --mem 2G\n",
         {"cpus_per_task": 4, "whole": True, "memory_bytes": 2 * GIB}),
        ("oar", "#OAR -l {cluster='a'}/nodes=2/cpu=2/core=4,walltime=1:30\ntrue\n#OAR -t besteffort\n",
         {"nodes": 2, "tasks_per_node": 8, "walltime_s": 5400, "ignored": ("-t besteffort",)}),
        ("oar", "#OAR -l core=3, walltime=2:00:00\n#OAR --array-param-file p.txt\n",
         {"tasks": 3, "walltime_s": 7200, "array": "p.txt", "ignored": ()}),
        ("pbs", "#PBS -l select=2:ncpus=4:mem=8gb,walltime=30:00:00 -V\n#PBS -N x -j oe\n",
         {"nodes": 2, "tasks_per_node": 4, "memory_bytes": 8 * GIB, "walltime_s": 108000, "name": "x",
          "ignored": ("-V",)}),
        ("pbs", "#PBS -l nodes=1:ppn=2+node07:ppn=4:big, pmem=1gb\n#PBS -V -j oe -o log\n",
         {"nodes": 2, "tasks_per_node": 4, "memory_bytes": GIB, "memory_of_slot": True,
          "output": "log", "error": "log", "ignored": ("-l nodes=...:node07", "-l nodes=...:big", "-V")}),
        ("pbs", "#PBS -l select=ncpus=8:mpiprocs=2:ompthreads=4:mem=4gb,place=excl\n#PBS -j eo\n#PBS -e e\n",
         {"nodes": 1, "tasks_per_node": 8, "memory_bytes": 4 * GIB, "memory_of_slot": False,
          "whole": True, "output": "e", "ignored": ()}),
        ("sge", "#$ -cwd -V\n#$ -pe openmpi 4-8 -l h_rt=90,gpu=1\n",
         {"cwd": ".", "tasks": 4, "walltime_s": 90, "ignored": ("-V", "-l gpu=1")}),
        ("sge", "#$ -l h_rt=:30:, h_vmem=2G,excl=TRUE\n#$ -j y -o out -pe smp 2\n",
         {"walltime_s": 1800, "memory_bytes": 2 * GIB, "memory_of_slot": True, "whole": True,
          "tasks": 2, "output": "out", "error": "out", "ignored": ()}),
        ("lsf", '#BSUB -n 8 -R "span[hosts=1]"\n', {"tasks": 8, "nodes": 1, "ignored": ()}),
        ("lsf", '#BSUB -J "a[1-9]" -n 8 -R "span[ptile=4]" -W 1:30\n',
         {"name": "a", "array": "1-9", "tasks": 8, "tasks_per_node": 4, "nodes": 2, "walltime_s": 5400}),
    ],
)  # fmt: skip
def test_a_script_s_header_lines_are_read(name, script, fields):
    read = registry.plugin(name).headers("#!/bin/sh\n" + script)
    assert {field: getattr(read, field) for field in fields} == fields


def test_a_job_of_several_parts_is_refused_whatever_its_last_part_asks_for():
    with pytest.raises(LrmsError, match="line 3: hetjob: a job of several parts is not started"):
        slurm.headers("#!/bin/sh\n#SBATCH -N 4\n#SBATCH hetjob\n#SBATCH -N 1\n")


def test_a_header_line_that_is_wrong_is_named():
    with pytest.raises(LrmsError, match="line 3: not understood: -t soon"):
        slurm.headers("#!/bin/sh\n# why\n#SBATCH -t soon\n")
