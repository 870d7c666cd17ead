"""Times commands to their first byte of output and to their end, taking turns. Runs inside a host of the
test bed, on any Python 3: reads a plan as JSON on stdin, prints the times as JSON.

The plan: {"rounds": n, "contestants": [{"name", "argv", "tty", "env", "expect", "type", "before", "limit"}..]}. `expect` is a
pattern that must be in the output: the first byte is the one that completes it, for what talks about itself before; then `type`
is typed. `before` is an argv run (untimed) before each round of this contestant.
"""

import json
import os
import re
import select
import signal
import subprocess
import sys
import time


def once(argv, tty, env, limit_s, expect, answer):
    """(first byte s, end s, output, status)"""
    full = {**os.environ, **env}
    begun = time.monotonic()
    if tty:
        pid, fd = os.forkpty()
        if pid == 0:
            os.execvpe(argv[0], argv, full)
    else:
        fd, writes = os.pipe()
        child = subprocess.Popen(argv, env=full, stdin=subprocess.DEVNULL, stdout=writes)
        pid = child.pid
        os.close(writes)
    first, out = None, b""
    while True:
        left = limit_s - (time.monotonic() - begun)
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            os.kill(pid, signal.SIGKILL)
            break
        try:
            data = os.read(fd, 65536)
        except OSError:  # a pty's end
            data = b""
        if not data:
            break
        out += data
        if first is None and re.search(expect, out.decode(errors="replace")):
            first = time.monotonic() - begun
            if answer:
                os.write(fd, answer.encode())
    os.close(fd)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return first, time.monotonic() - begun, out.decode(errors="replace"), status


def main():
    plan = json.load(sys.stdin)
    found = {one["name"]: {"first": [], "end": [], "wrong": []} for one in plan["contestants"]}
    for _ in range(plan["rounds"]):
        for one in plan["contestants"]:
            if one.get("before"):
                subprocess.run(
                    one["before"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60
                )
            first, end, out, status = once(
                one["argv"], one.get("tty", True), one.get("env", {}), one.get("limit", 60),
                one.get("expect", ""), one.get("type", ""),
            )  # fmt: skip
            mine = found[one["name"]]
            if status != 0 or first is None:
                mine["wrong"].append({"status": status, "out": out[-300:]})
            else:
                mine["first"].append(first)
                mine["end"].append(end)
    json.dump(found, sys.stdout)


main()
