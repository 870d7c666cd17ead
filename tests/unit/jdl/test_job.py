"""What attributes mean, and what is said of those that make no sense."""

import pytest

from gshell.jdl.errors import JdlError
from gshell.jdl.geometry import Geometry
from gshell.jdl.job import Options, read


def job(text, **options):
    return read('Executable = "x";' + text, "f.jdl", Options(**options))


def said(text):
    """Warnings and notes of a description that is taken."""
    return [one.shown("f") for one in read(text, "f").findings]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a = 1;", "f:1:1: Executable is missing: what is to be run?"),
        ("Executable = 3;", "f:1:14: Executable must be a string, not 3"),
        ('Executable = "";', "f:1:14: Executable is empty"),
        ('Executable = {"a", "b"};', "f:1:14: Executable must be a string, not a list"),
        ('Executable = "x"; Type = "Task";', 'f:1:26: Type = "task": it is "Job", "Collection" or "DAG"'),
        ('Executable = "x"; JobType = "Paralel";', 'f:1:29: JobType = "paralel": it is one of normal, '
         "interactive, mpich, parallel, parametric, checkpointable, partitionable"),
        ('Executable = "x"; JobType = "openmpi";', 'f:1:29: JobType = "openmpi": write '
         'JobType = "Parallel"; SubJobType = "openmpi"'),
        ('Executable = "x"; CpuNumber = "4.5";', "f:1:31: CpuNumber must be a whole number, not 4.5"),
        ('Executable = "x"; CpuNumber = "four";', 'f:1:31: CpuNumber must be a whole number, not '
         '"four"'),
        ('Executable = "x"; CpuNumber = 0;', "f:1:31: CpuNumber = 0: it is 1 or more"),
        ('Executable = "x"; CpuNumber = 2; NodeNumber = 3;',
         "f:1:47: CpuNumber = 2 and NodeNumber = 3: they mean the same, say one"),
        ('Executable = "x"; CpuNumber = 2; HostNumber = 3;',
         "f:1:31: HostNumber = 3 hosts for CpuNumber = 2 processes"),
        ('Executable = "x"; CpuNumber = 4; SMPGranularity = 2; HostNumber = 1;',
         "f:1:67: HostNumber = 1 and SMPGranularity = 2: say one of them, or WholeNodes = true"),
        ('Executable = "x"; Arguments = "a & b";', "f:1:31: Arguments has & outside quotes: "
         "it is no shell line; to pass it quote it"),
        ('Executable = "x"; Arguments = "`id`";', "f:1:31: Arguments has a backquote: commands in it "
         "are not run"),
        ('Executable = "x"; Arguments = "it\'s";', "f:1:31: Arguments has a ' without its end"),
        ('Executable = "x"; Environment = {"A"};', 'f:1:33: Environment: \'A\' is not "NAME=value"'),
        ('Executable = "x"; Environment = {"1=2"};', 'f:1:33: Environment: \'1=2\' is not "NAME=value"'),
        ('Executable = "x"; Environment = {3};', "f:1:34: Environment must be strings, not 3"),
        ('Executable = "x"; InputSandbox = {"a/f", "b/f"};', "f:1:34: InputSandbox has two files with "
         "the name f"),
        ('Executable = "x"; InputSandbox = "dir/";', "f:1:34: InputSandbox: 'dir/' is no file: to bring "
         "a directory, pack it"),
        ('Executable = "x"; OutputSandbox = "../y";', "f:1:35: OutputSandbox: '../y' is not in the job's "
         "directory"),
        ('Executable = "x"; OutputSandbox = {"a", "b"}; OutputSandboxDestURI = "file:///x";',
         "f:1:70: OutputSandboxDestURI has 1 places for the 2 of OutputSandbox"),
        ('Executable = "x"; OutputSandbox = "a*"; OutputSandboxDestURI = "file:///x";',
         "f:1:35: patterns in OutputSandbox go with OutputSandboxBaseDestURI only"),
        ('Executable = "x"; OutputSandbox = "a"; OutputSandboxDestURI = "b"; '
         'OutputSandboxBaseDestURI = "c";', "f:1:95: OutputSandboxDestURI and "
         "OutputSandboxBaseDestURI: say one of them"),
        ('Executable = "x"; StdOutput = "/tmp/o";', "f:1:31: StdOutput = '/tmp/o' is not in the job's "
         "directory"),
        ('Executable = "x"; StdInput = "/tmp/o";', "f:1:30: StdInput = '/tmp/o' is not in the job's "
         "directory: bring it in InputSandbox"),
        ('Executable = "x"; PrologueArguments = "a";', "f:1:39: PrologueArguments without Prologue"),
        ('Executable = "x"; Interactive = true; PerformanceLoss = 101;', "f:1:57: PerformanceLoss = 101: "
         "it is a percentage"),
        ('Executable = "x"; WholeNodes = 1;', "f:1:32: WholeNodes must be true or false, not 1"),
        ('Executable = "x"; JobType = "Parallel"; SubJobType = "lam";', 'f:1:54: SubJobType = "lam": it is '
         "openmpi, mpich, mpich-g2 or pacx-mpi"),
        ('Executable = "x"; StreamingMode = "slow";', 'f:1:35: StreamingMode = "slow": reliable or fast'),
        ('Executable = "x"; WallTime = "soon";', 'f:1:30: WallTime is seconds, or "HH:MM:SS"'),
        ('Executable = "x"; FuzzyRank = true; FuzzyFactor = 0;', "f:1:51: FuzzyFactor is more than 0"),
        ('Executable = "x"; Requirements = "other.cpus > 1";', "f:1:34: Requirements is a text: an expression "
         "stands without quotes"),
        ('Executable = "x"; RetryCount = -1;', "f:1:32: RetryCount = -1: it is 0 or more"),
    ],
)  # fmt: skip
def test_an_error_says_what_is_wrong_and_where(text, error):
    with pytest.raises(JdlError) as caught:
        read(text, "f")
    assert caught.value.message == error


