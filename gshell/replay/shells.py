"""A shell that marks its prompts (OSC 133), with the user's own settings. Knows no processes.

The marks: ``A`` here the prompt begins, ``B`` there it ends, ``C`` the command's output begins,
``D;STATUS`` the command has ended; of our own: ``S;PATH`` this shell begins. They are put in by a
file that the shell reads instead of the user's, and that reads the user's first.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

MARKING = ("bash", "zsh", "fish", "sh", "dash", "ash")
SHELLS = frozenset((*MARKING, "ksh", "mksh", "busybox", "tcsh", "csh"))

_BASH = r"""
command rm -rf -- "$GSHELL_REPLAY_RC"; unset GSHELL_REPLAY_RC
if [ "$GSHELL_REPLAY_HOW" != own ]; then
  unset HISTFILE
  bind 'set enable-bracketed-paste off' 2>/dev/null
fi
unset GSHELL_REPLAY_HOW
__gshell_status() { local s=$?; printf '\033]133;D;%s\007' "$s"; return "$s"; }
__gshell_prompt() {
  local s=$?
  case $PS1 in *'133;B'*) ;; *) PS1='\[\e]133;A\a\]'"$PS1"'\[\e]133;B\a\]' ;; esac
  case $PS0 in *'133;C'*) ;; *) PS0='\e]133;C\a'"$PS0" ;; esac
  return "$s"
}
case $(declare -p PROMPT_COMMAND 2>/dev/null) in
"declare -a"*) PROMPT_COMMAND=(__gshell_status "${PROMPT_COMMAND[@]}" __gshell_prompt) ;;
*) PROMPT_COMMAND="__gshell_status${PROMPT_COMMAND:+
$PROMPT_COMMAND}
__gshell_prompt" ;;
esac
"""
_ZSH = r"""
command rm -rf -- "$GSHELL_REPLAY_RC"; unset GSHELL_REPLAY_RC
[[ $GSHELL_REPLAY_HOW = own ]] || unset HISTFILE
unset GSHELL_REPLAY_HOW
unsetopt prompt_sp prompt_cr
__gshell_status() { local s=$?; print -n "\e]133;D;$s\a"; return $s }
__gshell_prompt() {
  [[ $PS1 == *'133;B'* ]] || PS1=$'%{\e]133;A\a%}'$PS1$'%{\e]133;B\a%}'
}
__gshell_begins() { print -n "\e]133;C\a" }
precmd_functions=(__gshell_status $precmd_functions __gshell_prompt)
preexec_functions=($preexec_functions __gshell_begins)
"""
_FISH = r"""
set -g fish_greeting
functions -q fish_prompt; or function fish_prompt; echo -n "> "; end
functions -c fish_prompt __gshell_users_prompt
function fish_prompt
  set -l s $status; printf "\e]133;A\a"; sh -c "exit $s"
  __gshell_users_prompt; printf "\e]133;B\a"
end
function __gshell_begins --on-event fish_preexec; printf "\e]133;C\a"; end
function __gshell_ended --on-event fish_postexec; printf "\e]133;D;%s\a" $status; end
"""
# They look into their prompt each time, so that it can say how the last command ended; where its
# output begins they cannot.
_PLAIN = r"""
command rm -rf -- "$GSHELL_REPLAY_RC"; unset GSHELL_REPLAY_RC GSHELL_REPLAY_HOW
unset ENV
PS1="$(printf '\033]133;D;')"'$?'"$(printf '\007\033]133;A\007')$PS1$(printf '\033]133;B\007')"
"""
# The shell is $1, or the user's own. $2 "plain": without what the user has set for it; "own": the
# user is there, and keeps history and pasting as they are. $3: before the user's own, if it is
# there. Which one it is, is said to who asks for marks: who records or plays may be elsewhere.
BOOT = rf"""
s=$1; d=
if [ ! "$s" ] && [ "$3" ]; then
  s=$(command -v "$3" || command -v "${{3##*/}}") && export SHELL="$s"
fi
if [ ! "$s" ]; then
  s=$SHELL
  [ -x "$s" ] || s=$(getent passwd "$(id -u)" 2>/dev/null | cut -d: -f7)
  [ -x "$s" ] || s=/bin/sh
