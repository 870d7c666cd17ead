"""Scripts, masks and the judge, on anything."""

import re

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from gshell.cast.format import Cast, Event, Header
from gshell.replay import (
    fromcast,
    gst,
    gstinput,
    gstwrite,
    judge,
    keys,
    learn,
    masks,
    matching,
    screen,
    tape,
)
from gshell.replay.script import Key, Line, Script, ScriptError, Secret, Seen, Step, Text, Wait

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

# Lines as programs print them, and as our own language would like to understand them.
SPICE = st.sampled_from([
    "$ ", "# ", "#0 ", "...", "... (any*)", "(any)", "(any*)", "(num)", "(num 1.5 rel=1e-8)", "(int as n)",
    "\\", "\\\\", "[0]", "[*]", "@param N=1", "@foo", "(gdb)> ", ">>> ", "> ", '"x"> ', "(rank 3) ",
    "(stderr) ", "(unordered)", "(nothing)", " (re)", " (glob)", " (esc)", "${N}", "$$", "${", "  # x",
    "expect /x/", "wait 3s", "(re /x/)", "(secret 1)", "^C", "<Esc>", "<b> ", "1.25", "12", " ", "é日",
    "(num abs", "(time)", "wait", "expect", "\t", '"', "'",
])  # fmt: skip
LINE = st.lists(st.one_of(SPICE, st.text("ab 1.#$>\\(", max_size=4)), max_size=5).map("".join)
SEEN_LINE = LINE.map(str.rstrip)
NAMES = [
    "<Esc>",
    "<Up>",
    "<F10>",
    "<Enter>",
    "<Tab>",
    "<Space>",
    "<C-x>",
    "<M-x>",
    "<S-Tab>",
    "<C-M-b>",
    "<C-Left>",
]
KEYS = st.one_of(
    st.sampled_from([keys.named(name[1:-1]) for name in NAMES]),
    st.sampled_from("CDZ[?@").map(lambda char: Key(keys.caret(char), f"^{char}")),
    st.binary(min_size=1, max_size=4).map(keys.in_hex),
    st.text("a\n\"é", max_size=4).map(
        lambda text: Key(keys.PASTE[0] + text.encode() + keys.PASTE[1], f"<Paste {gstinput.quoted(text)}>")
    ),
)  # fmt: skip
TEXTS = st.one_of(LINE, st.text(max_size=8)).map(masks.dollars_escaped)


@st.composite
def parts(draw, kind):
    if kind == "keys":
        found = draw(
            st.lists(
                st.one_of(KEYS, TEXTS.filter(bool).map(Text), st.builds(Secret, st.integers(1, 9))),
                min_size=1,
                max_size=4,
            )
        )
    else:
        found = draw(st.one_of(
            TEXTS.filter(bool).map(lambda text: [Text(text)]), st.just([]),
            st.builds(Secret, st.integers(1, 9)).map(lambda one: [one]),
        ))  # fmt: skip
    merged = []
    for part in found:
        if merged and isinstance(part, Text) and isinstance(merged[-1], Text):
            merged[-1] = Text(merged[-1].text + part.text)
        else:
            merged.append(part)
    if kind == "keys" and not any(isinstance(part, (Key, Text)) for part in merged):
        merged.append(keys.named("Esc"))
    return tuple(merged)


SECONDS = st.none() | st.integers(1, 10**7).map(lambda micro: micro / 1000)
REGEXES = st.sampled_from(["", "ready", "a/b", r"  \# x", "[a-z]+$", r"\\"])


def expected_of(line):
    return masks.escaped(line)


@st.composite
def steps(draw):
    kind = draw(st.sampled_from(["shell", "line", "keys", "wait"]))
    regex = draw(REGEXES)
    shell = kind == "keys" and draw(st.booleans())
    wait = Wait(
        regex,
        ""
        if kind in ("shell", "wait") or shell
        else draw(TEXTS.map(lambda text: masks.escaped(text).strip())),
        draw(st.booleans()) if regex else False,
        draw(SECONDS) if regex or kind == "wait" else None,
        shell,
        draw(SECONDS),
    )
    lines = draw(
        st.none()
        | st.lists(
            st.tuples(
                SEEN_LINE, st.sampled_from(["out", "err", "any"]), st.none() | st.integers(0, 99)
            ),
            max_size=4,
        )
    )
    while lines and not lines[-1][0]:
        lines.pop()
    expected = (
        lines
        if lines is None
        else tuple(Line(expected_of(text), 0, stream, rank) for text, stream, rank in lines)
    )
    status = draw(
        st.none() | st.sampled_from(["0", "1", "*", "!0"]).map(lambda text: Line(text, 0))
    )
    return Step(
        0,
        0,
        "",
        kind,
        () if kind == "wait" else draw(parts(kind)),
        wait,
        expected,
        status,
        draw(SECONDS),
        draw(st.booleans()),
    )


