"""What a late terminal is given: the modes exactly, the past without its questions."""

import random

import pyte
import pytest

from gshell.model.vt import LiveFilter, ModeTracker, check_prelude, filter_history, safe_start
from kit.feed import feed_all_ways

ESC = b"\x1b"


def tracked(output: bytes, tail: bytes = b"") -> ModeTracker:
    """The tracker after ``output``, which must not depend on how it is cut."""

    def new():
        tracker = ModeTracker()

        def feed(data):
            tracker.feed(data)
            return [tracker]

        return feed

    def state(trackers):
        last = trackers[-1]
        offsets = [
            last.alternate_at,
            last.cleared_at,
            [last.redraw_from(n) for n in range(0, 90, 3)],
        ]
        return last.prelude(), last.reset(), last.title, offsets

    trackers: list[ModeTracker] = feed_all_ways(new, output, state, tail)
    return trackers[-1]


# ---------------------------------------------------------------------------------------- the modes


@pytest.mark.parametrize(
    ("output", "prelude", "reset"),
    [
        (b"plain text\r\n", b"", b""),
        (b"\x1b[31mred\x1b[0m\x1b[12;40H\x1b[K\x1b[2A", b"", b""),
        (b"\x1b[?25l", b"\x1b[?25l", b"\x1b[?25h\x1b[m"),
        (b"\x1b[?25l\x1b[?25h", b"", b""),
        (b"\x1b[?1h\x1b=", b"\x1b[?1h\x1b=", b"\x1b[?1l\x1b>\x1b[m"),
        (b"\x1b[?1;2004h", b"\x1b[?1h\x1b[?2004h", b"\x1b[?1l\x1b[?2004l\x1b[m"),
        (b"\x1b[?66h", b"\x1b=", b"\x1b>\x1b[m"),
        (b"\x1b[?1002h\x1b[?1006h", b"\x1b[?1002h\x1b[?1006h", b"\x1b[?1002l\x1b[?1006l\x1b[m"),
        (b"\x1b[?1000h\x1b[?1003h\x1b[?1003l", b"\x1b[?1000h", b"\x1b[?1000l\x1b[m"),
        (b"\x1b[?7l\x1b[?6h", b"\x1b[?7l\x1b[?6h", b"\x1b[?7h\x1b[?6l\x1b[m"),
        (b"\x1b[?1049h", b"\x1b[?1049h", b"\x1b[?1049l\x1b[m"),
        (b"\x1b[?47hx\x1b[?47l", b"", b""),
        (b"\x1b[?1049;2004h", b"\x1b[?1049h\x1b[?2004h", b"\x1b[?1049l\x1b[?2004l\x1b[m"),
        (b"\x1b[4h", b"\x1b[4h", b"\x1b[4l\x1b[m"),
        (b"\x1b[3;20r", b"\x1b[3;20r", b"\x1b[r\x1b[m"),
        (b"\x1b[3;20r\x1b[r", b"", b""),
        (b"\x1b(0lqk", b"\x1b(0", b"\x1b(B\x1b[m"),
        (b"\x1b(0lqk\x1b(B", b"", b""),
        (b"\x1b)0\x0elqk", b"\x1b)0\x0e", b"\x1b)B\x0f\x1b[m"),
        (b"\x0elqk", b"\x0e", b"\x0f\x1b[m"),
        (b"\x0elqk\x0f", b"", b""),
        (b"\x1b[>1u", b"\x1b[>1u", b"\x1b[<1u\x1b[m"),
        (b"\x1b[>1u\x1b[>5u\x1b[<u", b"\x1b[>1u", b"\x1b[<1u\x1b[m"),
        (b"\x1b[>1u\x1b[>1u\x1b[<2u", b"", b""),
        (b"\x1b[=5u\x1b[=2;2u", b"\x1b[=7;1u", b"\x1b[=0;1u\x1b[m"),
        (
            b"\x1b[>1u\x1b[?1049h\x1b[>3u",
            b"\x1b[>1u\x1b[?1049h\x1b[>3u",
            b"\x1b[<1u\x1b[?1049l\x1b[<1u\x1b[m",
        ),
        (b"\x1b[>4;2m", b"\x1b[>4;2m", b"\x1b[>4m\x1b[m"),
        (b"\x1b[>4;2m\x1b[>4m", b"", b""),
        (b"\x1b[6 q", b"\x1b[6 q", b"\x1b[0 q\x1b[m"),
        (b"\x1b[?2026h", b"", b"\x1b[?2026l\x1b[m"),  # entering it would freeze the screen
        (b"\x1b[?25l\x1b[?1000h\x1b[?1049h\x1b[4h\x1b[>1u\x1b=\x1bc", b"", b""),
        (b"\x1b[?25l\x1b[?1000h\x1b[2;5r\x1b[!p", b"\x1b[?1000h", b"\x1b[?1000l\x1b[m"),
        (b"\x1bc\x1b[?25l", b"\x1b[?25l", b"\x1b[?25h\x1b[m"),
        (b"\x0e\x1bc", b"", b""),
        (b"\x1bc\x0e", b"\x0e", b"\x0f\x1b[m"),
        (b"\x1b]0;a title\x07", b"\x1b]2;a title\x07", b""),
        (b"\x1b]2;one\x07\x1b]2;t\xc3\xbco\x1b\\", "\x1b]2;tüo\x07".encode(), b""),
        (b"\x1b]2;kept\x07\x1b]2;broken\x18", b"\x1b]2;kept\x07", b""),
        (b"\x1b]2;kept\x07\x1b]2;" + b"long" * 300 + b"\x07", b"\x1b]2;kept\x07", b""),
        (b"\x1b]2;a\rb\x01c\x07", b"\x1b]2;abc\x07", b""),
        (b"\x1b]8;;http://x\x07\x1b]133;A\x07\x1bM\x1b7\x1b8\x1b[5n\x1b[?1049$p", b"", b""),
    ],
)
def test_modes_are_followed_however_the_output_is_cut(output, prelude, reset):
    tracker = tracked(b"some text " + output + b" more")
    assert (tracker.prelude(), tracker.reset()) == (prelude, reset)


