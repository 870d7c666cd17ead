"""Batch jobs that others started: what is told of them, as Slurm 22.05, OAR 2.5 and Son of Grid Engine 8.1.9
said it."""

import re

import pytest

from gshell.errors import LrmsError
from gshell.lrms import running
from gshell.lrms.base import Done, State

SLURM = (
    "JobId=1 JobName=my job UserId=alice(2001) GroupId=alice(2001) MCS_label=N/A Priority=4294901759 Nice=0 "
    "Account=(null) QOS=(null) JobState=RUNNING Reason=None Dependency=(null) Requeue=1 Restarts=0 BatchFlag=1 "
    "Reboot=0 ExitCode=0:0 RunTime=00:00:01 TimeLimit=00:10:00 TimeMin=N/A SubmitTime=1795346515 "
    "StartTime=1795346516 EndTime=1795347116 Deadline=N/A Partition=main AllocNode:Sid=fe:0 ReqNodeList=(null) "
    "ExcNodeList=(null) NodeList=n[1-3] BatchHost=n2 NumNodes=3 NumCPUs=3 ReqB:S:C:T=0:0:*:* TRES=cpu=2,node=2 "
    "Command=/home/alice/j.sh WorkDir=/home/alice StdErr=/home/alice/err-%4j.txt StdIn=/dev/null "
    "StdOut=/home/alice/out 1.txt Power= \n"
)
OAR = """{
   "7" : {
      "launchingDirectory" : "/home/alice",
      "state" : "Running",
      "assigned_network_address" : [
         "n1",
         "n2"
      ],
      "Job_Id" : 7,
      "owner" : "alice",
      "startTime" : 1795346523,
      "message" : "R=4,W=0:5:0,J=B,N=myjob (Karma=0.000,quota_ok)",
      "name" : "myjob",
      "stdout_file" : "OAR.%jobname%.%jobid%.stdout",
      "stderr_file" : "/home/alice/err",
      "exit_code" : null,
      "events" : []
   }
}
"""
SGE = """<?xml version='1.0'?>
<detailed_job_info>
  <djob_info>
    <element>
      <JB_job_number>2</JB_job_number>
      <JB_owner>alice</JB_owner>
      <JB_merge_stderr>false</JB_merge_stderr>
      <JB_job_name>myjob</JB_job_name>
      <JB_env_list>
        <job_sublist>
          <VA_variable>__SGE_PREFIX__O_HOME</VA_variable>
          <VA_value>/home/alice</VA_value>
        </job_sublist>
      </JB_env_list>
      <JB_cwd>/home/alice/run</JB_cwd>
    </element>
  </djob_info>
</detailed_job_info>
"""
QSTAT = """<?xml version='1.0'?>
<job_info>
  <queue_info>
    <job_list state="running"><JB_job_number>2</JB_job_number><state>r</state><queue_name>all.q@n1</queue_name>
      <JAT_start_time>2026-11-22T11:22:27</JAT_start_time></job_list>
    <job_list state="running"><JB_job_number>2</JB_job_number><state>r</state><queue_name>all.q@n2</queue_name>
    </job_list>
  </queue_info>
</job_info>
"""
GONE = "<?xml version='1.0'?>\n<unknown_jobs >\n    <ST_name>2</ST_name>\n</unknown_jobs>\n"
QACCT = """==============================================================
hostname     n2
jobnumber    2
failed       100 : assumedly after job
exit_status  137                  (Killed)
==============================================================
hostname     n1
jobnumber    2
failed       0
exit_status  3
"""


def told(lrms, *texts, one):
    return running.told(lrms, one, [Done(0, text) for text in texts])


def test_slurms_job_has_its_batch_host_first_and_its_names_with_blanks():
    job = told("slurm", SLURM, one="1")
    assert (job.state, job.user, job.name) == (State.RUNNING, "alice", "my job")
    assert job.hosts == ("n2", "n1", "n3")
    assert job.outputs == ("/home/alice/out 1.txt", "/home/alice/err-0001.txt")
    assert job.code is None


@pytest.mark.parametrize(
    ("state", "exit", "code"),
    [("COMPLETED", "0:0", 0), ("FAILED", "3:0", 3), ("CANCELLED", "0:15", 143), ("COMPLETING", "9:0", 9)],
)  # fmt: skip
def test_slurm_tells_how_it_ended(state, exit, code):
    text = SLURM.replace("RUNNING", state).replace("ExitCode=0:0", f"ExitCode={exit}")
    assert told("slurm", text, one="1").code == code


def task(number, index, state="RUNNING"):
    text = SLURM.replace("JobId=1 ", f"JobId={number} ArrayJobId=7 ArrayTaskId={index} ")
    return text.replace("RUNNING", state).replace("err-%4j", "o-%A_%a-%N-%j")


