# What plug-ins and hooks of mpi-start may call: messages, words, temporary files, hosts, variables.
# Sourced by mpi-start; runs nothing by itself.

_ms_export_names=()  # -x, mpi_start_export_variable: what the application's environment has everywhere
_ms_export_values=() # NAME=VALUE, for the application only
_ms_place=           # our own directory for temporary files
_ms_counter=0

# A job may have got the HOSTNAME of where it was submitted, which bash keeps.
[ -r /proc/sys/kernel/hostname ] && read -r HOSTNAME </proc/sys/kernel/hostname

# --------------------------------------------------------------------------------------- the messages

mpi_start_verbose() { [ "$I2G_MPI_START_VERBOSE" = 1 ]; }
mpi_start_debugging() { [ "$I2G_MPI_START_VERBOSE" = 1 ] && [ "$I2G_MPI_START_DEBUG" = 1 ]; }

debug_msg() { if mpi_start_debugging; then printf 'mpi-start [DEBUG  ]: %s\n' "$*" >&2; fi; }
info_msg() { if mpi_start_verbose; then printf 'mpi-start [INFO   ]: %s\n' "$*" >&2; fi; }
warn_msg() { printf 'mpi-start [WARNING]: %s\n' "$*" >&2; }
error_msg() { printf 'mpi-start [ERROR  ]: %s\n' "$*" >&2; }
warning_msg() { warn_msg "$@"; }

# The environment, a variable a line.
dump_env() {
    local name
    while IFS= read -r name; do
        printf 'mpi-start [DUMPENV]: %s=%s\n' "$name" "${!name}" >&2
    done < <(compgen -e)
}
dump_vars() { dump_env; }

# ------------------------------------------------------------------------------------------ the words

