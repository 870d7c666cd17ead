"""The commands around job descriptions: what they read, and how they tell."""

import pytest

from gshell.cli import grid, scripts, submit
from gshell.cli.commands import read
from gshell.cli.match import Offer, explained
from gshell.errors import UsageError
from gshell.jdl import job
from gshell.jdl.errors import JdlError
from gshell.jdl.steps import requests
from gshell.lrms.base import Headers


def one(text):
    return requests(job.read(text, "f"), lambda word: [word])[0]


def test_the_command_lines():
    parsed = read(
        [
            "submit",
            "--set",
            "NodeNumber=8",
            "--set",
            'A="b"',
            "-r",
            "finis",
            "-o",
            "ids",
            "--wait",
            "x.jdl",
        ]
    )
    assert parsed["set"] == [("NodeNumber", "8"), ("A", '"b"')]
    assert (parsed["resource"], parsed["output"], parsed["wait"]) == ("finis", "ids", True)
    assert read(["match", "--dirac", "x.jdl"])["dirac"]
    with pytest.raises(UsageError, match="is not ATTRIBUTE=EXPRESSION"):
        read(["submit", "--set", "NodeNumber", "x.jdl"])


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read /no/x.jdl: No such file"):
        submit.describe("/no/x.jdl", [], False)
    (tmp_path / "x.jdl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is no text"):
        submit.describe(str(tmp_path / "x.jdl"), [], False)


def test_files_are_found_from_here_and_beside_the_description(tmp_path, monkeypatch):
    (tmp_path / "d").mkdir()
    for name in ("d/a.txt", "d/b.txt", "c.txt"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    expand = submit.expander("d")
    assert expand("c.txt") == ["c.txt"]
    assert expand("*.txt") == ["c.txt"]
    assert expand("a.txt") == ["d/a.txt"]
    assert expand("d/*.txt") == ["d/a.txt", "d/b.txt"]
    assert expand("nothing") == []
    with pytest.raises(ValueError, match=r"d is a directory: its files are d/\*"):
        expand("d")


PLACES = {"n1": {"agent": "n1"}, "finis": {"site": ["finis"]}}


def test_a_place_is_an_agent_a_site_or_a_grid_s_own_name():
    request = one('Executable = "x"; Requirements = other.a || other.b;')
    assert submit._pinned(request, "n1", PLACES).message["agent"] == "n1"
    assert submit._pinned(request, "finis", PLACES).message["site"] == ["finis"]
    pinned = submit._pinned(request, "h:2119/jobmanager-pbs-q", PLACES)
    assert pinned.message["req"] == (
        '(other.a || other.b) && other.GlueCEUniqueID == "h:2119/jobmanager-pbs-q"'
    )
    with pytest.raises(
        UsageError, match="there is no site and no agent 'nowhere'; there are: finis, n1"
    ):
        submit._pinned(request, "nowhere", PLACES)


def test_ids_are_appended_under_a_heading(tmp_path):
    path = str(tmp_path / "ids")
    submit.write_ids(path, ["1", "2"])
    submit.write_ids(path, ["3"])
    assert (tmp_path / "ids").read_text() == "###Submitted Job Ids###\n1\n2\n3\n"
    said = grid.Said("i2g-job-status", {"-i": path}, ["https://lb:9000/4", "2"])
    assert grid._ids(said) == ["4", "2", "1", "3"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ('OutputSandbox = "o";', "gshell jobs 7    or    gshell logs -f 7    or    gshell fetch 7"),
        ("", "gshell jobs 7    or    gshell logs -f 7"),
        ('JobType = "Interactive";', "gshell attach 7"),
        ('InteractiveAgent = "i2glogin"; InteractiveAgentArguments = "-p 1:1.2.3.4";', "i2glogin -p 1:1.2.3.4"),
    ],
)  # fmt: skip
def test_what_to_type_next(files, said):
    assert submit.next_steps([one('Executable = "x";' + files)], {"": "7"}) == f"  try:  {said}\n"


