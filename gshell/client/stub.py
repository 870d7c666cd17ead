"""Compiles the front process where there is a compiler. Knows nothing of what it does.

``data/front.c`` replaces the interpreter's start, most of what a ``run`` through the background
process costs. The background process compiles it once it serves; the launcher takes it if it is
there. Nobody depends on it: without a compiler everything works, only slower, and nothing is said.

Where it is must be found by a shell that starts no process::

    CACHE/front/HOST/path/of/site-packages/front-1

HOST, since a home directory may be shared by machines of other kinds. The package's directory,
since a user may have several gshells: each finds its own. 1 is the order of its arguments together
with the first word of the hand-over. Whether it is up to date is asked here only: it says which
source it was compiled from. One that is older than the package around it still speaks hand-over 1,
or is refused by the background process and execs Python.
"""

from __future__ import annotations

import os

from gshell import config, sitepath

NAME = "front-1"
AFTER_S = 2.0  # whoever started the background process waits for a session: first that
NICE = 10
COMPILE_S = 120.0  # 0.2 s here; a laden front end of a cluster takes its time
KEEP_DAYS = 90  # of hosts, or packages, that never come back
FLAGS = ("-std=c99", "-O2", "-s")
# Static: a third quicker to start, and no library to miss; not every system has the archive for it.
LINKS = (("-static",), ())


def source() -> str:
    """The path of the source."""
    return os.path.join(sitepath.root(), "gshell", "data", "front.c")


def path() -> str:
    """Where the launcher looks."""
    return os.path.join(_cache() + sitepath.root(), NAME)


def build_later() -> None:
    """Have it compiled, in a while, beside what this process does."""
    import threading

    timer = threading.Timer(AFTER_S, build)
    timer.daemon = True  # who ends does not wait for it
    timer.start()


def build() -> bool:
    """Compile it, unless it is up to date; whether it is there now. Never raises."""
    try:
        # Linux: of this thread, and what it starts. Nobody but root may become less nice.
        nice = max(NICE, os.getpriority(os.PRIO_PROCESS, 0))
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        return _build()
    except Exception as error:  # whatever it is, no session may suffer from it
        import logging

        logging.getLogger(__name__).info("no compiled front: %s", error)
        return False


def compilers() -> list[list[str]]:
    """The starts of argvs that may work, best first."""
    import shlex
    import shutil

    compiler = shlex.split(os.environ.get("CC") or "cc")
    return [[*compiler, *FLAGS, *links] for links in LINKS] if shutil.which(compiler[0]) else []


def _build() -> bool:
    import hashlib

    with open(source(), "rb") as file:
        mark = hashlib.sha256(file.read()).hexdigest()
    target = path()
    if _mark_of(target) == mark:
        os.utime(target)
        return True
    config.private_dir(config.cache_dir())
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    new = f"{target}.{os.getpid()}.new"
    try:
        for compiler in compilers():
            if _compile([*compiler, f'-DGSHELL_FRONT_SOURCE="{mark}"', "-o", new, source()]):
                os.chmod(new, 0o755)  # noqa: S103 - a program, to be started by whoever may read it
                if _mark_of(new) == mark:  # it runs here: the right kind of machine, no noexec
                    os.rename(new, target)
                    break
    finally:
        if os.path.exists(new):
            os.unlink(new)
    _tidy()
    return os.path.exists(target)


def _compile(argv: list[str]) -> bool:
    import subprocess

    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=COMPILE_S,
        check=False,
    )
    return done.returncode == 0


def _mark_of(program: str) -> str:
    """Which source a compiled front comes from; empty if it doesn't run."""
    import subprocess

    try:
        done = subprocess.run([program], stdin=subprocess.DEVNULL, capture_output=True, timeout=5.0)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("ascii", "replace").strip() if done.returncode == 0 else ""


def _cache() -> str:
    """Of this host; the path of a package is appended."""
    return os.path.join(config.cache_dir(), "front", os.uname().nodename)


def _tidy() -> None:
    """Remove what nobody has asked for in a long time."""
    import time

    oldest = time.time() - KEEP_DAYS * 86400
    for folder, _, names in os.walk(os.path.join(config.cache_dir(), "front"), topdown=False):
        for name in names:
            file = os.path.join(folder, name)
            if os.stat(file).st_mtime < oldest:
                os.unlink(file)
        try:
            os.rmdir(folder)
        except OSError:
            pass  # something is left in it
