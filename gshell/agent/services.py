"""The agent's own programs, run as steps that take no slot: what a client talks to over stdin and
stdout with all that a session gives (resume, back-pressure, exit status). Starts none itself.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from gshell import sitepath

if TYPE_CHECKING:
    from gshell.agent.session import Session
    from gshell.agent.spec import StepSpec
    from gshell.agent.workdir import WorkDirs

NAMES = ("files", "forward")
ADDRESS = "GSHELL_NODE_ADDRESS"
"""Of an agent's environment: where other nodes may reach this one; else at any of its addresses."""
ADOPT = "adopt"  # of a job's spec: it is a job like others, and seen
GLOGIN = ("i2glogin", "glogin")


def again() -> list[str]:
    """An argv that runs this very program once more, with other words."""
    root = sitepath.root()
    if os.path.isdir(root):
        return [*sitepath.interpreter(), os.path.join(root, "gshell", "agent", "__main__.py")]
    return [sys.executable, "-I", "-S", root]


def argv(name: str, words: list[str]) -> list[str]:
    """What to execute for a service."""
    return [*again(), "service", name, *words]


def found(words: list[str], path: str | None) -> list[str]:
    """An argv whose program may be one of ours that is installed nowhere on this node."""
    if words[0] in GLOGIN and shutil.which(words[0], path=path) is None:
        return [*again(), "glogin", *words[1:]]
    return words


def for_files(
    session: Session, spec: StepSpec, workdirs: WorkDirs, site: str, address: str
) -> StepSpec:
    """How the service `files` of this session is started: where it copies from and to is a job's
    work directory, else the user's home. ``site``, ``address``: where this agent is, and where
    its neighbours may reach this node, if that is known."""
    cwd = None
    words = []
    if session.stage:  # the relay's archive: a box, and only this one
        job, _, index = session.stage.partition(".")
        try:
            cwd, words = workdirs.make(job, int(index)), ["--box"]
        except (OSError, ValueError) as error:
            words = ["--gone", f"no work directory: {error}"]
        spec = spec._replace(extra_env={}, umask=0o077)
    elif session.beside:
        job, _, index = session.beside.partition(".")
        cwd = workdirs.path(job, int(index or 0)) or _directory_of(session.neighbour())
        if cwd is None:
            words = ["--gone", f"the work directory of job {session.beside} is not there"]
    if site and not session.stage:
        words += ["--site", site]
    if address and not session.stage:
        words += ["--address", address]
    return spec._replace(argv=["files", *words], cwd=cwd, home=None, shell=False, env={})


def _directory_of(session: Session | None) -> str | None:
    """Where a step's program is now."""
    if session is None or not session.pid():
        return None
    try:
        return os.readlink(f"/proc/{session.pid()}/cwd")
    except OSError:
        return None  # it has just ended


def main(words: list[str]) -> int:
    """Be a service, until its stdin ends; its exit status."""
    name, rest = (words[0], words[1:]) if words else ("", [])
    if name == "files":
        from gshell.agent import files

        return files.main(rest)
    if name == "forward":
        from gshell.agent import forward

        return forward.main(rest)
    if name == ADOPT:
        from gshell.agent import adopted

        return adopted.main(rest)
    print(f"there is no service {name!r}", file=sys.stderr)  # noqa: T201  # read by who asked
    return 2
