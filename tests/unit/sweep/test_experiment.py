"""An experiment's file: which points it has, and what is said of one that makes no sense."""

import pytest

from gshell.errors import UsageError
from gshell.sweep import definition
from gshell.sweep.experiment import fill

RUN = "\n[run]\ncommand = 'true'\n"


@pytest.fixture
def load(tmp_path):
    def read(text):
        file = tmp_path / "x.toml"
        file.write_text(text)
        return definition.load(file)

    return read


def points(load, text, run=RUN):
    return [tuple(point.values()) for point in load(text + run).points]


def test_factors_are_crossed_the_last_one_fastest(load):
    text = "[factors]\nsize = ['S', 'W']\nranks = [1, 2]\nbtl = 'tcp'"
    assert points(load, text) == [
        ("S", 1, "tcp"), ("S", 2, "tcp"), ("W", 1, "tcp"), ("W", 2, "tcp"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("{ from = 1, to = 4 }", [1, 2, 3, 4]),
        ("{ from = 4, to = 64, times = 2 }", [4, 8, 16, 32, 64]),
        ("{ from = 0, to = 1, step = 0.25 }", [0, 0.25, 0.5, 0.75, 1]),
        ("{ from = 0.1, to = 0.3, step = 0.1 }", [0.1, 0.2, pytest.approx(0.3)]),
        ("{ from = -2, to = -1 }", [-2, -1]),
        ("{ from = 1, to = 100, count = 3 }", [1, 10, 100]),
    ],
)
def test_ranges_end_where_they_say(load, text, levels):
    assert [point["n"] for point in load(f"[factors]\nn = {text}" + RUN).points] == levels


def test_sub_spaces_have_factors_of_their_own(load):
    text = "[factors.btl.tcp]\neager = [1, 2]\n[factors.btl.vader]\n[factors.nodes.2]"
    assert load(text + RUN).points == [
        {"btl": "tcp", "eager": 1, "nodes": 2}, {"btl": "tcp", "eager": 2, "nodes": 2},
        {"btl": "vader", "nodes": 2},
    ]  # fmt: skip


def test_what_goes_together_is_not_crossed(load):
    text = "[factors]\nn = [1, 2]\n[[zip]]\ncluster = ['a', 'b']\ncores = [4, 8]"
    assert points(load, text) == [("a", 4, 1), ("a", 4, 2), ("b", 8, 1), ("b", 8, 2)]


def test_when_leaves_points_out_and_is_not_about_those_without_the_factor(load):
    head = "when = ['n % 2 == 0 or n == 3', '1 < n <= 6', 'eager > 1']\n"
    text = head + "[factors]\nn = {from = 1, to = 8}\n[factors.btl.tcp]\neager = [1, 2]\n"
    text += "[factors.btl.sm]\n"
    assert points(load, text) == [
        (n, *more) for n in (2, 3, 4, 6) for more in (("tcp", 2), ("sm",))
    ]


def test_repetitions_come_after_all_points_were_run_once(load):
    one = load("repetitions = 2\n[factors]\nn = [1, 2]" + RUN)
    assert [tuple(point.values()) for point in one.points] == [(1, 1), (2, 1), (1, 2), (2, 2)]
    assert list(one.points[0]) == ["n", "repetition"]
    assert one.factors == {"n": [1, 2], "repetition": [1, 2]}


def test_a_random_order_is_the_same_each_time(load):
    text = "order = 'random'\nseed = 4\nrepetitions = 2\n[factors]\nn = {from = 1, to = 20}"
    order = points(load, text)
    assert order == points(load, text) != points(load, text.replace("4", "5"))
    assert sorted(n for n, _ in order[:20]) == list(range(1, 21))


