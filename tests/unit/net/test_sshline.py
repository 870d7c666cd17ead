"""The lines before SSH begins on a data connection."""

import pytest

from gshell.net import rendezvous, sshline
from gshell.net.sshline import Reply
from kit.feed import feed_all_ways


def answers(data):
    """(code, why, SSH's first bytes) of what an agent or a door says."""
    reply = Reply()
    for at in range(0, len(data), 5):
        reply.feed(data[at : at + 5])
    return reply.code, reply.why


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (sshline.WAIT + sshline.OK, "ok"),
        (sshline.WAIT + sshline.refusal("no library"), "no"),
        (rendezvous.refusal("none"), "none"),
        (b"SSH-2.0-OpenSSH\r\n", "garbled"),
        (b"x" * 2000, "garbled"),
        (sshline.WAIT, ""),
    ],
)
def test_the_answer_is_understood_however_it_is_cut(data, code):
    def new():
        reply = Reply()

        def feed(piece):
            reply.feed(piece)
            return [reply.code] if reply.code else []

        return feed

    feed_all_ways(new, data, joined=lambda codes: codes[-1] if codes else "")
    assert answers(data)[0] == code


def test_ssh_s_first_bytes_come_after_the_word_and_only_then():
    reply = Reply()
    assert not reply.feed(sshline.WAIT)
    assert reply.feed(sshline.OK + b"SSH-2.0-x\r\n")
    assert reply.rest == b"SSH-2.0-x\r\n"
    refused = Reply()
    assert refused.feed(sshline.refusal("a\nb\x00") + b"rest")
    assert (refused.rest, refused.why.split()) == (b"", ["a", "b\x00"])


def test_a_hello_is_one_line_with_a_name_and_nothing_else():
    assert sshline.parse_hello(sshline.hello("ab" * 16)) == "ab" * 16
    for data in (b"", b"GSHELL-SSH/1 ", b"GSHELL-SSH/1 a", b"GSHELL-SSH/1 a b\n", b"\x16\x03\x01",
                 sshline.hello("ab") + b"SSH-", b"GSHELL-SSH/1 " + b"a" * 200 + b"\n"):  # fmt: skip
        assert sshline.parse_hello(data) == ""
