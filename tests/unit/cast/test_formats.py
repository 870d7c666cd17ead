import base64
import json
import struct
import xml.dom.minidom

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gshell.cast import edit, files, html, svg, ttyrec, typescript
from gshell.cast.format import Cast, CastError, Event, Header
from gshell.cast.load import load
from gshell.cast.octets import Decoder, octets


def cast(*events, **header):
    return Cast(Header(20, 4, **header), [Event(*event) for event in events])


def output(found):
    return [(event.at_s, raw) for event, raw in octets(found.events) if raw]


# ---------------------------------------------------------------------------------------- octets


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=6), st.text(max_size=4).map(lambda t: t.encode("utf-8", "replace"))
        )
    )
)
def test_any_bytes_come_back_however_they_were_cut(pieces):
    decoder, events = Decoder(), []
    for piece in pieces:
        events += decoder.events(0.0, piece)
    events += decoder.events(0.0, b"", final=True)
    assert b"".join(raw for _, raw in octets(events)) == b"".join(pieces)
    text = "".join(event.data for event in events if event.code == "o")
    assert text == b"".join(pieces).decode("utf-8", "replace")


def test_a_broken_raw_event_costs_only_itself():
    assert output(cast((1.0, "o", "a"), (1.0, "b", "%%%"), (2.0, "b", "eA=="))) == [(1.0, b"a")]


# ------------------------------------------------------------------------------------- typescript


def test_a_classic_typescript():
    data = b'Script started on 2026-01-02 03:04:05+00:00 [TERM="xterm" COLUMNS="100" LINES="30"]\nh\xc3\xa9y\xff\n\nScript done\n'
    found = load(data, timing=b"0.5 2\n1.25 4\n").cast
    assert found.header[:2] == (100, 30)
    assert (found.header.timestamp, found.header.term_type) == (1767323045, "xterm")
    assert output(found) == [(1.75, b"h\xc3\xa9y\xff\n")] or output(found) == [
        (0.5, b"h"), (1.75, b"\xc3\xa9y\xff\n"),
    ]  # fmt: skip


def test_an_advanced_typescript():
    timing = (
        b"H 0.000000 START_TIME 2026-01-02 03:04:05+00:00\nH 0.000000 COLUMNS 90\nH 0.000000 LINES 20\n"
        b"H 0.000000 COMMAND echo a\necho b\nO 1.000000 2\nI 0.500000 3\nS 0.250000 SIGWINCH ROWS=10 COLS=40\n"
        b"S 0.100000 SIGTERM\nO 0.150000 1\nH 0.000000 DURATION 2.500000\nH 0.000000 EXIT_CODE 3\n"
    )
    found = load(b"Script started on x\nhiabc!", timing=timing).cast
    assert [tuple(event) for event in found.events] == [
        (1.0, "o", "hi"), (1.5, "i", "abc"), (1.75, "r", "40x10"), (2.0, "o", "!"), (2.5, "x", "3"),
    ]  # fmt: skip
    assert found.header[:2] == (90, 20)


@pytest.mark.parametrize(
    ("timing", "line"),
    [(b"0.1 1\nx\n", 2), (b"O 0.1\n", 1), (b"O 0.1 -5\n", 1), (b"Q 0.1 1\n", 1), (b"O 1e5 1\n", 1)],
)
def test_a_broken_timing_is_said_with_its_line(timing, line):
    with pytest.raises(CastError, match=f"t.tm:{line}: "):
        load(b"Script started on x\nabc", "t", timing=timing, timing_name="t.tm")


def test_a_typescript_that_was_cut_has_what_is_there():
    found = load(b"Script started on x\nab", timing=b"1.0 1\n1.0 100\n5.0 3\n").cast
    assert output(found) == [(1.0, b"a"), (2.0, b"b")]


