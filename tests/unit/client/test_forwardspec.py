"""-L, -R and -D, as ssh writes them."""

from __future__ import annotations

import pytest

from gshell.client.forwardspec import Forward, Tcp, Unix, parse

HERE = "localhost"


@pytest.mark.parametrize(
    ("kind", "text", "found"),
    [
        ("L", "8080:db:80", Forward("L", Tcp(HERE, 8080), Tcp("db", 80))),
        ("L", "0:localhost:80", Forward("L", Tcp(HERE, 0), Tcp("localhost", 80))),
        ("L", "*:8080:db:80", Forward("L", Tcp("*", 8080), Tcp("db", 80))),
        ("L", ":8080:db:80", Forward("L", Tcp("*", 8080), Tcp("db", 80))),
        ("L", "[::1]:8080:[fe80::2]:80", Forward("L", Tcp("::1", 8080), Tcp("fe80::2", 80))),
        ("L", "8080:/run/a.sock", Forward("L", Tcp(HERE, 8080), Unix("/run/a.sock"))),
        ("L", "/tmp/b:/run/a", Forward("L", Unix("/tmp/b"), Unix("/run/a"))),
        ("R", "./b:db:80", Forward("R", Unix("./b"), Tcp("db", 80))),
        ("R", "127.0.0.1:9000:localhost:9", Forward("R", Tcp("127.0.0.1", 9000), Tcp(HERE, 9))),
        ("D", "1080", Forward("D", Tcp(HERE, 1080))),
        ("D", "[::1]:1080", Forward("D", Tcp("::1", 1080))),
    ],
)
def test_what_ssh_takes(kind, text, found):
    assert parse(kind, text) == found


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("L", ""), ("L", "8080"), ("L", "8080:db"), ("L", "8080:db:x"), ("L", "8080:db:0"),
        ("L", "70000:db:80"), ("L", "a:b:c:d:80"), ("L", "8080::80"), ("L", "[::1:8080:db:80"),
        ("L", "[::1]x:8080:db:80"), ("L", "db:80"), ("D", ""), ("D", "a:b:1"), ("D", "/tmp/x"),
        ("D", "x"), ("L", "/run/a"),
    ],
)  # fmt: skip
def test_what_is_wrong_names_the_form(kind, text):
    with pytest.raises(ValueError, match="is not"):
        parse(kind, text)
