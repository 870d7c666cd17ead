import pytest

from gshell.errors import LrmsError
from gshell.lrms import common
from gshell.lrms.base import Done


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("n1", ["n1"]),
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("n[08-11,3],gpu1", ["n08", "n09", "n10", "n11", "n3", "gpu1"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("a-b.example,n[1]x", ["a-b.example", "n1x"]),
    ],
)
def test_a_host_list_is_written_out(text, hosts):
    assert common.hostlist(text) == hosts


@pytest.mark.parametrize(
    "text", ["", "n[1-", "n]1[", "n[[1]]", "n[1-x]", "n[1,]", "n[0-999999999]", "a,,b", "-o", "a b"]
)
def test_what_is_no_host_list_is_said(text):
    with pytest.raises(LrmsError) as broken:
        common.hostlist(text)
    assert broken.value.code == "broken"


def test_repeated_counts_are_written_out():
    assert common.repeated("2(x3),1") == [2, 2, 2, 1]
    assert common.repeated("2(x3),") == []
    assert common.repeated("1(x999999),1(x999999)") == []


def test_n1_is_not_n10():
    assert common.counted(["n1", "n10", "n10", "n1", "n1"]) == (("n1", 3), ("n10", 2))


@pytest.mark.parametrize(
    ("text", "options", "seconds"),
    [
        ("90", {}, 5400),
        ("90", {"alone": 1}, 90),
        ("30:00:00", {}, 108000),
        ("1:30", {}, 90),
        ("1:30", {"pair": 3600}, 5400),
        ("1-6", {}, 108000),
        ("1-06:30:10", {}, 109810),
        ("infinite", {}, None),
        ("1:2:3:4", {}, None),
        ("", {}, None),
        ("-1", {}, None),
    ],
)
def test_a_duration_is_read_as_each_batch_system_writes_it(text, options, seconds):
    assert common.duration(text, **options) == seconds


@pytest.mark.parametrize("seconds", [0, 59, 3600, 86399, 90061, 30 * 86400])
def test_a_duration_that_is_written_is_read_back(seconds):
    assert common.duration(common.clock(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("4G", 4 << 30), ("1.5g", 3 << 29), ("4000", 4000 << 20), ("16331652kb", 16331652 << 10),
     ("512b", 512), ("1TiB", 1 << 40), ("x", None), ("1e9", None)],
)  # fmt: skip
def test_a_size_is_read(text, size):
    assert common.size(text) == size


@pytest.mark.parametrize(
    ("done", "code", "message"),
    [
        (Done(1, "", "sbatch: error: x\n  y\n"), "refused", "sbatch: error: x; y"),
        (Done(1, "", "Try Again later"), "busy", "sbatch: Try Again later"),
        (Done(3, "", ""), "refused", "sbatch ended with code 3"),
        (Done(124, "", ""), "busy", "sbatch ended with code 124"),
        (Done(-9, "", ""), "busy", "sbatch ended with code -9"),
        (Done(127, "", "sh: sbatch: not found"), "refused", "sbatch cannot be run: sh: sbatch: not found"),
        (Done(1, "", "\x1b[31mred"), "refused", "sbatch: \\x1b[31mred"),
    ],
)  # fmt: skip
def test_a_complaint_is_told_in_its_own_words(done, code, message):
    error = common.failed("sbatch", done, ["try again"])
    assert (error.code, str(error)) == (code, message)


def test_a_long_complaint_is_cut():
    assert len(common.said(Done(1, "x" * 9999))) == common.SAID_CHARS
