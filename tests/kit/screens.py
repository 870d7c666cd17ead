"""Terminal programs in two panes of a tmux, one direct and one through gshell: what do the panes show?

A scenario is typed into both; after each step a text is waited for, never for quiet. At its end the two must come
to show the same: the cells with their colours, the cursor, every mode that tmux knows of. Knows no test.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

PATIENCE_S = 20.0
SIZE = (80, 24)
FACTS = [
    "cursor_x",
    "cursor_y",
    "alternate_on",
    "cursor_flag",
    "insert_flag",
    "keypad_cursor_flag",
    "keypad_flag",
    "mouse_any_flag",
    "mouse_standard_flag",
    "mouse_button_flag",
    "mouse_all_flag",
    "mouse_sgr_flag",
    "mouse_utf8_flag",
    "origin_flag",
    "wrap_flag",
    "scroll_region_upper",
    "scroll_region_lower",
    "pane_title",
    "pane_width",
    "pane_height",
    "history_size",
]


class Scenario(NamedTuple):
    name: str
    command: str
    """For a shell."""
    steps: tuple[tuple[str, str], ...]
    """(keys, a pattern to wait for): ``<Up>`` is a key of tmux's, all else is typed as it is."""
    quick: bool = False
    """Among those of the default run."""

    @property
    def program(self) -> str:
        return self.command.split()[0]


def _prints(text: str) -> str:
    """A program that prints this, and ends with a key."""
    return f"printf {shlex.quote(text + 'done')}; read -rsn1"


