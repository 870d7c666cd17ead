#!/usr/bin/env python3
"""The same experiment's steps with gshell.sweep or with execo, timed: one JSON object.

sweep_probe.py gshell|execo sweeper POINTS PAIRS DIRECTORY
sweep_probe.py gshell|execo processes COUNT
sweep_probe.py gshell|execo ssh ADDRESS:PORT:KEY...
"""

import json
import sys
import time

if sys.argv[1] == "gshell":
    from gshell import sweep as engine
    from gshell import sweep as execo
else:
    import execo  # type: ignore[no-redef, import-not-found]
    import execo_engine as engine  # type: ignore[no-redef, import-not-found]


def sweeper(points: str, pairs: str, directory: str) -> dict[str, float]:
    side = int(points) // 100
    space = engine.sweep({"a": list(range(side)), "b": list(range(100))})
    one = engine.ParamSweeper(directory, space)
    begun = time.perf_counter()
    for _ in range(int(pairs)):
        one.done(one.get_next())
    elapsed = time.perf_counter() - begun
    assert len(one.get_done()) == int(pairs)
    return {"us": elapsed / int(pairs) * 1e6}


def processes(count: str) -> dict[str, float]:
    execo.Process("true").run()
    begun = time.perf_counter()
    many = [execo.Process("echo x").start() for _ in range(int(count))]
    for one in many:
        one.wait()
    elapsed = time.perf_counter() - begun
    assert all(one.ok and one.stdout == "x\n" for one in many)
    return {"ms": elapsed * 1000}


def ssh(*there: str) -> dict[str, float]:
    hosts = []
    for one in there:
        address, port, key = one.split(":", 2)
        hosts.append(execo.Host(address, port=int(port), keyfile=key))
    begun = time.perf_counter()
    remote = execo.Remote("echo x", hosts).run()
    elapsed = time.perf_counter() - begun
    words = [one.stdout.split() for one in remote.processes]
    assert remote.ok, str(remote)
    assert words == [["x"]] * len(hosts)
    begun = time.perf_counter()
    again = execo.Remote("echo x", hosts).run()
    assert again.ok, str(again)
    return {"ms": elapsed * 1000, "again:ms": (time.perf_counter() - begun) * 1000}


print(
    json.dumps({"sweeper": sweeper, "processes": processes, "ssh": ssh}[sys.argv[2]](*sys.argv[3:]))
)
