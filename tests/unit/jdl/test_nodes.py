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
        ("Parameters = {-2, 0.5};", ["-2", "0.5"]),
    ],
)
def test_a_parameter_s_values(parameters, values):
    assert arguments(nodes(PARAMETRIC + parameters)) == values


def test_in_dirac_s_dialect_the_parameters_are_a_count():
    text = 'Executable = "x"; Arguments = "%s %n"; Parameters = 11; ParameterStart = 1; ParameterStep = 2;'
    found = arguments(nodes(text, dirac=True))
    assert (len(found), found[0], found[10]) == (11, "1 00", "21 10")


def test_a_job_s_number_that_nobody_knows_yet_is_told():
    text = 'Executable = "x"; StdOutput = "o_%j";'
    found = read(text, "f", Options(dirac=True)).findings
    assert [one.shown("f") for one in found] == [
        "f:1:19: warning: %j stays as it is: use $GSHELL_JOB, or %n"
    ]
    assert read(text, "f").findings == ()


DIRAC = 'Executable = "x"; Arguments = "%s %(SEED)s %(FILE)s"; '


def test_in_dirac_s_dialect_a_factor_makes_a_progression():
    text = ('Executable = "x"; Arguments = "%s"; Parameters = 4; ParameterStart = 1; '
            "ParameterStep = 1; ParameterFactor = 2;")  # fmt: skip
    assert arguments(nodes(text, dirac=True)) == ["1", "3", "7", "15"]


def test_in_dirac_s_dialect_each_sequence_has_its_name():
    text = (
        DIRAC
        + 'Parameters = 2; ParameterStart.SEED = 5; ParameterStep.SEED = 10; Parameters.FILE = {"a", "b"};'
    )
    assert arguments(nodes(text, dirac=True)) == ["0 5 a", "0 15 b"]
    alone = 'Executable = "x"; Arguments = "%(F)s"; Parameters.F = {a, b, 3};'
    assert arguments(nodes(alone, dirac=True)) == ["a", "b", "3"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('Parameters = 2; Parameters.F = {"a"};', "f:1:32: Parameters.F has 1 values for 2 jobs"),
        ("Parameters = 0;", "f:1:14: Parameters = 0: 1 to 10000 jobs"),
        ("ParameterStart.A = 0;", "f:1:1: a Parametric job without Parameters"),
        ("Parameters.F = {};", "f:1:16: Parameters.F is empty: no job at all"),
        ("Parameters = 99; ParameterStart = 9; ParameterFactor = 9;", "ParameterFactor = 9: the values "
         "grow too large"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_dirac_s_sequences_is_said(text, error):
    with pytest.raises(JdlError) as caught:
        read(f'{text}\nExecutable = "x";', "f", Options(dirac=True))
    assert error in caught.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('Arguments = "%s"; Parameters = 4; ParameterStart = 1; ParameterStep = 2;',
         "1:50: no _PARAM_ in it, but %s or %n as DIRAC has them: "),
        ("Arguments = _PARAM_; Parameters = 2; ParameterFactor = 3;",
         "1:56: ParameterFactor counts in DIRAC's dialect: "),
        ('Arguments = "_PARAM_"; Parameters = 2; Parameters.B = {"a", "b"};',
         "1:58: Parameters.B counts in DIRAC's dialect: "),
    ],
)  # fmt: skip
def test_dirac_s_words_where_nobody_asked_for_its_dialect_are_told(text, said):
    text = text.replace("= _PARAM_", '= "_PARAM_"')
    found = read('Executable = "x"; ' + text, "f").findings
    shown = [one.shown("f") for one in found]
    wanted = said.split(": ", 1)[1]
    hint = "with --dirac, Parameters is how many jobs there are"
    assert any(wanted in one and one.endswith(hint) and ":1:" in one for one in shown), shown


def test_a_parametric_job_without_parameters_is_refused_beside_a_warning_too():
    with pytest.raises(JdlError, match="a Parametric job without Parameters"):
        nodes('JobType = "Parametric"; Executable = "x"; Executable = "y";')


def test_what_is_said_of_all_nodes_is_no_node():
    found = nodes('Type = "DAG"; Nodes = [node_type = "edg-jdl"; a = [Executable = "x"]; '
                  'b = [node_type = "edg-jdl"; Description = [Executable = "y"]]; '
                  "Dependencies = {a, b}];")  # fmt: skip
    assert [(one.name, one.after) for one in found] == [("a", ()), ("b", ("a",))]


def test_a_node_that_cannot_be_read_is_one_error_whoever_waits_for_it():
    with pytest.raises(JdlError) as caught:
        nodes('Type = "DAG"; Nodes = [a = [File = "no.jdl"]; b = [Executable = "x"]];'
              "Dependencies = {{a, b}};")  # fmt: skip
    assert caught.value.message == "f:1:36: cannot read no.jdl: No such file or directory"


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
        ('Type = "DAG"; Nodes = [a = [Executable = "x"]]; Dependencies = {{a, a}, {}};',
         "expected a pair {a, b} but found {}"),
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
        ("{{a, b}, {c}}", {"c": ("a", "b")}),
        ("{{a}, {b, c, d}}", {"b": ("a",), "c": ("a",), "d": ("a",)}),
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
