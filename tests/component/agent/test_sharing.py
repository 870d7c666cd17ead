"""Files that nodes pass on to each other: what they take, from whom, and how they notice an end."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import gshell
from gshell.agent import sharing, whereabouts
from gshell.agent.sharing import Shares
from gshell.glogin import certificate
from gshell.net import filewire
from gshell.net.place import Place
from gshell.net.trouble import Trouble

AGENT = str(Path(gshell.__file__).parent / "agent" / "__main__.py")
CERT, KEY, _ = certificate.make("a test")
PATIENCE_S = 20.0
LOOPBACK = "127.0.0.1"


class Node:
    """The service as a process of its own, and what a client says to it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", AGENT, "service", "files",
             "--site", "lyon", "--address", LOOPBACK],
            cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._decoder = filewire.Decoder()
        self._heard: list[object] = []
        self._count = 0

    def greet(self) -> None:
        assert self.hear()["m"] == "files"
        said = self.ask({"m": "share", "cert": CERT, "key": KEY, "path": "."})
        self.port = said["port"]
        self.said = said

    def hear(self) -> dict:
        assert self.process.stdout is not None
        while not self._heard:
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            assert data, "the service has ended"
            self._heard += self._decoder.feed(data)
        item = self._heard.pop(0)
        assert isinstance(item, dict)
        return item

    def say(self, message: dict, data: bytes = b"") -> int:
        assert self.process.stdin is not None
        self._count += "n" not in message
        message = {"n": self._count, **message}
        self.process.stdin.write(filewire.encode(message))
        if data:
            self.process.stdin.write(filewire.data_head(len(data)) + data)
        self.process.stdin.flush()
        return message["n"]

    def ask(self, message: dict) -> dict:
        self.say(message)
        return self.hear()

    def put(self, data: bytes, sent: int | None = None) -> int:
        """Begin a file; ``sent`` bytes of it now."""
        return self.say({"m": "put", **facts(data)}, data[:sent])

    def fetch(self, data: bytes, *ports: int, offset: int = 0) -> int:
        sources = [[LOOPBACK, port] for port in ports]
        return self.say({"m": "fetch", "from": sources, **facts(data), "offset": offset})

    def end(self, number: int, data: bytes) -> dict:
        self.say({"m": "end", "n": number, "digest": hashlib.sha256(data).hexdigest()})
        return self.hear()

    def close(self) -> None:
        with self.process:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.wait(PATIENCE_S)


def facts(data: bytes) -> dict:
    return {"id": 5, "path": "f", "size": len(data), "mode": 0o640, "mtime": 10**18, "key": "k",
            "offset": 0}  # fmt: skip


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Node]]:
    made = [Node(tmp_path / name) for name in ("one", "two", "three")]
    for node in made:  # they start side by side
        node.greet()
    yield made
    for node in made:
        node.close()


SIZE = 1 << 20
DATA = os.urandom(SIZE)


def test_a_file_goes_from_node_to_node_with_its_mode_and_time(nodes):
    one, two, three = nodes
    ended = one.put(DATA)
    pending = [(two, two.fetch(DATA, one.port)), (three, three.fetch(DATA, two.port))]
    assert one.end(ended, DATA)["m"] == "ok"
    for node, number in pending:
        assert node.end(number, DATA)["m"] == "ok"
        status = (node.folder / "f").stat()
        assert (node.folder / "f").read_bytes() == DATA
        assert status.st_mode & 0o777 == 0o640
        assert status.st_mtime_ns == 10**18


def test_a_node_says_where_it_is_as_it_was_told(nodes):
    assert (nodes[0].said["site"], nodes[0].said["at"]) == ("lyon", [LOOPBACK])
    with socket.socket() as elsewhere:
        elsewhere.settimeout(1)
        assert elsewhere.connect_ex(("127.0.0.2", nodes[0].port)) != 0  # it listens there only


def test_what_arrives_and_is_not_what_the_client_has_is_not_kept(nodes):
    one, two, _ = nodes
    assert one.end(one.put(DATA), DATA)["m"] == "ok"
    (one.folder / "f").write_bytes(DATA[:-1] + b"!")  # somebody changed it where it is passed on
    answer = two.end(two.fetch(DATA, one.port), DATA[:-1] + b"?")
    assert answer["m"] == "error"
    assert answer["code"] == "digest"
    assert os.listdir(two.folder) == []


