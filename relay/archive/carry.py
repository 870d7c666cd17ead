"""Sandboxes on their way between the depot and jobs' work directories: the archive as a client of
agents. Decides nothing: the broker says what is to be carried where.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gshell.client.conversation import Dialler
from gshell.client.fileget import Get
from gshell.client.fileput import Put
from gshell.client.filetransfer import Source, Transfer
from gshell.errors import AuthError, GshellError
from gshell.net.place import Place
from gshell.net.trouble import Trouble
from relay.archive.depot import Boxes

AT_ONCE = 8
UNREACHED_S = 120.0  # no link to the agent for so long: somewhere else, perhaps
TRIES = 3
RETRY_S = 1.0  # then twice as long each time

_log = logging.getLogger("relay.archive")

Key = tuple[str, int]


@dataclass(slots=True)
class _Load:
    """What is to be carried. ``order``: the broker's message."""

    order: dict[str, Any]
    tries: int = 0
    waits: bool = False
    transfer: Transfer | None = field(default=None)
    place: Place | None = field(default=None)

    def close(self) -> None:
        if self.transfer is not None:
            self.transfer.close()
            self.transfer = None
        if self.place is not None:
            self.place.close()
            self.place = None


class Carrier:
    """Invariant: at most one load for each member; a newer order for it takes its place."""

    def __init__(
        self, dialler: Dialler, boxes: Boxes, say: Callable[[dict[str, Any]], None]
    ) -> None:
        self._dialler = dialler
        self._boxes = boxes
        self._say = say
        self._loads: dict[Key, _Load] = {}

    def close(self) -> None:
        for load in self._loads.values():
            load.close()

    def order(self, message: dict[str, Any]) -> None:
        """``stage-in`` or ``stage-out``; said again, it means the same."""
        key = (str(message["job"]), int(message["index"]))
        known = self._loads.get(key)
        if known is not None:
            if all(known.order.get(k) == message.get(k) for k in ("m", "agent")):
                return
            known.close()
        self._loads[key] = _Load(message)
        self._look()

    def cancel(self, job: str) -> None:
        for key in [key for key in self._loads if key[0] == job]:
            self._loads.pop(key).close()
        self._look()

    def _look(self) -> None:
        busy = sum(load.transfer is not None for load in self._loads.values())
        for key, load in list(self._loads.items()):
            if busy >= AT_ONCE:
                return
            if load.transfer is None and not load.waits:
                busy += 1
                self._begin(key, load)

    def _begin(self, key: Key, load: _Load) -> None:
        order = load.order
        load.tries += 1
        names = [str(name) for name in order["names"]]
        request = {"stage": f"{key[0]}.{key[1]}"}

        def done(error: GshellError | None) -> None:
            if self._loads.get(key) is load:
                self._done(key, load, error)

        user, box, whose = str(order["user"]), str(order["key"]), str(order["agents_of"])
        try:
            if order["m"] == "stage-in":
                load.place = self._boxes.place(user, box, "in")
                put = load.transfer = Put(
                    self._dialler, request, done, whose, patience_s=UNREACHED_S
                )
                sources = [Source(os.path.normpath(name), name) for name in names]
                put.send(sources, True, make=True, place=load.place, any_time=True)
            else:
                load.place = self._boxes.place(user, box, "out", key[1])
                get = load.transfer = Get(
                    self._dialler, request, done, whose, patience_s=UNREACHED_S
                )
                get.fetch_into(names, load.place.root, "", True, load.place, whole_paths=True)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            load.close()
            self._dialler.loop.soon(lambda: done(Trouble("io", f"the relay's depot: {why}")))

    def _done(self, key: Key, load: _Load, error: GshellError | None) -> None:
        tally = load.transfer.tally if load.transfer is not None else None
        load.close()
        order = load.order
        way = str(order["m"])
        failed = list(tally.failed) if tally is not None else []
        missing = [f.path for f in failed if f.code == "none"] if way == "stage-out" else []
        others = [f for f in failed if way == "stage-in" or f.code != "none"]
        if error is not None and not isinstance(error, (Trouble, AuthError)) and load.tries < TRIES:
            _log.info("job %s.%d: %s: %s; again", *key, way, error)
            load.waits = True
            self._dialler.loop.later(
                RETRY_S * 2 ** (load.tries - 1), lambda: self._again(key, load)
            )
            self._look()
            return
        del self._loads[key]
        answer = {"m": "staged", "way": way, "job": key[0], "index": key[1],
                  "agent": order["agent"], "missing": missing,
                  "files": tally.files if tally else 0,
                  "bytes": tally.bytes + tally.kept if tally else 0}  # fmt: skip
        if error is not None or others:
            why = error.message if error is not None else str(others[0])
            _log.warning("job %s.%d: %s failed: %s", *key, way, why)
            answer.update(
                m="stage-failed", why=why, final=bool(others) or isinstance(error, Trouble)
            )
        self._say(answer)
        self._look()

    def _again(self, key: Key, load: _Load) -> None:
        load.waits = False
        if self._loads.get(key) is load:
            self._look()
