import subprocess
import sys

import pytest

from gshell.errors import LrmsError
from gshell.lrms import registry
from gshell.lrms.base import Allocation
from kit.lrms import SAMPLES


def reader(files):
    def read(path):
        if path not in files:
            raise FileNotFoundError(path)
        return files[path]

    return read


@pytest.mark.parametrize("name", registry.NAMES)
def test_a_batch_job_is_known_by_its_environment(name):
    found = registry.detect(SAMPLES[name].env, reader(SAMPLES[name].files), 0.0)
    assert (found.lrms, found.hosts) == (name, tuple(SAMPLES[name].hosts))


def test_no_batch_job_is_none():
    assert registry.detect({"HOME": "/home/alice", "PBS_SERVER": "srv"}, reader({}), 0.0) is None


def test_slurm_that_plays_pbs_is_slurm():
    env = {**SAMPLES["pbs"].env, **SAMPLES["slurm"].env}
    assert registry.detect(env, reader(SAMPLES["pbs"].files), 0.0).lrms == "slurm"


def test_a_third_party_s_plug_in_is_asked_first():
    class Flux:
        @staticmethod
        def allocation(env, read, now):
            return Allocation("flux", "f1", (("n1", 1),))

    assert registry.detect(SAMPLES["slurm"].env, reader({}), 0.0, [Flux]).lrms == "flux"


def test_an_unknown_batch_system_is_answered_with_those_that_there_are():
    with pytest.raises(LrmsError, match="'cobalt' is known; there are slurm, oar"):
        registry.plugin("cobalt")


def test_who_looks_for_its_batch_job_loads_one_plug_in():
    script = (
        "import sys\nfrom gshell.lrms import registry\n"
        "registry.detect({'SLURM_JOB_ID': '1', 'SLURM_JOB_NODELIST': 'n1'}, None, 0.0)\n"
        "names = [name for name in registry.NAMES if 'gshell.lrms.' + name in sys.modules]\n"
        "print(names, 'typing' in sys.modules, 'shlex' in sys.modules, 'json' in sys.modules)\n"
    )
    path = f"import sys; sys.path[:] = {sys.path!r}\n"
    argv = [sys.executable, "-I", "-S", "-c", path + script]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    assert (ran.stdout, ran.stderr) == ("['slurm'] False False False\n", "")
