#!/bin/sh
# mpi-start of the int.eu.grid tutorial: the bash script of the package that this was installed with
# (in gshell/mpi), with no Python. A test suite may source this with I2G_MPI_START_ENABLE_TESTING=TEST,
# and gets its functions.

mpi_start_self=${BASH_SOURCE:-$0}
case $mpi_start_self in */*) ;; *) mpi_start_self=./$mpi_start_self ;; esac
if [ -L "$mpi_start_self" ] || [ -L "${mpi_start_self%/*}" ]; then
    mpi_start_self=$(readlink -f -- "$mpi_start_self")
fi
mpi_start_bin=${mpi_start_self%/*}
case $mpi_start_bin in /* | '') ;; *) mpi_start_bin=$(CDPATH='' cd -- "$mpi_start_bin" && pwd) ;; esac

mpi_start_found=
for mpi_start_site in "${mpi_start_bin%/*}"/lib/python3*/site-packages \
    "${mpi_start_bin%/*}"/lib/python3*/dist-packages; do
    if [ -f "$mpi_start_site/gshell/mpi/mpi-start" ]; then
        mpi_start_found=$mpi_start_site/gshell/mpi/mpi-start
        break
    fi
    for mpi_start_pth in "$mpi_start_site"/_*gshell.pth; do     # editable: its first line is the checkout
        [ -f "$mpi_start_pth" ] || continue
        IFS= read -r mpi_start_root <"$mpi_start_pth"
        [ -f "$mpi_start_root/gshell/mpi/mpi-start" ] || continue
        mpi_start_found=$mpi_start_root/gshell/mpi/mpi-start
        break 2
    done
done

if [ "$I2G_MPI_START_ENABLE_TESTING" = TEST ] && [ -n "$mpi_start_found" ]; then
    . "$mpi_start_found"
elif [ -n "$mpi_start_found" ]; then
    exec bash "$mpi_start_found" "$@"
else
    exec "$mpi_start_bin/gshell" mpi-start "$@"
fi
