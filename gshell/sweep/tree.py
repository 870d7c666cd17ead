"""Who is sent files by whom, where many get the same: a tree that grows as its nodes come, and is
mended as they go. Pure; knows no file and no connection.
"""

from __future__ import annotations

from collections.abc import Hashable

FANOUT = 2  # each passes on while it receives: with more, the way out of every node is divided more
TRIES = 2  # nodes that a node cannot reach, before it gets its files from the client
SHUT = 2  # so many nodes of a site can reach nobody of theirs: the others need not try


class _Node:
    __slots__ = ("avoids", "children", "depth", "parent", "serves", "site", "tries")

    def __init__(self, site: str, serves: bool) -> None:
        self.site = site
        self.serves = serves
        self.parent: Hashable | None = None
        self.children: set[Hashable] = set()
        self.depth = 0
        self.avoids: set[Hashable] = set()
        self.tries = 0


class Tree:
    """Invariant: nobody is below itself, or below who has left; who has no parent is sent its files
    by the client. The first of each site tries one of another site first."""

    def __init__(self, fanout: int = FANOUT) -> None:
        self.fanout = fanout
        self._nodes: dict[Hashable, _Node] = {}
        self._shut: dict[tuple[str, str], int] = {}  # (from, to): who found it so, none otherwise

    def join(self, name: Hashable, site: str = "", serves: bool = True) -> Hashable | None:
        """One more; its parent. Not ``serves``: it passes nothing on, and can fetch nothing."""
        node = self._nodes[name] = _Node(site, serves)
        node.parent = self._choose(name, node) if serves else None
        self._attach(name, node)
        return node.parent

    def reached(self, name: Hashable) -> None:
        """It gets something from its parent."""
        node = self._nodes[name]
        if node.parent is not None:
            self._shut[node.site, self._nodes[node.parent].site] = 0
            node.tries = 0

    def lost(self, name: Hashable, reached: bool) -> Hashable | None:
        """Its parent is gone, or (not ``reached``) was never to be had; its next parent."""
        node = self._nodes[name]
        if node.parent is not None:
            parent = self._nodes.get(node.parent)
            node.avoids.add(node.parent)
            if parent is not None:
                parent.children.discard(name)
                way = node.site, parent.site
                if not reached and self._shut.get(way) != 0:
                    self._shut[way] = self._shut.get(way, 0) + 1
            node.tries += not reached
        node.parent = self._choose(name, node) if node.tries < TRIES else None
        self._attach(name, node)
        return node.parent

    def leave(self, name: Hashable) -> None:
        """It is no more; its children find that out and say so by `lost`."""
        node = self._nodes.pop(name, None)
        if node is None:
            return
        if node.parent in self._nodes:
            self._nodes[node.parent].children.discard(name)
        for child in node.children:
            below = self._nodes[child]
            below.avoids.add(name)
            below.parent = None

    def children(self, name: Hashable) -> int:
        node = self._nodes.get(name)
        return len(node.children) if node is not None else 0

    # --

    def _choose(self, name: Hashable, node: _Node) -> Hashable | None:
        """The one that is nearest to the top, of its own site if there is any."""
        below = self._below(name, node)
        others = [(key, it) for key, it in self._nodes.items() if it.serves and key not in below]
        own = [pair for pair in others if pair[1].site == node.site]
        fit = [
            (key, it) for key, it in own or others
            if len(it.children) < self.fanout
            and key not in node.avoids
            and self._shut.get((node.site, it.site), 0) < (SHUT if own else 1)
        ]  # fmt: skip
        return min(fit, key=lambda pair: pair[1].depth)[0] if fit else None

    def _below(self, name: Hashable, node: _Node) -> set[Hashable]:
        """All that get their files by way of it, and it."""
        found, look = {name}, list(node.children)
        while look:
            key = look.pop()
            found.add(key)
            look += self._nodes[key].children
        return found

    def _attach(self, name: Hashable, node: _Node) -> None:
        if node.parent is not None:
            self._nodes[node.parent].children.add(name)
        look = [(name, node)]
        while look:
            _, it = look.pop()
            it.depth = self._nodes[it.parent].depth + 1 if it.parent is not None else 0
            look += [(key, self._nodes[key]) for key in it.children]