VIM = "vim -u NONE -N -n -i NONE text"
SH = "bash --norc --noprofile -i"
PY = "python3 -q -i -c 'import sys; sys.ps1=\"py> \"'"
GDB = "gdb -q -nx"
PROMPT = ("", r"[#$]$")
SCENARIOS = (
    Scenario("vim opens a file", VIM, (("", "line 22"),), True),
    Scenario("vim goes to the end and inserts", VIM, (("G", "line 120"), ("oat the end<Escape>", "at the end"))),
    Scenario("vim searches with colours", VIM, ((":set hlsearch<Enter>/line 9[0-9]<Enter>", "line 90"),)),
    Scenario("vim splits", VIM, ((":vsplit<Enter>:split<Enter>:set number<Enter>", "  1 "), ("<C-w>j50G", " 50 ")), True),
    Scenario("vim in visual mode", VIM, (("V5j", "VISUAL LINE"),)),
    Scenario("vim with the mouse on", VIM, ((":set mouse=a<Enter>:echo 'on' . 'ly'<Enter>", "only"),), True),
    Scenario("vim completes and undoes", VIM, (("yyp3xiX<Escape>u:echo 'un' . 'done'<Enter>", "undone"),)),
    Scenario("vim's own shell", VIM, ((":!echo in$((1+1))<Enter>", "in2"), ("<Enter>", "line 20")), True),
    Scenario("vim leaves", f"{VIM}; echo left", ((":q!<Enter>", "left"),), True),
    Scenario("vim suspended and back", SH, (PROMPT, (f"{VIM}<Enter>", "line 20"), ("<C-z>", "Stopped"), ("fg<Enter>", "line 20"))),
    Scenario("less", "less text", (("", "line 23"),), True),
    Scenario("less searches", "less text", (("/line 77<Enter>", "line 99"),)),
    Scenario("less with line numbers, scrolled", "less -N text", (("G", "120 line 120"), ("b", " 80 "))),
    Scenario("less chops and moves right", "less -S long", (("<Right><Right>", "^ word13"),)),
    Scenario("less shows colours", "less -R colours", (("", "colour 20"),), True),
    Scenario("less help and back", "less text", (("h", "SUMMARY"), ("q", "line 23"))),
    Scenario("less leaves", "less text; echo left", (("q", "left"),), True),
    Scenario("nano", "nano -I text", (("", "line 18"),), True),
    Scenario("nano writes and searches", "nano -I text", (("new <Enter>", "Modified"), ("<C-w>line 99<Enter>", "line 99"))),
    Scenario("nano's help", "nano -I text", (("<C-g>", "Main nano help"),)),
    Scenario("nano leaves", "nano -I text; echo left", (("<C-x>", "left"),)),
    Scenario("dialog's yes or no", "dialog --yesno 'Shall we?' 8 40", (("", "Shall we"), ("<Tab>", "No")), True),
    Scenario("dialog's menu", "dialog --menu Pick 15 50 5 a Alpha b Beta g Gamma", (("", "Gamma"), ("<Down><Down>", "Gamma"))),
    Scenario("dialog's input", "dialog --inputbox Name 8 40", (("", "Name"), ("Grace<Left><Left>", "Grace"))),
    Scenario("dialog's gauge", "(echo 30; sleep 100) | dialog --gauge Copying 8 40", (("", "30%"),)),
    Scenario("dialog leaves", "dialog --msgbox Hello 8 40; echo left", (("", "Hello"), ("<Enter>", "left"))),
    Scenario("mc", "mc -a -d files files", (("", "10Quit"),)),
    Scenario("mc's menu", "mc -a -d files files", (("", "10Quit"), ("<F9><Down>", "File listing|Listing"))),
    Scenario("mcedit", "mcedit text", (("", "line 20"),)),
    Scenario("htop's help", "htop -C", (("", "CPU"), ("<F1>", "Digits: incremental"))),
    Scenario("htop leaves", "htop -C; clear; echo left", (("", "CPU"), ("q", "left"))),
    Scenario("top's help", "top", (("", "load average"), ("h", "Help for Interactive")), ),
    Scenario("python", PY, (("", r"py>$"), ("print(6 * 7)<Enter>", "\n42")), True),
    Scenario("python's lines are edited", PY, (("", r"py>$"), ("print('ac')<Left><Left><Left>b<C-a><C-e><Enter>", "\nabc"))),
    Scenario("python is interrupted", PY, (("", r"py>$"), ("input('what? ')<Enter>", r"what\?$"), ("<C-c>", "KeyboardInterrupt\n")), True),
    Scenario("gdb", GDB, (("", r"\(gdb\)$"), ("print 6*7<Enter>", r"\$1 = 42"))),
    Scenario("gdb completes", GDB, (("", r"\(gdb\)$"), ("info reg<Tab>", "info registers"))),
    Scenario("gdb runs a program", f"{GDB} -ex 'set disable-randomization off' /bin/true", (("", r"\(gdb\)$"), ("run 2>&1 | cat >/dev/null<Enter>", "exited normally"))),
    Scenario("tmux inside", "tmux -L in$$ -f inner.conf new 'bash --norc --noprofile'", (("", "bash-"), ("echo $((6*7))<Enter>", "\n42")), True),
    Scenario("tmux inside, split", "tmux -L in$$ -f inner.conf new 'bash --norc --noprofile'", (("", "bash-"), ("<C-b>%", "│"), ("echo $((6*7))<Enter>", "42"))),
    Scenario("readline's history", SH, (PROMPT, ("echo first<Enter>", "\nfirst"), ("<C-r>fir", "reverse-i-search"), ("<C-e>", r"[#$] echo first\Z"))),
    Scenario("readline completes", SH, (PROMPT, ("ls files/a<Tab>", "files/alpha"), ("<C-a># <C-e>", "# ls files/alpha")), True),
    Scenario("readline over two rows", SH, (PROMPT, (f"echo {'abcdefghij' * 9}", "abcdefghij\n|abcdefghij$"), ("<C-a><Right><Right>X", "ecXho"))),
    Scenario("job control", SH, (PROMPT, ("sleep 1000<Enter>", "sleep 1000$"), ("<C-z>", "Stopped"), ("jobs<Enter>", "Stopped.*Stopped|jobs(.|\n)*Stopped"), ("kill %1; fg<Enter>", "Terminated")), True),
    Scenario("an interrupt at the prompt", SH, (PROMPT, ("not this", "not this"), ("<C-c>", r"\^C"), ("echo $((6*7))<Enter>", "\n42"))),
    Scenario("the end of input", f"{SH}; echo left", (PROMPT, ("<C-d>", "left"))),
    Scenario("output stopped and gone on", SH, (PROMPT, ("echo $((6*7))<Enter>", "\n42"), ("clear; seq 1 3000<Enter>", "\n3000")), True),
    Scenario("watch", "watch -t -n 1000 echo hello", (("", "hello"),)),
    Scenario("watch leaves", "watch -t -n 1000 echo hello; echo left", (("", "hello"), ("<C-c>", "left"))),
    Scenario("man", "man -l page.1", (("", "A PAGE|a page"),)),
    Scenario("git's pager", "git -C repo log", (("", "commit (.|\n)*:"), ("<Space>", "one 1"))),
    Scenario("git's coloured difference", "git -C repo -c color.ui=always -c core.pager='less -R' show", (("", "diff --git"),)),
    Scenario("stty's answers", "stty -a | grep -v speed; tty | sed 's/[0-9]*$//'; stty size", (("", "24 80"),), True),
    Scenario("the window grows and shrinks", VIM, (("", "line 22"), ("<size 100x30>", "line 28"), ("<size 60x15>", r"line 14 of a text\s*\Z")), True),
    Scenario("a scroll region", _prints(r"\e[5;10r\e[10;1Ha\nb\nc\e[?6h\e[2;3Hin"), (("", "done"),)),
    Scenario("every mode", _prints(r"\e[?1h\e=\e[?25l\e[?1000h\e[?1006h\e[?2004h\e[4h\e[?7l"), (("", "done"),), True),
    Scenario("mice", _prints(r"\e[?1002h\e[?1003h\e[?1005h"), (("", "done"),)),
    Scenario("a title", _prints(r"\e]0;a title of é 漢\a\e]2;another\e\\"), (("", "done"),), True),
    Scenario("every colour", _prints(r"\e[1;3;4;9;31;44mA\e[0;38;5;208;48;5;17mB\e[0;38;2;1;2;3;48;2;250;128;7mC\e[0;7;5mD\e[4:3mE\e[m"), (("", "done"),), True),
    Scenario("line drawing and wide characters", _prints(r"\e(0lqqk\e(B é e\u0301 漢字 🙂 ａ\n\e[80G漢x\n"), (("", "done"),), True),
    Scenario("tabs, margins and inserted lines", _prints(r"a\tb\e[3g\e[5G\eH\rx\ty\n1\n2\n3\e[2A\e[2L\e[1P\e[3@\e[2M"), (("", "done"),)),
    Scenario("a saved cursor and the other screen", _prints(r"below\e7\e[?1049h\e[2J\e[3;3Habove\e[?1049l\e8!"), (("", "done"),)),
    Scenario("questions and their answers", r"stty raw -echo; printf '\e[c\e[6n\e[5n'; read -rd n answer; stty sane; printf '%q done\n' \"$answer\"", (("", "done"),), True),
)  # fmt: skip


