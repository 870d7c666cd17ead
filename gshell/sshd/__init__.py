"""The SSH server that an agent starts in its user's account: `ssh job42` ends here.

`main` waits for connections that the agent hands over and forks for each; `server` is one such
connection; `programs` are what it runs. The agent decides who may come (gshell/agent/sshdoor.py).
"""
