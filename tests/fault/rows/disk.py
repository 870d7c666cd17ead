"""The spool's disk is full, over quota, read-only, failing, or loses what it had.

With ``block`` the program waits, nobody loses a byte, and it goes on when the disk does; with
``gap`` it never waits and the oldest is forgotten, which is said. Either way whoever looks on is
told once when it begins and once when it is over, no wrong byte is shown, and the agent lives.

Guards: the policies in ``gshell/agent/sessionlog.py``, the checksums in ``spool.py``, the notices
and the looking again (``retry_logs``) in ``session.py``.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fault.lab import descendants_of, flow
from fault.rows import Finding, Form, Row

from gshell.agent.keeping import TROUBLE_S
from kit.procs import Env, alive, until

MIB = 1 << 20
SIZE = 24 * MIB  # more than a log holds in memory for who is away, and than the small disk
MORE = 3 * MIB  # more than the newest that stay in memory anyway
SMALL, LARGE = "1m", "256m"
OVER = ("COMPLETED", "FAILED", "CANCELED")

Restore = Callable[[], None]


class Place:
    """A relay, an agent whose spools are on a disk of its own, and what is done to both."""

    def __init__(self, env: Env, name: str, invite: str) -> None:
        self.env = env
        self.disk = env.root / f"{name}.disk"
        self.disk.mkdir()
        argv = ["mount", "-t", "tmpfs", "-o", f"size={LARGE},mode=700", "tmpfs", str(self.disk)]
        self.mounted = (
            os.geteuid() == 0 and not subprocess.run(argv, capture_output=True).returncode
        )
        self._keeper = env.start_agent(name, invite, "--spool", str(self.disk), "--quota", "1G")
        self.agent = descendants_of(self._keeper.pid)[0]
        self._watchers: list[Watcher] = []

    def watch(self, job: str) -> Watcher:
        self._watchers.append(Watcher(self.env, job))
        return self._watchers[-1]

    def close(self) -> None:
        for watcher in self._watchers:
            watcher.stop()
        assert alive(self.agent), "the agent died\n" + self.env.logs()
        self._keeper.send_signal(signal.SIGTERM)
        self._keeper.wait(20)
        if self.mounted:
            left = list(self.disk.iterdir())
            subprocess.run(["umount", "-l", str(self.disk)], check=True)
            assert not left, f"left on the disk: {left}"
        until(lambda: not self.env.agents(), "the agent to be gone")

    def remount(self, option: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{option}", str(self.disk)], check=True)

    def small(self) -> Restore:
        self.remount(f"size={SMALL}")
        return lambda: self.remount(f"size={LARGE}")

    def read_only(self) -> Restore:
        self.remount("ro")
        return lambda: self.remount("rw")

    def short_files(self) -> Restore:
        limits = resource.prlimit(self.agent, resource.RLIMIT_FSIZE)
        resource.prlimit(self.agent, resource.RLIMIT_FSIZE, (100_000, limits[1]))

        def restore() -> None:
            resource.prlimit(self.agent, resource.RLIMIT_FSIZE, limits)

        return restore

    def refusing(self, error: str) -> Restore:
        """Every write to the spool says so."""
        inject = f"inject=pwrite64:error={error}"
        argv = ["strace", "-f", "-q", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", inject]
        tracer = subprocess.Popen([*argv, "-p", str(self.agent)], stderr=subprocess.DEVNULL)

        def traced() -> bool:
            status = Path(f"/proc/{self.agent}/status").read_text()
            return f"TracerPid:\t{tracer.pid}\n" in status

        until(traced, "strace to hold the agent")

        def restore() -> None:
            tracer.terminate()
            tracer.wait(20)

        return restore


class Watcher:
    """Somebody who looks on, for what he is told."""

    def __init__(self, env: Env, job: str) -> None:
        self._process = env.popen(
            "attach", "--read-only", job, background=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)
        self._said = ""

    def stop(self) -> None:
        """Should it still be there."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def said(self) -> str:
        assert self._process.stderr is not None
        with contextlib.suppress(BlockingIOError):
            self._said += (self._process.stderr.read() or b"").decode()
        return self._said

    def end(self) -> str:
        """All that was said, after its job has ended."""
        assert self._process.wait(30) == 0
        said = self.said
        self._process.stderr.close()
        return said


def script(go: Path) -> list[str]:
    """Writes, waits to be let go, writes again, waits for the word to end."""
    first, second = (" ".join(flow("feed", size, seed)) for size, seed in ((SIZE, 1), (MORE, 2)))
    waits = (f"; until test -e {path}; do sleep 0.05; done; " for path in (go, over(go)))
    return ["sh", "-c", first + next(waits) + second + next(waits)]