def test_no_match_names_the_requirement_and_the_nearest_place():
    found = [
        Offer("agent", "n1", "h", 0.0, 4, (("other.cpus > 64", "cpus is 8"),)),
        Offer(
            "site",
            "s",
            "h",
            0.0,
            4,
            (("other.cpus > 64", "cpus is 2"), ("other.x", "x is undefined")),
        ),
    ]
    assert explained(one('Executable = "x";'), found) == (
        "gshell: no match among 2 places\n"
        "  other.cpus > 64    fails at 2 of 2\n"
        "  other.x    fails at 1 of 2\n"
        "nearest: agent n1\n"
        "  other.cpus > 64    there: cpus is 8\n"
    )
    assert "there is no agent and no site" in explained(one('Executable = "x";'), [])


@pytest.mark.parametrize(
    ("job", "state"),
    [
        ({"state": "QUEUED"}, "Waiting"), ({"state": "ACTIVE"}, "Running"),
        ({"state": "COMPLETED", "code": 0}, "Done (Success)"),
        ({"state": "FAILED", "code": 3, "started_at": 1.0}, "Done (Exit Code !=0)"),
        ({"state": "FAILED", "code": 3, "started_at": 1.0, "error": "agent lost"}, "Aborted"),
        ({"state": "FAILED"}, "Aborted"), ({"state": "CANCELED"}, "Cancelled"),
    ],
)  # fmt: skip
def test_states_in_the_grid_s_words(job, state):
    assert grid.state(job) == state


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["i2g-job-fly"], "i2g-job-fly is no command of the grid"),
        (["i2g-job-submit"], "i2g-job-submit: one description, please"),
        (["glite-wms-job-submit", "--odd"], "glite-wms-job-submit: option --odd not recognized"),
        (["i2g-job-status"], "i2g-job-status: which job?"),
        (["i2g-job-cancel", "x"], "'x' is no job's identifier"),
        (["glite-wms-job-output", "-i", "/no/file", "--noint"], "cannot read /no/file"),
    ],
)
def test_a_grid_command_that_makes_no_sense_is_told_so(words, error, capsys):
    with pytest.raises(UsageError, match=error.replace("?", r"\?")):
        grid.run(words)


def test_a_script_s_headers_become_a_description(monkeypatch):
    headers = Headers(
        name="lu", tasks=4, walltime_s=90, memory_bytes=1 << 30, output="logs/out-%j.txt", queue="q",
        ignored=("--mail-type=END",),
    )  # fmt: skip
    monkeypatch.setattr(scripts, "read_headers", lambda text: headers)
    found = scripts.describe("dir/job.sh", "#!/bin/sh\n", [("RetryCount", "1")])
    assert found.executable.text == "job.sh"
    assert (found.inputs, found.outputs, found.stdout) == (("dir/job.sh",), ("out.txt",), "out.txt")
    assert (found.geometry.cpus, found.walltime_s, found.memory_bytes) == (4, 90, 1 << 30)
    assert (found.job_name, found.retry) == ("lu", 1)
    assert [one.text for one in found.findings if "not known" not in one.text] == [
        "StdOutput is the file out.txt of the job (logs/out-%j.txt was written)",
        "the queue q is the site's: see gshell site add",
        "changes nothing: --mail-type=END",
    ]


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        (Headers(nodes=2), "job.sh asks for 2 nodes"),
        (Headers(array="1-10"), "an array of jobs"),
    ],
)
def test_a_script_that_cannot_be_run_as_it_asks_is_refused(headers, error, monkeypatch):
    monkeypatch.setattr(scripts, "read_headers", lambda text: headers)
    with pytest.raises(JdlError, match=error):
        scripts.describe("job.sh", "#!/bin/sh\n")


GOOD = 'Executable = "/bin/echo"; # gr\u00fcn\nArguments = "\u00fc";\n'


