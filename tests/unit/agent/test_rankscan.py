"""Ranks among processes that we did not start, in a /proc of a test's."""

import os

import pytest

from gshell.agent import rankscan


@pytest.fixture
def proc(tmp_path):
    def process(pid, parent, name="lu", cgroup="", started=0, **env):
        base = tmp_path / str(pid)
        base.mkdir()
        text = "".join(f"{key}={value}\0" for key, value in env.items())
        (base / "environ").write_text(f"HOME=/\0{text}")
        (base / "cgroup").write_text(f"6:freezer:{cgroup}\n")
        numbers = " ".join(
            str({1: parent, 11: 150, 12: 50, 19: started or pid, 21: 10}.get(i, 0)) for i in range(1, 40)
        )  # fmt: skip
        (base / "stat").write_text(f"{pid} ({name}) R {numbers}\n")

    process.path = str(tmp_path)
    return process


def ranks(proc, lrms="slurm", one="42", spared=0):
    return [(row["rank"], row["pid"]) for row in rankscan.scan(lrms, one, spared, proc.path)]


def test_the_ranks_of_mpirun_are_found_with_their_figures(proc):
    proc(10, 1, "orted", SLURM_JOB_ID=42, SLURM_PROCID=0, SLURM_STEP_ID=0)
    proc(
        12,
        10,
        SLURM_JOB_ID=42,
        OMPI_COMM_WORLD_RANK=1,
        PMIX_RANK=1,
        SLURM_PROCID=0,
        SLURM_STEP_ID=0,
    )
    proc(
        11,
        10,
        SLURM_JOB_ID=42,
        OMPI_COMM_WORLD_RANK=0,
        PMIX_RANK=0,
        SLURM_PROCID=0,
        SLURM_STEP_ID=0,
    )
    rows = rankscan.scan("slurm", "42", 0, proc.path)
    assert [(row["rank"], row["pid"], row["state"], row["argv0"]) for row in rows] == [
        (0, 11, "R", "lu"), (1, 12, "R", "lu"),
    ]  # fmt: skip
    assert rows[0]["cpu_s"] == 200 / os.sysconf("SC_CLK_TCK")
    assert rows[0]["rss_bytes"] == 10 * os.sysconf("SC_PAGE_SIZE")


def test_sruns_tasks_are_ranks_and_its_batch_script_is_none(proc):
    proc(9, 1, "slurm_script", SLURM_JOB_ID=42, SLURM_PROCID=0)
    proc(10, 1, "slurmstepd", SLURM_JOB_ID=42)
    proc(11, 10, SLURM_JOB_ID=42, SLURM_PROCID=3, SLURM_STEP_ID=0)
    assert ranks(proc) == [(3, 11)]


def test_a_ranks_children_are_not_ranks(proc):
    proc(11, 1, SLURM_JOB_ID=42, PMI_RANK=2)
    proc(12, 11, "sh", SLURM_JOB_ID=42, PMI_RANK=2)
    proc(13, 12, "sleep", SLURM_JOB_ID=42, PMI_RANK=2)
    assert ranks(proc) == [(2, 11)]


def test_other_jobs_and_what_is_ours_are_left_out(proc):
    proc(11, 1, SLURM_JOB_ID=41, PMI_RANK=0)
    proc(20, 1, "python3", SLURM_JOB_ID=42, SLURM_PROCID=0, SLURM_STEP_ID=1)
    proc(21, 20, "bash", SLURM_JOB_ID=42, PMI_RANK=0)
    assert ranks(proc, spared=20) == []


def test_of_two_programs_the_younger_ones_rank_is_named_first(proc):
    proc(11, 1, SLURM_JOB_ID=42, PMI_RANK=0, started=100)
    proc(12, 1, SLURM_JOB_ID=42, PMI_RANK=0, started=200)
    assert ranks(proc) == [(0, 12), (0, 11)]


@pytest.mark.parametrize(
    ("lrms", "cgroup", "there"),
    [("slurm", "/slurm_n1/uid_2001/job_42/step_0", True), ("slurm", "/slurm/uid_1/job_421/step_0", False),
     ("oar", "/lab-n1/oar/alice_42", True), ("oar", "/oar/alice_142", False),
     ("oar", "/oar.slice/oar-u2001.slice/alice_42", True), ("sge", "/", False)],
)  # fmt: skip
def test_without_its_number_in_the_environment_the_cgroup_tells(proc, lrms, cgroup, there):
    proc(11, 1, PMIX_RANK=0, cgroup=cgroup)
    assert bool(ranks(proc, lrms)) is there


def test_the_batch_systems_own_variable_counts(proc):
    proc(11, 1, JOB_ID=42, OMPI_COMM_WORLD_RANK=0)
    proc(12, 1, OAR_JOB_ID=42, OMPI_COMM_WORLD_RANK=1)
    assert ranks(proc, "sge") == [(0, 11)]
    assert ranks(proc, "oar") == [(1, 12)]


def test_processes_that_are_gone_or_say_nonsense_do_no_harm(proc, tmp_path):
    proc(11, 1, SLURM_JOB_ID=42, PMI_RANK="zero")
    proc(12, 1, SLURM_JOB_ID=42, PMI_RANK=0)
    (tmp_path / "12" / "stat").write_text("12 (lu")
    (tmp_path / "13").mkdir()
    assert ranks(proc) == []
    assert rankscan.scan("slurm", "42", 0, str(tmp_path / "nowhere")) == []


def test_of_an_array_only_the_tasks_own_processes_are_its_ranks(proc):
    for pid, task in ((11, 3), (12, 4)):
        proc(pid, 1, JOB_ID=42, SGE_TASK_ID=task, OMPI_COMM_WORLD_RANK=0)
    assert ranks(proc, "sge", "42.3") == [(0, 11)]
    assert ranks(proc, "sge", "42") == [(0, 12), (0, 11)]


def test_a_component_has_its_leaders_number(proc):
    proc(11, 1, SLURM_JOB_ID=42, PMIX_RANK=1)
    assert ranks(proc, "slurm", "42+1") == [(1, 11)]


def test_below_a_program_of_ours_are_its_ranks_and_no_others(proc, monkeypatch):
    proc(10, 1, "mpirun")
    proc(11, 10, OMPI_COMM_WORLD_RANK=0)
    proc(12, 10, OMPI_COMM_WORLD_RANK=1)
    proc(13, 12, OMPI_COMM_WORLD_RANK=1)  # a child of a rank
    proc(20, 1, OMPI_COMM_WORLD_RANK=2)

    def found():
        return [(row["rank"], row["pid"]) for row in rankscan.below([10], proc.path)]

    assert found() == [(0, 11), (1, 12)]
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")  # we are ranks of something ourselves
    assert found() == []
