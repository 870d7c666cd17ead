"""What an agent says of a session that one joins, checked; and how that is told. Pure but for the
time of day."""

from __future__ import annotations

import time

from gshell.client.escape import detach_key
from gshell.client.seats import within
from gshell.model.record import Record
from gshell.wire.constants import MAX_TASKS
from gshell.wire.streams import MAX_OFFSET

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any

    from gshell.client.plan import Plan
    from gshell.model.rankset import RankSet

MAX_MEMBERS = 4096  # of one job
MAX_SIZE = 1 << 24  # ranks of one job


class Joined(Record):
    """WELCOME of a session that runs, or has run."""

    tasks: int
    """Its ranks, with the starter."""
    starter: bool
    first: int
    """Number of its first rank in the job."""
    layout: list[int]
    """Ranks of each member of the job."""
    pty: bool
    writer: bool
    ended: bool
    name: str
    streams: list[tuple[int, int, int]]
    """(stream, where it begins, where the present is)"""
    reads: str | None
    """Those ranks, of the ones it was joined for, that read what is typed."""

    @property
    def size(self) -> int:
        return sum(self.layout)

    def members(self, ranks: RankSet | None) -> list[int]:
        """Indexes of those that have any of these ranks."""
        found, first = [], 0
        for index, tasks in enumerate(self.layout):
            if ranks is None or any(first + n in ranks for n in range(tasks)):
                found.append(index)
            first += tasks
        return found


def read(welcome: dict[str, Any]) -> Joined:
    """
    Raises:
        ValueError, TypeError: it cannot be that.
    """
    starter = welcome.get("starter") is True
    ranks = within(welcome.get("tasks", 1), 1, MAX_TASKS)
    tasks = ranks + starter
    live = welcome.get("live", {})
    streams = []
    for key, at in welcome.get("start", {}).items():
        rank, kind = divmod(int(key) - 1, 4)
        within(rank, 0, tasks - 1)
        within(kind, 2, 3)  # the only ones that an agent sends
        begins = within(at, 0, MAX_OFFSET)
        streams.append((int(key), begins, within(live.get(key, at), 0, MAX_OFFSET)))
    layout = welcome.get("layout") or [ranks] * within(welcome.get("size", 1), 1, MAX_MEMBERS)
    within(len(layout), 1, MAX_MEMBERS)
    reads = welcome.get("reads")
    return Joined(
        tasks=tasks,
        starter=starter,
        first=within(welcome.get("first", 0), 0, MAX_SIZE),
        layout=[within(each, 1, MAX_TASKS) for each in layout],
        pty=bool(welcome.get("pty")),
        writer=bool(welcome.get("writer")),
        ended=welcome.get("state") == "ended",
        name=str(welcome.get("name", "")),
        streams=streams,
        reads=None if reads is None else str(reads),
    )


def role(plan: Plan, writer: bool) -> str:
    """Whose job it is, what we may do there, until when."""
    words = "" if writer else ", looking on"
    if not plan.share:
        return words
    if not writer and plan.rights == "rw":
        words = ", looking on while somebody else types"
    elif writer:
        words = ", you may type"
    until = ""
    if plan.until is not None:
        left = plan.until - time.time()
        form = "%H:%M:%S" if left < 86400 else "%Y-%m-%d %H:%M"
        until = time.strftime(f", until {form}", time.localtime(plan.until))
    return f" of {plan.owner}{words}{until}"


def announced(plan: Plan, joined: Joined, job: str, writer: bool, by_lines: bool) -> list[str]:
    """What one has come to, and how one leaves it. ``by_lines``: escapes are lines of their own."""
    key_name = detach_key(plan.escape, plan.inside_ssh)
    key = f" | {key_name} detaches" if key_name and plan.pty else ""
    if by_lines:
        whom = "it" if not plan.rank else named(plan.rank)
        key = f" | {detach_key(plan.escape)} Enter detaches"
        key += f", Ctrl-C interrupts {whom}" * (not plan.share)
    which = f" {named(plan.rank)}" if plan.rank else ""
    doing = role(plan, writer)
    if joined.ended:
        doing, key = ", has ended", ""
    elif plan.rank and not joined.reads:
        doing = ", looking on"
    if not writer and by_lines:
        key = " | Ctrl-C leaves" * (not joined.ended)
    lines = [f"[job {job} {joined.name}{which}{doing}{key}]"]
    if plan.rank and joined.reads == "" and not joined.ended and plan.rights == "rw":
        lines.append(unread(plan.rank))
    return lines


def named(ranks: str) -> str:
    """``rank 3``, ``ranks 0-3``."""
    return f"rank{'' if ranks.isdigit() else 's'} {ranks}"


def all_of(ranks: list[int]) -> str:
    from gshell.model.rankset import RankSet

    return named(RankSet.of(ranks).text())


def how(message: dict[str, Any], where: str) -> str:
    """The rest of ``rank 3 on n7: signal 11``."""
    signal = message.get("signal")
    return f"{where}: signal {signal}" if signal else f"{where}: exit {message.get('code')}"


def lacks(job: str, ranks: str, size: int) -> str:
    """Of a job with so many ranks, who wants others hears this."""
    there = f"ranks 0 to {size - 1}" if size > 1 else "1 rank"
    return f"job {job} has {there}, and no {named(ranks)}"


def beyond(job: str, ranks: str, size: int) -> tuple[str, str]:
    """(what is wrong with the ranks that were asked for, what to type)"""
    what = lacks(job, ranks, size)
    if size > 1:
        return what, f"gshell ranks {job}"
    # Whatever a program starts by itself has no streams of its own.
    what += ": what an mpirun of its own starts is not known as ranks"
    return what, "gshell mpi -n N -- PROG    gives each rank its own streams"


def unread(ranks: str) -> str:
    """Why nothing can be typed to them."""
    one = ranks.isdigit()
    return (
        f"[{named(ranks)} read{'s' * one} nothing that is typed: "
        f"gshell mpi -i {ranks} (or --pty {ranks}) starts {'it' if one else 'them'} so]"
    )
