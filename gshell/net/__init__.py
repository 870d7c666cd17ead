"""Sockets: the event loop, TLS, links, the rendezvous preamble, control messages. Standard library
only.

Knows nothing of sessions, jobs or terminals. The clock lives here and nowhere below.
"""
