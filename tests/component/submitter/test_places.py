"""A submitter's work at real places: this host, and a front end over ssh (behind a jump host)."""

import os
import pathlib
import stat
import subprocess
import sys

import pytest

from gshell import plugins
from gshell.lrms.base import Command, LrmsError, Queue, State, Status
from gshell.submitter import actions, place, script, stage, worker
from gshell.submitter.pilot import Pilot
from gshell.submitter.site import Site
from kit.procs import until
from kit.sshd import JUMP, TARGET, Sshd, why_missing

SITE = Site("here", "local", idle=60)
TOKEN = "gshell://127.0.0.1:1/" + "0" * 64 + "#token"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("GSHELL_HOME", str(tmp_path / "home"))
    return place.Here()


class Fake:
    """A plug-in of a batch system that is a directory: a job is a file that ends when it is gone."""

    name = "fake"
    directive = "#FAKE"

    def __init__(self, folder):
        self.folder = folder

    def header(self, request):
        return [f"#FAKE name={request.name}"]

    def submit(self, request):
        code = 'test ! -e "$1/down" || { echo "queue is closed" >&2; exit 1; }; echo "$2" > "$1/7"; echo 7'
        return Command(["sh", "-c", code, "sh", str(self.folder), request.name])

    def submitted(self, done):
        if done.code:
            raise LrmsError("refused", done.err.strip())
        return done.out.strip()

    def status(self, ids):
        return [Command(["ls", str(self.folder)])]

    def statuses(self, ids, done):
        there = done[0].out.split()
        return {
            id: Status(
                id, State.RUNNING if id in there else State.ENDED, "" if id in there else "gone"
            )
            for id in ids
        }

    def cancel(self, ids):
        return Command(["sh", "-c", 'cd "$1"; shift; rm -f "$@"', "sh", str(self.folder), *ids])

    def find(self, prefix, user):
        return Command(["sh", "-c", 'cd "$1"; for f in [0-9]*; do [ -e "$f" ] && echo "$f $(cat "$f")"; done; :', "sh",
                        str(self.folder)])  # fmt: skip

    def found(self, done):
        return dict(line.split() for line in done.out.splitlines())

    def offers(self):
        return [Command(["no-such-batch-system"])]

    def offered(self, done):
        return [Queue("main")]


@pytest.fixture
def fake(tmp_path):
    folder = tmp_path / "jobs"
    folder.mkdir()
    return Fake(folder)


def new_pilot(site=SITE):
    pilot = Pilot("p1", site, {"nodes": 1})
    pilot.invite = TOKEN
    return pilot


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_what_a_pilot_needs_is_staged_for_nobody_elses_eyes(here, fake):
    result = worker.perform(SITE, actions.Submit(new_pilot(), False), fake, here)
    assert result == actions.Submitted("p1", "7")
    files = stage.files_of(here, "p1")
    assert pathlib.Path(files.invite).read_text().strip() == TOKEN
    assert (mode(files.invite), mode(files.script), mode(here.home)) == (0o600, 0o700, 0o700)
    text = pathlib.Path(files.script).read_text()
    assert text.startswith("#!/bin/sh\n#FAKE name=gshell-p1\n")
    assert "token" not in text.replace(files.invite, "")
    worker.perform(SITE, actions.Clear("p1"), fake, here)
    assert not os.path.exists(files.invite)


def test_the_agent_is_copied_once(here, fake):
    first = stage.put_pyz(here)
    before = os.stat(first)
    assert stage.put_pyz(here) == first
    assert os.stat(first).st_ino == before.st_ino


