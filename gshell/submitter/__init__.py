"""The user's own submitter: what puts pilots into batch systems, with that user's rights.

One for each user, host and relay; it dials the relay as a client, is told which pilots to submit
and cancel (gshell/net/CONTROL.md, "Sites, pilots and the broker's choices"), and reports what the
batch systems say of them. `core` decides (pure): `actions`. `worker` does them, one thread for each
site, on a `place`: this host, or a front end over `ssh`. `stage` brings along what a pilot needs,
`script` is the text of a pilot's batch job, `book` what outlives us. Nothing is installed at a
site.
"""
