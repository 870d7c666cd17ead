"""Reservations against batch systems that are scripts, here on this host."""

import datetime
import json
import time

import pytest

from gshell.errors import UsageError
from gshell.sweep import (
    Host,
    OarSubmission,
    ProcessesFailed,
    SgeSubmission,
    SlurmSubmission,
    frontends,
    get_current_oar_jobs,
    get_oar_job_info,
    get_oar_job_nodes,
    oardel,
    oarsub,
    sgesub,
    slurmdel,
    slurmsub,
    wait_oar_job_start,
    wait_slurm_job_start,
)
from gshell.sweep import ledger as ledgers
from gshell.sweep.batch import in_order
from gshell.sweep.engine import Engine
from gshell.sweep.oar import read_text
from gshell.sweep.reservations import end


class Site:
    """Commands that write down how they were called, and print what a test wants."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "bin").mkdir()

    def says(self, tool, text="", code=0, more=""):
        (self.folder / f"{tool}.says").write_text(text)
        path = self.folder / "bin" / tool
        path.write_text(
            f"#!/bin/sh\n(printf '%s\\036' {tool} \"$@\"; echo) >> {self.folder}/calls\n{more}\n"
            f"cat {self.folder}/{tool}.says\nexit {code}\n"
        )
        path.chmod(0o755)

    def job(self, **fields):
        self.says("oarstat", json.dumps({"7": {"name": None, "events": [], **fields}}))

    @property
    def calls(self):
        path = self.folder / "calls"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [line.rstrip("\036").split("\036") for line in lines]


@pytest.fixture
def site(tmp_path, monkeypatch):
    here = Site(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    here.says("oarsub", "[ADMISSION RULE] hello\nOAR_JOB_ID=7\n")
    here.says("oardel")
    here.job(state="Running", startTime=1000, walltime=60, assigned_network_address=["n10", "n2"])
    return here


@pytest.fixture
def book(tmp_path):
    ledgers.use(ledgers.Ledger(tmp_path / "book"))
    yield ledgers.current()
    ledgers.use(None)


HOLD = "sleep 31536000"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (OarSubmission("cluster=1/nodes=2", walltime=3600, job_type="allow_classic_ssh"),
         ["-l", "cluster=1/nodes=2,walltime=1:0:0", "-t", "allow_classic_ssh", HOLD]),
        (OarSubmission("{cluster='edel'}/nodes=4", "0:10:00", ["deploy", "night"]),
         ["-l", "{cluster='edel'}/nodes=4,walltime=0:10:0", "-t", "deploy", "-t", "night", HOLD]),
        (OarSubmission(["nodes=1", "core=2"], datetime.timedelta(hours=30), None, "host = 'x y'",
                       "admin", None, "/tmp/a b", "p", "n", "--notify 'mail:a b'", "echo $HOME"),
         ["-l", "nodes=1+core=2,walltime=30:0:0", "-p", "host = 'x y'", "-q", "admin",
          "-d", "/tmp/a b", "--project", "p", "-n", "n", "--notify", "mail:a b", "echo $HOME"]),
        (OarSubmission(reservation_date=86400), ["-r", "1970-01-02 00:00:00", HOLD]),
        (OarSubmission(), [HOLD]),
    ],
)  # fmt: skip
def test_what_is_asked_of_oar_arrives_word_by_word(site, asked, words):
    assert oarsub([(asked, None)]) == [(7, None)]
    assert site.calls == [["oarsub", *words]]


@pytest.mark.parametrize(
    "specs", [OarSubmission("nodes=1"), [OarSubmission("nodes=1"), None], ["nodes=1"]]
)
def test_what_is_no_list_of_pairs_is_refused_before_anything_is_asked(site, specs):
    with pytest.raises(UsageError, match="no pair of a submission and a site"):
        oarsub(specs)
    assert site.calls == []


def test_what_oar_refuses_is_none_in_its_place_and_nothing_to_delete(site, book):
    site.says("oarsub", "OAR_JOB_ID=-5\n", 8, "echo 'not enough resources' >&2")
    jobs = oarsub([(OarSubmission("nodes=99"), None)])
    assert jobs == [(None, None)]
    assert book.open() == []
    oardel(jobs)
    assert [call[0] for call in site.calls] == ["oarsub"]
    with pytest.raises(ProcessesFailed):
        oarsub([(OarSubmission("nodes=99"), None)], abort_on_error=True)


def test_a_name_that_oar_would_put_into_its_sql_is_refused(site, book):
    with pytest.raises(UsageError, match="it's"):
        oarsub([(OarSubmission(name="it's"), None)])
    assert site.calls == book.open() == []


def test_a_reservation_is_written_down_before_and_until_it_is_given_back(site, book):
    site.says("oarsub", "OAR_JOB_ID=7\n", 0, f"cp {site.folder}/book {site.folder}/before")
    (job,) = oarsub([(OarSubmission("nodes=1", name="mine"), None)])
    (one,) = ledgers.Ledger(site.folder / "before").open()
    assert (one.kind, one.site, one.job) == ("oar", "", "")
    assert site.calls[0][-7:] == [
        "-n", f"mine-{one.tag}", "-O", "/dev/null", "-E", "/dev/null", HOLD,
    ]  # fmt: skip
    assert book.open()[0].job == "7"
    site.job(state="Running", name=f"mine-{one.tag}")
    assert get_oar_job_info(*job)["name"] == "mine"
    oardel([job])
    assert book.open() == []


def test_what_could_not_be_deleted_stays_written_down(site, book):
    job = oarsub([(OarSubmission(), None)])
    site.says("oardel", "", 1)
    oardel(job)
    assert len(book.open()) == 1
    site.job(state="Terminated")
    oardel(job)
    assert book.open() == []


def test_a_dead_experiment_s_job_is_ended_by_its_id_or_by_its_tag(site, book):
    tag = book.asked("oar", "")
    site.says("oarstat", json.dumps({
        "8": {"state": "Running", "name": f"mine-{tag}"}, "9": {"state": "Running", "name": "his"},
    }))  # fmt: skip
    assert end(book.open()[0])
    book.got(tag, 12)
    assert end(book.open()[0])
    assert [call for call in site.calls if call[0] == "oardel"] == [
        ["oardel", "8"],
        ["oardel", "12"],
    ]


def test_a_submission_that_arrives_after_its_submitter_died_is_found(site, book):
    tag = book.asked("oar", "")
    late = json.dumps({"8": {"state": "Waiting", "name": tag}})
    site.says("oarstat", "{}", 0, f"test -e {site.folder}/second && {{ echo '{late}'; exit; }}\n"
              f"> {site.folder}/second")  # fmt: skip
    assert end(book.open()[0])
    assert site.calls[-1] == ["oardel", "8"]


def test_one_that_never_arrived_is_over_after_a_while(site, book):
    book.asked("oar", "")
    site.says("oarstat", "{}")
    assert end(book.open()[0]._replace(asked_at=time.time() - 3600))


def test_a_front_end_that_does_not_answer_leaves_it_to_be_ended(site, book):
    book.asked("oar", "")
    site.says("oarstat", "", 255)
    assert not end(book.open()[0])


def test_an_engine_ends_what_its_run_has_left(site, tmp_path, monkeypatch):
    class Careless(Engine):
        def setup_result_dir(self):
            self.result_dir = str(tmp_path / "results")

        def run(self):
            oarsub([(OarSubmission(), None)])

    assert Careless().start([]) == 0
    assert site.calls[-1] == ["oardel", "7"]
    calls = len(site.calls)
    assert Careless().start(["-c", str(tmp_path / "results")]) == 0
    assert [call[0] for call in site.calls[calls:]] == ["oarsub", "oardel"]


class Reserves(Engine):
    def __init__(self, folder, also=lambda: None):
        super().__init__()
        self.folder, self.also = str(folder), also

    def setup_result_dir(self):
        self.result_dir = self.folder

    def run(self):
        oarsub([(OarSubmission(), None)])
        self.also()


def test_who_joins_an_experiment_that_runs_ends_none_of_its_reservations(site, tmp_path):
    def join():
        assert Engine().start(["-c", str(tmp_path / "results")]) == 0
        assert [call[0] for call in site.calls] == ["oarsub"]

    assert Reserves(tmp_path / "results", join).start([]) == 0
    assert [call[0] for call in site.calls] == ["oarsub", "oardel"]


def test_who_leaves_an_experiment_that_runs_ends_what_is_its_own(site, tmp_path):
    def join():
        site.says("oarsub", "OAR_JOB_ID=8\n")
        assert Reserves(tmp_path / "results").start(["-c", str(tmp_path / "results")]) == 0
        assert site.calls[2:] == [["oardel", "8"]]

    assert Reserves(tmp_path / "results", join).start([]) == 0
    assert site.calls[3:] == [["oardel", "7"]]


def test_nodes_come_once_each_in_order_and_not_from_a_dead_job(site):
    assert get_oar_job_nodes(7) == [Host("n2"), Host("n10")]
    for dead in ({"state": "Terminated"}, {"state": "Error"},
                 {"state": "Running", "events": [{"type": "FRAG_JOB_REQUEST"}]}):  # fmt: skip
        site.job(assigned_network_address=["n1"], **dead)
        assert wait_oar_job_start(7) is False
        with pytest.raises(ProcessesFailed, match="does not run"):
            get_oar_job_nodes(7)


def test_waiting_tells_each_prediction_once_and_stops_in_time(site):
    site.job(state="Waiting", scheduledStart=2000, startTime=0)
    told = []
    assert wait_oar_job_start(7, timeout=2.0, prediction_callback=told.append) is False
    assert told == [2000.0]
    assert len(site.calls) > 1


def test_a_question_that_goes_wrong_is_asked_again(site):
    site.says(
        "oarstat",
        '{"7": {"state": "Running"}}',
        0,
        f"""
