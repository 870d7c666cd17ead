"""The spool on a real disk: what is kept where, who may read it, and disks that refuse."""

import errno
import os
import resource
import shutil
import stat
import subprocess
import sys

import pytest

from gshell.agent.budget import Budget
from gshell.agent.sessionlog import Retention, StreamLog
from gshell.agent.spool import BLOCK_BYTES, Spool, SpoolTrouble, Unreadable
from gshell.agent.spoolplace import SpoolPlace
from gshell.wire.streams import Missing


def text(start: int, size: int) -> bytes:
    return bytes(at % 251 for at in range(start, start + size))


@pytest.fixture
def spool(tmp_path):
    spool = Spool(str(tmp_path / "stream"), segment_bytes=1000)
    yield spool
    spool.delete()
    assert list(tmp_path.iterdir()) == []


def fill(spool: Spool, start: int, end: int, piece: int = 300) -> None:
    for at in range(start, end, piece):
        spool.append(at, text(at, min(piece, end - at)))


def segments(spool: Spool) -> list[int]:
    return sorted(map(int, os.listdir(spool.path)))


def test_nothing_is_made_before_it_is_needed(spool):
    assert not os.path.exists(spool.path)
    assert spool.read(0, 10) == b""


def test_only_the_owner_can_read_it_whatever_the_umask(spool):
    before = os.umask(0)
    try:
        fill(spool, 0, 100)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(spool.path).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(f"{spool.path}/0").st_mode) == 0o600


def test_bytes_are_found_by_offset_across_segments(spool):
    fill(spool, 5000, 9000)
    assert (spool.start, spool.end, spool.size) == (5000, 9000, 4000)
    assert segments(spool) == [5000, 6200, 7400, 8600]
    for offset in range(5000, 9000, 77):
        data = spool.read(offset, 500)
        assert 0 < len(data) <= 500
        assert data == text(offset, len(data))
    assert spool.read(9000, 1) == spool.read(4999, 1) == b""


def test_whole_segments_are_forgotten_and_their_space_comes_back(spool):
    fill(spool, 0, 4000)
    spool.drop_before(2500)
    assert (spool.start, segments(spool)) == (2400, [2400, 3600])
    assert not spool.drop_oldest(3599)
    assert spool.drop_oldest(3600)
    assert spool.read(3600, 100) == text(3600, 100)
    spool.clear()
    assert (spool.size, segments(spool)) == (0, [])
    fill(spool, 10_000, 10_100)
    assert spool.read(10_000, 100) == text(10_000, 100)


def test_two_descriptors_at_most_and_none_afterwards(spool, tmp_path):
    def held():
        links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
        names = [os.readlink(link) for link in links if os.path.lexists(link)]
        return sum(name.startswith(str(tmp_path)) for name in names)

    fill(spool, 0, 10_000)
    for offset in range(0, 10_000, 500):
        spool.read(offset, 10)
        assert held() <= 2
    spool.clear()
    assert held() == 0


@pytest.mark.parametrize("trap", ["directory", "link", "file"])
def test_what_is_there_already_is_not_used(tmp_path, trap):
    path, elsewhere = tmp_path / "stream", tmp_path / "elsewhere"
    elsewhere.mkdir()
    {
        "directory": path.mkdir,
        "link": lambda: path.symlink_to(elsewhere),
        "file": path.touch,
    }[trap]()
    with pytest.raises(SpoolTrouble):
        Spool(str(path)).append(0, b"secret")
    assert list(elsewhere.iterdir()) == []


def test_a_link_in_a_segment_s_place_is_not_followed(spool, tmp_path):
    fill(spool, 0, 1200)
    victim = tmp_path / "victim"
    os.symlink(victim, f"{spool.path}/1200")
    with pytest.raises(SpoolTrouble):
        spool.append(1200, b"x")
    assert not victim.exists()
    os.unlink(f"{spool.path}/1200")
    spool.append(1200, b"x")


def test_a_segment_that_was_removed_or_cut_is_an_error_and_not_silence(spool):
    fill(spool, 0, 4000)
    os.unlink(f"{spool.path}/0")
    with pytest.raises(SpoolTrouble, match="No such file"):
        spool.read(0, 10)
    os.truncate(f"{spool.path}/1200", 0)
    with pytest.raises(SpoolTrouble, match="cut short"):
        spool.read(1200, 10)


def test_a_write_that_fails_in_the_middle_changes_nothing(spool, monkeypatch):
    fill(spool, 0, 300)
    real, calls = os.pwrite, []

    def half_then_full(fd, data, at):
        calls.append(at)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, bytes(data)[:100], at)

    monkeypatch.setattr(os, "pwrite", half_then_full)
    with pytest.raises(SpoolTrouble, match="no room"):
        spool.append(300, b"x" * 300)
    monkeypatch.undo()
    assert spool.end == 300
    fill(spool, 300, 900)
    assert spool.read(0, 900) == text(0, 900)


def test_a_new_segment_that_cannot_be_written_is_removed_again(spool, monkeypatch):
    fill(spool, 0, 1200)

    def refuse(fd, data, at):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "pwrite", refuse)
    with pytest.raises(SpoolTrouble, match="quota"):
        spool.append(1200, b"x")
    monkeypatch.undo()
    assert segments(spool) == [0]
    fill(spool, 1200, 1500)
    assert spool.read(1200, 300) == text(1200, 300)


