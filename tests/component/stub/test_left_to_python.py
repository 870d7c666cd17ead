"""What the front process in C leaves to Python."""

import os
import signal
import socket

import pytest

from kit.backgroundplay import NOBODY_LEFT, finish
from kit.procs import until


def assert_python_ran(fake, process, *words):
    assert finish(process) == (9, b"", b"")
    report = fake.report()
    assert report["argv"][1:] == list(words)
    assert (report["blocked"], report["cwd"]) == ("0" * 16, os.getcwd())
    return report


@pytest.mark.parametrize("value", ["0", "no", "off"])
def test_without_the_user_s_leave_python_does_it(fake, stub_front, value):
    process = fake.start(stub_front, "run", "a b", "", env={**fake.env, "GSHELL_BACKGROUND": value})
    assert_python_ran(fake, process, "run", "a b", "")


def test_with_the_option_python_does_it(fake, stub_front):
    assert_python_ran(
        fake, fake.start(stub_front, "sh", "--no-background"), "sh", "--no-background"
    )


@pytest.mark.parametrize("how", ["missing", "stale", "relay", "no home"])
def test_without_a_background_process_python_does_it(fake, stub_front, how):
    env = dict(fake.env)
    if how == "missing":
        (fake.home / "run/bg.sock").unlink()
    elif how == "stale":
        fake.listener.close()
    elif how == "relay":
        env["GSHELL_RELAY"] = "x" * 300
    else:
        del env["GSHELL_HOME"]
    assert_python_ran(fake, fake.start(stub_front, env=env), "run", "true")


def test_what_is_not_the_background_process_s_affair_python_does(fake, stub_front):
    process = fake.start(stub_front, "run", "--help")
    talk = fake.meet()
    talk.exit(-1)
    report = assert_python_ran(fake, process, "run", "--help")
    assert len(report["fds"]) == 3


def test_one_that_goes_before_it_has_begun_leaves_it_to_python(fake, stub_front):
    process = fake.start(stub_front)
    sock, _ = fake.listener.accept()
    until(lambda: len(sock.recv(4, socket.MSG_PEEK)) == 4, "a hand-over")
    sock.close()  # unread: the other end is told
    assert_python_ran(fake, process, "run", "true")


def test_one_that_goes_after_it_has_begun_does_not(fake, stub_front):
    process = fake.start(stub_front)
    fake.meet().close()
    assert finish(process) == (255, b"", NOBODY_LEFT.replace(b"\r", b""))


@pytest.mark.parametrize("fd", [0, 1, 2])
def test_with_a_descriptor_closed_python_does_it(fake, stub_front, fd):
    closing = ["sh", "-c", f'exec "$@" {fd}<&-', "sh"]
    assert_python_ran(fake, fake.start([*closing, *stub_front]), "run", "true")


def test_an_oversized_environment_is_left_to_python(fake, stub_front):
    import resource

    if resource.getrlimit(resource.RLIMIT_STACK)[1] not in (resource.RLIM_INFINITY,):
        pytest.skip("needs a larger stack limit")
    huge = {f"BIG{n}": "x" * 100_000 for n in range(45)}

    def allow():
        resource.setrlimit(resource.RLIMIT_STACK, (64 << 20, resource.RLIM_INFINITY))

    process = fake.start(stub_front, env={**fake.env, **huge}, preexec_fn=allow)
    assert_python_ran(fake, process, "run", "true")


def test_another_user_s_background_process_is_not_told_anything(fake, stub_front):
    if os.geteuid() != 0:
        pytest.skip("needs root, to listen as somebody else")
    path = fake.home / "run/bg.sock"
    path.unlink()
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            os.seteuid(65534)
            listener.listen(1)
            os.write(told, b"!")
            signal.pause()
        finally:
            os._exit(0)
    try:
        os.read(ready, 1)
        assert_python_ran(fake, fake.start(stub_front), "run", "true")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(told)


def test_what_cannot_be_started_is_said(fake, compiled):
    (fake.home / "run/bg.sock").unlink()
    done = finish(fake.start([compiled, "1", "/not/there"]))
    assert done == (127, b"", b"gshell: cannot start /not/there: No such file or directory\n")
