"""The relay as processes: the commands, the embedded entry, deaths and restarts."""

import json
import os
import pathlib
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest

import relay as relay_package
from gshell.model.ticket import Ticket
from gshell.net.relaylink import ask, enrol, parse_invite

ROOT = pathlib.Path(relay_package.__file__).parents[1]
WAIT_S = 20.0


def until(done, what=lambda: ""):
    end = time.monotonic() + WAIT_S
    while not (found := done()):
        assert time.monotonic() < end, what()
        time.sleep(0.02)  # between looks; the condition decides
    return found


class Cli:
    def __init__(self, folder):
        self.folder = folder

    def __call__(self, *argv, **how):
        env = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(self.folder)}
        env.pop("GSHELL_HOME", None)
        return subprocess.run(
            [sys.executable, "-m", "relay.cli", *argv], capture_output=True, text=True,
            timeout=WAIT_S, env=env, cwd=self.folder, **how,
        )  # fmt: skip

    def facts(self):
        return json.loads((self.folder / "state" / "relay.json").read_text())

    def start(self, *more):
        return self(
            "start", "--listen", "127.0.0.1:0", "--state", "state", "--user", "alice", *more
        )


@pytest.fixture
def cli(tmp_path):
    one = Cli(tmp_path)
    yield one
    one("stop", "--state", "state")


def test_one_relay_with_several_addresses(cli):
    path = cli.folder / "door.sock"
    started = cli.start("--listen", f"unix:{path}")
    assert (started.returncode, started.stderr) == (0, "")
    facts = cli.facts()
    assert facts["listens"] == facts["relays"] == [facts["listen"], f"unix:{path}"]
    text = next(word.strip("'") for word in started.stdout.split() if "gshell://" in word)
    assert text.startswith(f"gshell://{facts['listen']}/")
    empty, token = parse_invite(text)
    ticket = enrol(empty, token, "client", "alice")
    assert ticket.relays == facts["relays"]
    for where in ticket.relays:
        assert ask(ticket._replace(relays=[where]), {"m": "whoami"})["user"] == "alice"
    door = facts["door_pid"]
    os.kill(door, signal.SIGKILL)
    until(lambda: cli.facts()["door_pid"] != door)
    for where in ticket.relays:
        assert ask(ticket._replace(relays=[where]), {"m": "whoami"})["user"] == "alice"
    assert cli("stop", "--state", "state").returncode == 0
    assert not path.exists()


def test_a_door_that_starts_while_the_broker_is_dead_gets_a_new_one(cli):
    assert cli.start().returncode == 0
    facts = cli.facts()
    os.kill(facts["broker_pid"], signal.SIGSTOP)  # it greets nobody
    os.kill(facts["door_pid"], signal.SIGKILL)
    until(lambda: not pid_lives(facts["door_pid"]))
    os.kill(facts["broker_pid"], signal.SIGKILL)
    until(lambda: all(cli.facts()[one] != facts[one] for one in ("door_pid", "broker_pid")))
    status = json.loads(cli("status", "--state", "state", "--json").stdout)
    assert (status["running"], status["pid"]) == (True, facts["pid"])


def test_others_may_be_told_other_addresses(cli):
    cli.start("--advertise", "relay.example:4433", "--advertise", "10.0.0.1:4433")
    assert cli.facts()["relays"] == ["relay.example:4433", "10.0.0.1:4433"]


def test_start_status_invite_stop(cli):
    started = cli.start()
    assert (started.returncode, started.stderr) == (0, "")
    listen = cli.facts()["listen"]
    assert f"gshell login 'gshell://{listen}/" in started.stdout
    assert "gshell agent start --invite" in started.stdout
    assert "10 times within 24 hours" in started.stdout
    assert stat.S_IMODE((cli.folder / "state" / "relay.json").stat().st_mode) == 0o600
    status = cli("status", "--state", "state", "--json")
    facts = json.loads(status.stdout)
    assert facts["running"]
    assert (facts["agents"], facts["jobs"]) == (0, 0)
    invite = cli("invite", "--state", "state", "--uses", "1", "--role", "agent", "--user", "bob")
    assert invite.stdout.count("gshell://") == 1
    assert "to be used once within" in invite.stdout
    stopped = cli("stop", "--state", "state")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert not any(pid_lives(facts[p]) for p in ("pid", "door_pid", "broker_pid"))
    again = cli("status", "--state", "state")
    assert again.returncode == 125
    assert again.stderr.startswith("gshell: no relay runs from")
    assert "\n  try:  gshell relay start" in again.stderr


