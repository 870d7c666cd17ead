"""The launcher in every kind of installation, each laid out by hand around a front that reports."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

import gshell
from gshell import config, sitepath
from gshell.client import stub

VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
FRONT = """
import json, os, sys
print(json.dumps(dict(
    argv=sys.argv, flags=[sys.flags.isolated, sys.flags.no_site], python=sys.executable,
    option=sys._xoptions.get("gshell_site"), input=sys.stdin.read(), env=dict(os.environ),
)))
sys.exit(7)
"""


def launcher() -> pathlib.Path:
    """Of the checkout or, where gshell is installed from a wheel, the command itself."""
    beside = pathlib.Path(gshell.__file__).parent / "data/launcher.sh"
    return beside if beside.exists() else pathlib.Path(sys.executable).parent / "gshell"


@pytest.fixture
def prefix(tmp_path):
    """A prefix as of `pip install --prefix`, in a path with spaces; no interpreter of its own."""
    home = tmp_path / "a prefix"
    (home / "bin").mkdir(parents=True)
    (home / "bin/gshell").write_text(launcher().read_text())
    (home / "bin/gshell").chmod(0o755)
    put_front(home / f"lib/{VERSION}/site-packages")
    return home


def put_front(site):
    (site / "gshell").mkdir(parents=True)
    (site / "gshell/front.py").write_text(FRONT)


def own_interpreter(prefix):
    (prefix / f"bin/{VERSION}").symlink_to(sys.executable)
    return str(prefix / f"bin/{VERSION}")


def run(*argv, cwd=None, **env):
    path = f"{pathlib.Path(sys.executable).resolve().parent}:/usr/bin:/bin"
    env = {"PATH": path, **env}
    ran = subprocess.run(argv, input="typed", capture_output=True, text=True, cwd=cwd, env=env)
    assert (ran.returncode, ran.stderr) == (7, "")
    return json.loads(ran.stdout)


def test_arguments_input_and_exit_code_pass_through(prefix):
    said = run(prefix / "bin/gshell", "run", "a b", "", "*", "--", "$x")
    assert said["argv"][1:] == ["run", "a b", "", "*", "--", "$x"]
    assert said["input"] == "typed"


def test_python_starts_isolated_and_without_site(prefix):
    assert run(prefix / "bin/gshell")["flags"] == [1, 1]


def test_the_environment_s_own_interpreter_is_preferred(prefix):
    python = own_interpreter(prefix)
    assert run(prefix / "bin/gshell")["python"] == python


def test_without_one_the_interpreter_of_that_version_on_path_is_used(prefix):
    said = run(prefix / "bin/gshell")
    assert os.path.basename(said["python"]) == VERSION


def test_front_learns_which_site_packages_it_belongs_to(prefix):
    said = run(prefix / "bin/gshell")
    assert said["option"] == str(prefix / f"lib/{VERSION}/site-packages")


def test_a_package_of_a_version_that_is_not_installed_is_passed_over(prefix):
    put_front(prefix / "lib/python3.0/site-packages")
    assert f"/{VERSION}/" in run(prefix / "bin/gshell")["argv"][0]


def test_debian_s_folder_is_found_too(prefix):
    (prefix / f"lib/{VERSION}/site-packages").rename(prefix / f"lib/{VERSION}/dist-packages")
    assert "dist-packages" in run(prefix / "bin/gshell")["argv"][0]


@pytest.mark.parametrize("name", ["_gshell.pth", "_editable_impl_gshell.pth"])
@pytest.mark.parametrize("end", ["", "\n", "\n/elsewhere\n"])
def test_an_editable_installation_leads_to_the_checkout(prefix, tmp_path, name, end):
    site = prefix / f"lib/{VERSION}/site-packages"
    (site / "gshell").rename(site / "gone")
    put_front(tmp_path / "my checkout")
    (site / name).write_text(str(tmp_path / "my checkout") + end)
    said = run(prefix / "bin/gshell")
    assert said["argv"][0] == str(tmp_path / "my checkout/gshell/front.py")
    assert (said["option"], said["input"]) == (str(site), "typed")


def test_a_symlink_to_it_finds_the_same(prefix, tmp_path):
    (tmp_path / "one").symlink_to(prefix / "bin/gshell")
    (tmp_path / "two").symlink_to("one")
    assert str(prefix) in run(tmp_path / "two")["argv"][0]


def test_a_symlink_to_its_folder_finds_the_same(prefix, tmp_path):
    (tmp_path / "bin").symlink_to(prefix / "bin")
    assert str(prefix) in run(tmp_path / "bin/gshell")["argv"][0]


@pytest.mark.parametrize(
    ("cwd", "argv"),
    [
        ("bin", ["./gshell"]),
        ("bin", ["sh", "gshell"]),
        (".", ["bin/gshell"]),
        ("lib", ["../bin/gshell"]),
        ("lib", ["sh", "../bin/gshell"]),
    ],
)
def test_a_relative_name_gives_absolute_paths(prefix, cwd, argv):
    front = run(*argv, cwd=prefix / cwd)["argv"][0]
    assert front == str(prefix / f"lib/{VERSION}/site-packages/gshell/front.py")


def test_the_user_s_environment_is_left_as_it_is(prefix):
    mine = dict.fromkeys(("self", "bin", "site", "root", "python", "pth"), "mine")
    seen = run(prefix / "bin/gshell", **mine)["env"]
    assert {name: seen.get(name) for name in mine} == mine


def test_no_process_is_spent_on_finding_it(prefix):
    # With an empty PATH nothing but builtins can run; the interpreter is beside it.
    own_interpreter(prefix)
    assert run(prefix / "bin/gshell", PATH="/nonexistent")["input"] == "typed"


# ---------------------------------------------------------------------------------- the compiled front


@pytest.fixture
def compiled(prefix, tmp_path):
    """Puts a program that reports where stub.py would put the compiled front; the package's directory."""
    site = prefix / f"lib/{VERSION}/site-packages"
    own_interpreter(prefix)

    def put(cache=tmp_path / "me/.cache/gshell"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sitepath, "root", lambda: str(site))
            patch.setattr(config, "cache_dir", lambda: str(cache))
            path = pathlib.Path(stub.path())
        path.parent.mkdir(parents=True)
        path.write_text(f"#!{sys.executable}\n{FRONT}")
        path.chmod(0o755)
        return path

    return put


