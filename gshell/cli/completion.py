"""``gshell completion SHELL``: the script; ``gshell complete``: what that script asks."""

from __future__ import annotations

import os
import shlex
import sys

from gshell.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gshell.cli.complete import Found
    from gshell.cli.options import Parsed

SHELLS = ("bash", "zsh", "fish")
_SPECIAL = " '\"\\$`&|;<>()*?[]#!"
_BREAKS = ":="  # bash begins a new word behind these

# Each asks with the line up to the cursor. Answers: a word a line, a tab, what it is; the last line
# says what of this machine fits beside them.
_BASH = r"""_gshell() {
    local line="${COMP_LINE:0:COMP_POINT}" text IFS=$'\n' also=""
    local -a found=()
    while IFS=$'\t' read -r kind text what; do
        case $kind in
            word) found+=("$text${what:+$'\t'$what}") ;;
            also) also=$text ;;
        esac
    done < <(@GSHELL@ complete bash "$line" 2>/dev/null)
    COMPREPLY=()
    local one
    if [ ${#found[@]} -gt 1 ] && [ "$COMP_TYPE" != 37 ]; then
        # to choose from: each with what it is, as far as the terminal has room
        local long=0 wide=$((${COLUMNS:-80} - 4))
        for one in "${found[@]}"; do
            text=${one%%$'\t'*}
            [ ${#text} -gt $long ] && long=${#text}
        done
        for one in "${found[@]}"; do
            text=${one%%$'\t'*}
            if [ "$one" != "$text" ] && [ $wide -gt $((long + 12)) ]; then
                printf -v one "%-${long}s  (%s)" "$text" "${one#*$'\t'}"
                [ ${#one} -gt $wide ] && one="${one:0:$((wide - 1))})"
            else
                one=$text
            fi
            COMPREPLY+=("$one")
        done
    else
        for one in "${found[@]}"; do COMPREPLY+=("${one%%$'\t'*}"); done
    fi
    local word="${COMP_WORDS[COMP_CWORD]}"
    case $also in
        files) COMPREPLY+=($(compgen -f -- "$word")); compopt -o filenames 2>/dev/null ;;
        commands) COMPREPLY+=($(compgen -c -- "$word")) ;;
    esac
    case ${COMPREPLY[0]-} in
        */|*:|*=) [ ${#COMPREPLY[@]} -eq 1 ] && compopt -o nospace 2>/dev/null ;;
    esac
    return 0
}
complete -F _gshell gshell
"""
_ZSH = r"""_gshell() {
    local line="${(j: :)${(@q)words[1,CURRENT-1]}} ${words[CURRENT]}" kind text what also=""
    local -a found open
    while IFS=$'\t' read -r kind text what; do
        case $kind in
            word)
                text=${text//:/\\:}
                [[ $text == *(/|:|=) ]] && open+=("$text:$what") || found+=("$text:$what") ;;
            also) also=$text ;;
        esac
    done < <(@GSHELL@ complete zsh "$line" 2>/dev/null)
    (( $#found )) && _describe -V 'gshell' found
    (( $#open )) && _describe -V 'gshell' open -S ''
    case $also in
        files) _files ;;
        commands) _command_names -e ;;
    esac
    return 0
}
compdef _gshell gshell
"""
_FISH = r"""function __gshell_complete
    set -l line (commandline -cp)
    set -l also ""
    @GSHELL@ complete fish "$line" 2>/dev/null | while read -l --delimiter \t kind text what
        switch $kind
            case word
                printf '%s\t%s\n' $text $what
            case also
                switch $text
                    case files
                        __fish_complete_path (commandline -ct)
                    case commands
                        __fish_complete_command
                end
        end
    end
end
complete -c gshell -f -a '(__gshell_complete)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def script(shell: str) -> str:
    """What that shell is to read.

    Raises:
        UsageError: it is none that we know.
    """
    if shell not in _SCRIPTS:
        raise UsageError(f"completion: {shell!r} is not one of {', '.join(SHELLS)}",
                         hint='eval "$(gshell completion bash)"')  # fmt: skip
    return _SCRIPTS[shell].replace("@GSHELL@", "command gshell")


def completion(parsed: Parsed) -> int:
    text = script(parsed.words[0])
    if parsed["json"]:
        from gshell.cli.listing import print_json

        print_json("script", text)
    else:
        sys.stdout.write(text)
    return 0


def answer(found: Found, shell: str, last: str) -> str:
    """The lines for the script. ``last``: the word that is being typed."""
    cut = 0
    if shell == "bash":  # it replaces only what is behind the last of its word breaks
        cut = 1 + max(last.rfind(char) for char in _BREAKS)
    lines = []
    for word in found.words:
        text = word.text[cut:]
        if shell == "bash":  # the others do it themselves
            text = _goes_on(text) if word.goes_on else _quoted(text)
        lines.append(f"word\t{text}\t{word.meta}\n")
    if found.also:
        lines.append(f"also\t{found.also}\n")
    return "".join(lines)


def _quoted(text: str) -> str:
    return shlex.quote(text) if any(char in _SPECIAL for char in text) else text


def _goes_on(text: str) -> str:
    """Quoted so that more can be typed behind it."""
    return "".join("\\" + char if char in _SPECIAL else char for char in text)


def words_of(line: str) -> list[str]:
    """A line that is being typed, as words; the last one is empty if a new one begins.

    >>> words_of("gshell attach 4"), words_of("gshell 'a b' ")
    (['gshell', 'attach', '4'], ['gshell', 'a b', ''])
    """
    words, word, quote, begun, escaped = [], "", "", False, False
    for char in line:
        if escaped:
            word, escaped = word + char, False
        elif char == "\\" and quote != "'":
            begun = escaped = True
        elif quote:
            if char == quote:
                quote = ""
            else:
                word += char
        elif char in "'\"":
            quote, begun = char, True
        elif char in " \t\n":
            if begun or word:
                words.append(word)
            word, begun = "", False
        elif char in ";|&":
            words, word, begun = [], "", False  # another command begins
        else:
            word += char
    return [*words, word]


def complete(parsed: Parsed) -> int:
    """The hidden verb: says nothing but what fits, whatever happens."""
    shell, line = parsed.words[0], " ".join(parsed.words[1:])
    words = words_of(line)
    while words and "=" in words[0] and len(words) > 1:
        del words[0]  # NAME=VALUE before the command
    words = words[1:] or [""]
    try:
        from gshell.cli.complete import complete as candidates
        from gshell.cli.live import Asked

        found = candidates(words, Asked())
        if parsed["json"]:
            from gshell.cli.listing import print_json

            print_json("words", [{"text": word.text, "meta": word.meta} for word in found.words])
        else:
            sys.stdout.write(answer(found, shell, words[-1]))
        sys.stdout.flush()
    except Exception:
        if os.environ.get("GSHELL_LOG", "").lower() == "debug":
            raise
        return 1
    return 0


VERBS = {"completion": completion, "complete": complete}
