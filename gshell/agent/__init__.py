"""The worker-side program: waits inside a batch job, dials out, runs steps, keeps their output.

Standard library only, Python 3.9 and later: worker nodes have no pip. Single-threaded around one
:class:`~gshell.net.loop.Loop`. Knows no broker policy: it does what an authenticated relay
announces and an authenticated client asks.

`agent` and `session` join the parts; begin there. An agent: `uplink`, `entrance` and `greeter`,
`rights`, `steps`, `slots`, `ends`. A session, which is a step: `processes`, `rankinput`,
`rankoutput`, `keeping` over `sessionlog` and `spool`, `presence` and `typists` of `attachment`s,
`taps`; around its program `wrapped`, for an MPI program `mpijob`.
"""
