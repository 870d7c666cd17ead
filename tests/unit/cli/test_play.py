from gshell.cli.play import clock_text


def test_times_as_people_read_them():
    assert [clock_text(t) for t in (0.4, 65, 3725.4)] == ["0:00", "1:05", "1:02:05"]
