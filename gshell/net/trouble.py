"""Why a file could not be copied, as one word for the wire and a few for a person."""

from __future__ import annotations

import errno

from gshell.errors import GshellError

_CODES = {
    errno.ENOENT: "none", errno.ENOTDIR: "none", errno.EACCES: "denied", errno.EPERM: "denied",
    errno.EROFS: "denied", errno.ENOSPC: "full", errno.EDQUOT: "full", errno.EFBIG: "full",
    errno.ELOOP: "kind", errno.EISDIR: "kind", errno.ENXIO: "kind", errno.ENOTEMPTY: "kind",
}  # fmt: skip


class Trouble(GshellError):
    """It could not be done; ``code`` is the word for it on the wire."""

    exit_code = 1

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def trouble(error: OSError) -> Trouble:
    """In our words."""
    code = _CODES.get(error.errno or 0, "io")
    if error.errno == errno.ENOSPC:
        return Trouble(code, "the disk is full")
    if error.errno == errno.EDQUOT:
        return Trouble(code, "the disk quota is used up")
    if error.errno == errno.ELOOP:
        return Trouble(code, "it is a link")
    return Trouble(code, (error.strerror or str(error)).lower())