# What each shows when it has begun: what is typed before that is echoed by whoever is quicker.
READY = {
    "vim": "line 22",
    "less": "line 22|word0|colour 20",
    "nano": "line 18",
    "dialog": "OK|Yes|Cancel",
}


class Gone(Exception):
    """A pane did not come to show what was waited for."""


class Panes:
    """A tmux of its own with both panes. Use as a context."""

    def __init__(self, gshell: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
        """``gshell``: how ``gshell run`` is started; ``env``: of both."""
        self._gshell = list(gshell)
        self._folder = folder
        self._socket = f"gsh-screens-{os.getpid()}-{id(self):x}"
        self._env = {
            k: v for k, v in env.items() if k not in ("TMUX", "TMUX_PANE", "LINES", "COLUMNS")
        }
        self._env.update(
            PAGER="less", LESSHISTFILE="-", LC_ALL="C.UTF-8", INPUTRC="/dev/null", HISTFILE=""
        )
        self._said = 0

    def __enter__(self) -> Panes:
        furnish(self._folder, self._env)
        conf = self._folder / "outer.conf"
        conf.write_text(
            "set -g remain-on-exit on\nset -g history-limit 5000\nset -g default-terminal tmux-256color\n"
        )
        self._tmux(
            "-f", str(conf), "new-session", "-d", "-s", "keeper", "-x", "80", "-y", "24", "cat"
        )
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(
            ["tmux", "-L", self._socket, "kill-server"], capture_output=True, check=False
        )

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._socket, *words],
            env=self._env,
            capture_output=True,
            check=False,
            timeout=30,
        )
        if done.returncode:
            raise Gone(f"tmux {words[0]}: {done.stderr.decode()}")
        return done.stdout.decode()

    def play(self, scenario: Scenario) -> list[str]:
        """In both panes; the differences that stay."""
        self._said += 1
        # The shell goes on when the program has ended, so that what that left behind is seen.
        script = f"echo $$ > $NOTE\n{scenario.command}\nsleep 1000"
        panes = {}
        for which, before in (("direct", []), ("gshell", self._gshell)):
            name = f"{which}{self._said}"
            inner = [
                "bash",
                "--norc",
                "--noprofile",
                "-c",
                script.replace("$NOTE", str(self._note(name))),
            ]
            words = [*before, *inner]
            self._tmux("new-session", "-d", "-s", name, "-x", str(SIZE[0]), "-y", str(SIZE[1]),
                       "-c", str(self._folder), shlex.join(["env", "-u", "TMUX", "-u", "TMUX_PANE", *words]))  # fmt: skip
            self._tmux("set-option", "-t", name, "status", "off")
            self._tmux("resize-window", "-t", name, "-x", str(SIZE[0]), "-y", str(SIZE[1]))
            panes[which] = name
        try:
            ready = (("", READY.get(scenario.program, "")),)
            for keys, pattern in ready + scenario.steps:
                for name in panes.values():
                    self._type(name, keys)
                for which, name in panes.items():
                    self._wait(f"{scenario.name}, {which}", name, pattern)
            return self._compare(panes)
        finally:
            for name in panes.values():
                self._end(name)
                self._tmux("kill-session", "-t", name)

    def _note(self, pane: str) -> Path:
        return self._folder / f"{pane}.pid"

    def _end(self, pane: str) -> None:
        """The leader's end hangs up on all that is left in its terminal; a job would only be detached."""
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(self._note(pane).read_text()), signal.SIGKILL)
            self._note(pane).unlink()

    def _type(self, pane: str, keys: str) -> None:
        for part in re.findall(r"<[^<>]+>|[^<]+", keys):
            if part.startswith("<size "):
                columns, rows = part[6:-1].split("x")
                self._tmux("resize-window", "-t", pane, "-x", columns, "-y", rows)
            elif part.startswith("<"):
                self._tmux("send-keys", "-t", pane, part[1:-1])
            else:
                self._tmux("send-keys", "-t", pane, "-l", "--", part)

    def _wait(self, what: str, pane: str, pattern: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not re.search(
            pattern, screen := self._tmux("capture-pane", "-p", "-t", pane).rstrip(), re.MULTILINE
        ):
            if time.monotonic() > end:
                raise Gone(f"{what}: waited for {pattern!r}\n{screen}")
            time.sleep(0.02)

    def _shot(self, pane: str) -> dict[str, str]:
        found = self._tmux(
            "display-message", "-p", "-t", pane, "\x1f".join(f"#{{{fact}}}" for fact in FACTS)
        )
        facts = dict(
            zip(
                FACTS, found.rstrip("\n").split("\x1f" if "\x1f" in found else "\\037"), strict=True
            )
        )
        cells = self._tmux("capture-pane", "-p", "-e", "-t", pane)
        return facts | {f"row {n}": row for n, row in enumerate(cells.split("\n"))}

    def _compare(self, panes: dict[str, str]) -> list[str]:
        end = time.monotonic() + PATIENCE_S
        while True:
            direct, through = (self._shot(panes[which]) for which in ("direct", "gshell"))
            if direct == through:
                return []
            if time.monotonic() > end:
                return [
                    f"{key}: {direct.get(key)!r} direct, {through.get(key)!r} through gshell"
                    for key in direct | through
                    if direct.get(key) != through.get(key)
                ]
            time.sleep(0.05)


def furnish(folder: Path, env: Mapping[str, str]) -> None:
    """What the programs look at: the same each time."""
    (folder / "text").write_text("".join(f"line {n} of a text\n" for n in range(1, 121)))
    (folder / "long").write_text(
        "".join(" ".join(f"word{n}" for n in range(k, k + 90)) + "\n" for k in range(30))
    )
    (folder / "colours").write_text(
        "".join(f"\x1b[3{n % 8};{n % 5}mcolour {n}\x1b[m\n" for n in range(40))
    )
    (folder / "page.1").write_text(
        '.TH "A PAGE" 1\n.SH NAME\na page \\- of a \\fBmanual\\fP\n' + ".PP\nText.\n" * 40
    )
    (folder / "inner.conf").write_text(
        "set -g status-right ''\nset -g status-left ''\nset -g automatic-rename off\n"
        "set -g destroy-unattached on\n"
    )
    files = folder / "files"
    files.mkdir(exist_ok=True)
    for n, name in enumerate(("alpha", "beta", "gamma")):
        (files / name).write_text("x" * 100 * n)
        os.utime(files / name, (1e9, 1e9))
    os.utime(files, (1e9, 1e9))
    os.utime(folder, (1e9, 1e9))
    mc = Path(env["HOME"]) / ".config" / "mc"
    mc.mkdir(parents=True, exist_ok=True)
    (mc / "ini").write_text(
        "[Layout]\nfree_space=false\nmessage_visible=false\n[Midnight-Commander]\nskin=default\n"
    )
    if shutil.which("git") and not (folder / "repo").exists():
        at = "2020-01-01T00:00:00Z"
        who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER")
               for what, value in (("NAME", "A"), ("EMAIL", "a@example"), ("DATE", at))}  # fmt: skip
        for words in (
            ["init", "-q", "repo"],
            *(["-C", "repo", *rest] for n in range(8) for rest in _commit(folder, n)),
        ):
            subprocess.run(
                ["git", *words], cwd=folder, env={**env, **who}, check=True, capture_output=True
            )


def _commit(folder: Path, number: int) -> list[list[str]]:
    script = f"for n in 1 2 3; do echo one {number} $n; done > file"
    return [
        ["config", "alias.w", f"!{script}"],
        ["w"],
        ["add", "-A"],
        ["commit", "-qm", f"one {number}"],
    ]


def missing(scenario: Scenario) -> str:
    """A program of it that is not installed."""
    known = (
        "vim",
        "less",
        "nano",
        "dialog",
        "mc",
        "mcedit",
        "htop",
        "top",
        "gdb",
        "tmux",
        "watch",
        "man",
        "git",
    )
    words = set(re.findall(r"\w+", scenario.command + " ".join(keys for keys, _ in scenario.steps)))
    return next((name for name in known if name in words and shutil.which(name) is None), "")
