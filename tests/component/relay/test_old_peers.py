"""Agents and clients of gshell 0.1.0 at this relay, in the very words they use: they may be older than it.

The texts are never changed. What such a peer reads of an answer has to stay; more may come.
"""

import json
import os
import time

from gshell.net import control, rendezvous

AGENT_HELLO = """{"m":"hello","role":"agent","v":1,"agent_id":"n1","boot":"00112233445566778899aabbccddeeff",
"host":"node1","cpus":2,"memory_bytes":8000000000,"tags":["fast"],"slots":64,"draining":false,"pid":77,
"version":"0.1.0","sessions":[{"job":"41","index":0,"size":1,"user":"alice","state":"running","name":"sim",
"argv0":"sim","pty":false,"tasks":1,"started_at":1790000000.5,"ended_at":0.0,"code":0,"signal":null,
"error":null,"atts":[{"att":"0123456789abcdef0123456789abcdef","user":"alice","rights":"rw","live":true}]},
{"job":"40","index":0,"size":1,"user":"alice","state":"ended","name":"make","argv0":"make","pty":true,
"tasks":1,"started_at":1790000000.5,"ended_at":1790000001.5,"code":3,"signal":null,"error":null,"atts":[]}]}"""
STARTED = """{"m":"started","job":"%s","index":0,"att":"%s","spec_name":"ls","argv0":"ls","pty":false,"tasks":1,
"at":1790000002.25}"""
WATCHERS = """{"m":"watchers","job":"%s","index":0,"attached":1,"watchers":0}"""
ENDED = (
    """{"m":"ended","job":"%s","index":0,"code":141,"signal":13,"at":1790000003.5,"error":null}"""
)
CLIENT_HELLO = """{"m":"hello","role":"client","v":1}"""
REQUESTS = (
    """{"m":"jobs","all":true,"ids":null,"id":1}""",
    """{"m":"agents","id":2}""",
    """{"m":"whoami","id":3}""",
    """{"m":"status","id":4}""",
    """{"m":"whynot","att":"0123456789abcdef0123456789abcdef","id":5}""",
)
OPEN = """{"k":"%s","t":%f,"n":"%s","att":"%s","op":"open","tasks":1,"index":0,"size":1}"""
PARK = """{"a":"n1","t":%f,"n":"%s"}"""
JOB = {
    "id", "name", "user", "state", "agents", "hosts", "size", "tasks", "pty", "argv0", "created_at",
    "started_at", "ended_at", "code", "signal", "error", "watchers", "attached",
}  # fmt: skip
AGENT = {
    "id", "host", "user", "cpus", "memory_bytes", "tags", "slots", "free", "state", "since", "pid",
    "version",
}  # fmt: skip


def say(peer, text):
    peer.relay.until(lambda: peer.ready)
    peer.link.send(control.encode(json.loads(text)))


def test_an_old_agent_and_an_old_client_are_served(relay, make_control):
    agent_ticket, client_ticket = relay.ticket("agent", "alice", "n1"), relay.ticket()
    agent, client = make_control(agent_ticket), make_control(client_ticket)
    say(agent, AGENT_HELLO)
    welcome = agent.get("welcome")
    assert {"park_key", "spares", "now"} <= set(welcome)
    told = agent.get("ended-ok")
    assert (told["job"], told["index"]) == ("40", 0)
    say(client, CLIENT_HELLO)
    assert {"user", "now", "mac_id", "mac_key", "version"} <= set(client.get("welcome"))

    spare = relay.dial()
    body = json.loads(PARK % (time.time(), os.urandom(16).hex()))
    key = bytes.fromhex(welcome["park_key"])
    spare.send(rendezvous.encode(rendezvous.AGENT, body, b"", key))
    relay.until(lambda: relay.parked("n1") == 1)
    att, visit = os.urandom(16).hex(), relay.dial()
    body = json.loads(OPEN % (client_ticket.mac_id, time.time(), os.urandom(16).hex(), att))
    key = bytes.fromhex(client_ticket.mac_key)
    visit.send(rendezvous.encode(rendezvous.CLIENT, body, b"HELLO", key))
    expect = agent.get("expect")
    assert {"att", "job", "index", "size", "user", "rights", "op"} <= set(expect)
    assert (expect["att"], expect["user"], expect["rights"], expect["op"]) == (
        att, "alice", "rw", "open",
    )  # fmt: skip
    assert relay.read(spare, 5) == b"HELLO"

    say(agent, STARTED % (expect["job"], att))
    say(agent, WATCHERS % expect["job"])
    say(agent, ENDED % expect["job"])
    assert agent.get("ended-ok")["job"] == expect["job"]
    for request in REQUESTS:
        say(client, request)
    answers = [client.answer(number) for number in range(1, 6)]
    assert all(answer["ok"] for answer in answers), answers
    jobs = {job["id"]: job for job in answers[0]["jobs"]}
    assert {number: (job["state"], job["code"]) for number, job in jobs.items()} == {
        "40": ("FAILED", 3), "41": ("ACTIVE", None), expect["job"]: ("FAILED", 141),
    }  # fmt: skip
    assert set(jobs["41"]) >= JOB
    assert set(answers[1]["agents"][0]) >= AGENT
    assert {"user", "role"} <= set(answers[2])
    assert {"version", "uptime_s", "broker_pid", "agents", "jobs"} <= set(answers[3]["relay"])
