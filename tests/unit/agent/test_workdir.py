"""Work directories on a real disk: whose they are, and that they go, whatever a job left there."""

from __future__ import annotations

import os
from pathlib import Path

from gshell.agent.workdir import WorkDirs


def drop(dirs: WorkDirs, job: str, index: int) -> None:
    for _ in dirs.drop(job, index):
        pass


def test_a_member_has_one_directory_which_only_its_user_can_enter(tmp_path: Path) -> None:
    dirs = WorkDirs(str(tmp_path))
    path = dirs.make("7", 2)
    assert dirs.make("7", 2) == path == dirs.path("7", 2)
    assert dirs.path("7", 0) is None
    assert os.path.basename(path).startswith("gshell-7.2-")
    assert os.stat(path).st_mode & 0o777 == 0o700
    assert dirs.members("7") == [2]


def test_removal_follows_no_link_and_needs_no_permission(tmp_path: Path) -> None:
    outside = tmp_path / "precious"
    outside.mkdir()
    (outside / "kept").write_text("x")
    dirs = WorkDirs(str(tmp_path))
    path = Path(dirs.make("7", 0))
    (path / "link").symlink_to(outside)
    deep = path / "a"
    deep.mkdir()
    (deep / "link").symlink_to(outside)
    (deep / "f").write_text("x")
    deep.chmod(0)
    os.mkfifo(path / "pipe")
    drop(dirs, "7", 0)
    assert not path.exists()
    assert (outside / "kept").read_text() == "x"
    assert dirs.path("7", 0) is None


def test_a_directory_that_is_very_deep_goes_too(tmp_path: Path) -> None:
    dirs = WorkDirs(str(tmp_path))
    path = dirs.make("7", 0)
    fd = os.open(path, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    drop(dirs, "7", 0)
    assert not os.path.exists(path)


def test_a_dead_agent_s_directories_go_and_a_living_one_s_stay(tmp_path: Path) -> None:
    dead, living = WorkDirs(str(tmp_path)), WorkDirs(str(tmp_path))
    left, kept = Path(dead.make("7", 0)), Path(living.make("8", 0))
    (left / "out").write_text("x")
    (kept / "out").write_text("x")
    dead._place._unlock()  # as its end does
    for _ in WorkDirs(str(tmp_path)).leftovers():
        pass
    assert not left.parent.exists()
    assert (kept / "out").exists()
    living.remove()
    assert list(tmp_path.iterdir()) == []
