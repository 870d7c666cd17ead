"""Batch systems (LRMS) as plug-ins: argv out, text in. Knows no process, no clock and no socket.

`base` has the contract, one module per batch system keeps it: `local`, `slurm`, `oar`, `sge`,
`pbs`, `lsf`,
`htcondor`. Others register a module under the entry point ``gshell.lrms``. Who runs the commands
(here, or over
ssh on a front end) is the submitter's business.
"""
