import pytest

from gshell.cast.playsafe import PlaySafe


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (b"\x1b[?1000h\x1b[?1006;25h\x1b[>1uq", b"\x1b[?25hq"),
        (b"\x1b[?1049h\x1b[?2004h", b"\x1b[?1049h"),
        (b"\x1b[?10\x0100h\x1b\x01[?1000h", b""),
        (b"\x1b[>4;2m\x1b[=5;1u\x1b[<u\x1b=", b""),
        (b"\x1b]0;title\x07a\x1b]2;t\x1b\\b\x1bkname\x1b\\c", b"abname\x1b\\c"),
        (b"\x1b]8;;http://x\x07link\x1b]8;;\x07", b"\x1b]8;;http://x\x07link\x1b]8;;\x07"),
        (b"\x1b[8;50;100t\x1b[22;0t", b""),
        (b"\x1b]52;c;aGFoYQ==\x07\x1b[6n\x1b[c\x05", b""),
        (b"\x1b[1;31m\x1b[?7l plain \xc3\xa9", b"\x1b[1;31m\x1b[?7l plain \xc3\xa9"),
        (b"\x1b]133;A\x07$ ", b"\x1b]133;A\x07$ "),
    ],
)
@pytest.mark.parametrize("step", [1, 2, 1000])
def test_what_is_the_players_is_not_shown(data, kept, step):
    safe = PlaySafe()
    found = b"".join(safe.feed(data[at : at + step]) for at in range(0, len(data), step))
    assert found == kept