def test_derived_names_are_computed_and_slots_too(load):
    text = "[factors]\nn = [1, 6]\n[derived]\nnodes = '(n + 3) // 4'\nwide = 'nodes > 1'\n"
    one = load(text + "[run]\ncommand = '-N {nodes}'\nslots = 'min(n, 4)'")
    assert [one.slots_of(point) for point in one.points] == [1, 4]
    names = one.names(one.points[1], {})
    assert (names["nodes"], names["wide"]) == (2, True)
    assert fill(one.command, names) == "-N 2"


def test_names_are_filled_in_and_a_shells_stay():
    text = "{n} {{n}} ${n} ${HOME} awk '{print $1}' {n}{n}"
    assert fill(text, {"n": 3}) == "3 {n} ${n} ${HOME} awk '{print $1}' 33"
    assert fill("{yes} {no} {none}", {"yes": True, "no": False, "none": None}) == "true false "


def test_hosts_have_users_ports_and_slots(load):
    text = """[factors]\nn = 1\n[where]\nslots = 2\nuser = "eve"
        hosts = ["n1", "bob@n2:2222", { address = "n3", slots = 8 }, "[::1]:22"]"""
    where = load(text + RUN).where
    assert where.kind == "ssh"
    assert [(one.user, one.address, one.port, one.slots) for one in where.hosts] == [
        ("eve", "n1", None, 2), ("bob", "n2", 2222, 2), ("eve", "n3", None, 8),
        ("eve", "::1", 22, 2),
    ]  # fmt: skip


