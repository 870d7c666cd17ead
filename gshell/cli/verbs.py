"""The commands that ask or tell the relay something and print the answer."""

from __future__ import annotations

import os
import sys
import time

from gshell import config
from gshell.cli import launch
from gshell.cli.listing import color_of, over, print_json, text_of, width
from gshell.errors import BrokerError, GshellError, UsageError
from gshell.net.relaylink import ask, enrol, items_of, parse_invite, received_ticket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gshell.cli.options import Parsed
    from gshell.model.ticket import Ticket

SAY_AWAY_S = 5.0  # before who starts an agent is told that it finds no relay


def _ask(parsed: Parsed, message: dict[str, Any], start: bool = False) -> dict[str, Any]:
    return ask(launch.ticket_for(parsed, start=start), message)


def jobs(parsed: Parsed) -> int:
    """``jobs``, ``ps``."""
    from gshell.client import glance
    from gshell.client.render import jobs_table, stamp

    words = [*parsed.words, *filter(None, (parsed["job"] or "").split(","))]
    ids = [_job_id(word) for word in words]
    states = frozenset[str]().union(*parsed["state"])
    ended_too = bool(parsed["all"] or ids or over(states))
    request = {"m": "jobs", "all": ended_too, "ids": ids or None}
    request.update(_others(parsed))

    def show() -> str:
        try:
            if _others(parsed) or parsed["quiet"]:
                found = items_of(_ask(parsed, request), "jobs")
            else:
                found = glance.jobs(launch.ticket_for(parsed, start=False), request)
        except GshellError:
            if launch.ticket_or_none() is None:
                found = []  # nothing was ever started: that is no error
            else:
                raise
        return text(found)

    def wanted(job: dict[str, Any]) -> bool:
        if states and job.get("state") not in states:
            return False
        if parsed["name"] is None:
            return True
        from fnmatch import fnmatchcase

        return fnmatchcase(str(job.get("name") or job.get("argv0") or ""), parsed["name"])

    def text(found: list[dict[str, Any]]) -> str:
        found = [job for job in found if wanted(job)]
        # ids may be ahead
        found.sort(key=lambda job: stamp(job, "started_at") or stamp(job, "created_at") or 0.0)
        return text_of(
            parsed, "jobs", found, "id",
            lambda fields: jobs_table(found, time.time(), width(), color_of(parsed), fields),
        )  # fmt: skip

    def told(found: list[dict[str, Any]]) -> str:
        return text([job for job in found if ended_too or job.get("ended_at") is None])

    fed = not ids and not _others(parsed)  # the feed tells of one's own only
    return watch(parsed, show, lambda found, _: told(found), ended_too, fed)


def _others(parsed: Parsed) -> dict[str, Any]:
    """Whose jobs or agents, if not one's own."""
    if parsed["everyone"]:
        return {"everyone": True}
    return {"user": parsed["user"]} if parsed["user"] else {}


def agents(parsed: Parsed) -> int:
    from gshell.client.render import agents_table

    def text(found: list[dict[str, Any]]) -> str:
        return text_of(
            parsed, "agents", found, "id",
            lambda fields: agents_table(found, time.time(), width(), color_of(parsed), fields),
        )  # fmt: skip

    def show() -> str:
        return text(items_of(_ask(parsed, {"m": "agents", **_others(parsed)}), "agents"))

    return watch(parsed, show, lambda _, found: text(found), fed=not _others(parsed))


def watch(
    parsed: Parsed,
    show: Callable[[], str],
    told: Callable[[list[dict[str, Any]], list[dict[str, Any]]], str],
    ended_too: bool = False,
    fed: bool = True,
) -> int:
    """Print once, or anew whenever something has changed until Ctrl-C; ``told`` makes that of the
    jobs and agents of the feed. What is not ``fed``, and a relay without one, is asked each
    second."""
    interval = parsed["interval"]
    if not parsed["watch"] and interval is None:
        sys.stdout.write(show())
        return 0
    from gshell.cli.top import Unsupported, follow

    if fed and interval is None and launch.ticket_or_none() is not None:
        try:
            return follow(parsed, ended_too, told)
        except Unsupported:
            pass
    from gshell.cli.page import Page

    page = Page()
    try:
        while True:
            page.show(show())
            time.sleep(interval or 1.0)  # nobody tells: it is asked
    except KeyboardInterrupt:
        page.leave()
        return 0


def _job_id(word: str) -> str:
    job = word.partition(".")[0]
    if not job.isdigit():
        raise UsageError(f"{word!r} is not a job id", hint="gshell jobs")
    return job