@pytest.mark.parametrize("verb", ["run", "mpi", "sh", "attach", "logs"])
def test_the_compiled_front_is_taken_and_told_how_python_is_started(
    prefix, tmp_path, compiled, verb
):
    path = compiled()
    site = prefix / f"lib/{VERSION}/site-packages"
    said = run(prefix / "bin/gshell", verb, "a b", "", "*", HOME=str(tmp_path / "me"))
    python = ["6", str(prefix / f"bin/{VERSION}"), "-I", "-S", "-X", f"gshell_site={site}"]
    assert said["argv"] == [str(path), *python, str(site / "gshell/front.py"), verb, "a b", "", "*"]
    assert said["input"] == "typed"


@pytest.mark.parametrize("words", [(), ("jobs",), ("run-this",), ("-q", "run")])
def test_for_other_verbs_it_is_not(prefix, tmp_path, compiled, words):
    compiled()
    assert run(prefix / "bin/gshell", *words, HOME=str(tmp_path / "me"))["argv"][1:] == list(words)


@pytest.mark.parametrize(
    ("cache", "env"),
    [
        ("home/cache", {"GSHELL_HOME": "home", "XDG_CACHE_HOME": "other", "HOME": "me"}),
        ("xdg/gshell", {"XDG_CACHE_HOME": "xdg", "HOME": "me"}),
    ],
)
def test_it_is_looked_for_in_the_user_s_cache(prefix, tmp_path, compiled, cache, env):
    path = compiled(tmp_path / cache)
    env = {name: str(tmp_path / value) for name, value in env.items()}
    assert run(prefix / "bin/gshell", "run", **env)["argv"][0] == str(path)


def test_one_that_cannot_run_is_passed_over(prefix, tmp_path, compiled):
    compiled().chmod(0o644)
    assert run(prefix / "bin/gshell", "run", HOME=str(tmp_path / "me"))["argv"][1:] == ["run"]


def test_one_of_somebody_else_is_passed_over(prefix, tmp_path, compiled):
    if os.geteuid() != 0:
        pytest.skip("needs root, to give a file away")
    os.chown(compiled(), 65534, -1)
    assert run(prefix / "bin/gshell", "run", HOME=str(tmp_path / "me"))["argv"][1:] == ["run"]


def test_without_a_home_there_is_none(prefix):
    assert run(prefix / "bin/gshell", "run")["argv"][1:] == ["run"]


def test_no_process_is_spent_on_finding_the_compiled_one_either(prefix, tmp_path, compiled):
    path = compiled()
    said = run(prefix / "bin/gshell", "run", PATH="/nonexistent", HOME=str(tmp_path / "me"))
    assert said["argv"][0] == str(path)
