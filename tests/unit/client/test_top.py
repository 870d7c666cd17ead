"""`gshell top`: htop's keys, what is chosen, tagged, found; the picture around it."""

import pytest

from gshell.cli.keyboard import keys
from gshell.client.feed import Mirror
from gshell.client.render import display_width
from gshell.client.sparkline import EVERY_S, KEPT, History, sparkline
from gshell.client.topmenu import SIGNALS, SORTS
from gshell.client.topview import View
from kit import hostile

NOW = 1_800_000_000.0


def job(id="1", **more):
    return {"id": id, "name": f"job-{id}", "user": "u", "state": "ACTIVE", "hosts": ["h1"],
            "tasks": 1, "argv0": "prog", "created_at": NOW - 60, "started_at": NOW - 50,
            "ended_at": None, **more}  # fmt: skip


def agent(id="n1", **more):
    return {"id": id, "host": "h1", "user": "u", "cpus": 2, "tags": [], "slots": 8, "free": 6,
            "state": "waiting", "since": NOW - 100, "version": "1", **more}  # fmt: skip


def many(count=3, **more):
    mirror = Mirror()
    jobs = [job(str(number), **more) for number in range(1, count + 1)]
    mirror.apply({"jobs": jobs, "agents": [agent()]}, NOW)
    return mirror


def press(view, mirror, *typed):
    action = ""
    for one in typed:
        action = view.key(one, [j["id"] for j in view.jobs(mirror, NOW)])
    return action


def frame(view, mirror, rows=30, columns=100, color=False):
    return view.frame(mirror, NOW, rows, columns, "1.0 ms", "relay:1", color)


@pytest.mark.parametrize("key", ["f10", "q", "\x03"])
def test_keys_that_leave(key):
    assert press(View(), many(), key) == "quit"


@pytest.mark.parametrize("key", ["f1", "h", "?"])
def test_help_says_every_key_and_goes_with_the_next_one(key):
    view, mirror = View(), many()
    press(view, mirror, key)
    page = "\n".join(frame(view, mirror, rows=40))
    for name in ("F1", "F3", "F4", "F5", "F6", "F9", "F10", "space", "PgUp"):
        assert name in page
    assert press(view, mirror, "q") == ""
    assert "job-1" in "\n".join(frame(view, mirror))


def test_the_order_is_chosen_from_a_menu():
    view, mirror = View(), many()
    press(view, mirror, "f6")
    assert "> id" in "\n".join(frame(view, mirror))
    press(view, mirror, "down", "down", "down", "\r")
    assert view.sort == SORTS[3]
    press(view, mirror, "f6", "up", "esc")
    assert view.sort == SORTS[3]


def test_a_signal_is_chosen_from_a_menu_and_goes_to_the_selected_job():
    view, mirror = View(), many()
    assert press(view, mirror, "f9") == ""
    assert "no job is selected" in view.note
    press(view, mirror, "down", "f9")
    page = "\n".join(frame(view, mirror))
    assert "send to job 1" in page
    assert all(words.split(":")[0] in page for _, words in SIGNALS)
    assert press(view, mirror, "9", "\r") == "signal"
    assert (view.targets, view.signal) == (["1"], 9)


def test_the_first_of_the_menu_ends_a_job_as_cancel_does():
    view, mirror = View(), many()
    assert press(view, mirror, "down", "f9", "\r") == "kill"
    assert view.asking == ["1"]


def test_escape_sends_nothing():
    view, mirror = View(), many()
    assert press(view, mirror, "down", "f9", "down", "esc") == ""
    assert view.menu is None


def test_space_tags_and_goes_down_and_signals_go_to_all_that_are_tagged():
    view, mirror = View(), many()
    press(view, mirror, "home", " ", " ")
    assert (view.tagged, view.selected) == ({"1", "2"}, "3")
    page = frame(view, mirror)
    assert sum(line.startswith(" *") for line in page) == 2
    assert "2 tagged" in page[1]
    press(view, mirror, "K")
    assert "end 2 jobs?" in frame(view, mirror)[-1]
    assert press(view, mirror, "y") == "kill"
    assert view.asking == ["1", "2"]


def test_u_untags_and_who_is_gone_is_tagged_no_more():
    view, mirror = View(), many()
    press(view, mirror, "home", " ", " ")
    mirror.apply({"m": "event", "kind": "gone", "what": "job", "id": "1"}, NOW)
    view.jobs(mirror, NOW)
    assert view.tagged == {"2"}
    press(view, mirror, "U")
    assert view.tagged == set()


