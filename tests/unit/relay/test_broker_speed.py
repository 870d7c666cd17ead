"""That no event's work grows with the jobs that wait; tests/bench/core.py has the figures."""

import pytest
from bench.core import Load, rate

from relay.broker import backfill


@pytest.mark.parametrize("kinds", [1, 20])
def test_eight_times_the_jobs_make_an_event_hardly_dearer(kinds):
    few, many = Load(500, 50, kinds), Load(4000, 50, kinds)
    few_s, many_s = (max(rate(load, 60) for _ in range(4)) for load in (few, many))
    assert many_s > 0.3 * few_s, (few_s, many_s)


def test_an_agent_that_has_just_been_filled_is_not_offered_to_the_lines_behind(monkeypatch):
    looked = []
    known = backfill._guard_of
    monkeypatch.setattr(backfill, "_guard_of", lambda *a: looked.append(a[2]) or known(*a))
    load = Load(0, 16, slots=1)  # two agents at each of eight sites, all busy

    def end_one_at(site):
        conn, job = next(
            (conn, job) for conn, job in load.running if conn.number % 8 == (site + 1) % 8
        )
        load.running.remove((conn, job))
        load.say(conn, "ended", job=job, index=0, code=0, signal=None, at=load.now, error=None)
        started = len(load.told)
        load.work()
        return started

    assert end_one_at(1) == 0  # there is room, but not where anybody wants to be
    for walltime in (10, 20, 30):
        load.say(load.client, "submit", id=walltime, spec={"argv": ["true"]}, n=1, size=1,
                 site=["site0"], walltime=walltime)  # fmt: skip
    assert [end_one_at(0) for _ in range(3)] == [1, 1, 1]
    assert looked == []  # nobody works out when they start over all agents
