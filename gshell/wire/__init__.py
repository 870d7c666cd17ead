"""The session protocol, without I/O: bytes in, events out. Specified in PROTOCOL.md.

Knows nothing of sockets, clocks, terminals or processes. A session is the lasting conversation with
one step; a link is one connection's life; a :class:`~gshell.wire.peer.Peer` carries a conversation
over as many links as it takes.
"""
