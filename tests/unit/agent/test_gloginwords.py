"""The tutorial's command line."""

from __future__ import annotations

import pytest

from gshell.agent.gloginwords import Place, parse, parse_place
from gshell.errors import UsageError


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("24599:158.109.65.149", Place("158.109.65.149", 24599)),
        ("195.168.105.65:23433", Place("195.168.105.65", 23433)),
        ("24599:[::1]", Place("::1", 24599)), ("[::1]:24599", Place("::1", 24599)),
        ("24599:fe80::1", Place("fe80::1", 24599)), ("24599", Place("", 24599)),
        ("ui01.lip.pt:24599", Place("ui01.lip.pt", 24599)), ("0:127.0.0.1", Place("127.0.0.1", 0)),
        ("24599:ui01", Place("ui01", 24599)),
    ],
)  # fmt: skip
def test_an_address_in_either_order(text, place):
    assert parse_place(text) == place
    assert not place.host or parse_place(str(place)) == place


@pytest.mark.parametrize(
    "text",
    ["", ":", "24599:", "195.168.105.6523433", "24599158.109.65.149", "99999:1.2.3.4", "1:2:3:4:5",
     "24599:300.1.1.1", "a:b", "24599:[::1", "24599:a b", "24599:a/b"],
)  # fmt: skip
def test_what_is_no_address_is_said(text):
    with pytest.raises(UsageError, match=r"is no address|two ways"):
        parse_place(text)


def test_the_tutorials_arguments():
    words = parse(["-r", "-p", "24599:158.109.65.149", "-t", "-c", "/bin/sh"])
    assert (words.remote, words.tty, words.command) == (True, True, ("/bin/sh",))
    assert parse(["-r", "-p", "195.168.105.65:23433", "test-app", "-n", "5"]).command == (
        "test-app",
        "-n",
        "5",
    )
    assert parse(["-r", "-p", "1:h", "-c", "echo a; echo b"]).command == (
        "/bin/sh", "-c", "echo a; echo b")  # fmt: skip
    assert parse(["-r", "-p", "1:h", "-t", "-c"]).command == ()
    assert parse(["-r", "-p1:h", "-tc", "sh", "-c", "x"]).command == ("sh", "-c", "x")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "-p PORT:IP is missing"), ("-r", "-p PORT:IP is missing"), ("-z", "not recognized"),
        ("-p 1:h sh", "given to the remote end"), ("-r -p 1", "where to call"),
        ("-r -p 0:h", "where to call"), ("-p 1:h --insecure --secret-file f", "take one"),
        ("-p 1:h --wait soon", "is no time"), ("-r p 24599:1.2.3.4", "-p PORT:IP is missing"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_clear_error(line, why):
    with pytest.raises(UsageError, match=why) as caught:
        parse(line.split())
    assert caught.value.exit_code == 2
