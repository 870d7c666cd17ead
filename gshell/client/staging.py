"""Jobs' files to the relay's depot and from there. Knows no command line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gshell.client.conversation import Dialler
from gshell.client.fileput import Put
from gshell.client.filetransfer import Source, Tally
from gshell.errors import GshellError, StagingError
from gshell.net.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from gshell.model.ticket import Ticket

DEPOT = "@archive"  # whose certificate the depot shows


def new_key() -> str:
    """For the files of a job that is about to be submitted: `upload` them, then say so in the
    job's spec (``"job": {"sandbox": KEY, "inputs": [...]}``)."""
    return os.urandom(16).hex()


def depot_request(key: str = "", job: str = "") -> dict[str, Any]:
    """Of an opening: the inputs of a new sandbox, or the outputs of a job."""
    request: dict[str, Any] = {"archive": True}
    request.update({"job": job} if job else {"sandbox": key})
    return request


def upload(
    ticket: Ticket,
    key: str,
    files: list[tuple[str, str]],
    watch: Callable[[Tally], None] | None = None,
) -> Tally:
    """Put these (path here, name in the sandbox) into the depot, directories with all that is in
    them. ``watch`` is told now and then how far it is.

    Raises:
        StagingError: one could not be copied.
        GshellError: the relay cannot be reached, or says no.
    """
    loop = Loop()
    ends: list[GshellError | None] = []
    put = Put(Dialler(loop, ticket), depot_request(key=key), ends.append, DEPOT)
    try:
        sources = [Source(os.path.abspath(path), name) for path, name in files]
        put.send(sources, recursive=True, make=True, any_time=True)
        while not ends:
            loop.once(0.2)
            if watch is not None:
                watch(put.tally)
    finally:
        put.close()
        loop.close()
    if ends[0] is not None:
        raise ends[0]
    if put.tally.failed:
        failed = put.tally.failed[0]
        raise StagingError(failed.message, failed.path, os.uname().nodename)
    return put.tally