@pytest.mark.parametrize("tail", [b"\x1b[?104", b"\x1b[>4;", b"\x1b(", b"\x1b]2;half"])
def test_a_sequence_changes_nothing_before_it_is_whole(tail):
    tracked(b"\x1b[?25l\x1b]2;title\x07", tail)


def test_a_prelude_is_enough_to_track_the_same_state():
    tracker = tracked(
        b"\x1b]0;vi\x07\x1b[>1u\x1b[?1049h\x1b[>3u\x1b[2;9r\x1b(0"
        b"\x1b[?1;1002;2004h\x1b=\x1b[4h\x1b[2 q"
    )
    again = tracked(tracker.prelude())
    assert (again.prelude(), again.reset()) == (tracker.prelude(), tracker.reset())
    again.feed(tracker.reset())
    assert again.prelude() == b"\x1b]2;vi\x07"
    assert again.reset() == b""


def test_random_modes_do_not_depend_on_the_cuts():
    words = [
        b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25l", b"\x1b[?25h", b"\x1b[?1;7h", b"\x1b[?7l",
        b"\x1b[>1u", b"\x1b[<u", b"\x1b[=3u", b"\x1b[2J", b"\x1b[H", b"\x1b[J", b"\x1b[0J", b"text",
        b"\x1b[3;9r", b"\x1bc", b"\x1b[!p", b"\x0e", b"\x0f", b"\x1b(0", b"\x1b(B", b"\x1b]2;a\x07",
        b"\x1b]0;b\x1b\\", b"\x1b]2;cut", b"\x1b[1;1H", b"\x1b[31m", b"\r\n", b"\x1b", b"\x1b[?",
    ]  # fmt: skip
    for seed in range(150):
        rng = random.Random(seed)
        try:
            tracked(b"".join(rng.choice(words) for _ in range(12)))
        except AssertionError:
            pytest.fail(f"seed {seed}")


def test_a_scroll_region_is_the_terminals_of_that_size():
    tracker = ModeTracker()
    tracker.resized(24)
    tracker.feed(b"\x1b[1;24r")
    assert tracker.prelude() == b""  # all rows scroll: in a larger terminal too
    tracker.feed(b"\x1b[2;24r")
    assert tracker.prelude() == b"\x1b[2;24r"
    tracker.resized(30)
    assert tracker.prelude() == b""


def test_what_a_tracker_remembers_is_bounded():
    tracker = ModeTracker()
    for _ in range(200):
        tracker.feed(b"\x1b[?" + b"1;" * 5000)
        tracker.feed(b"\x1b]2;" + b"x" * 5000)
        tracker.feed(b"\x1b[?1049h\x1b[?1049l\x1b[>1u" * 100)
    assert len(tracker.prelude()) < 2000
    assert len(tracker._tail) + len(tracker._title_part or b"") + len(tracker._left) < 2000


# ----------------------------------------------------------------------------- where to begin again


def at(output: bytes, mark: bytes) -> int:
    return output.index(mark)


def test_a_full_screen_program_is_shown_from_where_it_took_the_screen():
    output = b"$ vi\r\n\x1b[?1049hA\x1b[31mB"
    assert tracked(output).redraw_from(0) == at(output, b"\x1b[?1049h")
    assert tracked(output).redraw_from(12) == 12


@pytest.mark.parametrize(
    "clear", [b"\x1b[2J", b"\x1b[H\x1b[J", b"\x1b[1;1H\x1b[0J", b"\x1b[H\x1b[2J"]
)
def test_what_was_erased_is_not_shown_again(clear):
    for output in (b"\x1b[?1049hpage1" + clear + b"page2", b"$ clear" + clear + b"$ \x1b[Jx"):
        tracker = tracked(output)
        assert tracker.redraw_from(0) == tracker.cleared_at == at(output, clear)


def test_erasing_a_part_is_not_erasing():
    assert tracked(b"text\x1b[5;1H\x1b[J\x1b[1J\x1b[3J").redraw_from(0) == 0


def test_the_last_erasing_counts_and_only_that_of_this_visit():
    output = b"\x1b[H\x1b[Jone\x1b[2Jtwo\x1b[Jthree"
    assert tracked(output).cleared_at == at(output, b"\x1b[2J")
    assert tracked(b"\x1b[?1049h\x1b[2Jx\x1b[?1049l\x1b[?1049hy").cleared_at is None


def test_a_full_reset_erases_too():
    assert tracked(b"text\x1bcmore").redraw_from(0) == 4


def test_erasing_the_other_screen_leaves_the_main_one():
    output = b"$ ls\r\na b c\r\n\x1b[?1049h\x1b[2Jvi\x1b[?1049l$ "
    assert tracked(output).cleared_at is None
    assert tracked(output).redraw_from(0) == 0


def test_the_past_does_not_begin_inside_a_screen_that_was_left():
    output = b"$ vi\r\n\x1b[?1049hlots of text\x1b[?1049l$ ls\r\n\x1b[?1049hmore\x1b[?1049l$ "
    tracker = tracked(output)
    assert tracker.redraw_from(20) == at(output, b"$ ls")
    assert tracker.redraw_from(at(output, b"more")) == len(output) - 2
    assert tracker.redraw_from(3) == 3


# --------------------------------------------------------------------------------------- the filter

QUESTIONS = [
    b"\x05", b"\x1bZ", b"\x1b[c", b"\x1b[0c", b"\x1b[>c", b"\x1b[>0c", b"\x1b[=c", b"\x1b[5n",
    b"\x1b[6n", b"\x1b[?6n", b"\x1b[?996n", b"\x1b[?2026$p", b"\x1b[4$p", b"\x1b[>q", b"\x1b[>0q",
    b"\x1b[?u", b"\x1b[>1u", b"\x1b[<u", b"\x1b[14t", b"\x1b[14;2t", b"\x1b[18t", b"\x1b[19t",
    b"\x1b[21t", b"\x1b[x", b"\x1b[1x", b"\x1b[1$w", b"\x1b[?1;1;0S", b"\x1b[?4m", b"\x1b[1;1;1*y",
    b"\x1b]10;?\x07", b"\x1b]11;?\x1b\\", b"\x1b]4;1;?\x07", b"\x1b]4;1;?;2;?\x1b\\",
    b"\x1b]12;?\x07",
    b"\x1b]52;c;?\x07", b"\x1b]52;c;aGVsbG8=\x07", b"\x1b]52\x07", b"\x1b]52\r\n6n\x07", b"\x1b]21;foreground=?\x1b\\",
    b"\x1b]1337;ReportCellSize\x07", b"\x1bP$qm\x1b\\", b"\x1bP+q544e\x1b\\",
    b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\", b"\x1b_Ga=T,i=3,f=100;AAAA\x1b\\",
]  # fmt: skip
STATEMENTS = [
    b"\x1b[31m", b"\x1b[m", b"\x1b[2J", b"\x1b[?1049h", b"\x1b[1;24r", b"\x1b[?25l", b"\x1b[6 q",
    b"\x1b[u", b"\x1b[s", b"\x1b[22;0t", b"\x1b[8;24;80t", b"\x1b[>4;2m", b"\x1b[>4n", b"\x1b[!p",
    b"\x1b[1;1;9;9$x", b"\x1b[S", b"\x1b[[A", b"\x1b7", b"\x1bM", b"\x1b(0", b"\x1b(Z", b"\x1b#8",
    b"\x1b%G", b"\x1b\\", b"\x1b]0;what?;?\x07", b"\x1b]2;x\x1b\\", b"\x1b]8;;http://h/?a=?\x07",
    b"\x1b]133;A\x07", b"\x1b]4;1;rgb:ff/00/00\x07", b"\x1b]7;file:///x\x1b\\",
    b"\x1b]1337;File=a:QQ==\x07",
    b"\x1bPq#0;2;0;0;0~~\n-\x1b\\", b"\x1bP1;1|17/ab\x1b\\", b"\x1b_Ga=T,f=100;AAAA\x1b\\",
    b"\x1b_Ga=T,i=3,q=2,f=100;AAAA\x1b\\", b"\x1b^note\x1b\\", b"\x07", b"\x0e",
    b"\xc3\xbc\xff\x9b6n",
]  # fmt: skip


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_left_out_and_nothing_around_it(question):
    for before, after in (
        (b"a", b"b"),
        (b"\x1b[31m", b"\x1b[m"),
        (b"", b"\r\n"),
        (b"\xe2\x82\xac", b"6n"),
    ):
        assert filter_history(before + question + after) == before + after


@pytest.mark.parametrize("statement", STATEMENTS)
def test_everything_else_is_left_alone(statement):
    for before, after in ((b"a", b"b"), (b"\x1b[31m", b"\x1b[m"), (b"", b"")):
        assert filter_history(before + statement + after) == before + statement + after


@pytest.mark.parametrize("sequence", [*STATEMENTS, *QUESTIONS])
def test_a_sequence_that_the_end_cuts_is_passed_on(sequence):
    for size in range(1, len(sequence)):
        cut = sequence[:size]
        if cut[0] == 0x1B and not cut.startswith((b"\x1b[[", b"\x1b]1337", b"\x1b\\")):
            assert filter_history(b"x" + cut) == b"x" + cut


@pytest.mark.parametrize(
    ("trick", "left"),
    [
        (b"\x1b\x1b[6n[6n", b"[6n"),  # leaving it out must not make another
        (b"\x1b[\x1b[6n6n", b"6n"),
        (b"\x1b[\x056n.", b"."),
        (b"\x1b[\r\n6n.", b"\r\n."),  # a terminal obeys these two in the middle
        (b"\x1b\n[6n.", b"\n."),
        (b"\x1b[3\x051m.", b"\x1b[31m."),
        (b"\x1b]0;a\x1b[6nb\x07", b"b\x07"),
        (b"\x1b]0;\x1b]11;?\x07x\x07", b"x\x07"),
        (b"\x1bPtmux;\x1b\x1b[6n\x1b\\", b"\x1b\\"),
        (b"\x1b]11\n;?\x07.", b"."),
        (b"\x1b[6\x18n", b"\x18n"),
        (b"\x1b[6\xc3\xa9n", b"\xc3\xa9n"),
    ],
)
def test_broken_sequences_do_not_hide_or_make_questions(trick, left):
    assert filter_history(trick) == left
    assert filter_history(left) == left


def test_filtering_what_was_filtered_changes_nothing():
    rng = random.Random(7)
    words = [
        *QUESTIONS,
        *STATEMENTS,
        b"\x1b",
        b"[",
        b"\x1b[",
        b"6n",
        b"text ",
        b"\x1b]",
        b"\x18",
        b"\r\n",
    ]
    for _ in range(400):
        data = b"".join(rng.choice(words) for _ in range(20))
        once = filter_history(data)
        assert filter_history(once) == once, data


def test_random_bytes_hide_no_question():
    rng = random.Random(3)
    alphabet = b"\x1b\x1b\x1b[]P\\?>0;6nc\x07\x05\x18a\n\xe2"
    for _ in range(3000):
        data = bytes(rng.choices(alphabet, k=30)) + b" "
        once = filter_history(data)
        assert filter_history(once) == once, data
        assert b"\x05" not in once.rpartition(b"\x1b")[0], data


class Answers(list):
    def write(self, data):
        self.append(data)


def test_a_terminal_has_nothing_to_answer():
    screen = pyte.Screen(80, 24)
    answers = Answers()
    screen.write_process_input = answers.write  # type: ignore[method-assign]
    stream = pyte.ByteStream(screen)
    stream.feed(b"\x1b[6n")
    assert answers  # it would
    answers.clear()
    stream.feed(filter_history(b"".join([b"text ", *(question + b"." for question in QUESTIONS)])))
    assert answers == []
    assert screen.display[0].rstrip() == "text " + len(QUESTIONS) * "."


# -------------------------------------------------------------------------------------- safe starts


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"", b""),
        (b"plain", b"plain"),
        (b"rest of a line\nnext", b"next"),
        (b";5;12mtext\x1b[mmore", b"\x1b[mmore"),
        (b"\x1b[mtext", b"\x1b[mtext"),
        (b"\x82\xactext", b"text"),
        (b"\x9f\x98\x80", b""),
        (b"\xe2\x82\xac", b"\xe2\x82\xac"),
        (b"of a title\x1b\\text", b"text"),
        (b"sixels\n-more\n\x1b\\text\nline", b"line"),
        (b"x" * 5000 + b"\nlate", b"x" * 5000 + b"\nlate"),
    ],
)
def test_the_past_begins_where_something_begins(data, shown):
    assert data[safe_start(data) :] == shown


