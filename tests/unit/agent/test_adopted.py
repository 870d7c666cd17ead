"""The step that stands for somebody else's batch job: its files, and its end."""

import os

import pytest

from gshell.agent import adopted
from gshell.errors import GshellError
from gshell.lrms.base import State
from gshell.lrms.running_base import BatchJob


class Read:
    def __init__(self, path):
        self.bytes = b""
        self.follower = adopted.Follower(str(path), self._take)

    def _take(self, data):
        self.bytes += data

    def look(self):
        self.follower.look()
        return self.bytes


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_a_file_is_read_from_its_start_and_on_as_it_grows(out):
    read = Read(out)
    assert read.look() == b""  # it may come later
    out.write_bytes(b"one\n")
    assert read.look() == b"one\n"
    with open(out, "ab") as file:
        file.write(b"two\n")
    assert read.look() == b"one\ntwo\n"
    assert read.look() == b"one\ntwo\n"


def test_a_file_that_is_moved_away_is_read_to_its_end_and_the_new_one_from_its_start(out):
    read = Read(out)
    out.write_bytes(b"one\n")
    read.look()
    old = open(out, "ab", buffering=0)  # noqa: SIM115
    os.rename(out, str(out) + ".1")
    old.write(b"late\n")
    assert read.look() == b"one\nlate\n"
    old.write(b"later\n")
    out.write_bytes(b"new\n")
    old.close()
    assert read.look() == b"one\nlate\nlater\nnew\n"


def test_a_file_that_is_cut_is_read_from_its_start(out):
    read = Read(out)
    out.write_bytes(b"a long line\n")
    read.look()
    out.write_bytes(b"new\n")
    assert read.look() == b"a long line\nnew\n"


def test_a_file_larger_than_a_piece_comes_whole(out):
    data = os.urandom(3 * adopted.PIECE_BYTES + 7)
    out.write_bytes(data)
    assert Read(out).look() == data


def test_a_huge_file_is_handed_on_in_small_pieces_with_a_turn_for_others_between(out):
    with open(out, "wb") as file:
        file.truncate(2 * adopted.LOOK_BYTES + 5)
    sizes = []
    follower = adopted.Follower(str(out), lambda data: sizes.append(len(data)))
    looks = 0
    while follower.look():
        looks += 1
        assert sum(sizes) <= looks * adopted.LOOK_BYTES
    assert sum(sizes) == 2 * adopted.LOOK_BYTES + 5
    assert max(sizes) <= adopted.PIECE_BYTES


def test_a_file_that_its_server_had_lost_for_a_moment_goes_on_where_it_was(out, monkeypatch):
    read = Read(out)
    out.write_bytes(b"one\n")
    read.look()
    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", lambda *words: os.stat(str(out) + "/stale"))
        assert read.look() == b"one\n"
    with open(out, "ab") as file:
        file.write(b"two\n")
    assert read.look() == b"one\ntwo\n"


def test_a_name_that_is_no_file_is_no_end_of_it(out):
    out.mkdir()
    read = Read(out)
    assert read.look() == b""
    out.rmdir()
    out.write_bytes(b"\x00\xff\x1b[2J")
    assert read.look() == b"\x00\xff\x1b[2J"  # whoever shows it makes it safe


@pytest.fixture
def asked(monkeypatch, capfd):
    """What the batch system answers, one after the other; the last one for ever."""
    answers = []

    def ask(lrms, one):
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(adopted, "ask", ask)
    return answers


def watch(asks=True):
    return adopted._Watch(adopted.Words("slurm", "42", asks, []))


def test_it_ends_as_its_batch_job_did(asked):
    asked += [BatchJob("42", State.RUNNING), BatchJob("42", State.ENDED, code=3)]
    one = watch()
    assert one.code(0.0, False) is None
    assert one.code(1.0, False) is None  # not asked again so soon
    assert one.code(1.0, True) == 3  # but when told to end


def test_a_batch_job_that_ends_and_says_already_how_is_over(asked):
    asked += [BatchJob("42", State.ENDING, code=0)]
    assert watch().code(0.0, False) == 0


def test_a_batch_system_that_does_not_answer_is_asked_again_and_that_is_said_once(asked, capfd):
    asked += [GshellError("away"), GshellError("away"), BatchJob("42", State.ENDED, code=0)]
    one = watch()
    assert one.code(0.0, False) is None
    assert one.code(31.0, False) is None
    assert one.code(62.0, False) == 0
    assert capfd.readouterr().err == "gshell: slurm:42: away\n"


def test_one_that_is_forgotten_may_be_in_the_books_a_moment_later(asked, capfd):
    asked += [None, None, BatchJob("42", State.ENDED, code=3)]
    one = watch()
    assert [one.code(now, False) for now in (0.0, 4.0, 8.0)] == [None, None, 3]


def test_one_that_stays_forgotten_has_ended_and_nobody_knows_how(asked, capfd):
    asked += [None]
    one = watch()
    assert [one.code(now, False) for now in (0.0, 29.0, 33.0)] == [None, None, adopted.LOST]
    assert "how it ended is not known" in capfd.readouterr().err


def test_only_one_member_asks(asked):
    asked += [BatchJob("42", State.ENDED, code=3)]
    assert watch(asks=False).code(0.0, True) is None
