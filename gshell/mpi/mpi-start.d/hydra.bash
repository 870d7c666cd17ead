# What starts programs of MPICH's family, and the words each takes. Sourced by the plug-ins of that family.

# hydra_kind: sets MPI_START_LAUNCHER to hydra, osc (OSC's mpiexec of PBS), mpd, openmpi or other.
hydra_kind() {
    local said path
    local -a words=()
    mpi_start_words words "$MPIEXEC"
    path=$(type -P -- "${words[0]}") || path=${words[0]}
    MPI_START_LAUNCHER=other
    [ -n "$MPIEXEC" ] || return 0 # srun will do
    case ${path##*/} in *hydra*) MPI_START_LAUNCHER=hydra; return 0 ;; esac
    said=$("$path" --version 2>&1 </dev/null)
    case $said in
        *HYDRA* | *[Hh]ydra* | *'Intel(R) MPI'*) MPI_START_LAUNCHER=hydra ;;
        *'Open MPI'* | *OpenRTE* | *PRTE*) MPI_START_LAUNCHER=openmpi ;;
        *'mpiexec version'* | *'Version 0.'*) MPI_START_LAUNCHER=osc ;;
        *) type -P mpdboot >/dev/null && MPI_START_LAUNCHER=mpd ;;
    esac
    debug_msg "$path is $MPI_START_LAUNCHER"
}

# hydra_start NAME: mpi_start() of them. MPI_NAME_DISABLE_HYDRA=1: not that, even if it is there.
hydra_start() {
    local _ms_disabled=MPI_${1}_DISABLE_HYDRA
    MPI_START_LAUNCHER=
    if [ -n "${!_ms_disabled}" ] && [ "${!_ms_disabled}" != 0 ]; then
        MPI_START_LAUNCHER=disabled
        type -P mpdboot >/dev/null && MPI_START_LAUNCHER=mpd
    fi
    mpi_start_launcher
    [ -n "$MPI_START_LAUNCHER" ] || hydra_kind
    if [ "$MPI_START_LAUNCHER" = openmpi ]; then
        warn_msg "$MPIEXEC is Open MPI's, and $I2G_MPI_TYPE is asked for"
        mpi_start_openmpi_environment
    fi
    generic_mpi_start
}

# hydra_exec PARAMS: mpi_exec() of them; PARAMS are the user's.
hydra_exec() {
    local names=${MPI_START_ENV_VARIABLES// /,} code
    local -a words=() extra=()
    mpi_start_by_srun pmi2 && return "$MPI_START_SRUN_STATUS"
    mpi_start_words words "$1"
    case $MPI_START_LAUNCHER in
        hydra)
            mpi_start_words extra "$HYDRA_EXTRA_PARAMS"
            words+=("${extra[@]}")
            hydra_hosts || return 1
            words+=(-f "$MPI_START_TEMP_FILE" -n "$MPI_START_NP")
            [ -n "$names" ] && words+=(-envlist "$names")
            [ "$MPI_START_SCHEDULER" = pbs ] && words+=(-rmk pbs)
            ;;
        osc)
            words+=(-comm="${I2G_MPIEXEC_COMM:-${MPIEXEC_COMM:-mpich2-pmi}}")
            mpi_start_words extra "$I2G_MPI_MPIEXEC_PARAMS"
            words+=("${extra[@]}")
            if [ -n "$MPI_START_NPHOST" ]; then words+=(-npernode "$MPI_START_NPHOST"); else words+=(-n "$MPI_START_NP"); fi
            ;;
        mpd)
            mpdboot -n "$MPI_START_NHOSTS" -f "$MPI_START_HOSTFILE" || {
                error_msg "mpdboot failed on the $MPI_START_NHOSTS hosts"
                return 1
            }
            mpi_start_shaped || return 1
            words+=(-machinefile "$MPI_START_TEMP_FILE" -n "$MPI_START_NP")
            [ -n "$names" ] && words+=(-envlist "$names")
            mpi_start_quote MPI_LOCAL_PARAMS "${words[@]}"
            generic_mpiexec
            code=$?
            mpdallexit
            return "$code"
            ;;
        *)
            mpi_start_shaped || return 1
            words+=(-machinefile "$MPI_START_TEMP_FILE" -np "$MPI_START_NP")
            ;;
    esac
    mpi_start_quote MPI_LOCAL_PARAMS "${words[@]}"
    generic_mpiexec
}

# Sets MPI_START_TEMP_FILE to a file of "host:slots".
hydra_hosts() {
    local host slots
    mpi_start_mktemp || return 1
    while read -r host slots; do
        echo "$host:${MPI_START_NPHOST:-$slots}"
    done <"$MPI_START_HOST_SLOTS_FILE" >"$MPI_START_TEMP_FILE"
}