@pytest.mark.parametrize(
    "data",
    [
        GOOD.encode(),
        GOOD.encode("utf-8-sig"),
        GOOD.encode("utf-16"),
        GOOD.encode("latin-1"),
        GOOD.replace("\n", "\r\n").encode(),
    ],
)
def test_a_description_is_read_whatever_editor_wrote_it(data, tmp_path):
    (tmp_path / "x.jdl").write_bytes(data)
    found = submit.describe(str(tmp_path / "x.jdl"), [], False)
    assert [word.text for word in found.arguments] == ["\u00fc"]


def test_a_submit_file_of_htcondor_is_told_from_a_description(tmp_path):
    (tmp_path / "x.jdl").write_text("universe = vanilla\nexecutable = x\nqueue 4\n")
    with pytest.raises(JdlError) as caught:
        submit.describe(str(tmp_path / "x.jdl"), [], False)
    assert caught.value.message == "x.jdl:1:19: expected ; before executable"
    assert caught.value.hint == f"condor_submit {tmp_path}/x.jdl    (if it is HTCondor's)"


def test_a_file_that_is_elsewhere_is_matched_and_not_sent():
    expand = submit.expander("")
    with pytest.raises(ValueError, match="only files from here are sent"):
        expand("gsiftp://h/a")
    found = job.read('Executable = "x"; InputSandbox = "gsiftp://h/a";', "f")
    assert submit.plan_anywhere(found, "f")[0].files.inputs == ("gsiftp://h/a",)
    with pytest.raises(JdlError, match=r"f:1:34: InputSandbox: gsiftp://h/a: only files"):
        submit.plan(found, "f")


def script(tmp_path, text, name="job.sh"):
    (tmp_path / name).write_text(text)
    return submit.describe(str(tmp_path / name), [], False)


def test_a_script_gets_every_slot_and_all_the_memory_that_it_asks_for(tmp_path):
    found = script(tmp_path, "#!/bin/sh\n#SBATCH -n 4 -c 2 --mem-per-cpu=1G --exclusive\n")
    assert (found.geometry.cpus, found.geometry.whole) == (8, True)
    assert found.memory_bytes == 8 << 30
    found = script(tmp_path, "#!/bin/sh\n#$ -pe smp 3\n#$ -l mem_free=2G\n")
    assert (found.geometry.cpus, found.memory_bytes) == (3, 2 << 30)


def test_one_file_for_both_streams_comes_back_once(tmp_path):
    found = script(tmp_path, "#!/bin/sh\n#PBS -j oe -o logs/x.log\n")
    assert (found.stdout, found.stderr, found.outputs) == ("x.log", "x.log", ("x.log",))
    for lines in ("#SBATCH -o %j.out", "#$ -o logs/ -j y", "#PBS -o host:$PBS_JOBID.log -joe"):
        found = script(tmp_path, f"#!/bin/sh\n{lines}\n")
        assert (found.stderr, found.outputs) == (found.stdout, (found.stdout,))


def test_header_lines_are_read_as_each_batch_system_reads_them(tmp_path):
    found = script(tmp_path, "#!/bin/sh\n#$-cwd\n#$-pe smp 4\n#$ -o :/home/me/a.log\n")
    assert (found.geometry.cpus, found.stdout) == (4, "a.log")
    found = script(tmp_path, "#!/bin/sh\n#PBS -l procs=4,walltime=1:02:00:03\n#PBS -e node:b.err\n")
    assert (found.geometry.cpus, found.walltime_s, found.stderr) == (4, 93603, "b.err")
    found = script(tmp_path, "#!/bin/sh\n#OAR -l nodes=1,walltime=1\n")
    assert (found.geometry.whole, found.walltime_s) == (True, 3600)
    assert not script(tmp_path, "#!/bin/sh\n#OAR -l nodes=1/core=2\n").geometry.whole


