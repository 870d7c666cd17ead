"""Fuzz targets: the talk about files, at an agent and at who sends or gets them."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile

from property.fuzz import Luck, Target
from property.fuzz_nowhere import NULL, dialler_of_nowhere
from property.fuzz_values import LUCK, fields

from gshell.agent.files import Service
from gshell.client.fileget import Get
from gshell.errors import RemoteProtocolError
from gshell.net import filewire
from gshell.net.incoming import Quota
from gshell.net.loop import Loop
from gshell.net.place import Place
from gshell.sweep.treeput import Staging

FILES_NAMES = (
    "m", "n", "path", "offset", "size", "mode", "mtime", "digest", "key", "recursive", "make",
    "abort", "any", "entries", "code", "message", "have", "whole", "id", "from", "cert", "port", "at",
    "machine", "site", "spot",
)  # fmt: skip
FILES_ASKED = ("stat", "list", "sum", "get", "mkdir", "part", "put", "end", "none", "share",
               "have", "fetch")  # fmt: skip
FILES_SAID = ("entries", "ok", "error", "file", "end", "part", "sum", "stat", "files", "share")


@functools.cache
def _box() -> str:
    folder = tempfile.mkdtemp(prefix="gsh-fuzz-")
    atexit.register(shutil.rmtree, folder, True)
    for name in ("box/r", "here"):
        os.makedirs(f"{folder}/{name}")
    os.symlink("../..", f"{folder}/box/up")
    return folder


def _files_talk(luck: Luck, words: tuple[str, ...]) -> bytes:
    """Frames of the talk about files, and what is none."""
    kind = luck.number(5)
    if kind == 0:
        return b"".join(luck.chunks())[:2000]
    if kind == 1:
        return filewire.data_head(3) + b"abc"
    message = {"n": 1, "path": luck.choice(("r", "../x", "up/x", "new", "/etc/passwd", "*", ".")),
               "key": "k" * 16, "size": luck.choice((0, 3, 6, 1 << 61))}  # fmt: skip
    if luck.number(2):
        row = ["r", luck.choice(("x", "../x", "", "a/b")), luck.choice(("f", "d")), 3, 511, 1]
        message["entries"] = [row]
    message.update(fields(luck, FILES_NAMES) if luck.number(2) else {})
    return filewire.encode({**message, "m": luck.choice(words)})


def _only(folder: str, names: list[str]) -> None:
    assert sorted(os.listdir(folder)) == names, os.listdir(folder)


def files(data: bytes) -> None:
    """A client's words to the service, in a box: nothing is written beside it."""
    luck = Luck(data)
    folder = _box()
    place = Place(f"{folder}/box", True, Quota(1 << 20, 100))
    service = Service(place, NULL)
    decoder = filewire.Decoder()
    try:
        while luck.left:
            for item in decoder.feed(_files_talk(luck, FILES_ASKED)):
                service._data(item) if isinstance(item, bytes) else service._request(item)
    except RemoteProtocolError:
        pass
    finally:
        service._forget_looked()
        if service._incoming is not None:
            service._incoming.drop()
        place.close()
    _only(folder, ["box", "here"])


def files_of_agent(data: bytes) -> None:
    """An agent's words to who gets files: nothing is written beside where they are to be."""
    luck = Luck(data)
    folder = _box()
    dialler = dialler_of_nowhere()
    dialler.loop = Loop()
    ends: list[object] = []
    get = Get(dialler, {"agent": "n1"}, ends.append)
    get.fetch([luck.choice(("r", "."))], f"{folder}/here", bool(luck.number(2)))
    if luck.number(8):
        get.on_bytes(filewire.encode({"m": "files", "v": 1}))
    while luck.left and not ends:
        get.on_bytes(_files_talk(luck, FILES_SAID))
    get.close()
    get.left()
    dialler.loop.close()
    _only(folder, ["box", "here"])
    shutil.rmtree(f"{folder}/here")
    os.mkdir(f"{folder}/here")


def tree_of_agent(data: bytes) -> None:
    """An agent's words to who sends files to several: it ends once, whatever it is told."""
    luck = Luck(data)
    dialler = dialler_of_nowhere()
    dialler.loop = Loop()
    ends: list[object] = []
    staging = Staging([_file()], 2)
    nodes = [staging.put(dialler, {"agent": name}, name, "r", ends.append) for name in ("n1", "n2")]
    for node in nodes:
        node.on_bytes(filewire.encode({"m": "files", "v": 1}))
        if luck.number(8):
            said = {"m": "share", "n": 1, "port": 1, "at": ["127.0.0.1"], "machine": "m", "site": "",
                    "spot": luck.choice(("a", "b"))}  # fmt: skip
            node.on_bytes(filewire.encode(said))
            node.on_bytes(filewire.encode({"m": "stat", "n": 2, "kind": luck.choice(("d", "f"))}))
    while luck.left and len(ends) < 2:
        node = nodes[luck.number(2)]
        if not node.talk.over:
            node.on_bytes(_files_talk(luck, FILES_SAID))
        dialler.loop.once(0)
    for node in nodes:
        node.close()
        node.left()
    assert len(ends) <= 2
    assert staging.tree.children(nodes[0]) == staging.tree.children(nodes[1]) == 0
    dialler.loop.close()


@functools.cache
def _file() -> str:
    path = f"{_box()}/box/r/of-a-tree"
    with open(path, "wb") as file:
        file.write(bytes(300_000))
    return path


TARGETS = [
    Target("files", files, LUCK),
    Target("files-of-agent", files_of_agent, LUCK),
    Target("tree-of-agent", tree_of_agent, LUCK),
]  # fmt: skip
