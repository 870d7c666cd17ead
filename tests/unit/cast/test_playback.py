import pytest

pytest.importorskip("gshell.cast.screen")

from gshell.cast.format import Cast, Event, Header
from gshell.cast.playback import Pictures, Player, index_at, lines_of


def cast(*events, **more):
    return Cast(Header(20, 4, **more), [Event(*event) for event in events])


def shown(screen):
    return "|".join(screen.text()).rstrip("|")


WORDS = cast(
    (0.0, "o", "one\r\n"), (1.0, "o", "two\r\n"), (2.0, "m", ""), (10.0, "o", "three"),
    (11.0, "x", "0"),
)  # fmt: skip


def started(what=WORDS, **more):
    player = Player(what, **more)
    player.start(100.0)
    return player


def test_each_is_shown_when_its_time_has_come():
    player = started()
    assert player.play(100.0) == "one\r\n"
    assert player.due(100.0) == pytest.approx(1.0)
    assert player.play(100.99) == ""
    assert player.play(101.0) == "two\r\n"
    assert player.play(112.0) == "three"
    assert player.ended


def test_a_late_look_does_not_shift_what_follows():
    player = started()
    player.play(101.7)
    assert player.due(101.7) == pytest.approx(0.3)


def test_twice_as_fast():
    player = started(speed=2.0)
    player.play(100.0)
    assert player.due(100.0) == pytest.approx(0.5)
    assert player.play(105.0) == "two\r\nthree"


def test_no_pause_is_longer_than_the_limit():
    player = started(idle_s=0.5)
    assert player.duration_s == pytest.approx(2.0)
    assert started(cast(*WORDS.events, idle_time_limit=0.5)).duration_s == pytest.approx(2.0)
    assert player.play(101.5) == "one\r\ntwo\r\nthree"


def test_nothing_comes_while_it_pauses_and_then_what_comes_next():
    player = started()
    player.play(100.5)
    player.pause(100.5)
    assert player.due(100.5) is None
    assert player.play(200.0) == ""
    player.pause(200.0)
    assert player.due(200.0) == pytest.approx(0.5)


def test_a_step_shows_the_next_output():
    player = started()
    player.play(100.0)
    assert player.step(100.1) == "two\r\n"
    assert player.step(100.2) == "three"
    assert player.step(100.3) == ""
    assert player.paused


def test_it_pauses_at_a_marker_if_it_shall():
    player = started(stops=True)
    assert player.play(120.0) == "one\r\ntwo\r\n"
    assert player.paused
    player.pause(120.0)
    assert player.due(120.0) == pytest.approx(8.0)


def test_seeking_shows_the_screen_there_and_goes_on_from_it():
    player = started()
    assert shown(player.seek(1.5, 100.0)) == "one|two"
    assert player.due(100.0) == pytest.approx(0.5)
    assert shown(player.seek(-5, 100.0)) == "one"
    assert player.play(101.0) == "two\r\n"
    assert shown(player.seek(99, 100.0)) == "one|two|three"
    assert player.paused


def test_markers_are_found_both_ways():
    player = started()
    assert player.marker(True, 100.0) == 2.0
    player.seek(9.0, 100.0)
    assert player.marker(True, 100.0) is None
    assert player.marker(False, 100.0) == 2.0


def test_words_are_found_across_events_and_colours_and_from_the_start_again():
    player = started(
        cast((0.0, "o", "alpha be"), (1.0, "o", "\x1b[1mta\x1b[m"), (5.0, "o", "gamma"))
    )
    assert player.find("beta", 100.0) == 1.0
    player.seek(4.0, 100.0)
    assert player.find("alpha", 100.0) == 0.0
    assert player.find("omega", 100.0) is None


def test_every_picture_is_that_of_playing_from_the_start():
    events = [(n / 10, "o", f"\x1b[{n % 7 + 30}m{n} " + "x" * (n % 31)) for n in range(300)]
    events.insert(150, (15.0, "r", "30x6"))
    events.insert(200, (20.0, "o", "\x1b[2J\x1b[H"))
    whole = cast(*events)
    from gshell.cast import playback as module
    from gshell.cast.screen import Screen

    module.KEY_CHARS, before = 200, module.KEY_CHARS
    try:
        pictures = Pictures(whole)
        pictures.at(len(events))
        for index in (0, 7, 151, 152, 199, 260, 301, 302):
            plain = Screen(20, 4)
            for event in whole.events[:index]:
                if event.code == "r":
                    plain.resize(30, 6)
                else:
                    plain.feed(event.data)
            assert pictures.at(index).shown() == plain.shown()
    finally:
        module.KEY_CHARS = before


def test_lines_are_what_they_were_last():
    found = lines_of(
        cast((0.0, "o", "10%\r50%\r"), (1.0, "o", "100%\r\n\x1b[1mdone"), (2.0, "e", "!\r\n"))
    )
    assert found == [(0.0, "100%"), (1.0, "done!")]


def test_events_until_then():
    assert [index_at(WORDS, at) for at in (-1, 0, 1.5, 99)] == [0, 1, 2, 5]
