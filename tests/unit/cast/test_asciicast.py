import json
import time
import zlib

import pytest

from gshell.cast.asciicast import Reader
from gshell.cast.files import encoded
from gshell.cast.format import Cast, CastError, Event, Header
from gshell.cast.load import lines, load

V2 = '{"version":2,"width":80,"height":24}\n'
V3 = '{"version":3,"term":{"cols":80,"rows":24}}\n'


def read(text, strict=False):
    return load(text.encode() if isinstance(text, str) else text, "a.cast", strict=strict)


def events(text):
    return [tuple(event) for event in read(text).cast.events]


def test_v1_v2_and_v3_say_the_same():
    v1 = '{"version":1,"width":80,"height":24,"duration":3,"stdout":[[1.5,"a"],[1.25,"b"]]}'
    v2 = V2 + '[1.5,"o","a"]\n[2.75,"o","b"]\n'
    v3 = V3 + '# a comment\n[1.5,"o","a"]\n\n[1.25,"o","b"]\n'
    for text in (
        v1,
        v2,
        v3,
        json.dumps(json.loads(v1), indent=2),
        "\ufeff" + v2,
        v2.replace("\n", "\r\n"),
    ):
        assert events(text) == [(1.5, "o", "a"), (2.75, "o", "b")]
    assert [read(text, strict=True).kind for text in (v1, v2, v3)] == [
        "asciicast-v1", "asciicast-v2", "asciicast-v3",
    ]  # fmt: skip


# what is odd; what a player makes of it; why a server refuses it (None: it does not), in line 2
ODD = [
    ('[1,"o","a","more"]', [(1.0, "o", "a")], "not an event"),
    ('[1,"o"]', [], "not an event"),
    ('{"a":1}', [], "not an event"),
    ("junk", [], "not JSON"),
    ("# a comment in v2", [], "not JSON"),
    ("  ", [], None),
    ('[1,"o",null]', [], "data of an event"),
    ('[1,"m",null]', [(1.0, "m", "")], "data of an event"),
    ('[1,"x",137]', [(1.0, "x", "137")], "data of an event"),
    ('[1,7,"a"]', [], "code of an event"),
    ('[1,"","a"]', [], "code of an event"),
    ('["1.5","o","a"]', [(1.5, "o", "a")], "not a number"),
    ('["x","o","a"]', [], "not a number"),
    ('[true,"o","a"]', [], "not a number"),
    ('[null,"o","a"]', [], "not a number"),
    ('[-1,"o","a"]', [(0.0, "o", "a")], "negative"),
    ('[NaN,"o","a"]', [], "not JSON"),
    ('[Infinity,"o","a"]', [], "not JSON"),
    ('[1e999,"o","a"]', [], "not a number"),
    ("[1" + "0" * 5000 + ',"o","a"]', [], "not JSON"),
    ("[" * 100_000, [], "too deeply nested"),
    ('[1,"r","0x0"]', [], "COLUMNSxROWS"),
    ('[1,"r","80"]', [], "COLUMNSxROWS"),
    ('[1,"r","100x50"]', [(1.0, "r", "100x50")], None),
    ('[1,"x","KILL"]', [], "exit status"),
    ('[1,"x","137"]', [(1.0, "x", "137")], None),
    ('[1,"z","what"]', [(1.0, "z", "what")], None),
    ('[1,"output","a"]', [(1.0, "output", "a")], None),
    ('[1,"o","\\ud83d"]', [(1.0, "o", "\ufffd")], "half of a character"),
    ('[1,"o","\\ud83d\\ude00"]', [(1.0, "o", "😀")], None),
    ('[1,"o","raw\ttab"]', [(1.0, "o", "raw\ttab")], "not JSON"),
    ('[1,"o","\u2028"]', [(1.0, "o", "\u2028")], None),
    (' [1, "o" , "a"] ', [(1.0, "o", "a")], None),
    ('[1,"o","a"],', [], "not JSON"),
]