N = "[factors]\nn = [1]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("factors = 3\n" + RUN, "x.toml:1: factors: it should be a table"),
        ("[factors\n", "x.toml:1: Expected ']' at the end of a table declaration"),
        (N + "[rum]\n", "x.toml:3: rum: there is no such key; did you mean 'run'?"),
        (N + "[run]\ncomand = 'x'", "x.toml:4: run.comand: there is no such key; did you mean "
         "'command'?"),
        (N + "[run]\ntimeout = 3", "x.toml:3: run: run.command is missing: what is to be run?"),
        (N + "[run]\n\ncommand = 3", "x.toml:5: run.command: it should be text in quotes"),
        (N + "[run]\ncommand = '{m}'", "x.toml:4: run.command: there is no 'm'"),
        ("[factors]\nranks = 1\n[run]\ncommand = '{rank}'",
         "x.toml:4: run.command: there is no 'rank'; did you mean 'ranks'?"),
        (N + "[run]\ncommand = 'x'\ntimeout = 'soon'",
         "x.toml:5: run.timeout: 'soon' is no duration: seconds, or 'h:m:s'"),
        (N + "[run]\ncommand = 'x'\nattempts = true",
         "x.toml:5: run.attempts: it should be a whole number"),
        (N + "[run]\ncommand = 'x'\nslots = 'm'", "x.toml:5: run.slots: there is no 'm'"),
        ("[factors]\nn = []" + RUN,
         "x.toml:2: factors.n: it has no levels: nothing would be left of the whole sweep"),
        ("[factors]\n'a b' = 1" + RUN,
         "x.toml:2: factors.a b: a factor's name is a word: letters, digits and _"),
        ("[factors]\nhost = 1" + RUN,
         "x.toml:2: factors.host: 'host' means something else already: another name, please"),
        ("[factors]\nn = {from = 1, to = 9, times = 1}" + RUN,
         "x.toml:2: factors.n: it would never come to its end"),
        ("[factors]\nn = {from = 1, till = 9}" + RUN,
         "x.toml:2: factors.n.till: there is no such key"),
        ("[factors]\nn = {from = 1, to = 3000000}" + RUN,
         "x.toml:2: factors.n: more than 2000000 levels"),
        (RUN, "x.toml: factors: nothing is varied: [factors] has no factor"),
        ("when = 'n > 1'\n" + N + RUN, "x.toml:1: when: no point is left: it is true for none of "
         "them"),
        ("when = 'n >'\n" + N + RUN, "x.toml:1: when: 'n >' is no expression"),
        ("when = 'nn > 1'\n" + N + RUN, "x.toml:1: when: there is no 'nn'; did you mean 'n'?"),
        ("[[zip]]\na = [1, 2]\nb = [1]" + RUN, "x.toml:1: zip: factors that go together have as "
         "many levels each: a has 2, b has 1"),
        (N + RUN + "[where]\nkind = 'oarr'", "x.toml:7: where.kind: 'oarr' is not one of here, ssh,"
         " agent, oar, slurm, sge; did you mean 'oar'?"),
        (N + RUN + "[where]\nhosts = ['a b']",
         "x.toml:7: where.hosts: 'a b' is no host: \"user@address:port\""),
        (N + RUN + "[results.capture]\nx = 'a('",
         "x.toml:7: results.capture.x: 'a(': missing ), unterminated subpattern at position 1"),
        (N + RUN + "[results.capture]\nx = 'a'", "x.toml:7: results.capture.x: it should have one "
         "group: what is in ( ) is the result"),
        (N + RUN + "[results]\nbest = 'max speed'", "x.toml:7: results.best: 'max speed' is not min "
         "or max and the name of a result"),
        (N + RUN + "[results]\nverify = 'verifed'",
         "x.toml:7: results.verify: there is no 'verifed'; did you mean 'verified'?"),
        (N + RUN + "[prepare.p]\ncommand = 'x'\neach = ['m']",
         "x.toml:8: prepare.p.each: there is no 'm'"),
        (N + RUN + "[prepare.p]\ncommand = 'x'\ninputs = ['{m}']",
         "x.toml:8: prepare.p.inputs: there is no 'm'"),
        (N + RUN + "[prepare.'../p']\ncommand = 'x'",
         "x.toml:6: prepare.../p: a step's name is a word: files are called after it"),
        (N + RUN + "x = 'abc\n", "x.toml:6: "),
        (N + "\n\nx = [1,\n\n\n", "x.toml:5: Invalid value: it is missing at the end, or a quote or "
         "bracket before it is not closed"),
        ("[factors]\nn = " + "[" * 3000, "x.toml: too deeply nested"),
        ("[factors]\nn = " + "9" * 5000, "x.toml: Exceeds the limit (4300 digits)"),
        ("[factors]\nn = [2020-01-01]" + RUN,
         "x.toml:2: factors.n: a level is text, a number, or true or false"),
        ("[factors]\nn = [1.5, nan]" + RUN,
         "x.toml:2: factors.n: nan is no level that a point can be known by"),
        ("[factors]\nn = {from = 1, to = inf, times = 2}" + RUN,
         "x.toml:2: factors.n.to: inf is no number to count with"),
        ("[factors]\nn = {from = 9, to = 1}" + RUN,
         "x.toml:2: factors.n: no level is from 9 to 1: from below, upwards"),
        ("[factors.k.x]\na = {from = 1, to = 2000}\nb = {from = 1, to = 2000}" + RUN,
         "x.toml:1: factors: 4000000 points are more than 2000000"),
        ("repetitions = 2000001\n" + N + RUN,
         "x.toml:1: repetitions: 2000001 points are more than 2000000"),
        ("[[zip]]\na = [1]\n[[zip]]\nb = [1]\nc = [1, 2]" + RUN, "x.toml:3: zip: factors that go "
         "together have as many levels each: b has 1, c has 2"),
        (N + "[[zip]]\nm = [1]\nn = [2]" + RUN,
         "x.toml:5: zip.n: 'n' is a factor already: either, not both"),
        ("when = 'n > \"a\"'\n" + N + RUN, "x.toml:1: when: 'n > \"a\"': '>' not supported between "
         "instances of 'int' and 'str', for n = 1"),
        ("when = 'len(range(10**12)) > n'\n" + N + RUN,
         "x.toml:1: when: 'len(range(10**12)) > n': more than 1000000 elements, for n = 1"),
        (N + "[derived]\nm = '1 / (n - 1)'" + RUN,
         "x.toml:4: derived.m: '1 / (n - 1)': division by zero, for n = 1"),
        (N + "[derived]\nn = '1'" + RUN,
         "x.toml:4: derived.n: 'n' is a factor already: another name, please"),
        (N + "[run]\ncommand = ' '", "x.toml:3: run: run.command is missing: what is to be run?"),
        (N + "[run]\ncommand = 'x'\nslots = 'n - 1'",
         "x.toml:5: run.slots: it is 0 for n = 1: it should be 1 at least"),
        (N + "[run]\ncommand = 'x'\ntimeout = 0", "x.toml:5: run.timeout: 0: it should be above 0"),
        (N + '[run]\ncommand = "x\\u0000"',
         "x.toml:4: run.command: a text has a NUL in it, which no command can be given"),
        (N + "[run]\ncommand = 'x'\nenvironment = {'A=B' = 'x'}", "x.toml:5: run.environment.A=B: a "
         "variable's name is a word: letters, digits and _"),
        (N + "[run]\ncommand = 'x'\nenvironment = {A = '{m}'}",
         "x.toml:5: run.environment.A: there is no 'm'"),
        ("directory = '{m}'\n" + N + RUN, "x.toml:1: directory: there is no 'm'"),
        (N + RUN + "[where]\nkind = 'ssh'\nhosts = []",
         "x.toml:6: where: hosts go with kind = 'ssh', and that needs them"),
        (N + RUN + "[where]\nhosts = [{address = '-oProxyCommand=x'}]",
         "x.toml:7: where.hosts: '-oProxyCommand=x' is no host's address"),
        (N + RUN + "[where]\nhosts = ['a:70000']", "x.toml:7: where.hosts: 70000 is no port"),
        (N + RUN + "[where]\nsite = 'lyon'", "x.toml:7: where.site: it goes with kind = 'oar' or "
         "'slurm' or 'sge', not 'here'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_file_line_and_key(load, text, message):
    with pytest.raises(UsageError) as caught:
        load(text)
    assert caught.value.message.partition("x.toml")[2].startswith(message.partition("x.toml")[2])
    assert caught.value.hint


def test_a_file_from_windows_is_read(load):
    assert len(load("\ufeff" + (N + RUN).replace("\n", "\r\n")).points) == 1


def test_a_factor_that_a_point_does_not_have_is_none_and_empty_in_commands(load):
    one = load(
        "[factors.btl.tcp]\neager = [1024]\n[factors.btl.vader]\n"
        '[derived]\noption = \'"-e %d" % eager if eager else ""\'\n'
        "[run]\ncommand = '{btl} [{eager}] [{option}]'"
    )
    assert [fill(one.command, one.names(point, {})) for point in one.points] == [
        "tcp [1024] [-e 1024]", "vader [] []",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["__import__('os')", "n.__class__", "open('x')", "lambda: 1"])
def test_no_expression_is_ever_run_as_a_program(load, text):
    with pytest.raises(UsageError):
        load(f'when = "{text}"\n' + N + RUN)


def test_the_example_is_read():
    from pathlib import Path

    file = Path(__file__).parents[3] / "examples" / "lu_experiment" / "lu.toml"
    one = definition.load(file)
    assert len(one.points) == 18
    assert one.steps[0].each == ("size", "ranks")


def test_a_factor_that_python_has_another_word_for_is_named(load):
    with pytest.raises(UsageError, match="is no expression") as refused:
        load("when = \"class != 'B'\"\n[factors]\nclass = ['A', 'B']" + RUN)
    assert refused.value.hint.startswith("'class' means something else in expressions")


@pytest.mark.parametrize(
    ("text", "hint"),
    [("when = 'n > 1 && n < 3'\n", "as in Python:  n > 1 and"), ('name = "\\d"\n', "between ' '")],
)
def test_what_is_meant_in_another_language_is_said_in_ours(load, text, hint):
    with pytest.raises(UsageError) as refused:
        load(text + "[factors]\nn = [1, 2]" + RUN)
    assert refused.value.hint.startswith(hint)
