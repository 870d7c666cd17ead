"""gshell.client.stdio on real pipes, terminals, files and sockets."""

import errno
import faulthandler
import fcntl
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import tty

import pytest

from gshell.client import slowio, stdio
from gshell.client.stdio import CHUNK, CLOSED, Sink, Source, flush_all, standard_descriptors
from gshell.net.loop import IN, Loop

PATIENCE_S = 20.0


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def fds():
    """Open descriptors that are closed after the test; ``fds(n)`` adds one."""
    kept: list[int] = []

    def keep(*new: int):
        kept.extend(new)
        return new if len(new) > 1 else new[0]

    yield keep
    for fd in kept:
        try:
            os.close(fd)
        except OSError:
            pass  # the test closed it


@pytest.fixture
def slow(monkeypatch):
    """Whatever is opened anew can't be: the thread it is."""
    monkeypatch.setattr(
        stdio._Way, "_open", lambda way, borrowed, flags: setattr(way, "slow", True)
    )


def slow_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("slow")]


@pytest.fixture(autouse=True)
def no_thread_left():
    yield
    for thread in slow_threads():
        thread.join(PATIENCE_S)
        if thread.is_alive():
            faulthandler.dump_traceback(all_threads=True)
        assert not thread.is_alive()


class Reading:
    """A Source and what came of it."""

    def __init__(self, loop, fd):
        self.loop, self.source = loop, Source(loop, fd)
        self.data, self.chunks, self.ends = b"", 0, 0
        self.pause_after = 0
        self.source.start(self._data, self._end)

    def _data(self, data):
        assert data
        assert not self.ends
        self.data += data
        self.chunks += 1
        if self.pause_after and len(self.data) >= self.pause_after:
            self.source.pause()

    def _end(self):
        self.ends += 1

    def until(self, done):
        assert self.loop.run_until(done, PATIENCE_S), (len(self.data), self.data[-80:], self.ends)

    def until_end(self):
        self.until(lambda: self.ends)
        return self.data


class Writing:
    """A Sink and what it reported."""

    def __init__(self, loop, fd):
        self.written, self.broken = 0, []
        self.sink = Sink(loop, fd, self._written, self.broken.append)

    def _written(self, n):
        assert n > 0
        self.written += n


def is_blocking(fd):
    return not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK


def terminal(fds, raw=True):
    master, slave = fds(*pty.openpty())
    if raw:
        tty.setraw(slave)
    return master, slave


def two_ends(kind, fds, request, reads=False):
    """(the other end, ours) of what is of this kind; of a pipe ours is written, or read."""
    if kind == "slow pipe":
        request.getfixturevalue("slow")
    if kind == "socket":
        return tuple(fds(end.detach()) for end in socket.socketpair())
    if kind == "terminal":
        return terminal(fds)
    theirs, ours = fds(*os.pipe())
    return (ours, theirs) if reads else (theirs, ours)


def read_all(fd, n):
    data = b""
    while len(data) < n:
        data += os.read(fd, n - len(data))
    return data


# ------------------------------------------------------------------------------------------- Source


def test_a_pipe_is_read_to_its_end_and_stays_blocking(loop, fds):
    r, w = fds(*os.pipe())
    reading = Reading(loop, r)
    os.write(w, b"one")
    reading.until(lambda: reading.data == b"one")
    assert is_blocking(r)
    os.close(w)
    assert reading.until_end() == b"one"
    os.fstat(r)  # the caller's descriptor is still open


def test_nothing_is_called_from_within_start(loop, fds):
    path = fds(os.open(os.devnull, os.O_RDONLY))
    for fd in (path, CLOSED):
        reading = Reading(loop, fd)
        assert reading.ends == 0
        assert reading.until_end() == b""


def test_a_descriptor_that_is_not_open_is_an_end(loop):
    r, w = os.pipe()
    os.close(r), os.close(w)
    assert Reading(loop, r).until_end() == b""


def test_a_descriptor_open_for_writing_only_is_an_end(loop, fds):
    r, w = fds(*os.pipe())
    os.write(w, b"not for us")
    assert Reading(loop, w).until_end() == b""
    assert os.read(r, 99) == b"not for us"


