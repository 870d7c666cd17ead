"""Whole files: the tutorial's as printed (their quotes and signs were lost), and good ones."""

import pathlib

import pytest

from gshell.jdl.errors import JdlError
from gshell.jdl.job import Options, read
from gshell.jdl.parse import parse
from gshell.jdl.steps import requests
from gshell.jdl.syntax import write_file

DATA = pathlib.Path(__file__).parents[2] / "data/jdl"
EXAMPLES = pathlib.Path(__file__).parents[3] / "examples/jdl"
GOOD = sorted((DATA / "good").glob("*.jdl"))
SHOWN = sorted(EXAMPLES.glob("*.jdl"))
PRINTED = {
    "simple": "1:11: expected = after Executable",
    "cpi_openmpi": "1:5: expected = after Type",
    "cpi_pacxmpi": "1:5: expected = after Type",
    "interactive": "1:5: expected = after Type",
    "shell": "1:20: expected = after VirtualOrganisation",
    "signs_back": '4:21: " right after openmpi: is the one before it missing?',
    "braces_lost": "4:26: expected ; but found , (a list is written {a, b})",
    "end_quote_lost": '2:12: this string has no end in its line: " is missing',
    "compare_lost": "2:40: = inside an expression: to compare write ==",
    "bare_value": "2:14: expected a value but found / (a text stands in quotes)",
    "minus_lost": "3:1: glogin needs the address of who waits: -p PORT:IP",
}
WARNED = {
    "names": ["2:1: warning: OutputSanbox is not known: OutputSandbox?",
              "3:1: warning: StdErr is not known: StdError?"],
}  # fmt: skip


def load(path):
    def beside(name):
        return (path.parent / name).read_text()

    return read(path.read_text(), path.name, Options(load=beside))


def test_every_printed_file_has_its_message():
    assert {
        path.stem for path in (DATA / "printed").glob("*.jdl")
    } == PRINTED.keys() | WARNED.keys()


@pytest.mark.parametrize("name", PRINTED)
def test_a_file_as_printed_is_refused_with_its_place(name):
    path = DATA / f"printed/{name}.jdl"
    with pytest.raises(JdlError) as caught:
        requests(load(path), lambda word: [word])
    assert caught.value.message == f"{path.name}:{PRINTED[name]}"


@pytest.mark.parametrize("name", WARNED)
def test_a_file_as_printed_is_warned_of(name):
    found = load(DATA / f"printed/{name}.jdl")
    assert [one.shown(found.name) for one in found.findings] == [
        f"{name}.jdl:{w}" for w in WARNED[name]
    ]


@pytest.mark.parametrize("path", [*GOOD, *SHOWN], ids=lambda path: path.stem)
def test_a_good_file_is_taken_and_means_the_same_once_written_again(path):
    if path.stem == "attributes_of_attributes":
        pytest.importorskip("classad2")
    assert requests(load(path), lambda word: [word])
    ad, _ = parse(path.read_text())
    assert parse(write_file(ad))[0] == ad


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_htcondor_s_library_reads_what_we_write(path):
    classad2 = pytest.importorskip("classad2")
    ad, _ = parse(path.read_text())
    classad2.ClassAd(f"[{write_file(ad)}]")


def test_the_examples_say_nothing_odd():
    for path in SHOWN:
        found = load(path)
        assert [one.text for one in found.findings if one.level == "warning"] == []