# mpi_start_words ARRAY TEXT: the words of a text. Quotes and backslashes are a shell's; nothing else is:
# $, *, ; and ` are themselves, and so is a quote that has no second.
mpi_start_words() {
    local _text=$2 _word= _started= _part _blank=$' \t\n' IFS=$' \t\n'
    local -a _all=()
    if [[ $_text != *[\'\"\\]* ]]; then
        case $- in
            *f*) _all=($_text) ;;
            *) set -f; _all=($_text); set +f ;;
        esac
        eval "$1"'=("${_all[@]}")'
        return 0
    fi
    while [ -n "$_text" ]; do
        case $_text in
            [$_blank]*)
                [ -n "$_started" ] && _all+=("$_word")
                _word= _started= _text=${_text#?}
                continue
                ;;
            \'*\'*)
                _text=${_text#\'} _part=${_text%%\'*} _text=${_text#*\'}
                ;;
            \"*\"*)
                if [[ $_text =~ ^\"(([^\"\\]|\\.)*)\" ]]; then
                    _part=${BASH_REMATCH[1]} _text=${_text:${#BASH_REMATCH[0]}}
                    _ms_unescape
                else
                    _part=\" _text=${_text#?}
                fi
                ;;
            \\?*) _part=${_text:1:1} _text=${_text:2} ;;
            *)
                _part=${_text%%[$_blank\'\"\\]*}
                [ -n "$_part" ] || _part=${_text:0:1} # a quote without a second
                _text=${_text:${#_part}}
                ;;
        esac
        _word+=$_part _started=1
    done
    [ -n "$_started" ] && _all+=("$_word")
    eval "$1"'=("${_all[@]}")'
}

# In double quotes a backslash counts before $, `, ", \ and the end of a line only.
_ms_unescape() {
    local _out= _before
    while [[ $_part == *\\* ]]; do
        _before=${_part%%\\*} _part=${_part#*\\}
        case $_part in
            [\$\`\"\\]*) _out+=$_before${_part:0:1} _part=${_part:1} ;;
            $'\n'*) _out+=$_before _part=${_part:1} ;;
            *) _out+=$_before\\${_part:0:1} _part=${_part:1} ;;
        esac
    done
    _part=$_out$_part
}

# mpi_start_quote VAR WORD...: sets VAR to a text of which mpi_start_words (or a shell) makes these words.
mpi_start_quote() {
    local _name=$1 _out= _word _quoted="'\\''"
    shift
    for _word; do
        case $_word in
            '' | *[!A-Za-z0-9_@%+=:,./-]*) _word="'${_word//\'/$_quoted}'" ;;
        esac
        _out+=${_out:+ }$_word
    done
    printf -v "$_name" %s "$_out"
}

# ------------------------------------------------------------------------------- files and variables

# mpi_start_mktemp [-d]: makes a file (a directory) that only we can read, and sets MPI_START_TEMP_FILE
# to its path. All are in one directory of our own: one process to make it, one to remove it.
mpi_start_mktemp() {
    [ -n "$_ms_place" ] || _ms_make_place || return 1
    MPI_START_TEMP_FILE=$_ms_place/tmp.$((_ms_counter += 1))
    if [ "${1-}" = -d ]; then mkdir -- "$MPI_START_TEMP_FILE"; else : >"$MPI_START_TEMP_FILE"; fi
}

_ms_make_place() {
    local folder tries
    # A job may have got the TMPDIR of where it was submitted.
    for folder in "${TMPDIR:-/tmp}" /tmp "$PWD"; do
        for ((tries = 0; tries < 20; tries++)); do
            [ -d "$folder" ] && [ -w "$folder" ] || break
            _ms_place=${folder%/}/mpi-start.$$.$RANDOM$RANDOM
            mkdir -m 700 -- "$_ms_place" 2>/dev/null && return 0
        done
        _ms_place=
        warn_msg "cannot make a temporary directory in $folder"
    done
    error_msg "there is no place for temporary files: set TMPDIR to one"
    return 1
}

# mpi_start_export_variable VAR [VALUE]: the application has it on every host.
mpi_start_export_variable() {
    [ $# -gt 1 ] && printf -v "$1" %s "$2"
    export "${1?}"
    _ms_export_names+=("$1")
}

# Sets MPI_START_ENV_VARIABLES to the names, each once.
_ms_names() {
    local name
    MPI_START_ENV_VARIABLES=
    for name in "${_ms_export_names[@]}"; do
        case " $MPI_START_ENV_VARIABLES " in *" $name "*) continue ;; esac
        MPI_START_ENV_VARIABLES+=${MPI_START_ENV_VARIABLES:+ }$name
    done
    export MPI_START_ENV_VARIABLES
}

# mpi_start_value VAR NAME: sets VAR to what the application has as NAME: its own (-x), or ours.
mpi_start_value() {
    local _one
    printf -v "$1" %s "${!2}"
    for _one in "${_ms_export_values[@]}"; do
        [ "${_one%%=*}" != "$2" ] || printf -v "$1" %s "${_one#*=}"
    done
}

# mpi_start_prepend VAR FOLDER: puts a folder in front of a list such as PATH.
mpi_start_prepend() {
    printf -v "$1" %s "$2${!1:+:${!1}}"
    export "${1?}"
}

# ------------------------------------------------------------------------------------------ the hosts

# mpi_start_set_hosts HOST SLOTS [HOST SLOTS]...: makes the three files and the counts of them. A host
# that comes again has the slots of both, and its first place.
mpi_start_set_hosts() {
    local host slots least= i
    local -A of=()
    local -a order=() machines=() given=("$@") # "shift" would take its time with thousands
    for ((i = 1; i < ${#given[@]}; i += 2)); do
        host=${given[i - 1]} slots=${given[i]}
        case ${host:+$slots} in
            '' | *[!0-9]* | ??????????*)
                error_msg "'$slots' is no number of slots of host '$host'"
                return 1
                ;;
        esac
        slots=$((10#$slots))
        [ "$slots" -gt 0 ] || continue
        [ -n "${of[$host]}" ] || order+=("$host")
        of[$host]=$((${of[$host]:-0} + slots))
    done
    if [ ${#order[@]} = 0 ]; then
        error_msg "the allocation of $SCHEDULER_NAME has no host"
        return 1
    fi
    mpi_start_mktemp || return 1
    MPI_START_MACHINEFILE=$MPI_START_TEMP_FILE
    mpi_start_mktemp
    MPI_START_HOSTFILE=$MPI_START_TEMP_FILE
    mpi_start_mktemp
    MPI_START_HOST_SLOTS_FILE=$MPI_START_TEMP_FILE
    MPI_START_NHOSTS=${#order[@]} MPI_START_NSLOTS=0
    given=()
    for host in "${order[@]}"; do
        slots=${of[$host]}
        MPI_START_NSLOTS=$((MPI_START_NSLOTS + slots))
        [ "${least:-$slots}" -lt "$slots" ] || least=$slots
        given+=("$host $slots")
        for ((; slots > 0; slots--)); do machines+=("$host"); done
    done
    MPI_START_NSLOTS_PER_HOST=$least
    # Each in one go: a write for each line is what takes time.
    printf '%s\n' "${machines[@]}" >"$MPI_START_MACHINEFILE"
    printf '%s\n' "${order[@]}" >"$MPI_START_HOSTFILE"
    printf '%s\n' "${given[@]}" >"$MPI_START_HOST_SLOTS_FILE"
}

# mpi_start_set_machines FILE: the same from a file with a line for each slot.
mpi_start_set_machines() {
    local host
    local -a pairs=()
    if ! [ -r "$1" ]; then
        error_msg "cannot read the machine file '$1' of $SCHEDULER_NAME"
        return 1
    fi
    while read -r host _ || [ -n "$host" ]; do
        case $host in '' | '#'*) ;; *) pairs+=("$host" 1) ;; esac
    done <"$1"
    mpi_start_set_hosts "${pairs[@]}"
}

# What a scheduler plug-in of somebody else has left out.
_ms_complete_hosts() {
    local machines=$MPI_START_MACHINEFILE hosts=$MPI_START_HOSTFILE of_slots=$MPI_START_HOST_SLOTS_FILE
    local nhosts=$MPI_START_NHOSTS nslots=$MPI_START_NSLOTS least=$MPI_START_NSLOTS_PER_HOST
    if ! [ -r "$machines" ]; then
        error_msg "the scheduler plug-in $SCHEDULER_NAME has made no machine file"
        return 1
    fi
    if ! [ -n "$nhosts" ] || ! [ -n "$nslots" ] || ! [ -n "$least" ] || ! [ -r "$hosts" ] || ! [ -r "$of_slots" ]; then
        mpi_start_set_machines "$machines" || return 1
        MPI_START_MACHINEFILE=$machines
        [ -r "$hosts" ] && MPI_START_HOSTFILE=$hosts
        [ -r "$of_slots" ] && MPI_START_HOST_SLOTS_FILE=$of_slots
        MPI_START_NHOSTS=${nhosts:-$MPI_START_NHOSTS} MPI_START_NSLOTS=${nslots:-$MPI_START_NSLOTS}
        MPI_START_NSLOTS_PER_HOST=${least:-$MPI_START_NSLOTS_PER_HOST}
    fi
    export MPI_START_MACHINEFILE MPI_START_HOSTFILE MPI_START_HOST_SLOTS_FILE
    export MPI_START_NHOSTS MPI_START_NSLOTS MPI_START_NSLOTS_PER_HOST
}

# mpi_start_foreach_host FUNCTION [WORD...]: calls it with each host, and the words. It may read from
# its standard input what it likes, and may fail: the next host has its turn.
mpi_start_foreach_host() {
    local _ms_host _ms_call=$1
    local -a _ms_hosts
    shift
    mapfile -t _ms_hosts <"$MPI_START_HOSTFILE"
    for _ms_host in "${_ms_hosts[@]}"; do "$_ms_call" "$_ms_host" "$@"; done
    return 0
}

# mpi_start_is_local HOST: is it this one?
mpi_start_is_local() {
    case $1 in
        localhost | 127.0.0.1 | "$HOSTNAME" | "${HOSTNAME%%.*}") return 0 ;;
        "${HOSTNAME%%.*}".*) case $HOSTNAME in *.*) return 1 ;; *) return 0 ;; esac ;;
    esac
    return 1
}

# Sets MPI_START_SOCKETS and MPI_START_COREPERSOCKET, of this host, where they are not set.
mpi_start_cores() {
    local key value socket=0 cores=
    local -A sockets=()
    local -A seen=()
    if [ -z "${MPI_START_SOCKETS-}" ] || [ -z "${MPI_START_COREPERSOCKET-}" ]; then # a hook may set -u
        while IFS=: read -r key value; do
            case $key in
                physical\ id*) socket=${value# } ;;
                core\ id*) seen[$socket:${value# }]=1 sockets[$socket]=1 ;;
                processor*) cores=$((cores + 1)) ;;
            esac
        done </proc/cpuinfo
        [ ${#seen[@]} -gt 0 ] && cores=${#seen[@]}
        [ "${#sockets[@]}" -gt 0 ] || sockets[0]=1
        : "${MPI_START_SOCKETS:=${#sockets[@]}}"
        value=$((${cores:-1} / MPI_START_SOCKETS))
        : "${MPI_START_COREPERSOCKET:=$((value > 0 ? value : 1))}"
    fi
    export MPI_START_SOCKETS MPI_START_COREPERSOCKET
}
