"""Each plug-in against the real batch system, from a pilot's submission to its end."""

import concurrent.futures
import shlex
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gshell.errors import LrmsError
from gshell.lrms import registry
from gshell.lrms.base import Allocation, Command, Done, PilotRequest, Queue, State, Status

SLOW_S = 40  # OAR's scheduler may sleep ten seconds, twice
HELD_IS_WAITING = {"slurm": 1, "oar": 0, "sge": 1}  # as each counts

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

    idle: Queue
    slots: int
    two: str
    brief: str
    held: str
    waiting: list[str]

    def __init__(self, cluster: Any, plugin: Any) -> None:
        self.cluster = cluster
        self.plugin = plugin
        self.extra = ("-pe", "openmpi") if plugin.name == "sge" else ()
        self.mine: list[str] = []

    def do(self, command: Command, host: str = "fe") -> Done:
        ran = self.cluster.run(
            host, *command.argv, stdin=command.stdin, env=dict(command.env), timeout=SLOW_S
        )
        return Done(ran.returncode, ran.stdout, ran.stderr)

    def offered(self) -> Queue:
        queues = self.plugin.offered([self.do(one) for one in self.plugin.offers()])
        return next(queue for queue in queues if queue.default)

    def submit(self, name: str, body: str = "", extra: tuple[str, ...] = (), **asked: Any) -> str:
        request = PilotRequest(
            name, f"/home/alice/{name}.sh", f"/home/alice/{name}.out",
            walltime_s=3600, extra=(*extra, *self.extra), **asked,
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


KINDS = ("slurm", "oar", "sge")


@pytest.fixture(scope="module")
def sites(request: pytest.FixtureRequest) -> Iterator[dict[str, Site | str]]:
    """By kind; or why there is none. Everything is submitted at once, and everywhere at once: a
    batch system's rounds are what these tests wait for."""
    found: dict[str, Site | str] = {}
    for kind in KINDS:
        try:
            found[kind] = Site(request.getfixturevalue(kind), registry.plugin(kind))
        except pytest.skip.Exception as skipped:
            found[kind] = str(skipped)
    there = [site for site in found.values() if isinstance(site, Site)]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(fill, there))
    yield found
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda site: site.do(site.plugin.cancel(site.mine)), there))


def fill(site: Site) -> None:
    site.idle = site.offered()
    # Grid Engine's environment deals its slots round, so two of them are on two hosts.
    site.slots = 1 if site.plugin.name == "sge" else 2
    everything = {"nodes": 4, "slots": 4 if site.plugin.name == "slurm" else 2, "body": "sleep 600"}
    site.two = site.submit("gshell-two", nodes=2, slots=site.slots)
    site.brief = site.submit("gshell-brief", slots=1, body="exit 3")
    site.waiting = [site.submit(f"gshell-wait{count}", **everything) for count in range(2)]
    hold = "-h" if site.plugin.name == "sge" else "--hold"
    site.held = site.submit("gshell-held", slots=1, extra=(hold,), body="exit 3")


@pytest.fixture(scope="module", params=KINDS)
def site(request: pytest.FixtureRequest, sites: dict[str, Site | str]) -> Site:
    found = sites[request.param]
    if isinstance(found, str):
        pytest.skip(found)
    return found


def test_a_pilot_starts_on_as_many_hosts_as_it_asked_for(site):
    running = site.until(site.two, State.RUNNING)
    assert len(running.hosts) == 2
    assert running.start_at == pytest.approx(time.time(), abs=60)


def test_a_pilot_is_found_again_by_its_name_and_by_its_owner_alone(site):
    ours = site.plugin.found(site.do(site.plugin.find("gshell-", "alice")))
    assert ours[site.two] == "gshell-two"
    assert site.plugin.found(site.do(site.plugin.find("gshell-", "bob"))) == {}


def test_a_pilot_knows_inside_where_it_is_and_until_when(site):
    allocation = site.inside("gshell-two")
    assert allocation.id == site.two
    assert {host for host, _ in allocation.hosts} == set(site.statuses(site.two)[site.two].hosts)
    assert [slots for _, slots in allocation.hosts] == [site.slots] * 2
    assert allocation.restart == 0
    assert allocation.name == "gshell-two"
    asked = site.do(site.plugin.ends(allocation), allocation.hosts[0][0])
    for ends_at in (allocation.ends_at, site.plugin.ended_at(asked, time.time())):
        assert ends_at in (None, pytest.approx(time.time() + 3600, abs=90))
    assert ends_at is not None


def test_a_pilot_starts_a_process_on_its_other_host_whose_words_are_as_they_were(site):
    allocation = site.inside("gshell-two")
    other = allocation.hosts[1][0]
    strange = "a  b;$HOME '\"*\\n"
    commands = [
        command
        for argv in (["/usr/bin/env", "printf", "<%s>\\n", strange], ["/bin/uname", "-n"])
        for command in site.plugin.on_nodes(allocation, [other], argv)
    ]
    said = site.tell("gshell-two", commands)
    assert f"<{strange}>" in said
    assert other in said.splitlines()


def test_a_script_that_ends_by_itself_has_ended(site):
    assert site.until(site.brief, State.ENDED).code in (3, None)


def test_a_pilot_that_finds_no_place_waits_behind_those_before_it(site):
    seen = until(
        lambda: site.statuses(*site.waiting, "999999"),
        lambda seen: [seen[one].position for one in site.waiting] == [0, 1],
    )
    assert {seen[one].state for one in site.waiting} == {State.QUEUED}
    assert (seen["999999"].state, seen["999999"].reason) == (State.ENDED, "gone")


def test_a_held_pilot_waits_for_a_person(site):
    assert site.until(site.held, State.HELD).reason


def test_what_the_site_offers_is_what_it_has(site):
    assert site.idle.up
    assert (site.idle.nodes, site.idle.nodes_free) == (4, 4)
    assert site.idle.cpus == site.idle.cpus_free
    site.until(site.two, State.RUNNING)
    site.until(site.brief, State.ENDED)
    busy = until(site.offered, lambda busy: busy.cpus_free == busy.cpus - 2 * site.slots)
    assert busy.nodes_free == 2
    assert (busy.running, busy.waiting) == (
        1,
        len(site.waiting) + HELD_IS_WAITING[site.plugin.name],
    )


def test_a_pilot_for_a_queue_that_is_not_there_is_refused_in_the_site_s_words(site):
    with pytest.raises(LrmsError) as refused:
        site.submit("gshell-nix", nodes=1, slots=1, queue="nix")
    assert refused.value.code == "refused"
    assert "nix" in str(refused.value)


def test_a_cancelled_pilot_ends(site):
    site.do(site.plugin.cancel([site.two, "999999"]))
    assert site.until(site.two, State.ENDED).reason