def test_a_node_that_is_not_there_is_away_and_what_is_asked_of_it_next_is_answered_at_once(nodes):
    _, two, _ = nodes
    with socket.socket() as silent:  # nobody listens there, nor will
        silent.bind((LOOPBACK, 0))
        refused = silent.getsockname()[1]
        number = two.fetch(DATA, refused)
        for _ in range(50):
            two.fetch(DATA, refused)
        answers = [two.hear() for _ in range(51)]
    assert answers[0]["n"] == number
    assert {answer["code"] for answer in answers} == {"away"}
    assert os.listdir(two.folder) == [".gshell-f.k.part"]


def test_when_a_node_dies_another_one_is_asked_for_the_rest(nodes):
    one, two, three = nodes
    assert three.end(three.put(DATA), DATA)["m"] == "ok"
    one.put(DATA, sent=600_000)
    number = two.fetch(DATA, one.port)
    part = two.folder / ".gshell-f.k.part"
    wait_for(lambda: part.exists() and part.stat().st_size == 600_000)
    one.process.send_signal(signal.SIGKILL)
    answer = two.hear()
    assert (answer["n"], answer["code"]) == (number, "gone")
    have = two.ask({"m": "part", **facts(DATA)})
    assert have["have"] == 600_000
    assert two.end(two.fetch(DATA, three.port, offset=600_000), DATA)["m"] == "ok"
    assert (two.folder / "f").read_bytes() == DATA


def test_those_below_one_that_had_to_ask_another_notice_nothing(nodes):
    one, two, three = nodes
    one.put(DATA, sent=600_000)
    two.fetch(DATA, one.port)
    below = three.fetch(DATA, two.port)
    part = three.folder / ".gshell-f.k.part"
    wait_for(lambda: part.exists() and part.stat().st_size == 600_000)
    one.process.send_signal(signal.SIGKILL)
    assert two.hear()["code"] == "gone"
    assert two.ask({"m": "part", **facts(DATA)})["have"] == 600_000
    rest = {**facts(DATA), "offset": 600_000}
    number = two.say({"m": "put", **rest}, DATA[600_000:])  # from the client now
    assert two.end(number, DATA)["m"] == "ok"
    assert three.end(below, DATA)["m"] == "ok"


def test_what_one_will_not_have_is_not_waited_for(nodes):
    one, two, _ = nodes
    (one.folder / "f").mkdir()  # no file can be put there
    number = two.fetch(DATA, one.port)
    one.put(DATA)
    assert one.hear()["code"] == "kind"
    answer = two.hear()
    assert (answer["n"], answer["code"]) == (number, "lost")


def test_a_box_passes_nothing_on(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-I", "-S", AGENT, "service", "files", "--box"],
        input=filewire.encode({"m": "share", "n": 1, "cert": CERT, "key": KEY, "path": "."}),
        cwd=tmp_path, capture_output=True, timeout=PATIENCE_S,
    )  # fmt: skip
    _, answer = filewire.Decoder().feed(done.stdout)
    assert isinstance(answer, dict)
    assert answer["code"] == "denied"


def test_nodes_of_one_directory_are_told_apart_from_others(nodes, tmp_path: Path):
    spots = {node.said["spot"] for node in nodes}
    assert len(spots) == 3
    one, two, _ = nodes
    place = str(one.folder)
    again = {"m": "share", "cert": CERT, "key": KEY, "path": place}
    assert two.ask(again)["spot"] == one.said["spot"]
    assert json.dumps(one.said).count(KEY) == 0


# ------------------------------------------------------------------------------ in this process


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Shares, Place]]:
    (tmp_path / "there").mkdir()
    place = Place(str(tmp_path / "there"), box=False)
    shares = Shares(place, CERT, KEY, LOOPBACK)
    yield shares, place
    shares.close()
    place.close()


def begun(held, size=SIZE):
    shares, place = held
    incoming = place.incoming("f", "k", size)
    incoming.begin(0)
    shares.begin(5, "f", incoming)

    def came(data):
        incoming.write(data)
        shares.came(5, incoming.at)

    return incoming, came


def test_it_is_passed_on_while_it_comes_in(held):
    incoming, came = begun(held)
    came(DATA[:1000])
    got = held[0].fetch([(LOOPBACK, held[0].port)], 5, 0, len(DATA))
    assert next(got) == DATA[:1000]
    came(DATA[1000:])
    assert b"".join(got) == DATA[1000:]
    incoming.close()