def over(go: Path) -> Path:
    """The file that lets it end."""
    return go.with_suffix(".over")


def due() -> bytes:
    from fault.flow import blocks

    return b"".join(blocks(SIZE, 1)) + b"".join(blocks(MORE, 2))


def start(env: Env, policy: str, go: Path, *words: str) -> str:
    argv = ["run", "--detach", "--on-full", policy, *words, "--", *script(go)]
    done = env.gshell(*argv, background=False)
    assert done.returncode == 0, done.stderr.decode() + env.logs()
    return done.stdout.decode().strip()


def state(env: Env, job: str) -> str:
    return str(next(one["state"] for one in env.jobs() if one["id"] == job))


def ended(env: Env, job: str) -> None:
    until(lambda: state(env, job) in OVER, "the end", 40, show=env.logs)


def told_once(said: str, begin: str, end: str) -> str:
    """Nothing, or what is wrong with it."""
    counts = (said.count(begin), said.count(end))
    return "" if counts == (1, 1) else f"said {counts} times, not once each:\n{said}"


def blocked(place: Place, strike: Callable[[], Restore], words: str, *options: str) -> str:
    """The program waits; it goes on when the disk does; all is there. What was wrong, or nothing."""
    env, go = place.env, place.disk.with_suffix(".go")
    restore = strike()
    try:
        job = start(env, "block", go, *options)
        first = place.watch(job)
        until(lambda: "output waits" in first.said, "the notice", 30, show=env.logs)
        late = place.watch(job)
        until(lambda: "output waits" in late.said, "the notice for who is late", show=env.logs)
        then = time.monotonic() + 2.5 * TROUBLE_S  # when it would have been told again
        until(lambda: time.monotonic() > then)
        assert state(env, job) not in OVER
    finally:
        restore()
    for watcher in (first, late):
        until(lambda one=watcher: "goes on" in one.said, "the word of its end", show=env.logs)
    go.touch()
    over(go).touch()
    ended(env, job)
    shown = env.gshell("logs", "--since", "start", job, background=False)
    wrong = ""
    for watcher in (first, late):
        said = watcher.end()
        wrong += told_once(said, "output waits", "output goes on")
        if words not in said:
            wrong += f"not a word of {words!r}:\n{said}"
    if shown.stdout != due() or b"gap" in shown.stderr:
        wrong += f"{len(shown.stdout)} bytes, {shown.stderr!r}"
    return wrong


def gapped(place: Place, strike: Callable[[], Restore], words: str, *options: str) -> str:
    """The program never waits; what is kept is the newest, and the rest is said to be gone."""
    env, go = place.env, place.disk.with_suffix(".go")
    restore = strike()
    try:
        job = start(env, "gap", go, *options)
        watcher = place.watch(job)
        if words:
            until(lambda: "soon forgotten" in watcher.said, "the notice", 30, show=env.logs)
        until(lambda: kept(env, job)[1] > 0, "all of the first part", 30, show=env.logs)
    finally:
        restore()
    go.touch()
    if words:
        until(lambda: "kept again" in watcher.said, "the word of its end", show=env.logs)
    over(go).touch()
    ended(env, job)
    shown, missing = kept(env, job)
    said = watcher.end()
    wrong = told_once(said, "soon forgotten", "kept again") if words else ""
    if words not in said:
        wrong += f"not a word of {words!r}:\n{said}"
    whole = due()
    if shown != whole[-len(shown) :] or len(shown) < MIB:
        wrong += f"{len(shown)} bytes, not the newest"
    if abs(missing - (len(whole) - len(shown))) > 100_000:
        wrong += f"said {missing} missing, of {len(whole) - len(shown)}"
    return wrong


def kept(env: Env, job: str) -> tuple[bytes, int]:
    """What `logs` shows of a job, and how many bytes it says are missing."""
    done = env.gshell("logs", "--since", "start", job, background=False)
    return done.stdout, sum(gaps(done.stderr.decode()))


def gaps(said: str) -> list[int]:
    found = re.findall(r"\[gap: ([0-9.]+) (MB|bytes) not kept\]", said)
    return [int(float(number) * (1e6 if unit == "MB" else 1)) for number, unit in found]


def quota_blocks(place: Place) -> str:
    """As `blocked`, but it is a reader who makes room."""
    env, go = place.env, place.disk.with_suffix(".go")
    job = start(env, "block", go, "--quota", "1M")
    watcher = place.watch(job)
    until(lambda: "output waits" in watcher.said, "the notice", 30, show=env.logs)
    go.touch()
    over(go).touch()
    done = env.gshell("attach", "--since", "start", job, background=False)
    said = watcher.end()
    wrong = "" if "its spool of 1 MiB is full" in said else f"not told why: {said}"
    if said.count("output waits") != 1:
        wrong += f"told more than once: {said}"
    if done.stdout != due() or b"gap" in done.stderr:
        wrong += f"{len(done.stdout)} bytes, {done.stderr!r}"
    return wrong


