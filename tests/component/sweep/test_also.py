"""Names that users of execo know, and what they get for them."""

import logging
import os
import socket
import subprocess
import sys

import pytest

import gshell.sweep as package
from gshell.sweep import Host, also, logger
from gshell.sweep.local import Process
from gshell.sweep.ssh import SshProcess

EXECO = """
Action ActionLifecycleHandler ActionsFailed ChainPut ExpectOutputHandler Get Host Local
ParallelActions PortForwarder Process ProcessLifecycleHandler ProcessOutputHandler ProcessesFailed
Put Remote RemoteSerial Report STDERR STDOUT SequentialActions Serial SerialSsh SshProcess TaktukGet
TaktukPut TaktukRemote Timer configuration default_action_factory default_connection_params
filter_bad_hosts format_date format_duration get_fileget get_fileput get_process get_remote
get_seconds get_unixts logger sleep wait_all_actions wait_any_actions SSH SCP TAKTUK CHAINPUT
Engine HashableDict ParamSweeper copy_outputs geom igeom redirect_outputs slugify sweep sweep_stats
"""


@pytest.mark.parametrize("name", EXECO.split())
def test_every_name_of_execo_is_here(name):
    assert getattr(package, name) is not None
    assert name in package.__all__


def test_a_process_is_here_or_there():
    assert isinstance(also.get_process("true"), Process)
    assert isinstance(also.get_process("true", "somewhere"), SshProcess)


def test_a_timer_counts_from_when_it_was_made():
    timer = also.Timer()
    timer.wait_elapsed(0.02)
    assert timer.elapsed() >= 0.02
    assert timer.start_date() > 1e9


def test_outputs_go_to_files_from_now_on_also_at_the_very_end(tmp_path):
    script = (
        "from gshell.sweep import *\n"
        "import atexit, os, sys\n"
        f"copy_outputs({str(tmp_path / 'out')!r}, {str(tmp_path / 'err')!r})\n"
        "print('said'); os.system('echo child'); print('wrong', file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert sorted(done.stdout.split()) == ["child", "said"]
    assert sorted((tmp_path / "out").read_text().split()) == ["child", "said"]
    assert (tmp_path / "err").read_text() == "wrong\n"


def test_a_style_is_a_colour_on_a_terminal_only(monkeypatch):
    assert package.style.host("node-1") == "node-1"
    monkeypatch.setattr("gshell.sweep.log._colored", lambda: True)
    assert package.style.host(Host("a")) == "\x1b[35;1mHost('a')\x1b[0m"
    with pytest.raises(AttributeError, match="no style 'nosuch'"):
        package.style.nosuch("x")


FORWARDS = """#!{python}
import socket, sys
words = sys.argv
address, port, host, target = words[words.index("-L") + 1].split(":")
assert (host, target, words[-1]) == ("db", "5432", "front")
one = socket.create_server((address, int(port)))
one.accept()[0].sendall(b"through")
sys.stdin.read()
"""


def test_a_port_of_there_is_a_port_of_here_while_it_runs(tmp_path):
    ssh = tmp_path / "ssh"
    ssh.write_text(FORWARDS.format(python=sys.executable))
    ssh.chmod(0o755)
    with also.PortForwarder("front", "db", 5432, connection_params={"ssh": str(ssh)}) as one:
        assert one.start().forwarding.wait(30)
        with socket.create_connection(("127.0.0.1", one.local_port), 30) as connection:
            assert connection.recv(99) == b"through"
    assert one.wait(30).finished_ok


def test_a_serial_line_is_read_and_written(tmp_path):
    ours, theirs = os.openpty()
    with also.Serial(os.ttyname(theirs), 9600).start() as line:
        line.write("there\n")
        assert os.read(ours, 99) == b"there\n"
        os.write(ours, b"here\n")
        assert line.expect("here", timeout=30)[0] == 0
    line.wait(30)
    os.close(ours)
    os.close(theirs)


def test_how_much_is_said_can_be_changed_at_any_time(capsys):
    for level, words in (("INFO", "one"), ("ERROR", "two"), ("DETAIL", "three")):
        logger.setLevel(level)
        logger.info(words)
        logger.detail("more of " + words)
    logging.disable(logging.CRITICAL)
    logger.error("four")
    logging.disable(logging.NOTSET)
    said = [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()]
    assert said == ["one", "three", "more of three"]
