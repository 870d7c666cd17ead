"""Other people's programs read what we write, and we read what they write."""

import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from gshell.cast import files
from gshell.cast.format import Cast, Event, Header

OURS = Cast(
    Header(80, 24, timestamp=1767323045, title="a title", env={"SHELL": "/bin/sh"}),
    [
        Event(0.0, "o", "h\u00e9llo \x1b[1mworld\x1b[m\r\n"),
        Event(0.01, "i", "ls\r"),
        Event(0.012, "s", "1"),
        Event(0.0125, "o", "\ufffd"),
        Event(0.0125, "b", "/w=="),
        Event(0.02, "m", "here"),
        Event(0.02, "r", "100x30"),
        Event(0.03, "o", "世界 \u2028 😀\r\n"),
        Event(0.04, "x", "3"),
    ],
)
PRINTED = "".join(event.data for event in OURS.events if event.code == "o").encode()
RAW = PRINTED.replace("\ufffd".encode(), b"\xff")


def need(program):
    if shutil.which(program) is None:
        pytest.skip(f"no {program} here")


def run(*argv, **more):
    ran = subprocess.run(argv, capture_output=True, timeout=50, **more)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def written(tmp_path, form, name):
    path = tmp_path / name
    for target, piece in zip((path, path.with_suffix(".timing")), files.rendered(OURS, form)):
        target.write_bytes(piece)
    return path


# ------------------------------------------------------------------------------------ util-linux


@pytest.mark.parametrize("form", ["typescript", "typescript-classic"])
def test_scriptreplay_plays_ours(tmp_path, form):
    need("scriptreplay")
    data = written(tmp_path, form, "x.typescript")
    both = ["-B", data, "-x", "out"] if form == "typescript" else ["-O", data]
    assert run("scriptreplay", "-t", data.with_suffix(".timing"), *both) == RAW + b"\n"


def test_scriptreplay_tells_what_we_know_of_ours(tmp_path):
    need("scriptreplay")
    data = written(tmp_path, "typescript", "x.typescript")
    summary = run("scriptreplay", "--summary", "-t", data.with_suffix(".timing")).decode()
    said = dict(re.findall(r"^ *(\w+): *(.*)$", summary, re.MULTILINE))
    assert (said["COLUMNS"], said["LINES"], said["EXIT_CODE"]) == ("80", "24", "3")
    assert said["DURATION"] == "0.040000"


@pytest.mark.parametrize("form", ["advanced", "classic"])
def test_what_script_has_recorded_is_read(tmp_path, form):
    need("script")
    data, timing = tmp_path / "typescript", tmp_path / "typescript.tm"
    ways = ["--log-io", data] if form == "advanced" else ["--log-out", data]
    argv = [
        "script",
        "-q",
        "-e",
        "-m",
        form,
        *ways,
        "-T",
        timing,
        "-c",
        r"printf 'h\303\251\377\n'; exit 7",
    ]
    ran = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=50)
    assert ran.returncode == 7
    found = files.read_file(str(data)).cast
    assert files.rendered(found, "raw")[0] == b"h\xc3\xa9\xff\r\n"
    assert found.header.timestamp is not None
    if form == "advanced":
        assert found.events[-1][1:] == ("x", "7")
        assert found.header.command.startswith("printf")


# ----------------------------------------------------------------------------------------- ttyrec


def test_ttyplay_plays_ours(tmp_path):
    need("ttyplay")
    played = run("ttyplay", "-n", written(tmp_path, "ttyrec", "x.ttyrec"))
    assert re.findall(rb"\x1b\[8;(\d+;\d+)t", played) == [b"24;80", b"30;100"]
    assert re.sub(rb"\x1b\[8;\d+;\d+t", b"", played) == RAW


def test_what_ttyrec_has_recorded_is_read(tmp_path):
    need("ttyrec")
    path = tmp_path / "x.ttyrec"
    subprocess.run(["ttyrec", "-e", r"printf 'h\303\251\n'", path], stdin=subprocess.DEVNULL, timeout=50,
                   capture_output=True, check=False)  # fmt: skip
    loaded = files.read_file(str(path))
    assert loaded.kind == "ttyrec"
    assert "h\u00e9" in "".join(event.data for event in loaded.cast.events)


