"""kill -9 of clients, door, broker, the whole relay and agents, at random moments of a session.

A moment is while a client starts (connecting, joining, opening, first bytes), while numbered lines flow both
ways, or while the exit is under way. Whoever lives must lose nothing; who attaches after a client's death sees
all that the program wrote; a program is started once and its exit code is told once.

Fails when: a resumed link says wrong offsets, ended steps are not said again in an agent's hello, or the keeper
ends nobody.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from fault.lab import descendants_of, warm
from fault.rows import Finding, Form, Row
from fault.talks import (
    STATUS,
    TALK,
    Known,
    Talk,
    closing,
    difference,
    drive,
    kill,
    lines,
)

from kit.procs import Env, alive, until

BACK_S = 15.0
REASON_S = 45.0
FORGOTTEN_S = 60.0  # an opening whose client died before it said what to start
LINES = 30_000
MOMENTS = ("start", "flow", "end")
FINAL = ("COMPLETED", "FAILED", "CANCELED")


class Scene:
    """Relay, agent and what is known of them; ledgers with names of their own."""

    def __init__(self, form: Form, salt: str) -> None:
        self.random = random.Random(f"{form.seed} {salt}")
        self.env = Env()
        self.env.start_relay()
        self.invite = self.env.invite(uses=1000)  # a new agent for each that was killed
        self.agents = 0
        self.add_agent()
        self.known = Known(self.env)
        self.count = 0
        self.ledgers: list[Path] = []

    def add_agent(self) -> None:
        self.agents += 1
        self.keeper = self.env.start_agent(f"agent{self.agents}", self.invite, wait=False)

    def has_agent(self) -> bool:
        return any(a["state"] == "waiting" for a in self.agents_now())

    def agents_now(self) -> list[dict]:
        try:
            return self.known.ask("agents")["agents"]
        except Exception:  # the relay is being restarted
            return []

    def talk(self, count: int, background: bool, daemon: bool = False) -> Talk:
        """``daemon``: it leaves one behind that nothing but a kill ends."""
        self.count += 1
        ledger = self.env.root / f"t{self.count}"
        self.ledgers.append(ledger)
        program = [sys.executable, "-I", "-S", TALK, str(ledger)]
        if daemon:
            program[:0] = ["sh", "-c", 'setsid sleep 1000 <&- >&- 2>&- & exec "$@"', "sh"]
        words = ("run", "--name", ledger.name, "--", *program)
        return Talk(self.env, ledger, count, background, *words)

    def job(self, ledger: Path) -> dict | None:
        return self.known.job_of(ledger, self.known.look())

    def ended(self, *talks: Talk) -> bool:
        """The broker knows their ends."""
        jobs = self.known.look()
        found = [self.known.job_of(talk.ledger, jobs) for talk in talks]
        return all(job is not None and job["state"] in FINAL for job in found)

    def restart_relay(self) -> None:
        env = self.env
        done = env.gshell(
            "relay", "start", "--listen", env.address, "--state", str(env.state), "--user", "tester"
        )
        assert done.returncode == 0, done.stderr.decode() + env.logs()

    def pause(self, talks: list[Talk], most_s: float) -> None:
        """Let them go on for a random while."""
        end = time.monotonic() + self.random.uniform(0, most_s)
        drive(talks, lambda: time.monotonic() >= end, "a while", most_s + 20, self.env.logs)


class Tally:
    """What went wrong, and how long it took to be back."""

    def __init__(self) -> None:
        self.points = 0
        self.faults: list[str] = []
        self.back: list[float] = []
        self.pauses: list[float] = []

    def note(self, where: str, wrong: str) -> None:
        if wrong:
            self.faults.append(f"{where}: {wrong}")

    def finding(self, who: str, limit_s: float, good: str, must: str, form: Form) -> Finding:
        slow = [took for took in self.back if took > limit_s]
        worst = max(self.back, default=0.0)
        result = good if not self.faults else f"{len(self.faults)} wrong: {self.faults[0][:90]}"
        result += f"; worst {worst:.1f} s"
        if self.pauses:
            times = sorted(self.pauses)
            result += f", of a flow p50 {times[len(times) // 2]:.2f} s, worst {times[-1]:.2f} s"
        return Finding(
            f"kill -9 of {who}", f"{self.points} points", result, must,
            not self.faults and not slow, "\n".join([f"seed {form.seed}", *self.faults]),
        )  # fmt: skip


# ---------------------------------------------------------------------------------------- the relay


NAMES = {"door_pid": "the door", "broker_pid": "the broker", "pid": "the whole relay"}
END = b"end %d\n" % STATUS


def relay(form: Form, scene: Scene, who: str, points: int) -> Finding:
    """``who``: the key in relay.json of the process to kill; "pid" is the one that starts the others."""
    tally = Tally()
    for point in range(points):
        flowing, ending = scene.talk(LINES, point % 2 == 0), scene.talk(20, point % 2 == 1)
        with closing([flowing, ending]) as talks:
            _relay_point(scene, tally, who, f"{who} {point}", talks)
        tally.points += 1
    tally.faults += scene.known.changed
    return tally.finding(
        f"{NAMES[who]}, 3 sessions", BACK_S, "0 lost, 0 doubled, ends told once",
        "0 lost, 0 doubled both ways, exit code once, all back <= 15 s", form,
    )  # fmt: skip


def _relay_point(scene: Scene, tally: Tally, who: str, where: str, talks: list[Talk]) -> None:
    flowing, ending = talks
    ending.held = len(END)
    flowing.held = len(flowing.due) // 2
    drive(talks, lambda: all(len(t.came) >= len(t.due) - t.held for t in talks), "bytes to flow",
          30, scene.env.logs)  # fmt: skip
    talks.append(starting := scene.talk(200, scene.random.random() < 0.5))
    scene.pause(talks, 0.35)
    flowing.held = 0
    enough = len(flowing.came) + scene.random.randrange(1, 50_000)
    drive(talks, lambda: len(flowing.came) >= enough, "bytes to flow", 30, scene.env.logs)
    ending.held = 0
    scene.pause(talks[1:], 0.02)
    facts = scene.env.relay_facts()
    flowing.mark()
    kill(facts[who])
    began = time.monotonic()
    if who == "pid":
        until(lambda: not alive(facts["door_pid"]) and not alive(facts["broker_pid"]))
        scene.restart_relay()
    drive(talks, lambda: all(talk.over for talk in talks), f"{where}: all to end", 60,
          scene.env.logs)  # fmt: skip
    until(scene.has_agent, f"{where}: the agent to be back", show=scene.env.logs)
    # A client may find no relay at all while there is none; then it has started nothing.
    unborn = who == "pid" and starting.process.returncode == 125 and not starting.started
    lived = talks[: 2 if unborn else 3]
    until(lambda: scene.ended(*lived), f"{where}: the ends to be known",
          show=lambda: f"{scene.known.look()}\n{scene.env.logs()}")  # fmt: skip
    tally.back.append(time.monotonic() - began)
    tally.pauses.append(flowing.pause_longest)
    jobs = scene.known.look()
    for talk, name in zip(lived, ("flow", "end", "start")):
        tally.note(f"{where} {name}", talk.wrong())
        job = scene.known.job_of(talk.ledger, jobs)
        if job is None or (job["state"], job["code"]) != ("FAILED", STATUS):
            tally.note(f"{where} {name}", f"the broker says {job}")


def until_moment(scene: Scene, talk: Talk, moment: str) -> None:
    """Let it come to where it shall be hit."""
    kept = len(talk.due)
    if moment == "end":
        talk.held = len(END)
        drive([talk], lambda: len(talk.came) >= kept - talk.held, "the echo", 30, scene.env.logs)
        talk.held = 0
        scene.pause([talk], 0.02)
    elif moment == "flow":
        enough = scene.random.randrange(1000, kept - 20_000)
        drive([talk], lambda: len(talk.came) >= enough, "the flow", 30, scene.env.logs)
    else:
        scene.pause([talk], 0.35)


# --------------------------------------------------------------------------------------- the client


def client(form: Form, scene: Scene, points: int) -> Finding:
    tally = Tally()
    unborn: list[Path] = []
    for point in range(points):
        who = ("direct", "front", "background")[point % 3]
        moment = MOMENTS[point // 3 % 3]
        if who != "direct":
            warm(scene.env)
        talk = scene.talk(LINES if moment == "flow" else 20, who != "direct")
        with closing([talk]):
            until_moment(scene, talk, moment)
            if not _client_point(scene, tally, who, f"{who} {point} at the {moment}", talk):
                unborn.append(talk.ledger)
        tally.points += 1
    # What was opened and never said what to start is forgotten, and takes no slot.
    for ledger in unborn:
        if Path(f"{ledger}.starts").exists():
            tally.note(ledger.name, "started long after its client's death")
    until(lambda: all(job["state"] in FINAL for job in scene.known.look().values()),
          "all jobs to be over", FORGOTTEN_S, lambda: str(scene.known.look()))  # fmt: skip
    tally.faults += scene.known.changed
    return tally.finding(
        "a client: direct, front, background", BACK_S,
        "0 lost for the next attach, input a prefix, ends told once",
        "output 0 lost, input an exact prefix, started once, back <= 15 s", form,
    )  # fmt: skip


def _client_point(scene: Scene, tally: Tally, who: str, where: str, talk: Talk) -> bool:
    """False if nothing was ever started."""
    background = int((scene.env.home / "run" / "bg.sock.pid").read_text())
    kill(background if who == "background" else talk.process.pid)
    began = time.monotonic()
    drive([talk], lambda: talk.over, f"{where}: its end", 30, scene.env.logs)
    born = True
    if talk.process.returncode == STATUS:  # it was over, or another one took over
        tally.note(where, talk.wrong())
    else:
        born = _after_death(scene, tally, talk, where)
    tally.back.append(time.monotonic() - began)
    return born


def _after_death(scene: Scene, tally: Tally, talk: Talk, where: str) -> bool:
    """Attach to what goes on and end it; False if nothing was ever started."""

    def known() -> dict | None:
        return scene.job(talk.ledger)

    if not talk.started:  # it may be on its way: to be joined it takes some round trips
        end = time.monotonic() + 1.0
        drive([], lambda: talk.started or time.monotonic() > end, "a start", 20, scene.env.logs)
        if not talk.started:
            return False
    job = until(known, f"{where}: the broker to know the job", show=scene.env.logs)
    words = ("attach", "--quiet", "--steal", "--since", "start", job["id"])
    again = Talk(scene.env, talk.ledger, 0, where.startswith("front"), *words)
    again.due = b"again\nend %d\n" % STATUS
    with closing([again]) as talks:
        drive(talks, lambda: again.over, f"{where}: the next attach", 30,
              lambda: f"{known()}\n{scene.env.logs()}")  # fmt: skip
        there, shown = talk.read_there(), bytes(again.came)
        typed = there.removesuffix(again.due)
        if not talk.due.startswith(typed):
            tally.note(where, "input is no prefix: " + difference(talk.due, typed))
        if not there.startswith(bytes(talk.came)):
            tally.note(where, "shown, but never written: " + difference(there, bytes(talk.came)))
        if shown != there:
            tally.note(where, "the next attach: " + difference(there, shown))
        if again.process.returncode != STATUS:
            tally.note(where, f"status {again.process.returncode}: {again.said()!r}")
        if len(talk.starts()) != 1:
            tally.note(where, f"started {len(talk.starts())} times")
    until(lambda: scene.ended(talk), f"{where}: the end to be known", show=scene.env.logs)
    ended = known()
    if ended is None or (ended["state"], ended["code"]) != ("FAILED", STATUS):
        tally.note(where, f"the broker says {ended}")
    return True


# ---------------------------------------------------------------------------------------- the agent


def agent(form: Form, scene: Scene, points: int) -> Finding:
    tally = Tally()
    for point in range(points):
        moment = MOMENTS[point % 3]
        until(scene.has_agent, "an agent", show=scene.env.logs)
        talk = scene.talk(LINES if moment == "flow" else 20, point % 2 == 0, daemon=True)
        with closing([talk]):
            until_moment(scene, talk, moment)
            _agent_point(scene, tally, f"agent {point} at the {moment}", talk)
        tally.points += 1
    tally.faults += scene.known.changed
    return tally.finding(
        "an agent", REASON_S, "FAILED with a reason, client told, nothing left",
        "job FAILED with a reason <= 45 s, client told, nothing left running", form,
    )  # fmt: skip


def _agent_point(scene: Scene, tally: Tally, where: str, talk: Talk) -> None:
    (there,) = [one for one in scene.agents_now() if one["state"] == "waiting"]
    keeper = scene.keeper
    below = descendants_of(keeper.pid)
    kill(there["pid"])
    began = time.monotonic()
    until(lambda: not any(map(alive, below)), f"{where}: nothing to be left", REASON_S)
    keeper.wait(REASON_S)
    hit = talk.started
    scene.add_agent()  # whose program was not started yet gets this one, in its turn
    drive([talk], lambda: talk.over, f"{where}: the client to be told", 60, scene.env.logs)
    status = talk.process.returncode
    if not hit and status == 255:  # executed, and dead before its first line
        tally.note(where, "" if "agent has gone" in talk.said() else f"{talk.said()[-300:]!r}")
    elif not hit or status == STATUS:  # not started there, or all of it was here before
        tally.note(where, talk.wrong())
    else:
        if status != 255 or not talk.said():
            tally.note(where, f"status {status}: {talk.said()[-300:]!r}")
        if len(talk.starts()) != 1:
            tally.note(where, f"started {len(talk.starts())} times")
        there_read = talk.read_there()
        if not talk.due.startswith(there_read):
            tally.note(where, "input: " + difference(talk.due, there_read))
        job = until(lambda: scene.ended(talk) and scene.job(talk.ledger), f"{where}: its end",
                    REASON_S, scene.env.logs)  # fmt: skip
        if job["state"] != "FAILED" or not (job["error"] or job["code"] == STATUS):
            tally.note(where, f"the broker says {job}")
    tally.back.append(time.monotonic() - began)


def measure(form: Form) -> list[Finding]:
    assert len(lines(LINES)) > 100_000
    found: list[Finding] = []
    for who, short in (("door_pid", 6), ("broker_pid", 6), ("pid", 3), ("client", 9), ("agent", 6)):
        points = form.pick(short, 200)
        scene = Scene(form, who)
        try:
            until(scene.has_agent, "the agent", show=scene.env.logs)
            warm(scene.env)
            if who == "client":
                found.append(client(form, scene, points))
            elif who == "agent":
                found.append(agent(form, scene, points))
            else:
                found.append(relay(form, scene, who, points))
        finally:
            scene.env.close()
    return found


ROW = Row("kills", measure, short_s=45.0)