# ------------------------------------------------------------------------ who looks on, live

TAKING = [
    b"\x1b[8;24;80t", b"\x1b[3;0;0t", b"\x1b[2t", b"\x1b[5i", b"\x1b[?5i", b"\x1bP1;1|17/ab\x1b\\",
    b"\x1b]50;font\x07", b"\x1b]1337;StealFocus\x07", b"\x1b]1337;File=name=eA==:QQ==\x07",
    b"\x1b]52;c;" + b"A" * 9000 + b"\x07", b"\x1b]5522;type=write\x07", b"\x1bP+p01\x1b\\",
]  # fmt: skip


def watched(data, size, strict=True):
    live = LiveFilter(strict)
    shown = b"".join(live.feed(data[at : at + size]) for at in range(0, len(data), size))
    assert len(live.rest()) <= 4097
    return shown


@pytest.mark.parametrize("size", [1, 2, 3, 7, 5000, 1 << 20])
def test_who_looks_on_is_not_asked_and_nothing_is_taken(size):
    for bad in [*QUESTIONS, *TAKING]:
        assert watched(b"a\x1b[1m" + bad + b"b", size) == b"a\x1b[1mb", bad


@pytest.mark.parametrize("size", [1, 2, 3, 7, 5000, 1 << 20])
def test_who_looks_on_sees_the_rest(size):
    picture = b"\x1bPq" + b"~-" * 5000 + b"\x1b\\"
    link = b"\x1b]8;;http://h/\x07text\x1b]8;;\x07"
    for good in (picture, link, b"\x1b[31m\xc3\xa9\xc2\xa9\xe2\x82\xac", b"\x1b]2;title\x1b\\"):
        assert watched(b"a" + good + b"b", size) == b"a" + good + b"b"


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_c1_in_utf_8_is_none_any_more(size):
    for bad in (b"\xc2\x9b6n", b"\xc2\x1b[\x9b6n", b"\xc2\xc2\x9b6n", b"\xc2\x9d52;c;x\xc2\x9c"):
        shown = watched(b"a" + bad + b"b", size)
        assert not any(bytes([0xC2, low]) in shown for low in range(0x80, 0xA0)), shown


@pytest.mark.parametrize(
    "setting",
    [b"x", b"\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[?1006h", b"\x1b[4h\x1b=\x1b(0\x0e", b"\x1b[2;9r\x1b[6 q",
     b"\x1b]2;a title\x07\x1b[>1u\x1b[>4;2m", b"\x1b]0;" + b"t" * 900 + b"\x07", b"\x1b[!10r"],
)  # fmt: skip
def test_what_a_tracker_says_is_a_prelude(setting):
    prelude = tracked(setting).prelude()
    assert check_prelude(prelude) == prelude


@pytest.mark.parametrize(
    "lie",
    [b"text", b"\x1b[6n", b"\x1b]52;c;eA==\x07", b"\x1b[2J", b"\x1b[?9999h", b"\x1b]2;a\x1b[6n\x07", b"\n",
     b"\x1b]2;\xc2\x9b6n\x07", b"\x1b[?25l" * 1000, b"\x1b]2;\xff\x07", b"\x1bc", b"\x1bP$qm\x1b\\"],
)  # fmt: skip
def test_nothing_else_is_one(lie):
    with pytest.raises(ValueError):  # a UnicodeDecodeError is one too
        check_prelude(lie)