def _each_job(parsed: Parsed, request: Callable[[str], dict[str, Any]]) -> int:
    if not parsed.words:
        raise UsageError(f"gshell {parsed.command.name} needs a job id", hint="gshell jobs")
    return _each(parsed, [_job_id(word) for word in parsed.words], request)


def _each(parsed: Parsed, ids: list[str], request: Callable[[str], dict[str, Any]]) -> int:
    """Ask it of each, whatever becomes of the others; 1 if one was refused."""
    from gshell.cli import saying
    from gshell.client import asjson

    done, status = [], 0
    for one in ids:
        try:
            _ask(parsed, request(one))
            done.append({"id": one, "ok": True})
        except BrokerError as error:
            status = 1
            if not parsed["json"]:
                saying.complain(error, color=parsed["color"])
            done.append({"id": one, "ok": False, "error": asjson.error_fields(error, 1)})
    if parsed["json"]:
        print_json("done", done)
    return status


def cancel(parsed: Parsed) -> int:
    number = parsed["signal"]
    if number:
        return kill(parsed)
    return _each_job(parsed, lambda job: {"m": "cancel", "job": job})


def kill(parsed: Parsed) -> int:
    number = parsed["signal"]
    if not number:
        return _each_job(parsed, lambda job: {"m": "cancel", "job": job})
    return _each_job(parsed, lambda job: {"m": "signal", "job": job, "sig": int(number)})


def forget(parsed: Parsed) -> int:
    return _each_job(parsed, lambda job: {"m": "forget", "job": job})


def stop(parsed: Parsed) -> int:
    """End the private relay, its agent and the background process."""
    _await_starting()
    pid = _background_pid()
    supervisor = None
    from gshell.client import upkeep

    ticket = launch.ticket_or_none() or config.embedded_ticket()
    if not pid or not _is_ours(pid):
        from gshell.client import embedded

        supervisor = embedded.Supervisor()  # the background process may have been killed
        if not supervisor.adopt():
            submitter = ticket is not None and upkeep.stop(ticket.pin)
            if not parsed["quiet"]:
                print("gshell: stopped" if submitter else "gshell: nothing runs")
            return 0
    if not parsed["force"] and config.find_ticket() is None:
        live = items_of(_ask(parsed, {"m": "jobs", "all": False}), "jobs")
        if live:
            names = ", ".join(str(job.get("id")) for job in live)
            raise GshellError(
                f"jobs still live: {names}", hint="gshell cancel ID...    or    gshell stop --force"
            )
    if ticket is not None:  # not before it is known that all may end
        upkeep.stop(ticket.pin)
    if supervisor is not None:
        supervisor.stop()
    else:
        _end(pid)
        if _background_pid() == pid:  # else another `stop` was as quick, and a `run` after it
            try:
                os.unlink(_pid_file())
            except FileNotFoundError:
                pass
    if not parsed["quiet"]:
        print("gshell: stopped")
    return 0


def _pid_file() -> str:
    return config.background_socket() + ".pid"


def _background_pid() -> int:
    """Of the background process that is up, or was; 0: there is none."""
    try:
        with open(_pid_file()) as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def _await_starting() -> None:
    """A background process that was started a moment ago is up, or gone, before it can be ended."""
    end = time.monotonic() + launch.START_S
    while time.monotonic() < end:
        try:
            with open(launch.starting_file()) as file:
                pids = [int(line) for line in file if line.strip().isdigit()]
        except OSError:
            return
        # One that was quick is up before it is written down here.
        if not any(_is_ours(pid) and pid != _background_pid() for pid in pids):
            return
        time.sleep(0.02)  # another process's start: nothing tells us of it


def _end(pid: int) -> None:
    import select
    import signal

    try:
        fd = os.pidfd_open(pid)
        signal.pidfd_send_signal(fd, signal.SIGTERM)
    except ProcessLookupError:
        return  # it has just ended by itself

    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if not poll.poll(45_000):  # an agent and a relay, one after the other
        raise GshellError(f"the background process {pid} does not end", hint=f"kill -9 {pid}")


def _is_ours(pid: int) -> bool:
    """Is this process a background process of ours, and not somebody who got its number?"""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
        return os.stat(f"/proc/{pid}").st_uid == os.getuid() and b"bg" in words
    except OSError:
        return False


