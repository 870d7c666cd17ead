import pytest

from gshell.cli.play import clock_text, keys_alone


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (b"\x1b[?1000h\x1b[?1006;25h\x1b[>1uq", b"\x1b[?25hq"),
        (b"\x1b[?1049h\x1b[?2004h", b"\x1b[?1049h"),
        (b"\x1b[>4;2m\x1b[=5;1u\x1b[<u", b""),
        (b"\x1b[1;31m\x1b[?7l plain", b"\x1b[1;31m\x1b[?7l plain"),
    ],
)
def test_keys_and_mouse_send_what_they_always_do(data, kept):
    assert keys_alone(data) == kept


def test_times_as_people_read_them():
    assert [clock_text(t) for t in (0.4, 65, 3725.4)] == ["0:00", "1:05", "1:02:05"]
