"""The stock-SSH door's process (gshell/net/SSH.md): speaks SSH with the first hop of
``ssh -J gshell-relay job42`` and joins it with the job's agent. What passes there is ciphertext
between the user's ssh and the agent's server: nothing here can read it.

`main` takes connections from the door, `server` says who may what, `joiner` dials.
"""
