"""Job descriptions: nothing but a JdlError comes of any text, and what is written means the same."""

import itertools
import pathlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gshell.cli import scripts
from gshell.cli.submit import decoded
from gshell.errors import UsageError
from gshell.jdl import words
from gshell.jdl.errors import JdlError
from gshell.jdl.graph import cycle, order
from gshell.jdl.job import Options, read
from gshell.jdl.parse import parse, parse_expression
from gshell.jdl.steps import requests
from gshell.jdl.syntax import (
    BINARY,
    RESERVED,
    UNARY,
    UNDEFINED,
    Binary,
    Call,
    Cond,
    Index,
    Items,
    Literal,
    Ref,
    Unary,
    write,
)  # fmt: skip

DATA = pathlib.Path(__file__).parents[1] / "data/jdl"
TEXTS = [path.read_text() for path in sorted(DATA.glob("*/*.jdl"))]
DIRACS = (
    'Executable = "x"; Arguments = "%s %(B)s %n"; Parameters = 3; ParameterStart = 1;\n'
    'ParameterFactor = 2; Parameters.B = {a, "b", 3}; CPUTime = "60"; Site = {""};'
)
SCRIPTS = (
    "#!/bin/sh\n#SBATCH -N1 -n 4 --time=1-02:00 --mem-per-cpu=2G # why\n#SBATCH -J 'a b'\ntrue\n",
    "#!/bin/sh\n#PBS -l nodes=1:ppn=4+a1:ppn=2, walltime=1:00:00\n#PBS -V -j oe -o x\ntrue\n",
    "#!/bin/sh\n#$ -pe mpi 4-8 -cwd\n#$ -l h_rt=:30:,h_vmem=2G -t 1-4\ntrue\n",
    "#!/bin/sh\n#OAR -l {a='b'}/nodes=1/core=3, walltime=2:0:0\n#OAR -O o.%jobid%\ntrue\n",
    '#!/bin/sh\n#BSUB -n 8 -R "span[ptile=4]" -W 1:30 -J "a[1-9]"\ntrue\n',
)
BRIEFLY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PIECES = st.sampled_from(
    ["Executable", "=", '"x"', ";", "[", "]", "{", "}", "(", ")", ",", "Nodes", "Type", '"DAG"', "1", "-",
     "other", ".", "==", "&&", "Requirements", "Rank", "Parameters", "InputSandbox", "root", "\n", "//", "#",
     "/*", "*/", '"', "'", "\\", "?", ":", "is", "true", "_PARAM_", "JobType", '"Parallel"', "CpuNumber",
     "Dependencies", "Interactive", "InteractiveAgent", '"i2glogin"', "\0", "\u00e9"]
)  # fmt: skip
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True)
plain = names.filter(lambda name: name.lower() not in RESERVED)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
odd = texts.filter(lambda text: text and "\n" not in text)
literals = st.one_of(
    st.booleans(), st.integers(0, (1 << 63) - 1), texts, st.just(UNDEFINED),
    st.floats(0, 1e300, allow_nan=False, allow_subnormal=False),
).map(Literal)  # fmt: skip


def deeper(inner):
    return st.one_of(
        st.builds(Ref, plain | odd, inner.filter(lambda e: not isinstance(e, Literal))),
        st.builds(Index, inner, inner),
        st.builds(Call, plain, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Unary, st.sampled_from(UNARY), inner),
        st.builds(Binary, st.sampled_from(sorted(BINARY)), inner, inner),
        st.builds(Cond, inner, inner, inner),
        st.builds(Items, st.lists(inner, max_size=3).map(tuple)),
    )


exprs = st.recursive(st.one_of(literals, st.builds(Ref, plain | odd)), deeper, max_leaves=8)


@BRIEFLY
@given(st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=60).map(" ".join)))
def test_any_text_is_a_description_or_a_jdl_error(text):
    try:
        requests(read(text, "f"), lambda word: [word])
    except JdlError as found:
        error = found
    else:
        return
    assert error.message
    assert error.at.line <= text.count("\n") + 1


@st.composite
def damaged(draw, texts, pieces):
    """A text with pieces of it gone, twice, elsewhere, or others in between."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(1, 4))):
        first, last = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        last = min(last, first + draw(st.sampled_from((0, 1, 1, 2, 9, 99))))
        put = draw(st.one_of(st.just(""), st.just(text[first:last] * 2), pieces))
        text = text[:first] + put + text[last:]
    return text


@settings(BRIEFLY, max_examples=150)
@given(damaged([*TEXTS, DIRACS], PIECES), st.booleans())
def test_a_damaged_description_is_one_or_an_error_with_its_place(text, dirac):
    def load(name):
        raise FileNotFoundError(2, "No such file or directory")

    try:
        requests(read(text, "f", Options(dirac=dirac, load=load)), lambda word: [word])
    except JdlError as found:
        error = found
    else:
        return
    lines = text.split("\n")
    if error.hint:
        return  # a library that is not installed would have computed it
    assert 1 <= error.at.line <= len(lines)
    assert 1 <= error.at.column <= len(lines[error.at.line - 1]) + 1
    assert error.message.startswith(f"f:{error.at.line}:{error.at.column}: ")


@settings(BRIEFLY, max_examples=80)
@given(
    damaged(
        SCRIPTS,
        st.sampled_from(["-", "--", " ", "\n", '"', "'", "#", ",", ":", "=", "99", "+", "\t"]),
    )
)
def test_a_damaged_script_is_read_or_refused(text):
    try:
        found = scripts.describe("job.sh", text)
    except UsageError as error:
        said = error.message
    else:
        said = requests(found, lambda word: [word])[0].message["name"]
    assert said


@BRIEFLY
@given(st.binary(max_size=60))
def test_any_bytes_are_text_or_none(data):
    try:
        text = decoded(data)
    except UnicodeDecodeError:
        text = ""
    assert isinstance(text, str)


@BRIEFLY
@given(exprs)
def test_what_is_written_is_read_back_as_it_was(expr):
    assert parse_expression(write(expr)) == expr


@BRIEFLY
@given(st.dictionaries(plain, exprs, min_size=1, max_size=5))
def test_an_ad_s_order_is_kept(entries):
    unique = {name.lower(): (name, value) for name, value in entries.items()}
    text = "".join(f"{name} = {write(value)};" for name, value in unique.values())
    ad, found = parse(text)
    assert [(one.name, one.value) for one in ad.entries] == list(unique.values())
    assert found == []


@BRIEFLY
@given(st.text(st.sampled_from("ab $V{}'\"\\&|<>;`\t()"), max_size=12))
def test_arguments_are_words_or_a_reason(text):
    try:
        found = words.split(text)
    except ValueError as error:
        why = str(error)
    else:
        why = words.argv([words.plain("x"), *found])[0]
        assert why in ("x", "/bin/sh")
    assert why


@BRIEFLY
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_a_graph_has_a_circle_or_an_order(edges):
    after = {str(n): [] for n in range(7)}
    for earlier, later in edges:
        after[str(later)].append(str(earlier))
    found = cycle(after)
    if found:
        assert found[0] == found[-1]
        for earlier, later in itertools.pairwise(found):
            assert earlier in after[later]
    else:
        place = {name: i for i, name in enumerate(order(after))}
        assert all(place[before] < place[name] for name in after for before in after[name])


def test_the_library_computes_what_we_write():
    classad2 = pytest.importorskip("classad2")

    @BRIEFLY
    @given(exprs)
    def same(expr):
        classad2.ExprTree(write(expr))

    same()
