"""Tables of sites and pilots. Knows no terminal and no clock."""

from __future__ import annotations

from gshell.client.render import Column, duration_text, hosts_text, stamp, table, texts_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_COLORS = {
    "ok": "green", "away": "red", "paused": "yellow", "backing-off": "yellow",
    "running": "green", "queued": "yellow", "submitted": "yellow", "asked": "yellow",
    "failed": "red", "ended": "dim",
}  # fmt: skip


def _text(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    return "" if value is None else str(value)


def sites_table(
    sites: Sequence[Mapping[str, Any]],
    agents: Sequence[Mapping[str, Any]],
    now: float,
    width: int | None = None,
    color: bool = False,
    fields: Sequence[str] = (),
) -> str:
    """SITEs (gshell/net/CONTROL.md) as a table; ``agents``: all there are."""
    if not sites and not fields:
        return "no sites\n  try:  gshell site add NAME --lrms slurm\n"

    def agents_of(site: Mapping[str, Any]) -> str:
        mine = [a for a in agents if a.get("site") == site.get("name")]
        waiting = sum(a.get("state") == "waiting" for a in mine)
        return f"{waiting}/{len(mine) - waiting}"

    columns = [
        Column("NAME", 0, lambda site: _text(site, "name"), shrinks=True),
        Column("LRMS", 4, lambda site: _text(site, "lrms")),
        Column("WHERE", 6, _where, shrinks=True),
        Column("STATE", 1, _state),
        Column("WAIT/BUSY", 2, agents_of, right=True),
        Column("QUEUED/RUN", 3, _pilots, right=True),
        Column("FREE CPUS", 5, _free, right=True),
        Column("WHY", 7, lambda site: _why(site, now), shrinks=True),
    ]
    return table(sites, columns, width, color, fields)


def _where(site: Mapping[str, Any]) -> str:
    return _text(site, "ssh") or _text(site, "host") or "here"


def _state(site: Mapping[str, Any]) -> tuple[str, str]:
    state = _text(site, "state")
    return state, _COLORS.get(state, "")


def _pilots(site: Mapping[str, Any]) -> str:
    counts = site.get("pilots")
    if not isinstance(counts, dict):
        return "-"

    def of(*states: str) -> int:
        return sum(int(counts.get(state) or 0) for state in states)

    return f"{of('asked', 'submitted', 'queued')}/{of('running')}"


def _free(site: Mapping[str, Any]) -> str:
    ad = site.get("ad")
    if not isinstance(ad, dict) or ad.get("cpus") is None:
        return "-"
    free = ad.get("free")
    return f"{'?' if free is None else free}/{ad['cpus']}"


def _why(site: Mapping[str, Any], now: float) -> str:
    words = [_text(site, "paused"), _text(site, "error")]
    retry = stamp(site, "retry_at")
    if retry is not None and retry > now:
        words.append(f"again in {duration_text(retry - now)}")
    if site.get("state") == "away":
        words.insert(0, f"no submitter on {_text(site, 'host') or 'any host'}")
    return "; ".join(dict.fromkeys(word for word in words if word)) or "-"


def pilots_table(
    pilots: Sequence[Mapping[str, Any]],
    now: float,
    width: int | None = None,
    color: bool = False,
    fields: Sequence[str] = (),
) -> str:
    """PILOTs as a table."""
    if not pilots and not fields:
        return "no pilots\n"
    columns = [
        Column("PILOT", 0, lambda pilot: _text(pilot, "pilot")),
        Column("SITE", 2, lambda pilot: _text(pilot, "site"), shrinks=True),
        Column("STATE", 1, _pilot_state),
        Column("JOB", 3, lambda pilot: _text(pilot, "lrms_id") or "-"),
        Column("NODES", 6, _nodes, shrinks=True),
        Column("STARTS", 5, lambda pilot: _starts(pilot, now), right=True),
        Column("LEFT", 4, lambda pilot: _left(pilot, now), right=True),
        Column("WHY", 7, lambda pilot: _text(pilot, "reason") or "-", shrinks=True),
    ]
    return table(pilots, columns, width, color, fields)


def _pilot_state(pilot: Mapping[str, Any]) -> tuple[str, str]:
    state = _text(pilot, "state")
    return state, _COLORS.get(state, "")


def _nodes(pilot: Mapping[str, Any]) -> str:
    hosts = texts_of(pilot, "hosts")
    return hosts_text(hosts) if hosts else _text(pilot, "nodes") or "-"


def _starts(pilot: Mapping[str, Any], now: float) -> str:
    at = stamp(pilot, "start_at")
    if pilot.get("state") not in ("asked", "submitted", "queued") or at is None:
        return "-"
    return "in " + duration_text(at - now) if at > now else "soon"


def _left(pilot: Mapping[str, Any], now: float) -> str:
    at = stamp(pilot, "ends_at")
    return "-" if at is None or pilot.get("state") != "running" else duration_text(at - now)
