"""Where an agent's spools are, and what becomes of those of agents that were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gshell.agent import spoolplace
from gshell.agent.spool import Spool
from gshell.agent.spoolplace import SpoolPlace, usual_quota

DYING = """
import os, signal, sys
from gshell.agent.spool import Spool
from gshell.agent.spoolplace import SpoolPlace
place = SpoolPlace(sys.argv[1])
for _ in range(3):
    spool = Spool(place.next_path(), 1000)
    for at in range(0, 5000, 500):
        spool.append(at, bytes(500))
os.kill(os.getpid(), signal.SIGKILL)
"""


def leave_one(base: Path) -> Path:
    """What an agent leaves that is killed."""
    before = set(base.iterdir())
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", DYING, str(base)]
    assert subprocess.run(argv, env=env, timeout=30).returncode == -signal.SIGKILL
    (path,) = set(base.iterdir()) - before
    assert len(list(path.rglob("*"))) > 10
    return path


def clean(base: Path) -> int:
    return len(list(SpoolPlace(str(base)).leftovers()))


def test_what_a_killed_agent_left_is_removed_by_the_next(tmp_path):
    leave_one(tmp_path)
    assert clean(tmp_path) == 15
    assert list(tmp_path.iterdir()) == []


def test_what_a_living_agent_has_is_left_alone(tmp_path):
    living = SpoolPlace(str(tmp_path))
    spool = Spool(living.next_path())
    spool.append(0, b"here")
    assert clean(tmp_path) == 0
    assert spool.read(0, 4) == b"here"
    living.remove()
    assert list(tmp_path.iterdir()) == []


def test_only_its_owner_may_look_into_it(tmp_path):
    place = SpoolPlace(str(tmp_path))
    path = os.path.dirname(place.next_path())
    assert os.stat(path).st_mode & 0o777 == 0o700
    place.remove()


def test_no_link_is_followed_and_nothing_removed_that_is_not_ours(tmp_path):
    base, victim = tmp_path / "base", tmp_path / "victim"
    base.mkdir()
    leave_one(base).rename(victim)
    precious = victim / "1" / "0"
    (base / f"{spoolplace._prefix(spoolplace.SPOOLS)}link").symlink_to(
        victim
    )  # a link to what looks like one
    left = leave_one(base)
    (left / "letter").write_text("dear")  # somebody's own
    (left / "7").symlink_to(victim / "1")
    (left / "1" / "99").symlink_to(precious)  # removed, and what it shows stays
    (base / "gshell-spool-other-host").mkdir()
    clean(base)
    assert precious.exists()
    assert (left / "letter").read_text() == "dear"
    assert sorted(path.name for path in left.iterdir()) == ["7", "letter"]
    assert (base / "gshell-spool-other-host").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")
def test_what_another_user_left_is_not_ours(tmp_path):
    left = leave_one(tmp_path)
    os.chown(left, 12345, 12345)
    assert clean(tmp_path) == 0


def test_a_lock_that_is_a_fifo_holds_up_nobody(tmp_path):
    left = leave_one(tmp_path)
    (left / "lock").unlink()
    os.mkfifo(left / "lock")
    assert clean(tmp_path) == 0


def test_a_place_that_is_not_there_is_an_error_when_it_is_needed(tmp_path):
    place = SpoolPlace(str(tmp_path / "none"))
    assert list(place.leftovers()) == []
    with pytest.raises(OSError, match="No such file"):
        place.next_path()
    place.remove()


def test_the_usual_quota_is_half_of_what_is_free_within_bounds(tmp_path, monkeypatch):
    def free(size: int) -> None:
        status = type("status", (), {"f_bavail": size // 4096, "f_frsize": 4096})
        monkeypatch.setattr(os, "statvfs", lambda path: status)

    free(3 << 30)
    assert usual_quota("/") == 3 << 29
    free(1 << 40)
    assert usual_quota("/") == 4 << 30
    free(0)
    assert usual_quota("/") == 64 << 20
    monkeypatch.undo()
    assert usual_quota(str(tmp_path / "none")) == 4 << 30
