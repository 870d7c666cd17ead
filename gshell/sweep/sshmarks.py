"""By what remote processes are found, so that all of one run is ended and nothing else.

Each has a mark, ``OWNER-LINE-NUMBER-``: of this Python, of the connection that answers for it, its
own. The login's shell has it in its command line and its forks too; what these start has it in the
environment; what is started with another environment is found as their child. So neither a new
session nor a new process group hides anything, and no second shell is needed.
"""

from __future__ import annotations

from collections.abc import Iterable

MARK = "GSHELL_SWEEP"

# For all login shells: sh, bash, zsh and fish have no variable `shell`, csh and tcsh always do.
_PREFIX = 'test "$shell" = "" && export {m}; test "$shell" = "" || setenv {csh}; '

# Ends what has a mark and all children of that, again and again until there is nobody new. No
# quote, backslash, exclamation mark or newline: it is told to any login shell in single quotes.
# [P]: it must not find itself. One grep reads all of /proc: many who look at the same time (many
# addresses of one host) must not keep it busy.
_SWEEP = (
    'cd /proc || exit 0; sweep() {{ had=" "; sig=$1; for round in 1 2 3 4 5 6 7 8; do '
    'now=" $(grep -lE "' + MARK[:-1] + "[" + MARK[-1] + ']={which}" '
    "[0-9]*/cmdline [0-9]*/environ 2>/dev/null | while IFS=/ read -r p f; do echo $p; done | "
    'sort -u | tr -s "[:space:]" " ")"; '
    'set -- $(grep -sH ^PPid: [0-9]*/status); more=yes; while [ "$more" ]; do more=; '
    'for w in "$@"; do case $w in */*) p=${{w%%/*}};; *) case "$now" in *" $w "*) '
    'case "$now" in *" $p "*) ;; *) now="$now$p "; more=yes;; esac;; esac;; esac; done; done; '
    'new=; for p in $now; do case "$had" in *" $p "*) ;; *) new="$new $p"; had="$had$p ";; esac; '
    'done; [ "$new" ] || return 0; kill -$sig $new 2>/dev/null; done; }}; '
)


def marked(command: str, mark: str) -> str:
    """``command`` as it is told to a login's shell, whichever that is."""
    return _PREFIX.format(m=f"{MARK}={mark}", csh=f"{MARK} {mark}") + command


def ending(mark: str, signal: str) -> str:
    """What sends ``signal`` (its name, no SIG) to all that ``mark`` has begun."""
    return _told(_SWEEP.format(which=mark) + f"sweep {signal}")


def guarding(marks: Iterable[str]) -> str:
    """What waits for the end of its input, which is the connection's, and then ends all that begins
    with one of ``marks``; ``leave`` sends it away."""
    which = "(" + "|".join(marks) + ")"
    return _told(
        'trap "" HUP; read -r word; [ "$word" = leave ] && exit 0; '
        + _SWEEP.format(which=which)
        + 'sweep TERM; [ "$had" = " " ] && exit 0; sleep 3; sweep KILL'
    )


def _told(script: str) -> str:
    return f"exec /bin/sh -c '{script}'"
