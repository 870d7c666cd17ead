"""What the front process hands over, in C and in Python side by side: words, descriptors, signals."""

import os
import pathlib
import signal

import pytest

from gshell import config
from kit.backgroundplay import (
    FRONT,
    finish,
    python_of,
)

ODD = ("run", "a b", "", "*", "line\nbreak", "ünï", b"\xff\xfe", "--", "-x", "$HOME")


@pytest.mark.parametrize("folder", ["plain", "with blank", b"\xff\xfe", "gone"])
def test_both_hand_over_the_same_bytes(fake, stub_front, folder):
    there = os.path.join(os.fsencode(fake.root), os.fsencode(folder))
    os.mkdir(there)
    gone = ["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh"] if folder == "gone" else []
    env = {
        **fake.env,
        "EMPTY": "",
        "B": "=",
        "C": "line\nbreak",
        "D": b"\xff",
        "é": "1",
        "LC_ALL": "C",
    }
    said = []
    for front in (stub_front, python_of(FRONT)):
        os.makedirs(there, exist_ok=True)
        fake.start([*gone, *front], *ODD, cwd=there, env=env, umask=0o027)
        said.append(fake.accept().hand_over())
    assert said[0] == said[1]
    assert said[0][:5] == [b"1", b"/" if gone else there, b"27", b"PID", b"1"]
    assert said[0][6 : 6 + len(ODD)] == [os.fsencode(word) for word in ODD]
    assert {b"EMPTY=", b"B==", b"D=\xff", b"C=line\nbreak"} < set(said[0])


def test_an_environment_larger_than_a_socket_s_buffer_arrives(fake, front):
    env = {**fake.env, **{f"BIG{n}": chr(97 + n) * 100_000 for n in range(10)}}
    fake.start(front, env=env)
    said = dict(entry.split(b"=", 1) for entry in fake.meet().env)
    assert all(said[b"BIG%d" % n] == b"%c" % (97 + n) * 100_000 for n in range(10))


def test_the_three_descriptors_are_handed_over(fake, front):
    process = fake.start(front)
    talk = fake.meet()
    process.stdin.write(b"typed")
    process.stdin.flush()
    assert os.read(talk.fds[0], 100) == b"typed"
    os.write(talk.fds[1], b"out")
    os.write(talk.fds[2], b"err")
    talk.exit(7)
    assert finish(process) == (7, b"out", b"err")


@pytest.mark.parametrize("status", [0, 1, 137, 255])
def test_the_exit_status_is_what_it_is_told(fake, front, status):
    process = fake.start(front)
    talk = fake.meet()
    for piece in f"X {status}\n":
        talk.say(piece)
    talk.close()
    assert finish(process) == (status, b"", b"")


@pytest.mark.parametrize(
    "env",
    [
        {"GSHELL_HOME": "home/"},
        {"GSHELL_HOME": "long/" + "x" * 150},
        {"GSHELL_RELAY": "relay.example:7000"},
        {"GSHELL_RELAY": "relé.example"},
        {"XDG_RUNTIME_DIR": "runtime"},
        {"XDG_RUNTIME_DIR": "missing", "HOME": "me"},
        {"HOME": "me"},
    ],
    ids=str,
)
def test_it_is_looked_for_where_it_listens(fake, front, env, monkeypatch):
    if "é" in str(env) and front[0].endswith("front-1"):
        pytest.skip("left to Python: which letters count as such")
    (fake.root / "runtime").mkdir()
    settings = {
        k: v if k in ("GSHELL_HOME", "GSHELL_RELAY") else str(fake.root / v) for k, v in env.items()
    }
    monkeypatch.chdir(fake.root)
    for name in ("GSHELL_HOME", "GSHELL_RELAY", "XDG_RUNTIME_DIR", "HOME"):
        monkeypatch.delenv(name, raising=False)
        if name in settings:
            monkeypatch.setenv(name, settings[name])
    if "GSHELL_RELAY" in env:
        monkeypatch.setenv("HOME", str(fake.root))
    path = pathlib.Path(config.background_socket())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = fake.listen(str(path))
    fake.start(front, env=dict(os.environ))
    assert fake.meet(listener).argv == [b"run", b"true"]


# ------------------------------------------------------------------------------------------ signals


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2"])
def test_a_signal_is_passed_on(fake, front, name):
    process = fake.start(front)
    talk = fake.meet()
    process.send_signal(getattr(signal, "SIG" + name))
    assert talk.line() == f"S {name}"
    talk.exit(3)
    assert finish(process)[0] == 3


def test_many_signals_are_all_passed_on(fake, front):
    process = fake.start(front)
    talk = fake.meet()
    for _ in range(50):
        process.send_signal(signal.SIGUSR1)
        assert talk.line() == "S USR1"


def test_signals_ignored_at_the_start_stay_ignored(fake, front):
    ignoring = ["sh", "-c", 'trap "" HUP INT; exec "$@"', "sh"]
    process = fake.start([*ignoring, *front])
    talk = fake.meet()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
    assert talk.line() == "S TERM"


def test_a_new_size_is_told(fake, front):
    screen = fake.pty(front)
    talk = fake.meet()
    screen.resize(30, 100)
    assert talk.line() == "W 30 100"


def test_without_a_terminal_the_size_is_nought(fake, front):
    process = fake.start(front)
    talk = fake.meet()
    process.send_signal(signal.SIGWINCH)
    assert talk.line() == "W 0 0"