def test_a_task_of_slurms_array_is_one_job_and_the_array_is_several():
    array = task(7, "3-9%2", "PENDING") + task(9, 2) + task(8, 1)
    assert told("slurm", array, one="7").several == ("7_3-9%2", "7_2", "7_1")
    job = told("slurm", task(9, 2), one="7_2")
    assert (job.id, job.state, job.several) == ("9", State.RUNNING, ())
    assert job.outputs[1] == "/home/alice/o-7_2-n2-9.txt"
    last = told("slurm", task(9, 2) + task(7, 3), one="7")  # it has the array's number
    assert (last.id, last.outputs[1]) == ("7", "/home/alice/o-7_3-n2-7.txt")


def test_a_component_of_slurms_heterogeneous_job_is_started_in_by_its_leader():
    def component(number, offset):
        het = f"JobId={number} HetJobId=7 HetJobOffset={offset} "
        return SLURM.replace("JobId=1 ", het)

    assert told("slurm", component(7, 0) + component(8, 1), one="7").several == ("7+0", "7+1")
    for name in ("8", "7+1"):
        assert told("slurm", component(8, 1), one=name).id == "7+1"
    [[command, _]] = running.into("slurm", "7+1", ["n2"], ["true"])
    assert command.argv[:5] == ["srun", "--jobid", "7", "--het-group", "1"]
    assert running.cancel("slurm", "7+1").argv[-1] == "7"


def test_slurms_two_streams_in_one_file_are_one_file():
    text = SLURM.replace("err-%4j.txt", "out 1.txt")
    assert told("slurm", text, one="1").outputs == ("/home/alice/out 1.txt",)


def test_slurm_without_that_job_is_no_error_and_a_controller_that_is_away_is():
    gone = Done(1, "", "slurm_load_jobs error: Invalid job id specified\n")
    assert running.told("slurm", "1", [gone]) is None
    away = Done(1, "", "slurm_load_jobs error: Unable to contact slurm controller\n")
    with pytest.raises(LrmsError, match="Unable to contact") as info:
        running.told("slurm", "1", [away])
    assert info.value.code == "busy"


def test_a_slurm_job_that_waits_has_no_hosts_and_says_why():
    text = SLURM.replace("JobState=RUNNING Reason=None", "JobState=PENDING Reason=Resources")
    job = told("slurm", text.replace("n[1-3]", "(null)"), one="1")
    assert (job.state, job.word, job.hosts) == (State.QUEUED, "PENDING, Resources", ())


def test_oars_job():
    job = told("oar", OAR, one="7")
    assert (job.state, job.user, job.name, job.hosts) == (State.RUNNING, "alice", "myjob", ("n1", "n2"))  # fmt: skip
    assert job.outputs == ("/home/alice/OAR.myjob.7.stdout", "/home/alice/err")
    text = OAR.replace('"Running"', '"Terminated"').replace("null", "768")
    assert (told("oar", text, one="7").state, told("oar", text, one="7").code) == (State.ENDED, 3)
    assert told("oar", "", one="7") is None


def test_grid_engines_job():
    job = told("sge", SGE, QSTAT, "", one="2")
    assert (job.state, job.user, job.name, job.hosts) == (State.RUNNING, "alice", "myjob", ("n1", "n2"))  # fmt: skip
    assert job.outputs == ("/home/alice/run/myjob.o2", "/home/alice/run/myjob.e2")


def test_grid_engines_job_with_one_file_of_a_name_of_its_own():
    named = "<JB_stdout_path_list><path_list><PN_path>$HOME/$JOB_NAME.log</PN_path></path_list></JB_stdout_path_list>"
    text = SGE.replace("stderr>false", "stderr>true").replace("<JB_cwd>", named + "<JB_cwd>")
    assert told("sge", text, QSTAT, "", one="2").outputs == ("/home/alice/myjob.log",)


def test_grid_engines_ended_job_is_in_the_accounting_some_time_later():
    missing = Done(1, "", "error: job id 2 not found\n")
    assert running.told("sge", "2", [Done(0, GONE), Done(0, QSTAT), missing]) is None
    assert told("sge", GONE, QSTAT, QACCT, one="2").code == 3


