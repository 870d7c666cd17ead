"""The two fronts, and who is handed over to."""

import shutil
import subprocess

import pytest

from kit.backgroundplay import FRONT, SOURCE, Fake, python_of

WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
REPORT = """
import json, os, sys
fds = []
for fd in os.listdir("/proc/self/fd"):
    try:
        fds.append(os.readlink(f"/proc/self/fd/{fd}"))
    except OSError:
        pass  # of listdir itself
with open("/proc/self/status") as file:
    status = dict(line.split(":", 1) for line in file)
with open(os.environ["REPORT"], "w") as file:
    json.dump(dict(argv=sys.argv, fds=fds, cwd=os.getcwd(), blocked=status["SigBlk"].strip()), file)
sys.exit(9)
"""


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """The C front, without a warning."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: cc")
    program = tmp_path_factory.mktemp("stub") / "front-1"
    argv = [
        "cc",
        "-std=c99",
        "-O2",
        *WARNINGS,
        '-DGSHELL_FRONT_SOURCE="ours"',
        "-o",
        program,
        SOURCE,
    ]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return str(program)


@pytest.fixture
def stub_front(compiled, tmp_path):
    """The C front's argv; instead of gshell's Python, a program that reports."""
    script = tmp_path / "report.py"
    script.write_text(REPORT)
    return [compiled, "6", *python_of(script)]


@pytest.fixture(params=["c", "python"])
def front(request):
    """The beginning of a front's argv."""
    if request.param == "python":
        return python_of(FRONT)
    return request.getfixturevalue("stub_front")


@pytest.fixture
def fake(tmp_path):
    fake = Fake(tmp_path)
    with fake.stack:
        yield fake
