"""A private relay for one user, as the background process starts it. A script, and nothing to
import.

``python -I -S [-X gshell_site=DIR] ROOT/relay/embedded.py STATE LISTEN USER READY_FD``

STATE is made if needed (0700) and afterwards holds `client.ticket` and `agent.ticket` for USER. On
the descriptor READY_FD the script writes ``ready`` and a newline once the door serves, or what went
wrong, and closes it. If a relay runs from STATE already, that one is good enough: ``ready``, and
status 0. It stays in the foreground; TERM ends it.
"""

from __future__ import annotations

import os
import sys


def main(argv: list[str]) -> int:
    folder, listen, user, ready_fd = argv[1:5]
    ready = int(ready_fd)
    os.set_inheritable(ready, False)

    from gshell import sitepath

    sitepath.enable()
    from gshell.errors import GshellError
    from relay import children, log, state, supervise

    def say(text: str) -> None:
        try:
            os.write(ready, f"{text}\n".encode())
            os.close(ready)
        except OSError:
            pass  # who started us has gone; that is no reason to go, too

    try:
        state.prepare(folder)
        folder = os.path.realpath(folder)
        if state.wait_running(folder, supervise.START_S):
            say("ready")
            return 0
        log.set_up(os.path.join(folder, state.LOG))
        relay = supervise.Relay(children.Plan(folder, (listen,), tickets_for=user, ssh_attach=True))
        relay.prepare()
        relay.run(lambda: say("ready"))
    except GshellError as error:
        say(error.explained())
        return error.exit_code
    return 0


if __name__ == "__main__":
    if sys.flags.no_site:  # -I -S: not even our own directory is on the path; last, to hide nothing
        sys.path.append(__file__.rpartition("/relay/")[0])
    sys.exit(main(sys.argv))
