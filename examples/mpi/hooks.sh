# Hooks for mpi-start: builds the program before it is run, and packs its results behind it.
#
#   mpi-start -t openmpi -pre hooks.sh -post hooks.sh cpi
#
# Both run in mpi-start's own bash: what they export, the program has.

pre_run_hook() {
    info_msg "build $I2G_MPI_APPLICATION with $MPI_MPICC"
    # shellcheck disable=SC2086 # options are words
    $MPI_MPICC $MPI_MPICC_OPTS -O2 -o "$I2G_MPI_APPLICATION" "$I2G_MPI_APPLICATION.c" -lm || return 1
    mpi_start_export_variable CPI_INTERVALS 100000
}

# Called with each host.
fetch_results() {
    mpi_start_is_local "$1" || copy_from_node "$1" "$PWD/results.$1" "$PWD"
}

post_run_hook() {
    # Without a shared file system each host has its own.
    [ "$MPI_START_SHARED_FS" = 1 ] || mpi_start_foreach_host fetch_results
    tar czf results.tar.gz results.* 2>/dev/null || info_msg "there are no results"
    return 0
}
