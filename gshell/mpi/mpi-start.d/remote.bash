# Files to and from other hosts over a command like ssh: "WORDS HOST COMMAND", with its standard input.
# Only what was not there before is removed again. Sourced by the distribution plug-ins that have such a
# command (remote_shell), and to see whether a directory is shared.

# Says on its standard output where it wrote down what it made: what is in the archive and was not there.
_remote_put='
umask 077
place=$1 missing= above=$1
while [ ! -d "$above" ]; do missing="$missing$above
"; above=$(dirname "$above"); done
archive=$(mktemp) && made=$(mktemp) && cat >"$archive" && mkdir -p "$place" && cd "$place" || exit 1
{
    tar tzf "$archive" | while IFS= read -r name; do
        case $name in ./ | *\\*) ;; *) [ -e "$name" ] || [ -L "$name" ] || printf "%s\n" "$place/$name" ;; esac
    done
} >"$made"
# Deepest first: a directory is removed when it is empty.
sort -r "$made" >"$made.new" && printf "%s" "$missing" >>"$made.new" && mv "$made.new" "$made" || exit 1
tar xzf "$archive" || exit 1
rm -f "$archive"
printf "%s\n" "$made"'
_remote_clean='
case $1 in /*/tmp.*) ;; *) exit 1 ;; esac
while IFS= read -r name; do
    name=${name%/}
    if [ -d "$name" ] && [ ! -L "$name" ]; then rmdir "$name" 2>/dev/null; else rm -f "$name"; fi
done <"$1"
rm -f "$1"'

# remote_run HOST SCRIPT WORD...: a script for sh, with words, on that host.
remote_run() {
    local host=$1 command
    mpi_start_quote command sh -c "$2" sh "${@:3}"
    "${remote_shell[@]}" "$host" "$command"
}

remote_copy_to() {
    local made host=$1
    if mpi_start_is_local "$host"; then
        debug_msg "skip local machine"
        return 0
    fi
    debug_msg "distribute \"$I2G_MPI_APPLICATION\" to remote node : $host"
    made=$(remote_run "$host" "$_remote_put" "$PWD" <"$TARBALL")
    if [ $? != 0 ] || [ -z "$made" ]; then
        error_msg "cannot copy $PWD to $host"
        remote_failed=1
        return 1
    fi
    remote_made[$host]=${made##*$'\n'}
    if [ "$MPI_START_DISTRIBUTE_PROXY" = 1 ] && [ -r "$X509_USER_PROXY" ]; then
        remote_run "$host" 'umask 077; cat >"$1"' "$X509_USER_PROXY" <"$X509_USER_PROXY" || remote_failed=1
        remote_proxies[$host]=$X509_USER_PROXY
    fi
}

remote_copy() {
    declare -gA remote_made=() remote_proxies=()
    remote_failed=
    mpi_start_foreach_host remote_copy_to
    [ -z "$remote_failed" ]
}

remote_clean() {
    local host failed=
    for host in "${!remote_made[@]}"; do
        debug_msg "cleanup \"$I2G_MPI_APPLICATION\" to remote node : $host"
        remote_run "$host" "$_remote_clean" "${remote_made[$host]}" </dev/null || failed=1
        if [ -n "${remote_proxies[$host]}" ]; then
            remote_run "$host" 'rm -f "$1"' "${remote_proxies[$host]}" </dev/null || failed=1
        fi
    done
    [ -z "$failed" ]
}

# remote_fetch HOST FILE DESTINATION: FILE may be a pattern of the other host's.
remote_fetch() {
    local folder=$3
    if mpi_start_is_local "$1"; then
        [ "$2" -ef "$3" ] || cp -R -- "$2" "$3"
        return
    fi
    if [ -d "$folder" ]; then
        remote_run "$1" 'cd "$(dirname "$1")" && eval "tar cf - $(basename "$1")"' "$2" </dev/null | tar xf - -C "$folder"
        return "${PIPESTATUS[0]}"
    fi
    remote_run "$1" 'cat <"$1"' "$2" </dev/null >"$folder"
}

# remote_way: sets remote_shell to the command by which the batch system lets us to its hosts.
remote_way() {
    case $MPI_START_SCHEDULER in
        slurm) type -P srun >/dev/null && remote_shell=(remote_srun) && return 0 ;;
        sge) type -P qrsh >/dev/null && remote_shell=(remote_qrsh) && return 0 ;;
    esac
    return 1
}

remote_srun() { srun --quiet --chdir=/ --overlap --mpi=none -N1 -n1 -w "$1" sh -c "$2"; }
remote_qrsh() { qrsh -inherit "$1" "$2"; } # like ssh, it has a shell read that once more

# remote_shares FOLDER: do all hosts see what is in it? A file says so, which we make there for that.
remote_shares() {
    local mark=$1/.mpi-start.$$.$RANDOM$RANDOM host seen=0 said
    local -a hosts remote_shell=()
    mpi_start_words remote_shell "$GSHELL_PEERS"
    if [ ${#remote_shell[@]} = 0 ] && ! remote_way; then
        mpi_start_words remote_shell "${MPI_START_SSH_AGENT:-${MPI_START_RSH:-ssh}}"
        case ${remote_shell[0]} in ssh | */ssh) remote_shell+=(-o BatchMode=yes -o ConnectTimeout=5) ;; esac
        type -P -- "${remote_shell[0]}" >/dev/null || return 1
    fi
    ( set -C; : >"$mark" ) 2>/dev/null || return 1
    mapfile -t hosts <"$MPI_START_HOSTFILE"
    for host in "${hosts[@]}"; do
        mpi_start_is_local "$host" && continue
        said=$(remote_run "$host" '[ -e "$1" ] && echo "sees it"' "$mark" </dev/null 2>/dev/null)
        case $said in *"sees it"*) ;; *) seen=1; break ;; esac
    done
    rm -f -- "$mark"
    return "$seen"
}