def mounted(path, size: int) -> str:
    """Mount a file system of ``size`` bytes there; the reason why not, or nothing."""
    if os.geteuid() != 0:
        return "only root can mount a file system of its own"
    argv = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(path)]
    return subprocess.run(argv, capture_output=True, text=True).stderr


def write_while_there_is_room(log: StreamLog) -> None:
    while not log.full and log.end < 1 << 20:
        log.append(text(log.end, 8192))


def test_a_log_on_a_disk_that_is_full_waits_and_goes_on(tmp_path):
    reason = mounted(tmp_path, 256 * 1024)
    if reason:
        pytest.skip(reason)
    try:
        spool = Spool(str(tmp_path / "stream"), segment_bytes=64 * 1024)
        log = StreamLog(lambda: spool, Retention(16_384, 32_768), Budget(1 << 20))
        cursor = log.cursor(0, needed=True)
        write_while_there_is_room(log)
        assert "No space left" in str(log.trouble)
        assert 200_000 < log.end < 256 * 1024 + 60_000
        at = 0
        while at < log.end:
            data = cursor.read(at, 8192)
            assert data == text(at, len(data))
            at += len(data)
            cursor.release(at)
            write_while_there_is_room(log)
        assert log.end >= 1 << 20
        assert log.trouble is None
        log.delete()
        assert os.listdir(tmp_path) == []
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_limit_on_file_size_is_an_error_and_no_signal(tmp_path):
    # A batch system may set one; Python ignores XFSZ, so a write says EFBIG.
    script = (
        "import resource, sys; from gshell.agent.spool import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: Spool(sys.argv[1]).append(0, bytes(5000))\n"
        "except SpoolTrouble as trouble: print(trouble)"
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "stream")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(argv, capture_output=True, text=True, env=env)
    assert "File too large" in ran.stdout, ran.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def flip(path: str, at: int) -> None:
    with open(path, "r+b", buffering=0) as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 4]))


def test_a_bit_that_flipped_on_disk_is_an_error_and_costs_a_block(tmp_path):
    spool = Spool(str(tmp_path / "stream"), segment_bytes=4 * BLOCK_BYTES)
    fill(spool, 0, 6 * BLOCK_BYTES + 100, piece=7001)
    flip(f"{spool.path}/0", BLOCK_BYTES + 5)
    with pytest.raises(Unreadable, match="changed") as lost:
        spool.read(2 * BLOCK_BYTES - 1, 10)
    assert lost.value.end == 2 * BLOCK_BYTES
    newest = segments(spool)[-1]
    flip(f"{spool.path}/{newest}", 5)  # the one that is still written to
    with pytest.raises(Unreadable, match="changed"):
        spool.read(newest, 10)
    wrong = (range(BLOCK_BYTES, 2 * BLOCK_BYTES), range(newest, newest + BLOCK_BYTES))
    for offset in range(0, spool.end, 3001):
        if not any(offset in bad for bad in wrong):
            data = spool.read(offset, 5000)
            assert data == text(offset, len(data))
            assert data
    spool.delete()


def test_a_segment_that_was_removed_is_a_gap_and_what_is_behind_it_is_read(tmp_path):
    log = StreamLog(
        lambda: Spool(str(tmp_path / "stream"), 1000), Retention(500, 500), Budget(1 << 20)
    )
    cursor = log.cursor(0, needed=True)
    for at in range(0, 9000, 300):
        log.append(text(at, 300))
    assert log._spool is not None
    names = segments(log._spool)
    os.unlink(f"{log._spool.path}/{names[0]}")
    with pytest.raises(Missing) as missing:
        cursor.read(0, 100)
    assert missing.value.start == names[1]
    assert cursor.read(names[1], 100) == text(names[1], 100)
    log.delete()


def test_a_directory_that_was_removed_underneath_is_made_again(tmp_path):
    place = SpoolPlace(str(tmp_path))
    spool = Spool(place.next_path(), 1000, place.remake)
    fill(spool, 0, 1200)
    shutil.rmtree(os.path.dirname(spool.path))
    fill(spool, 1200, 2400)
    assert spool.read(1200, 300) == text(1200, 300)
    with pytest.raises(Unreadable):
        spool.read(0, 300)
    place.remove()
    assert os.listdir(tmp_path) == []


def test_without_descriptors_what_is_on_disk_is_read_all_the_same(spool):
    fill(spool, 0, 4000)
    spool.read(0, 10)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = max(int(name) for name in os.listdir("/proc/self/fd")) + 1
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(taken)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(held) + 1, before[1]))
    try:
        spool._close("_old_fd")
        spool._old = None
        held.append(os.open(os.devnull, os.O_RDONLY))  # what it gave up
        with pytest.raises(OSError, match="Too many"):
            os.open(os.devnull, os.O_RDONLY)
        assert spool.read(0, 10) == text(0, 10)
        with pytest.raises(SpoolTrouble, match="Too many"):
            spool.append(4000, b"x")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for fd in held:
            os.close(fd)
    spool.append(4000, text(4000, 300))
    assert spool.read(3900, 10) == text(3900, 10)


def test_a_file_that_cannot_be_removed_now_is_removed_later(spool, monkeypatch):
    fill(spool, 0, 4000)

    def refuse(path):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "unlink", refuse)
    spool.drop_before(2500)
    assert (spool.start, segments(spool)) == (2400, [0, 1200, 2400, 3600])
    monkeypatch.undo()
    spool.drop_before(3600)
    assert segments(spool) == [3600]
