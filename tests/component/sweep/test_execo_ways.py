"""What scripts written for execo rely on: names, arguments, attributes, what is printed; as execo
2.8 has it where that is no defect, found out by running it."""

import datetime
import inspect
import re
import time

import pytest

import gshell.sweep as sweep
from gshell.sweep import (
    ActionLifecycleHandler,
    ActionsFailed,
    Get,
    Host,
    Local,
    ParallelActions,
    Process,
    ProcessesFailed,
    Put,
    Remote,
    Report,
    SequentialActions,
    SshProcess,
    Timer,
    default_action_factory,
    filter_bad_hosts,
    format_date,
    format_duration,
    get_process,
    get_seconds,
    get_unixts,
    hosts,
    sleep,
)

FLAGS = [f"{kind}_{what}" for kind in ("ignore", "nolog")
         for what in ("exit_code", "timeout", "error", "expect_fail", "write_error")]  # fmt: skip
PROCESS = [
    "cmd", "timeout", *FLAGS, "default_expect_timeout", "default_stdout_handler",
    "default_stderr_handler", "lifecycle_handlers", "stdout_handlers", "stderr_handlers", "name",
]  # fmt: skip
ACTION = ["lifecycle_handlers", "name", "default_expect_timeout"]
ACCEPTS = {
    "Process": [*PROCESS, "shell", "pty", "kill_subprocesses"],
    "SshProcess": [*PROCESS, "host", "connection_params", "pty", "shell", "kill_subprocesses"],
    "Local": ["cmd", "process_args", *ACTION],
    "Remote": ["cmd", "hosts", "connection_params", "process_args", *ACTION],
    "TaktukRemote": ["cmd", "hosts", "connection_params", "process_args", *ACTION],
    "Put": ["hosts", "local_files", "remote_location", "connection_params", *ACTION],
    "Get": ["hosts", "remote_files", "local_location", "connection_params", *ACTION],
    "ChainPut": ["hosts", "local_files", "remote_location", "connection_params", *ACTION],
    "ParallelActions": ["actions", *ACTION],
    "SequentialActions": ["actions", *ACTION],
    "Host": ["address", "user", "keyfile", "port"],
    "Report": ["stats_objects"],
    "Timer": ["timeout"],
    "PortForwarder": ["host", "remote_host", "remote_port", "local_port", "bind_address",
                      "connection_params"],
    "Serial": ["device", "speed"],
    "SerialSsh": ["host", "device", "speed", "connection_params"],
    "RemoteSerial": ["hosts", "device", "speed", "connection_params", "process_args"],
    "format_date": ["d", "showms"], "get_unixts": ["d"], "format_duration": ["duration", "showms"],
    "sleep": ["delay", "until"], "filter_bad_hosts": ["action", "hosts"],
    "wait_any_actions": ["actions", "timeout"], "wait_all_actions": ["actions", "timeout"],
    "get_seconds": ["duration"], "copy_outputs": ["stdout_filename", "stderr_filename"],
    "redirect_outputs": ["stdout_filename", "stderr_filename"],
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTS)
def test_all_arguments_are_accepted_by_their_names(name):
    made, known = getattr(sweep, name), set()
    for one in made.__mro__ if inspect.isclass(made) else [made]:
        if not inspect.isclass(one) or "__init__" in vars(one):
            known |= set(inspect.signature(one).parameters)
    assert set(ACCEPTS[name]) <= known


@pytest.mark.parametrize(
    ("made", "names"),
    [
        (Process("true"), "cmd default_expect_timeout default_stderr_handler dump end_date ended "
         "default_stdout_handler error error_reason exit_code expect expect_fail finished_ok "
         "forced_kill kill kill_subprocesses killed lifecycle_handlers name ok pid pty reset run "
         "running shell start start_date started stats stderr stderr_handlers stdout "
         "stdout_handlers timeout timeouted wait write write_error " + " ".join(FLAGS)),
        (SshProcess("true", "h"), "host remote_cmd connection_params pty"),
        (Local("true"), "cmd process_args processes default_expect_timeout ended expect "
         "finished_ok kill lifecycle_handlers name ok reset run start started stats wait"),
        (Remote("true", []), "cmd connection_params process_args hosts processes write"),
        (Put([], "x"), "local_files remote_location hosts connection_params processes"),
        (Get([], "x"), "remote_files local_location hosts connection_params processes"),
        (ParallelActions([]), "actions processes"),
        (Timer(), "elapsed remaining start_date wait_elapsed"),
        (Report(), "add name stats to_string"),
    ],
)  # fmt: skip
def test_all_attributes_are_there(made, names):
    assert [name for name in names.split() if not hasattr(made, name)] == []


def with_dates(text):
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d", "DATE", text)


