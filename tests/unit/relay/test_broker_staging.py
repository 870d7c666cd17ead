"""Sandboxes in the broker: what is staged when, who may open what, and what deaths do to it."""

import pytest

from kit.broker import BrokerBench
from relay.broker.model import ARCHIVE

KEY = "5" * 32
A = "a" * 32


class Bench(BrokerBench):
    def archive(self):
        return self.agent(ARCHIVE, user=ARCHIVE, slots=0, boot="archive")

    def submit(self, **wants):
        wants = {"sandbox": KEY, "inputs": ["in"], "outputs": ["*.out"], **wants}
        answer = self.request(self.client(), "submit", spec={"argv": ["x"], "job": wants})
        assert answer["ok"], answer
        return answer["job"]

    def staged(self, archive, job, way, agent="n1", m="staged", **more):
        self.say(archive, m, way=way, job=job, index=0, agent=agent, files=1, bytes=2, **more)


@pytest.fixture
def bench():
    return Bench()


def test_a_job_with_inputs_starts_when_they_are_there_and_ends_when_its_outputs_are_kept(bench):
    archive, agent = bench.archive(), bench.agent()
    job = bench.submit()
    assert bench.job(job)["state"] == "STAGE_IN"
    [order] = bench.got(archive, "stage-in")
    assert (order["agent"], order["key"], order["names"]) == ("n1", KEY, ["in"])
    assert not bench.got(agent, "start")
    bench.staged(archive, job, "stage-in")
    assert bench.got(agent, "start")
    bench.started(agent, job)
    bench.ended(agent, job)
    assert bench.job(job)["state"] == "STAGE_OUT"
    assert bench.got(archive, "stage-out")[0]["names"] == ["*.out"]
    bench.staged(archive, job, "stage-out", missing=["*.out"])
    assert bench.job(job)["state"] == "COMPLETED"
    assert bench.job(job)["outputs"][0]["missing"] == ["*.out"]
    assert bench.got(agent, "staged-out")


def test_a_new_life_of_its_agent_sends_it_back_to_the_queue_a_hiccup_does_not(bench):
    archive, agent = bench.archive(), bench.agent()
    job = bench.submit()
    bench.gone(agent)
    agent = bench.agent()
    assert bench.job(job)["state"] == "STAGE_IN"
    assert not bench.got(archive, "unstage")
    bench.got(archive, "stage-in")
    bench.gone(agent)
    bench.agent(boot="b2")
    assert bench.got(archive, "unstage")
    assert bench.job(job)["state"] == "STAGE_IN"  # placed anew
    assert bench.got(archive, "stage-in")


def test_a_word_about_an_earlier_place_counts_no_more(bench):
    archive, agent = bench.archive(), bench.agent()
    job = bench.submit()
    bench.staged(archive, job, "stage-in", agent="n0")
    bench.staged(archive, job, "stage-out")
    assert not bench.got(agent, "start")


@pytest.mark.parametrize("final", [True, False])
def test_what_cannot_be_brought_fails_the_job_or_takes_it_elsewhere(bench, final):
    archive = bench.archive()
    bench.agent()
    job = bench.submit()
    bench.got(archive, "stage-in")
    bench.staged(archive, job, "stage-in", m="stage-failed", why="no such file", final=final)
    state = bench.job(job)
    assert state["state"] == ("FAILED" if final else "QUEUED")
    assert not final or "no such file" in state["error"]
    bench.agent("n2")
    assert final or bench.got(archive, "stage-in")[0]["agent"] == "n2"


def test_an_agent_lost_before_its_outputs_were_kept_ends_the_wait(bench):
    bench.archive()
    agent = bench.agent()
    job = bench.submit(inputs=[])
    bench.started(agent, job)
    bench.ended(agent, job)
    bench.gone(agent)
    assert bench.job(job)["state"] == "STAGE_OUT"
    bench.after(bench.settings.agent_grace_s + 1)
    done = bench.job(job)
    assert (done["state"], done["outputs"][0]["error"]) == ("COMPLETED", "agent lost")


@pytest.mark.parametrize("when", ["STAGE_IN", "STAGE_OUT"])
def test_cancel_ends_the_staging_at_once(bench, when):
    archive, agent = bench.archive(), bench.agent()
    job = bench.submit()
    if when == "STAGE_OUT":
        bench.staged(archive, job, "stage-in")
        bench.started(agent, job)
        bench.ended(agent, job)
    assert bench.job(job)["state"] == when
    assert bench.request(bench.client(), "cancel", job=job)["ok"]
    assert bench.job(job)["state"] == "CANCELED"
    assert bench.got(archive, "unstage")


def test_a_broker_s_restart_in_either_state_goes_on_with_it(bench):
    archive, agent = bench.archive(), bench.agent()
    job = bench.submit()
    bench.restart()
    archive, agent = bench.archive(), bench.agent()
    assert bench.got(archive, "sandbox")[0]["key"] == KEY
    assert bench.got(archive, "stage-in")
    bench.staged(archive, job, "stage-in")
    bench.started(agent, job)
    bench.ended(agent, job)
    bench.restart()
    bench.agent()
    archive = bench.archive()
    assert bench.got(archive, "stage-out")
    bench.staged(archive, job, "stage-out")
    assert bench.job(job)["state"] == "COMPLETED"


def test_a_start_that_went_under_with_the_broker_is_said_again(bench):
    archive, agent = bench.archive(), bench.agent()
    job = bench.submit()
    bench.staged(archive, job, "stage-in")
    bench.restart()
    archive, agent = bench.archive(), bench.agent()
    assert bench.got(agent, "start")[0]["job"] == job
    bench.started(agent, job)
    assert bench.job(job)["state"] == "ACTIVE"


