"""How fast files are copied, large ones and many small ones, beside scp through a jump host. Each
copy is compared with what was sent.
"""

from __future__ import annotations

import filecmp
import json
import shutil
import subprocess
import time
from pathlib import Path

from bench.gsh import Client
from bench.lab import Lab
from bench.measure import Failed, Sample, Turn, brief, interleaved, tail
from bench.table import Line, against, at_least

DEADLINE_S = 60.0
SMALL_BYTES = 2000
MB = 1e6


def copies(lab: Lab) -> list[Line]:
    size = 256_000_000 if not lab.quick else 64_000_000
    count = 1000 if not lab.quick else 200
    big = lab.random_file(size)
    many = lab.directory / "many"
    many.mkdir(exist_ok=True)
    for number in range(count):
        (many / f"f{number}").write_bytes(number.to_bytes(4, "big") * (SMALL_BYTES // 4))
    there, here = lab.directory / "there", lab.directory / "here"
    client = lab.direct
    agent = _agent(client)
    # -O: as scp(1) has always done; the sftp server is not everywhere
    scp = ["scp", "-O", "-q", *lab.sshd.ssh("", jump=True)[1:-1]]
    host, options = scp[-1], scp[:-1]

    def turn(argv: list[str], env: dict[str, str], of: Path, to: Path) -> Sample:
        for old in (there, here):
            shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink(missing_ok=True)
        if to is here:
            shutil.copytree(of, there) if of.is_dir() else shutil.copy(of, there)
        begun = time.perf_counter()
        done = subprocess.run(argv, env=env, capture_output=True, timeout=DEADLINE_S)
        elapsed = time.perf_counter() - begun
        if done.returncode != 0:
            raise Failed(f"{brief(argv)}: status {done.returncode}: {tail(done.stderr)}")
        if not _same(of, to):
            raise Failed(f"{brief(argv)}: what arrived is not what was sent")
        return {"MB/s": size / MB / elapsed, "files/s": count / elapsed}

    def gshell(verb: str, of: Path, to: Path) -> Sample:
        far = f"{agent}:{there}"
        words = [str(of), far] if verb == "put" else [far, str(here)]
        return turn([*client.command, verb, "-r", *words], client.env, of, to)

    def ssh(of: Path, to: Path) -> Sample:
        far = f"{host}:{there}"
        words = [str(of), far] if to is there else [far, str(here)]
        return turn([*options, "-r", *words], lab.env, of, to)

    turns: dict[str, Turn] = {
        "put": lambda: gshell("put", big, there),
        "scp to": lambda: ssh(big, there),
        "get": lambda: gshell("get", big, here),
        "scp from": lambda: ssh(big, here),
        "put many": lambda: gshell("put", many, there),
        "scp many": lambda: ssh(many, there),
        "get many": lambda: gshell("get", many, here),
        "scp many from": lambda: ssh(many, here),
    }
    got = interleaved(turns, lab.rounds(3, 2), warm_up=False)
    small = f"{count} files of 2 KB"
    return [
        against("files", "put, one file", got["put"], got["scp to"], "MB/s", at_least(1, 1.5)),
        against("files", "get, one file", got["get"], got["scp from"], "MB/s", at_least(1, 1.5)),
        against("files", f"put, {small}", got["put many"], got["scp many"], "files/s",
                at_least(1, 2)),
        against("files", f"get, {small}", got["get many"], got["scp many from"], "files/s",
                at_least(1, 2)),
    ]  # fmt: skip


def _agent(client: Client) -> str:
    done = subprocess.run(
        [*client.command, "agents", "--json"], env=client.env, capture_output=True,
        timeout=DEADLINE_S,
    )  # fmt: skip
    found = json.loads(done.stdout)["agents"]
    return str(found[0]["id"])


def _same(one: Path, other: Path) -> bool:
    if one.is_file():
        return filecmp.cmp(one, other, shallow=False)
    names = sorted(path.name for path in one.iterdir())
    return names == sorted(path.name for path in other.iterdir()) and all(
        filecmp.cmp(one / name, other / name, shallow=False) for name in names
    )
