"""The same files to several agents at once: sent by the client once, passed on by the agents."""

import os
import shutil

import pytest
from system.test_sweep_agents import told

from kit.procs import Env, until

AGENTS = 5
BIG = 6 << 20
START = """
import os, signal, threading
from gshell.sweep import treeput
TreePut = treeput.TreePut
top, *agents = sys.argv[1:]
quiet = {"nolog_exit_code": True, "nolog_error": True}
def put(where="/to/{{{host}}}", files=("/d",), **more):
    return AgentPut(agents, [top + f for f in files], top + where, quiet, **{"tree": True, **more})
def sent(action):
    return sum(p._transfer.tally.bytes for p in action.processes)
def until(condition):
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError
"""


@pytest.fixture(scope="module")
def crowd():
    """A relay with several agents, all of this machine."""
    env = Env()
    try:
        invite = env.start_relay()
        for n in range(AGENTS):
            env.start_agent(f"a{n}", invite, wait=False)
        until(lambda: len(env.agents()) == AGENTS, "all agents", show=env.logs)
        yield env
    finally:
        env.close()


@pytest.fixture
def top(tmp_path, crowd):
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "big").write_bytes(os.urandom(BIG))
    (tmp_path / "d" / "big").chmod(0o750)
    os.utime(tmp_path / "d" / "big", ns=(10**18, 10**18 + 7))
    (tmp_path / "d" / "e" / "small").write_bytes(os.urandom(9000))
    (tmp_path / "d" / "empty").touch()
    (tmp_path / "d" / "tiny").write_bytes(b"#!/bin/sh\n")
    for agent in names(crowd):
        (tmp_path / "to" / agent).mkdir(parents=True)
    yield tmp_path
    shutil.rmtree(tmp_path)


def names(env):
    return sorted(agent["id"] for agent in env.agents())


def run(env, top, script):
    return told(env, START + script, str(top), *names(env))


def tree_of(folder):
    found = {}
    for path in folder.rglob("*"):
        status = path.stat()
        mode = status.st_mode & 0o777
        if path.is_file():
            found[str(path.relative_to(folder))] = (path.read_bytes(), mode, status.st_mtime_ns)
    return found


def copies(env, top):
    """Who has all of it, as it is here."""
    return [name for name in names(env) if tree_of(top / "to" / name / "d") == tree_of(top / "d")]


def test_one_copy_leaves_and_all_have_it_with_modes_and_times(crowd, top):
    ok, size, codes = run(
        crowd, top,
        """
a = put().run()
print(json.dumps([a.ok, sent(a), [p.exit_code for p in a.processes]]))
""",
    )  # fmt: skip
    assert (ok, codes) == (True, [0] * AGENTS)
    assert BIG <= size < 1.1 * BIG
    assert copies(crowd, top) == names(crowd)


def test_what_is_there_already_is_not_sent_again_and_little_is_sent_to_each(crowd, top):
    first, second, small = run(
        crowd, top,
        """
a = put().run()
b = put().run()
(c := put(files=["/d/e/small"], tree=None)).run()
print(json.dumps([a.ok and sent(a), b.ok and sent(b), c.ok and sent(c)]))
""",
    )  # fmt: skip
    assert first >= BIG
    assert second < 20_000
    assert small == AGENTS * 9000


def test_whom_the_others_cannot_reach_is_sent_it_from_here(crowd, top):
    ok, direct = run(
        crowd, top,
        """
share = TreePut._share
def nowhere(self, target):
    yield from share(self, target)
    self._port = 1
TreePut._share = nowhere
a = put().run()
direct = [p._transfer.tally.bytes > 6 << 20 for p in a.processes]
print(json.dumps([a.ok, sum(direct)]))
""",
    )  # fmt: skip
    assert ok
    assert direct == AGENTS  # nobody can be reached: all are
    assert copies(crowd, top) == names(crowd)