def test_what_ends_while_it_is_passed_on_is_passed_on_to_its_end(held, monkeypatch):
    incoming, came = begun(held)
    came(DATA[:1000])
    send = sharing._Talk.send
    left = [DATA[1000:]]

    def slowly(talk, data):
        send(talk, data)
        if len(data) > 1000 and left:  # its first piece has just gone: all the rest comes at once
            came(left.pop())
            incoming.finish(hashlib.sha256(DATA).hexdigest(), 0o600, 0)
            held[0].whole(5, "f", len(DATA))

    monkeypatch.setattr(sharing._Talk, "send", slowly)
    assert b"".join(held[0].fetch([(LOOPBACK, held[0].port)], 5, 0, len(DATA))) == DATA
    assert not left


def test_what_is_begun_anew_is_not_passed_on_as_one_file(held):
    incoming, came = begun(held)
    came(b"a" * 1000)
    got = held[0].fetch([(LOOPBACK, held[0].port)], 5, 0, len(DATA))
    next(got)
    incoming.write(b"a" * 6000)  # and nobody is told of it
    incoming.drop()
    again, came = begun(held)
    came(b"b" * 5000)
    with pytest.raises(Trouble) as caught:
        list(got)
    assert caught.value.code == "lost"
    again.close()


def test_who_waits_is_told_so_and_who_is_told_only_that_gives_up(held, monkeypatch):
    monkeypatch.setattr(sharing, "KEEP_S", 0.01)
    monkeypatch.setattr(sharing, "SILENT_S", 5.0)
    monkeypatch.setattr(sharing, "STALLED_S", 0.2)
    incoming, came = begun(held)
    came(b"x")
    got = held[0].fetch([(LOOPBACK, held[0].port)], 5, 0, len(DATA))
    assert next(got) == b"x"
    with pytest.raises(Trouble) as caught:
        next(got)
    assert caught.value.code == "gone"
    incoming.close()


def test_nobody_without_the_certificate_is_told_anything_or_believed(held, tmp_path: Path):
    incoming, came = begun(held, 4)
    came(b"abcd")
    port = held[0].port
    cert, key, _ = certificate.make("somebody else")
    (tmp_path / "pem").write_text(cert + key)
    for shows in (False, True):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if shows:
            context.load_cert_chain(tmp_path / "pem")
        with socket.create_connection((LOOPBACK, port), PATIENCE_S) as raw:
            try:
                with context.wrap_socket(raw) as talk:
                    talk.sendall(filewire.encode({"m": "get", "id": 5, "offset": 0}))
                    heard = talk.recv(100)
            except (ssl.SSLError, ConnectionError):
                heard = b""
        assert heard == b""
    with socket.create_connection((LOOPBACK, port), PATIENCE_S) as raw:
        raw.sendall(filewire.encode({"m": "get", "id": 5, "offset": 0}))
        try:
            heard = raw.recv(100)
        except ConnectionError:
            heard = b""
        assert b"abcd" not in heard
    other = Shares(held[1], cert, key, LOOPBACK)
    with pytest.raises(Trouble) as caught:
        next(other.fetch([(LOOPBACK, port)], 5, 0, 4))
    assert caught.value.code in ("away", "gone")
    other.close()
    incoming.close()


def test_it_stops_listening_when_it_is_closed(held):
    held[0].close()
    wait_for(lambda: not [t for t in threading.enumerate() if "_accept" in t.name])
    with pytest.raises(OSError):
        socket.create_connection((LOOPBACK, held[0].port), 1.0).close()


# ---------------------------------------------------------------------------- of the kernel's tables


def test_addresses_are_those_that_others_may_reach():
    text = """Main:
  +-- 0.0.0.0/0 3 0 5
     +-- 10.1.0.0/24 2 0 2
           |-- 10.1.0.7
              /32 host LOCAL
           |-- 10.1.0.255
              /32 link BROADCAST
        |-- 127.0.0.1
           /32 host LOCAL
"""
    assert whereabouts.local_addresses(text) == ["10.1.0.7", "127.0.0.1"]
    assert not [one for one in whereabouts.addresses() if one.startswith("127.")]


def test_a_file_system_that_all_nodes_have_is_known_by_where_it_is_from():
    text = """22 1 8:1 / / rw - ext4 /dev/sda1 rw
41 22 0:42 / /home rw,relatime shared:9 - nfs4 server:/export/home rw,vers=4.2
"""
    assert whereabouts.mounted(text, os.makedev(0, 42)) == ("nfs4", "server:/export/home")
    assert whereabouts.mounted(text, os.makedev(8, 1)) == ("ext4", "/dev/sda1")
    assert whereabouts.mounted(text, os.makedev(9, 9)) == ("", "")


def wait_for(condition) -> None:
    ended = threading.Event()
    for _ in range(int(PATIENCE_S / 0.01)):
        if condition():
            return
        ended.wait(0.01)
    raise AssertionError("it did not come to be")