@pytest.mark.parametrize(
    ("path", "base"),
    [
        ("OAR.%jobid%.out", "OAR.out"),
        ("logs/%jobname%.%jobid%.out", "stdoutput.out"),
        ("host:/home/me/logs/", "stdoutput"),
        ("a.%A_%a.txt", "a.txt"),
        (".hidden", ".hidden"),
    ],
)
def test_a_stream_s_name_without_what_the_batch_system_fills_in(path, base, tmp_path):
    assert script(tmp_path, f"#!/bin/sh\n#OAR -O {path}\n").stdout == base


def test_header_lines_behind_the_first_command_are_told(tmp_path):
    found = script(tmp_path, "#!/bin/sh\n#SBATCH -n 2\necho a\n#SBATCH -n 8\n##SBATCH -n 9\n")
    assert found.geometry.cpus == 2
    shown = [one.shown(found.name) for one in found.findings]
    assert "job.sh:4:1: warning: behind the first command, it does not count: #SBATCH -n 8" in shown
    assert not any("-n 9" in one for one in shown)


def test_what_a_script_asks_for_in_vain_is_a_warning(tmp_path):
    found = script(tmp_path, "#!/bin/sh\n#SBATCH --gres=gpu:1 --requeue -d afterok:3\n")
    levels = {one.text: one.level for one in found.findings}
    assert levels["changes nothing: --gres=gpu:1"] == "warning"
    assert levels["changes nothing: --requeue"] == "note"
    assert levels["changes nothing: -d afterok:3"] == "warning"


def test_a_script_without_its_first_line_is_a_script_of_sh(tmp_path):
    found = script(tmp_path, "# mine\n#PBS -l nodes=1:ppn=4\nmodule load x\n", "a job.pbs")
    assert found.executable.text == "/bin/sh"
    assert [word.text for word in found.arguments] == ["a job.pbs"]
    assert found.geometry.cpus == 4


def test_a_script_with_windows_line_ends_is_refused_with_what_mends_it(tmp_path):
    (tmp_path / "job.sh").write_bytes(b"#!/bin/sh\r\n#SBATCH -n 2\r\n")
    with pytest.raises(UsageError, match=r"job\.sh has the line ends of Windows") as caught:
        submit.describe(str(tmp_path / "job.sh"), [], False)
    assert caught.value.hint.startswith("sed -i 's/\\r$//' /")


def test_a_script_in_an_old_encoding_is_read(tmp_path):
    (tmp_path / "job.sh").write_bytes(b"#!/bin/sh\n# gr\xfcn\n#SBATCH -n 2\n")
    assert submit.describe(str(tmp_path / "job.sh"), [], False).geometry.cpus == 2


def test_a_dry_run_says_what_would_be_asked_and_what_is_not_here(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(submit.launch, "ticket_for", lambda parsed: pytest.fail("a relay is asked"))
    path = tmp_path / "x.jdl"
    path.write_text('Executable = "x.sh"; Arguments = "a b"; CpuNumber = 4; WallTime = 60;'
                    'InputSandbox = {"x.sh", "gsiftp://h/y"}; Site = "s"; Memory = 1G;')  # fmt: skip
    assert submit.submit(read(["submit", "--dry-run", str(path)])) == 1
    said = capsys.readouterr()
    assert said.out == "x: 4 slots, 60 s, 1024 MB, at s: ./x.sh a b\n"
    assert said.err.splitlines()[-2:] == [
        "x.jdl: InputSandbox: there is no file x.sh here",
        "x.jdl: InputSandbox: gsiftp://h/y: only files from here are sent; fetch it first, or let "
        "the job fetch it",
    ]
    path.write_text('Parameters = 2; Executable = "e"; Arguments = "_PARAM_";')
    assert submit.submit(read(["submit", "--dry-run", "-q", str(path)])) == 0
    assert submit.submit(read(["submit", "--dry-run", str(path)])) == 0
    assert capsys.readouterr().out == "0: 1 slot: e 0\n1: 1 slot: e 1\n"
