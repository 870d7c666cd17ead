"""The archive's disk: segments, gaps, a disk that is full, what has to go."""

import errno
import os
import stat

import pytest

from gshell.agent.attachment import Attachment
from gshell.wire.streams import Missing
from relay.archive import store as stores
from relay.archive.show import Shown
from relay.archive.store import Kept, Store, victims

KEY = (42, 1)
META = {"owner": "alice", "ended_at": 5.0, "size": 1, "tasks": 1, "pty": False, "name": "x",
        "exits": [{"t": "exit", "rank": 0, "code": 3, "final": {"3": 20, "4": 0}}]}  # fmt: skip


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "archive"))


def put(store, key=KEY, data=b"0123456789", **meta):
    shelf = store.shelf(key)
    shelf.append(3, 0, data, 1 << 30)
    return store.put(key, shelf, {**META, **meta})


def read_all(segments, end):
    at, out = 0, []
    while at < end:
        try:
            piece = segments.read(at, 4)
        except Missing as missing:
            goes_on = missing.start if missing.start >= 0 else end
            out.append((at, goes_on))
            at = goes_on
        else:
            out.append(piece)
            at += len(piece)
    return out


def test_what_was_put_is_there_for_the_next_process_and_nobody_else(store, tmp_path):
    assert put(store) == 10
    again = Store(str(tmp_path / "archive"))
    assert [kept[4] for kept in again.kept.values()] == [10]
    assert read_all(again.streams(KEY)[3], 10) == [b"0123", b"4567", b"89"]
    folder = tmp_path / "archive" / "42.1"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert sorted(path.name for path in folder.iterdir()) == ["3.0", "meta.json"]


class Sent:
    """A peer that keeps what it was to say."""

    def __init__(self):
        self.said = []

    def say(self, message):
        self.said.append(message)


class Whole(Attachment):
    """With all rights, and nothing below it."""

    def __init__(self, shown):
        self.session, self.ranks, self.peer = shown, None, Sent()
        self.rights, self.share, self._torn = "rw", "", False


@pytest.mark.parametrize(
    "message",
    [{"t": "ranks"}, {"t": "ranks", "ranks": "0"}, {"t": "signal", "sig": "INT"}, {"t": "cancel"},
     {"t": "steal"}, {"t": "resize", "rows": 9, "cols": 9}, {"t": "trace", "waits": True},
     {"t": "record"}, {"t": "open"}],
)  # fmt: skip
def test_whatever_a_client_says_to_a_step_that_has_ended_the_archive_goes_on(store, message):
    put(store)
    shown = Whole(Shown(store, KEY, lambda shown: None))
    shown._control(message)
    if message["t"] == "ranks":
        (answer,) = shown.peer.said
        assert (answer["host"], answer["end"]) == ("", True)
        (row,) = answer["ranks"]
        assert (row["state"], row["code"]) == ("ended", 3)


def test_a_gap_stays_one(store):
    shelf = store.shelf(KEY)
    shelf.append(3, 0, b"abc", 1 << 30)
    shelf.append(3, 10, b"xyz", 1 << 30)
    store.put(KEY, shelf, dict(META))
    assert read_all(store.streams(KEY)[3], 20) == [b"abc", (3, 10), b"xyz", (13, 20)]


def test_half_a_step_is_none_and_the_next_try_goes_on_there(store, tmp_path):
    store.shelf(KEY).append(3, 0, b"abcdef", 1 << 30)
    again = Store(str(tmp_path / "archive"))
    assert (again.kept, again.unfinished()) == ({}, [KEY])
    shelf = again.shelf(KEY)
    shelf.append(3, 0, b"abcdefgh", 1 << 30)  # it comes from the start again
    again.put(KEY, shelf, dict(META))
    assert again.streams(KEY)[3].read(0, 99) == b"abcdefgh"


def test_what_a_crash_of_the_machine_left_is_not_trusted(store, tmp_path):
    store.shelf(KEY).append(3, 0, b"abcdef", 1 << 30)
    (tmp_path / "archive" / "42.1" / "boot").write_text("another")
    assert store.shelf(KEY).streams == {}


