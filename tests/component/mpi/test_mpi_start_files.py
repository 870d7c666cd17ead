"""mpi-start's distribution of files, with a stand-in for ssh whose hosts are folders."""

import pytest

from kit.mpistart import MpiStart, Ran

# Runs the command here, with the host's folder in place of the working directory.
SSH = """#!/bin/bash
while [ "$1" = -o ]; do shift 2; done
host=$1 command=$2
case " $REACHED " in *" $host "*) ;; *) exit 255 ;; esac
[ -n "$ONE_FOR_ALL" ] || command=${command//"$WORK"/"$HOSTS/$host"}
cd / && exec sh -c "$command"
"""


class Nodes(MpiStart):
    def __init__(self, folder, usual) -> None:
        super().__init__(folder, usual)
        self.hosts = folder / "hosts"
        self.hosts.mkdir()
        self.program("ssh", SSH)
        del self.env["MPI_START_SHARED_FS"]
        self.env |= {
            "WORK": str(self.work), "HOSTS": str(self.hosts), "REACHED": "n1 n10",
            "MPI_START_DUMMY_SCH_HOSTS": "localhost n1 n10",
        }  # fmt: skip
        self.file("prog", "#!/bin/sh\necho ran\n")
        self.file("sub/a b", "data")

    def at(self, host: str) -> list[str]:
        """What is there, by name."""
        return sorted(
            str(one.relative_to(self.hosts / host)) for one in (self.hosts / host).rglob("*")
        )

    def start(self, *words: str, **env: str) -> Ran:
        """The application writes on n1, and shows what is there."""
        script = f'cd "$HOSTS/n1" && find . -type f | sort && > "{self.hosts}/n1/sub/result"'
        return self.run("-t", "dummy", *words, "sh", "-c", script, **env)


@pytest.fixture
def nodes(tmp_path, usual):
    nodes = Nodes(tmp_path, usual)
    yield nodes
    assert nodes.left() == []


def test_all_hosts_but_this_get_the_files_and_lose_only_what_they_got(nodes):
    (nodes.hosts / "n1").mkdir()
    (nodes.hosts / "n1/old").write_text("theirs")
    (nodes.hosts / "n1/prog").write_text("an old one of theirs")
    ran = nodes.start()
    assert ran == (0, "./old\n./prog\n./sub/a b\n", "")
    assert nodes.at("n1") == ["old", "prog", "sub", "sub/result"]
    assert not (nodes.hosts / "n10").exists()
    assert (nodes.work / "prog").exists()


def test_cleaning_can_be_left_out(nodes):
    nodes.start(MPI_START_DISABLE_CLEANUP="yes")
    assert nodes.at("n10") == ["prog", "sub", "sub/a b"]
    for path in nodes.temporary.glob("tmp.*"):
        path.unlink()  # the list, on each host, of what came


def test_ssh_is_not_chosen_where_it_does_not_work(nodes):
    ran = nodes.start(REACHED="")
    assert (ran.code, ran.out) == (1, "")
    (line,) = ran.err.splitlines()
    assert line.startswith(f"mpi-start [ERROR  ]: no way to copy {nodes.work} to the 3 hosts")


def test_a_host_that_cannot_be_reached_is_named_and_the_others_are_cleaned(nodes):
    ran = nodes.start(REACHED="n1")
    assert (ran.code, ran.out) == (1, "")
    assert f"mpi-start [ERROR  ]: cannot copy {nodes.work} to n10" in ran.err
    assert not (nodes.hosts / "n1").exists()


def test_a_method_that_there_is_not_is_named(nodes):
    ran = nodes.start(I2G_MPI_FILE_DIST="pigeon")
    assert ran == (
        1,
        "",
        "mpi-start [ERROR  ]: there is no file distribution method 'pigeon' (I2G_MPI_FILE_DIST)\n",
    )


def test_nothing_is_copied_where_it_is_shared_by_name_by_home_or_as_the_hosts_see_it(nodes):
    for env in ({"MPI_START_SHARED_FS": "1"}, {"MPI_SHARED_HOME": "yes", "HOME": str(nodes.work)},
                {"ONE_FOR_ALL": "1"}):  # fmt: skip
        ran = nodes.run("-t", "dummy", "sh", "-c", "echo $MPI_START_SHARED_FS", **env)
        assert ran == (0, "1\n", "")
        assert not (nodes.hosts / "n1").exists()
    assert sorted(one.name for one in nodes.work.iterdir()) == ["prog", "sub"]


def test_agents_go_before_ssh(nodes):
    nodes.program(
        "peers",
        SSH.replace("exec sh", "echo $host >>peers.log; exec sh").replace("cd /", 'cd "$HOSTS"'),
    )
    ran = nodes.start(GSHELL_PEERS="peers", REACHED="n1 n10")
    assert (ran.code, ran.err) == (0, "")
    said = (nodes.hosts / "peers.log").read_text().split()
    assert said.count("n1") == 3  # does it share, take, clean


def test_a_shared_place_is_worked_in_and_results_come_back(nodes):
    shared = nodes.hosts / "shared"
    shared.mkdir()
    ran = nodes.run(
        "-t", "dummy", "sh", "-c", "pwd; cat 'sub/a b'; > result", MPI_SHARED_HOME_PATH=str(shared)
    )
    assert ran.code == 0
    assert ran.out.startswith(f"{shared}/mpi-start.")
    assert ran.out.endswith("data")
    assert (nodes.work / "result").exists()
    assert nodes.at("shared") == []


def test_a_hook_fetches_a_hosts_files_and_may_have_a_function_called_clean(nodes):
    nodes.file("h", """
        clean() { echo "the hook's"; }
        post_run_hook() { mpi_start_foreach_host get; }
        get() { mpi_start_is_local "$1" || copy_from_node "$1" "$PWD/sub/res*" "$PWD"; }""")  # fmt: skip
    ran = nodes.start("-post", "h")
    assert ran.code == 0
    assert "the hook's" not in ran.out
    assert (nodes.work / "result").exists()
    assert nodes.at("n1") == ["sub", "sub/result"]


def test_a_method_of_somebody_else_is_used_by_its_priority(nodes):
    nodes.file("etc/own.filedist", """
check_distribution_method () { return 3; }
copy () { tar tzf $TARBALL >/dev/null && echo copied; }
clean () { echo cleaned; }""")  # fmt: skip
    ran = nodes.run("-t", "dummy", "prog", MPI_START_ETC=f"{nodes.work}/etc")
    assert ran == (0, "copied\nran\ncleaned\n", "")


def test_modules_are_loaded_in_both_spellings(nodes):
    nodes.file("conf", 'module() { echo "module $*"; }')
    for name in ("MPI_DUMMY_MODULE", "MPI_DUMMY_MODULES", "MPI_DUMMY_1__2_MODULES"):
        env = {name: "a b", "MPI_DUMMY_VERSION": "1.2", "MPI_START_SHARED_FS": "1"}
        assert nodes.run("-c", "conf", "-t", "dummy", "prog", **env).out == "module load a b\nran\n"