def test_a_canceled_job_s_input_is_removed_from_where_it_was_brought(bench):
    bench.archive()
    agent = bench.agent()
    job = bench.submit()
    assert bench.request(bench.client(), "cancel", job=job)["ok"]
    assert bench.got(agent, "workdir-done")[0] == {"m": "workdir-done", "job": job, "index": 0}


def test_the_archive_opens_only_what_it_is_to_carry(bench):
    bench.archive()
    agent = bench.agent()
    job = bench.submit()
    other = bench.submit(inputs=[], sandbox="")
    bench.started(agent, other)

    def verdict(att, **body):
        return bench.verdict(bench.ask(att * 32, user=ARCHIVE, **body))

    assert verdict("1", agent="n1") == ("no", "denied")
    assert verdict("2", service="files", agent="n1") == ("no", "denied")
    assert verdict("3", service="forward", stage=f"{job}.0") == ("no", "denied")
    assert verdict("4", service="files", stage=f"{other}.0") == ("no", "denied")
    assert verdict("5", service="files", stage=f"{job}.1") == ("no", "denied")
    assert verdict("6", service="files", stage=f"{job}.0") == ("pair", "n1")
    expect = bench.got(agent, "expect")[-1]
    assert (expect["user"], expect["owner"], expect["stage"]) == (ARCHIVE, "alice", f"{job}.0")


@pytest.mark.parametrize(
    "wants", [{"inputs": "in"}, {"inputs": [7]}, {"inputs": ["a"] * 1001}, {"sandbox": "../../x"},
              {"sandbox": ""}, {"outputs": ["x" * 2000]}]
)  # fmt: skip
def test_sandboxes_that_make_no_sense_are_refused(bench, wants):
    wants = {"sandbox": KEY, "inputs": ["in"], **wants}
    answer = bench.request(bench.client(), "submit", spec={"argv": ["x"], "job": wants})
    assert answer["code"] == "usage"


@pytest.mark.parametrize("how", ["its connection", "the broker", "the broker, archive first"])
def test_a_start_that_was_lost_on_its_way_is_said_again(bench, how):
    archive, agent = bench.archive(), bench.agent()
    job = bench.submit()
    bench.staged(archive, job, "stage-in")
    if how == "its connection":
        bench.gone(agent)
    else:
        bench.restart()
    if how.endswith("first"):
        bench.archive()
    agent = bench.agent()
    [start] = bench.got(agent, "start")
    assert start["job"] == job
    bench.started(agent, job)
    bench.after(2 * bench.settings.start_s)
    assert bench.job(job)["state"] == "ACTIVE"


def test_an_agent_that_refuses_it_after_all_sends_it_elsewhere(bench):
    archive, agent = bench.archive(), bench.agent()
    job = bench.submit()
    bench.staged(archive, job, "stage-in")
    bench.got(archive, "stage-in")
    bench.agent("n2")
    bench.say(agent, "refused", att="", job=job, index=0, code="busy", message="no slots")
    assert bench.got(archive, "stage-in")[0]["agent"] == "n2"
    assert bench.job(job)["state"] == "STAGE_IN"


def test_what_was_brought_where_it_never_started_is_removed(bench):
    bench.archive()
    agent = bench.agent()
    job = bench.submit()
    assert bench.request(bench.client(), "cancel", job=job)["ok"]
    assert bench.got(agent, "workdir-done")[0]["job"] == job


def test_a_sandbox_is_one_job_s(bench):
    """The first of two to be forgotten would take the other's files with it."""
    bench.submit()
    spec = {"argv": ["x"], "job": {"sandbox": KEY, "inputs": ["in"]}}
    answer = bench.request(bench.client(), "submit", spec=spec)
    assert (answer["code"], answer["message"]) == ("usage", "that sandbox is another job's")
    assert bench.request(bench.client("bob"), "submit", spec=spec)["ok"]  # by user and key


def test_a_user_has_few_sessions_with_the_depot_at_a_time(bench):
    """Each is a process of the relay's."""
    archive = bench.archive()

    def verdict(number, user="alice"):
        where = {"service": "files", "archive": True, "sandbox": f"{number:032x}"}
        return bench.verdict(bench.ask(f"{number:032x}", user=user, **where))

    got = [verdict(number) for number in range(20)]
    assert got.count(("pair", ARCHIVE)) == 8
    assert got[-1] == ("no", "again")
    assert verdict(100, "bob") == ("pair", ARCHIVE)
    job = bench.got(archive, "expect")[0]["job"]
    bench.started(archive, job, att=f"{0:032x}")
    bench.ended(archive, job)
    assert verdict(20) == ("pair", ARCHIVE)


def test_of_a_program_that_uses_several_members_the_outputs_are_the_firsts(bench):
    archive = bench.archive()
    first, second = bench.agent("n1"), bench.agent("n2")
    answer = bench.request(bench.client(), "submit", size=2, spec={
        "argv": ["x"], "crew": [1, 1], "job": {"sandbox": KEY, "outputs": ["*.out"]},
    })  # fmt: skip
    job = answer["job"]
    for index, agent in enumerate((first, second)):
        assert bench.got(agent, "start")
        bench.started(agent, job, index)
    for index, agent in enumerate((first, second)):
        bench.ended(agent, job, index)
    assert [order["index"] for order in bench.got(archive, "stage-out")] == [0]
    bench.staged(archive, job, "stage-out")
    assert bench.job(job)["state"] == "COMPLETED"
    assert len(bench.job(job)["outputs"]) == 1
