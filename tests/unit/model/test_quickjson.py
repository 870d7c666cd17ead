import json

import pytest

from gshell.model import quickjson

VALUES = [
    {},
    {"a": [1, -2.5, 1e300, None, True, {"": ""}], 'é\n"\\\x00😀': "\ud800"},
    {"deep": [[[[[[]]]]]], "big": 1 << 80},
    {"odd": [float("inf"), float("-inf")]},
]
WRONG = [
    "",
    " ",
    "{",
    "{}{}",
    "{} x",
    "nul",
    "[1,]",
    "{'a':1}",
    '{"a":1,}',
    '"\n"',
    "\ufeff{}",
    "01",
]


@pytest.mark.parametrize("value", VALUES)
def test_what_it_writes_is_what_the_json_module_writes(value):
    assert quickjson.dumps(value) == json.dumps(value, separators=(",", ":"))


@pytest.mark.parametrize(
    "value",
    [*VALUES, [], (), [[], [{}], ({"a": ()}, 1)], {1: 2, None: 0, 0: {2.5: [{}]}}, "é", 7],
)
def test_what_it_writes_prettily_is_what_the_json_module_writes_with_an_indent(value):
    assert quickjson.pretty(value) == json.dumps(value, indent=1)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("form", [{}, {"indent": 2}, {"ensure_ascii": False}])
def test_what_the_json_module_writes_it_reads(value, form):
    assert quickjson.loads(f" \t\r\n{json.dumps(value, **form)}\n ") == value


@pytest.mark.parametrize("text", WRONG)
def test_what_the_json_module_refuses_it_refuses(text):
    for loads in (json.loads, quickjson.loads):
        with pytest.raises(ValueError):
            loads(text)


def test_nesting_without_end_is_refused():
    for loads in (json.loads, quickjson.loads):
        with pytest.raises(RecursionError):
            loads("[" * 200_000)
    with pytest.raises(RecursionError):
        quickjson.dumps(_around())


def _around():
    value = {}
    value["self"] = value
    return value


def test_what_is_not_json_is_not_written():
    with pytest.raises(TypeError, match="set is not JSON"):
        quickjson.dumps({"a": {1}})
