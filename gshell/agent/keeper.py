"""The parent of an agent: when the agent is gone, whatever it started is ended. Knows no session.

It does nothing while the agent lives but hand on signals and bury orphans. As a subreaper it
becomes the parent of every descendant whose parent dies, daemons included, so to end its own
children again and again until there are none is to end all descendants, and nobody else: the number
of a child that we haven't reaped is nobody else's.
"""

from __future__ import annotations

import logging
import os
import signal
import time

from gshell.net.machine import no_core_dumps

_PR_SET_CHILD_SUBREAPER = 36
# USR1 and USR2 are how Grid Engine and Slurm announce the end; it's the agent who knows what to do.
_FORWARDED = {
    signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
}  # fmt: skip
_AWAITED = {*_FORWARDED, signal.SIGCHLD}

END_WITHIN_S = 10.0  # then it gives up on what can't be killed: uninterruptible or another user's
_LOOK_AGAIN_S = 0.2  # a killed child's children become ours without a signal

log = logging.getLogger("gshell.agent.keeper")


def run(argv: list[str]) -> int:
    """Start the agent ``argv``, outlive it, end its descendants; its status, as a shell says it.

    ``--keeper-fd N`` is added to ``argv``: a descriptor that reads end-of-file when we are gone.
    The agent gets every inheritable descriptor; here they are closed, so that they end with it.
    Wants a process with one thread. Children it has already, a script's that ended in ``exec``, are
    spared.
    """
    become_subreaper()
    spared = set(children())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would throw statuses away
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    reads, writes = os.pipe()  # kept open by us, and by us alone
    os.set_inheritable(reads, True)
    full = [*argv, "--keeper-fd", str(reads)]
    agent = os.posix_spawnp(full[0], full, os.environ, setsigmask=before)
    _close_what_was_handed_on()
    no_core_dumps()  # it knows the ticket; the agent has got the user's limit to hand on
    try:
        return _outlive(agent, spared)
    finally:
        end_descendants(spared)
        os.close(writes)


def become_subreaper() -> bool:
    """From now on orphans among our descendants become our children. Whether that works here."""
    try:
        import ctypes

        done = bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (ImportError, OSError, AttributeError):
        done = False
    if not done:
        log.warning("no subreaper here: daemons that a program leaves behind stay")
    return done


def end_descendants(spared: set[int]) -> None:
    """Kill our children until none is left; theirs become ours when they die."""
    deadline = time.monotonic() + END_WITHIN_S
    while True:
        _reap(spared)
        ours = [pid for pid in children() if pid not in spared]
        if not ours:
            return
        refused = [pid for pid in ours if not _kill(pid)]
        left = deadline - time.monotonic()
        if left <= 0 or len(refused) == len(ours):
            log.warning("cannot end: %s", " ".join(map(str, ours)))
            return
        signal.sigtimedwait({signal.SIGCHLD}, min(left, _LOOK_AGAIN_S))


def children() -> list[int]:
    """Our children, zombies too."""
    found: list[int] = []
    try:
        for thread in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{thread}/children") as file:
                found += map(int, file.read().split())
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        me = os.getpid()
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and _parent(name) == me]
    return found


def _outlive(agent: int, spared: set[int]) -> int:
    while True:
        number = signal.sigwait(_AWAITED)
        if number != signal.SIGCHLD:
            os.kill(agent, number)  # not reaped, so the number is still its own
            continue
        status = _reap(spared).get(agent)
        if status is not None:
            return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _reap(spared: set[int]) -> dict[int, int]:
    """Bury every child that has ended: their (number, status)."""
    ended: dict[int, int] = {}
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            ended[pid] = status
    except ChildProcessError:  # there are none at all
        pass
    spared.difference_update(ended)  # their numbers are free for others now
    return ended


def _kill(child: int) -> bool:
    try:
        os.kill(child, signal.SIGKILL)
        return True
    except PermissionError:  # it became somebody else (sudo)
        return False


def _parent(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return 0


def _close_what_was_handed_on() -> None:
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2:
            try:
                if os.get_inheritable(fd):
                    os.close(fd)
            except OSError:  # the listing's own
                pass
