"""What can go wrong, in our own words. Knows no library.

The one module that imports a library translates its exceptions into these. A program that exits
with a code is not here: an exit is a value (`ExitStatus`).
"""

from __future__ import annotations


class GshellError(Exception):
    """What gshell raises on purpose: what happened, and the next thing to type."""

    exit_code = 125  # of gshell itself, while the program has surely not run
    exit_code_running = 125  # once it may have

    def __init__(self, message: str, hint: str | None = None, transient: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:
            self.__notes__ = [hint]  # what a traceback shows below the message, from Python 3.11 on
        self.transient = transient
        """The same call may work later without anybody changing anything."""

    def __str__(self) -> str:
        """The message alone; `explained` has the hint too."""
        return self.message

    def explained(self) -> str:
        """The message, and on a line of its own the hint, as a person is shown it."""
        return f"{self.message}\n  try:  {self.hint}" if self.hint else self.message


class UsageError(GshellError):
    """A flag, a job description or a configuration is wrong; `origin` says where it stands."""

    exit_code = exit_code_running = 2

    def __init__(self, message: str, hint: str | None = None, origin: str | None = None) -> None:
        """``origin``: as precise as known, e.g. ``config.toml:3: sites.finis.nodes``."""
        super().__init__(f"{origin}: {message}" if origin else message, hint)
        self.origin = origin


class ProtocolError(GshellError):
    """The conversation broke a rule of the protocol. Ends the link, never the session."""

    exit_code_running = 255


class LocalProtocolError(ProtocolError):
    """We were asked to say what the protocol forbids now: a bug on our side."""


class RemoteProtocolError(ProtocolError):
    """They said it; `code` is the word for it on the wire."""

    def __init__(self, code: str, detail: str = "", hint: str | None = None) -> None:
        super().__init__(f"{code}: {detail}" if detail else code, hint)
        self.code = code
        self.detail = detail


class LinkLost(GshellError):
    """The connection ended or fell silent. Dialling again is the answer."""

    exit_code_running = 255

    def __init__(self, message: str, hint: str | None = None, transient: bool = True) -> None:
        super().__init__(message, hint, transient)


class AuthError(GshellError):
    """Refused for who we are or what we may. Never retried: it would be refused again."""

    exit_code_running = 255

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint, transient=False)


class BrokerError(GshellError):
    """The broker could not do what was asked."""


class Unsatisfiable(BrokerError):
    """Nothing there could ever run this; `explanation` says what is missing."""

    def __init__(self, explanation: str, hint: str | None = None) -> None:
        super().__init__(explanation, hint)
        self.explanation = explanation


class HoldExpired(BrokerError):
    """Slots kept for a co-allocated job were given back: a partner did not come in time."""

    def __init__(self, message: str, hint: str | None = None, transient: bool = True) -> None:
        super().__init__(message, hint, transient)


class LaunchError(GshellError):
    """The program could not be started inside its allocation."""


class NoScheduler(LaunchError):
    """No batch system's traces around us, so no hosts to start on."""


class NoMpi(LaunchError):
    """No MPI of the kind that was asked for."""


class SpawnFailed(LaunchError):
    """The program could not be executed: 127 where it isn't found, else 126, as in a shell."""

    def __init__(self, message: str, hint: str | None = None, not_found: bool = False) -> None:
        super().__init__(message, hint)
        self.not_found = not_found
        self.exit_code = self.exit_code_running = 127 if not_found else 126


class LrmsError(GshellError):
    """A batch system said no. ``code`` is "refused" (final: it would refuse again), "busy" (it may
    take it later) or "broken" (its answer makes no sense)."""

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint, transient=code == "busy")
        self.code = code


class StagingError(GshellError):
    """A file could not be copied; `path` on `machine` is the side that failed."""

    def __init__(self, message: str, path: str, machine: str, hint: str | None = None) -> None:
        super().__init__(f"{machine}:{path}: {message}", hint)
        self.path = path
        self.machine = machine
