import json
import pathlib
import subprocess
import sys

import gshell
from gshell import sitepath

ROOT = str(pathlib.Path(gshell.__file__).parents[1])


def run(code, *options):
    argv = [sys.executable, "-I", "-S", *options, "-c", code]
    ran = subprocess.run(argv, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    return json.loads(ran.stdout)


def start(then):
    return f"import sys, json; sys.path.append({ROOT!r}); from gshell import sitepath; {then}"


def test_third_party_packages_are_out_of_reach_before_and_in_reach_after():
    code = start(
        "from importlib.util import find_spec as find; before = sorted(sys.modules);"
        "sitepath.enable();"
        "print(json.dumps([('site' in before), find('asyncssh') is not None]))"
    )
    assert run(code) == [False, True]


def test_enabling_twice_adds_nothing():
    code = start(
        "sitepath.enable(); once = list(sys.path); sitepath.enable();"
        "print(json.dumps([once, sys.path]))"
    )
    once, twice = run(code)
    assert once == twice
    assert len(once) == len(set(once))


def test_the_users_packages_are_those_beside_gshell(tmp_path):
    site = tmp_path / "lib/python3/site-packages"
    site.mkdir(parents=True)
    (site / "neighbour.py").write_text("here = True")
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout/other.py").write_text("here = True")
    (site / "other.pth").write_text(str(tmp_path / "checkout"))
    code = start(
        "sitepath.enable(); import neighbour, other;print(json.dumps([neighbour.here, other.here]))"
    )
    assert run(code, "-X", f"gshell_site={site}") == [True, True]


def test_a_checkout_is_no_site_folder(tmp_path):
    code = start("sitepath.enable(); print(json.dumps(sys.path))")
    assert str(tmp_path) not in run(code, "-X", f"gshell_site={tmp_path}")


def test_another_interpreter_is_started_as_this_one_was():
    code = start("print(json.dumps(sitepath.interpreter()[1:]))")
    assert run(code, "-X", "gshell_site=/x/site-packages") == [
        "-I", "-S", "-X", "gshell_site=/x/site-packages",
    ]  # fmt: skip
    assert run(code) == ["-I", "-S"]


def test_with_site_there_is_nothing_to_do():
    before = list(sys.path)
    sitepath.enable()
    assert sys.path == before
    assert sitepath.interpreter() == [sys.executable]


def test_root_is_where_the_package_lies():
    assert sitepath.root() == ROOT