def test_f3_finds_the_next_one_and_goes_round():
    view, mirror = View(), many(12)
    press(view, mirror, "f3", "b", "-", "1")
    assert view.selected == "1"
    press(view, mirror, "f3")
    assert view.selected == "10"
    press(view, mirror, "f3", "f3", "f3")
    assert view.selected == "1"
    press(view, mirror, "x")
    assert "no job has 'b-1x'" in frame(view, mirror)[-1]
    press(view, mirror, "\r")
    assert press(view, mirror, "q") == "quit"


@pytest.mark.parametrize("key", ["f4", "/", "\\"])
def test_f4_filters_and_escape_shows_all_again(key):
    view, mirror = View(), many(12)
    press(view, mirror, key, "1", "2", "\r")
    assert [j["id"] for j in view.jobs(mirror, NOW)] == ["12"]
    press(view, mirror, "esc")
    assert len(view.jobs(mirror, NOW)) == 12


def test_f5_shows_the_ranks_of_the_selected_job_instead_of_agents():
    view, mirror = View(), many()
    assert press(view, mirror, "down", "f5") == "ranks"
    assert any("asking what the ranks of job 1" in line for line in frame(view, mirror))
    view.ranks = [{"rank": 7, "state": "R", "host": "h9", "pid": 4711}]
    page = "\n".join(frame(view, mirror))
    assert "4711" in page
    assert "n1  " not in page
    assert press(view, mirror, "down") == "ranks"  # another job's
    assert view.ranks is None
    assert press(view, mirror, "f5") == "ranks"
    assert "4711" not in "\n".join(frame(view, mirror))


def test_bars_are_against_the_highest_and_nothing_is_blank():
    assert sparkline([0, 1, 4, 8], 5) == "  ▂▅█"
    assert sparkline([0, 0], 5) == ""
    assert len(sparkline(range(100), KEPT)) == KEPT


def test_a_bar_comes_each_five_seconds_and_old_ones_go():
    history = History()
    assert history.sample({"1": 1.0, "2": 5.0}, NOW)
    assert not history.sample({"1": 9.0}, NOW + EVERY_S - 0.1)
    for number in range(KEPT + 3):
        assert history.sample({"1": float(number)}, NOW + EVERY_S * (number + 1))
    assert list(history.of("1")) == [float(number) for number in range(3, KEPT + 3)]
    assert list(history.of("2")) == []
    assert history.sample({"1": 1.0}, NOW - 1000)  # a clock that was put back stops nothing


@pytest.mark.parametrize("rows", [1, 2, 5, 9, 16, 24, 50])
@pytest.mark.parametrize("columns", [1, 20, 40, 80, 200])
@pytest.mark.parametrize(
    "typed", [["f1"], ["f6"], ["down", "f9"], ["down", "f5"], ["e"], ["f3", "x"]]
)
def test_every_page_has_the_screen_s_size(rows, columns, typed):
    view, mirror = View(), many(30)
    press(view, mirror, *typed)
    lines = frame(view, mirror, rows, columns)
    assert len(lines) == rows
    if columns >= 20:
        assert max(map(display_width, lines)) <= columns


def test_names_from_elsewhere_obey_nothing_on_any_page():
    for text in hostile.strings(300):
        mirror = many(2, name=text, hosts=[text], user=text)
        mirror.apply({"m": "event", "kind": "agent", "agent": agent(text, host=text)}, NOW)
        view = View()
        for typed in (["down", " "], ["f5"], ["f9"], ["esc", "f3", *text[:20]]):
            press(view, mirror, *typed)
            view.ranks = [{"rank": 0, "host": text, "line": text, "state": text}]
            for line in frame(view, mirror, 24, 80):
                assert line.isprintable()
                assert display_width(line) <= 80


def test_function_keys_of_every_terminal_are_known():
    typed = b"\x1bOP\x1b[11~\x1b[[A\x1bOR\x1b[13~\x1b[15~\x1b[17~\x1b[20~\x1b[21~\x1bOH\x1b[7~ "
    assert keys(typed) == [
        "f1",
        "f1",
        "f1",
        "f3",
        "f3",
        "f5",
        "f6",
        "f9",
        "f10",
        "home",
        "home",
        " ",
    ]
