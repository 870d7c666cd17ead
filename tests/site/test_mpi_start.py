"""mpi-start with real MPIs, and the tutorial's script in jobs of real batch systems."""

import pathlib
import re
import shutil
import subprocess

import pytest

import gshell
from kit.stories import Stories

pytestmark = [pytest.mark.site, pytest.mark.timeout(150)]

ROOT = pathlib.Path(gshell.__file__).parents[1]
EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
SCRIPT = ROOT / "gshell/mpi/mpi-start"
FLOW = [  # as the tutorial prints it
    "[DEBUG  ]: Configuration",
    "[DEBUG  ]:  => I2G_MPI_PRECOMMAND=time",
    "[INFO   ]: search for scheduler",
    "[INFO   ]: activate support for {name}",
    "[DEBUG  ]: Dump machinefile:",
    "[DEBUG  ]: starting with 2 processes.",
    "[INFO   ]: activate support for openmpi",
    "[INFO   ]: call backend MPI implementation",
    "[DEBUG  ]: mpi_start_pre_run_hook",
    "[DEBUG  ]: detect shared filesystem",
    "[DEBUG  ]: the other hosts see /home/alice too",
    "[INFO   ]: start program with mpirun",
    "[DEBUG  ]: mpi_start_post_run_hook",
]

# Each host has a /tmp of its own: the files have to get there, and to go.
APART = """#!/bin/bash
mkdir /tmp/apart && cd /tmp/apart && printf '#!/bin/sh\\nhostname\\n' >prog || exit 1
cat >h <<'END'
post_run_hook() { mpi_start_foreach_host look; }
look() { mpi_start_is_local $1 || { copy_from_node $1 "$PWD/prog" back; cat back; }; }
END
$I2G_MPI_START -t openmpi -npnode 1 -post h prog; echo status $?
"""


def mpis() -> dict[str, str]:
    """Launchers on PATH, all of them, by what they are."""
    found: dict[str, str] = {}
    for name in ("mpiexec", "mpiexec.openmpi", "mpiexec.hydra", "mpirun"):
        if path := shutil.which(name):
            said = subprocess.run(
                [path, "--version"], capture_output=True, text=True, timeout=20
            ).stdout
            found.setdefault("mpich2" if "HYDRA" in said else "openmpi", path)
    return found


@pytest.mark.parametrize("kind", ["openmpi", "mpich2"])
def test_a_real_mpi_takes_our_words(kind, tmp_path):
    path = mpis().get(kind)
    if path is None:
        pytest.skip(f"no {kind} on PATH")
    words = ["-x", "V=a  b", "-npnode", "2", "sh", "-c", 'echo "[$V] [$0] $#"', "$x; *", "", "c"]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), f"MPI_{kind.upper()}_MPIEXEC": path}
    ran = subprocess.run(
        ["bash", SCRIPT, "-t", kind, *words],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env=env,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "[a  b] [$x; *] 2\n" * 2


SUBMIT = {
    "sge": [
        "qsub",
        "-S",
        "/bin/bash",
        "-V",
        "-cwd",
        "-pe",
        "openmpi",
        "2",
        "-o",
        "{o}",
        "-e",
        "{e}",
    ],
    "slurm": ["sbatch", "-N", "2", "-n", "2", "-o", "{o}", "-e", "{e}"],
    "oar": ["oarsub", "-l", "nodes=2,walltime=0:5", "-O", "{o}", "-E", "{e}"],
}


@pytest.fixture(scope="module")
def stories(request):
    told = Stories(request, sorted(SUBMIT), lambda cluster: cluster)
    yield told
    told.close(lambda cluster: None)


@pytest.mark.parametrize("kind", sorted(SUBMIT))
def test_the_tutorials_script_runs_unchanged_on_two_nodes(stories, kind):
    stories.tell(tutorial, kind)


def tutorial(cluster):
    kind = cluster.kind
    if not shutil.which("mpiexec", path="/usr/bin"):
        pytest.skip("no MPI that all users can run")
    home = cluster.home / "mpi"
    shutil.copytree(ROOT / "gshell/mpi", home)
    subprocess.run(["chmod", "-R", "a+rX", home], check=True, timeout=10)
    example = (EXAMPLES / "mpi/test2mpistart.sh").read_text()
    for name, text in (("test2mpistart.sh", example), ("apart.sh", APART)):
        (cluster.home / name).write_text(text)
        (cluster.home / name).chmod(0o755)
    started = "cd; I2G_MPI_START=$HOME/mpi/mpi-start {} ./{}; echo status $? >{}.done\n"
    (cluster.home / "both.sh").write_text(
        "#!/bin/bash\nexport I2G_MPI_START_VERBOSE=1 I2G_MPI_START_DEBUG=1\n"
        + started.format("", "test2mpistart.sh >t.out 2>t.err", "t")
        + "unset I2G_MPI_START_VERBOSE\n"
        + started.format("", "apart.sh >a.out 2>a.err", "a")
    )
    (cluster.home / "both.sh").chmod(0o755)
    submit = [word.format(o="all.out", e="all.err") for word in SUBMIT[kind]]
    done = cluster.run("fe", "bash", "-c", 'cd; "$@"', "bash", *submit, "./both.sh")
    assert done.returncode == 0, done.stdout + done.stderr
    wait = "for i in $(seq 600); do [ -e a.done ] && exit 0; sleep .1; done; exit 1"
    cluster.run("fe", "bash", "-c", f"cd; {wait}", timeout=65)
    out, err = ((cluster.home / name).read_text(errors="replace") for name in ("t.out", "t.err"))
    shown = out + err
    lines = err.splitlines()
    at = [lines.index("mpi-start " + line.format(name=kind)) for line in FLOW]
    assert at == sorted(at), shown
    started_at = out.index("=[START]===")
    given = {line.rpartition(" ")[2] for line in lines if re.search(r"\]:  => n\d$", line)}
    assert len(given) == 2, shown
    assert given >= set(out[started_at:].splitlines()[1:3]), shown
    assert "\nreal\t0m" in err
    ran = (cluster.home / "a.out").read_text() + (cluster.home / "a.err").read_text()
    lines = ran.splitlines()
    assert set(lines[:2]) == given, ran
    assert "status 0" in lines, ran
    left = ["apart" in cluster.run(host, "ls", "/tmp").stdout for host in sorted(given)]
    assert left.count(True) == 1, (
        "the job made it on its own host, and the other got it for the run"
    )
