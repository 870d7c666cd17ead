"""An SFTP server on stdin and stdout, for nodes that have none of OpenSSH's. Its end is a status
of 0, which scp waits for.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from gshell import sitepath

sitepath.enable()

import asyncssh  # noqa: E402
from asyncssh.sftp import SFTPServerHandler  # noqa: E402

VERSION = 3  # as OpenSSH's


class _Channel:
    """What the handler asks of an SSH channel, which there is none of here."""

    def __init__(self) -> None:
        self.logger = asyncssh.logging.logger

    def get_connection(self) -> Any:
        return self

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return os.environ.get("USER", "") if name == "username" else default


class _Reader:
    def __init__(self, reader: asyncio.StreamReader, channel: _Channel) -> None:
        self._reader = reader
        self.channel = channel
        self.logger = channel.logger

    async def readexactly(self, count: int) -> bytes:
        return await self._reader.readexactly(count)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.channel.get_extra_info(name, default)


class _Writer(_Reader):
    def __init__(self, fd: int, channel: _Channel) -> None:
        self._fd = fd
        self.channel = channel
        self.logger = channel.logger

    def write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._fd, data) :]

    def close(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    async def wait_closed(self) -> None:
        pass


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    stream = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), sys.stdin)
    channel = _Channel()
    writer: Any = _Writer(1, channel)
    server = asyncssh.SFTPServer(channel)  # type: ignore[arg-type]
    reader: Any = _Reader(stream, channel)
    handler: Any = SFTPServerHandler(server, reader, writer, VERSION)
    await handler.run()


def main() -> None:
    """Serve until stdin ends."""
    asyncio.run(_serve())


if __name__ == "__main__":
    main()
