"""mpi-start with hooks that make themselves at home in its shell, and nodes that are not as they should be."""

import os
import signal
import socket
import subprocess

import pytest

from kit.mpistart import SCRIPT
from kit.procs import until


def test_a_hook_with_set_e_ends_at_its_first_error_and_starts_no_application(node):
    node.file("h", "set -e\npre_run_hook() { false; echo went on; }")
    ran = node.run("-t", "dummy", "-pre", "h", "echo", "ran")
    assert ran == (1, "", "mpi-start [ERROR  ]: the pre-run hook ./h ended mpi-start (exit 1)\n")


def test_what_a_file_without_the_function_has_set_ends_with_it_too(node):
    node.file("h", "set -euf -o pipefail -C\nIFS=:\nshopt -s nocasematch failglob\n"
                   "post_run_hook() { debug_msg none; mpi_start_mktemp; echo post; }")  # fmt: skip
    ran = node.run("-t", "mpich2", "-pre", "h", "-post", "h", "-o", "out", "a")
    assert (ran.code, ran.lines[-1], ran.err) == (0, "post", "")
    assert (node.work / "out").read_text().startswith("mpiexec <-f>")


def test_what_hooks_may_call_is_there_for_those_with_set_eu_too(node):
    node.file("lib", "")
    for name in ("MPI_START_SOCKETS", "MPI_START_COREPERSOCKET"):
        del node.env[name]
    node.file("h", "set -eu\npre_run_hook() { mpi_start_foreach_host show; mpi_start_cores; mpi_start_mktemp -d; "
                   "warn_msg $MPI_START_SOCKETS; info_msg i; mpi_start_export_variable FOO bar; "
                   "copy_from_node localhost lib lib2; trap 'echo end' EXIT; }\nshow() { echo at $1; }\n"
                   "post_run_hook() { mpi_start_is_local n7 || echo post $FOO; }")  # fmt: skip
    ran = node.run(
        "-t", "dummy", "-pre", "h", "-post", "h", "echo", "ran", MPI_START_DUMMY_SCH_HOSTS="n7",
    )  # fmt: skip
    assert (ran.code, ran.out) == (0, "at n7\nran\npost bar\nend\n")
    assert ran.err.startswith("mpi-start [WARNING]: ")


def test_what_a_hooks_file_declares_is_there_when_its_function_is_called(node):
    node.file("h", "declare -a files=('a b' c)\ntypeset -A of=([x]=1)\n"
                   "pre_run_hook() { printf '<%s>' \"${files[@]}\" \"${of[x]}\"; echo; }")  # fmt: skip
    assert node.run("-t", "dummy", "-pre", "h", "true") == (0, "<a b><c><1>\n", "")


def test_a_hook_may_use_any_descriptor_where_somebody_else_starts_the_program(node):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        number = theirs.fileno()
        node.file("h", f"pre_run_hook() {{ exec {number}>lock; echo mine >&{number}; }}")
        process = subprocess.Popen(
            ["/bin/bash", str(SCRIPT), "-t", "dummy", "-pre", "h", "app", "a b"], cwd=node.work,
            env={**node.env, "MPI_START_HANDED": str(number)}, pass_fds=[number],
        )  # fmt: skip
        theirs.close()
        ours.settimeout(20)
        said = b""
        while data := ours.recv(1 << 16):
            said += data
            if said.endswith(b"\0over\0"):
                ours.send(b"7\0")
        assert said.startswith(f"run\0{node.work}\x002\0app\0a b\0".encode())
        assert process.wait(20) == 7
    assert (node.work / "lock").read_text() == "mine\n"


def test_a_hooks_traps_come_before_our_end_and_do_not_take_its_place(node):
    node.file("h", "pre_run_hook() { mpi_start_mktemp; trap 'echo end $?; cat $MPI_START_HOSTFILE' EXIT\n"
                   "(trap 'echo in a subshell' 0); trap -- 'exit 7' ERR; }")  # fmt: skip
    ran = node.run("-t", "dummy", "-pre", "h", "sh", "-c", "exit 3", MPI_START_DUMMY_SCH_HOSTS="n7")
    assert ran == (3, "in a subshell\nend 3\nn7\n", "")
    node.file("h", "pre_run_hook() { trap 'exit 5' 0 SIGTERM; }")
    assert node.run("-t", "dummy", "-pre", "h", "true").code == 5
    node.file("h", "pre_run_hook() { trap 'exit 5' EXIT; trap - EXIT; }")
    assert node.run("-t", "dummy", "-pre", "h", "true").code == 0


def test_a_hooks_trap_for_a_signal_is_called_when_the_application_has_had_it(node):
    node.file(
        "h", "pre_run_hook() { trap 'echo hook was told' TERM; }\npost_run_hook() { echo post; }"
    )
    node.file(
        "app",
        "#!/bin/bash\ntrap 'echo application was told; exit 3' TERM\n: >started\nwhile :; do sleep 0.02; done",
    )
    process = subprocess.Popen(
        ["/bin/bash", str(SCRIPT), "-t", "dummy", "-pre", "h", "-post", "h", "./app"],
        cwd=node.work, env=node.env, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: (node.work / "started").exists(), "the application runs")
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=10)[0] == "application was told\nhook was told\npost\n"
    assert process.returncode == 3