# -------------------------------------------------------------------------------------- asciinema


def asciinema():
    if importlib.util.find_spec("asciinema") is not None:
        return [sys.executable, "-m", "asciinema"]
    need("asciinema")
    return [shutil.which("asciinema")]


@pytest.fixture
def home(tmp_path):
    return {
        **os.environ,
        "ASCIINEMA_CONFIG_HOME": str(tmp_path / "config"),
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm",
    }


def test_asciinema_cats_and_plays_ours(tmp_path, home):
    path = written(tmp_path, "v2", "x.cast")
    assert run(*asciinema(), "cat", path, env=home) == PRINTED
    assert PRINTED in run(*asciinema(), "play", "-s", "100", path, env=home)


def test_what_asciinema_has_recorded_is_read(tmp_path, home):
    path = tmp_path / "x.cast"
    run(*asciinema(), "rec", "-q", "--cols", "90", "--rows", "30", "-c", r"printf 'h\303\251\n'", path,
        env=home, stdin=subprocess.DEVNULL)  # fmt: skip
    loaded = files.read_file(str(path), strict=True)
    assert (loaded.kind, loaded.warnings) == ("asciicast-v2", ())
    assert loaded.cast.header[:2] == (90, 30)
    assert "".join(event.data for event in loaded.cast.events) == "h\u00e9\r\n"


# --------------------------------------------------------------------------------------- the player

PARSE = """
import {readFileSync} from 'fs';
const {gshellParse} = await import(process.argv[2]);
for (const path of process.argv.slice(3)) {
  const found = await gshellParse(new Response(readFileSync(path)));
  console.log(JSON.stringify({...found, events: [...found.events]}));
}
"""


@pytest.fixture(scope="module")
def player(tmp_path_factory):
    """The parser of asciinema's web player, which it does not export."""
    need("node")
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    places = [os.environ.get("GSHELL_TEST_NODE", ""), str(cache / "gshell-tests")]
    dist = [
        p
        for p in (pathlib.Path(p) / "node_modules/asciinema-player/dist" for p in places)
        if p.is_dir()
    ]
    if not dist:
        pytest.skip(
            "no asciinema-player (npm install --prefix ~/.cache/gshell-tests asciinema-player@3)"
        )
    folder = tmp_path_factory.mktemp("player")
    shutil.copytree(dist[0], folder / "dist")
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "parse.mjs").write_text(PARSE)
    for core in folder.glob("dist/core-*.js"):
        name = re.search(
            r"async function ([\w$]+)\(data\) \{\s+if \(data instanceof Response\)",
            core.read_text(),
        )
        if name:
            core.write_text(core.read_text() + f"\nexport {{ {name[1]} as gshellParse }};\n")
            return ["node", str(folder / "parse.mjs"), str(core)]
    pytest.skip("this asciinema-player has its parser elsewhere")


def test_the_web_player_reads_all_versions_of_ours(tmp_path, player):
    paths = [written(tmp_path, form, f"x.{form}") for form in ("v1", "v2", "v3")]
    found = [json.loads(line) for line in run(*player, *paths).splitlines()]
    for version, read in zip((1, 2, 3), found):
        assert (read["cols"], read["rows"]) == (80, 24)
        wanted = [event for event in OURS.events if version > 1 or event.code == "o"]
        assert [tuple(event[1:]) for event in read["events"]] == [event[1:] for event in wanted]
        late = [abs(event[0] - want.at_s * 1000) for event, want in zip(read["events"], wanted)]
        assert max(late) <= (0.501 if version == 3 else 0.001)


def test_one_event_and_none_are_read_by_the_web_player(tmp_path, player):
    paths = []
    for count in (0, 1):
        for form in ("v1", "v2", "v3"):
            path = tmp_path / f"{form}.{count}"
            path.write_bytes(files.rendered(OURS._replace(events=OURS.events[:count]), form)[0])
            paths.append(path)
    found = [json.loads(line) for line in run(*player, *paths).splitlines()]
    assert [len(read["events"]) for read in found] == [0, 0, 0, 1, 1, 1]
