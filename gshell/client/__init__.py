"""The user's side: conversations with sessions, the local terminal, the per-user background
process.

What ``gshell run`` and ``gshell sh`` need imports nothing but the standard library, and little of
it.
"""
