"""Batch systems (LRMS) as plug-ins: argv out, text in. Knows no process, no clock and no socket.

`base` has the contract; one module per batch system keeps it: `local`, `slurm`, `oar`, `sge`,
`pbs`, `lsf`, `htcondor`. `registry` finds them by name, or by the environment of the batch job that
we are in; `conformance` says what is wrong with one. Others register a module of theirs under the
entry point group ``gshell.lrms`` (found by `gshell.plugins`: looking is I/O). Who runs the commands
(here, or over ssh on a front end) is the submitter's business.
"""