def whoami(parsed: Parsed) -> int:
    answer = _ask(parsed, {"m": "whoami"})
    fields = {key: answer.get(key) for key in ("user", "role", "relay", "key", "until")}
    fields["relay"] = fields["relay"] or launch.ticket_for(parsed, start=False).relays[0]
    if parsed["json"]:
        print_json("whoami", fields)
        return 0
    print(f"{fields['user']} ({fields['role'] or 'user'}) at {fields['relay']}")
    if fields["until"]:
        until = time.strftime("%Y-%m-%d", time.localtime(float(fields["until"])))
        print(f"key {str(fields['key'])[:12]}, valid until {until}")
    return 0


def keys(parsed: Parsed) -> int:
    from gshell.client.render import keys_table

    found = _ask(parsed, {"m": "keys"})["keys"]
    sys.stdout.write(
        text_of(
            parsed,
            "keys",
            found,
            "serial",
            lambda fields: keys_table(found, time.time(), width(), color_of(parsed), fields),
        )
    )
    return 0


def revoke(parsed: Parsed) -> int:
    from gshell.cli import saying
    from gshell.client import asjson

    done: list[dict[str, Any]] = []
    status = 0
    for word in parsed.words:
        try:
            answer = _ask(parsed, {"m": "revoke", "what": word})
        except BrokerError as error:
            status = 1
            done.append({"id": word, "ok": False, "error": asjson.error_fields(error, 1)})
            if not parsed["json"]:
                saying.complain(error, color=parsed["color"])
            continue
        done.append({"id": answer["id"], "ok": True, "revoked": answer["revoked"]})
        if not parsed["quiet"] and not parsed["json"]:
            print(f"gshell: the {answer['revoked']} {answer['id']} is revoked")
    if parsed["json"]:
        print_json("done", done)
    return status


def login(parsed: Parsed) -> int:
    if len(parsed.words) != 1:
        raise UsageError("gshell login takes one invite", hint="gshell relay invite    prints one")
    empty, token = parse_invite(parsed.words[0])
    ticket = enrol(empty, token, "client", "")  # the invite says for whom it is
    config.private_dir(config.config_dir())
    config.write_private(config.client_ticket_path(), ticket.dump())
    if not parsed["quiet"]:
        print(f"gshell: enrolled as {ticket.user} with {ticket.relays[0]}")
    return 0


def agent_start(parsed: Parsed) -> int:
    """In the foreground, or detached once it waits; or at a site."""
    if parsed["site"]:
        from gshell.cli import sites

        return sites.agent_start(parsed)
    argv = []
    ticket_path = parsed["ticket"]
    if parsed["invite"]:
        argv += ["--invite", parsed["invite"]]
    elif ticket_path:
        argv += ["--ticket", ticket_path]
    else:
        ticket = _agent_ticket(parsed, "")
        fd = os.memfd_create("gshell-ticket", 0)
        os.write(fd, ticket.dump().encode())
        os.set_inheritable(fd, True)
        os.lseek(fd, 0, os.SEEK_SET)
        argv += ["--ticket", f"/proc/self/fd/{fd}"]
    for name in ("node", "restart"):
        if parsed[name] is not None:
            argv += [f"--{name}", str(parsed[name])]
    relay = config.relay_override()
    if relay:
        argv += ["--relay", relay]
    if parsed["slots"]:
        argv += ["--slots", str(parsed["slots"])]
    for tag in parsed["tag"]:
        argv += ["--tag", tag]
    if parsed["quota"] is not None:
        argv += ["--quota", str(parsed["quota"])]
    if parsed["pool"]:
        argv += ["--pool", parsed["pool"]]
    if parsed["foreground"]:
        from gshell.agent.main import main as agent_main

        return agent_main(argv)
    return _agent_behind(argv)


def _agent_behind(argv: list[str]) -> int:
    import select

    from gshell import sitepath

    reads, writes = os.pipe()
    os.set_inheritable(writes, True)
    script = os.path.join(sitepath.root(), "gshell", "agent", "__main__.py")
    words = [*sitepath.interpreter(), script, *argv, "--ready-fd", str(writes)]
    config.private_dir(config.state_dir())
    log = os.open(
        config.state_dir() + "/agent.log",
        os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC,
        0o600,
    )
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    start = os.lseek(log, 0, os.SEEK_END)
    pid = os.posix_spawn(
        words[0],
        words,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, null, 0),
            (os.POSIX_SPAWN_DUP2, log, 1),
            (os.POSIX_SPAWN_DUP2, log, 2),
        ],
        setsid=True,
    )
    os.close(writes)
    said = b""
    poll = select.poll()
    poll.register(reads, select.POLLIN)
    if not poll.poll(SAY_AWAY_S * 1000):
        sys.stderr.write(
            f"gshell: the relay does not answer the agent (process {pid}) yet, which goes on "
            "trying; ^C leaves it to that\n"
        )
    while data := os.read(reads, 4096):
        said += data
        if said.endswith(b"\n"):
            break
    if said.strip() != b"ready":
        with open(config.state_dir() + "/agent.log", errors="replace") as file:
            file.seek(start)
            words_said = said.decode(errors="replace").strip() or file.read()[-600:].strip()
        raise GshellError(
            "the agent did not start: " + words_said.removeprefix("gshell: "), hint="gshell doctor"
        )
    print(f"gshell: an agent waits (process {pid})")
    return 0