def test_a_task_of_grid_engines_array_is_one_job_and_the_array_is_several():
    def row(tasks, host, state="r", kind="running"):
        return (
            f'<job_list state="{kind}"><JB_job_number>2</JB_job_number><state>{state}</state>'
            f"<queue_name>{host}</queue_name><tasks>{tasks}</tasks></job_list>"
        )

    listed = (
        f"<job_info>{row(1, 'all.q@n1')}{row(3, 'all.q@n2')}"
        f"{row('5-9:2', '', 'qw', 'pending')}</job_info>"
    )
    assert told("sge", SGE, listed, "", one="2").several == ("2.1", "2.3", "2.5-9:2")
    job = told("sge", SGE, listed, "", one="2.3")
    assert (job.id, job.state, job.hosts, job.several) == ("2.3", State.RUNNING, ("n2",), ())
    assert job.outputs == ("/home/alice/run/myjob.o2.3", "/home/alice/run/myjob.e2.3")
    assert told("sge", SGE, listed, "", one="2.7").state is State.QUEUED
    assert told("sge", SGE, listed, "", one="2.8") is None
    others = listed.replace(row(3, "all.q@n2"), "")  # they go on when it has ended
    assert told("sge", SGE, others, QACCT, one="2.3").code == 3
    assert list(running.about("sge", "2.3")[2].argv) == ["qacct", "-j", "2", "-t", "3"]
    [[inside, _]] = running.into("sge", "2.3", ["n2"], ["true"])
    assert inside.env == {"JOB_ID": "2", "SGE_TASK_ID": "3"}
    assert list(running.cancel("sge", "2.3").argv) == ["qdel", "2.3"]


def test_what_a_batch_job_around_us_was_given_is_nothing_for_another_one():
    env = {"HOME": "/", "SLURM_MEM_PER_CPU": "9", "SLURM_CONF": "/etc/x", "OAR_JOB_ID": "4"}
    assert running.alone(env) == {"HOME": "/", "SLURM_CONF": "/etc/x"}


def test_what_grid_engine_writes_of_the_jobs_tasks_on_nodes_is_not_how_it_ended():
    def record(host, second, code):
        return (
            f"{'=' * 62}\nhostname     {host}\n"
            f"start_time   Sun Nov 22 12:52:{second} 2026\nexit_status  {code}\n"
        )

    before, own, after = record("n1", 27, 0), record("n2", 25, 3), record("n3", 26, 137)
    for text in (before + own + after, own + before, after + own):
        assert told("sge", GONE, QSTAT, text, one="2").code == 3


def test_slurm_starts_one_task_on_each_node_beside_what_runs_there():
    [[command, without_gpus]] = running.into("slurm", "42", ["n1", "n2"], ["sh", "x y"])
    words = list(command.argv)
    assert words[:5] == ["srun", "--jobid", "42", "--immediate=3", "--overlap"]
    assert without_gpus.argv[3] == "--gres=none"
    assert words[5:] == list(without_gpus.argv[5:])
    assert words[-2:] == ["sh", "x y"]
    at = words.index("--nodelist")
    assert words[at : at + 6] == ["--nodelist", "n1,n2", "--nodes", "2", "--ntasks", "2"]


def test_oar_and_grid_engine_start_one_on_each_by_their_own_shells():
    [[first], [_]] = running.into("oar", "42", ["n1", "n2"], ["sh", "x y"])
    assert list(first.argv) == ["oarsh", "-n", "n1", "sh 'x y'"]
    assert first.env == {"OAR_JOB_ID": "42"}
    [[task, by_hand]] = running.into("sge", "42", ["n1"], ["sh", "x y"])
    assert list(task.argv) == ["qrsh", "-inherit", "-nostdin", "n1", "sh 'x y'"]
    assert task.env == {"JOB_ID": "42", "SGE_TASK_ID": "undefined"}
    assert by_hand.argv[0] == "ssh"


@pytest.mark.parametrize("lrms", ["pbs", "lsf", "htcondor", "local"])
def test_where_it_cannot_be_done_that_is_said_with_what_can(lrms):
    with pytest.raises(LrmsError, match=f"no running job of {lrms} can be adopted: ") as info:
        running.about(lrms, "42")
    assert re.search("gshell agent start|gshell run", info.value.hint)


def test_a_batch_system_that_there_is_not_is_named_with_those_that_there_are():
    with pytest.raises(LrmsError, match="no batch system 'slrum' is known; there are slurm, oar"):
        running.about("slrum", "42")


@pytest.mark.parametrize("lrms", ["slurm", "oar", "sge"])
@pytest.mark.parametrize(
    "one", ["", "-1", "4;reboot", "../x", "4\n5", "x" * 99, "4_", "4+x", "4.", "4.-1"]
)
def test_what_can_be_no_id_gets_into_no_command(lrms, one):
    with pytest.raises(LrmsError, match="its number, please"):
        running.about(lrms, one)


@pytest.mark.parametrize("lrms", ["slurm", "oar", "sge"])
def test_an_answer_that_is_none_is_an_error_of_ours_with_its_words(lrms):
    with pytest.raises(LrmsError, match="said what is no answer: <html>"):
        running.told(lrms, "1", [Done(0, "<html>\x1b[2J oops"), Done(0, "x"), Done(1, "")])