def test_a_hook_that_goes_elsewhere_takes_the_application_along_and_its_file_is_still_found(node):
    (node.work / "sub dir").mkdir()
    node.file("my hook", "pre_run_hook() { cd 'sub dir'; }\npost_run_hook() { echo post; }")
    ran = node.run("-t", "dummy", "-pre", "my hook", "-post", "my hook", "sh", "-c", "pwd")
    assert ran == (0, "WORK/sub dir\npost\n", "")


def test_a_hook_that_leaves_no_tools_on_path_leaves_nothing_behind(node):
    node.file("h", "pre_run_hook() { PATH=/nowhere; }")
    assert node.run("-t", "dummy", "-pre", "h", "/bin/echo", "a") == (0, "a\n", "")


def test_a_hook_written_on_windows_is_read_and_named(node):
    node.file("h", "\ufeffpre_run_hook () {\r\n  export A='b c'\r\n  return 0\r\n}\r\n")
    ran = node.run("-t", "dummy", "-pre", "h", "sh", "-c", 'echo "[$A]"')
    assert ran == (0, "[b c]\n",
                   "mpi-start [WARNING]: ./h was written on Windows: read without its carriage returns\n")  # fmt: skip


def test_a_hook_that_is_no_bash_is_an_error(node):
    node.file("h", "pre_run_hook() { if true; }")
    ran = node.run("-t", "dummy", "-pre", "h", "echo", "ran")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.endswith("mpi-start [ERROR  ]: the pre-run hook of ./h failed (status 2)\n")
    node.file("h", "post_run_hook() { echo post; }\nfalse")
    assert node.run("-t", "dummy", "-pre", "h", "echo", "ran") == (0, "ran\n", "")


def test_what_a_hook_leaves_running_is_not_waited_for(node):
    node.file(
        "h",
        "pre_run_hook() { sleep 60 >/dev/null 2>&1 & echo $! >pid; printf 'no end of line '; read line; echo $line; }",
    )
    ran = node.run("-t", "dummy", "-pre", "h", "cat", stdin="first\nsecond\n")
    assert ran == (0, "no end of line first\nsecond\n", "")
    os.kill(int((node.work / "pid").read_text()), signal.SIGKILL)


def test_a_hook_hears_that_the_number_of_processes_is_decided(node):
    node.file("h", "pre_run_hook() { export I2G_MPI_NP=9; }")
    ran = node.run("-t", "openmpi", "-pre", "h", "a", I2G_MPI_NP="2")
    assert "<-np> <2>" in ran.out
    assert "which was too late" in ran.err
    node.file("h", "pre_run_hook() { export MPI_START_NP=9; }")
    ran = node.run("-t", "openmpi", "-pre", "h", "a", I2G_MPI_NP="2")
    assert "<-np> <9>" in ran.out
    assert ran.err == ""


def test_a_hook_may_start_another_mpi_start_which_does_not_remove_what_is_the_firsts(node):
    node.file(
        "h",
        'pre_run_hook() { I2G_MPI_PRE_RUN_HOOK= "$I2G_MPI_START" -t dummy echo first $MPI_START_UNPACKED; }',
    )
    ran = node.run("-t", "dummy", "-pre", "h", "echo", "second", MPI_START_UNPACKED="/not/this")
    assert ran == (0, "first\nsecond\n", "")


def test_compiler_options_of_the_whole_site_are_kept(node):
    shown = ("-t", "openmpi", "-pre", "h", "a")
    node.file("h", "pre_run_hook() { echo [$MPI_MPICC_OPTS]; }")
    assert node.run(*shown, MPI_MPICC_OPTS="-m64").lines[0] == "[-m64]"
    ran = node.run(*shown, MPI_MPICC_OPTS="-m64", MPI_OPENMPI_MPICC_OPTS="-O2")
    assert ran.lines[0] == "[-O2]"


def test_a_sites_launcher_may_have_options(node):
    ran = node.run("-t", "openmpi", "a", MPI_OPENMPI_MPIEXEC="mpiexec --mca 'a b' c")
    assert ran.out.startswith("mpiexec <--mca> <a b> <c> <-wdir>")


@pytest.mark.parametrize("shell", ["sh", "bash --posix"])
def test_any_shell_may_be_named_to_start_it(node, shell):
    ran = node.run(script=f'{shell} "$MPI_START" -t dummy echo "a  b"')
    assert ran == (0, "a  b\n", "")


def test_a_tmpdir_of_another_machine_is_passed_over(node):
    ran = node.run("-t", "dummy", "echo", "a", TMPDIR="/not/here")
    assert ran == (
        0,
        "a\n",
        "mpi-start [WARNING]: cannot make a temporary directory in /not/here\n",
    )


def test_thousands_of_hosts_are_not_slow(node):
    names = [f"node{n:05}" for n in range(4096)]
    for hosts in ("node[00000-04095]", ",".join(names)):
        ran = node.run(
            script='TIMEFORMAT=%U; time "$MPI_START" -t dummy sh -c \'cat $MPI_START_MACHINEFILE\'',
            SLURM_JOB_NODELIST=hosts, SLURM_TASKS_PER_NODE="1(x4096)",
        )  # fmt: skip
        assert ran.lines == names
        assert float(ran.err) < 3  # seconds; 0.3 here, and 5 where it grows with the square