def test_a_stream_has_a_bound_and_loses_its_oldest(store, monkeypatch):
    monkeypatch.setattr(stores, "SEGMENT_BYTES", 4)
    monkeypatch.setattr(stores, "STREAM_BYTES", 8)
    shelf = store.shelf(KEY)
    for at in range(0, 20, 4):
        shelf.append(3, at, b"%4d" % at, 1 << 30)
    assert shelf.bytes == 8
    assert read_all(shelf.streams[3], 20) == [(0, 12), b"  12", b"  16"]
    shelf.append(7, 0, b"beyond", 8)  # what a step may have in all
    assert shelf.bytes <= 8


def test_a_stream_of_gaps_does_not_make_files_without_end(store, tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "SEGMENTS", 5)
    shelf = store.shelf(KEY)
    for at in range(0, 100, 2):
        shelf.append(3, at, b"x", 1 << 30)
    assert len(list((tmp_path / "archive" / "42.1").glob("3.*"))) == 5


def test_a_full_disk_adds_nothing_and_is_tried_again(store, monkeypatch):
    shelf = store.shelf(KEY)
    shelf.append(3, 0, b"abc", 1 << 30)
    real = os.pwrite

    def full(fd, data, at):
        real(fd, bytes(data)[:1], at)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    for offset in (3, 5):
        with pytest.raises(OSError, match="No space"):
            shelf.append(3, offset, b"def", 1 << 30)
        assert Store(store.path).shelf(KEY).streams[3].ends == [3]  # for the next process, too
    monkeypatch.setattr(os, "pwrite", real)
    shelf.append(3, 3, b"def", 1 << 30)
    assert shelf.streams[3].read(0, 99) == b"abcdef"
    assert shelf.bytes == 6


def test_the_oldest_makes_room_as_long_as_there_is_any(store):
    shelf = store.shelf(KEY)
    assert not shelf.make_room()
    shelf.append(3, 0, b"abc", 1 << 30)
    shelf.append(3, 9, b"defg", 1 << 30)
    shelf.append(4, 0, b"x", 1 << 30)
    assert shelf.make_room()
    assert (shelf.streams[3].starts, shelf.bytes) == ([9], 5)
    assert [shelf.make_room() for _ in range(3)] == [True, True, False]


def test_what_is_dropped_is_gone(store, tmp_path):
    put(store)
    store.drop(KEY)
    assert (store.kept, store.total) == ({}, 0)
    assert list((tmp_path / "archive").iterdir()) == []


def test_links_in_the_archive_are_not_followed(store, tmp_path):
    put(store)
    segment = tmp_path / "archive" / "42.1" / "3.0"
    segment.unlink()
    segment.symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic"):
        store.streams(KEY)[3].read(0, 10)


@pytest.mark.parametrize("meta", ["", "[]", "{}", '{"job": 1}', '{"exits": 5, "tasks": "x"}'])
def test_a_damaged_record_shows_nothing_and_harms_nobody(store, tmp_path, meta):
    put(store)
    (tmp_path / "archive" / "42.1" / "meta.json").write_text(meta)
    with pytest.raises(LookupError):
        Shown(store, KEY, lambda shown: None)
    Store(str(tmp_path / "archive"))


def kept(job, user, ended_at, size):
    return Kept((job, 0), user, ended_at, size)


def test_what_is_too_old_goes():
    steps = [kept(1, "a", 10.0, 5), kept(2, "a", 90.0, 5)]
    assert [key for key, _ in victims(steps, 100.0, 50.0, 1000)] == [(1, 0)]


def test_when_it_is_full_who_has_most_loses_his_oldest():
    steps = [kept(1, "a", 1.0, 10), *(kept(n, "b", float(n), 10) for n in range(2, 8))]
    gone = [key[0] for key, _ in victims(steps, 10.0, 1e9, 40)]
    assert gone == [2, 3, 4]
