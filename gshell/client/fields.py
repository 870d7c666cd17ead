"""Which columns a list shows when ``-o id,name,state`` says so. Knows no terminal and no relay."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from gshell.client.render import Column

# Of each list: its columns by their titles, then what else its items have (gshell/net/CONTROL.md).
NAMES = {
    "jobs": (
        "id name state nodes n elapsed progress created watch user archived "
        "agents hosts size tasks argv0 pool site lane walltime started_at created_at ended_at "
        "code signal error watchers attached parent attempt retries phase why eta pty"
    ),
    "agents": (
        "id host state free cpus memory tags since version user site pool batch_has left "
        "slots memory_bytes ends_at idle_since pilot node lrms_id"
    ),
    "sites": (
        "name lrms where state wait/busy queued/run free_cpus why "
        "ssh host queue account max_agents min_waiting nodes slots walltime idle memory lane "
        "submitter paused error"
    ),
    "pilots": (
        "pilot site state job nodes starts left why "
        "user lrms_id slots walltime made_at start_at ends_at ended_at position hosts attempts "
        "reason canceled"
    ),
    "shares": "id job may ends_in left to users rights until uses_left once",
    "keys": "key for made last_seen serial agent_id role made_at seen_at until mine",
    "ranks": "rank state node pid cpu memory stdin last_line host member code signal",
    "events": "time kind what text",
}


def names_of(kind: str) -> tuple[str, ...]:
    return tuple(NAMES.get(kind, "").split())


def key_of(title: str) -> str:
    """What a column is called in ``-o``: ``LAST SEEN`` is ``last_seen``."""
    return title.lower().replace(" ", "_")


def help_text(kind: str) -> str:
    """What ``-o help`` prints."""
    import textwrap

    lines = textwrap.wrap(", ".join(names_of(kind)), 78, initial_indent="  ",
                          subsequent_indent="  ", break_on_hyphens=False)  # fmt: skip
    return "\n".join([f"fields of gshell {kind} (-o FIELD,FIELD,...):", *lines]) + "\n"


def check(kind: str, text: str) -> tuple[str, ...]:
    """``id,name`` as the fields they are.

    Raises:
        UsageError: one is none of this list's.
    """
    wanted = tuple(word.strip().lower() for word in text.split(",") if word.strip())
    known = names_of(kind)
    for name in wanted or ("",):
        if name not in known and name != "help":
            import difflib

            from gshell.errors import UsageError

            near = next(iter(difflib.get_close_matches(name, known, 1, 0.6)), "")
            also = f"; did you mean {near!r}?" if near else ""
            raise UsageError(f"{kind}: -o: there is no field {name!r}{also}",
                             hint=f"gshell {kind} -o help")  # fmt: skip
    return wanted


def chosen(columns: Sequence[Column], wanted: Sequence[str]) -> list[Column]:
    """The columns of these names, in their order; what is no column is shown as it was told."""
    from gshell.client.render import Column

    known = {key_of(column.title): column for column in columns}
    found = []
    for name in wanted:
        column = known.get(name)
        if column is None or column in found:
            column = Column(name.upper(), 0, _plain(name))
        found.append(column)
    return found


def _plain(name: str) -> Any:
    def cell(item: Mapping[str, Any]) -> str:
        return plain(item.get(name))

    return cell


def plain(value: Any) -> str:
    """A JSON value as a cell: lists with commas, nothing as ``-``."""
    if value is None or value == "" or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, list):
        return ",".join(plain(one) for one in value)
    if isinstance(value, dict):
        return ",".join(f"{key}={plain(one)}" for key, one in value.items())
    return str(value)


def only(items: Sequence[Mapping[str, Any]], wanted: Sequence[str]) -> list[dict[str, Any]]:
    """With --json: of each these fields, as far as the relay tells them."""
    return [{name: item[name] for name in wanted if name in item} for item in items]