fi
[ ! -t 1 ] || printf '\033]133;S;%s\007' "$s"
case ${{s##*/}} in bash|zsh|sh|dash|ash) d=$(mktemp -d) || d= ;; esac
GSHELL_REPLAY_RC=$d; GSHELL_REPLAY_HOW=$2; export GSHELL_REPLAY_RC GSHELL_REPLAY_HOW
case ${{s##*/}}$d in
bash/*) cat >"$d/rc" <<'GSHELL_END'
[ "$GSHELL_REPLAY_HOW" != plain ] && [ -r ~/.bashrc ] && . ~/.bashrc
{_BASH}
GSHELL_END
  exec "$s" --rcfile "$d/rc" -i ;;
zsh/*) cat >"$d/.zshrc" <<'GSHELL_END'
if [[ -n $GSHELL_REPLAY_ZDOTDIR ]]; then ZDOTDIR=$GSHELL_REPLAY_ZDOTDIR; else unset ZDOTDIR; fi
unset GSHELL_REPLAY_ZDOTDIR
if [[ $GSHELL_REPLAY_HOW != plain ]]; then
  [[ -r ${{ZDOTDIR:-$HOME}}/.zshenv ]] && . ${{ZDOTDIR:-$HOME}}/.zshenv
  [[ -r ${{ZDOTDIR:-$HOME}}/.zshrc ]] && . ${{ZDOTDIR:-$HOME}}/.zshrc
fi
{_ZSH}
GSHELL_END
  GSHELL_REPLAY_ZDOTDIR=$ZDOTDIR; ZDOTDIR=$d; export GSHELL_REPLAY_ZDOTDIR ZDOTDIR
  exec "$s" -i ;;
sh/*|dash/*|ash/*) cat >"$d/rc" <<'GSHELL_END'
[ "$GSHELL_REPLAY_HOW" != plain ] && [ -r "$GSHELL_REPLAY_ENV" ] && . "$GSHELL_REPLAY_ENV"
unset GSHELL_REPLAY_ENV
{_PLAIN}
GSHELL_END
  GSHELL_REPLAY_ENV=$ENV; ENV=$d/rc; export GSHELL_REPLAY_ENV ENV
  exec "$s" -i ;;
fish*) unset GSHELL_REPLAY_RC GSHELL_REPLAY_HOW; exec "$s" -i -C '{_FISH}' ;;
*) unset GSHELL_REPLAY_RC GSHELL_REPLAY_HOW; exec "$s" -i ;;
esac
"""


def is_shell(word: str) -> bool:
    """A name or a path, of one that we know."""
    return word.rpartition("/")[2] in SHELLS


def argv(shell: str = "", plain: bool = False, own: bool = False, rather: str = "") -> list[str]:
    """Words that start it with marks; ``shell``: its path, else ``rather`` (a name or a path) if
    it is there, else the user's own there. ``own``: a person types, and nothing but the marks is
    to be different."""
    how = "plain" if plain else "own" if own else ""
    return ["/bin/sh", "-c", BOOT, "gshell-replay", shell, how, rather]


def marking(words: list[str]) -> list[str]:
    """The same program; if it is nothing but a shell that can, with marks.

    >>> marking(["bash", "-c", "true"])
    ['bash', '-c', 'true']
    >>> marking(["/bin/zsh", "-i"])[3:]
    ['gshell-replay', '/bin/zsh', '', '']
    """
    rest = set(words[1:])
    plain = bool(rest & {"--norc", "-f", "--no-rcs"})
    only = rest <= {"-i", "--norc", "--noprofile", "-f", "--no-rcs"}
    if os.path.basename(words[0]) in MARKING and only:
        return argv(words[0], plain)
    return words


class Mark(NamedTuple):
    """Where in the output, with the marks left out."""

    at: int
    kind: str
    status: int | None


class Marks:
    """Takes the marks out of a program's output."""

    _WHOLE = re.compile(rb"\x1b\]133;([A-Z])([^\x07\x1b]*)(?:\x07|\x1b\\)")
    _BEGIN = b"\x1b]133;"
    LONGEST = 256

    def __init__(self) -> None:
        self.found: list[Mark] = []
        self.shell = ""
        """Which one was started (``S``)."""
        self._at = 0
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What is left of it; the beginning of a mark is kept back until its end has come."""
        data = self._held + data
        self._held = b""
        parts: list[bytes] = []
        done = 0
        for match in self._WHOLE.finditer(data):
            parts.append(data[done : match.start()])
            self._at += match.start() - done
            done = match.end()
            words = match[2].split(b";")
            if match[1] == b"S":
                self.shell = words[-1].decode("utf-8", "replace")
                continue
            status = words[1] if len(words) > 1 and words[1].isdigit() else b""
            kind = match[1].decode()
            self.found.append(Mark(self._at, kind, int(status) if status else None))
        rest = data[done:]
        at = rest.rfind(self._BEGIN)
        if at < 0:
            at = rest.rfind(b"\x1b")
            if at >= 0 and not self._BEGIN.startswith(rest[at:]):
                at = -1
        if at >= 0 and len(rest) - at < self.LONGEST:
            self._held = rest[at:]
            rest = rest[:at]
        parts.append(rest)
        self._at += len(rest)
        return b"".join(parts)

    def end(self) -> bytes:
        """What was kept back, after all no mark."""
        held, self._held = self._held, b""
        return held