def test_a_process_is_printed_as_known():
    process = Process("echo a", shell=True, timeout=5, name="N").run()
    assert repr(process) == "Process('echo a', timeout=5, shell=True)"
    assert with_dates(str(process)) == (
        "<Process('echo a', timeout=5, shell=True, name=N, started=True, start_date=DATE, "
        "ended=True, end_date=DATE, killed=False, error=False, error_reason=None, "
        "timeouted=False, expect_fail=False, write_error=False, exit_code=0, ok=True, "
        f"pid={process.pid})>"
    )
    assert process.dump() == f"{process}\nstdout:\na\n\nstderr:\n"
    assert "start_date=None" in str(Process("x"))
    assert repr(SshProcess("x", Host("h", user="u"))) == "SshProcess('x', Host('h', user='u'))"


def test_an_action_is_printed_as_known():
    assert with_dates(str(Local("echo a").run())) == (
        "<Local('echo a', name=echo a, started=True, start_date='DATE', ended=True, "
        "end_date='DATE', num_processes=1, num_started=1, num_ended=1, num_timeouts=0, "
        "num_errors=0, num_forced_kills=0, num_non_zero_exit_codes=0, num_ok=1, "
        "num_finished_ok=1, ok=True)>"
    )
    assert repr(Remote("a", ["h1", "h2"])) == "Remote('a', [Host('h1'), Host('h2')])"
    assert repr(Put("h", "x")) == "Put([Host('h')], ['x'], remote_location='.')"
    assert repr(Get("h", ["x"], "y")) == "Get([Host('h')], ['x'], local_location='y')"


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (Process("a  b\n c " + "d" * 50), "a b c " + "d" * 30 + "..."), (Process("x" * 39), "x" * 39),
        (Process(["x", "y z"]), "x 'y z'"), (Local("ls"), "ls"), (Remote("ls", "h"), "ls"),
        (Put(["a", "b"], "x"), "Put to 2 hosts"), (Get("a", "x"), "Get from 1 hosts"),
        (SequentialActions([Local("x")]), "SequentialActions 1 actions"),
    ],
)  # fmt: skip
def test_what_has_no_name_has_that_of_its_command(made, name):
    assert made.name == name


def test_a_report_is_printed_as_known():
    good, bad = Local("true").run(), Local("false", {"nolog_exit_code": True}).run()
    both = SequentialActions([good.reset(), ParallelActions([bad.reset()])], name="n" * 40).run()
    report = Report([both, Local("sleep 5"), Process("true").run()])
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "D" * 19, report.to_string())
    text = re.sub(r"\d+\.\d+s|\d+s\b", lambda found: "0s".ljust(len(found.group())), text)
    date = "D" * 19
    assert text.splitlines() == [
        "Name                            start               end                 total",
        " length         startd ended  error  timout fkilld expfld wrterr ret!=0 ok",
        "-" * 78,
        f"{'n' * 31} {date} {date} 2",
        " 0s             2      2      0      0      0      0      0      1      1",
        f"  true                          {date} {date} 1",
        " 0s             1      1      0      0      0      0      0      0      1",
        f"  ParallelActions 1 actions     {date} {date} 1",
        " 0s             1      1      0      0      0      0      0      1      0",
        f"    false                       {date} {date} 1",
        " 0s             1      1      0      0      0      0      0      1      0",
        "sleep 5                         None                None                1",
        "                0      0      0      0      0      0      0      0      1",
        f"true                            {date} {date} 1",
        " 0s             1      1      0      0      0      0      0      0      1",
        "-" * 78,
        f"Report                          {date} None                4",
        "                3      3      0      0      0      0      0      1      3",
    ]
    wide = report.to_string(wide=True).splitlines()
    assert len(wide) == 10
    assert wide[0].split()[:5] == ["Name", "start", "end", "length", "startd"]
    assert len(Report([good]).to_string(brief=True).splitlines()) == 5
    assert str(Report()).startswith("<Report(<0 entries>, name='Report', start_date=None")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(0, 0), (1.5, 1.5), ("1:00:00", 3600), ("2:30:40.5", 9040.5), ("90", 90), (None, None),
     (datetime.timedelta(seconds=90.25), 90.25)],
)  # fmt: skip
def test_durations_are_read(given, seconds):
    assert get_seconds(given) == seconds


@pytest.mark.parametrize(
    ("given", "text", "exact"),
    [
        (0, "0s", "0s"), (10, "10s", "10s"), (3661.5, "1h1m1s", "1h1m1.500s"),
        (100000, "1d3h46m40s", "1d3h46m40s"), (172800, "2d0h0m0s", "2d0h0m0s"),
        (0.25, "0s", "0.250s"), (59.9996, "59s", "1m0s"), (-5, "-5s", "-5s"), (None, None, None),
        ("1:00:00", "1h0m0s", "1h0m0s"),
    ],
)  # fmt: skip
def test_durations_are_written(given, text, exact):
    assert (format_duration(given), format_duration(given, True)) == (text, exact)


