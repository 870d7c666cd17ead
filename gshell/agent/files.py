"""Copies files in and out over stdin and stdout: the far end of put, get, cp and sandboxes.

One request after the other, in the order in which they come; the session around it gives resume,
back-pressure and rights. Knows no session: see gshell/net/FILES.md.
"""

from __future__ import annotations

import fcntl
import getopt
import os
import stat
import sys
from typing import TYPE_CHECKING, Any

from gshell.errors import RemoteProtocolError
from gshell.net import filewire
from gshell.net.incoming import READ_BYTES, Incoming, Quota, hash_start
from gshell.net.machine import machine_id
from gshell.net.place import Place
from gshell.net.trouble import Trouble, trouble

if TYPE_CHECKING:
    from gshell.agent.sharing import Shares

PIPE_BYTES = 1 << 20  # of its stdin: fewer turns between us and the agent
_F_SETPIPE_SZ = 1031  # `fcntl` has it from 3.10 on
ENTRIES_AT_ONCE = 200  # of a list in one message
MOST_SOURCES = 8  # addresses of one node
OPTIONS = ["box", "quota=", "read-only", "gone=", "site=", "address="]
BEGUN = ("away", "gone")  # another node may be asked, and those that read along wait for it
MAX_ENTRIES = 2_000_000  # of one list: who has more names something smaller


