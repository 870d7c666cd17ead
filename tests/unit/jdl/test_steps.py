"""What is asked of the relay for a description."""

import pathlib
import re
import subprocess

import pytest

import gshell
from gshell.jdl.errors import JdlError
from gshell.jdl.job import read
from gshell.jdl.steps import requests

MPI_START = pathlib.Path(gshell.__file__).parent / "mpi/mpi-start"


def made(text, files=None, name=""):
    def expand(word):
        return [word] if files is None or word in files else []

    return requests(read(text, "f"), expand, 0o22, name)


def one(text, **more):
    (request,) = made(text, **more)
    return request


def test_a_simple_job():
    request = one('Executable="simple.sh"; Arguments="-v \'a b\'"; StdOutput="o"; StdError="e";'
                  'InputSandbox={"dir/simple.sh", "in"}; StdInput="in"; OutputSandbox={"o", "e"};'
                  'Environment="A=b=c"; RetryCount=2; ShallowRetryCount=3; WallTime=60;')  # fmt: skip
    message = request.message
    assert message["spec"] == {
        "argv": ["./simple.sh", "-v", "a b"], "env": {}, "extra_env": {"A": "b=c"}, "umask": 0o22,
        "name": "simple.sh", "keep": True, "tasks": 1, "size": 1,
        "job": {"workdir": True, "stdin": "in", "stdout": "o", "stderr": "e",
                "inputs": ["simple.sh", "in"], "outputs": ["o", "e"]},
    }  # fmt: skip
    del message["spec"]
    assert message == {
        "m": "submit", "n": 1, "size": 1, "name": "simple.sh", "lane": "batch", "walltime": 60,
        "retry": 2, "shallow": 3,
    }  # fmt: skip
    assert request.files.inputs == ("dir/simple.sh", "in")


@pytest.mark.parametrize(
    ("executable", "argv0"),
    [
        ("x", "./x"), ("./x", "./x"), ("/home/me/x", "./x"), ("other", "other"), ("/bin/ls", "/bin/ls"),
        ("bin/x", "bin/x"),
    ],
)  # fmt: skip
def test_an_executable_that_came_along_is_the_one_in_the_job_s_directory(executable, argv0):
    assert one(f'Executable="{executable}"; InputSandbox="x";').message["spec"]["argv"] == [argv0]


def test_a_file_that_is_not_here_is_an_error_with_its_place():
    with pytest.raises(JdlError) as caught:
        made('Executable="x";\nInputSandbox={"x", "y"};', files=["x"])
    assert caught.value.message == "f:2:14: InputSandbox: there is no file y here"


def test_requirements_go_with_what_they_refer_to():
    message = one('Executable="x"; Need=4; Requirements=other.cpus>Need; Rank=other.cpus;').message
    assert (message["req"], message["rank"]) == ("other.cpus > Need", "other.cpus")
    assert message["job_ad"] == {"Executable": "x", "Need": 4}


def test_a_job_of_several_processors_is_one_program_in_as_many_slots():
    message = one('Executable="x"; CpuNumber=4;').message
    assert (message["n"], message["size"], message["spec"]["tasks"]) == (4, 1, 1)
    message = one('Executable="x"; CpuNumber=4; WholeNodes=true;').message
    assert message["whole"] is True


def test_an_mpi_start_in_a_job_of_several_processors_is_told_its_slots():
    spec = one('Executable="x"; CpuNumber=4;').message["spec"]
    assert spec["extra_env"] == {"GSHELL_HOSTS": ".:4"}
    message = one('Executable="x"; CpuNumber=4; SMPGranularity=2;').message
    assert (message["n"], message["size"], message["spec"]["crew"]) == (2, 2, [2, 2])
    assert message["spec"]["extra_env"] == {}  # by the first of its agents, when all are there


@pytest.mark.parametrize(
    ("line", "once"),
    [
        ("$I2G_MPI_START", True),
        ('  exec "${I2G_MPI_START}" -t openmpi cpi', True),
        ("cd x && /opt/i2g/bin/mpi-start -v cpi", True),
        ("N=`mpirun -np $2 hostname`", True),
        ("A=1 time mpiexec cpi;", True),
        ("# mpirun is not for you", False),
        ("echo no mpirun", False),
        ("export I2G_MPI_START_VERBOSE=1", False),
    ],
)
@pytest.mark.parametrize("kind", ["MPICH", "Parallel"])
def test_a_script_that_starts_mpi_itself_is_run_once(line, once, kind):
    text = (
        f'JobType="{kind}"; CpuNumber=4; Executable="w.sh"; InputSandbox="w.sh"; Arguments="a b";'
    )
    (request,) = requests(
        read(text), lambda word: [word], text_of=lambda path: f"#!/bin/sh\n#\n{line}\n"
    )
    spec = request.message["spec"]
    assert (spec["argv"] == ["./w.sh", "a", "b"]) == once
    assert (spec["extra_env"].get("GSHELL_HOSTS") == ".:4") == once
    assert ("I2G_MPI_APPLICATION" in spec["extra_env"]) != once
    assert spec["extra_env"]["I2G_MPI_NP"] == "4"
    assert any("run once" in one.text for one in request.findings.found) == once