WORD = st.text("AB_x", min_size=1, max_size=3)
SCRIPTS = st.builds(
    Script,
    st.just("x.gst"),
    st.lists(steps(), max_size=4).map(tuple),
    params=st.dictionaries(WORD, LINE, max_size=2).map(lambda found: tuple(found.items())),
    timeout_s=st.sampled_from([60.0, 1.5]),
    size=st.none() | st.tuples(st.integers(1, 300), st.integers(1, 99)),
    shell=st.sampled_from(["", "fish", "/usr/local/bin/bash"]),
    command=st.sampled_from(["", "python3 -q", "sh -c 'echo \"a  b\"'"]),
    env=st.dictionaries(WORD, LINE, max_size=2).map(lambda found: tuple(found.items())),
    status=st.none() | st.integers(0, 255),
    warnings=st.just(()),
)


def bare(script):
    """Without what depends on where it stands in its file."""
    done = []
    for step in script.steps:
        lines = step.expected and tuple(line._replace(number=0) for line in step.expected)
        status = step.status and step.status._replace(number=0)
        done.append(step._replace(number=0, line=0, shown="", expected=lines, status=status))
    return script._replace(steps=tuple(done), warnings=())


@QUICK
@given(SCRIPTS)
def test_a_script_that_is_written_reads_back_equal(script):
    text = gstwrite.write(script)
    back = gst.read(text, "x.gst")
    assert bare(back) == bare(script)
    assert gstwrite.write(back) == text


@QUICK
@given(st.lists(LINE, max_size=6).map("\n".join) | st.text(max_size=60))
def test_any_text_is_a_script_or_an_error_with_line_and_column(text):
    for read, name in ((gst.read, "x.gst"), (tape.read, "x.tape")):
        why = ""
        try:
            gst.read(gstwrite.write(read(text, name)), "x.gst")
        except ScriptError as error:
            why = str(error)
        assert not why or re.match(rf"{name}:\d+:\d+: ", why)


@QUICK
@given(SEEN_LINE)
def test_an_escaped_line_is_expected_literally(line):
    pattern = masks.parse(masks.escaped(line))
    assert pattern.kind == "line"
    assert matching.match(pattern, line, {}) == matching.Match()


@QUICK
@given(LINE, LINE)
def test_a_line_with_any_masks_never_raises_but_badmask(text, seen):
    try:
        pattern = masks.parse(text)
    except masks.BadMask:
        return
    if pattern.kind != "span":
        matching.match(pattern, seen, {"N": "4"})
    matching.stands(text, seen, {})


@example(wanted=[" \\$.\t (esc)", "b"], seen=[" \\$.\t (esc)", "b"])
@QUICK
@given(st.lists(SEEN_LINE, max_size=8), st.lists(SEEN_LINE, max_size=8))
def test_lines_are_as_expected_only_if_they_are_equal(wanted, seen):
    step = Step(
        1,
        1,
        "$ x",
        "shell",
        (),
        expected=tuple(Line(masks.escaped(line), n) for n, line in enumerate(wanted)),
    )
    verdict = judge.judge(step, Seen(tuple(seen)), {})
    assert verdict.ok == (judge.trimmed(wanted) == judge.trimmed(seen))
    assert bool(judge.unified(verdict)) != verdict.ok


SMALL = st.lists(st.sampled_from(["a", "b", "c", "1", "2"]), max_size=7)


@QUICK
@given(st.lists(st.sampled_from(["a", "b", "(any*)", "(int)", "(any)"]), max_size=6), SMALL)
def test_spans_accept_what_a_regex_over_lines_accepts(wanted, seen):
    means = {"(any*)": "(?:[^;]*;)*", "(int)": r"\d;", "(any)": "[^;]*;"}
    regex = "".join(means.get(word, f"{word};") for word in wanted)
    step = Step(
        1, 1, "$ x", "shell", (), expected=tuple(Line(word, n) for n, word in enumerate(wanted))
    )
    fits = re.fullmatch(regex, "".join(f"{line};" for line in seen)) is not None
    assert judge.judge(step, Seen(tuple(seen)), {}).ok == fits
    far = judge._ahead(
        judge._Fits([judge.Want(line, masks.parse(line.text)) for line in step.expected], seen, {}),
        0,
        len(wanted),
        0,
        len(seen),
    )
    assert [pair.seen for pair in far if pair.seen is not None] == seen


