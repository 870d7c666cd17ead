"""The secret that a job and `i2glogin -p` share: a file for each address, made by who is first.

Used once: the listener deletes it as soon as the job has come (and so does the job with its copy).
"""

from __future__ import annotations

import os
import secrets

from gshell import config
from gshell.agent.gloginwords import Place, parse_place
from gshell.errors import GshellError

SECRET_BYTES = 32


def path_of(place: Place) -> str:
    host = "".join(c if c.isalnum() or c in ".-" else "_" for c in place.host) or "any"
    return f"{config.state_dir()}/glogin/{place.port}-{host}.secret"


def secret_for(address: str | Place) -> tuple[str, bytes]:
    """(file, content) of the secret for an address, ``PORT:IP`` or ``IP:PORT``; made if there is
    none. The file is 0600 and may be staged as it is.

    Raises:
        UsageError: that is no address.
        GshellError: it can be neither read nor made.
    """
    place = address if isinstance(address, Place) else parse_place(address)
    path = path_of(place)
    config.private_dir(os.path.dirname(path))
    try:
        for _ in range(3):  # it may be used up between two looks
            try:
                with open(path, "rb") as file:
                    content = file.read(4096)
                if content.strip():
                    return path, content
                os.unlink(path)
            except FileNotFoundError:
                pass
            _make(path)
    except OSError as error:
        raise GshellError(f"cannot keep a secret in {path}: {error.strerror}") from None
    raise GshellError(f"the secret {path} vanishes as soon as it is made")


def _make(path: str) -> None:
    """Whole or not at all: another one may be looking at this moment."""
    new = f"{path}.{os.getpid()}.{secrets.token_hex(4)}.new"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(secrets.token_hex(SECRET_BYTES).encode() + b"\n")
        try:
            os.link(new, path)
        except FileExistsError:
            pass  # theirs, then
    finally:
        os.unlink(new)


def burn(path: str) -> None:
    """It was used."""
    try:
        os.unlink(path)
    except OSError:
        pass  # the other side was quicker, on the same disk


def forget(address: str) -> None:
    """Nobody will come with it any more."""
    burn(path_of(parse_place(address)))