def test_dates_are_read_and_written():
    zone = datetime.UTC
    then = datetime.datetime(2023, 1, 2, 3, 4, 5, 250000, tzinfo=zone).timestamp()
    there = datetime.datetime.fromtimestamp(then)
    assert get_unixts(there) == then
    assert get_unixts(there.strftime("%Y-%m-%d %H:%M:%S")) == int(then)
    assert format_date(then)[:19] == there.strftime("%Y-%m-%d %H:%M:%S")
    assert format_date(then, showms=True)[19:23] == ".250"
    assert format_date(None) is None
    for wrong in ("soon", [], "1:x"):
        with pytest.raises(ValueError, match="is no date"):
            get_unixts(wrong)
    with pytest.raises(ValueError, match="is no duration"):
        get_seconds("soon")


def test_timers_and_sleeps_tell_how_long():
    timer = Timer("0:10:00")
    assert 599 < timer.remaining() <= 600
    assert Timer().remaining() is None
    assert sleep(0.01) == 0.01
    assert 0 < sleep(until=time.time() + 0.05) <= 0.05


def test_failures_are_told_with_what_failed():
    action, process = Local("true"), Process("false", nolog_exit_code=True).run()
    error = ActionsFailed([action])
    assert (error.actions, str(error)) == (
        [action], f"<ActionsFailed> - failed action(s):\n{action}"
    )  # fmt: skip
    failed = ProcessesFailed([process])
    assert failed.processes == [process]
    assert str(failed) == f"<ProcessesFailed> - failed process(es):\n{process.dump()}"


def test_hosts_where_an_action_failed_are_filtered_out(tmp_path):
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\n[ "$2" != bad ]\n')
    ssh.chmod(0o755)
    action = Remote(
        "true", ["a", "bad", "b"], {"ssh": str(ssh), "taktuk_connector": "oarsh", "scp": "oarcp"},
        {"nolog_exit_code": True},
    ).run(30)  # fmt: skip
    assert filter_bad_hosts(action) == [Host("a"), Host("b")]
    assert filter_bad_hosts(action, ["b", "bad", "new"]) == ["b", "new"]


def test_factories_make_what_they_say():
    made = default_action_factory
    assert isinstance(made.get_remote("x", ["h"]), Remote)
    assert isinstance(made.get_fileput(["h"], ["x"]), Put)
    assert isinstance(made.get_fileget(["h"], ["x"]), Get)
    assert repr(get_process(cmd="x", host="h", connection_params={"user": "u"})) == (
        "SshProcess('x', Host('h'), connection_params={'user': 'u'})"
    )


def test_a_local_command_is_words_as_a_process_s_is():
    assert Local("echo $X; y").run().processes[0].stdout == "$X; y\n"
    assert (
        Local("echo 1; echo 2", process_args={"shell": True}).run().processes[0].stdout == "1\n2\n"
    )


def test_an_action_has_a_default_for_its_expect():
    args = {"nolog_expect_fail": True}
    with Local("cat", args, default_expect_timeout=0.01).start() as action:
        assert [found[1:] for found in action.expect("x")] == [(None, None)]


def test_an_action_s_life_is_told_in_order():
    told = []

    class Life(ActionLifecycleHandler):
        def start(self, action):
            told.append("start")

        def end(self, action):
            told.append("end")

        def reset(self, action):
            told.append("reset")

    Local("true", lifecycle_handlers=[Life()]).run().reset()
    assert told == ["start", "end", "reset"]


def test_hosts_are_what_was_said_of_them():
    assert Host("a", user=False) == Host("a")
    assert Host(Host("a", user="u"), port=3) == Host("a", "u", None, 3)
    assert str(Host("a", user="root", port=22)) == "Host('a', user='root', port=22)"
    assert Remote("x", (name for name in "ab")).hosts == [Host("a"), Host("b")]


def test_options_of_a_program_that_is_not_used_are_said_once(monkeypatch, capsys):
    monkeypatch.setattr(hosts, "_unread", [])
    known = ("-tt", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20")
    SshProcess("true", "h", {"ssh_options": known})
    one = SshProcess("true", "h", {"ssh_options": "-J front", "ssh": ("ssh",)})
    assert one._argv()[-5:] == ["-J", "front", "--", "h", "true"]
    assert capsys.readouterr().out == ""
    for _ in range(2):
        SshProcess("true", "h", {"ssh_options": (*known, "-o", "ProxyCommand=x y")})
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("which reads ~/.ssh/config: 'ProxyCommand=x y'")


@pytest.mark.parametrize("given", [float("nan"), "nan", "1:nan:0"])
def test_what_would_never_be_over_is_no_duration(given):
    with pytest.raises(ValueError, match="is no duration"):
        get_seconds(given)
