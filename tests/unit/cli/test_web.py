import pytest

from gshell.cli import web
from gshell.cli.commands import read
from gshell.cli.shares import web_address
from gshell.errors import UsageError


@pytest.mark.parametrize(
    "text", ["http://127.0.0.1:8080", "https://gate.example/x/", "http://[::1]:80"]
)
def test_a_page_s_address_ends_with_a_slash(text):
    assert web_address(text) == text.rstrip("/") + "/"


@pytest.mark.parametrize(
    "text", ["gate:8080", "ftp://gate", "http://", "http://gate/?x", "http://gate/#x", "http://gate:x",
             "http://gate:99999", "http://[", "javascript:alert(1)", ""],
)  # fmt: skip
def test_what_no_browser_would_open_is_no_address(text):
    with pytest.raises(UsageError, match="not the address of a gateway"):
        web_address(text)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("web --listen nonsense", "not an address"),
        ("web --listen unix:/tmp/x", "no unix sockets"),
        ("web --listen 0.0.0.0:80", "without TLS"),
        ("web --listen [::]:80", "without TLS"),
        ("web --listen gate.example:80", "without TLS"),
        ("web --cert x", "one without the other"),
    ],
)
def test_a_gateway_that_makes_no_sense_is_not_started(line, why):
    with pytest.raises(UsageError, match=why):
        web.web(read(line.split()))
