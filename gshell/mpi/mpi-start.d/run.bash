# From the MPI plug-in's call to the end: the MPI's place, hooks, the application.
# Sourced by mpi-start; runs nothing by itself.

_ms_child=  # the process that runs the application
_ms_done=   # mpi_start() has come back: what is left is our own end

# ------------------------------------------------------------------------------- the MPI's own place

# mpi_start_prefix TYPE: where that MPI is, from the site's variables; puts it on PATH.
mpi_start_prefix() {
    local flavour=${1^^} version one value modules=
    flavour=${flavour//[^A-Z0-9_]/_}
    _ms_flavour=$flavour
    value=MPI_${flavour}_VERSION
    version=${I2G_MPI_VERSION:-${!value}}
    version=${version//./__} version=${version//-/_} version=${version//[^A-Za-z0-9_]/_}
    MPI_START_MPI_PREFIX= MPI_START_MPI_MODULE=
    debug_msg "check for EGEE environment"
    # Both spellings are read: the manual had MODULE, the program MODULES.
    for one in "MPI_${flavour}_${version}_MODULES" "MPI_${flavour}_${version}_MODULE" \
        "MPI_${flavour}_MODULES" "MPI_${flavour}_MODULE"; do
        [ -n "$modules" ] || modules=${!one}
    done
    for one in "I2G_${flavour}_PREFIX" ${version:+"MPI_${flavour}_${version}_PATH"} "MPI_${flavour}_PATH"; do
        [ -n "${!one}" ] || continue
        MPI_START_MPI_PREFIX=${!one}
        if [ "${one#I2G}" != "$one" ]; then
            debug_msg "use user provided prefix : $MPI_START_MPI_PREFIX"
        else
            debug_msg "found default MPI in : $MPI_START_MPI_PREFIX ($one)"
        fi
        break
    done
    if [ -n "$modules" ]; then
        MPI_START_MPI_MODULE=$modules
        if declare -F module >/dev/null || command -v module >/dev/null; then
            debug_msg "load modules : $modules"
            # shellcheck disable=SC2086 # a list of modules
            module load $modules || warn_msg "the modules could not be loaded: $modules"
        else
            warn_msg "there is no command 'module' here, and these should be loaded: $modules"
        fi
    fi
    if [ -n "$MPI_START_MPI_PREFIX" ]; then
        if ! [ -d "$MPI_START_MPI_PREFIX" ]; then
            warn_msg "$one is $MPI_START_MPI_PREFIX, and there is no such directory on $HOSTNAME"
        fi
        debug_msg "prepend $1 to PATH and LD_LIBRARY_PATH"
        mpi_start_prepend PATH "$MPI_START_MPI_PREFIX/bin"
        for value in lib64 lib; do
            [ -d "$MPI_START_MPI_PREFIX/$value" ] || continue
            mpi_start_prepend LD_LIBRARY_PATH "$MPI_START_MPI_PREFIX/$value"
        done
    fi
    export MPI_START_MPI_PREFIX MPI_START_MPI_MODULE
}

# mpi_start_source_mpi FILE: for a plug-in that goes on with another one.
mpi_start_source_mpi() {
    debug_msg "source $1"
    unset -f mpi_start mpi_exec
    . "$1"
    mpi_start_has_both "$1"
}

# mpi_start_has_both FILE: a plug-in must have both functions.
mpi_start_has_both() {
    if ! declare -F mpi_start >/dev/null || ! declare -F mpi_exec >/dev/null; then
        error_msg "the MPI plug-in $1 could not be loaded: it has no mpi_start and mpi_exec"
        exit 1
    fi
}

# mpi_start_not_another NAME: sets MPI_START_FOUND to NAME; where PATH has NAME of another MPI first, as what
# stands beside it shows, to the first that may be of ours, if there is one.
mpi_start_not_another() {
    local dir ours theirs kind=${_ms_flavour,,} first=yes
    local -a dirs=()
    MPI_START_FOUND=$1
    case $kind in
        openmpi) ours=ompi_info theirs=mpichversion ;;
        mpich | mpich2) ours=mpichversion theirs=ompi_info kind=mpich ;;
        *) return 0 ;;
    esac
    IFS=: read -r -a dirs <<<"$PATH"
    for dir in "${dirs[@]}"; do
        dir=${dir:-.}
        [ -f "$dir/$1" ] && [ -x "$dir/$1" ] || continue
        if [ -e "$dir/$theirs" ] && [ -x "$dir/$1.$kind" ]; then
            MPI_START_FOUND=$1.$kind # one directory has both
            [ -n "$first" ] || MPI_START_FOUND=$dir/$MPI_START_FOUND
            return 0
        elif [ -e "$dir/$ours" ] || ! [ -e "$dir/$theirs" ]; then
            [ -n "$first" ] || MPI_START_FOUND=$dir/$1
            return 0
        fi
        first=
    done
}