def test_with_the_agent_comes_one_compiled_there_which_the_pilots_script_takes(here, tmp_path):
    staged = stage.put_pyz(here)
    others = set(os.listdir(here.home)) - {os.path.basename(staged)}
    tag = subprocess.run(
        ["python3", "-c", "import sys; print(sys.implementation.cache_tag)"],
        capture_output=True, text=True, timeout=30, check=True,
    ).stdout.strip()  # fmt: skip
    compiled = staged.replace(".pyz", f".{tag}.pyz")
    assert os.path.basename(compiled) in others
    with open(compiled, "w") as file:
        file.write("print('compiled')\n")
    os.chmod(compiled, 0o600)
    text = script.text([], script.Staged(staged, "nowhere"), [])
    assert run_script(text, tmp_path).stdout == "compiled\n"


def test_a_job_that_was_submitted_before_a_crash_is_found_by_its_name(here, fake):
    worker.perform(SITE, actions.Submit(new_pilot(), False), fake, here)
    (fake.folder / "down").touch()  # it would be refused now
    assert worker.perform(SITE, actions.Submit(new_pilot(), True), fake, here) == actions.Submitted(
        "p1", "7"
    )
    assert worker.perform(SITE, actions.Hunt("p1"), fake, here) == actions.Hunted("p1", "7")
    assert worker.perform(SITE, actions.Hunt("p"), fake, here) == actions.Hunted("p", "")


def test_the_sites_own_words_are_the_reason_of_a_refusal(here, fake):
    (fake.folder / "down").touch()
    result = worker.perform(SITE, actions.Submit(new_pilot(), False), fake, here)
    assert result == actions.Refused("p1", "queue is closed", True)


def test_a_pilot_that_ended_leaves_its_last_words(here, fake):
    worker.perform(SITE, actions.Submit(new_pilot(), False), fake, here)
    pathlib.Path(stage.files_of(here, "p1").output).write_text("gshell pilot: no python3\n")
    ids = {"p1": "7"}
    assert worker.perform(SITE, actions.Poll(ids), fake, here).found["p1"].state is State.RUNNING
    worker.perform(SITE, actions.Cancel(ids), fake, here)
    polled = worker.perform(SITE, actions.Poll(ids), fake, here)
    assert (polled.found["p1"].state, polled.words["p1"]) == (
        State.ENDED,
        "gshell pilot: no python3\n",
    )


def test_a_batch_system_that_is_not_there_is_an_error_and_no_end_of_its_jobs(here, fake):
    fake.status = lambda ids: [Command(["no-such-batch-system"])]
    with pytest.raises(place.PlaceLost, match="no-such-batch-system"):
        worker.perform(SITE, actions.Poll({"p1": "7"}), fake, here)
    with pytest.raises(LrmsError, match="no-such-batch-system"):
        worker.perform(SITE, actions.Look(), fake, here)


def test_a_command_that_hangs_is_given_up(here):
    with pytest.raises(place.PlaceLost, match="did not end within"):
        here.run(["sleep", "60"], timeout_s=0.1)


def test_a_plug_in_that_breaks_takes_nobody_along(fake, here):
    told = []
    fake.statuses = None
    found = plugins.lrms
    one = worker.Worker(SITE, lambda *what: told.append(what), lambda site: here)
    try:
        plugins.lrms = lambda name: fake
        one.do(SITE, actions.Poll({"p1": "7"}))
        one.do(SITE, actions.Cancel({"p1": "7"}))
        until(lambda: len(told) == 2)
    finally:
        plugins.lrms = found
        one.close()
    assert isinstance(told[0][2], actions.Lost)
    assert told[1][2] == actions.Done()


# ------------------------------------------------------------------------------------- the script


def run_script(text, tmp_path, **env):
    path = tmp_path / "pilot.sh"
    path.write_text(text)
    return subprocess.run(
        ["/bin/sh", str(path)], env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **env}, capture_output=True,
        text=True, timeout=30, check=False,
    )  # fmt: skip


ECHO = """\
import os, sys
path = sys.argv[3][1:]
print(sys.argv[1:3], open(path).read().strip(), oct(os.stat(path).st_mode & 0o777), sys.argv[4:])
"""


