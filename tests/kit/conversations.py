"""Scripted conversations with the programs that are here, and targets that are slow. Each program
says what it read, and the script expects it there: input that another reader took, or that was
thrown away because nobody was reading yet, is a difference.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from gshell.errors import GshellError
from gshell.net.loop import Loop
from gshell.replay import gst, judge, masks, matching, shells
from gshell.replay.engine import Engine, Outcome
from gshell.replay.script import Script, Seen, Step, Verdict
from gshell.replay.targets import Local, Player, Waiting

# Asks so many questions, works between them, and throws away what was typed too early.
ASKER = """\
import os, sys, termios, time
if os.environ.get("OMPI_COMM_WORLD_RANK", "0") != "0": sys.exit(0)
for number in range(1, int(sys.argv[1]) + 1):
    end = time.process_time() + float(sys.argv[2])
    while time.process_time() < end: pass
    if sys.stdin.isatty(): termios.tcflush(0, termios.TCIFLUSH)
    print(f"question {number}: ", end="", flush=True)
    print(f"[{number}: {sys.stdin.readline().strip()}]", flush=True)
"""
WORK_S = (0.0, 0.02, 0.1)
MPIRUN = "mpirun.openmpi --oversubscribe --allow-run-as-root -n 2"


class Conversation:
    """A script, and what it needs."""

    def __init__(self, name: str, text: str, needs: tuple[str, ...]) -> None:
        self.name = name
        self.script: Script = gst.read(text, f"{name}.gst")
        self.missing = [need for need in needs if shutil.which(need) is None]


def all_of_them(place: Path, count: int = 50) -> list[Conversation]:
    """``place``: an empty directory for their files."""
    (place / "asker.py").write_text(ASKER)
    makers = [_asked, _python, _gdb, _bash, _bc, _cat, _mpi, _vim, _less, _nested]
    return [makers[number % len(makers)](place, number) for number in range(count)]


def _asked(place: Path, number: int) -> Conversation:
    count, work = 3 + number % 4, WORK_S[number // 10 % 3]
    lines = [f"$ python3 {place}/asker.py {count} {work}"]
    for at in range(1, count + 1):
        lines += [f'"question {at}: "> answer-{number}-{at}', f"[{at}: answer-{number}-{at}]"]
    return Conversation(f"asker{number}", "\n".join([*lines, "[0]", "$ echo after", "after"]),
                        ("python3",))  # fmt: skip


def _python(place: Path, number: int) -> Conversation:
    text = f"""\
