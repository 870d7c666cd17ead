import pytest

from gshell import errors
from gshell.errors import (
    AuthError,
    GshellError,
    LinkLost,
    LrmsError,
    RemoteProtocolError,
    SpawnFailed,
    StagingError,
    Unsatisfiable,
    UsageError,
)

ALL = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)]


def test_every_error_of_ours_is_a_gshell_error():
    assert all(issubclass(error, GshellError) for error in ALL)


def test_an_error_shows_what_happened_and_then_what_to_type():
    error = GshellError("site 'finis' has no slot with 64 GiB", hint="gshell why 41")
    assert str(error) == "site 'finis' has no slot with 64 GiB"
    assert error.explained() == f"{error}\n  try:  gshell why 41"


def test_without_a_hint_there_is_no_second_line():
    assert GshellError("gone").explained() == "gone"


def test_a_usage_error_begins_with_where_the_mistake_stands():
    assert str(UsageError("unknown key 'node'", origin="config.toml:3")) == (
        "config.toml:3: unknown key 'node'"
    )


@pytest.mark.parametrize(
    ("error", "before", "running"),
    [
        (GshellError("x"), 125, 125),
        (UsageError("x"), 2, 2),
        (RemoteProtocolError("bad-grant"), 125, 255),
        (LinkLost("x"), 125, 255),
        (AuthError("x"), 125, 255),
        (Unsatisfiable("x"), 125, 125),
        (SpawnFailed("x"), 126, 126),
        (SpawnFailed("x", not_found=True), 127, 127),
    ],
)
def test_exit_codes(error, before, running):
    assert (error.exit_code, error.exit_code_running) == (before, running)


def test_a_lost_link_may_be_dialled_again_and_a_refusal_never():
    assert LinkLost("x").transient
    assert not AuthError("x").transient


def test_a_peer_s_offence_has_a_code_and_a_detail():
    error = RemoteProtocolError("bad-grant", "stream 3")
    assert (error.code, str(error)) == ("bad-grant", "bad-grant: stream 3")
    assert str(RemoteProtocolError("gap")) == "gap"


def test_a_batch_system_that_is_busy_is_asked_again_and_one_that_refuses_is_not():
    assert LrmsError("busy", "slurmctld is away").transient
    assert not LrmsError("refused", "no such partition").transient


def test_a_staging_error_names_file_and_machine():
    assert str(StagingError("disk full", "/scratch/x", "n17")) == "n17:/scratch/x: disk full"