def test_all_errors_are_told_at_once_in_their_order():
    with pytest.raises(JdlError) as caught:
        read('CpuNumber = 0;\nStdOutput = 1;\nEnvironment = "x";', "f")
    assert caught.value.message.split("\n") == [
        "f:1:1: Executable is missing: what is to be run?",
        "f:1:13: CpuNumber = 0: it is 1 or more",
        "f:2:13: StdOutput must be a string, not 1",
        "f:3:15: Environment: 'x' is not \"NAME=value\"",
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("OutputSanbox = 1;", "warning: OutputSanbox is not known: OutputSandbox?"),
        ('StdErr = "e";', "warning: StdErr is not known: StdError?"),
        ('StdOut = "e";', "warning: StdOut is not known: StdOutput?"),
        ("Colour = 1;", "note: Colour is not known; Requirements may use it"),
        ('MyProxyServer = "x";', "note: MyProxyServer changes nothing: there is no such service here"),
        ('OutputSE = "x";', "warning: OutputSE changes nothing: there are no storage elements here"),
        ("PerformanceLoss = 5;", "warning: PerformanceLoss is of interactive jobs: what a batch job "
         "beside it may keep"),
        ("RetryCount = 99;", "warning: RetryCount is 10 at most"),
        ("DefaultNodeRetryCount = 99;", "warning: DefaultNodeRetryCount is 10 at most"),
        ('WholeNodes = "true";', "warning: WholeNodes is true or false, without quotes"),
        ('CpuNumber = "4";', "warning: CpuNumber is a number, without quotes"),
        ('Arguments = {"a b"};', "warning: Arguments is one string; its parts are joined"),
        ('StdOutput = {"o"};', "warning: StdOutput is a string, without braces"),
        ('JobType = "Production";', 'warning: JobType = "production" is none of normal, interactive, '
         "mpich, parallel, parametric, checkpointable, partitionable: run once, as a normal job"),
        ('OutputSandbox = {"o", ""};', "note: OutputSandbox has an empty entry: it does not count"),
        ('ExecutionEnvironment = "A=b";', "warning: ExecutionEnvironment changes nothing: write "
         'Environment = {"NAME=value"}'),
        ('InputSandbox = "gsiftp://h/a";', "warning: InputSandbox: gsiftp://h/a: only files from here "
         "are sent; fetch it first, or let the job fetch it"),
        ('InputSandbox = "LFN:/a/b";', "warning: InputSandbox: LFN:/a/b: only files from here are "
         "sent; fetch it first, or let the job fetch it"),
        ('InputSandboxBaseURI = "https://h/d"; InputSandbox = "a";', "warning: InputSandbox: "
         "https://h/d/a: only files from here are sent; fetch it first, or let the job fetch it"),
        ('OutputSandbox = "a"; OutputSandboxBaseDestURI = "gsiftp://se/x";', "warning: "
         "OutputSandboxBaseDestURI: gsiftp://se/x: outputs stay with the job; `gshell fetch ID DIR` "
         "puts them anywhere"),
        ('SubJobType = "openmpi";', 'warning: SubJobType counts for JobType = "Parallel" only'),
        ('JobType = "Parallel";', "warning: a Parallel job without SubJobType is taken as openmpi"),
        ("Rank = anyMatch(other.x, true);", "warning: anyMatch() asked the grid's own services: there "
         "it is undefined"),
        ("Rank = other.GlueCEFoo;", "warning: GlueCEFoo is told by nobody here: undefined"),
        ('Executable = "y";', "warning: Executable was given in line 1 already: this one counts"),
    ],
)  # fmt: skip
def test_what_may_not_be_meant_is_said(text, found):
    shown = said('Executable = "x";' + text)
    assert found in [one.partition(": ")[2] for one in shown], shown


def test_what_a_program_left_empty_asks_for_nothing():
    found = job('Site = ""; BannedSites = ""; Tags = {""}; Environment = {"A=b", ""};'
                'InputSandbox = {"a", ""}; CPUTime = "60"; JobType = {"Normal"};')  # fmt: skip
    assert (found.sites, found.requirements, found.environment) == ((), "", (("A", "b"),))
    assert (found.inputs, found.walltime_s) == (("a",), 60)