KILLED = """
a = put()
feed, victims = TreePut.feed, []
def parts():
    found = {}
    for agent in agents:
        for folder, _, files in os.walk(top + "/to/" + agent):
            for name in files:
                if name.startswith(".gshell-big.") or name == "big":
                    found[agent] = os.stat(os.path.join(folder, name)).st_size
    return found
def holder(agent):
    "The service process that writes there."
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if f"/to/{agent}/d/.gshell-big" in os.readlink(f"/proc/{pid}/fd/{fd}"):
                    return int(pid)
        except OSError:
            pass
def pause(self, fd, there, size, broken):
    steps = feed(self, fd, there, size, broken)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        if size > 1 << 20 and not victims and self.tally.bytes >= 2 << 20:
            name = [p.where for p in a.processes if p._transfer is self][0].address
            victims.append(name)
            self.talk.flush()
            yield from part_way(self, name)
        yield
def part_way(self, name):
    "Nothing more is sent until all others have some of it."
    while not (len(parts()) == len(agents) and min(parts().values()) >= 1 << 20):
        self.loop.later(0.02, self.on_room)
        self._stuck = True
        yield
    self._stuck = False
    victims.append(which(name))
    os.kill(holder(victims[-1]), signal.SIGKILL)
TreePut.feed = pause
a.start()
a.wait(50)
failed = [p.where.address for p in a.processes if not p.ok]
print(json.dumps([a.ended, failed, victims, sent(a), [p.exit_code for p in a.processes]]))
"""


@pytest.mark.parametrize("which", ["name", "child(name)"])
def test_when_one_dies_that_passes_it_on_the_others_get_it_and_it_alone_has_failed(
    crowd, top, which
):
    script = """
def child(name):
    root = [p._transfer for p in a.processes if p.where.address == name][0]
    tree = root._staging.tree
    below = sorted(tree._nodes[root].children, key=lambda one: -tree.children(one))
    return [p.where.address for p in a.processes if p._transfer is below[0]][0]
def which(name):
    return WHICH
""".replace("WHICH", which)
    ended, failed, victims, size, codes = run(
        crowd, top, KILLED.replace("a = put()", "a = put()" + script)
    )
    assert ended
    assert failed == [victims[1]]
    assert sorted(codes) == [0] * (AGENTS - 1) + [255]
    assert set(copies(crowd, top)) == set(names(crowd)) - set(failed)
    assert size < 1.7 * BIG  # what they had was not sent again, and the rest to one of them


def test_a_copy_that_was_changed_on_the_way_is_noticed_and_sent_from_here(crowd, top):
    ok, size = run(
        crowd, top,
        """
share, first = TreePut._share, []
def late(self, target):
    yield from share(self, target)
    if not first:
        first.append(self)
        return
    yield from self._until(lambda: first[0].finished)
    path = top + "/to/" + [p for p in a.processes if p._transfer is first[0]][0].where.address
    with open(path + "/d/big", "r+b") as file:
        file.write(b"not what was sent")
TreePut._share = late
a = put()
a.run()
print(json.dumps([a.ok, sent(a)]))
""",
    )  # fmt: skip
    assert ok
    assert size > BIG
    assert len(copies(crowd, top)) == AGENTS - 1  # the first was spoilt after it was sent


@pytest.mark.parametrize("tree", [True, False])
def test_agents_that_have_one_directory_are_not_in_each_other_s_way(crowd, top, tree):
    ok, size, found = run(
        crowd, top,
        f"""
a = put("/to", tree={tree}).run()
print(json.dumps([a.ok, sent(a), sum(p._transfer.tally.skipped for p in a.processes)]))
""",
    )  # fmt: skip
    assert ok
    assert tree_of(top / "to" / "d") == tree_of(top / "d")
    if tree:
        assert size < 1.1 * BIG
        assert found == AGENTS - 1  # only the first has it sent
    assert not list((top / "to").rglob(".gshell-*"))


def test_hosts_that_are_not_there_and_files_that_cannot_be_sent_fail_alone(crowd, top):
    found = run(
        crowd, top,
        """
agents.append("nonesuch")
os.mkfifo(top + "/fifo")
a = put(files=["/d", "/fifo"]).run()
agents.pop()
b = put().start()
b.kill()
b.wait(50)
print(json.dumps([
    [p.exit_code for p in a.processes], a.processes[0].stderr, a.processes[-1].stderr, b.ended,
]))
""",
    )  # fmt: skip
    codes, fifo, host, ended = found
    assert codes == [1] * AGENTS + [255]
    assert fifo.endswith("/fifo: it is neither a file nor a directory\n")
    assert "there is no agent nonesuch" in host
    assert ended
