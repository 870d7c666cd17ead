"""``gshell proxy HOST PORT``: a ProxyCommand of ssh's. Makes a data connection to the host's agent
and hands it to ssh, or copies between it and stdin, stdout; all of it is ciphertext of ssh's own.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time

from gshell.errors import AuthError, BrokerError, GshellError, LinkLost
from gshell.model.sanitize import sanitize
from gshell.model.ticket import Ticket
from gshell.net import address, rendezvous, sshline

PATIENCE_S = 30.0  # for an agent that is away for a moment, or starts its SSH server
AGAIN_S = 0.2  # between two tries to be let in
READ_BYTES = 1 << 18


def join(ticket: Ticket, place: dict[str, str]) -> socket.socket:
    """A socket on which the SSH server of the agent at ``place`` is about to speak.

    Raises:
        GshellError: nothing comes of it; says why.
    """
    end = time.monotonic() + PATIENCE_S
    skew_s, turn, lost = 0.0, 0, ""
    while True:
        where = ticket.relays[turn % len(ticket.relays)]
        reply = sshline.Reply()
        try:
            sock = _dial(ticket, where, place, skew_s)
            if _hear(sock, reply, end):
                return sock
            sock.close()
            lost = "" if reply.code else "the relay closed the connection"
        except OSError as error:
            lost = f"cannot reach the relay at {where}: {error.strerror or error}"
        if not reply.code:
            turn += 1
        elif reply.code not in (*sshline.AGAIN, "time"):
            raise BrokerError(sanitize(reply.reason()), hint="gshell jobs    and    gshell agents")
        elif reply.code == "time" and not skew_s:
            skew_s = _skew(ticket)
        if time.monotonic() > end:
            raise LinkLost(lost or sanitize(reply.reason()), hint="gshell doctor")
        if lost and turn >= 2 * len(ticket.relays):
            _who_are_we(ticket)
        time.sleep(AGAIN_S)


def _dial(ticket: Ticket, where: str, place: dict[str, str], skew_s: float) -> socket.socket:
    sock, connected = address.start_connect(where)
    try:
        if not connected:
            _wait(sock, select.POLLOUT, 10.0)
        sock.setblocking(True)
        att = rendezvous.public_id(os.urandom(32))
        now = time.time() + skew_s
        body = sshline.opening(ticket.mac_id, now, os.urandom(16).hex(), att, place)
        preamble = rendezvous.encode(
            rendezvous.CLIENT, body, sshline.hello(att), bytes.fromhex(ticket.mac_key)
        )
        sock.sendall(address.preface(where) + preamble)
    except BaseException:
        sock.close()
        raise
    return sock


def _wait(sock: socket.socket, what: int, at_most_s: float) -> bool:
    poll = select.poll()
    poll.register(sock, what)
    return bool(poll.poll(max(0.0, at_most_s) * 1000))


def _hear(sock: socket.socket, reply: sshline.Reply, end: float) -> bool:
    """Read up to the answer, and not a byte of what is for ssh."""
    while not reply.code:
        if not _wait(sock, select.POLLIN, end - time.monotonic()):
            return False
        data = sock.recv(READ_BYTES, socket.MSG_PEEK)
        if not data:
            return False
        line = data.find(b"\n") + 1 or len(data)
        reply.feed(sock.recv(line))
    return reply.code == "ok"


def _skew(ticket: Ticket) -> float:
    """The relay's clock against ours."""
    from gshell.net.loop import Loop
    from gshell.net.relaylink import RelayLink

    loop = Loop()
    said: list[GshellError] = []
    link = RelayLink(loop, ticket, said.append)
    link.open()
    loop.run_until(lambda: bool(link.welcome or said), 10.0)
    now = (link.welcome or {}).get("now")
    link.close()
    loop.close()
    return float(now) - time.time() if isinstance(now, (int, float)) else 1e-9


def _who_are_we(ticket: Ticket) -> None:
    """A door that closes without a word: over TLS the relay says why.

    Raises:
        AuthError: our credentials count no more.
    """
    from gshell.net.relaylink import ask

    try:
        ask(ticket, {"m": "whoami"})
    except AuthError:
        raise
    except GshellError:
        pass  # away


def hand_over(sock: socket.socket, to: int) -> None:
    """To ssh, which waits for it there (ProxyUseFdpass): from then on it needs nobody between.

    Raises:
        GshellError: nobody waits there.
    """
    try:
        with socket.socket(fileno=os.dup(to)) as line:
            socket.send_fds(line, [b"\0"], [sock.fileno()])
    except OSError as error:
        raise GshellError(
            f"proxy --fdpass: cannot pass a connection to stdout: {error.strerror}",
            hint="it is for ssh with ProxyUseFdpass yes; without it leave --fdpass out",
        ) from None


def copy(sock: socket.socket, reads: int, writes: int) -> None:
    """Until either side ends. A thread each way: neither ever waits for the other, and the
    descriptors, which may be shared with others, stay as they are."""

    def out() -> None:
        try:
            while data := os.read(reads, READ_BYTES):
                sock.sendall(data)
        except OSError:
            pass
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    threading.Thread(target=out, daemon=True).start()
    try:
        while data := sock.recv(READ_BYTES):
            while data:
                data = data[os.write(writes, data) :]
    except OSError:
        pass