test -e {site.folder}/second || {{ > {site.folder}/second; echo cannot connect >&2; exit 1; }}""",
    )
    assert wait_oar_job_start(7) is True


def test_job_info_in_words_for_an_oarstat_without_json(site):
    site.says("oarstat", """Job_Id: 7
    job_array_id = 7
    name = hello
    state = Running
    walltime = 0:10:0
    assigned_hostnames = n1+n2
    startTime = 1970-01-01 00:16:40
    scheduledStart = no prediction
""", 0, 'test "$1" = -fj || { echo no JSON here; exit 1; }')  # fmt: skip
    assert get_oar_job_info(7) == {
        "state": "Running", "name": "hello", "walltime": 600, "start_date": 1000,
    }  # fmt: skip
    assert get_oar_job_nodes(7) == [Host("n1"), Host("n2")]
    assert read_text("") == {"startTime": 0, "scheduledStart": 0}


def test_the_jobs_of_this_user_by_when_they_start(site):
    assert get_current_oar_jobs() == [(7, None)]
    assert get_current_oar_jobs(start_between=(900, 1100), end_between=(None, 1060)) == [(7, None)]
    assert get_current_oar_jobs(end_between=(1061, None)) == []


def test_no_job_is_said_clearly(monkeypatch, site):
    monkeypatch.delenv("OAR_JOB_ID", raising=False)
    with pytest.raises(UsageError, match="its id is None"):
        wait_oar_job_start(None, None)
    monkeypatch.setenv("OAR_JOB_ID", "7")
    assert wait_oar_job_start() is True


def test_without_batch_system_and_front_end_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="no oarsub on this host"):
        oarsub([(OarSubmission(), None)])


def test_a_site_s_front_end_is_mapped_rewritten_or_its_name(monkeypatch):
    known = frontends.g5k_configuration
    monkeypatch.setitem(known, "frontends", {"lyon": "fe.lyon.example"})
    assert frontends.front_end("lyon") == Host("fe.lyon.example")
    assert frontends.front_end("nancy") == Host("nancy")
    monkeypatch.setitem(known, "frontend_rewrite", lambda site: f"{site}.grid5000.fr")
    assert frontends.front_end("nancy") == Host("nancy.grid5000.fr")
    assert frontends.front_end(Host("x", user="u")) == Host("x", user="u")


def test_slurm_and_grid_engine_are_asked_for_the_same(site):
    site.says("sbatch", "31;cluster\n")
    site.says("qsub", "32\n")
    asked = {"walltime": 600, "queue": "q", "name": "n", "project": "p"}
    assert slurmsub([(SlurmSubmission("nodes=2,ntasks-per-node=4", job_type="exclusive", **asked),
                      None)]) == [(31, None)]  # fmt: skip
    assert sgesub([(SgeSubmission("openmpi 4", command="echo 'a b'", **asked), None)]) == [
        (32, None)
    ]
    assert site.calls == [
        ["sbatch", "--parsable", "--job-name=n", "--nodes=2", "--ntasks-per-node=4",
         "--time=0:10:00", "--exclusive", "--partition=q", "--account=p", "--output=/dev/null",
         "--wrap", HOLD],
        ["qsub", "-terse", "-b", "y", "-N", "n", "-pe", "openmpi", "4", "-l", "h_rt=0:10:00",
         "-q", "q", "-P", "p", "sh", "-c", "'echo '\"'\"'a b'\"'\"''"],
    ]  # fmt: skip


def test_slurm_s_jobs_are_awaited_and_deleted(site, book):
    site.says("sbatch", "31\n")
    site.says("squeue", "31|RUNNING|None|2026-01-01T00:00:00|n[1-2]\n")
    site.says("scancel")
    jobs = slurmsub([(SlurmSubmission("nodes=2"), None)])
    assert wait_slurm_job_start(*jobs[0])
    slurmdel(jobs)
    assert site.calls[-1] == ["scancel", "31"]
    assert book.open() == []


def test_hosts_are_ordered_by_their_numbers():
    assert in_order(["n10", "n2", "a", "n2"]) == ["a", "n2", "n10"]
