# Hooks of users and sites: they run in our shell, and may leave it as they like. Sourced by mpi-start;
# runs nothing by itself.

_ms_stage=              # what runs that is not ours: "pre-run hook FILE"
_ms_at_exit=            # what hooks want done at the end (trap ... EXIT)
declare -A _ms_traps=() # and at a signal that is ours while the application runs

# What a hook may have made of the shell ends with it: the rest of us, and the next hook, do not notice.
_ms_as_before() {
    set +aefkmuCET +o pipefail +o posix
    shopt -u dotglob failglob nocaseglob nocasematch nullglob
    IFS=$' \t\n'
}

# From now on a hook's trap for the end comes before ours, and does not take its place.
_ms_own_traps() {
    builtin trap _ms_leave EXIT
    trap() {
        local _ms_one
        if [ "$BASH_SUBSHELL" != 0 ] || [ $# = 0 ]; then
            builtin trap "$@"
            return
        fi
        case $1 in
            --) shift ;;
            -?*) builtin trap "$@"; return ;;
        esac
        [ $# -gt 1 ] || set -- - "$1"
        for _ms_one in "${@:2}"; do
            _ms_one=${_ms_one^^} _ms_one=${_ms_one#SIG}
            case $_ms_one in 1) _ms_one=HUP ;; 2) _ms_one=INT ;; 10) _ms_one=USR1 ;; 12) _ms_one=USR2 ;; 15) _ms_one=TERM ;; esac
            case $_ms_one in
                0 | EXIT) _ms_at_exit=${1#-}; continue ;;
                HUP | INT | TERM | USR1 | USR2) _ms_traps[$_ms_one]=$1 ;;
            esac
            builtin trap -- "$1" "$_ms_one" || return
        done
    }
}

# When the application has ended: signals are the hooks' again, and they hear of those that came meanwhile.
_ms_hooks_traps() {
    local _ms_one
    for _ms_one in HUP INT TERM USR1 USR2; do builtin trap -- "${_ms_traps[$_ms_one]--}" "$_ms_one"; done
    for _ms_one in "${!_ms_traps[@]}"; do
        case "$_ms_came " in *" $_ms_one "*) ;; *) continue ;; esac
        [ "${_ms_traps[$_ms_one]}" = - ] || eval "${_ms_traps[$_ms_one]}"
    done
}

# _ms_hooks_end STATUS: what hooks want done at the end, which may be another status.
_ms_hooks_end() {
    local _ms_action=$_ms_at_exit
    _ms_at_exit=
    [ -n "$_ms_action" ] || return "$1"
    (
        _ms_is() { return "$1"; }
        _ms_is "$1"
        eval "$_ms_action"
        exit "$1"
    )
}

# _ms_of_windows FILE: was this file of a user's written there?
_ms_of_windows() {
    local _ms_line=
    IFS= read -r _ms_line <"$1"
    case $_ms_line in *$'\r' | $'\xef\xbb\xbf'*) ;; *) return 1 ;; esac
    warn_msg "$1 was written on Windows: read without its carriage returns"
}

_ms_without_returns() { sed $'1s/^\xef\xbb\xbf//; s/\r$//' <"$1"; }

# _ms_hook WHEN FILE: calls WHEN_run_hook of a file. No such file, or no such function in it: nothing.
_ms_hook() {
    local _ms_when=$1 _ms_file=$2 _ms_code _ms_call=$1_run_hook
    case $_ms_file in
        */*) ;;
        *) _ms_file=./$_ms_file ;;
    esac
    case $_ms_file in
        /*) ;;
        *) [ -e "$_ms_file" ] || _ms_file=$_ms_from/${_ms_file#./} ;; # a hook has gone elsewhere
    esac
    if ! [ -f "$_ms_file" ]; then
        debug_msg "there is no hook $_ms_file"
        return 0
    fi
    if ! [ -r "$_ms_file" ]; then
        warn_msg "the $_ms_when-run hook $_ms_file cannot be read: left out"
        return 0
    fi
    unset -f pre_run_hook post_run_hook
    _ms_stage="$_ms_when-run hook $_ms_file"
    # Here, in no function of its own: what a file declares is still there when its function is called.
    if _ms_of_windows "$_ms_file"; then . <(_ms_without_returns "$_ms_file"); else . "$_ms_file"; fi
    _ms_code=$?
    if declare -F "$_ms_call" >/dev/null; then
        debug_msg "call $_ms_call of $_ms_file"
        "$_ms_call"
        _ms_code=$?
    elif [ "$_ms_code" = 0 ] || "$BASH" -n "$_ms_file" 2>/dev/null; then
        debug_msg "$_ms_file has no $_ms_call"
        _ms_code=0
    else
        _ms_code=2
    fi
    _ms_as_before
    builtin trap - DEBUG ERR RETURN # where it was set: bash undoes this at the end of a function
    _ms_stage=
    if [ "$_ms_code" != 0 ]; then error_msg "the $_ms_when-run hook of $_ms_file failed (status $_ms_code)"; fi
    return "$_ms_code"
}

# _ms_hooks WHEN: all of them, in their order; the status of the first that fails. None is called in a
# condition: bash would not end at an error of a hook with set -e.
_ms_hooks() {
    local _ms_when=$1 _ms_code=0 _ms_file _ms_user _ms_dashes _ms_name=${1^^}-RUN
    local _ms_asked="$I2G_MPI_TYPE $I2G_MPI_NP $I2G_MPI_PER_NODE"
    debug_msg "mpi_start_${_ms_when}_run_hook"
    if mpi_start_verbose; then
        _ms_dashes=------------------------------------------------
        echo "-<START $_ms_name HOOK>$_ms_dashes"
    fi
    _ms_sorted hook
    debug_msg "mpi_start_${_ms_when}_run_hook_generic"
    for _ms_file in "${_ms_list[@]}"; do
        if [ "$_ms_code" = 0 ]; then
            _ms_hook "$_ms_when" "$_ms_file"
            _ms_code=$?
        fi
    done
    [ "$_ms_when" = pre ] && _ms_detect_shared
    if [ "$_ms_code" = 0 ] && _ms_find mpi-start.hooks.local; then
        _ms_hook "$_ms_when" "$_ms_found"
        _ms_code=$?
    fi
    _ms_user=I2G_MPI_${_ms_when^^}_RUN_HOOK
    if [ "$_ms_code" = 0 ] && [ -n "${!_ms_user}" ]; then
        _ms_hook "$_ms_when" "${!_ms_user}"
        _ms_code=$?
    fi
    if [ "$_ms_when" = pre ] && [ "$_ms_asked" != "$I2G_MPI_TYPE $I2G_MPI_NP $I2G_MPI_PER_NODE" ]; then
        warn_msg "a hook has changed I2G_MPI_TYPE, I2G_MPI_NP or I2G_MPI_PER_NODE, which was too late: MPI_START_NP is the number of processes"
    fi
    if mpi_start_verbose; then echo "-<STOP  $_ms_name HOOK>$_ms_dashes"; fi
    return "$_ms_code"
}

# Sets _ms_list to the plug-ins of a kind by name, whatever folder they are in.
_ms_sorted() {
    local one i
    local -a sorted=()
    _ms_list "$1"
    for one in "${_ms_list[@]}"; do
        for ((i = ${#sorted[@]}; i > 0; i--)); do
            [[ ${sorted[i - 1]##*/} > ${one##*/} ]] || break
            sorted[i]=${sorted[i - 1]}
        done
        sorted[i]=$one
    done
    _ms_list=("${sorted[@]}")
}