def pid_lives(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        ([], 2, "required"),
        (["dance"], 2, "invalid choice"),
        (["start"], 2, "--listen"),
        (["start", "--listen", "nonsense"], 2, "not an address"),
        (["start", "--listen", "127.0.0.1:0", "--advertise", "x"], 2, "not an address"),
        (["start", "--listen", "127.0.0.1:0", "--user", "a:b"], 2, "cannot be a user's name"),
        (["start", "--listen", "192.0.2.7:4242"], 125, "is not an address of this machine"),
        (["start", "--listen", "127.0.0.1:0", "--state", "/proc/gshell"], 125, "cannot make"),
        (["stop"], 125, "no relay has ever run"),
        (["invite"], 125, "no relay has ever run"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_what_to_do(cli, argv, code, says):
    done = cli(*argv)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("gshell: ")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    if code == 125:
        assert "\n  try:  " in done.stderr


def test_a_taken_port_is_named(cli):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = cli("start", "--listen", f"127.0.0.1:{port}", "--state", "state")
    assert done.returncode == 125
    assert f"127.0.0.1:{port} is in use by another program" in done.stderr
    assert "ss -ltnp" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may listen anywhere")
def test_a_privileged_port_is_named(cli):
    done = cli("start", "--listen", "127.0.0.1:1", "--state", "state")
    assert "no permission to listen" in done.stderr


def test_a_second_start_is_refused(cli):
    cli.start()
    done = cli.start()
    assert done.returncode == 125
    assert "is running from" in done.stderr


def test_a_damaged_journal_stops_the_start(cli):
    cli.start()
    cli("stop", "--state", "state")
    for path in (cli.folder / "state").glob("journal.sqlite*"):
        path.write_bytes(b"nonsense " * 1000)
    done = cli.start()
    assert done.returncode == 125
    assert "journal.sqlite cannot be read" in done.stderr


def test_in_the_foreground_it_ends_with_the_terminal_s_interrupt(cli):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "relay.cli", "start", "--foreground"]
    argv += ["--listen", "127.0.0.1:0", "--state", "state", "--user", "alice"]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, text=True, env=env, cwd=cli.folder
    ) as process:
        assert "listens on" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S) == 0
    assert not (cli.folder / "state" / "relay.json").exists()


@pytest.mark.parametrize("who", ["door_pid", "broker_pid"])
def test_who_dies_is_started_again(cli, who):
    cli.start()
    before = cli.facts()
    os.kill(before[who], signal.SIGKILL)
    until(lambda: cli.facts()[who] != before[who])
    after = cli.facts()
    assert after["listen"] == before["listen"]
    assert [k for k in ("pid", "door_pid", "broker_pid") if after[k] != before[k]] == [who]
    until(lambda: json.loads(cli("status", "--state", "state", "--json").stdout).get("agents") == 0)


def test_children_end_with_their_parent_and_the_address_is_free(cli):
    cli.start()
    facts = cli.facts()
    os.kill(facts["pid"], signal.SIGKILL)
    done = cli("start", "--listen", facts["listen"], "--state", "state", "--user", "alice")
    assert (done.returncode, done.stderr) == (0, "")
    until(lambda: not pid_lives(facts["door_pid"]) and not pid_lives(facts["broker_pid"]))


def test_nothing_secret_is_in_the_log(cli):
    started = cli.start()
    token = started.stdout.partition("#")[2].partition("'")[0]
    cli("stop", "--state", "state")
    assert len(token) > 20
    assert token not in (cli.folder / "state" / "relay.log").read_text()
    assert token.encode() not in (cli.folder / "state" / "journal.sqlite").read_bytes()


# ----------------------------------------------------------------------------------------- embedded


class Embedded:
    def __init__(self, folder):
        self.folder = folder
        self.processes = []

    def start(self):
        reader, writer = os.pipe()
        where = [str(self.folder / "state"), f"unix:{self.folder}/relay.sock"]
        script = str(ROOT / "relay" / "embedded.py")
        argv = [sys.executable, "-I", "-S", script, *where, "alice", str(writer)]
        process = subprocess.Popen(argv, pass_fds=[writer])
        os.close(writer)
        with os.fdopen(reader) as pipe:
            said = pipe.read()
        self.processes.append(process)
        return process, said

    def ticket(self, kind):
        path = self.folder / "state" / f"{kind}.ticket"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        return Ticket.load(path.read_text(), str(path))


@pytest.fixture
def embedded(tmp_path):
    one = Embedded(tmp_path)
    yield one
    for process in one.processes:
        if process.poll() is None:
            process.terminate()
        process.wait(WAIT_S)


def test_an_embedded_relay_comes_with_tickets(embedded):
    _, said = embedded.start()
    assert said == "ready\n"
    answer = ask(embedded.ticket("client"), {"m": "whoami"})
    assert (answer["user"], answer["role"]) == ("alice", "admin")
    assert embedded.ticket("agent").agent_id


def test_a_second_start_finds_the_first(embedded):
    first, _ = embedded.start()
    second, said = embedded.start()
    assert said == "ready\n"
    assert second.wait(WAIT_S) == 0
    assert first.poll() is None


def test_it_comes_back_with_the_same_tickets(embedded):
    first, _ = embedded.start()
    ticket = embedded.ticket("client")
    first.terminate()
    assert first.wait(WAIT_S) == 0
    assert not (embedded.folder / "relay.sock").exists()
    embedded.start()
    assert embedded.ticket("client") == ticket
    assert ask(ticket, {"m": "agents"})["agents"] == []


def test_what_is_wrong_is_said_to_who_started_it(embedded):
    (embedded.folder / "state").write_text("in the way")
    process, said = embedded.start()
    assert process.wait(WAIT_S) == 125
    assert "is not a directory\n  try:  " in said


def test_a_hangup_reopens_the_log_everywhere(cli):
    cli.start()
    facts, path = cli.facts(), cli.folder / "state" / "relay.log"
    path.rename(path.with_suffix(".old"))
    os.kill(facts["pid"], signal.SIGHUP)

    def target(fd):
        try:
            return os.readlink(fd)
        except FileNotFoundError:  # closed this moment
            return ""

    def users():
        pids = (facts[name] for name in ("pid", "door_pid", "broker_pid"))
        links = {target(fd) for pid in pids for fd in pathlib.Path(f"/proc/{pid}/fd").glob("*")}
        return {link for link in links if link.startswith(str(path.parent / "relay."))}

    until(lambda: users() == {str(path)}, users)
    assert cli.facts() == facts
