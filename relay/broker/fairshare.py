"""Who has had how much of what is shared. Of a pool's agents only: who uses their own takes nothing
from anybody.

A user's average is that of the slots they had, weighted by what they were used for; half of it is
forgotten in a half-life. Interactive use costs more than batch, the more so the less it leaves to
a batch step beside it; a batch step that yields costs what it is left with.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.broker.books import Books
from relay.broker.events import Journal, Message
from relay.broker.model import Agent

_WRITE_S = 60.0  # what is lost of it when the broker dies
_NOTHING = 1e-3  # slots: an average that is forgotten


@dataclass(slots=True)
class Account:
    """A user's use. Invariant: ``rate`` is the sum of what their steps cost now."""

    average: float = 0.0
    at: float = 0.0
    """When that was so."""
    rate: float = 0.0
    """Weighted slots in use."""

    def settle(self, now: float, half_life_s: float) -> None:
        """Bring the average up to now."""
        if now > self.at:
            kept = 0.5 ** ((now - self.at) / half_life_s)
            self.average = self.rate + (self.average - self.rate) * kept
        self.at = max(self.at, now)


def factor(lane: str, loss: int | None, usual: int) -> float:
    """What a slot costs: interactively with this PerformanceLoss, or in the batch lane while
    nobody takes anything from it."""
    return 2.0 - (usual if loss is None else loss) / 100 if lane == "interactive" else 1.0


def share(b: Books, user: str) -> float:
    """What orders users: what they had on the average, and what they have now."""
    account = b.accounts.get(user)
    if account is None:
        return 0.0
    account.settle(b.now, b.settings.half_life_s)
    return account.average + account.rate


def recount(b: Books, agent: Agent) -> None:
    """Something begins or ends on a pool's agent."""
    if not agent.pool and not agent.costs:
        return
    costs: dict[str, float] = {}
    yielding = left(b, agent)
    for key, tasks in agent.load.items():
        job = b.jobs.get(key[0])
        if job is None or not agent.pool:
            continue
        if key in agent.quick:
            each = factor("interactive", job.wants.loss, b.settings.usual_loss)
        else:
            each = 1.0 if yielding is None else yielding
        costs[job.user] = costs.get(job.user, 0.0) + tasks * each
    before, agent.costs = agent.costs, costs
    for user in {**before, **costs}:
        change = costs.get(user, 0.0) - before.get(user, 0.0)
        if change:
            account = b.accounts.setdefault(user, Account(at=b.now))
            account.settle(b.now, b.settings.half_life_s)
            account.rate = max(0.0, account.rate + change)


def left(b: Books, agent: Agent) -> float | None:
    """The part of a core that batch steps there keep; None: nobody takes any of it."""
    if agent.used <= agent.slots or not agent.quick:
        return None
    jobs = [job for job in (b.jobs.get(key[0]) for key in agent.quick) if job is not None]
    usual = b.settings.usual_loss
    losses = [usual if job.wants.loss is None else job.wants.loss for job in jobs]
    return min(losses, default=usual) / 100


def write(b: Books) -> None:
    """Now and then into the journal."""
    if not b.accounts or b.now < b.accounts_at + _WRITE_S:
        return
    b.accounts_at = b.now
    for user, account in list(b.accounts.items()):
        account.settle(b.now, b.settings.half_life_s)
        if account.average < _NOTHING and not account.rate:
            del b.accounts[user]
    b.out.append(Journal("meta", "usage", record(b)))


def record(b: Books) -> Message:
    return {user: [round(a.average, 4), a.at] for user, a in b.accounts.items()}


def restore(b: Books, usage: Message) -> None:
    for user, (average, at) in usage.items():
        b.accounts[user] = Account(float(average), float(at))