def test_a_file_is_read_from_the_shared_offset_and_moves_it(loop, fds, tmp_path):
    path = tmp_path / "f"
    path.write_bytes(os.urandom(CHUNK * 3))
    fd = fds(os.open(path, os.O_RDONLY))
    os.lseek(fd, 100, os.SEEK_SET)
    reading = Reading(loop, fd)
    reading.pause_after = 1
    reading.until(lambda: reading.data)
    assert os.lseek(fd, 0, os.SEEK_CUR) == 100 + CHUNK  # not a byte more than was handed on
    reading.pause_after = 0
    reading.source.resume()
    assert reading.until_end() == path.read_bytes()[100:]


def test_a_file_without_end_starves_nobody(loop, fds):
    zeros = fds(os.open("/dev/zero", os.O_RDONLY))
    reading = Reading(loop, zeros)
    r, w = fds(*os.pipe())
    woken = []
    loop.add(r, IN, lambda mask: woken.append(os.read(r, 1)))
    os.write(w, b"x")
    before = reading.chunks
    loop.once()
    loop.once()
    assert woken == [b"x"]
    assert reading.chunks - before <= 2
    reading.source.close()
    loop.remove(r)


@pytest.mark.parametrize("kind", ["pipe", "terminal", "socket", "slow pipe"])
def test_after_pause_nothing_more_is_taken(loop, fds, kind, request):
    theirs, ours = two_ends(kind, fds, request, reads=True)
    reading = Reading(loop, ours)
    os.write(theirs, b"taken")
    reading.until(lambda: reading.data == b"taken")
    reading.source.pause()
    os.write(theirs, b"left")
    assert not loop.run_until(lambda: reading.data != b"taken", 0.05)
    assert select.select([ours], [], [], PATIENCE_S)[0]
    assert os.read(ours, 99) == b"left"  # as the shell would, after Ctrl-Z
    reading.source.resume()
    reading.source.resume()
    os.write(theirs, b" more")
    reading.until(lambda: reading.data == b"taken more")
    reading.source.close()