EVENTS = st.lists(
    st.tuples(
        st.floats(0, 100).map(lambda t: round(t, 6)),
        st.one_of(
            st.tuples(st.just("o"), st.text(min_size=1, max_size=5)),
            st.tuples(st.just("i"), st.text(min_size=1, max_size=5)),
            st.tuples(st.just("r"), st.just("30x10")),
        ),
    ),
    max_size=12,
).map(lambda found: [Event(at, *rest) for at, rest in sorted(found, key=lambda e: e[0])])


@given(EVENTS, st.booleans())
def test_a_typescript_comes_back(events, advanced):
    events = [e._replace(data=e.data.encode("utf-8", "replace").decode()) for e in events]
    first = Cast(Header(90, 20, timestamp=1767323045, command="a b"), events)
    data, timing = typescript.write(first, advanced)
    again = load(data, timing=timing, kind="typescript").cast
    kept = events if advanced else [event for event in events if event.code == "o"]
    assert again.events == kept
    assert again.header[:2] == (90, 20)
    assert (again.header.timestamp, again.header.command if advanced else "a b") == (
        1767323045,
        "a b",
    )


@given(EVENTS)
def test_a_ttyrec_comes_back(events):
    events = [
        e._replace(data=e.data.encode("utf-8", "replace").decode()) for e in events if e.code != "i"
    ]
    data = ttyrec.write(Cast(Header(90, 20, timestamp=1767323045), events))
    again = load(data, kind="ttyrec").cast
    assert [e for e in again.events if e.code == "o"] == [e for e in events if e.code == "o"]
    assert again.header[:2] == (90, 20)
    assert again.header.timestamp == 1767323045
    assert ttyrec.looks_like_one(data)


def test_a_ttyrec_that_is_none_is_said_with_its_frame():
    good = struct.pack("<III", 1767323045, 5, 2) + b"ab"
    with pytest.raises(CastError, match="x:2: the head"):
        ttyrec.read(good + struct.pack("<III", 1, 2_000_000, 3) + b"abc", "x")
    assert output(ttyrec.read(good + struct.pack("<III", 1767323046, 5, 9) + b"cd")) == [
        (0.0, b"ab"), (1.0, b"cd"),
    ]  # fmt: skip


@given(
    st.binary(max_size=60),
    st.binary(max_size=60),
    st.sampled_from(["asciicast", "typescript", "ttyrec", "raw", ""]),
)
def test_any_bytes_are_a_recording_or_an_error_with_a_reason(data, timing, kind):
    for strict in (False, True):
        refused = None
        try:
            load(data, "f", kind, timing, strict)
        except CastError as error:
            refused = error
        assert refused is None or refused.why


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=5),
              st.sampled_from(["o", "r", "x", "80x24", 2, 80, 24])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["version", "width", "height", "term", "cols", "env", "theme", "stdout",
                                         "tags", "timestamp", "fg", "palette", "title"]), inner, max_size=6)),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=40)
@given(_JSON, st.lists(_JSON, max_size=4), st.sampled_from([1, 2, 3, None]))
def test_any_json_is_a_recording_or_an_error_with_a_reason(header, events, version):
    if isinstance(header, dict) and version:
        header = {**header, "version": version, **({"stdout": events} if version == 1 else {})}
    text = "\n".join(map(json.dumps, [header, *events])) + "\n"
    for strict in (False, True):
        refused = None
        try:
            found = load(text.encode("utf-8", "replace"), "f", "asciicast", strict=strict).cast
        except CastError as error:
            refused = error
        else:
            for form in ("svg", "html", "v3", "ttyrec", "typescript", "txt"):
                files.rendered(found, form)
        assert refused is None or refused.why


# ------------------------------------------------------------------------------------------- edit


def test_a_cut_begins_with_the_screen_as_it_was():
    long = cast(
        (0.0, "o", "one\r\n"),
        (1.0, "r", "30x6"),
        (1.5, "o", "\x1b[31mtwo"),
        (2.0, "o", "!"),
        (3.0, "x", "0"),
    )
    short = edit.cut(long, 2.0, 2.5)
    assert short.header[:2] == (30, 6)
    assert [event.at_s for event in short.events] == [0.0, 0.0]
    assert edit.screen_at(short, 9)[0].shown() == edit.screen_at(long, 2.5)[0].shown()
    assert edit.cut(long).events == long.events


