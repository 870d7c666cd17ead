"""``{{...}}`` in commands: what is filled in, what stays, what nobody ever evaluates."""

import pytest

from gshell.errors import UsageError
from gshell.sweep.log import logger
from gshell.sweep.substitution import caller_names, substitute

sites = ["lyon", "nancy"]


def fill(text, index=0, **names):
    look = {**globals(), **names}.__getitem__

    def by_name(name):
        try:
            return look(name)
        except KeyError:
            raise NameError(name) from None

    return substitute(text, "node-1", index, by_name, {})


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("rsync x {{sites}}:y", "rsync x nancy:y"),
        ("on {{{host}}}", "on node-1"),
        ("{{[s.upper() for s in sites]}}", "NANCY"),
        ("{{[s.split('n')[0] for s in sites]}}", ""),
        ("{{[str(n).zfill(3) for n in range(4)]}}", "001"),
        ("{{['{}-{:02}'.format(s, 7) for s in sites]}}", "nancy-07"),
        ("{{[f'{n:03d}' for n in range(4)]}}", "001"),
        ("{{map(str, range(3))}}", "1"),
        ("{{[s for s in sites if s.startswith('n')]}}", "nancy"),
        ("{{[{'lyon': 1, 'nancy': 2}[s] for s in sites]}}", "2"),
        ("{{ ','.join(sites).split(',') }}", "nancy"),
        ("{{dict(zip(sites, sites)).values()}}", "nancy"),
        ("{{[s + '-fe' for s in sites]}}", "nancy-fe"),
        ("{{range(10, 20)}}", "11"),
        ("{{sites[::-1]}}", "lyon"),
        ("{{[n for n in range(9) if n % 2 == 1]}}", "3"),
        ("docker ps --format '{{.Names}}'", "docker ps --format '{{.Names}}'"),
        ("awk '{{print $1}}'", "awk '{{print $1}}'"),
        ("{{{{sites}}}}", "{{sites}}"),
        ("{ {x} }", "{ {x} }"),
    ],
)
def test_what_is_filled_in_and_what_stays(text, filled):
    assert fill(text, 1) == filled


def test_a_short_sequence_begins_again():
    assert [fill("{{sites}}", n) for n in range(3)] == ["lyon", "nancy", "lyon"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{nosuch}}", "nobody has the name 'nosuch'"),
        ("{{7}}", "no sequence"),
        ("{{[]}}", "empty"),
        ("{{'ab'}}", "no sequence"),
        ("{{[1] * 9999999}}", "more than"),
    ],
)
def test_a_wrong_one_is_told(text, why):
    with pytest.raises(UsageError, match=why):
        fill(text)


@pytest.mark.parametrize(
    "text",
    [
        "{{__import__('os').system('x')}}", "{{().__class__}}", "{{(lambda: 1)()}}",
        "{{open('/x')}}", "{{sites.append('x')}}", "{{sites.sort(key=print)}}",
        "{{sorted(sites, key=len)}}", "{{mine.upper()}}", "{{mine()}}", "{{map(mine, sites)}}",
    ],
)  # fmt: skip
def test_no_text_is_ever_run_as_a_program(text, monkeypatch):
    class Mine(str):
        def upper(self):
            raise AssertionError("called")

        __call__ = upper

    told = []
    monkeypatch.setattr(logger, "warning", lambda words, *more: told.append(words % more))
    assert fill(text, mine=Mine("m")) == text
    assert "stays as it is" in told[0]


@pytest.mark.parametrize(
    "text",
    [
        "{{'{0.__class__}'.format(1)}}", "{{'{a[0]}'.format(1)}}", "{{['x'.zfill(9999999)]}}",
        "{{['{:9999999}'.format(1)]}}", "{{'aaa'.replace('a', 'b' * 900000)}}",
        "{{[f'{1:9999999}']}}",
    ],
)  # fmt: skip
def test_what_looks_into_values_or_makes_much_of_little_is_refused(text):
    with pytest.raises(UsageError):
        fill(text)


def test_wrong_ones_are_what_python_would_say_too():
    with pytest.raises(NameError):
        fill("{{nosuch}}")
    with pytest.raises(ValueError, match="no sequence"):
        fill("{{7}}")


def test_names_of_who_called_the_helper_count_too():
    mine = ["a", "b"]
    assert _helper() == "a"
    assert mine


def _helper():
    return substitute("{{mine}}", "h", 0, caller_names(), {})