def test_a_fifo_whose_writer_is_gone_already_is_read_and_ends(loop, fds, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    r = fds(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    fcntl.fcntl(r, fcntl.F_SETFL, fcntl.fcntl(r, fcntl.F_GETFL) & ~os.O_NONBLOCK)
    w = os.open(path, os.O_WRONLY)
    os.write(w, b"x" * 1000)
    os.close(w)
    assert Reading(loop, r).until_end() == b"x" * 1000


def test_pausing_in_the_callback_reads_a_fifo_chunk_by_chunk(loop, fds):
    r, w = fds(*os.pipe())
    reading = Reading(loop, r)
    reading.pause_after = 1
    os.write(w, b"a")
    reading.until(lambda: reading.data == b"a")
    reading.pause_after = 2
    os.write(w, b"b")
    reading.source.resume()
    reading.until(lambda: reading.data == b"ab")
    os.close(w)
    reading.source.resume()
    assert reading.until_end() == b"ab"


def test_ctrl_d_at_a_cooked_terminal_is_an_end(loop, fds):
    master, slave = terminal(fds, raw=False)
    reading = Reading(loop, slave)
    os.write(master, b"line\n\x04")
    assert reading.until_end() == b"line\n"


def test_a_hang_up_is_an_end(loop, fds):
    master, slave = terminal(fds)
    reading = Reading(loop, slave)
    os.close(master)
    assert reading.until_end() == b""


def test_a_terminal_s_flags_are_left_alone(loop, fds):
    master, slave = terminal(fds)
    reading, writing = Reading(loop, slave), Writing(loop, slave)
    assert is_blocking(slave)
    writing.sink.write(b"x")
    assert os.read(master, 9) == b"x"
    reading.source.close()
    writing.sink.close()


def test_a_pty_s_master_is_not_opened_anew(loop, fds):
    master, slave = terminal(fds)
    reading, writing = Reading(loop, master), Writing(loop, master)
    os.write(slave, b"from the slave")
    reading.until(lambda: reading.data == b"from the slave")
    writing.sink.write(b"to the slave")
    assert read_all(slave, 12) == b"to the slave"
    assert loop.run_until(lambda: writing.written == 12, PATIENCE_S)
    assert is_blocking(master)
    reading.source.close()
    writing.sink.close()


def test_a_slow_descriptor_is_read_to_its_end(loop, fds, slow):
    r, w = fds(*os.pipe())
    data = os.urandom(CHUNK * 5)
    writer = threading.Thread(target=lambda: (os.write(w, data), os.close(w)), daemon=True)
    writer.start()
    assert Reading(loop, r).until_end() == data
    writer.join(PATIENCE_S)


def test_closing_a_slow_sink_that_nobody_reads_ends_its_thread(loop, fds, slow):
    _, w = fds(*os.pipe())
    writing = Writing(loop, w)
    (thread,) = slow_threads()
    writing.sink.write(b"x" * 100)
    writing.sink.write(b"x" * 500_000)
    assert loop.run_until(lambda: not select.select([], [w], [], 0)[1], PATIENCE_S)
    writing.sink.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_closing_a_slow_source_ends_its_thread_and_its_descriptors(loop, fds, slow):
    before = set(os.listdir("/proc/self/fd"))
    r, w = fds(*os.pipe())
    reading, writing = Reading(loop, r), Writing(loop, w)
    threads = slow_threads()
    assert len(threads) == 2
    reading.source.close()
    writing.sink.write(b"y")
    writing.sink.close()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    os.close(r), os.close(w)
    assert set(os.listdir("/proc/self/fd")) == before


# ------------------------------------------------------------------------------------------- Sink


@pytest.mark.parametrize("kind", ["pipe", "terminal", "socket", "file", "slow pipe"])
def test_what_is_written_arrives_and_is_reported(loop, fds, tmp_path, kind, request):
    if kind == "file":
        ours = fds(os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT))
        theirs = fds(os.open(tmp_path / "f", os.O_RDONLY))
    else:
        theirs, ours = two_ends(kind, fds, request)
    writing = Writing(loop, ours)
    writing.sink.write(b"hello")
    if kind != "slow pipe":  # no turn of the loop is needed: a keystroke's echo waits for nothing
        assert (writing.written, writing.sink.pending) == (5, 0)
    assert loop.run_until(lambda: writing.written == 5, PATIENCE_S)
    assert os.read(theirs, 99) == b"hello"
    assert is_blocking(ours)
    writing.sink.close()
    os.fstat(ours)


@pytest.mark.parametrize("kind", ["pipe", "socket", "terminal", "slow pipe"])
def test_what_a_slow_reader_does_not_take_waits_in_order(loop, fds, kind, request):
    theirs, ours = two_ends(kind, fds, request)
    data = os.urandom(2_000_000)  # more than a pipe that was widened holds
    writing = Writing(loop, ours)
    at = 0
    for size in (1, 2, 3, 1_300_000, 10, 40_000, 70_000, 5, 1, 1, 1_999_999):
        writing.sink.write(data[at : at + size])
        at += size
    assert writing.sink.pending == len(data) - writing.written > 100_000
    got = []
    reader = threading.Thread(target=lambda: got.append(read_all(theirs, len(data))), daemon=True)
    reader.start()
    assert loop.run_until(lambda: writing.written == len(data), PATIENCE_S)
    reader.join(PATIENCE_S)
    assert got == [data]
    assert writing.sink.pending == 0
    writing.sink.close()


def test_a_million_small_writes_are_few_entries(loop, fds):
    _, w = fds(*os.pipe())
    sink = Sink(loop, w)
    for _ in range(300_000):
        sink.write(b"x")
    assert len(sink._queue) < 10
    sink.close()


def test_a_stopped_terminal_blocks_nothing(loop, fds):
    master, slave = terminal(fds, raw=False)
    termios.tcflow(slave, termios.TCOOFF)  # Ctrl-S
    writing = Writing(loop, slave)
    writing.sink.write(b"held")
    loop.once(0)
    assert (writing.written, writing.sink.pending) == (0, 4)
    assert not writing.sink.flush_blocking(0.01)
    termios.tcflow(slave, termios.TCOON)
    assert loop.run_until(lambda: writing.written == 4, PATIENCE_S)
    assert os.read(master, 9) == b"held"
    writing.sink.close()


@pytest.mark.parametrize("slowly", [False, True])
def test_a_reader_that_goes_breaks_it_once(loop, fds, slowly, request):
    if slowly:
        request.getfixturevalue("slow")
    r, w = fds(*os.pipe())
    writing = Writing(loop, w)
    writing.sink.write(b"x" * 2_000_000)
    os.close(r)
    assert loop.run_until(lambda: writing.broken, PATIENCE_S)
    writing.sink.write(b"more")
    assert writing.broken == [errno.EPIPE]
    assert writing.sink.pending == 0


def test_a_pipe_without_a_reader_is_broken_by_the_first_write(loop, fds):
    r, w = fds(*os.pipe())
    os.close(r)
    writing = Writing(loop, w)
    writing.sink.write(b"x")
    assert loop.run_until(lambda: writing.broken, PATIENCE_S)
    assert writing.broken == [errno.EPIPE]


def test_a_full_disk_and_a_closed_descriptor_break_it(loop, fds):
    full = Writing(loop, fds(os.open("/dev/full", os.O_WRONLY)))
    full.sink.write(b"x")
    closed = Writing(loop, CLOSED)
    closed.sink.write(b"x")
    read_only = Writing(loop, fds(os.open(os.devnull, os.O_RDONLY)))
    read_only.sink.write(b"x")
    assert (full.broken, closed.broken, read_only.broken) == (
        [errno.ENOSPC],
        [errno.EBADF],
        [errno.EBADF],
    )
    assert (full.written, closed.written) == (0, 0)


def test_a_socket_whose_peer_went_breaks_it_without_a_signal(loop, fds):
    ours, theirs = (fds(end.detach()) for end in socket.socketpair())
    os.close(theirs)
    writing = Writing(loop, ours)
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        writing.sink.write(b"x")
    finally:
        signal.signal(signal.SIGPIPE, before)
    assert writing.broken == [errno.EPIPE]


def test_appending_keeps_to_the_end_of_a_file_that_others_write_too(loop, fds, tmp_path):
    ours = fds(os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    sink = Sink(loop, ours)
    sink.write(b"a")
    with open(tmp_path / "f", "ab") as other:
        other.write(b"b")
    sink.write(b"c")
    assert (tmp_path / "f").read_bytes() == b"abc"


@pytest.mark.parametrize("slowly", [False, True])
def test_flush_blocking_writes_all_that_is_read_in_time(loop, fds, slowly, request):
    if slowly:
        request.getfixturevalue("slow")
    r, w = fds(*os.pipe())
    sinks = [Writing(loop, w), Writing(loop, CLOSED)]
    sinks[0].sink.write(b"z" * 2_000_000)
    assert not flush_all([each.sink for each in sinks], 0.01)
    reader = threading.Thread(target=read_all, args=(r, 2_000_000), daemon=True)
    reader.start()
    assert flush_all([each.sink for each in sinks], PATIENCE_S)
    reader.join(PATIENCE_S)
    assert sinks[0].written == 2_000_000
    sinks[0].sink.close()


def test_closing_from_within_a_callback_is_fine(loop, fds):
    r, w = fds(*os.pipe())
    sink = Sink(loop, w, lambda n: sink.close())
    sink.write(b"x" * 100_000)
    loop.once(0)
    assert sink.pending == 0
    source = Source(loop, r)
    source.start(lambda data: source.close(), lambda: pytest.fail("no end after close()"))
    assert loop.run_until(lambda: source.ended, PATIENCE_S)


# --------------------------------------------------------------------------- descriptors not open


def test_numbers_that_are_not_open_are_found_and_taken():
    script = (
        "import os\n"
        "from gshell.client.stdio import standard_descriptors\n"
        "found = standard_descriptors()\n"
        "fd = os.open('/', 0)\n"
        "os.write(2, repr((found, fd > 2)).encode())\n"
    )
    run = subprocess.run(
        ["/bin/sh", "-c", '"$0" -c "$1" <&- >&-', sys.executable, script],
        stderr=subprocess.PIPE,
        timeout=PATIENCE_S,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.stderr == b"((-1, -1, 2), True)"


def test_open_numbers_are_themselves():
    assert standard_descriptors() == (0, 1, 2)


def test_the_slow_threads_know_how_much_a_pipe_takes():
    assert slowio.WRITE_CHUNK <= select.PIPE_BUF
