"""Where this node's `mpi-start` is: beside us or, if the agent is one file, unpacked from that.

Unpacked, it stands in a place of this agent (spoolplace.py), 0700, which its keeper removes. It is
bash, and runs without us: nothing here knows what it does.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator

from gshell import sitepath
from gshell.agent.spoolplace import Kind, SpoolPlace
from gshell.agent.workdir import remove_tree

NAME = "mpi-start"
FOLDER = "gshell/mpi"
PLACE = Kind("mpistart", re.compile(r"bin\Z"), remove_tree, news=False)

_place: SpoolPlace | None = None


def script(base: str | None = None) -> str:
    """Its path. ``base``: where to unpack it, if need be; else where temporary files go.

    Raises:
        OSError: it cannot be unpacked.
    """
    global _place
    root = sitepath.root()
    if os.path.isdir(root):
        return os.path.join(root, FOLDER, NAME)
    if _place is None:
        _place = SpoolPlace(base, PLACE)
    folder = os.path.join(_place.path(), "bin")
    path = os.path.join(folder, NAME)
    if not os.path.exists(path):
        unpack(root, folder)
    return path


def unpack(archive: str, folder: str) -> None:
    """
    Raises:
        OSError: it cannot be.
    """
    import zipfile

    try:
        with zipfile.ZipFile(archive) as file:
            names = [one for one in file.namelist() if one.startswith(f"{FOLDER}/{NAME}")]
            for one in (folder, os.path.join(folder, NAME + ".d")):
                os.makedirs(one, 0o700, exist_ok=True)
            for name in sorted(names, reverse=True):  # what starts the others comes last
                path = os.path.join(folder, name[len(FOLDER) + 1 :])
                with open(path + ".new", "wb") as out:
                    out.write(file.read(name))
                os.chmod(path + ".new", 0o700)
                os.rename(path + ".new", path)
    except zipfile.BadZipFile as error:
        raise OSError(f"{archive}: {error}") from None


def leftovers() -> Iterator[str]:
    """Removes what agents that are gone have unpacked."""
    return SpoolPlace(None, PLACE).leftovers()


def offer(env: dict[str, str], on_path: bool) -> None:
    """Lets a program find it: by I2G_MPI_START, and on PATH behind what the node has itself."""
    try:
        path = script()
    except OSError:
        return  # the job may not want it; if it does, it says that there is none
    env.setdefault("I2G_MPI_START", path)
    if on_path:
        env["PATH"] = f"{env.get('PATH') or os.defpath}:{os.path.dirname(path)}"


def main(words: list[str]) -> int:
    """Be mpi-start; comes back only with why not."""
    bash = shutil.which("bash") or "/bin/bash"
    root = sitepath.root()
    folder = os.path.join(root, FOLDER)
    try:
        if not os.path.isdir(root):
            folder = tempfile.mkdtemp(prefix="gshell-mpi-start-")
            unpack(root, folder)
            os.environ["MPI_START_UNPACKED"] = folder  # it removes that at its end
        os.execv(bash, [bash, os.path.join(folder, NAME), *words])
    except OSError as error:
        print(f"mpi-start: cannot start bash: {error.strerror}", file=sys.stderr)  # noqa: T201
    return 1
