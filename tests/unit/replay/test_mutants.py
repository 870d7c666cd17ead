"""What the judge is for: right runs pass, wrong ones don't."""

import pathlib

import pytest

from gshell.replay import gst, gstwrite, learn, likely, masks
from gshell.replay.script import Seen
from kit import mutants

DATA = pathlib.Path(__file__).parents[2] / "data" / "replay"
LU = tuple((DATA / "lu.S.1.txt").read_text().splitlines())
GDB = (
    "#0  0x00007f1c2a5e3d47 in main () at main.c:12",
    "#1  0x00007f1c2a229d90 in start () from /lib/libc.so",
)
SESSION = (
    Seen(LU, status=0, elapsed_s=1.0),
    Seen((" residual 0.16196343210976 of 50 steps", " took 0.31 seconds"), elapsed_s=0.1),
    Seen(("Attaching to process 4711", "[New LWP 4713]"), elapsed_s=0.1),
    Seen(GDB, elapsed_s=0.1),
    Seen((), status=0, elapsed_s=0.1),
)


def recorded():
    """The session as it was recorded, no mask in it."""
    inputs = [
        "$ mpirun -n 1 bin/lu.S.1",
        ">>>> solve(50)",
        "$ gdb -p 4711",
        "(gdb)> bt",
        "(gdb)> ^D",
    ]
    lines = []
    for typed, seen in zip(inputs, SESSION):
        lines += [typed, *(gstwrite.expected_line(masks_line(line)) for line in seen.out)]
        lines += [] if seen.out else ["(nothing)"]
        lines += [f"[{seen.status}]"] if seen.status is not None else []
    return "\n".join(lines) + "\n"


def masks_line(line):
    from gshell.replay.script import Line

    return Line(masks.escaped(line), 0)


@pytest.fixture(scope="module")
def learnt():
    text = recorded()
    runs = [mutants.clean(SESSION, seed) for seed in range(1000, 1003)]
    return gst.read(learn.learn(gst.read(text, "session.gst"), runs, text), "session.gst")


def test_the_recording_itself_is_accepted():
    assert mutants.accepted(gst.read(recorded(), "session.gst"), SESSION)


def test_no_clean_run_of_a_hundred_raises_an_alarm(learnt):
    refused = [
        seed for seed in range(100) if not mutants.accepted(learnt, mutants.clean(SESSION, seed))
    ]
    assert refused == []


def test_ninety_nine_mutants_of_a_hundred_are_caught(learnt):
    passed = []
    for seed in range(20):
        clean = mutants.clean(SESSION, seed)
        passed += [m for m in mutants.mutants(clean, seed, 50) if mutants.accepted(learnt, m.seens)]
    assert len(passed) <= 10, [(mutant.what, mutant.step) for mutant in passed]


def test_a_recording_that_nobody_looked_at_is_judged_nearly_as_well():
    loose, _ = likely.loosened(gst.read(recorded(), "session.gst"))
    runs = [mutants.clean(SESSION, seed) for seed in range(100)]
    refused = [seed for seed in range(100) if not mutants.accepted(loose, runs[seed])]
    assert refused == []
    passed = [
        mutant
        for seed in range(20)
        for mutant in mutants.mutants(runs[seed], seed, 50)
        if mutants.accepted(loose, mutant.seens) and not rounding(runs[seed], mutant)
    ]
    assert len(passed) <= 10, [(mutant.what, mutant.step) for mutant in passed]


def rounding(clean, mutant):
    """Is what was changed only what rounding left over: 0.8E-13 beside 0.16E-01?"""
    lines = zip(clean[mutant.step].out, mutant.seens[mutant.step].out)
    before, after = next((a, b) for a, b in lines if a != b)
    return mutant.what == "digit" and before.split()[:-1] == after.split()[:-1] and "E-1" in after


def test_a_mutant_is_wrong_in_its_own_step_only(learnt):
    for mutant in mutants.mutants(mutants.clean(SESSION, 1), 1, 80):
        bad = [n for n, one in enumerate(mutants.judged(learnt, mutant.seens)) if not one.ok]
        assert bad in ([mutant.step], []), mutant.what


def test_only_what_is_measured_of_lu_was_masked(learnt):
    before, after = gst.read(recorded(), "").steps[0].expected, learnt.steps[0].expected
    changed = [
        line.text.split("=")[0].strip()
        for line in after
        if line.text not in {b.text for b in before}
    ]
    assert changed == ["Time in seconds", "Elapsed seconds", "Mop/s total", "Mop/s/process"]