@QUICK
@given(SMALL, st.permutations(range(7)))
def test_an_unordered_step_accepts_every_order_and_no_other_lines(lines, order):
    wanted = tuple(Line("(int)" if line == "1" else line, n) for n, line in enumerate(lines))
    step = Step(1, 1, "$ x", "shell", (), expected=wanted, unordered=True)
    shuffled = [lines[n] for n in order if n < len(lines)]
    assert judge.judge(step, Seen(tuple(shuffled)), {}).ok
    assert not judge.judge(step, Seen((*shuffled, "z")), {}).ok


RUN_LINE = st.one_of(
    st.builds("Time = {:.2f}".format, st.floats(0, 100)), st.builds("pid {}".format, st.integers(1, 99999)),
    st.builds("at 0x{:012x}".format, st.integers(0, 2**40)), st.sampled_from(["alpha", "beta", "", "  gamma (any)"]),
    st.builds("from /tmp/x{}/y".format, st.integers(0, 9)), st.builds("norm {:.12e}".format, st.floats(1, 1.0000001)),
    st.builds("11:2{}:33 up".format, st.integers(0, 9)), LINE,
)  # fmt: skip


@QUICK
@given(st.lists(st.lists(RUN_LINE, max_size=6), min_size=2, max_size=4), st.booleans())
def test_a_learnt_script_accepts_all_runs_and_learning_again_changes_nothing(runs, judged):
    text = "# mine\n$ x\n" + ("(nothing)\n" if judged else "")
    script = gst.read(text, "x.gst")
    seens = [[Seen(tuple(run), status=0)] for run in runs]
    learnt = learn.learn(script, seens, text)
    back = gst.read(learnt, "x.gst")
    assert all(judge.judge(back.steps[0], seen[0], {}).ok for seen in seens)
    assert learn.learn(back, seens, learnt) == learnt
    assert learnt.startswith("# mine\n$ x\n")


@QUICK
@given(
    st.lists(
        st.sampled_from(
            [
                b"\x1b[",
                b"\x1b",
                b";",
                b"?1049",
                b"h",
                b"l",
                b"5",
                b"A",
                b"H",
                b"L",
                b"M",
                b"P",
                b"\n",
                b"\r",
                b"\t",
                b"abc",
                b"\xc3",
                b"\xa9",
                b"J",
                b"K",
                b"\x1b]133;D;0\x07",
                b"\x1b]0;x",
                b"\xff",
                "日".encode(),
            ]
        ),
        max_size=40,
    ).map(b"".join)
    | st.binary(max_size=80),
    st.integers(1, 90),
)
def test_a_screen_takes_any_bytes_and_shows_no_controls(data, columns):
    view = screen.view(data, columns, 5)
    assert not any(re.search(r"[\x00-\x1f\x7f-\x9f]", line) for line in [*view.lines, view.last])


@QUICK
@given(
    st.lists(
        st.tuples(
            st.sampled_from("oisewpxrbm"),
            st.sampled_from(
                [
                    "$ ",
                    "ls",
                    "\r",
                    "\r\n",
                    "a\r\nb\r\n$ ",
                    "\x03",
                    "\x1b[A",
                    "\x7f",
                    "D;1",
                    "A",
                    "B",
                    "C",
                    "1",
                    "\x1b[?1049h",
                    "\x1b[?1049l",
                    "80x24",
                    "\ud800",
                ]
            ),
        ),
        max_size=20,
    )
)
def test_any_recording_is_a_script_that_can_be_written(events):
    cast = Cast(
        Header(80, 24), [Event(float(n), code, data) for n, (code, data) in enumerate(events)]
    )
    try:
        script = fromcast.script(cast, "x.cast")
    except ScriptError:
        assume(not any(code in "is" for code, _ in events))
        return
    assert bare(gst.read(gstwrite.write(script), "x.cast")) == bare(script)


@pytest.mark.parametrize("name", NAMES)
def test_a_key_is_known_by_its_bytes(name):
    key = keys.named(name[1:-1])
    assert keys.named(keys.of_bytes(key.data).name.strip("<>")) in (key, None) or key.data in (
        b"\x18",
    )