def test_a_script_runs_what_was_staged_beside_it(tmp_path):
    agent, invite = tmp_path / "agent dir.py", tmp_path / "in'vite"
    agent.write_text(ECHO)
    invite.write_text("token")
    invite.chmod(0o600)
    text = script.text(["#SBATCH -N1"], script.Staged(str(agent), str(invite)), ["--site", "a b"])
    ran = run_script(text, tmp_path)
    assert ran.stdout == "['pilot', '--invite'] token 0o600 ['--site', 'a b']\n", ran.stderr


def test_where_nothing_can_be_staged_the_script_brings_all_along_and_clears_it_away(tmp_path):
    text = script.text([], script.Inline(ECHO.encode(), "token"), ["--site", "a"])
    ran = run_script(text, tmp_path, TMPDIR=str(tmp_path))
    assert ran.stdout == "['pilot', '--invite'] token 0o600 ['--site', 'a']\n", ran.stderr
    assert list(tmp_path.glob("gshell-pilot.*")) == []


def test_a_node_without_python_says_so(tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "uname").symlink_to("/bin/uname")
    text = script.text([], script.Staged("/x", "/y"), []).replace("/usr/", "/none/")
    ran = run_script(text, tmp_path, PATH=str(folder))
    assert ran.returncode == 69 or sys.platform != "linux"
    assert f"no python3 >= 3.9 on {os.uname().nodename}" in ran.stderr


# ------------------------------------------------------------------------------------- over ssh


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    if why_missing():
        pytest.skip(why_missing())
    with Sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def far(sshd, tmp_path, monkeypatch):
    """The user's own configuration knows the server; ``far`` is behind a jump host."""
    folder = tmp_path / ".ssh"
    folder.mkdir(mode=0o700)
    text = sshd.config.read_text()
    more = "\n".join(line for line in text.splitlines() if "Control" not in line)
    jump = f"Host far\nPort {sshd.port}\nProxyJump {JUMP}\n"
    (folder / "config").write_text(jump + more + "\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GSHELL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path


def there(target):
    from gshell.submitter.ssh import There

    return There(target)


@pytest.mark.parametrize("name", [TARGET, "far"])
def test_a_front_end_is_reached_with_the_users_own_configuration(far, name):
    site = there(name)
    try:
        assert site.home.startswith("/")
        assert site.run(["sh", "-c", "cat; echo \"$A $1\" >&2; exit 3", "sh", "a 'b'"], b"\0in", {"A": "x y"}) == (
            3, b"\0in", b"x y a 'b'\n",
        )  # fmt: skip
        assert site.run(["no-such-command"])[0] == 127
    finally:
        site.close()


def test_a_lost_connection_is_made_anew_for_the_next_command(far):
    site = there(TARGET)
    try:
        site._loop.call_soon_threadsafe(site._connection.abort)
        assert site.run(["echo", "again"])[1] == b"again\n"
    finally:
        site.close()


def test_a_pilot_is_staged_and_run_over_ssh(far, fake):
    site = there(TARGET)
    try:
        result = worker.perform(SITE, actions.Submit(new_pilot(), False), fake, site)
        assert result == actions.Submitted("p1", "7")
        files = stage.files_of(site, "p1")
        _, out, _ = site.run(["stat", "-c", "%a", files.invite, files.script, site.home])
        assert out.split() == [b"600", b"700", b"700"]
    finally:
        site.close()


def test_a_host_key_that_nobody_has_seen_is_not_taken(far):
    config = far / ".ssh" / "config"
    config.write_text("UserKnownHostsFile /dev/null\n" + config.read_text())
    with pytest.raises(place.PlaceLost, match="once, by hand: ssh"):
        there(TARGET)


def test_nobody_listens_is_one_clear_sentence(far):
    with pytest.raises(place.PlaceLost) as caught:
        there("127.0.0.1:1")
    assert caught.value.message == "cannot reach 127.0.0.1:1: Connection refused"
