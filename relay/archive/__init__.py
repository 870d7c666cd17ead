"""Ended steps' output, kept at the relay and shown from there. A process of its own.

It speaks what everybody speaks: as a client it looks on at a step and writes down what it sees, as
an agent it shows that to whom the broker sends. So the door stays blind and no byte of a session
travels over control. Both identities are of the user ``@archive``, which no person can be.

Read in this order: `store` (what lies on the disk), `fetch` (one step's way there), `show` (a step
as it is shown from there), `main` (the process: who tells it what, and when it does it).
"""
