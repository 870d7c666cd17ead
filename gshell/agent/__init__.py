"""The worker-side program: waits inside a batch job, dials out, runs steps, keeps their output.

Standard library only, Python 3.9 and later: worker nodes have no pip. Single-threaded around one
:class:`~gshell.net.loop.Loop`. Knows no broker policy: it does what an authenticated relay
announces and an authenticated client asks.
"""
