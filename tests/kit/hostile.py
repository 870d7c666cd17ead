"""Strings that do harm where they are printed as they are. Written by hand, and made from a seed."""

from __future__ import annotations

import random

BY_HAND = [
    "\x1b]0;owned\x07", "\x1b]2;owned\x1b\\", "\x1b]1;owned\x07", "\x1bkowned\x1b\\",  # titles
    "\x1b[21t", "\x1b[20t", "\x1b[18t", "\x1b[14t", "\x1b[22;0t\x1b[23;0t", "\x1b[8;5;5t",
    "\x1b[6n", "\x1b[5n", "\x1b[c", "\x1b[>c", "\x1b[=c", "\x1bZ", "\x05", "\x1b[?6n", "\x1b[>q",
    "\x1b[?2026$p", "\x1b[x", "\x1b[?u", "\x1b[?4m", "\x1b[1;1;1;1;1;1*y", "\x1bP$qm\x1b\\",
    "\x1bP$q q\x1b\\", "\x1bP+q544e\x1b\\", "\x1b]4;1;?\x07", "\x1b]10;?\x07", "\x1b]11;?\x1b\\",
    "\x1b]12;?\x07", "\x1b]52;c;?\x07", "\x1b]52;c;cm0gLXJmIH4K\x07", "\x1b]52;;cm0gLXJmIH4K\x1b\\",
    "\x1bPtmux;\x1b\x1b]52;c;cm0gLXJm\x07\x1b\\", "\x1bP\x1b]52;c;cm0gLXJm\x07\x1b\\",
    "\x1bPtmux;\x1b\x1b[6n\x1b\\", "\x1b]1337;CopyToClipboard=\x07x\x1b]1337;EndCopy\x07",
    "\x1b]777;notify;a;b\x07", "\x1b]9;note\x07", "\x1b]8;;http://evil/\x1b\\", "\x1b]133;A\x07",
    "\x1b]7;file:///etc\x07", "\x1b]50;?\x07", "\x1b]4;0;rgb:00/00/00\x07", "\x1b]104\x07",
    "\x1b[?1049h", "\x1b[?1047h", "\x1b[?47h", "\x1b[?25l", "\x1b[?1000h", "\x1b[?1002h",
    "\x1b[?1003h", "\x1b[?1006h", "\x1b[?1004h", "\x1b[?2004h", "\x1b[?7l", "\x1b[?6h", "\x1b[?5h",
    "\x1b[?1h", "\x1b=", "\x1b[4h", "\x1b[20h", "\x1b[12l", "\x1b[5;10r", "\x1b[2 q", "\x1b[6 q",
    "\x1b[?2026h", "\x1b[>4;2m", "\x1b[>1u", "\x1b[=5;1u", "\x1b(0", "\x1b)0", "\x0e", "\x0f",
    "\x1bn", "\x1b%@", "\x1b#8", "\x1bc", "\x1b[!p", "\x1b[2J", "\x1b[3J", "\x1b[H", "\x1b[99A",
    "\x1b[99D", "\x1bM", "\x1bD", "\x1b7\x1b[1;1Hx\x1b8", "\x1b[s\x1b[1;1H\x1b[u", "\x1b[1L",
    "\x1b[1P", "\x1b[5i", "\x1b[?5i", "\x1bP1;1|17/726d\x1b\\", "\x1b_Gi=1,a=q;AAAA\x1b\\",
    "\x1b^private\x1b\\", "\x1bXsos\x1b\\", "\x1b[8m", "\x1b[5m", "\x1b[31;41m", "\x1b[0;30;40m",
    "\x9b31m", "\x9b6n", "\x9d0;owned\x9c", "\x90$qm\x9c", "\x9b?1049h", "\x8f", "\x8e", "\x84\x85",
    "\x9e\x9c", "\x9f\x9c", "\x98\x9c", "\x88\x8d", "\x80\x81\x82\x83",
    "a\rb", "a\nb", "a\tb", "a\bb", "a\x0bb", "a\x0cb", "\x07", "\x00", "\x7f", "\x18", "\x1a",
    "rm -rf ~\r", "\nrm -rf ~\n", "\r\ngshell: all is well\r\n", "x\x1b[1A\x1b[2Kgone",
    "user\u202egnp.exe", "\u202dleft", "\u202aab\u202c", "\u2066x\u2069", "\u2067x\u2069", "\u2068x",
    "\u200e\u200f", "\u061c", "ro\u200bot", "\u200c", "\U0001f469\u200d\U0001f4bb", "\ufeffroot",
    "\u2060", "\u00ad", "\u180e", "\u2028", "\u2029", "\x85", "\u00a0\u3000\u2003", "\u3164",
    "\u2800", "\u115f", "\uffa0", "a\ufe0f", "a\ufe01", "a\U000e0100", "\U000e0001\U000e0041",
    "\ud800", "\udc80", "\udcff.txt", "\udc1b[31m", "\ud83d", "\ufffe", "\uffff", "\ue000",
    "\U000f0000", "\U0010ffff", "\u0378", "\ufff9\ufffa\ufffb", "\u0301", "e" + "\u0301" * 200,
    "Z" + "\u0334\u0353\u0321\u0489" * 60, "\u20dd" * 50, "\u0488\u0489", "\u034f" * 30,
    "a" * 20000, "\u754c" * 3000, "\x1b[" + "9" * 9000 + "A", "\x1b]0;" + "x" * 9000, "'; id; '",
    "$(id)", "`id`", "%s%n", "{0}", "<b>", "[red]x[/red]", "\\x1b[2J", "\\", "", " ", "-rf", "--help",
    "..", "/", "../../etc/passwd", "~", "\x1b", "\x1b[", "\x1b]", "\x1bP", "\x1b\x1b\x1b", "\x1b[?",
]  # fmt: skip

_PIECES = [
    "\x1b[", "\x1b]", "\x1bP", "\x1b", "\x9b", "\x9d", "\x90", "\x07", "\x1b\\", "\x9c", "?", ";", "52",
    "c;", "6n", "$q", "h", "l", "m", "1049", "2004", "25", "0;", "\r", "\n", "\b", "\x0e", "\u202e",
    "\u200d", "\u0301", "\ud800", "\U000e0041", "name", "\u754c", "\x00", "\x18", "tmux;", "\x05",
]  # fmt: skip


def strings(count: int = 300, seed: int = 1) -> list[str]:
    """So many: all by hand, and further ones of ``seed``."""
    rng = random.Random(seed)
    more = [
        "".join(rng.choice(_PIECES) for _ in range(rng.randrange(1, 9)))
        for _ in range(max(0, count - len(BY_HAND)))
    ]
    return (BY_HAND + more)[:count] if count < len(BY_HAND) else BY_HAND + more