def damaged(place: Place, seed: int, flips: int) -> str:
    """What the disk has lost is a gap, to the byte; nothing wrong is shown."""
    from gshell.agent.spool import BLOCK_BYTES

    env, go = place.env, place.disk.with_suffix(".go")
    go.touch()
    over(go).touch()
    # Nobody else reads it: what is being read is there for its reader though it was removed.
    job = start(env, "block", go, "--no-archive")
    ended(env, job)
    whole = due()
    random_one = random.Random(seed)
    segments = sorted(place.disk.glob("gshell-spool-*/*/*"), key=lambda path: int(path.name))
    segments = [path for path in segments if path.stat().st_size]
    gone = random_one.choice(segments[:-1])  # the newest is open
    ranges = [(int(gone.name), int(gone.name) + gone.stat().st_size)]
    for _ in range(flips):
        path = random_one.choice([path for path in segments if path is not gone])
        at, size = random_one.randrange(path.stat().st_size), path.stat().st_size
        first = at // BLOCK_BYTES * BLOCK_BYTES
        span = (int(path.name) + first, int(path.name) + min(first + BLOCK_BYTES, size))
        if span not in ranges:
            ranges.append(span)
            with open(path, "r+b", buffering=0) as file:
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 1 << random_one.randrange(8)]))
    gone.unlink()
    expected, at = [], 0
    for first, end in sorted(ranges):
        expected.append(whole[at:first])
        at = end
    expected.append(whole[at:])
    done = env.gshell("logs", "--since", "start", job, background=False)
    if done.stdout != b"".join(expected):
        return f"{len(done.stdout)} bytes, not the {sum(map(len, expected))} that are left"
    sizes = sum(end - first for first, end in ranges)
    if abs(sum(gaps(done.stderr.decode())) - sizes) > 100_000 * len(ranges):
        return f"{sizes} bytes lost, said: {done.stderr.decode()}"
    return ""


def measure(form: Form) -> list[Finding]:
    findings = []
    with environment() as (env, invite):
        names = iter(range(100))

        def case(what: str, must: str, needs_mount: bool, run: Callable[[Place], str]) -> None:
            place = Place(env, f"agent{next(names)}", invite)
            if needs_mount and not place.mounted:
                findings.append(Finding(what, "0", "left out: cannot mount here", must, True))
            else:
                try:
                    wrong = run(place)
                except AssertionError as error:  # the other cases still have their say
                    wrong = str(error)
                short = "as it must be" if not wrong else wrong.splitlines()[0]
                findings.append(Finding(what, "1", short, must, not wrong, wrong))
            place.close()

        waits, forgets = (
            "waits, is told once, goes on; 0 lost",
            "never waits; gap told; newest right",
        )
        faults: list[tuple[str, str, bool, Callable[[Place], Restore]]] = [
            ("disk full (1 MiB tmpfs)", "No space left", True, Place.small),
            ("read-only disk", "Read-only", True, Place.read_only),
            ("EIO", "Input/output error", False, lambda place: place.refusing("EIO")),
            ("EDQUOT", "quota exceeded", False, lambda place: place.refusing("EDQUOT")),
            ("files limited to 100 kB", "File too large", False, Place.short_files),
        ]
        for what, words, mount, strike in faults:
            for policy, must, run in (("block", waits, blocked), ("gap", forgets, gapped)):
                case(
                    f"spool: {what}, {policy}",
                    must,
                    mount,
                    lambda place, run=run, strike=strike, words=words: run(  # type: ignore[misc]
                        place, lambda: strike(place), words
                    ),
                )
        case("spool: --quota 1M used up, block", waits, False, quota_blocks)
        case(
            "spool: --quota 1M used up, gap",
            forgets,
            False,
            lambda place: gapped(place, lambda: lambda: None, "", "--quota", "1M"),
        )
        flips = form.pick(5, 100)
        case(
            f"spool: {flips} bits flipped, a segment removed",
            "gaps there; 0 wrong bytes",
            False,
            lambda place: damaged(place, form.seed, flips),
        )
    return findings


@contextlib.contextmanager
def environment() -> Iterator[tuple[Env, str]]:
    env = Env()
    try:
        yield env, env.start_relay()
    finally:
        for path in env.root.glob("*.disk"):
            if path.is_mount():
                subprocess.run(["umount", "-l", str(path)], check=False)
        env.close()


ROW = Row("disk", measure, needs="strace", short_s=60.0)
