"""Invites and shares' links look alike; each place says which of them it wants."""

import pytest

from gshell.errors import UsageError
from gshell.net.relaylink import parse_invite, parse_share, share_link

PIN = "0" * 64
INVITE = f"gshell://host:4433/{PIN}#token"
LINK = f"gshell://host:4433/{PIN}#share.5f0c"


def test_a_link_says_relay_pin_and_token():
    ticket, token = parse_share(f" {LINK}\n")
    assert (ticket.relays, ticket.pin, token) == (["host:4433"], PIN, "5f0c")
    assert share_link(ticket, token) == LINK
    assert parse_invite(INVITE)[1] == "token"


@pytest.mark.parametrize(
    ("parse", "text", "hint"),
    [
        (parse_invite, LINK, "gshell attach"),
        (parse_share, INVITE, "gshell login"),
        (parse_share, "gshell://host:4433/abc#share.x", "gshell share"),
        (parse_share, f"gshell://host:4433/{PIN}", "gshell share"),
        (parse_invite, f"gshell://host:4433/{PIN}#", "gshell relay invite"),
        (parse_share, "42", "gshell share"),
    ],
)
def test_the_wrong_one_is_named_and_where_it_belongs(parse, text, hint):
    with pytest.raises(UsageError) as error:
        parse(text)
    assert error.value.hint.startswith(hint)