def test_a_file_of_a_base_here_is_a_path_and_others_keep_theirs():
    found = job('InputSandboxBaseURI = "file:///w"; InputSandbox = {"a:b.txt", "/c", "file:/d", '
                '"gsiftp://h/e"};')  # fmt: skip
    assert found.inputs == ("/w/a:b.txt", "/c", "/d", "gsiftp://h/e")


def test_a_stream_that_is_nearly_in_the_sandbox_is_a_slip():
    shown = said('Executable="x"; StdError="cpi.opnempi.err"; OutputSandbox="cpi-openmpi.err";')
    assert shown == [
        'f:1:45: warning: OutputSandbox: "cpi-openmpi.err", but the job writes "cpi.opnempi.err"'
    ]


def test_a_parallel_job():
    found = job('JobType="Parallel"; SubJobType="PacxMPI"; NodeNumber=4; JobStarterArguments="-v";')
    assert found.mpi.flavour == "pacx-mpi"
    assert found.mpi.starter == "mpi-start"
    assert [word.text for word in found.mpi.arguments] == ["-v"]
    assert found.geometry == Geometry(4, 0, 0, False)


def test_interactive_in_all_its_spellings():
    assert job('JobType = "Interactive";').interactive
    assert job("Interactive = true; PerformanceLoss = 10;").loss == 10
    with_agent = job('Interactive = TRUE; InteractiveAgent = "i2glogin";')
    assert with_agent.interactive
    assert with_agent.agent.command.text == "i2glogin"
    without = job('Interactive = FALSE; InteractiveAgent = "i2glogin";')
    assert (without.interactive, without.agent) == (False, None)


def test_requirements_take_in_what_other_attributes_ask_of_a_place():
    found = job('ShortDeadlineJob = true; Requirements = other.a > 1 || true; QueueName = "q";'
                'Tags = "gpu"; BannedSites = {"s"};')  # fmt: skip
    assert found.requirements == (
        '(other.a > 1 || true) && (RegExp(".*sdj$", other.GlueCEUniqueID)) && '
        '(other.GlueCEName == "q") && (other.site != "s") && (Member("gpu", other.tags))'
    )


def test_the_grid_s_own_default_requirement_is_none():
    assert job('Requirements = other.GlueCEStateStatus == "Production";').requirements == ""


def test_retries_walltime_and_the_end_of_patience():
    found = job('RetryCount = 2; ShallowRetryCount = -1; WallTime = "1:30:00"; ExpiryTime = 99;')
    assert (found.retry, found.shallow, found.walltime_s, found.deadline_at) == (2, 0, 5400, 99)
    assert job("DefaultNodeRetryCount = 3;").retry == 3
    assert job("CPUTime = 60;").walltime_s == 60


def test_attributes_may_be_set_beside_the_file():
    pytest.importorskip("classad2")
    found = job("CpuNumber = 2;", sets=[("CpuNumber", "1 + 2"), ("StdOutput", '"o"')])
    assert (found.geometry.cpus, found.stdout) == (3, "o")
    with pytest.raises(JdlError, match="--set A:1:2: expected a value"):
        job("", sets=[("A", "+")])


def test_an_attribute_may_be_computed_from_others():
    pytest.importorskip("classad2")
    found = job('Base = "r"; StdOutput = Base; StdError = strcat(self.Base, ".err");')
    assert (found.stdout, found.stderr) == ("r", "r.err")
    with pytest.raises(JdlError, match=r"StdOutput = nowhere is undefined"):
        job("StdOutput = nowhere;")


def test_the_sandboxes_of_a_job():
    found = job('InputSandboxBaseURI = "file:///w"; InputSandbox = {"a", "file:///e/f", "/g"};'
                'StdInput = "a"; OutputSandbox = {"./o", "p*"}; OutputSandboxBaseDestURI = "file:///d";')  # fmt: skip
    assert found.inputs == ("/w/a", "/e/f", "/g")
    assert job('InputSandbox = {"./a", "a", "./d/b"};').inputs == ("a", "d/b")
    assert (found.stdin, found.outputs, found.destination_base) == ("a", ("o", "p*"), "/d")


def test_perusal_looks_at_what_it_prints_unless_told():
    assert job("PerusalTimeInterval = 10;").perusal is None
    found = job('PerusalFileEnable = true; PerusalTimeInterval = 1; PerusalFiles = "a";').perusal
    assert (found.every_s, found.files) == (5, ("a",))


@pytest.mark.parametrize("value", ["Normal", "'Normal'"])
def test_a_text_without_its_quotes_is_told_once_how_it_is_written(value):
    pytest.importorskip("classad2")
    with pytest.raises(JdlError) as caught:
        read(f'Executable = "x"; JobType = {value};', "f")
    assert caught.value.message == (
        'f:1:29: JobType = Normal is undefined: a text stands in double quotes, "..."'
    )
