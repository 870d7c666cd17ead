"""Files to an agent and from there, through a real door and broker: one loop, real services."""

import hashlib
import os
import time

import pytest

from gshell.agent.agent import Agent
from gshell.agent.slots import Facts
from gshell.client.conversation import Dialler
from gshell.client.fileget import Get, Listing
from gshell.client.fileput import Put
from gshell.client.filetransfer import Source
from gshell.client.staging import DEPOT, depot_request, new_key
from gshell.errors import BrokerError
from gshell.net import filewire
from gshell.net.trouble import Trouble
from kit.faultplan import Plans
from kit.faultproxy import FaultProxy
from relay.archive import depot as depots
from relay.archive import main as archive

pytestmark = pytest.mark.parametrize("relay", ["tcp"], indirect=True)
MIB = 1 << 20


class Side:
    """What every test here has: an agent at work, and a directory on either side."""

    def __init__(self, relay, folder):
        self.relay, self.folder = relay, folder
        self.here, self.there = folder / "here", folder / "there"
        for path in (self.here, self.there, folder / "spool"):
            path.mkdir()
        self.agents = []
        self.archives = []
        self.start_agent("w1")

    def start_agent(self, name, relays=None):
        ticket = self.relay.ticket("agent", "alice", name)
        if relays:
            ticket = ticket._replace(relays=relays)
        spool = str(self.folder / "spool")
        agent = Agent(self.relay.loop, ticket, Facts(4, []), "1", spool, boot=name)
        agent.start()
        self.relay.until(lambda: agent.connected_once)
        self.agents.append(agent)
        return agent

    def start_archive(self):
        make, now = self.relay.desk._make, time.time()
        tickets = make("client", DEPOT, "", now), make("agent", DEPOT, DEPOT, now)
        one = archive.begin(self.relay.loop, str(self.folder / "kept"), *tickets, 1.0, 1 << 30,
                            str(self.folder / "depot"))  # fmt: skip
        self.archives.append(one)
        self.relay.until(lambda: one._uplink.welcomed)
        return one

    def close(self):
        for one in self.archives:
            one.close()
        for agent in self.agents:
            for session in set(agent.steps.by_key.values()):
                session.signal_all(9)
            self.relay.until(lambda agent=agent: agent.idle)
            agent.shut_down()

    def dialler(self, user="alice", relays=None):
        ticket = self.relay.ticket("client", user)
        return Dialler(self.relay.loop, ticket._replace(relays=relays) if relays else ticket)

    def wait(self, transfer):
        self.relay.until(lambda: transfer.ends, lambda: str(vars(transfer.tally)), 60.0)
        if transfer.ends[0] is not None:
            raise transfer.ends[0]
        return transfer.tally

    def make(self, kind, request=None, user="alice", agents_of="", relays=None):
        ends = []
        request = {"agent": "w1"} if request is None else request
        transfer = kind(self.dialler(user, relays), request, ends.append, agents_of)
        transfer.ends = ends
        self.relay.closers.append(transfer.close)
        return transfer

    def put(self, *paths, to, recursive=False, resume=True, **how):
        transfer = self.make(Put, **how)
        transfer.send_to([str(path) for path in paths], str(to), recursive, resume)
        return self.wait(transfer)

    def get(self, *paths, to=None, recursive=False, resume=True, **how):
        transfer = self.make(Get, **how)
        transfer.fetch([str(p) for p in paths], str(to or self.here), recursive, resume)
        return self.wait(transfer)

    def file(self, size, name="f", folder=None):
        path = (folder or self.here) / name
        path.write_bytes(os.urandom(min(size, MIB)) * (size // MIB or 1))
        return path


@pytest.fixture
def side(relay, tmp_path):
    one = Side(relay, tmp_path)
    yield one
    one.close()


# --------------------------------------------------------------------------------- a user's own


@pytest.fixture
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_a_file_arrives_whole_with_its_mode_and_time(side, usual_umask):
    path = side.file(3 * MIB)
    path.chmod(0o750)
    os.utime(path, ns=(10**18, 10**18 + 7))
    side.put(path, to=side.there / "copy")
    copy = side.there / "copy"
    assert copy.read_bytes() == path.read_bytes()
    assert (copy.stat().st_mode & 0o777, copy.stat().st_mtime_ns) == (0o750, 10**18 + 7)
    side.get(copy, to=side.here / "again")
    assert (side.here / "again").read_bytes() == path.read_bytes()
    assert os.listdir(side.there) == ["copy"]


def test_a_tree_goes_there_and_back_as_it_is(side):
    tree = side.here / "tree"
    for name in ("a/b/c", "a/empty", "z"):
        (tree / name).mkdir(parents=True)
    for number in range(60):
        (tree / "z" / f"f{number}").write_bytes(b"x" * number)
    (tree / "a/b/c/\udce9").write_bytes(b"odd")
    (tree / "link").symlink_to("z/f7")
    os.mkfifo(tree / "pipe")
    side.put(tree, to=side.there, recursive=True)
    tally = side.get(side.there / "tree", to=side.here / "back", recursive=True)
    assert tally.files == 62
    back = side.here / "back"
    assert (back / "link").read_bytes() == b"x" * 7, "followed, as by scp"
    assert not (back / "pipe").exists()
    assert (back / "a/empty").is_dir()
    assert (back / "a/b/c/\udce9").read_bytes() == b"odd"


def test_a_pattern_is_the_far_end_s_and_one_that_matches_nothing_is_named(side):
    for name in ("a.out", "b.out", "c.in", ".hidden.out"):
        side.file(10, name, side.there)
    tally = side.get(side.there / "*.out", side.there / "*.none")
    assert sorted(os.listdir(side.here)) == ["a.out", "b.out"]
    assert [failed.code for failed in tally.failed] == ["none"]


@pytest.mark.parametrize("what", ["directory", "fifo", "no directory", "read-only"])
def test_what_cannot_be_is_said_and_leaves_nothing(side, what, tmp_path):
    path, target = side.file(MIB), side.there / "x"
    if what == "directory":
        path, target = side.here, side.there / "x"
    elif what == "fifo":
        os.mkfifo(target)
    elif what == "no directory":
        target = side.there / "none" / "x"
    else:
        target = "/proc/nothing"
    before = sorted(os.listdir(side.there))
    tally = side.put(path, to=target)
    assert len(tally.failed) == 1
    assert tally.failed[0].code in ("kind", "none", "denied")
    assert sorted(os.listdir(side.there)) == before


def test_a_full_disk_is_one_error_and_nothing_half_written(side, monkeypatch):
    small = side.here / "small"
    small.mkdir()
    for number in range(5):
        side.file(MIB, f"f{number}", small)
    side.agents[0].workdirs.make("7", 0)
    quota = depots.SANDBOX_BYTES
    assert quota
    side.start_archive()
    monkeypatch.setattr(depots, "SANDBOX_BYTES", 2 * MIB + 100)
    put = side.make(Put, depot_request(key=new_key()), agents_of=DEPOT)
    put.send([Source(str(small), "small")], True, make=True)
    with pytest.raises(Trouble, match=r"small/f2.*left"):
        side.wait(put)
    kept = [name for _, _, names in os.walk(side.folder / "depot") for name in names]
    assert sorted(kept) == ["f0", "f1"]


def test_what_is_there_of_a_big_file_is_not_sent_again(side):
    path = side.file(8 * MIB)
    put = side.make(Put)
    put.send_to([str(path)], str(side.there / "copy"), False, True)
    side.relay.until(lambda: parts(side.there) > 2 * MIB)
    put.close()  # as if killed: not a word
    side.relay.until(lambda: side.agents[0].idle)
    assert not (side.there / "copy").exists()
    tally = side.put(path, to=side.there / "copy")
    assert tally.kept > MIB
    assert tally.kept + tally.bytes == 8 * MIB
    assert (side.there / "copy").read_bytes() == path.read_bytes()
    again = side.put(path, to=side.there / "copy")
    assert (again.bytes, again.skipped) == (0, 1)


def test_a_get_goes_on_where_it_stopped(side):
    path = side.file(8 * MIB, folder=side.there)
    get = side.make(Get)
    get.fetch([str(path)], str(side.here), False)
    side.relay.until(lambda: parts(side.here) > 2 * MIB)
    get.close()
    tally = side.get(path)
    assert tally.kept > MIB
    assert tally.kept + tally.bytes == 8 * MIB
    assert (side.here / "f").read_bytes() == path.read_bytes()
    assert side.get(path).skipped == 1


def test_a_part_that_is_not_the_file_s_beginning_is_not_gone_on_with(side):
    path = side.file(4 * MIB)
    put = side.make(Put)
    put.send_to([str(path)], str(side.there / "copy"), False, True)
    side.relay.until(lambda: parts(side.there) > 2 * MIB)
    put.close()
    side.relay.until(lambda: side.agents[0].idle)
    [part] = os.listdir(side.there)
    with open(side.there / part, "r+b") as file:
        file.write(b"not that")
    tally = side.put(path, to=side.there / "copy")
    assert tally.kept == 0
    assert (side.there / "copy").read_bytes() == path.read_bytes()


def parts(folder):
    """Bytes of what is not whole yet."""
    return sum(os.stat(folder / n).st_size for n in os.listdir(folder) if n.endswith(".part"))


def test_cuts_of_the_link_lose_nothing_in_either_direction(side):
    size = (64 if os.environ.get("GSHELL_FAULT_FULL") else 12) * MIB
    path = side.file(size)
    seed = 20261122
    with FaultProxy(side.relay.address, "client-door", plan=Plans(seed, 4, size / 8, 0.0)) as proxy:
        side.put(path, to=side.there / "copy", relays=[proxy.address])
        assert proxy.cuts, f"seed {seed}: nothing was cut"
        assert digest(side.there / "copy") == digest(path)
        proxy.begin(Plans(seed + 1, 4, size / 8, 0.0))
        before = len(proxy.cuts)
        side.get(side.there / "copy", to=side.here / "back", relays=[proxy.address])
        assert len(proxy.cuts) > before, f"seed {seed}: nothing was cut"
        assert digest(side.here / "back") == digest(path)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_who_leaves_takes_the_service_along(side):
    path = side.file(8 * MIB)
    put = side.make(Put)
    put.send_to([str(path)], str(side.there / "copy"), False, True)
    side.relay.until(lambda: not side.agents[0].idle)
    put.close()
    side.relay.until(lambda: side.agents[0].idle)


def test_files_of_another_user_s_agent_are_not_there(side):
    with pytest.raises(Exception, match="no agent w1"):
        side.put(side.file(10), to=side.there / "x", user="mallory")


# ----------------------------------------------------------------------------- a hostile far end


class Lying(Get):
    """As if the agent had sent other bytes."""

    script = ()

    def on_bytes(self, data):
        script, self.script = self.script, ()
        for item in script:
            super().on_bytes(item)


def entry(path, size=5, base="d"):
    return filewire.encode({"m": "entries", "n": 1,
                            "entries": [[base, path, "f", size, 0o4777, 1]]})  # fmt: skip


GREETING = filewire.encode({"m": "files", "v": 1})
LISTED = filewire.encode({"m": "ok", "n": 1})


def sent(data, size=None, offset=0):
    return (
        filewire.encode({"m": "file", "n": 2, "size": len(data) if size is None else size,
                         "mode": 0o4755, "mtime": 5, "offset": offset})
        + (filewire.data_head(len(data)) + data if data else b"")
        + filewire.encode({"m": "end", "n": 2, "digest": hashlib.sha256(data).hexdigest()})
    )  # fmt: skip


@pytest.mark.parametrize(
    "script",
    [
        (entry("../out"), LISTED, sent(b"12345")),
        (entry("/abs"), LISTED, sent(b"12345")),
        (entry("a/../../out"), LISTED, sent(b"12345")),
        (entry("", base="../out"), LISTED, sent(b"12345")),
        (entry("x", base=".."), LISTED, sent(b"12345"), ),
        (entry("link/x"), LISTED, sent(b"12345")),
        (entry("x\x1b[2J"), LISTED, sent(b"12345")),
        (entry("x", 1 << 61), LISTED, sent(b"", 1 << 61)),
        (entry("x"), LISTED, sent(b"12345", 3)),
        (entry("x"), LISTED, sent(b"12345", 5, 4)),
        (sent(b"12345"),),
        (LISTED, LISTED),
        (b"\xff" * 100,),
        (filewire.encode({"m": "files", "v": 99}),),
    ],
)  # fmt: skip
def test_a_lying_agent_writes_nothing_but_what_was_asked_for_where_it_was(side, script):
    (side.here / "d").mkdir()
    (side.here / "d" / "link").symlink_to(side.there)
    lying = side.make(Lying)
    lying.script = (GREETING, *script)
    lying.fetch([str(side.there)], str(side.here), True)
    side.relay.until(lambda: lying.ends or not lying.script)
    if not lying.ends:
        lying.close()
    files = [os.path.join(folder, name) for folder, _, names in os.walk(side.folder)
             for name in names if "spool" not in folder and "state" not in folder]  # fmt: skip
    inside = [name for name in files if name.startswith(str(side.here) + "/")]
    assert files == inside
    for name in inside:
        assert os.path.islink(name) or os.path.getsize(name) <= 5
        assert os.path.islink(name) or not os.stat(name).st_mode & 0o7000


def test_a_file_whose_hash_is_wrong_is_never_seen(side):
    lying = side.make(Lying)
    end = filewire.encode({"m": "end", "n": 2, "digest": "0" * 64})
    good = sent(b"12345")
    cut = good.index(filewire.data_head(5)) + 10
    lying.script = (GREETING, entry("x"), LISTED, good[:cut], end)
    lying.fetch([str(side.there)], str(side.here), True)
    side.relay.until(lambda: lying.tally.failed)
    lying.close()
    assert lying.tally.failed[0].code == "digest"
    assert [names for _, _, names in os.walk(side.here) if names] == []


def test_an_endless_list_ends(side, monkeypatch):
    from gshell.client import fileget

    monkeypatch.setattr(fileget, "MAX_LISTED", 1000)
    lying = side.make(Lying)
    row = ["d", "x", "d", 0, 0, 0]
    many = filewire.encode({"m": "entries", "n": 1, "entries": [row] * 200})
    lying.script = (GREETING, *[many] * 10)
    lying.fetch([str(side.there)], str(side.here), True)
    with pytest.raises(Trouble, match="lists more than 1000"):
        side.wait(lying)


# ---------------------------------------------------------------------------------- the boxes


def submit(side, client, names, outputs=(), files=(), command="true"):
    key = new_key()
    put = side.make(Put, depot_request(key=key), agents_of=DEPOT)
    put.send([Source(str(path), name) for path, name in files], True, make=True)
    side.wait(put)
    spec = {"argv": ["sh", "-c", command],
            "job": {"workdir": True, "sandbox": key, "inputs": list(names),
                    "outputs": list(outputs)}}  # fmt: skip
    return client.ask("submit", spec=spec, n=1, size=1)["job"], key


def state_of(client, job):
    return client.ask("jobs", ids=[job])["jobs"][0]["state"]


def fetched(side, job, user="alice"):
    get = side.make(Get, depot_request(job=job), user, DEPOT)
    get.fetch_into(["0"], str(side.here), "", True, contents=True)
    return side.wait(get)


def wait_end(side, client, job):
    client.control.say({"m": "wait", "id": 991, "job": job})
    return client.control.answer(991)["job"]


@pytest.fixture
def client(relay):
    one = relay.client()
    one.ask = one.control.ask
    return one


def test_a_queued_job_finds_its_inputs_and_leaves_its_outputs(side, client):
    side.start_archive()
    job, _ = submit(side, client, ["in.txt", "dir"], ["*.out", "deep/**", "absent"],
                    [(side.file(2 * MIB, "a"), "in.txt"), (side.here, "dir")],
                    "cat in.txt > x.out; mkdir deep; ls dir > deep/list")  # fmt: skip
    done = wait_end(side, client, job)
    assert done["state"] == "COMPLETED", done
    assert done["outputs"][0]["missing"] == ["absent"]
    assert fetched(side, job).files == 2
    assert (side.here / "x.out").read_bytes() == (side.here / "a").read_bytes()
    assert (side.here / "deep" / "list").read_text() == "a\n"
    assert side.agents[0].workdirs.members(job) == [], "kept by the relay: the agent's may go"


def test_an_input_that_was_not_uploaded_fails_the_job_and_says_so(side, client):
    side.start_archive()
    job, _ = submit(side, client, ["in.txt"])
    done = wait_end(side, client, job)
    assert done["state"] == "FAILED"
    assert "in.txt" in done["error"]
    assert "no such file" in done["error"]


def test_nobody_else_reaches_a_job_s_files(side, client):
    side.start_archive()
    job, key = submit(side, client, ["a"], ["a"], [(side.file(100, "a"), "a")])
    wait_end(side, client, job)
    with pytest.raises(Exception, match="no such job"):
        fetched(side, job, "mallory")
    listing = side.make(Listing, depot_request(key=key), "mallory", DEPOT)
    listing.look(".")  # the same key is another box of another user
    side.wait(listing)
    assert [e for e in listing.found if e.kind == "f"] == []


def test_the_owner_cannot_change_what_a_job_was_submitted_with_nor_what_came_of_it(side, client):
    side.start_archive()
    job, key = submit(side, client, ["a"], ["a"], [(side.file(100, "a"), "a")])
    wait_end(side, client, job)
    put = side.make(Put, depot_request(key=key), agents_of=DEPOT)
    put.send([Source(str(side.here / "a"), "a")], True)
    with pytest.raises(BrokerError, match="no key of a new sandbox"):
        side.wait(put)
    put = side.make(Put, depot_request(job=job), agents_of=DEPOT)
    put.send([Source(str(side.here / "a"), "0/a")], True)
    assert side.wait(put).failed[0].message == "it can only be read"


def test_paths_that_lead_out_of_the_depot_are_refused(side, client):
    side.start_archive()
    job, _ = submit(side, client, [], ["a"], [], "touch a")
    wait_end(side, client, job)
    get = side.make(Get, depot_request(job=job), agents_of=DEPOT)
    get.fetch_into(["../in", "/etc/passwd", "../../..", "0/../../job"], str(side.here), "", True)
    assert [failed.code for failed in side.wait(get).failed] == ["denied"] * 4


@pytest.mark.parametrize("who", ["archive", "broker"])
def test_a_restart_in_stage_in_loses_no_job(side, client, who, relay):
    first = side.start_archive()
    first._carrier._begin = lambda key, load: None  # it gets no further
    job, _ = submit(side, client, ["a"], ["b"], [(side.file(MIB, "a"), "a")], "cp a b")
    assert state_of(client, job) == "STAGE_IN"
    if who == "archive":
        first.close()
        side.archives.clear()
        side.start_archive()
    else:
        relay.stop_broker()
        del first._carrier._begin
        first._carrier._loads.clear()
        relay.start_broker()
        relay.until(lambda: client.control.error)
        client = relay.client()
        client.ask = client.control.ask
    done = wait_end(side, client, job)
    assert (done["state"], done["code"]) == ("COMPLETED", 0)
    fetched(side, job)
    assert (side.here / "b").read_bytes() == (side.here / "a").read_bytes()


def test_forget_leaves_nothing_in_the_depot(side, client):
    side.start_archive()
    job, key = submit(side, client, ["a"], ["a"], [(side.file(100, "a"), "a")])
    wait_end(side, client, job)
    box = side.folder / "depot" / "alice" / key
    assert (box / "out" / "0" / "a").exists()
    assert client.ask("forget", job=job)["ok"]
    side.relay.until(lambda: not box.exists())