def _agent_ticket(parsed: Parsed, agent_id: str) -> Ticket:
    answer = _ask(parsed, {"m": "ticket", "role": "agent", "agent_id": agent_id}, start=True)
    return received_ticket(answer, [])


def agent_ticket(parsed: Parsed) -> int:
    path = _one_file(parsed)
    ticket = _agent_ticket(parsed, "")
    _write(path, ticket.dump())
    if not parsed["quiet"]:
        print(f"gshell: {path} is for one agent; it is as secret as a key")
    return 0


def agent_pilot(parsed: Parsed) -> int:
    path = _one_file(parsed)
    fields = {key: parsed[key] for key in ("name", "nodes", "hours") if parsed[key] is not None}
    answer = _ask(parsed, {"m": "pilot", **fields}, start=True)
    _write(path, answer["invite"] + "\n")
    if not parsed["quiet"]:
        there = f"gshell agent start --foreground --invite @{path} --node I --restart R"
        print(f"gshell: {path} is for the pilot {answer['name']}; on its node I: {there}")
    return 0


def agent_pack(parsed: Parsed) -> int:
    path = _one_file(parsed)
    from gshell.agent.pack import pack

    try:
        size = pack(path)
    except OSError as error:
        raise GshellError(f"cannot write {path}: {error.strerror}") from None
    if not parsed["quiet"]:
        there = f"python3 {os.path.basename(path)} --ticket FILE"
        print(f"gshell: {path}, {size // 1024} KiB; there: {there}")
    return 0


def _one_file(parsed: Parsed) -> str:
    if len(parsed.words) != 1:
        raise UsageError(f"gshell {parsed.command.name} takes one FILE")
    path: str = parsed.words[0]
    if os.path.exists(path) and not os.path.isfile(path):  # it would be replaced: /dev/null, too
        raise GshellError(f"{path} is there and is no file", hint="another name")
    if os.path.exists(path) and not parsed["force"]:
        raise GshellError(
            f"{path} is there already", hint=f"gshell {parsed.command.name} --force {path}"
        )
    return path


def _write(path: str, text: str) -> None:
    try:
        config.write_private(path, text)
    except OSError as error:
        raise GshellError(f"cannot write {path}: {error.strerror}") from None


def _each_agent(parsed: Parsed, request: Callable[[str], dict[str, Any]]) -> int:
    if not parsed.words:
        raise UsageError(f"gshell {parsed.command.name} needs an agent's id", hint="gshell agents")
    return _each(parsed, parsed.words, request)


def agent_stop(parsed: Parsed) -> int:
    force = bool(parsed["force"])
    return _each_agent(parsed, lambda agent: {"m": "stop-agent", "agent": agent, "force": force})


def agent_drain(parsed: Parsed) -> int:
    on = not parsed["undo"]
    return _each_agent(parsed, lambda agent: {"m": "drain", "agent": agent, "on": on})


def top(parsed: Parsed) -> int:
    from gshell.cli.top import top

    return top(parsed)


def show_events(parsed: Parsed) -> int:
    from gshell.cli.top import show_events

    return show_events(parsed)


def doctor(parsed: Parsed) -> int:
    from gshell.cli.doctor import examine

    return examine(parsed)


VERBS: dict[str, Callable[[Parsed], int]] = {
    "jobs": jobs,
    "agents": agents,
    "cancel": cancel,
    "kill": kill,
    "forget": forget,
    "stop": stop,
    "whoami": whoami,
    "keys": keys,
    "revoke": revoke,
    "login": login,
    "doctor": doctor,
    "top": top,
    "events": show_events,
    "agent start": agent_start,
    "agent stop": agent_stop,
    "agent drain": agent_drain,
    "agent pack": agent_pack,
    "agent ticket": agent_ticket,
    "agent pilot": agent_pilot,
}