@pytest.mark.parametrize(("line", "found", "why"), ODD, ids=range(len(ODD)))
def test_odd_lines_are_read_as_a_player_does_and_refused_as_a_server_does(line, found, why):
    text = V2 + line + '\n[5,"o","end"]\n'
    assert events(text) == [*found, (5.0, "o", "end")]
    if why is None:
        assert read(text, strict=True).cast.events[:-1] == found
    else:
        with pytest.raises(CastError, match=f"^a.cast:2: .*{why}"):
            read(text, strict=True)
        assert "raw" in line or "a.cast:2: " in read(text).warnings[0]


def test_bytes_that_are_no_text_are_an_oddity():
    text = V2.encode() + b'[1,"o","a\xff"]\n'
    assert [tuple(event) for event in load(text).cast.events] == [(1.0, "o", "a\ufffd")]
    with pytest.raises(CastError, match=r"cast:2: not UTF-8"):
        load(text, strict=True)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ('{"version":2,"width":80}', "height is missing"),
        ('{"version":2,"width":0,"height":24}', "width is not a size"),
        ('{"version":2,"width":"80","height":24}', "width is not a size"),
        ('{"version":3,"width":80,"height":24}', "cols is missing"),
        ('{"version":2,"width":80,"height":24,"timestamp":1.5}', "timestamp is not a number of whole"),
        ('{"version":2,"width":80,"height":24,"timestamp":"now"}', "timestamp is not"),
        ('{"version":2,"width":80,"height":24,"idle_time_limit":"2"}', "idle_time_limit is not"),
        ('{"version":2,"width":80,"height":24,"title":[]}', "title is not a text"),
        ('{"version":2,"width":80,"height":24,"env":["A=b"]}', "env is not an object"),
        ('{"version":2,"width":80,"height":24,"env":{"A":1}}', "a value of env is not a text"),
        ('{"version":2,"width":80,"height":24,"theme":{}}', "theme's fg is missing"),
        ('{"version":2,"width":80,"height":24,"theme":{"fg":"red","bg":"#000000","palette":""}}',
         "theme's fg is no colour"),
        ('{"version":3,"term":{"cols":80,"rows":24},"tags":"a"}', "tags are not a list"),
    ],
)  # fmt: skip
def test_an_odd_header_is_read_all_the_same(header, why):
    text = header + '\n[1,"o","a"]\n'
    loaded = read(text)
    assert (loaded.cast.header.columns, loaded.cast.header.rows) == (80, 24)
    assert any(why in warning for warning in loaded.warnings)
    with pytest.raises(CastError, match=f"a.cast:1: header: {why}"):
        read(text, strict=True)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("hello\n", "no recording"),
        ('[1,"o","a"]\n', "events without a header"),
        ('{"width":80,"height":24}\n[1,"o","a"]\n', "a header with no version"),
        ('{"version":4,"width":80,"height":24}\n', "a version that nobody knows"),
        ('{"version":true,"width":80,"height":24}\n', "a version that nobody knows"),
        ('{"version":[2]}\n', "a version that nobody knows"),
        ('{"version":1,"width":80,"height":24}\n', "v1 without its list"),
        ('{"version":2,"width":80,\n[1,"o","a"]\n', "not JSON"),
        ('{"version":1,"width":80,"height":24,"stdout":[[1,"a"],', "not JSON"),
        ('{"version":2,"a":' + "[" * 100_000, "too deeply nested"),
        ('{"version":2,"width":80,"height":24,"a":' + "[" * 900 + "]" * 900 + "}\n", "too deeply"),
        (b"\x1f\x8bgarbage", "broken gzip"),
        (b"\x28\xb5\x2f\xfdxxxx", "zstd"),
    ],
)
def test_what_is_no_recording_is_said_with_a_reason(text, why):
    for strict in (False, True):
        with pytest.raises(CastError, match=why):
            read(text, strict)


def test_a_last_line_without_its_end_is_passed_over():
    text = V2 + '[1,"o","a"]\n[2,"o","b'
    loaded = read(text)
    assert loaded.cast.events == [(1.0, "o", "a")]
    assert "a.cast:3: the last line has no end" in loaded.warnings[0]
    assert events(text + '"]') == [(1.0, "o", "a"), (2.0, "o", "b")]
    with pytest.raises(CastError, match=r"a.cast:3: the last line has no end"):
        read(text, strict=True)


