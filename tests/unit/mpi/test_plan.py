"""Launchers' words, golden: flavour by shape."""

import pytest

from gshell.mpi.flavour import Launcher
from gshell.mpi.plan import RANK, Member, Plan, Settings, plan

SHELL = ("/usr/bin/python3", "-I", "-S", "/tmp/r/rankexec.pyc", "rsh")
OMPI4, OMPI5 = Launcher("openmpi", (4, 1, 4)), Launcher("openmpi", (5, 0, 11))
OMPI1, HYDRA = Launcher("openmpi", (1, 6, 5)), Launcher("mpich", (4, 2, 0))


def members(
    *tasks: int, cpus: int = 8, machines: str = "abcdefgh", hosts: str = ""
) -> list[Member]:
    names = hosts.split() or [f"n{i}" for i in range(len(tasks))]
    return [Member(names[i], n, machines[i], cpus) for i, n in enumerate(tasks)]


def settings(
    launcher: "Launcher | None", *options: str, path: str = "mpirun", root: bool = False
) -> Settings:
    flavour = launcher.flavour if launcher else "openmpi"
    return Settings(flavour, launcher, path, SHELL, root, options)


def words(made: Plan) -> str:
    """Up to the program."""
    assert made.way == "launch"
    assert made.argv[-len(RANK) - 2 :] == (*RANK, "./p", "1")
    return " ".join(made.argv[: -len(RANK) - 2])


def made(some: list[Member], how: Settings) -> Plan:
    return plan(some, ["./p", "1"], how)


@pytest.mark.parametrize("flavour", ["mpich", "intel", "mvapich2"])
def test_mpichs_family_needs_no_launcher(flavour: str) -> None:
    how = settings(None)._replace(flavour=flavour)
    assert made(members(2, 2), how).way == "pmi"


@pytest.mark.parametrize(
    ("launcher", "tasks", "expected"),
    [
        (OMPI4, (4,), "mpirun --host n0:4 -n 4 --wdir /"),
        (OMPI4, (3, 2), "mpirun --host n0:3,n1:2 -n 5 --wdir /"),
        (OMPI5, (1, 4, 1), "mpirun --host n0:1,n1:4,n2:1 -n 6 --wdir /"),
        (OMPI1, (2, 1), "mpirun --host n0,n0,n1 -n 3 --wdir /"),
    ],
)
def test_open_mpi_is_told_hosts_and_slots_in_the_order_of_ranks(
    launcher: Launcher, tasks: "tuple[int, ...]", expected: str
) -> None:
    assert words(made(members(*tasks), settings(launcher))) == expected


def test_each_open_mpi_is_told_of_our_remote_shell_in_its_words() -> None:
    old = dict(made(members(2, 2), settings(OMPI4)).env)
    new = dict(made(members(2, 2), settings(OMPI5)).env)
    assert old["OMPI_MCA_plm_rsh_agent"] == new["PRTE_MCA_plm_ssh_agent"] == " ".join(SHELL)
    assert old["OMPI_MCA_plm"] == "rsh"
    assert new["PRTE_MCA_plm"] == "ssh"
    assert old["OMPI_MCA_orte_leave_session_attached"] == "1"
    assert old["OMPI_MCA_ras"] == new["PRTE_MCA_ras"]  # whatever allocation is around it
    assert old["OMPI_MCA_ras"].startswith("^slurm,")


def test_nothing_is_bound_as_a_node_may_have_others() -> None:
    assert (
        dict(made(members(2), settings(OMPI4)).env)["OMPI_MCA_hwloc_base_binding_policy"] == "none"
    )
    assert (
        dict(made(members(2), settings(OMPI5)).env)["PRTE_MCA_hwloc_default_binding_policy"]
        == "none"
    )


@pytest.mark.parametrize("launcher", [OMPI4, OMPI5])
def test_more_ranks_than_cores_on_a_node_yield(launcher: Launcher) -> None:
    assert "OMPI_MCA_mpi_yield_when_idle" not in dict(made(members(8, 8), settings(launcher)).env)
    env = dict(made(members(8, 9), settings(launcher)).env)
    assert env["OMPI_MCA_mpi_yield_when_idle"] == "1"


def test_root_may_where_it_is_root_that_runs() -> None:
    assert "--allow-run-as-root" in made(members(1), settings(OMPI5, root=True)).argv
    assert dict(made(members(1), settings(OMPI4, root=True)).env)["OMPI_ALLOW_RUN_AS_ROOT"] == "1"
    assert "OMPI_ALLOW_RUN_AS_ROOT" not in dict(made(members(1), settings(OMPI4)).env)


def test_members_of_one_machine_share_the_first_ones_daemon() -> None:
    one = made(members(2, 3, 1, machines="aab", hosts="n0 n0 n1"), settings(OMPI4))
    assert words(one) == "mpirun --host n0:5,n1:1 -n 6 --wdir /"
    assert one.daemons == (0, 0, 2)


def test_machines_of_one_name_get_names_of_ours() -> None:
    two = made(members(2, 2, 2, hosts="vm vm n2"), settings(OMPI4))
    assert two.names == ("vm", "gshell-1", "n2")
    assert words(two).startswith("mpirun --host vm:2,gshell-1:2,n2:2 ")


def test_members_of_one_machine_that_do_not_follow_each_other_are_refused() -> None:
    assert "follow each other" in made(members(1, 1, 1, machines="aba"), settings(OMPI4)).error


def test_what_the_user_adds_comes_before_the_program_and_after_what_we_say() -> None:
    one = made(members(2), settings(OMPI4, "--bind-to", "core"))
    assert words(one) == "mpirun --host n0:2 -n 2 --wdir / --bind-to core"


def test_words_for_a_launcher_want_one_of_mpichs_too() -> None:
    one = made(members(2, 1), settings(HYDRA, "-print-all-exitcodes", path="mpiexec.hydra"))
    assert words(one) == "mpiexec.hydra -hosts n0:2,n1:1 -n 3 -wdir / -print-all-exitcodes"
    env = dict(one.env)
    assert env["HYDRA_LAUNCHER_EXEC"] == SHELL[0]
    assert env["HYDRA_LAUNCHER_EXTRA_ARGS"] == " ".join(SHELL[1:])


def test_a_launcher_that_is_not_known_is_used_on_one_node_only() -> None:
    unknown = settings(Launcher("generic", ()), path="mpiexec")
    assert words(made(members(4), unknown)) == "mpiexec -n 4"
    assert "one node" in made(members(2, 2), unknown).error


def test_a_launcher_that_is_missing_is_named_with_what_wants_it() -> None:
    error = made(members(2), settings(None)).error
    assert error.startswith("no mpirun of openmpi on PATH at n0 ")
    assert "--env PATH=" in error
    assert "mpirun" in error
