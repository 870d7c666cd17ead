"""Where scrapers may be served: on this machine, unless somebody insists."""

import pytest

from gshell.errors import UsageError
from relay.listening import check_metrics


@pytest.mark.parametrize(
    "where", ["127.0.0.1:9464", "127.9.9.9:1", "[::1]:9464", "localhost:9464", "unix:/x/y"]
)
def test_this_machine_s_own_addresses_are_fine(where):
    assert check_metrics(where, False) == where


@pytest.mark.parametrize(
    "where", ["0.0.0.0:9464", "[::]:9464", "10.0.0.1:9464", "example.org:1", "localhost.evil.org:1"]
)
def test_others_are_refused_unless_asked_for(where):
    with pytest.raises(UsageError) as caught:
        check_metrics(where, False)
    assert "--metrics-anywhere" in caught.value.hint
    assert check_metrics(where, True) == where


@pytest.mark.parametrize("where", ["9464", "127.0.0.1", "127.0.0.1:99999", ""])
def test_what_is_no_address_is_said(where):
    with pytest.raises(UsageError):
        check_metrics(where, True)
