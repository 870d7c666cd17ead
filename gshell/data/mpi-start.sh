#!/bin/sh
# The command of the int.eu.grid tutorial, as a verb of ours: `gshell mpi-start`, found beside this file.
case $0 in */*) exec "${0%/*}/gshell" mpi-start "$@" ;; *) exec ./gshell mpi-start "$@" ;; esac