def test_a_launcher_as_a_parallel_jobs_program_is_run_once_and_a_named_starter_counts():
    text = 'JobType="Parallel"; NodeNumber=2; Arguments="cpi";'
    assert (
        one(text + 'Executable="/usr/bin/mpi-start";').message["spec"]["argv"][0]
        == "/usr/bin/mpi-start"
    )
    argv = one(text + 'Executable="mpirun"; JobStarter="mine";').message["spec"]["argv"]
    assert argv[-1] == "mine"


def run_mpi(tmp_path, text, mpirun=True, **env):
    """The words that a Parallel job would print with a stand-in for mpirun."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for tool in ("sh", "id", "hostname", "chmod", "printf"):
        (bin_ / tool).symlink_to(f"/usr/bin/{tool}")
    if mpirun:
        (bin_ / "mpirun").write_text('#!/bin/sh\nprintf "<%s>" "$@"\n')
        (bin_ / "mpirun").chmod(0o755)
    request = one(
        'JobType="Parallel"; SubJobType="openmpi"; InputSandbox="cpi"; Executable="cpi";' + text
    )
    spec = request.message["spec"]
    (tmp_path / "cpi").write_text("")
    ran = subprocess.run(
        spec["argv"], env={"PATH": str(bin_), **spec["extra_env"], **env}, cwd=tmp_path,
        capture_output=True, text=True, timeout=10,
    )  # fmt: skip
    return ran.returncode, ran.stdout or ran.stderr


def test_a_parallel_job_without_mpi_start_is_started_by_mpirun(tmp_path):
    code, said = run_mpi(tmp_path, "NodeNumber=4; Arguments=\"-x 'a b' $W\";", W="w w")
    assert (code, said) == (0, "<-np><4><./cpi><-x><a b><w w>")
    assert (tmp_path / "cpi").stat().st_mode & 0o100


def test_it_is_started_by_the_agents_mpi_start_with_its_hooks(tmp_path):
    for tool in ("mkdir", "rm"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    (tmp_path / "h.sh").write_text("pre_run_hook() { echo hook; }")
    code, said = run_mpi(
        tmp_path, "NodeNumber=4; Arguments=\"-x 'a b' $W *\"; Environment=\"I2G_MPI_PRE_RUN_HOOK=h.sh\";",
        W="w w", I2G_MPI_START=str(MPI_START), PATH=f"{tmp_path / 'bin'}:{tmp_path}",
    )  # fmt: skip
    assert code == 0
    assert re.fullmatch(
        r"hook\n<-wdir><.*><-x><OMP_NUM_THREADS><-machinefile><.*><-np><4><./cpi><-x><a b><w w><\*>",
        said,
    )


def test_what_only_mpi_start_can_do_is_not_left_out(tmp_path):
    code, said = run_mpi(tmp_path, 'Environment="I2G_MPI_PRE_RUN_HOOK=h.sh";')
    assert code == 126
    assert "hooks" in said


def test_a_node_without_mpi_is_named(tmp_path):
    code, said = run_mpi(tmp_path, "", mpirun=False)
    assert code == 127
    assert said.startswith("gshell: there is neither mpi-start nor mpirun on ")


def test_mpi_start_is_told_what_a_broker_told_it():
    env = one('JobType="Parallel"; SubJobType="pacx"; NodeNumber=3; Executable="cpi"; Arguments="a \'b c\'";'
              'InputSandbox="cpi"; Environment="I2G_MPI_START_VERBOSE=1";').message["spec"]["extra_env"]  # fmt: skip
    assert env == {
        "I2G_MPI_APPLICATION": "./cpi", "I2G_MPI_APPLICATION_ARGS": "a 'b c'", "I2G_MPI_TYPE": "pacx-mpi",
        "I2G_MPI_NP": "3", "I2G_MPI_JOB_NUMBER": "0", "I2G_MPI_FLAVOUR": "openmpi",
        "I2G_MPI_START_VERBOSE": "1",
    }  # fmt: skip


def test_an_mpi_job_over_several_agents_has_its_processes_spread_over_them():
    spec = one(
        '[JobType = "Parallel"; NodeNumber = 5; HostNumber = 2; Executable = "/bin/x"; '
        'SubJobType = "openmpi"]'
    ).message
    assert (spec["n"], spec["size"], spec["spec"]["crew"]) == (3, 2, [3, 2])
    assert spec["spec"]["extra_env"]["I2G_MPI_NP"] == "5"


INTERACTIVE = (
    'Executable="/bin/sh"; Interactive=TRUE; InteractiveAgent="i2glogin"; InputSandbox="i2glogin";'
)


def test_an_interactive_agent_stands_before_the_command():
    request = one(INTERACTIVE + 'InteractiveAgentArguments="-r -p 24599:1.2.3.4 -t -c";', files=[])
    assert request.glogin == "24599:1.2.3.4"
    assert request.message["lane"] == "interactive"
    spec = request.message["spec"]
    assert spec["argv"] == ["i2glogin", "-r", "-p", "24599:1.2.3.4", "-t", "-c", "/bin/sh"]
    assert "pty" not in spec


def test_what_the_agent_was_not_told_is_added():
    request = one(INTERACTIVE + 'InteractiveAgentArguments="-p 1:1.2.3.4";')
    assert request.message["spec"]["argv"] == ["i2glogin", "-r", "-p", "1:1.2.3.4", "-c", "/bin/sh"]
    with pytest.raises(JdlError, match="i2glogin needs the address of who waits: -p PORT:IP"):
        made(INTERACTIVE + 'InteractiveAgentArguments="-r p 1:1.2.3.4 -t -c";')


def test_where_nobody_says_where_it_calls_the_one_who_asks_does():
    asked = []

    def meet(said):
        asked.append(said)
        return "7:1.2.3.4"

    for arguments in ("-r -t -c", "-t -r -p 0 -c", "-p0:1.2.3.4 -t"):
        text = INTERACTIVE + f'InteractiveAgentArguments="{arguments}";'
        [request] = requests(read(text), lambda word: [], meet=meet)
        assert request.glogin == "7:1.2.3.4"
        assert request.message["spec"]["argv"][:5] == ["i2glogin", "-r", "-p", "7:1.2.3.4", "-t"]
    assert asked == ["", "0", "0:1.2.3.4"]


def test_an_address_that_is_none_is_an_error_with_its_place():
    def meet(said):
        raise ValueError(f"{said!r} is no address")

    text = INTERACTIVE + '\nInteractiveAgentArguments="-r -p 24599158.109.65.149 -c";'
    with pytest.raises(JdlError, match=r"job:2:1: i2glogin: '24599158.109.65.149' is no"):
        requests(read(text), lambda word: [], meet=meet)


def test_an_interactive_mpi_job_is_mpi_behind_the_agent():
    argv = one('JobType="Parallel"; SubJobType="openmpi"; Executable="x"; InteractiveAgent="glogin";'
               'InteractiveAgentArguments="-r -p 1:1.2.3.4 -c"; NodeNumber=11;').message["spec"]["argv"]  # fmt: skip
    assert argv[:7] == ["i2glogin", "-r", "-p", "1:1.2.3.4", "-c", "/bin/sh", "-c"]
    assert argv[-1] == "mpi-start"


def test_an_interactive_job_without_an_agent_has_a_terminal():
    spec = one('JobType="Interactive"; Executable="/bin/sh";').message["spec"]
    assert spec["pty"] == [24, 80]


def test_another_agent_is_a_command_as_any(tmp_path):
    argv = one('Executable="x"; InputSandbox={"x", "console"}; InteractiveAgent="console";'
               'InteractiveAgentArguments="-q"; Arguments="1";').message["spec"]["argv"]  # fmt: skip
    assert argv[:2] == ["./console", "-q"]
    assert argv[-2:] == ["./x", "1"]


def test_nodes_come_behind_those_they_wait_for():
    text = ('Type="DAG"; Nodes=[ c=[Executable="x"]; b=[Executable="x"]; a=[Executable="x"];'
            "Dependencies={{a,b},{b,c}}; ];")  # fmt: skip
    found = made(text, name="d")
    assert [(one.name, one.after) for one in found] == [("a", ()), ("b", ("a",)), ("c", ("b",))]
    assert [one.message["name"] for one in found] == ["a", "b", "c"]


def test_time_sharing_is_asked_for():
    message = one('Executable="x"; Interactive=true; PerformanceLoss=10;').message
    assert (message["lane"], message["loss"]) == ("interactive", 10)
    message = one('Executable="x"; Interactive=true; MachineAccess="exclusive";').message
    assert (message["whole"], message["loss"]) == (True, 0)


def test_variables_in_environment_are_filled_in_where_the_job_runs():
    made = one(
        r"""Executable = "/bin/sh"; Arguments = "-c 'echo \"$A|$B|$C\"'"; Prologue = "/bin/true";
        Environment = {"A=${HOME}/x:$HOME", "B=a$NOTHING`b`\"c", "C='d e'"};"""
    )
    spec = made.message["spec"]
    assert spec["extra_env"] == {"C": "d e"}
    assert spec["job"]["prologue"][-1] == "/bin/true"
    assert spec["job"]["prologue"][:4] == spec["argv"][:4]
    out = subprocess.run(
        spec["argv"], env={"HOME": "/h", **spec["extra_env"]}, stdout=subprocess.PIPE, text=True,
        timeout=10, check=True,
    ).stdout  # fmt: skip
    assert out == '/h/x:/h|a`b`"c|d e\n'
