"""The user's side of i2glogin: listens, lets in the one job that knows the secret, and is its
terminal. No relay and no agent of ours is between.

A layer above the client: `line` is a Conversation that is called instead of dialling, everything
from there to the terminal is the client's.
"""
