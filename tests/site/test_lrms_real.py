"""Each plug-in against the real batch system, from a pilot's submission to its end."""

import shlex
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gshell.errors import LrmsError
from gshell.lrms import registry
from gshell.lrms.base import Allocation, Command, Done, PilotRequest, State, Status

SLOW_S = 40  # OAR's scheduler may sleep ten seconds, twice

SCRIPT = """
cd
env -0 > {name}.tmp; mv {name}.tmp {name}.env
until [ -e {name}.go ]; do sleep .1; done
sh ./{name}.go > {name}.said 2>&1
echo $? > {name}.tmp; mv {name}.tmp {name}.went
exec sleep 600
"""


class Site:
    """A plug-in and the batch system that it is for."""

    def __init__(self, cluster: Any, plugin: Any, extra: tuple[str, ...]) -> None:
        self.cluster = cluster
        self.plugin = plugin
        self.extra = extra
        self.mine: list[str] = []

    def do(self, command: Command, host: str = "fe") -> Done:
        ran = self.cluster.run(
            host, *command.argv, stdin=command.stdin, env=dict(command.env), timeout=SLOW_S
        )
        return Done(ran.returncode, ran.stdout, ran.stderr)

    def submit(self, name: str, body: str = "", **asked: Any) -> str:
        request = PilotRequest(
            name, f"/home/alice/{name}.sh", f"/home/alice/{name}.out",
            **{"extra": self.extra, "walltime_s": 3600, **asked},
        )  # fmt: skip
        path = self.cluster.home / f"{name}.sh"
        lines = ["#!/bin/sh", *self.plugin.header(request), body or SCRIPT.format(name=name)]
        path.write_text("\n".join(lines))
        path.chmod(0o755)
        one = self.plugin.submitted(self.do(self.plugin.submit(request)))
        self.mine.append(one)
        return one

    def statuses(self, *ids: str) -> dict[str, Status]:
        return self.plugin.statuses(ids, [self.do(one) for one in self.plugin.status(ids)])

    def until(self, one: str, state: State) -> Status:
        return until(lambda: self.statuses(one)[one], lambda status: status.state is state)

    def read(self, name: str) -> str:
        path = self.cluster.home / name
        until(path.exists, bool)
        return path.read_text(errors="replace")

    def inside(self, name: str) -> Allocation:
        """The allocation, from the environment of the running job."""
        env = dict(
            item.split("=", 1) for item in self.read(f"{name}.env").split("\0") if "=" in item
        )

        def read(path: str) -> str:
            for host in ("n1", "n2", "n3", "n4"):  # node files are on the node
                ran = self.cluster.run(host, "cat", path)
                if ran.returncode == 0:
                    return ran.stdout
            raise OSError(ran.stderr)

        found = registry.detect(env, read, time.time())
        assert found is not None, env
        assert found.lrms == self.plugin.name
        return found

    def tell(self, name: str, commands: list[Command]) -> str:
        """Runs commands inside the job; what they print."""
        words = (["env", *(f"{k}={v}" for k, v in c.env.items()), *c.argv] for c in commands)
        go = self.cluster.home / f"{name}.tmp2"
        go.write_text("\n".join(f"{shlex.join(line)} &" for line in words) + "\nwait\n")
        go.rename(self.cluster.home / f"{name}.go")
        self.read(f"{name}.went")
        return self.read(f"{name}.said")


