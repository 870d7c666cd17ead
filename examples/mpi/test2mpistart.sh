#!/bin/sh
# Starts a program by mpi-start, in a job of whatever batch system: nothing in here says which.
#
#   qsub -S /bin/bash -V -cwd -pe openmpi 2 test2mpistart.sh
#   sbatch -n 2 test2mpistart.sh
#   oarsub -l nodes=2 ./test2mpistart.sh

# What mpi-start is told.
export I2G_MPI_APPLICATION=/bin/hostname
export I2G_MPI_APPLICATION_ARGS=
export I2G_MPI_NP=2
export I2G_MPI_TYPE=openmpi
export I2G_MPI_FLAVOUR=openmpi
export I2G_MPI_JOB_NUMBER=0
export I2G_MPI_STARTUP_INFO=$HOME
export I2G_MPI_PRECOMMAND=time
export I2G_MPI_RELAY=

# 1 for each: what happens; what happens inside; every command.
export I2G_MPI_START_VERBOSE="${I2G_MPI_START_VERBOSE-}"
export I2G_MPI_START_DEBUG="${I2G_MPI_START_DEBUG-}"
export I2G_MPI_START_TRACE="${I2G_MPI_START_TRACE-}"

# Sites set I2G_MPI_START; else the one on PATH.
export I2G_MPI_START="${I2G_MPI_START:-mpi-start}"

exec "$I2G_MPI_START"
