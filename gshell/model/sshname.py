"""The names under which stock SSH reaches jobs and agents. Knows nothing of SSH itself.

``job42`` and ``job42.1`` are a job, or that member of it; any other name is an agent's. Each may
end with ``.gshell``.
"""

from __future__ import annotations

import re

SUFFIX = ".gshell"
RELAY = "gshell-relay"  # what its host certificate and the written configuration call the relay
PORT = 22  # the only one that a virtual host has

_JOB = re.compile(r"job([1-9][0-9]{0,17})(?:\.([0-9]{1,4}))?")
_AGENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}")


def place_of(host: str) -> dict[str, str] | None:
    """The fields of an opening that mean this host; None: it is no name of ours.

    >>> place_of("job42"), place_of("job42.1.gshell"), place_of("n014.gshell")
    ({'beside': '42'}, {'beside': '42.1'}, {'agent': 'n014'})
    """
    name = host[: -len(SUFFIX)] if host.lower().endswith(SUFFIX) else host
    job = _JOB.fullmatch(name.lower())
    if job is not None:
        number, member = job.groups()
        return {"beside": number if member is None else f"{number}.{int(member)}"}
    if name.lower() == RELAY or not _AGENT.fullmatch(name):
        return None
    return {"agent": name}


def names_of(agent_id: str, steps: list[tuple[int, int]]) -> list[str]:
    """All names of an agent at which these (job, member) run: what its host key is certified for.

    >>> names_of("n014", [(42, 0)])
    ['n014', 'n014.gshell', 'job42', 'job42.gshell', 'job42.0', 'job42.0.gshell']
    """
    names = [agent_id.lower()]  # as ssh writes the host that it looks for
    for job, member in steps:
        if member == 0:
            names.append(f"job{job}")
        names.append(f"job{job}.{member}")
    return [form for name in names for form in (name, name + SUFFIX)]


def host_of(word: str) -> str:
    """The virtual host that a person means by ``42``, ``42.1``, ``job42`` or an agent's name.

    >>> host_of("42.1"), host_of("n014"), host_of("job42.gshell")
    ('job42.1.gshell', 'n014.gshell', 'job42.gshell')
    """
    if re.fullmatch(r"[1-9][0-9]*(\.[0-9]+)?", word):
        word = "job" + word
    return word if word.endswith(SUFFIX) else word + SUFFIX
