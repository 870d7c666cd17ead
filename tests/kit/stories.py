"""What is to be seen on each of several systems is done on all of them at once: they mostly wait."""

from __future__ import annotations

import concurrent.futures

import pytest

PATIENCE_S = 60.0


class Stories:
    """One place for each kind of system; a story is told in all of them at the same time, each
    test waits for its own. Stories of one place follow each other."""

    def __init__(self, request, kinds, make) -> None:
        """``make`` (a cluster): the place."""
        self._absent: dict[str, str] = {}
        self._pool = concurrent.futures.ThreadPoolExecutor(len(kinds))
        self.places = {}
        for kind in kinds:
            try:
                self.places[kind] = self._pool.submit(make, request.getfixturevalue(kind))
            except pytest.skip.Exception as why:
                self._absent[kind] = str(why)
        self._told: dict = {}

    def place(self, kind: str):
        if kind in self._absent:
            pytest.skip(self._absent[kind])
        return self.places[kind].result(PATIENCE_S)

    def everywhere(self):
        """All places."""
        return [one.result(PATIENCE_S) for one in self.places.values()]

    def tell(self, story, kind: str) -> None:
        """How it went there."""
        if story not in self._told:
            self._told[story] = {
                each: self._pool.submit(lambda each=each: story(self.place(each)))
                for each in self.places
            }
        self.place(kind)
        self._told[story][kind].result(3 * PATIENCE_S)

    def close(self, stop) -> None:
        """``stop`` each place."""
        ended = [
            self._pool.submit(lambda one=one: stop(one.result())) for one in self.places.values()
        ]
        for one in ended:
            one.exception(PATIENCE_S)
        self._pool.shutdown(wait=False, cancel_futures=True)
