"""Names that users of execo know, and what they get for them."""

import os
import subprocess
import sys

import pytest

import gshell.sweep as package
from gshell.sweep import also
from gshell.sweep.process import Process
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