$ python3 -q
>>>> import time; time.sleep({WORK_S[number // 10 % 3]})
>>>> {number}*7
{number * 7}
>>>> x = input("? ")
"? "> v{number}
>>>> x
'v{number}'
>>>> for i in range(2):
...> "    print(i, {number})" <Enter>
...>
0 {number}
1 {number}
>>>> exit({number % 5})
[{number % 5}]
$ echo $?
{number % 5}
"""
    return Conversation(f"python{number}", text, ("python3",))


def _gdb(place: Path, number: int) -> Conversation:
    text = f"""\
$ gdb -q -nx
(gdb)> print {number}*3
$$1 = {number * 3}
(gdb)> shell sleep {WORK_S[number // 10 % 3]}
(gdb)> echo got-{number}\\n
got-{number}
(gdb)> print $$1+1
$$2 = {number * 3 + 1}
(gdb)> quit
[0]
$ echo shell-{number}
shell-{number}
"""
    return Conversation(f"gdb{number}", text, ("gdb",))


def _bash(place: Path, number: int) -> Conversation:
    text = f"""\
$ sleep {WORK_S[number // 10 % 3]}; echo a-{number}
a-{number}
[0]
$ read -p 'name: ' x
name:> n-{number}
[0]
$ echo "[$$x]"; false
[n-{number}]
[1]
$ (sleep 0.05; read -p 'one: ' a; sleep 0.05; read -p 'two: ' b; echo "$$a-$$b")
one:> A{number}
two:> B{number}
A{number}-B{number}
[0]
"""
    return Conversation(f"bash{number}", text, ("bash",))


def _bc(place: Path, number: int) -> Conversation:
    text = f"""\
$ bc -q
""> {number}+1
{number + 1}
""> 2^{number}
{2**number}
""> quit
[0]
$ echo {number}
{number}
"""
    return Conversation(f"bc{number}", text, ("bc",))


def _cat(place: Path, number: int) -> Conversation:
    text = f"""\
$ cat
""> first {number}
first {number}
""> second {number}
second {number}
""> ^D
[0]
$ sh -c 'read a; sleep {WORK_S[number // 10 % 3]}; read b; echo "<$$a><$$b>"'
""> one {number}
""> two {number}
<one {number}><two {number}>
[0]
"""
    return Conversation(f"cat{number}", text, ("cat",))


def _mpi(place: Path, number: int) -> Conversation:
    count, work = 2 + number % 3, WORK_S[number // 10 % 3]
    lines = [f"$ {MPIRUN} python3 {place}/asker.py {count} {work}"]
    for at in range(1, count + 1):
        lines += [f'"question {at}: "> rank-{number}-{at}', f"[{at}: rank-{number}-{at}]"]
    return Conversation(f"mpirun{number}", "\n".join([*lines, "[0]", "$ echo after", "after"]),
                        ("mpirun.openmpi", "python3"))  # fmt: skip


def _vim(place: Path, number: int) -> Conversation:
    text = f"""\
$ rm -f {place}/v{number}.txt; vim -u NONE -N {place}/v{number}.txt
""> "ihello {number}" <Esc>
""> ":s/hello/bye/" <Enter>
""> ":wq" <Enter>
$ cat {place}/v{number}.txt
bye {number}
[0]
"""
    return Conversation(f"vim{number}", text, ("vim",))


def _less(place: Path, number: int) -> Conversation:
    text = f"""\
$ seq {500 + number} | LESS= less
""> <Type "G">
""> <Type "q">
$ echo out-{number}
out-{number}
[0]
"""
    return Conversation(f"less{number}", text, ("less",))


def _nested(place: Path, number: int) -> Conversation:
    text = f"""\
$ PS1='inner: ' dash
inner:> echo in-{number}
in-{number}
inner:> python3 {place}/asker.py 1 {WORK_S[number // 10 % 3]}
"question 1: "> deep-{number}
[1: deep-{number}]
inner:> exit 4
[4]
$ echo back-{number}
back-{number}
"""
    return Conversation(f"nested{number}", text, ("dash", "python3"))


# ------------------------------------------------------------------------------------------- slow


@contextlib.contextmanager
def slow_group(factor: int) -> Iterator[Path | None]:
    """A cpu control group in which everything has one part in ``factor`` of a processor; None:
    there are none here, or they are not ours."""
    group = Path(f"/sys/fs/cgroup/cpu/gshell-slow-{os.getpid()}-{factor}")
    try:
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text("50000")
        (group / "cpu.cfs_quota_us").write_text(str(50000 // factor))
    except OSError:
        yield None
        return
    try:
        yield group
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()


class Slow(Local):
    """A target whose processor and whose line are slow."""

    def __init__(self, loop: Loop, argv: list[str], env: dict[str, str], factor: int,
                 group: Path | None) -> None:  # fmt: skip
        super().__init__(loop, argv, env)
        self.factor = factor
        self._group = group
        self._line: list[bytes] = []
        self._end: int | None = None
        self._told: Player | None = None
        self._moving = False

    def start(self, player: Player) -> None:
        self._told = player
        super().start(self)  # what it prints comes to us first

    def _spawn(self) -> None:
        super()._spawn()
        if self._group is not None:
            (self._group / "cgroup.procs").write_text(str(self.pid))

    def on_output(self, rank: int, error: bool, data: bytes) -> None:
        size = 4096 // self.factor
        self._line += [data[at : at + size] for at in range(0, len(data), size)]
        self._move()

    def _move(self) -> None:
        if not self._moving:
            self._moving = True
            self.loop.later(0.001 * self.factor, self._moved)

    def _moved(self) -> None:
        self._moving = False
        assert self._told is not None
        if self._line:
            self._told.on_output(0, False, self._line.pop(0))
        if self._line:
            self._move()
        elif self._end is not None:
            self._told.on_ended(self._end)
        else:
            self._told.on_change()

    def on_change(self) -> None:
        if self._told is not None:
            self._told.on_change()

    def on_ended(self, status: int) -> None:
        self._end = status
        self._move()

    def on_failed(self, error: GshellError) -> None:
        if self._told is not None:
            self._told.on_failed(error)

    @property
    def waiting(self) -> Waiting | None:
        return None if self._line else super().waiting


# --------------------------------------------------------------------------------------- playing


class Judge:
    """Who follows a script that is played, and judges it."""

    def __init__(self, script: Script) -> None:
        self.values = dict(script.params)
        self.verdicts: list[Verdict] = []

    def resolve(self, text: str) -> str:
        return masks.expanded(text, self.values)

    def secret(self, number: int) -> str:
        return f"secret{number}"

    def stands(self, prompt: str, line: str) -> bool:
        return matching.stands(prompt, line, self.values)

    def begins(self, step: Step) -> None: ...

    def waits(self, step: Step, wants: str, since_s: float) -> None: ...

    def seen(self, step: Step, seen: Seen) -> bool:
        verdict = judge.judge(step, seen, self.values)
        self.values.update(verdict.captures)
        self.verdicts.append(verdict)
        return True


def environment() -> dict[str, str]:
    keep = ("PATH", "HOME", "LANG", "TMPDIR")
    env = {name: os.environ[name] for name in keep if name in os.environ}
    return {**env, "TERM": "xterm", "LC_ALL": "C.UTF-8", "SHELL": "/bin/bash"}


def play(
    script: Script, factor: int = 1, group: Path | None = None, argv: list[str] | None = None,
    timeout_s: float = 60.0,
) -> tuple[list[Verdict], Outcome]:  # fmt: skip
    """In a shell of its own, unless ``argv`` says in what."""
    loop = Loop()
    words = argv or shells.argv("/bin/bash", plain=True)
    target = Slow(loop, words, environment(), factor, group)
    watcher = Judge(script)
    try:
        outcome = Engine(script, target, watcher, timeout_s=timeout_s).play()
    finally:
        loop.close()
    return watcher.verdicts, outcome


def wrong(conversation: Conversation, factor: int, group: Path | None) -> list[str]:
    """What is not as expected; empty: every input got where it belongs."""
    verdicts, outcome = play(conversation.script, factor, group, timeout_s=30.0)
    words = [
        f"{conversation.name} x{factor}: {verdict.step.shown}: {list(verdict.diff)}"
        for verdict in verdicts
        if not verdict.ok
    ]
    if len(verdicts) < len(conversation.script.steps):
        words.append(f"{conversation.name} x{factor}: {' / '.join(outcome.trouble)}")
    return words


# --------------------------------------------------------------------------------------- mutants


def mutated(script: Script, luck: random.Random) -> tuple[str, Script]:
    """What was changed, and the script that expects it: as if the program had changed."""
    kinds = ["digit", "missing", "extra", "order", "status"]
    luck.shuffle(kinds)
    for kind in kinds:
        steps = list(script.steps)
        numbers = list(range(len(steps)))
        luck.shuffle(numbers)
        for number in numbers:
            changed = _changed(steps[number], kind, luck)
            if changed is not None:
                steps[number] = changed
                what = f"{kind} at step {number + 1}"
                return what, script._replace(steps=tuple(steps))
    raise AssertionError("nothing in it can be changed")


def _changed(step: Step, kind: str, luck: random.Random) -> Step | None:
    if kind == "status":
        if step.status is None or not step.status.text.isdigit():
            return None
        other = (int(step.status.text) + luck.randrange(1, 200)) % 256
        return step._replace(status=step.status._replace(text=str(other)))
    lines = list(step.expected or ())
    if not lines or (kind == "order" and len({line.text for line in lines}) < 2):
        return None
    at = luck.randrange(len(lines))
    if kind == "missing":
        del lines[at]
    elif kind == "extra":
        lines.insert(at, lines[at]._replace(text=f"{lines[at].text} more"))
    elif kind == "order":
        lines.reverse()
        if tuple(lines) == step.expected:
            return None
    else:
        places = [n for n, char in enumerate(lines[at].text) if char.isdigit()]
        if not places:
            return None
        place = luck.choice(places)
        text = lines[at].text
        digit = str((int(text[place]) + luck.randrange(1, 10)) % 10)
        lines[at] = lines[at]._replace(text=text[:place] + digit + text[place + 1 :])
    return step._replace(expected=tuple(lines))


if __name__ == "__main__":
    import tempfile
    import time

    factor, first, last = (int(word) for word in sys.argv[1:4])
    place = Path(tempfile.mkdtemp(prefix="talk-"))
    bad = placed = 0
    waited = took = 0.0
    with slow_group(factor) as group:
        for one in all_of_them(place)[first:last]:
            begun = time.monotonic()
            found = wrong(one, factor, group)
            bad += bool(found)
            print(f"{one.name:12} {time.monotonic() - begun:6.2f} s", *found, flush=True)
    shutil.rmtree(place)
    print("slow group:", group, "wrong:", bad)
