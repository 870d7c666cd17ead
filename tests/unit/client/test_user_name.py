"""What the private relay calls its user."""

import getpass
import os

import pytest

from gshell.client.embedded import relay_user
from gshell.net.machine import user_name
from relay.auth import check_name


@pytest.mark.parametrize(
    "error", [KeyError("getpwuid(): uid not found: 12345"), OSError("no name")]
)
def test_a_user_without_a_name_has_a_number(monkeypatch, error):
    def nobody():
        raise error

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert user_name() == str(os.getuid())
    assert check_name(relay_user(user_name()), "a user") == user_name()


@pytest.mark.parametrize(
    ("name", "there"),
    [("bob", "bob"), ("_apt", "_apt"), ("bob@example.org", "bob@example.org"),
     ("DOMAIN\\bob", "DOMAIN_bob"), ("J\u00f6rg K", "J_rg_K"), ("-x", "_x"), ("", "_"),
     ("x" * 99, "x" * 64)],
)  # fmt: skip
def test_a_name_of_a_directory_service_becomes_one_that_relays_take(name, there):
    assert check_name(relay_user(name), "a user") == there