# mpi_start_launcher [needed]: sets MPIEXEC to what starts programs of this MPI, MPI_GLOBAL_PARAMS to the
# site's options for it. No launcher: says so, and it is the end; unless srun may be the launcher.
mpi_start_launcher() {
    local name one
    local -a words=()
    MPIEXEC=
    for name in MPIEXEC MPIRUN; do
        one=MPI_${_ms_flavour}_$name
        if [ -n "${!one}" ]; then
            MPIEXEC=${!one}
            one=MPI_${_ms_flavour}_${name}_PARAMS
            MPI_GLOBAL_PARAMS=${!one}
            command -v "$MPIEXEC" >/dev/null && break
            mpi_start_words words "$MPIEXEC" # with options
            [ ${#words[@]} -gt 1 ] && command -v "${words[0]}" >/dev/null && break
            words=()
            error_msg "MPI_${_ms_flavour}_$name is $MPIEXEC, which cannot be executed on $HOSTNAME"
            exit 1
        fi
    done
    if [ -z "$MPIEXEC" ]; then
        for name in mpiexec mpirun; do
            one=$MPI_START_MPI_PREFIX/bin/$name
            if [ -n "$MPI_START_MPI_PREFIX" ] && [ -x "$one" ]; then
                MPIEXEC=$one
            elif type -P "$name" >/dev/null; then
                mpi_start_not_another "$name"
                MPIEXEC=$MPI_START_FOUND # rather no path: Open MPI would take it for a prefix
            else
                continue
            fi
            name=MPI_${_ms_flavour}_${name^^}_PARAMS
            MPI_GLOBAL_PARAMS=${!name}
            break
        done
    fi
    if [ -z "$MPIEXEC" ] && [ "$1" != needed ] && mpi_start_srun_wanted; then return 0; fi
    if [ -z "$MPIEXEC" ] && [ -n "$_ms_handed" ]; then return 0; fi # somebody else starts the program
    if [ -z "$MPIEXEC" ]; then
        error_msg "cannot find mpiexec or mpirun of $I2G_MPI_TYPE on $HOSTNAME: set MPI_${_ms_flavour}_PATH, or PATH"
        exit 1
    fi
    MPI_MPIEXEC=$MPIEXEC MPI_MPIRUN=$MPIEXEC
    export MPI_MPIEXEC MPI_MPIRUN
    if [ ${#words[@]} = 0 ]; then mpi_start_quote MPIEXEC "$MPIEXEC"; fi
}

# --------------------------------------------------------------------------------------- the application

# Takes the application apart. A command line, and a path that exists, are one word.
_ms_application() {
    local -a words=()
    local more
    if [ -z "$I2G_MPI_APPLICATION" ]; then
        error_msg "there is no application: name one, or set I2G_MPI_APPLICATION"
        return 1
    fi
    if [ "$I2G_MPI_APPLICATION" != "$_ms_whole_application" ] && ! [ -e "$I2G_MPI_APPLICATION" ]; then
        mpi_start_words words "$I2G_MPI_APPLICATION"
        I2G_MPI_APPLICATION=${words[0]}
        if [ ${#words[@]} -gt 1 ]; then
            mpi_start_quote more "${words[@]:1}"
            I2G_MPI_APPLICATION_ARGS=$more${I2G_MPI_APPLICATION_ARGS:+ $I2G_MPI_APPLICATION_ARGS}
        fi
    fi
    export I2G_MPI_APPLICATION I2G_MPI_APPLICATION_ARGS
    if [ -f "$I2G_MPI_APPLICATION" ] && ! [ -x "$I2G_MPI_APPLICATION" ]; then
        chmod +x -- "$I2G_MPI_APPLICATION" || warn_msg "cannot make $I2G_MPI_APPLICATION executable"
    fi
    case :$PATH: in *":$PWD:"*) ;; *) export PATH=$PATH:$PWD ;; esac
}

_ms_banner() {
    if mpi_start_verbose; then echo "=[$1]================================================================"; fi
}

# What an MPI plug-in's mpi_start() calls when its MPI is ready: hooks, files, mpi_exec(), hooks.
generic_mpi_start() {
    local _ms_code=0 _ms_after=0
    info_msg "call backend MPI implementation"
    [ -n "$X509_USER_PROXY" ] && _ms_export_names+=(X509_USER_PROXY)
    _ms_hooks pre # not in a condition: bash would not end at an error of a hook with set -e
    _ms_code=$?
    [ "$_ms_code" = 0 ] || return "$_ms_code"
    _ms_application || return
    # Of a job that agents start the directory may be anything, even all that its user has.
    if [ -z "$_ms_handed" ] || [ -n "$I2G_MPI_FILE_DIST" ]; then
        if ! _ms_distribute; then
            _ms_clean
            return 1
        fi
    fi
    _ms_names
    info_msg "start program with mpirun"
    _ms_banner START
    if [ -n "$_ms_handed" ]; then _ms_hand_over; else mpi_exec; fi
    _ms_code=$?
    _ms_banner FINISHED
    _ms_hooks post
    _ms_after=$?
    _ms_clean
    [ "$_ms_after" = 0 ] || _ms_code=$_ms_after
    return "$_ms_code"
}

# Has the program started by who started us (an agent: gshell/agent/hooks.py): says, on its descriptor,
# what is to be run, where and with which environment, and waits for the status. No answer: it has no
# program that our post-run hooks could come after.
_ms_hand_over() {
    local code=
    local -a words=()
    mpi_start_words words "$I2G_MPI_APPLICATION_ARGS"
    {
        printf '%s\0' run "$PWD" $((${#words[@]} + 1)) "$I2G_MPI_APPLICATION" "${words[@]}"
        env -0
        printf 'over\0'
    } >&"$_ms_handed"
    IFS= read -r -d '' -u "$_ms_handed" code
    case $code in '' | *[!0-9]*) exit 143 ;; esac
    return "$code"
}

# generic_mpiexec: the launcher (MPIEXEC) with its options (MPI_GLOBAL_PARAMS, MPI_LOCAL_PARAMS) and the
# application. These are texts, and their words are taken as mpi_start_words takes them.
generic_mpiexec() {
    local params=$MPI_GLOBAL_PARAMS
    local -a launcher=() global=() own=() arguments=()
    if [ -z "$MPIEXEC" ]; then
        mpi_start_launcher needed
        params=${MPI_GLOBAL_PARAMS:+$MPI_GLOBAL_PARAMS }$params
    fi
    mpi_start_words launcher "$MPIEXEC"
    mpi_start_words global "$params"
    mpi_start_words own "$MPI_LOCAL_PARAMS"
    mpi_start_words arguments "$I2G_MPI_APPLICATION_ARGS"
    mpi_start_run "${launcher[@]}" "${global[@]}" "${own[@]}" "$I2G_MPI_APPLICATION" "${arguments[@]}"
}

# mpi_start_run WORD...: runs it behind the pre-command, with the application's files and variables. It
# is a child in the background that we wait for: only so can we pass on a signal while it runs.
mpi_start_run() {
    local code timed= shown one TIMEFORMAT=$'\nreal\t%3lR\nuser\t%3lU\nsys\t%3lS'
    local in=$I2G_MPI_APPLICATION_STDIN out=$I2G_MPI_APPLICATION_STDOUT err=$I2G_MPI_APPLICATION_STDERR
    local -a before=()
    mpi_start_words before "$I2G_MPI_PRECOMMAND"
    mpi_start_quote shown "${before[@]}" "$@"
    debug_msg "$shown"
    case ${before[0]} in
        time) # the shell's own: a node need not have the program
            timed=1 before=("${before[@]:1}")
            if [ "${before[0]}" = -p ]; then
                before=("${before[@]:1}") TIMEFORMAT=$'real %2R\nuser %2U\nsys %2S'
            fi
            ;;
        *=*) before=(env "${before[@]}") ;;
    esac
    if [ -n "$in" ] && ! [ -r "$in" ]; then
        error_msg "cannot read $in, which is to be the standard input"
        return 1
    fi
    for one in "$out" "$err"; do
        [ -n "$one" ] && ! { : >"$one"; } 2>/dev/null || continue
        error_msg "cannot write to $one"
        return 1
    done
    _ms_came=  # the signals that came
    _ms_early= # those of them that came before we know our child
    for one in HUP INT TERM USR1 USR2; do builtin trap "_ms_pass_on $one" "$one"; done
    [ -e /proc/self/fd/0 ] || exec </dev/null
    # Here and not below: -x may set PATH, and that is the application's.
    one=${before[0]:-$1}
    case $one in
        */*) ;;
        *)
            if ! one=$(type -P -- "$one"); then
                error_msg "cannot find ${before[0]:-$1} on $HOSTNAME: it is neither on PATH nor in $PWD"
                return 127
            fi
            ;;
    esac
    (
        builtin trap - HUP INT QUIT TERM USR1 USR2
        set -- "${before[@]}" "$@"
        name=$1
        shift
        for value in "${_ms_export_values[@]}"; do export "${value?}"; done
        [ -n "$in" ] && exec <"$in"
        [ -n "$out" ] && exec >>"$out"
        if [ -n "$err" ] && [ "$err" = "$out" ]; then exec 2>&1; elif [ -n "$err" ]; then exec 2>>"$err"; fi
        exec -a "$name" "$one" "$@"
    ) <&0 &
    _ms_child=$!
    for one in $_ms_early; do kill -s "$one" "$_ms_child" 2>/dev/null; done
    if [ -n "$timed" ]; then time _ms_wait; else _ms_wait; fi
    code=$_ms_status
    _ms_child=
    _ms_hooks_traps
    return "$code"
}

_ms_wait() {
    local status
    _ms_status=127
    while :; do
        _ms_signalled=
        wait "$_ms_child"
        status=$?
        # A second wait for a child that has ended meanwhile knows its status, or says 127.
        [ -n "$_ms_signalled" ] || break
        _ms_status=$status
    done
    [ "$status" = 127 ] && [ "$_ms_status" != 127 ] || _ms_status=$status
}

_ms_pass_on() {
    _ms_signalled=1 _ms_came+=" $1"
    # From a terminal it went to all of us.
    if [ "$1" = INT ] && { [ -t 0 ] || [ -t 2 ]; }; then return 0; fi
    if [ -n "$_ms_child" ]; then kill -s "$1" "$_ms_child" 2>/dev/null; else _ms_early+=" $1"; fi
    return 0
}

# At the end, whatever it is.
_ms_leave() {
    local code=$? ended
    _ms_as_before
    PATH=${PATH:+$PATH:}/usr/bin:/bin # a hook may have left none with rm
    if [ -n "$_ms_stage" ] && [ -z "$_ms_done" ]; then
        if [ "$code" = 0 ]; then warn_msg "the $_ms_stage ended mpi-start (exit 0), or a signal did"; else
            error_msg "the $_ms_stage ended mpi-start (exit $code)"
        fi
        _ms_stage=
    fi
    _ms_hooks_end "$code"
    ended=$?
    _ms_clean
    if [ -n "$_ms_place" ]; then
        if [ "$I2G_MPI_START_KEEP_FILES" = 1 ]; then
            info_msg "temporary files are kept in $_ms_place"
        else
            rm -rf -- "$_ms_place"
        fi
    fi
    # Unpacked for this one run: see gshell/agent/mpistart.py.
    if [ -n "$_ms_unpacked" ] && [ "$_ms_unpacked" = "$_ms_home" ]; then rm -rf -- "$_ms_home"; fi
    [ "$ended" = "$code" ] || exit "$ended"
    return 0
}

# ------------------------------------------------------------------------------------- for MPI plug-ins

# mpi_start_shaped: sets MPI_START_TEMP_FILE to a machine file in the asked-for shape.
mpi_start_shaped() {
    local host i
    MPI_START_TEMP_FILE=$MPI_START_MACHINEFILE
    [ -n "$MPI_START_NPHOST" ] || return 0
    mpi_start_mktemp || return 1
    while read -r host; do
        for ((i = 0; i < MPI_START_NPHOST; i++)); do echo "$host"; done
    done <"$MPI_START_HOSTFILE" >"$MPI_START_TEMP_FILE"
}

mpi_start_srun_wanted() {
    [ "$MPI_START_SCHEDULER" = slurm ] && [ "$MPI_START_DISABLE_LRMS_INTEGRATION" != yes ] && type -P srun >/dev/null
}

# mpi_start_by_srun [PMI...]: in Slurm, runs the application by srun with the first of these process
# management interfaces that it has (none named: without), and returns 0 with its status in
# MPI_START_SRUN_STATUS; 1: it is not for srun.
mpi_start_by_srun() {
    local pmi= one known MPI_GLOBAL_PARAMS= MPI_LOCAL_PARAMS= MPIEXEC=srun
    mpi_start_srun_wanted || return 1
    if [ $# -gt 0 ] && [ -z "$SLURM_MPI_TYPE" ]; then
        known=$(srun --mpi=list 2>&1)
        for one; do
            [[ $known =~ (^|[[:space:]])$one($|[[:space:]]) ]] && pmi=$one && break
        done
        if [ -z "$pmi" ]; then
            debug_msg "srun has no $1: not used"
            return 1
        fi
        MPI_GLOBAL_PARAMS="--mpi=$pmi"
    fi
    if [ -n "$MPI_START_NPHOST" ]; then
        MPI_LOCAL_PARAMS="-N $MPI_START_NHOSTS --ntasks-per-node=$MPI_START_NPHOST"
    fi
    MPI_LOCAL_PARAMS+="${MPI_LOCAL_PARAMS:+ }-n $MPI_START_NP"
    [ "$MPI_START_NP" -gt "$MPI_START_NSLOTS" ] && MPI_LOCAL_PARAMS+=" -O"
    debug_msg "use srun"
    generic_mpiexec
    MPI_START_SRUN_STATUS=$?
    return 0
}

# mpi_start_openmpi_environment: lets Open MPI do what every other MPI does without being asked: more
# processes than slots, and root. What a user has set counts.
mpi_start_openmpi_environment() {
    if [ "$MPI_START_NP" -gt "$MPI_START_NSLOTS" ] || [ "${MPI_START_NPHOST:-0}" -gt "$MPI_START_NSLOTS_PER_HOST" ]; then
        : "${OMPI_MCA_rmaps_base_oversubscribe=1}" "${PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe}"
        export OMPI_MCA_rmaps_base_oversubscribe PRTE_MCA_rmaps_default_mapping_policy
    fi
    if [ "$EUID" = 0 ]; then
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    fi
}