def test_a_cut_does_not_part_an_event_from_its_bytes():
    raw = base64.b64encode(b"\xff").decode()
    long = cast((1.0, "o", "\ufffd"), (1.0, "b", raw), (2.0, "o", "\ufffd"), (2.0, "b", raw))
    assert output(edit.cut(long, 2.0)) == [(0.0, b"\x1b[H\xef\xbf\xbd\x1b[1;2H"), (0.0, b"\xff")]
    assert output(edit.cut(long, 0, 1)) == [(1.0, b"\xff")]


def test_a_cut_just_after_an_event_leaves_its_bytes_out_too():
    raw = base64.b64encode(b"\xff").decode()
    long = cast((1.0, "o", "\ufffd"), (1.5, "b", raw), (2.0, "m", "here"))
    assert [event.code for event in edit.cut(long, 1.2).events] == ["o", "m"]


def test_joined_recordings_go_on():
    one = cast((1.0, "o", "\x1b[?1049hvi"), (2.0, "x", "1"))
    two = Cast(Header(30, 5), [Event(0.5, "o", "b"), Event(1.0, "x", "2")])
    found = edit.joined([one, two])
    assert [tuple(event) for event in found.events] == [
        (1.0, "o", "\x1b[?1049hvi"), (2.0, "o", "\x1b[?1049l\x1b[m"), (2.0, "r", "30x5"), (2.5, "o", "b"), (3.0, "x", "2"),
    ]  # fmt: skip


def test_pauses_are_shortened_and_all_is_faster():
    long = cast((1.0, "o", "a"), (11.0, "o", "b"), (12.0, "o", "c"))
    assert [e.at_s for e in edit.paced(long, 2.0, 2.0).events] == [0.5, 1.5, 2.0]


def test_what_a_person_saw():
    found = cast(
        (0.0, "o", "$ make\r\n10%\r100%\r\n" + "x" * 25 + "\r\n\x1b[?1049hvi\x1b[?1049l\x1b[1mbold\x1b[m\r\n"),
        (1.0, "o", "1\r\n2\r\n3\r\n\x1b[H\x1b[2Jafter\x1b[?1049hend"),
    )  # fmt: skip
    assert list(edit.seen(found)) == ["$ make", "100%", "x" * 25, "bold", "1", "2", "3", "after"]


# ------------------------------------------------------------------------------------- svg and html

NASTY = "</script><script>alert(1)</script> &amp; \"' ]]> \u2028 \ufffe"


def test_a_still_and_a_film_are_xml_whatever_is_in_them():
    found = cast(
        (0.0, "o", f"\x1b[1;31m{NASTY}"), (0.5, "o", "\x1b[7m\x1b[48;2;1;2;3m世\x00\x01"), (1.0, "r", "30x6"),
        (1.5, "o", "\x1b[?25l\x1b[4;9mx"), title=NASTY,
    )  # fmt: skip
    for text in (svg.write(found), svg.write(found, 0.7)):
        tree = xml.dom.minidom.parseString(text)
        assert not tree.getElementsByTagName("script")
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "<animate" in svg.write(found)
    assert "<animate" not in svg.write(found, 0.7)
    assert "世" in svg.write(found, 0.7)
    assert "世" not in svg.write(found, 0.2)


def test_the_page_lets_nothing_run_but_its_player():
    page = html.write(cast((0.0, "o", NASTY), (1.0, "m", NASTY), title=NASTY))
    assert page.count("<script") == page.count("</script>") == 2
    assert "default-src 'none'" in page
    assert "http:" not in page
    assert "https:" not in page


def test_an_empty_recording_has_every_form():
    empty = cast()
    xml.dom.minidom.parseString(svg.write(empty))
    assert html.write(empty)
    assert list(edit.seen(empty)) == []
    assert load(ttyrec.write(empty), kind="ttyrec").cast.events == []
