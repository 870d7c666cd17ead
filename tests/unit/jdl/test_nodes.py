"""Parametric jobs, collections and DAGs."""

import pytest

from gshell.jdl.errors import JdlError
from gshell.jdl.job import Options, read

FILES = {"one.jdl": 'Executable = "one"; Arguments = "a";', "bad.jdl": "Executable = 1;"}


def load(name):
    if name not in FILES:
        raise FileNotFoundError(2, "No such file or directory")
    return FILES[name]


def nodes(text, dirac=False):
    return read(text, "f", Options(dirac=dirac, load=load)).nodes


def arguments(found):
    return [" ".join(word.text for word in node.job.arguments) for node in found]


PARAMETRIC = 'JobType = "Parametric"; Executable = "x"; Arguments = "_PARAM_"; '


@pytest.mark.parametrize(
    ("parameters", "values"),
    [
        ("Parameters = 7; ParameterStart = 1; ParameterStep = 2;", ["1", "3", "5"]),
        ("Parameters = 3;", ["0", "1", "2"]),
        ("Parameters = 0; ParameterStart = 4; ParameterStep = -2;", ["4", "2"]),
        ('Parameters = {test, 2, "a"};', ["test", "2", "a"]),
    ],
)
def test_a_parameter_s_values(parameters, values):
    assert arguments(nodes(PARAMETRIC + parameters)) == values


def test_in_dirac_s_dialect_the_parameters_are_a_count():
    text = 'Executable = "x"; Arguments = "%s %n"; Parameters = 11; ParameterStart = 1; ParameterStep = 2;'
    found = arguments(nodes(text, dirac=True))
    assert (len(found), found[0], found[10]) == (11, "1 00", "21 10")


def test_the_parameter_is_filled_in_everywhere():
    text = ('Parameters = {2, 3}; Executable = "x_PARAM_"; Environment = {"V_PARAM_=_PARAM_"};'
            'StdOutput = "o._PARAM_"; CpuNumber = _PARAM_; Requirements = other.a == _PARAM_;')  # fmt: skip
    job = nodes(text)[1].job
    assert job.executable.text == "x3"
    assert job.stdout == "o.3"
    assert dict(job.environment) == {"V3": "3"}
    assert (job.geometry.cpus, job.requirements) == (3, "other.a == 3")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (PARAMETRIC, "f:1:1: a Parametric job without Parameters"),
        (PARAMETRIC + "Parameters = {};", "Parameters is empty: no job at all"),
        (PARAMETRIC + "Parameters = 5; ParameterStep = 0;", "ParameterStep = 0: that never ends"),
        (PARAMETRIC + "Parameters = 1; ParameterStart = 5;", "Parameters = 1 from 5 in steps of 1 makes "
         "0 jobs (it is the end, not the count; --dirac: the count)"),
        (PARAMETRIC + "Parameters = 1000000;", "makes 1000000 jobs"),
        ('Type = "Collection";', "f:1:1: Nodes is missing"),
        ('Type = "Collection"; Nodes = {};', "f:1:30: Nodes is empty: no job at all"),
        ('Type = "Collection"; Nodes = 3;', "f:1:30: Nodes must be a list"),
        ('Type = "Collection"; Nodes = {3};', "f:1:31: node Node0 must be an ad [ ... ], not 3"),
        ('Type = "Collection"; Nodes = {[File = "no.jdl"]};', "f:1:39: cannot read no.jdl: No such file"),
        ('Type = "Collection"; Nodes = {[File = "bad.jdl"]};', "bad.jdl:1:14: Executable must be a string"),
        ('Type = "Collection"; Nodes = {[StdOutput = 1]};', "f:1:31: Executable is missing"),
        ('Type = "Collection"; Nodes = {[Type = "DAG"; Nodes = {}]};', "node Node0 is a DAG itself"),
        ('Type = "DAG"; Nodes = [a = [Executable = "x"]]; Dependencies = {{a, b}};',
         "f:1:69: there is no node b: a"),
        ('Type = "DAG"; Nodes = [a = [Executable = "x"]]; Dependencies = {{a}};',
         "expected a pair {a, b} but found {a}"),
        ('Type = "DAG"; Nodes = [a=[Executable="x"]; b=[Executable="x"]; c=[Executable="x"]];'
         "Dependencies = {{a, b}, {b, c}, {c, a}};",
         "f:1:99: Dependencies go round in a circle: a -> b -> c -> a"),
        ('Type = "DAG"; Nodes = [a = [Executable = "x"]]; Dependencies = {{a, a}};', "circle: a -> a"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_several_jobs_is_said(text, error):
    with pytest.raises(JdlError) as caught:
        nodes(text)
    assert error in caught.value.message


def test_nodes_inherit_and_may_say_otherwise():
    found = nodes('[Type = "Collection"; InputSandbox = {"a", "b"}; RetryCount = 2; Nodes = {'
                  '[Executable = "x"], [NodeName = "n"; Executable = "y"; RetryCount = 0;'
                  'InputSandbox = {root.InputSandbox[1], "c"}], [File = "one.jdl"; StdOutput = "o"]}]')  # fmt: skip
    assert [node.name for node in found] == ["Node0", "n", "Node2"]
    assert [node.job.retry for node in found] == [2, 0, 2]
    assert [node.job.inputs for node in found] == [("a", "b"), ("b", "c"), ("a", "b")]
    assert (found[2].job.executable.text, found[2].job.stdout) == ("one", "o")


def test_a_list_in_a_list_is_part_of_it():
    found = nodes('Type="Collection"; InputSandbox={"a","b"}; Nodes={[Executable="x";'
                  'InputSandbox={root.InputSandbox, "c"}]};')  # fmt: skip
    assert found[0].job.inputs == ("a", "b", "c")


@pytest.mark.parametrize(
    ("dependencies", "after"),
    [
        ("{a, b}", {"b": ("a",)}),
        ("{{a, b}}", {"b": ("a",)}),
        ('{{"a", "B"}, {b, c}}', {"b": ("a",), "c": ("b",)}),
        ("{{a, b}, c}", {"c": ("a", "b")}),
        ("{{{a, b}, c}}", {"c": ("a", "b")}),
        ("{{a, {b, c}}}", {"b": ("a",), "c": ("a",)}),
        ("{{a, {b, c}}, {{b, c}, d}}", {"b": ("a",), "c": ("a",), "d": ("b", "c")}),
        ("{}", {}),
    ],
)
@pytest.mark.parametrize("inside", [True, False])
def test_dependencies_in_all_their_forms(dependencies, after, inside):
    dependencies = f"Dependencies = {dependencies};"
    four = "".join(f'{name} = [Executable = "x"];' for name in "abcd")
    text = f'Type = "DAG"; Nodes = [{four}{dependencies if inside else ""}];'
    found = nodes(text + ("" if inside else dependencies))
    assert {node.name: node.after for node in found if node.after} == after