def until(get: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + SLOW_S
    while True:
        seen = get()
        if good(seen):
            return seen
        assert time.monotonic() < deadline, f"still {seen}"
        time.sleep(0.1)


@pytest.fixture(params=["slurm", "oar", "sge"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    cluster = request.getfixturevalue(request.param)
    plugin = registry.plugin(request.param)
    made = Site(cluster, plugin, ("-pe", "openmpi") if request.param == "sge" else ())
    yield made
    if made.mine:
        made.do(plugin.cancel(made.mine))
        for one in made.mine:
            made.until(one, State.ENDED)


def test_a_pilot_on_two_nodes_lives_from_submission_to_cancellation(site):
    one = site.submit("gshell-two", nodes=2, slots=2)
    assert site.statuses(one)[one].state in (State.QUEUED, State.STARTING, State.RUNNING)
    running = site.until(one, State.RUNNING)
    assert len(running.hosts) == 2
    assert running.start_at == pytest.approx(time.time(), abs=60)

    found = site.plugin.found(site.do(site.plugin.find("gshell-", "alice")))
    assert found[one] == "gshell-two"
    assert site.plugin.found(site.do(site.plugin.find("gshell-", "bob"))) == {}

    allocation = site.inside("gshell-two")
    assert allocation.id == one
    assert {host for host, _ in allocation.hosts} == set(running.hosts)
    assert [slots for _, slots in allocation.hosts] == [2, 2]
    assert allocation.restart == 0

    # the second node's process gets its words as they are
    other = allocation.hosts[1][0]
    strange = "a  b;$HOME '\"*\\n"
    argv = ["/usr/bin/env", "printf", "<%s>", strange]
    hostname = ["/bin/uname", "-n"]
    commands = site.plugin.on_nodes(allocation, [other], argv)
    commands += site.plugin.on_nodes(allocation, [other], hostname)
    said = site.tell("gshell-two", commands)
    assert f"<{strange}>" in said
    assert other in said

    ends_at = allocation.ends_at
    if ends_at is None:
        asked = site.plugin.ends(allocation)
        ends_at = site.plugin.ended_at(site.do(asked, allocation.hosts[0][0]), time.time())
    assert ends_at == pytest.approx(time.time() + 3600, abs=90)

    site.do(site.plugin.cancel([one, "999999"]))
    ended = site.until(one, State.ENDED)
    assert ended.reason


def test_a_pilot_that_finds_no_place_waits_with_a_reason_behind_the_others(site):
    all_of_it = {"nodes": 4, "slots": 4 if site.plugin.name == "slurm" else 2, "body": "sleep 600"}
    nodes = [site.submit(f"gshell-w{count}", **all_of_it) for count in range(3)]
    site.until(nodes[0], State.RUNNING)
    seen = until(
        lambda: site.statuses(*nodes, "999999"),
        lambda seen: all(seen[one].position is not None for one in nodes[1:]),
    )
    assert [seen[one].state for one in nodes] == [State.RUNNING, State.QUEUED, State.QUEUED]
    assert [seen[one].position for one in nodes] == [None, 0, 1]
    assert (seen["999999"].state, seen["999999"].reason) == (State.ENDED, "gone")


def test_what_the_site_offers_is_what_it_has(site):
    before = site.plugin.offered([site.do(one) for one in site.plugin.offers()])
    default = next(queue for queue in before if queue.default)
    assert default.up
    assert (default.nodes, default.nodes_free) == (4, 4)
    assert default.cpus == default.cpus_free
    one = site.submit("gshell-one", nodes=1, slots=2, body="sleep 600")
    site.until(one, State.RUNNING)
    after = site.plugin.offered([site.do(one) for one in site.plugin.offers()])
    default = next(queue for queue in after if queue.default)
    assert default.cpus_free == default.cpus - 2
    assert default.running == 1
    assert default.waiting == 0


def test_a_pilot_for_a_queue_that_is_not_there_is_refused_in_the_site_s_words(site):
    with pytest.raises(LrmsError) as refused:
        site.submit("gshell-nix", nodes=1, slots=1, queue="nix")
    assert refused.value.code == "refused"
    assert "nix" in str(refused.value)


def test_a_script_that_ends_by_itself_has_ended(site):
    one = site.submit("gshell-end", nodes=1, slots=1, body="exit 3")
    assert site.until(one, State.ENDED).code in (3, None)
    site.mine.remove(one)


def test_a_held_pilot_waits_for_a_person(site):
    hold = {"slurm": ("--hold",), "oar": ("--hold",), "sge": ("-h",)}[site.plugin.name]
    one = site.submit("gshell-held", nodes=1, slots=1, extra=(*hold, *site.extra))
    assert site.until(one, State.HELD).reason


def test_a_plug_in_is_a_module():
    assert isinstance(registry.plugin("slurm"), types.ModuleType)
