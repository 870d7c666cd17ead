"""Sites and pilots as tables."""

from gshell.client.sitetables import pilots_table, sites_table

SITE = {
    "name": "alpha", "lrms": "slurm", "ssh": "", "host": "fe", "state": "backing-off", "retry_at": 90.0,
    "pilots": {"asked": 1, "queued": 2, "running": 3}, "error": "Invalid account", "ad": {"cpus": 8, "free": 3},
}  # fmt: skip


def test_a_site_is_a_line_with_what_waits_and_why():
    agents = [
        {"site": "alpha", "state": "waiting"},
        {"site": "alpha", "state": "busy"},
        {"state": "waiting"},
    ]
    head, line = sites_table([SITE], agents, 60.0).splitlines()
    assert head.split("  ")[0] == "NAME"
    assert line.split() == [
        "alpha", "slurm", "fe", "backing-off", "1/1", "3/3", "3/8", "Invalid", "account;", "again", "in", "0:00:30",
    ]  # fmt: skip


def test_no_sites_says_how_to_make_one():
    assert "gshell site add" in sites_table([], [], 0.0)


def test_a_pilot_that_waits_says_when_it_starts_and_one_that_runs_how_long():
    waits = {
        "pilot": "p1",
        "site": "a",
        "state": "queued",
        "start_at": 100.0,
        "reason": "Resources",
        "nodes": 2,
    }
    runs = {
        "pilot": "p2",
        "site": "a",
        "state": "running",
        "ends_at": 160.0,
        "hosts": ["n1", "n2"],
        "lrms_id": "7",
    }
    _, first, second = pilots_table([waits, runs], 40.0).splitlines()
    assert first.split() == ["p1", "a", "queued", "-", "2", "in", "0:01:00", "-", "Resources"]
    assert second.split() == ["p2", "a", "running", "7", "n[1-2]", "-", "0:02:00", "-"]


def test_what_makes_no_sense_is_shown_as_nothing():
    assert "alpha" in sites_table(
        [{"name": "alpha", "pilots": 3, "ad": [], "retry_at": "x"}], [{}], 0.0
    )
    assert "p1" in pilots_table([{"pilot": "p1", "start_at": "x", "hosts": 3}], 0.0)
