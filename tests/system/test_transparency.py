"""A program in a pty here and through gshell: the bytes must be equal, in both directions."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from kit.procs import Env
from kit.pty import Pty

PY = [sys.executable, "-I", "-S", "-u", "-c"]

UTF8_BYTE_BY_BYTE = """
import os, time
for byte in "aé日本語🙂e\\u0301 \\u202e".encode() * 20:
    os.write(1, bytes((byte,)))
"""
CURSES_LIKE = """
import os, random
r = random.Random(7)
out = bytearray(b"\\x1b[?1049h\\x1b[?1h\\x1b=\\x1b[?25l\\x1b[2J")
for n in range(3000):
    out += b"\\x1b[%d;%dH\\x1b[%dm%c" % (r.randint(1, 24), r.randint(1, 80), r.choice((0, 1, 7, 31, 44)), r.randint(33, 126))
    if n % 100 == 0:
        out += b"\\x1b]0;title %d\\x07\\x1b[%d;%dr\\x1bM\\x1b(0lqk\\x1b(B" % (n, 1, 24)
out += b"\\x1bP1$r\\x1b\\\\\\x1b]8;;http://x\\x1b\\\\link\\x1b]8;;\\x1b\\\\\\x1b[?1006h\\x1b[?2004h\\x1b[?1049l"
view = memoryview(bytes(out))
while view:
    n = r.randint(1, 700)
    os.write(1, view[:n])
    view = view[n:]
"""
EVERY_BYTE_OUT = """
import os, tty
tty.setraw(0)
for n in (1, 7, 255, 256, 4096, 4097):
    os.write(1, (bytes(range(256)) * 20)[:n])
"""
LONG_OSC = "import os; data = b'\\x1b]52;c;' + b'QUJD' * 500000 + b'\\x07'\nwhile data: data = data[os.write(1, data):]"
PROGRAMS = {
    "seq": ["seq", "1", "200000"],
    "utf8": [*PY, UTF8_BYTE_BY_BYTE],
    "curses": [*PY, CURSES_LIKE],
    "every byte": [*PY, EVERY_BYTE_OUT],
    "a long OSC": [*PY, LONG_OSC],
    "stderr too": ["bash", "-c", "for i in {1..500}; do echo out$i; echo err$i >&2; done"],
    "no output": ["true"],
}


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_output_is_equal_byte_by_byte(env: Env, name: str, background: bool) -> None:
    argv = PROGRAMS[name]
    with Pty(argv, env.env) as here:
        assert here.wait() == 0
    with Pty(env.argv("run", "--", *argv), env.client_env(background)) as there:
        assert there.wait() == 0
        assert there.modes() == there.modes_at_start
    # Modes that the program left behind are put back by gshell, after all it printed.
    assert there.seen[: len(here.seen)] == here.seen
    assert not there.seen[len(here.seen) :].strip(b"\x1b[]?><=()0123456789;hlmurB \x0f")


READ_RAW = """
import hashlib, os, sys, tty
count = int(sys.argv[1])
tty.setraw(0)
os.write(1, b"ready")
digest, got = hashlib.sha256(), 0
while got < count:
    data = os.read(0, 65536)
    digest.update(data)
    got += len(data)
os.write(1, b"\\r\\n" + digest.hexdigest().encode())
"""


@pytest.mark.parametrize("size", [1, 2, 16, 17, 100, 4097])
def test_every_byte_value_reaches_a_raw_program(private: Env, size: int, background: bool) -> None:
    data = bytes(range(256)) * 2
    with Pty(private.argv("run", "-e", "none", "--", *PY, READ_RAW, str(len(data))),
             private.client_env(background)) as pty:  # fmt: skip
        pty.wait_for("ready")
        for at in range(0, len(data), size):
            pty.send(data[at : at + size])
        pty.wait_for(hashlib.sha256(data).hexdigest())
        assert pty.wait() == 0


def test_a_paste_of_a_mebibyte_arrives_whole(env: Env, background: bool) -> None:
    data = (bytes(range(32, 127)) * 12000)[: 1 << 20]
    with Pty(
        env.argv("run", "--", *PY, READ_RAW, str(len(data))), env.client_env(background)
    ) as pty:
        pty.wait_for("ready")
        pty.send(data)
        pty.wait_for(hashlib.sha256(data).hexdigest())
        assert pty.wait() == 0


def test_a_raw_echo_of_random_bytes(env: Env, background: bool) -> None:
    data = bytes((number * 197 + number // 256 * 31) % 256 for number in range(100_000))
    script = "import os, tty\ntty.setraw(0)\nos.write(1, b'ready')\nn = 0\nwhile n < 100000:\n d = os.read(0, 65536); n += len(d)\n while d: d = d[os.write(1, d):]"
    with Pty(env.argv("run", "-e", "none", "--", *PY, script), env.client_env(background)) as pty:
        pty.wait_for("ready")
        pty.send(data)
        assert pty.wait_bytes(len(data)) == data
        assert pty.wait() == 0


def test_last_words_are_never_lost(env: Env, tmp_path: Path, background: bool) -> None:
    for number in range(20):
        with Pty(
            env.argv("run", "--", "sh", "-c", f"echo last {number}; exit 3"),
            env.client_env(background),
        ) as pty:
            assert pty.wait() == 3
            assert pty.seen == b"last %d\r\n" % number
