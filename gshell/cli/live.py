"""What lives now, asked of the relay for a word that is being typed: nobody waits long for that,
and nothing is ever said about what goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gshell.cli import launch
from gshell.errors import GshellError
from gshell.model.ticket import Ticket
from gshell.net.loop import Loop
from gshell.net.relaylink import RelayLink, items_of

Item = dict[str, Any]

PATIENCE_S = 1.5  # a Tab that takes longer is a bell
PATHS_AT_MOST = 500


class Asked:
    """`gshell.cli.complete.Sources`: each question is asked at most once."""

    def __init__(self, ticket: Ticket | None = None) -> None:
        self._ticket = ticket
        self._known: dict[str, list[Item]] = {}

    def jobs(self, ended_too: bool) -> Sequence[Item]:
        return self._ask("jobs", {"m": "jobs", "all": ended_too})

    def agents(self) -> Sequence[Item]:
        return self._ask("agents", {"m": "agents"})

    def sites(self) -> Sequence[Item]:
        return self._ask("sites", {"m": "sites"})

    def pilots(self) -> Sequence[Item]:
        return self._ask("pilots", {"m": "pilots", "all": False})

    def shares(self) -> Sequence[Item]:
        return self._ask("shares", {"m": "shares"})

    def credentials(self) -> Sequence[Item]:
        return self._ask("keys", {"m": "keys"})

    def paths(self, where: str, path: str) -> Sequence[str]:
        from gshell.cli.files import parse_where
        from gshell.client.conversation import Dialler
        from gshell.client.fileget import Listing

        ticket = self._who()
        if ticket is None or any(char in path for char in "*?["):
            return ()
        loop = Loop()
        ends: list[GshellError | None] = []
        try:
            request = parse_where(f"{where}:").request
            if request is None:
                return ()
            listing = Listing(Dialler(loop, ticket), request, ends.append)
            try:
                listing.look(path + "*", recursive=False)
                loop.run_until(lambda: bool(ends), PATIENCE_S)
            finally:
                listing.close()
        except (GshellError, OSError):
            return ()
        finally:
            loop.close()
        folder = path.rpartition("/")[0]
        start = folder + "/" if "/" in path else ""
        return [
            start + entry.base.rstrip("/").rpartition("/")[2] + ("/" if entry.kind == "d" else "")
            for entry in listing.found[:PATHS_AT_MOST]
        ]

    def _who(self) -> Ticket | None:
        if self._ticket is None:
            self._ticket = launch.ticket_or_none()
        return self._ticket

    def _ask(self, name: str, message: Item) -> list[Item]:
        if name not in self._known:
            try:
                self._known[name] = self._asked(name, message)
            except (GshellError, OSError):
                self._known[name] = []
        return self._known[name]

    def _asked(self, name: str, message: Item) -> list[Item]:
        ticket = self._who()
        if ticket is None:
            return []
        loop = Loop()
        got: list[Item] = []
        errors: list[GshellError] = []
        link = RelayLink(loop, ticket, errors.append, lambda _: None)
        try:
            link.open()
            link.request(message, got.append)
            over: Callable[[], bool] = lambda: bool(got or errors)
            loop.run_until(over, PATIENCE_S)
        finally:
            link.close()
            loop.close()
        return items_of(got[0], name) if got and got[0].get("ok") else []
