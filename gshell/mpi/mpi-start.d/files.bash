# The job's files on all its hosts: is the directory shared, who copies it if not, and what is cleaned up.
# Sourced by mpi-start; runs nothing by itself.

_ms_copied= # name of the distribution plug-in whose copy() was called

# Sets MPI_START_SHARED_FS: is the working directory the same on all hosts? What a site says counts;
# else the kind of its file system does.
_ms_detect_shared() {
    local point kind best= found= home=${HOME%/}
    debug_msg "detect shared filesystem"
    case $MPI_START_SHARED_FS in 0 | 1) export MPI_START_SHARED_FS; return 0 ;; esac
    export MPI_START_SHARED_FS=0
    if [ "$MPI_SHARED_HOME" = yes ] && [ -n "$home" ]; then
        case $PWD/ in "$home"/*) MPI_START_SHARED_FS=1; debug_msg "$home is shared"; return 0 ;; esac
    fi
    while read -r _ point kind _; do
        printf -v point %b "$point" # a blank is \040
        point=${point%/}
        case $PWD/ in
            "$point"/*) [ ${#point} -ge ${#best} ] && best=$point found=$kind ;;
        esac
    done </proc/self/mounts
    case $found in
        nfs* | gfs* | afs | smb* | cifs | gpfs | lustre | ocfs2 | ceph | beegfs | panfs | pvfs2 | orangefs | fuse.sshfs | fuse.glusterfs | fuse.ceph*)
            MPI_START_SHARED_FS=1
            debug_msg "found network fs: $found"
            ;;
        *)
            debug_msg "found local fs: $found"
            [ "$MPI_START_NHOSTS" -gt 1 ] || return 0
            # It may be exported to the others, or be a part of something larger.
            . "$_ms_home/mpi-start.d/remote.bash"
            if remote_shares "$PWD"; then
                MPI_START_SHARED_FS=1
                debug_msg "the other hosts see $PWD too"
            fi
            ;;
    esac
}

_ms_load_filedist() {
    unset -f check_distribution_method copy clean copy_from_node
    debug_msg "source $1"
    . "$1"
    declare -F copy >/dev/null && declare -F check_distribution_method >/dev/null
}

# Chooses how files get to the other hosts, and has them copied.
_ms_distribute() {
    local _ms_file _ms_name _ms_best= _ms_least=255 _ms_code _ms_tar_said
    if [ "$MPI_START_SHARED_FS" = 1 ] || [ "$MPI_START_NHOSTS" -le 1 ]; then return 0; fi
    debug_msg "fs not shared -> distribute binary"
    if [ -n "$I2G_MPI_FILE_DIST" ]; then
        if ! _ms_find "$I2G_MPI_FILE_DIST.filedist" || ! _ms_load_filedist "$_ms_found"; then
            error_msg "there is no file distribution method '$I2G_MPI_FILE_DIST' (I2G_MPI_FILE_DIST)"
            return 1
        fi
        _ms_best=$_ms_found
    else
        _ms_list filedist
        for _ms_file in "${_ms_list[@]}"; do
            _ms_load_filedist "$_ms_file" || continue
            check_distribution_method
            _ms_code=$?
            debug_msg "file distribution by $_ms_file: priority $_ms_code"
            [ "$_ms_code" -lt "$_ms_least" ] && _ms_least=$_ms_code _ms_best=$_ms_file
        done
        if [ -z "$_ms_best" ]; then
            error_msg "no way to copy $PWD to the $MPI_START_NHOSTS hosts: MPI_START_SHARED_FS=1 says that they share it"
            return 1
        fi
        _ms_load_filedist "$_ms_best"
    fi
    _ms_name=${_ms_best##*/} _ms_name=${_ms_name%.filedist}
    info_msg "distribute $PWD by $_ms_name"
    mpi_start_mktemp || return 1
    export TARBALL=$MPI_START_TEMP_FILE
    if ! _ms_tar_said=$(tar czf "$TARBALL" . 2>&1); then
        error_msg "cannot pack $PWD for the other hosts: ${_ms_tar_said##*$'\n'}"
        return 1
    fi
    # A hook may have a function of its own with this name.
    if declare -F clean >/dev/null; then eval "_ms_plugin_$(declare -f clean)"; fi
    _ms_copied=$_ms_name
    copy && return 0
    error_msg "the distribution of $PWD by $_ms_name failed"
    return 1
}

_ms_clean() {
    [ -n "$_ms_copied" ] || return 0
    local _ms_name=$_ms_copied PATH=${PATH:+$PATH:}/usr/bin:/bin # a hook may have left none with tar
    _ms_copied=
    [ "$MPI_START_DISABLE_CLEANUP" = yes ] && return 0
    debug_msg "fs not shared -> cleanup binary"
    declare -F _ms_plugin_clean >/dev/null || return 0
    _ms_plugin_clean || warn_msg "what $_ms_name copied could not be removed everywhere"
}

# copy_from_node HOST FILE DESTINATION: until a distribution method has one, all see the same files.
copy_from_node() {
    [ "$2" -ef "$3" ] || cp -R -- "$2" "$3"
}
