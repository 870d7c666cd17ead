"""How the front process in C is compiled, and where it is kept."""

import os
import shutil
import types

import pytest

from gshell import sitepath
from gshell.client import stub
from kit.backgroundplay import SOURCE


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A package with the source, and a cache of its own."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: cc")
    data = tmp_path / "site/gshell/data"
    data.mkdir(parents=True)
    shutil.copy(SOURCE, data)
    monkeypatch.setattr(sitepath, "root", lambda: str(tmp_path / "site"))
    monkeypatch.setattr(stub, "NICE", 0)  # of this very process
    monkeypatch.setenv("GSHELL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CC", raising=False)
    return types.SimpleNamespace(data=data, home=tmp_path / "home")


def files(folder):
    return [path.name for path in folder.rglob("*") if not path.is_dir()]


def test_it_is_compiled_once_into_a_private_directory(place):
    assert stub.build()
    there = os.stat(stub.path())
    assert (there.st_mode & 0o777, there.st_uid) == (0o755, os.getuid())
    assert os.stat(place.home / "cache").st_mode & 0o777 == 0o700
    assert stub.build()
    assert os.stat(stub.path()).st_ino == there.st_ino
    assert files(place.home) == ["front-1"]


def test_another_source_is_compiled_anew(place):
    assert stub.build()
    with open(place.data / "front.c", "a") as file:
        file.write("/* changed */\n")
    before = os.stat(stub.path()).st_ino
    keep = os.open(stub.path(), os.O_RDONLY)  # so that its number is not used again
    assert stub.build()
    assert os.stat(stub.path()).st_ino != before
    os.close(keep)


@pytest.mark.parametrize("compiler", ["/not/there", "false", "true", "cc -not-an-option"])
def test_without_a_compiler_that_works_nothing_happens(place, monkeypatch, compiler):
    monkeypatch.setenv("CC", compiler)
    assert not stub.build()
    assert files(place.home) == []


def test_what_does_not_run_here_is_not_installed(place, monkeypatch):
    (place.data / "front.c").write_text("int main(void) { return 1; }\n")
    assert not stub.build()
    assert files(place.home) == []


def test_where_no_archive_is_a_dynamic_one_is_made(place, monkeypatch):
    monkeypatch.setattr(stub, "LINKS", (("-static", "-lnot_there"), ()))
    assert stub.build()


def test_no_error_where_the_cache_cannot_be_written(place, monkeypatch):
    place.home.write_text("a file")
    assert not stub.build()


def test_what_nobody_asks_for_is_removed_in_time(place):
    other = place.home / "cache/front/another-host/gone/front-1"
    other.parent.mkdir(parents=True)
    other.write_text("")
    os.utime(other, (0, 0))
    assert stub.build()
    assert files(place.home) == ["front-1"]


@pytest.mark.skipif(os.getuid() == 0, reason="root may")
def test_who_is_nicer_already_stays_so(place, monkeypatch):
    monkeypatch.setattr(stub, "NICE", os.getpriority(os.PRIO_PROCESS, 0) - 1)
    assert stub.build()
