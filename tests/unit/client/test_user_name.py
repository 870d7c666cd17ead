"""What the private relay calls its user."""

import os

import pytest

from gshell.client.embedded import relay_user
from gshell.net.machine import user_name
from relay.auth import check_name


def test_a_user_without_a_name_has_a_number(monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 2_000_000_123)
    assert user_name() == "2000000123"
    assert check_name(relay_user(user_name()), "a user") == user_name()


def test_who_became_another_user_is_not_called_as_before(monkeypatch):
    before = user_name()
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setenv("LOGNAME", "somebody")
    assert user_name() == before


@pytest.mark.parametrize(
    ("name", "there"),
    [("bob", "bob"), ("_apt", "_apt"), ("bob@example.org", "bob@example.org"),
     ("DOMAIN\\bob", "DOMAIN_bob"), ("J\u00f6rg K", "J_rg_K"), ("-x", "_x"), ("", "_"),
     ("x" * 99, "x" * 64)],
)  # fmt: skip
def test_a_name_of_a_directory_service_becomes_one_that_relays_take(name, there):
    assert check_name(relay_user(name), "a user") == there