def main(words: list[str]) -> int:
    """``--box``: nothing leads out of the directory it is started in. ``--quota BYTES:FILES``: no
    more than that in it. ``--read-only``. ``--gone WHY``: there is nothing to copy from or to.
    ``--site NAME``, ``--address ADDRESS``: where this node is, for those who get files from it.
    """
    try:
        given, rest = getopt.getopt(words, "", OPTIONS)
        options = dict(given)
        if rest:
            raise ValueError(rest[0])
        quota = None
        if "--quota" in options:
            size, _, files = options["--quota"].partition(":")
            quota = _left(".", int(size), int(files))
        if "--gone" in options:
            print(options["--gone"], file=sys.stderr)  # noqa: T201  # read by who asked
            return 1
        place = Place(os.getcwd(), "--box" in options, quota)
    except (getopt.GetoptError, ValueError) as error:
        print(f"files: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except OSError as error:
        print(f"{os.getcwd()}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 1
    service = Service(place, 1, "--read-only" in options, options.get("--site", ""))
    service.address = options.get("--address", "")
    try:
        return service.serve(0)
    except BrokenPipeError:
        return 1
    except RemoteProtocolError as error:
        print(f"files: {error}", file=sys.stderr)  # noqa: T201
        return 2


def _left(root: str, size: int, files: int) -> Quota:
    """Of a quota, what is not used up."""
    for folder, folders, names in os.walk(root):
        files -= len(folders)
        for name in names:
            try:
                size -= os.lstat(os.path.join(folder, name)).st_size
                files -= 1
            except OSError:
                continue
    return Quota(size, files)


class Service:
    """Invariant: each request gets one last answer (``ok``, ``error`` or what it asked for), in
    the order of the requests."""

    def __init__(self, place: Place, out: int, read_only: bool = False, site: str = "") -> None:
        self._place = place
        self._out = out
        self._read_only = read_only
        self._incoming: Incoming | None = None
        self._put: dict[str, Any] = {}
        self._looked: tuple[str, str, Incoming] | None = None  # path, key: `part` has read it
        self._skip = False  # data of a put that has failed
        self._site = site
        self.address = ""
        """Where other nodes may reach this one; empty: wherever they can."""
        self._shares: Shares | None = None

    def serve(self, source: int) -> int:
        """Until the end of its input; the exit status."""
        decoder = filewire.Decoder()
        try:
            fcntl.fcntl(source, _F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            pass  # no pipe, or too many of them: it is only slower
        self._say({"m": "files", "v": filewire.VERSION, "root": self._place.root})
        while True:
            data = os.read(source, READ_BYTES)
            if not data:
                break
            for item in decoder.feed(data):
                if isinstance(item, bytes):
                    self._data(item)
                else:
                    self._request(item)
        self._forget_looked()
        if self._incoming is not None:
            self._incoming.close()  # what is here stays for another try
        return 0

    def _say(self, message: dict[str, Any]) -> None:
        self._write(filewire.encode(message))

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._out, view) :]

    def _request(self, message: dict[str, Any]) -> None:
        number = filewire.number(message, "n")
        try:
            call = _CALLS.get(str(message.get("m")))
            if call is None:
                raise Trouble("unknown", f"no such request: {str(message.get('m'))[:40]}")
            if call in (Service._begin, Service._fetch):
                self._skip = True  # its data may be on the way already
            if self._read_only and call in _CHANGES:
                raise Trouble("denied", "it can only be read")
            call(self, message, number)
        except Trouble as error:
            self._fail(number, error, message)
        except UnicodeEncodeError:  # half of a surrogate pair, which no path has
            self._fail(number, Trouble("name", "a path that cannot be"), message)
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            self._fail(number, trouble(error), message)

    def _fail(self, number: int, error: Trouble, message: dict[str, Any]) -> None:
        if self._shares is not None and "id" in message and error.code not in BEGUN:
            self._shares.lost(filewire.number(message, "id"))
        self._say({"m": "error", "n": number, "code": error.code, "message": error.message})

    # -- looking

    def _stat(self, message: dict[str, Any], number: int) -> None:
        status = self._place.stat(filewire.text(message, "path"))
        answer: dict[str, Any] = {"m": "stat", "n": number, "kind": "none"}
        if status is not None:
            mode = status.st_mode
            kind = "d" if stat.S_ISDIR(mode) else "f" if stat.S_ISREG(mode) else "other"
            answer.update(kind=kind, size=status.st_size, mode=mode & 0o777,
                          mtime=max(0, status.st_mtime_ns))  # fmt: skip
        self._say(answer)

    def _list(self, message: dict[str, Any], number: int) -> None:
        rows = []
        recursive = message.get("recursive") is True
        found = self._place.entries(filewire.text(message, "path"), recursive)
        for count, entry in enumerate(found):
            if count == MAX_ENTRIES:
                raise Trouble("limit", f"there are more than {MAX_ENTRIES} files")
            rows.append(entry.row())
            if len(rows) >= ENTRIES_AT_ONCE:
                self._say({"m": "entries", "n": number, "entries": rows})
                rows = []
        if rows:
            self._say({"m": "entries", "n": number, "entries": rows})
        self._say({"m": "ok", "n": number})

    def _sum(self, message: dict[str, Any], number: int) -> None:
        fd, status = self._place.open(filewire.text(message, "path"))
        try:
            machine = hash_start(fd, status.st_size)
        finally:
            os.close(fd)
        digest = machine.hexdigest() if machine is not None else ""
        self._say({"m": "sum", "n": number, "size": status.st_size, "digest": digest})

    # -- out

    def _get(self, message: dict[str, Any], number: int) -> None:
        offset, prefix = filewire.number(message, "offset"), filewire.text(message, "digest")
        fd, status = self._place.open(filewire.text(message, "path"))
        try:
            size = status.st_size
            machine = hash_start(fd, offset) if offset <= size else None
            if offset and (machine is None or machine.hexdigest() != prefix):
                machine, offset = None, 0  # what they have is not a beginning of this
            if machine is None:
                machine = hash_start(fd, 0)
            assert machine is not None
            self._say({"m": "file", "n": number, "size": size, "offset": offset,
                       "mode": status.st_mode & 0o777,
                       "mtime": max(0, status.st_mtime_ns)})  # fmt: skip
            while offset < size:
                left = min(filewire.MAX_DATA_BYTES, size - offset)
                head = filewire.data_head(left)
                while left:
                    data = os.pread(fd, min(filewire.READ_BYTES, left), offset)
                    machine.update(data)
                    if not data:
                        self._write(head + bytes(left))  # a frame that was begun
                        raise Trouble("changed", "it became shorter meanwhile")
                    if head and len(data) > 4096:
                        self._write(head)
                        head = b""
                    self._write(head + data if head else data)
                    head = b""
                    left -= len(data)
                    offset += len(data)
            self._say({"m": "end", "n": number, "digest": machine.hexdigest()})
        finally:
            os.close(fd)

    # -- in

    def _mkdir(self, message: dict[str, Any], number: int) -> None:
        mode = filewire.number(message, "mode", 0o7777)
        self._place.make_directory(filewire.text(message, "path"), mode)
        self._say({"m": "ok", "n": number})

    def _part(self, message: dict[str, Any], number: int) -> None:
        """What is there of a file that somebody wants to send."""
        path, key = filewire.text(message, "path"), _key(message)
        size, mtime = filewire.number(message, "size"), filewire.number(message, "mtime")
        self._forget_looked()
        status = self._place.stat(path)
        if (
            status is not None
            and stat.S_ISREG(status.st_mode)
            and status.st_size == size
            and (status.st_mtime_ns == mtime or message.get("any") is True)
        ):
            fd, _ = self._place.open(path)
            try:
                machine = hash_start(fd, size)
            finally:
                os.close(fd)
            digest = machine.hexdigest() if machine is not None else ""
            self._say({"m": "part", "n": number, "have": size, "digest": digest, "whole": True})
            return
        incoming = self._place.incoming(path, key, size, message.get("make") is True)
        digest = incoming.look()
        self._looked = path, key, incoming
        self._say({"m": "part", "n": number, "have": incoming.have, "digest": digest})

    def _forget_looked(self) -> None:
        if self._looked is not None:
            self._looked[2].close()
            self._looked = None

    def _begin(self, message: dict[str, Any], number: int) -> None:
        if self._incoming is not None:
            raise RemoteProtocolError("bad-message", "put within a put")
        path, key = filewire.text(message, "path"), _key(message)
        size, offset = filewire.number(message, "size"), filewire.number(message, "offset")
        if self._looked is not None and self._looked[:2] == (path, key):
            incoming, self._looked = self._looked[2], None
        else:
            incoming = self._place.incoming(path, key, size, message.get("make") is True)
            if offset:
                incoming.look()
        try:
            incoming.begin(offset)
        except BaseException:
            incoming.drop() if not offset else incoming.close()
            raise
        self._incoming, self._put, self._skip = incoming, message, False
        if self._shares is not None and "id" in message:
            self._shares.begin(filewire.number(message, "id"), path, incoming)

    def _data(self, data: bytes) -> None:
        incoming = self._incoming
        if incoming is None:
            if not self._skip:
                raise RemoteProtocolError("bad-message", "data of no file")
            return
        try:
            self._write_on(incoming, data)
        except Trouble as error:
            self._give_up(error, True)
        except OSError as error:
            self._give_up(trouble(error), True)

    def _write_on(self, incoming: Incoming, data: bytes) -> None:
        incoming.write(data)
        if self._shares is not None and "id" in self._put:
            self._shares.came(filewire.number(self._put, "id"), incoming.at)

    def _give_up(self, error: Trouble, drop: bool) -> None:
        assert self._incoming is not None
        self._incoming.drop() if drop else self._incoming.close()
        self._incoming, self._skip = None, True
        self._fail(filewire.number(self._put, "n"), error, self._put)

    def _end(self, message: dict[str, Any], number: int) -> None:
        """Of a put: the same number. With ``abort``, it is not to be."""
        incoming, skipped = self._incoming, self._skip
        self._incoming, self._skip = None, False
        if skipped:
            return  # that it failed has been said
        if incoming is None or number != self._put.get("n"):
            raise RemoteProtocolError("bad-message", "the end of no file")
        try:
            if message.get("abort") is True:
                raise Trouble("changed", "it was not sent whole")
            incoming.finish(
                filewire.text(message, "digest"),
                filewire.number(self._put, "mode", 0o7777),
                filewire.number(self._put, "mtime"),
            )
        except BaseException:
            incoming.close()
            if self._shares is not None and "id" in self._put:
                self._shares.lost(filewire.number(self._put, "id"))
            raise
        if self._shares is not None and "id" in self._put:
            path = filewire.text(self._put, "path")
            self._shares.whole(filewire.number(self._put, "id"), path, incoming.size)
        self._say({"m": "ok", "n": number})

    # -- to and from other nodes

    def _share(self, message: dict[str, Any], number: int) -> None:
        """Files with an ``id`` are passed on from now to who shows this certificate."""
        if self._place.box:
            raise Trouble("denied", "nothing is passed on from here")
        from gshell.agent import sharing, whereabouts  # few are asked for it

        spot = whereabouts.spot(self._place, filewire.text(message, "path"))
        if self._shares is None:
            cert, key = filewire.text(message, "cert"), filewire.text(message, "key")
            self._shares = sharing.Shares(self._place, cert, key, self.address or "*")
        at = [self.address] if self.address else whereabouts.addresses()
        self._say({"m": "share", "n": number, "port": self._shares.port, "at": at,
                   "machine": machine_id(), "site": self._site, "spot": spot})  # fmt: skip

    def _have(self, message: dict[str, Any], number: int) -> None:
        """A file that is here already is passed on, too."""
        id, size = filewire.number(message, "id"), filewire.number(message, "size")
        if self._shares is None:
            raise Trouble("denied", "nothing is passed on from here")
        self._shares.whole(id, filewire.text(message, "path"), size)
        self._say({"m": "ok", "n": number})

    def _fetch(self, message: dict[str, Any], number: int) -> None:
        """As `put`, but another node has its data."""
        if self._shares is None:
            raise Trouble("denied", "nothing is fetched from here")
        sources = _addresses(message)
        self._begin(message, number)
        incoming = self._incoming
        assert incoming is not None
        id, offset = filewire.number(message, "id"), filewire.number(message, "offset")
        try:
            for data in self._shares.fetch(sources, id, offset, incoming.size):
                self._write_on(incoming, data)
        except Trouble as error:
            self._give_up(error, error.code not in (*BEGUN, "lost"))
        except OSError as error:
            self._give_up(trouble(error), True)


def _addresses(message: dict[str, Any]) -> list[tuple[str, int]]:
    found = message.get("from")
    out = []
    for one in found if isinstance(found, list) else [None]:
        if (
            not isinstance(one, list)
            or len(one) != 2
            or not isinstance(one[0], str)
            or not isinstance(one[1], int)
        ):
            raise RemoteProtocolError("bad-message", "from")
        out.append((one[0][:64], one[1]))
    return out[:MOST_SOURCES]


def _key(message: dict[str, Any]) -> str:
    key = filewire.text(message, "key", 32)
    if not key.isascii() or not key.isalnum():
        raise RemoteProtocolError("bad-message", "key")
    return key


_CALLS = {
    "stat": Service._stat,
    "list": Service._list,
    "sum": Service._sum,
    "get": Service._get,
    "mkdir": Service._mkdir,
    "part": Service._part,
    "put": Service._begin,
    "end": Service._end,
    "share": Service._share,
    "have": Service._have,
    "fetch": Service._fetch,
}
_CHANGES = (Service._mkdir, Service._part, Service._begin, Service._share, Service._fetch)
