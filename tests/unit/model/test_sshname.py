"""Which names stock SSH may use, and what they mean."""

import pytest

from gshell.model.sshname import host_of, names_of, place_of


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("job42", {"beside": "42"}),
        ("JOB42.gshell", {"beside": "42"}),
        ("job42.0", {"beside": "42.0"}),
        ("job42.07.gshell", {"beside": "42.7"}),
        ("n014", {"agent": "n014"}),
        ("N014.gshell", {"agent": "N014"}),
        ("job0", {"agent": "job0"}),  # there is no such job; an agent might be called so
        ("jobs", {"agent": "jobs"}),
        ("p1ab.3.gshell", {"agent": "p1ab.3"}),
    ],
)
def test_a_name_is_a_job_s_its_member_s_or_an_agent_s(host, place):
    assert place_of(host) == place


@pytest.mark.parametrize(
    "host",
    ["", ".gshell", "gshell-relay", "gshell-relay.gshell", "::1", "a b", "x" * 65, "-oProxy", "a/b",
     "job42\n", "ä"],
)  # fmt: skip
def test_what_is_no_name_leads_nowhere(host):
    assert place_of(host) is None


def test_a_certificate_s_names_are_those_that_lead_there():
    names = names_of("N14", [(42, 0), (43, 2)])
    assert "job43" not in names  # that is its first member, elsewhere
    assert {"n14", "n14.gshell", "job42", "job42.0.gshell", "job43.2"} <= set(names)
    for name in names:
        assert place_of(name) in (
            {"agent": "n14"}, {"beside": "42"}, {"beside": "42.0"}, {"beside": "43.2"},
        )  # fmt: skip


def test_what_a_person_says_becomes_a_host():
    assert [host_of(word) for word in ("42", "42.1", "job42", "n014", "n014.gshell")] == [
        "job42.gshell", "job42.1.gshell", "job42.gshell", "n014.gshell", "n014.gshell",
    ]  # fmt: skip
