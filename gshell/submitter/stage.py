"""Brings what a pilot needs to its site, and clears it away. Knows no batch system."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import tempfile
import time
from typing import NamedTuple

from gshell import __version__
from gshell.agent.pack import pack
from gshell.errors import StagingError
from gshell.submitter.place import Place
from gshell.submitter.script import COMPILE

OUTPUT_DAYS = 7  # what pilots printed is kept so long, for who asks why one failed
TAIL_BYTES = 2000

_UNTAR = 'umask 077 && mkdir -p -- "$1" && chmod 700 -- "$1" && tar -xpf - -C "$1"'
# Two of us may stage at once: each its own new file, then one rename.
_PUT = (
    'umask 077 && mkdir -p -- "$1" && chmod 700 -- "$1" && cat > "$1/$2.$$.new"'
    ' && mv -f -- "$1/$2.$$.new" "$1/$2"'
)
_CLEAR = (
    'cd -- "$1" 2>/dev/null || exit 0; shift; rm -f -- "$@";'
    f" find . -maxdepth 1 -name 'pilot-*.out*' -mtime +{OUTPUT_DAYS} -exec rm -f {{}} +"
)


class Files(NamedTuple):
    """One pilot's, as absolute paths at the site."""

    script: str
    invite: str
    output: str


def files_of(place: Place, pilot: str) -> Files:
    base = f"{place.home}/pilot-{pilot}"
    return Files(base + ".sh", base + ".invite", base + ".out")


_packed: bytes = b""


def packed() -> bytes:
    """The agent as one file; the same sources make the same bytes."""
    global _packed
    if not _packed:
        with tempfile.TemporaryDirectory(prefix="gshell-pack-") as folder:
            path = os.path.join(folder, "agent.pyz")
            pack(path)
            with open(path, "rb") as file:
                _packed = file.read()
    return _packed


def pyz_name() -> str:
    return f"agent-{__version__}-{hashlib.sha256(packed()).hexdigest()[:12]}.pyz"


def put_pyz(place: Place) -> str:
    """Copied once for each version; its path there.

    Raises:
        StagingError, PlaceLost: it cannot be.
    """
    name = pyz_name()
    path = f"{place.home}/{name}"
    there, _, _ = place.run(["test", "-s", path])
    if there != 0:
        _checked(place, path, place.run(["sh", "-c", _PUT, "sh", place.home, name], packed()))
        place.run(["sh", "-c", COMPILE, "sh", path])  # without it, it starts slower: no more
    return path


def put(place: Place, files: dict[str, tuple[str, int]]) -> None:
    """Write small files, ``path -> (text, mode)``, all in our directory there, in one round trip.

    Raises:
        StagingError, PlaceLost: it cannot be.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, (text, mode) in files.items():
            data = text.encode("utf-8", "surrogateescape")
            member = tarfile.TarInfo(os.path.basename(path))
            member.size, member.mode, member.mtime = len(data), mode, int(time.time())
            archive.addfile(member, io.BytesIO(data))
    first = next(iter(files))
    done = place.run(["sh", "-c", _UNTAR, "sh", place.home], out.getvalue())
    _checked(place, first, done)


def clear(place: Place, pilot: str) -> None:
    """An ended pilot's script and invite; what it printed stays for a while."""
    files = files_of(place, pilot)
    names = [os.path.basename(files.script), os.path.basename(files.invite)]
    place.run(["sh", "-c", _CLEAR, "sh", place.home, *names])


def last_words(place: Place, pilot: str) -> str:
    """The end of what it printed; empty if that is nowhere to be read."""
    code, out, _ = place.run(["tail", "-c", str(TAIL_BYTES), files_of(place, pilot).output])
    return out.decode("utf-8", "replace") if code == 0 else ""


def _checked(place: Place, path: str, done: tuple[int, bytes, bytes]) -> None:
    code, _, err = done
    if code:
        why = err.decode("utf-8", "replace").strip().rpartition("\n")[2] or f"status {code}"
        raise StagingError(why, path, "the site", hint="gshell site add ... --inline")