def test_time_never_goes_back():
    assert [e[0] for e in events(V2 + '[2,"o","a"]\n[1,"o","b"]\n[3,"o","c"]\n')] == [2.0, 2.0, 3.0]


def test_null_in_env_is_what_old_recorders_wrote():
    text = '{"version":2,"width":80,"height":24,"env":{"A":null,"B":"c"}}\n[1,"o","a"]\n'
    assert read(text, strict=True).cast.header.env == {"B": "c"}


def test_a_size_that_is_missing_is_that_of_the_first_resize():
    text = '{"version":2}\n[1,"o","a"]\n[2,"r","100x30"]\n'
    assert read(text).cast.header[:2] == (100, 30)


def test_of_two_fields_of_one_name_the_last_counts():
    assert read('{"version":2,"width":1,"width":80,"height":24}\n').cast.header.columns == 80


def test_unknown_fields_and_codes_survive_from_v2_to_v3_and_back():
    text = (
        '{"version":2,"width":80,"height":24,"librecode":{"a":[1,null]},"tags":["x"],'
        '"term":{"type":"xterm","version":"XTerm(390)","font":"mono"}}\n[1,"z","q"]\n'
    )
    first = read(text).cast
    third = read("".join(encoded(first, 3))).cast
    assert json.loads("".join(encoded(first, 3)).split("\n")[0])["term"] == {
        "cols": 80, "rows": 24, "type": "xterm", "version": "XTerm(390)", "font": "mono",
    }  # fmt: skip
    again = read("".join(encoded(third, 2))).cast
    assert again.header == first.header
    assert again.events == third.events == first.events
    assert third.header._replace(version=2) == first.header


def test_v3_s_intervals_do_not_drift():
    cast = Cast(Header(80, 24), [Event(n * 0.0004999, "o", ".") for n in range(5_000)])
    for version in (1, 2, 3):
        text = "".join(encoded(cast, version))
        got = read(text).cast.events
        assert max(abs(a.at_s - b.at_s) for a, b in zip(got, cast.events)) <= 0.0005001


def test_a_line_of_ours_ends_only_where_it_ends():
    cast = Cast(
        Header(80, 24, title="\u2028"), [Event(0.0, "o", "\x85\u2028\u2029\n\r\x9b\x7f😀\ud800")]
    )
    for version in (1, 2, 3):
        text = "".join(encoded(cast, version))
        assert len(text.encode().decode().splitlines()) == text.count("\n")
        assert read(text, strict=True).cast.events[0].data == cast.events[0].data[:-1] + "\ufffd"


def test_v1_has_its_first_event_in_another_line():
    # A player that tries the first line by itself takes a v1 in one line for an unknown v2.
    text = "".join(encoded(Cast(Header(80, 24), [Event(1.0, "o", "a"), Event(2.0, "m", "")]), 1))
    with pytest.raises(ValueError):
        json.loads(text.split("\n")[0])
    assert json.loads(text)["duration"] == 2.0


def test_a_large_pretty_printed_v1_takes_linear_time():
    cast = Cast(Header(80, 24), [Event(n * 0.01, "o", "x" * 40) for n in range(20_000)])
    text = json.dumps(json.loads("".join(encoded(cast, 1))), indent=1).encode()
    began = time.process_time()
    assert len(load(text).cast.events) == 20_000
    assert time.process_time() - began < 2


def test_events_come_one_by_one():
    def endless():
        yield V2.encode()
        while True:
            yield b'[1.0, "o", "a"]\n'

    reader = Reader()
    found = reader.events(endless())
    assert [next(found).data for _ in range(3)] == ["a"] * 3
    assert reader.header is not None


def test_lines_end_at_line_feeds_only():
    assert list(lines(b"a\r\nb\x0bc\n\nd")) == [b"a\r\n", b"b\x0bc\n", b"\n", b"d"]


def test_what_grows_too_large_is_refused_before_it_does(monkeypatch):
    monkeypatch.setattr("gshell.cast.load.MAX_BYTES", 10_000)
    with pytest.raises(CastError, match="when uncompressed"):
        load(zlib.compress(b" " * 9_999_999, wbits=31))
