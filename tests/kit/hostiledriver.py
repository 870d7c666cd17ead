"""Runs gshell's command lines one after another in its own terminal, then says what was typed there.

    hostiledriver.py COMMANDS.json RESULT

What a terminal answers to what it was shown would be typed into the next program: this one reads it.
``COMMANDS.json``: a list of command lines; one that begins with ``raw`` prints its words as they are.
"""

from __future__ import annotations

import json
import os
import select
import sys
import termios
import tty

END = "--- the end of it ---"
ASK, ANSWER_END = b"\x1b[6n", b"R"
PATIENCE_S = 20.0


def run(words: list[str]) -> None:
    if words[0] == "raw":
        for word in words[1:]:
            os.write(1, word.encode("utf-8", "surrogatepass") + b"\r\n")
        return
    from gshell.cli.main import main

    try:
        main(words)
    except Exception as error:  # a person would be shown a traceback, with the text in it
        print(f"CRASHED {words}: {type(error).__name__}")
    sys.stdout.flush()
    sys.stderr.flush()


def typed() -> bytes:
    """What came in until the answer to a question of our own, which comes last."""
    os.write(1, ASK)
    got = b""
    while not got.endswith(ANSWER_END):
        if not select.select([0], [], [], PATIENCE_S)[0]:
            return got + b" (and no answer to ours)"
        got += os.read(0, 4096)
    return got[: got.rindex(b"\x1b[")]


def work() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        commands = json.load(file)
    before = termios.tcgetattr(0)
    tty.setcbreak(0)
    for words in commands:
        run(words)
    print(END, flush=True)
    answer = typed().hex()
    termios.tcsetattr(0, termios.TCSANOW, before)
    with open(sys.argv[2] + ".new", "w", encoding="utf-8") as file:
        json.dump({"typed": answer}, file)
    os.rename(sys.argv[2] + ".new", sys.argv[2])


if __name__ == "__main__":
    work()
