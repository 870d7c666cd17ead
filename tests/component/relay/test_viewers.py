"""The feed through a door: slow readers, lost events, restarts; and the page for scrapers."""

import json
import os
import socket

import pytest

from kit.exposition import read
from relay import listening, scrape
from relay.door import viewers as door_viewers

A = "a" * 32


def watch(client, **how):
    client.control.say({"m": "watch", "id": 7, **how})

    def answered():
        return next((m for m in client.control.got if m.get("re") == 7), None)

    client.relay.until(answered)
    return answered()


def events(client):
    return [m for m in client.control.got if m.get("m") == "event"]


def job_states(client):
    return [e["job"]["state"] for e in events(client) if e["kind"] == "job"]


def test_a_watcher_sees_a_job_come_and_go(relay):
    agent, client = relay.agent(), relay.client()
    answer = watch(client)
    assert answer["jobs"] == []
    assert [a["id"] for a in answer["agents"]] == ["n1"]
    job = relay.run_job(agent, client)
    relay.until(lambda: "ACTIVE" in job_states(client), lambda: client.control.got)
    agent.control.say({"m": "ended", "job": job, "index": 0, "code": 0, "at": 1.0})
    relay.until(lambda: "COMPLETED" in job_states(client), lambda: client.control.got)
    numbers = [e["seq"] for e in events(client)]
    assert numbers == list(range(answer["seq"] + 1, answer["seq"] + 1 + len(numbers)))


def test_another_user_s_watcher_sees_nothing(relay):
    agent, alice, bob = relay.agent(), relay.client(), relay.client("bob")
    watch(alice)
    watch(bob)
    relay.run_job(agent, alice)
    relay.until(lambda: "ACTIVE" in job_states(alice))
    assert events(bob) == []


def test_a_lost_event_is_noticed_by_the_next_beat(relay):
    agent, client = relay.agent(), relay.client()
    watch(client)
    publish = relay.feed_out.publish
    dropped = []

    class Dropping:
        def publish(self, message):
            if message["e"] and not dropped:
                dropped.append(message)
            else:
                publish(message)

    relay.broker._events = Dropping()
    agent.control.say({"m": "refused", "code": "draining", "att": "", "job": "9", "index": 0})
    relay.until(lambda: dropped)

    def resynced():
        return next((e for e in events(client) if e["kind"] == "resync"), None)

    relay.until(resynced, lambda: client.control.got)
    assert resynced()["agents"][0]["state"] == "draining"


def test_a_slow_reader_costs_little_and_ends_with_the_truth(relay, monkeypatch):
    monkeypatch.setattr(door_viewers, "SLOW_BYTES", 4096)
    monkeypatch.setattr(door_viewers, "PENDING", 8)
    agent, client = relay.agent(), relay.client()
    watch(client)
    client.control.link.pause(True)
    link = next(iter(relay.door.controls.by_number.values())).link
    links = [c.link for c in relay.door.controls.by_number.values() if c.role == "client"]
    (link,) = links
    link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    most = 0
    for number in range(3000):
        seq = relay.broker._core.books.seqs["alice"] + 1
        relay.broker._core.books.seqs["alice"] = seq
        event = {
            "kind": "job",
            "job": {"id": str(number % 100), "state": "ACTIVE", "pad": "x" * 500},
        }
        relay.door.viewers.publish("alice", seq, [event])
        most = max(most, link.unsent)
        viewer = next(iter(relay.door.viewers._viewers.values()))
        assert len(viewer.pending) <= 8
    assert most < 4096 + 2048
    assert viewer.lost
    client.control.link.pause(False)
    relay.until(lambda: any(e["kind"] == "resync" for e in events(client)))
    agent.control.say({"m": "refused", "code": "draining", "att": "", "job": "9", "index": 0})
    relay.until(lambda: [e for e in events(client) if e["kind"] == "agent"][-1:])
    assert not viewer.lost


def test_a_reader_a_little_behind_gets_the_newest_of_each_thing(relay, monkeypatch):
    monkeypatch.setattr(door_viewers, "SLOW_BYTES", 0)
    relay.agent()
    client = relay.client()
    watch(client)
    view = relay.door.viewers
    seq = relay.broker._core.books.seqs["alice"]
    for number in range(1, 6):
        view.publish("alice", seq + number, [{"kind": "job", "job": {"id": "1", "n": number}}])
    monkeypatch.setattr(door_viewers, "SLOW_BYTES", 1 << 16)
    view.room(next(iter(view._viewers)))
    relay.until(lambda: events(client))
    assert [(e["seq"], e["job"]["n"]) for e in events(client)] == [(seq + 5, 5)]


