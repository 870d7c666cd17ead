"""The files of the page, read once, and the headers they go out with. Knows no sockets.

Nothing but what was found at the start is ever served: no path of a request reaches the disk.
"""

from __future__ import annotations

import gzip
import secrets
from importlib import resources
from typing import NamedTuple

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
}
VENDOR_AGE_S = 86_400  # changes with an upgrade only
NONCE = b"{{nonce}}"


class Page(NamedTuple):
    kind: str
    plain: bytes
    packed: bytes
    """The same, gzipped: a terminal's emulator is 340 KB."""
    age_s: int


def load() -> dict[str, Page]:
    """Path in an address -> file."""
    found: dict[str, Page] = {}
    home = resources.files("gshell.web") / "static"
    for folder, prefix, age_s in ((home, "/", 0), (home / "vendor", "/vendor/", VENDOR_AGE_S)):
        for entry in folder.iterdir():
            kind = TYPES.get("." + entry.name.rpartition(".")[2])
            if kind is not None and entry.is_file():
                text = entry.read_bytes()
                found[prefix + entry.name] = Page(kind, text, gzip.compress(text, 9), age_s)
    found["/"] = found.pop("/index.html")
    return found


def answer(page: Page, gzipped: bool) -> tuple[list[tuple[str, str]], bytes]:
    """Headers and body."""
    nonce = secrets.token_urlsafe(16)
    body = page.packed if gzipped else page.plain
    headers = [("Content-Type", page.kind), *security(nonce)]
    if NONCE in page.plain:
        body = page.plain.replace(NONCE, nonce.encode())
    elif gzipped:
        headers += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
    cache = f"max-age={page.age_s}" if page.age_s else "no-store"
    return [*headers, ("Cache-Control", cache), ("Content-Length", str(len(body)))], body


def security(nonce: str) -> list[tuple[str, str]]:
    """What a browser is told not to do: anything but this page, from here, alone."""
    policy = (
        "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
        # The emulator makes style sheets (they get the nonce), and colours underlines by attribute.
        f"style-src-elem 'self' 'nonce-{nonce}'; style-src-attr 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return [
        ("Content-Security-Policy", policy),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Permissions-Policy", "camera=(), microphone=(), geolocation=()"),
    ]
