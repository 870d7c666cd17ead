"""How MPI programs are started: which MPI it is, what its launcher is told, and PMI-1, by which the
agents are an MPI's process manager themselves. Pure; `mpi-start` beside it is bash. See MPI.md.
"""