def test_who_leaves_is_forgotten(relay):
    client = relay.client()
    watch(client)
    relay.until(lambda: len(relay.door.viewers) == 1)
    client.control.link.close()
    relay.until(lambda: len(relay.door.viewers) == 0 and not relay.broker._core.books.watched)


def test_a_new_broker_is_watched_anew(relay):
    client = relay.client()
    watch(client)
    relay.stop_broker()
    relay.start_broker()
    relay.until(lambda: client.control.error)
    assert len(relay.door.viewers) == 0
    relay.until(lambda: relay.door.meeting.connected)
    again = relay.client()
    assert watch(again)["ok"]


# ----------------------------------------------------------------------------------------- scraping


@pytest.fixture
def page(relay, tmp_path):
    where = f"unix:{tmp_path}/m.sock"
    sock = listening.listen(where)
    server = scrape.Scraped(relay.loop, sock, relay.broker.page, relay.broker.healthy)

    def get(request=b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", whole=True):
        guest = socket.socket(socket.AF_UNIX)
        guest.connect(where[5:])
        guest.setblocking(False)
        relay.closers.append(guest.close)
        try:
            guest.send(request)
        except OSError:
            pass
        return relay.ended(guest) if whole else guest

    get.server, get.relay = server, relay
    yield get
    server.close()
    sock.close()


def test_a_scraper_reads_what_the_relay_does(page, relay):
    agent, client = relay.agent(), relay.client()
    relay.run_job(agent, client)
    relay.until(lambda: relay.broker._core.books.jobs[1].started)
    relay.door._tell(relay.door.stats())
    relay.until(lambda: relay.broker.telemetry._doors["door0"]["control"]["agent"] == 1)
    head, _, body = page().partition(b"\r\n\r\n")
    assert b"200 OK" in head
    assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
    assert f"Content-Length: {len(body)}".encode() in head
    figures = read(body.decode())
    assert figures["gshell_jobs_started_total"][()] == 1
    assert figures["gshell_control_connections"][("role", "agent"),] == 1
    assert figures["gshell_journal_commit_seconds_count"][()] > 0
    assert figures["gshell_resident_memory_bytes"][("process", "door0"),] > 1 << 20


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics?x=1 HTTP/1.0\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\nA: b\r\n\r\n", 200),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", 200),
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET /metrics HTTP/2\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01" + bytes(50), 400),
        (b"GET /metrics HTTP/1.1\r\n" + b"A: " + b"b" * 9000, 431),
    ],
)
def test_a_request_that_is_none_is_told_so(page, request_, status):
    assert page(request_).startswith(f"HTTP/1.1 {status} ".encode())


def test_head_says_how_long_and_no_more(page):
    answer = page(b"HEAD /metrics HTTP/1.1\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n")


def test_a_relay_without_a_door_is_not_well(page, relay):
    relay.broker._doors.clear()
    assert page(b"GET /healthz HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 503 ")


def test_scrapers_that_say_nothing_are_few(page, relay):
    quiet = [page(b"GET /met", whole=False) for _ in range(scrape.CONNECTIONS + 4)]
    for early in quiet[:4]:
        assert relay.ended(early) == b""
    assert len(page.server.guests) == scrape.CONNECTIONS
    assert page().startswith(b"HTTP/1.1 200 ")


def test_a_scraper_that_says_nothing_goes(page, relay, monkeypatch):
    monkeypatch.setattr(scrape, "DEADLINE_S", 0.1)
    assert relay.ended(page(b"GET /met", whole=False)) == b""


def test_parted_and_silent_are_counted(relay):
    agent, client = relay.agent(), relay.client()
    spare = agent.park()
    relay.until(lambda: relay.parked("n1"))
    come = client.come(att=A, hello=b"HELLO")
    assert relay.read(spare, 5) == b"HELLO"
    spare.send(b"WELCOME")
    assert relay.read(come, 7) == b"WELCOME"
    come.send(b"12345")
    assert relay.read(spare, 5) == b"12345"
    tally = relay.door.meeting.tally
    assert (tally.paired, tally.up) == (1, 0)
    assert relay.door.meeting.stats()["up"] == 10
    come.close()
    relay.until(lambda: tally.parted == 1)
    assert (tally.up, tally.down) == (10, 7)
    noise = relay.dial()
    noise.send(b"GET / HTTP/1.1\r\n\r\n")
    relay.until(lambda: tally.silent == 1)
    assert json.dumps(relay.door.stats())


def test_a_refusal_is_counted_by_its_code(relay):
    client = relay.client()
    come = client.come(op="attach", job="77")
    assert b"GSHELL/1 NO none" in relay.ended(come)
    assert relay.door.meeting.tally.refused == {"none": 1}
    assert os.path.exists(relay.bus_path)
