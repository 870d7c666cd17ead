"""The agent as one file, with and without bytecode."""

import os
import subprocess
import sys
import zipfile

from gshell.agent import pack


def started(path, *words):
    return subprocess.run(
        [sys.executable, "-I", "-S", path, *words], capture_output=True, text=True, timeout=30
    )  # fmt: skip


def test_the_same_sources_make_the_same_file(tmp_path):
    first, second = tmp_path / "a.pyz", tmp_path / "b.pyz"
    pack.pack(str(first))
    pack.pack(str(second))
    assert first.read_bytes() == second.read_bytes()


def test_what_is_compiled_runs_from_its_bytecode_and_has_its_sources_for_other_versions(tmp_path):
    packed, compiled = str(tmp_path / "a.pyz"), str(tmp_path / "a.x.pyz")
    pack.pack(packed)
    assert started(packed, "compile", compiled).returncode == 0
    with zipfile.ZipFile(compiled) as archive:
        names = set(archive.namelist())
        code = archive.read("gshell/agent/main.pyc")
    assert {name + "c" for name in names if name.endswith(".py")} < names
    assert str(tmp_path).encode() not in code  # the names of files are those in the zip
    # With a source that is no Python, it is surely the bytecode that runs.
    spoiled = str(tmp_path / "spoiled.pyz")
    with zipfile.ZipFile(compiled) as archive, zipfile.ZipFile(spoiled, "w") as other:
        for name in archive.namelist():
            data = archive.read(name)
            other.writestr(name, b"no python" if name == "gshell/agent/main.py" else data)
    assert started(spoiled, "--version").stdout == started(packed, "--version").stdout != ""


def test_a_wrong_place_for_the_compiled_file_is_an_error_and_leaves_nothing(tmp_path):
    packed = str(tmp_path / "a.pyz")
    pack.pack(packed)
    assert started(packed, "compile", str(tmp_path / "no" / "where.pyz")).returncode != 0
    assert os.listdir(tmp_path) == ["a.pyz"]
