"""Scripts, masks and screens for `fuzz.py`: transcripts, tapes, and what programs print."""

from __future__ import annotations

from property.fuzz import Target

from gshell.replay import gst, gstwrite, judge, masks, screen, tape
from gshell.replay.script import Line, Script, ScriptError, Seen, Step

SEEDS = [
    b'\0@param N=4 @timeout 60s\n$ run ${N}\n... (any*)\nt = (num 1.5 rel=1e-8 as t)\n[0]\n(gdb)> ^D <Up 3> "x"\n',
    b'\0expect /a+/ 5s\n"Name: "> (secret 1)\n(stderr) x (re)\n(rank 3) #0 ... (glob)\nwait 3s\n(unordered)\n',
    b'\1Set Shell "bash"\nType@5ms "ls" Sleep 1 Enter\nWait+Screen@5s /x/\nCtrl+Alt+x Down@.5 2 Env A "b"\n',
    b"\2a (any) (int)\n1 2 (num rel=1e-8)\nx a 5\n\x1b[2J\x1b[5;5Hx\rb\x1b[?1049h\x1b]133;D;1\x07\n",
]


def script(data: bytes) -> None:
    """A script or its error with a place, and what is written reads back; any output is lines, and
    judging them ends."""
    kind, text = data[:1], data[1:].decode("utf-8", "replace")
    if kind == b"\2":
        _judged(data[1:])
        return
    name = "x.tape" if kind == b"\1" else "x.gst"
    try:
        read: Script = (tape if kind == b"\1" else gst).read(text, name)
    except ScriptError as error:
        if not str(error).startswith(f"{name}:"):
            raise  # without its place it is of no use
        return
    written = gstwrite.write(read._replace(warnings=()))
    again = gst.read(written, name)._replace(warnings=())  # they name lines, which are others now
    assert gstwrite.write(again) == written


def _judged(data: bytes) -> None:
    half = len(data) // 2
    expected = []
    for line in data[:half].decode("utf-8", "replace").splitlines()[:50]:
        try:
            masks.parse(line)
        except masks.BadMask:
            line = masks.escaped(line)
            assert masks.parse(line).literal is not None
        expected.append(Line(line, 1))
    seen = screen.lines(data[half:], 20, 5)
    step = Step(1, 1, "$ x", "shell", (), expected=tuple(expected))
    judge.unified(judge.judge(step, Seen(tuple(seen)), {}))


TARGETS = [Target("script", script, SEEDS)]
