#!/bin/sh
# gshell's launcher: finds the interpreter and the package it was installed with, using only the shell's
# builtins, and starts gshell/front.py without Python's `site` module. A console script would cost twice
# as much. It knows nothing of gshell's verbs.
# The names begin with gshell_, since assigning to a variable the user exports would change the user's.

gshell_self=$0
case $gshell_self in */*) ;; *) gshell_self=./$gshell_self ;; esac    # `sh gshell` in its own folder
# pipx, or ~/bin -> venv/bin: the only cases that cost a process.
if [ -L "$gshell_self" ] || [ -L "${gshell_self%/*}" ]; then
    gshell_self=$(readlink -f -- "$gshell_self")
fi
gshell_bin=${gshell_self%/*}
case $gshell_bin in /* | '') ;; *) gshell_bin=$(CDPATH='' cd -- "$gshell_bin" && pwd) ;; esac

# gshell_compiled ROOT VERB: sets gshell_front to the compiled front (data/front.c) that the background
# process has made for the package in ROOT on this host, if there is one; client/stub.py says the same
# path. Only one of our own counts: under sudo the HOME may be somebody else's.
gshell_compiled() {
    gshell_front=
    case ${2-} in run | mpi | sh | attach | logs) ;; *) return ;; esac
    [ -r /proc/sys/kernel/hostname ] && IFS= read -r gshell_host </proc/sys/kernel/hostname || return
    if [ -n "${GSHELL_HOME-}" ]; then
        gshell_cache=$GSHELL_HOME/cache
    else
        case ${XDG_CACHE_HOME-} in
            /*) gshell_cache=$XDG_CACHE_HOME/gshell ;;
            *) gshell_cache=${HOME-}/.cache/gshell ;;
        esac
    fi
    gshell_front=$gshell_cache/front/$gshell_host$1/front-1
    [ -x "$gshell_front" ] && [ -O "$gshell_front" ] || gshell_front=
}

# gshell_start SITE ROOT ARG...: runs ROOT/gshell/front.py with the interpreter that SITE belongs to;
# returns if there is none. sitepath.py reads the -X option: it says where third-party packages are.
# The compiled front is given the same words, for when it can't do it; 6 of them come before the user's.
gshell_start() {
    gshell_site=$1 gshell_root=$2
    shift 2
    gshell_python=${gshell_site%/*}
    gshell_python=${gshell_python##*/}                      # "python3.11"
    if [ -x "$gshell_bin/$gshell_python" ]; then
        gshell_python=$gshell_bin/$gshell_python            # a virtual environment, or a whole prefix
    else
        command -v "$gshell_python" >/dev/null || return 0  # pip install --user: the one on PATH
    fi
    gshell_compiled "$gshell_root" "$@"
    exec ${gshell_front:+"$gshell_front" 6} \
        "$gshell_python" -I -S -X "gshell_site=$gshell_site" "$gshell_root/gshell/front.py" "$@"
}

for gshell_site in "${gshell_bin%/*}"/lib/python3*/site-packages \
    "${gshell_bin%/*}"/lib/python3*/dist-packages; do
    if [ -f "$gshell_site/gshell/front.py" ]; then
        gshell_start "$gshell_site" "$gshell_site" "$@"
    else
        for gshell_pth in "$gshell_site"/_*gshell.pth; do   # editable: its first line is the checkout
            [ -f "$gshell_pth" ] || continue
            IFS= read -r gshell_root <"$gshell_pth"
            [ -f "$gshell_root/gshell/front.py" ] && gshell_start "$gshell_site" "$gshell_root" "$@"
        done
    fi
done

# A layout we don't know: let Python find it.
[ -x "$gshell_bin/python3" ] && exec "$gshell_bin/python3" -I -m gshell "$@"
exec python3 -I -m gshell "$@"
