"""Which cgroup the batch lane gets, and what is written there, on a file system of the test's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gshell.agent.cpugroup import CpuGroup, _ours
from gshell.agent.proctree import Process, Tree


def tree(*pids: int) -> Tree:
    made = Tree()
    made.members = {pid: Process(pid, 1, pid, "R", 0) for pid in pids}
    return made


def mounts(tmp_path: Path, own: str) -> dict[str, str]:
    (tmp_path / "own").write_text(own)
    return {"mounts": str(tmp_path), "own": str(tmp_path / "own")}


def test_the_hierarchies_with_a_cpu_controller_are_found(tmp_path: Path) -> None:
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified/cgroup.controllers").touch()
    where = mounts(tmp_path, "4:memory:/m\n2:cpu,cpuacct:/job\n0::/user/a\n")
    assert _ours(**where) == [
        (False, f"{tmp_path}/cpu", "/job"), (False, f"{tmp_path}/cpu,cpuacct", "/job"),
        (True, f"{tmp_path}/unified", "/user/a"),
    ]  # fmt: skip


def test_the_machine_s_root_is_nobody_s_to_give(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    assert CpuGroup.find(**mounts(tmp_path, "1:cpu:/\n")) is None


def test_a_group_without_a_controller_is_none_and_goes(tmp_path: Path) -> None:
    (tmp_path / "cpu/job").mkdir(parents=True)
    assert CpuGroup.find(**mounts(tmp_path, "1:cpu:/job\n")) is None
    assert list((tmp_path / "cpu/job").iterdir()) == []


@pytest.mark.parametrize(
    ("v2", "file", "weight", "usual"),
    [(False, "cpu.shares", "114", "1024"), (True, "cpu.weight", "11", "100")],
)
def test_its_weight_is_written_and_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, v2: bool, file: str, weight: str, usual: str
) -> None:
    wrote: list[tuple[str, Any]] = []
    monkeypatch.setattr(
        "gshell.agent.cpugroup._write", lambda path, value: wrote.append((Path(path).name, value))
    )
    group = CpuGroup(str(tmp_path), v2)
    assert group.apply([tree(7, 8)], 1 / 9)
    assert group.apply([tree(7, 8)], 1 / 9)  # the same again is nothing to write
    assert wrote == [(file, int(weight)), ("cgroup.procs", 7), ("cgroup.procs", 8)]
    wrote.clear()
    assert group.restore()
    assert wrote == [(file, int(usual))]
