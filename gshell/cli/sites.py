"""``site ...``, ``sites``, ``pilots``, ``agent start --site``: the batch systems I may use."""

from __future__ import annotations

import time
from typing import Any

from gshell import config, plugins
from gshell.cli import launch
from gshell.cli.listing import color_of, print_json, text_of, width
from gshell.cli.options import Parsed
from gshell.cli.verbs import _each, watch
from gshell.client import upkeep
from gshell.errors import BrokerError, GshellError, LrmsError, UsageError
from gshell.lrms import registry
from gshell.lrms.base import Plugin, Queue
from gshell.model.ticket import Ticket
from gshell.net.relaylink import ask, items_of

SUBMITTER_S = 15.0  # for a submitter to come up and be known to the relay
NOT_THERE = 127
_FIELDS = ("queue", "account", "max_agents", "min_waiting", "nodes", "slots", "walltime", "idle",
           "memory", "lane")  # fmt: skip


def _ask(parsed: Parsed, message: dict[str, Any], start: bool = False) -> dict[str, Any]:
    return ask(launch.ticket_for(parsed, start=start), message)


def site_add(parsed: Parsed) -> int:
    """Check that it works, tell the relay, see that a submitter runs."""
    name, extra = parsed.words[0], parsed.words[1:]
    from gshell.submitter import book, worker
    from gshell.submitter import site as sites

    if not sites.good_name(name):
        raise UsageError(
            f"{name!r} is no name for a site: letters, digits, dots, dashes",
            hint="gshell site add alpha --lrms slurm",
        )
    if extra and not extra[0].startswith("-"):
        raise UsageError(
            f"what is {extra[0]!r}? Options of the batch system's own command follow --",
            hint=f"gshell site add {name} --lrms slurm -- --constraint=ib",
        )
    ticket = launch.ticket_for(parsed)
    fields: dict[str, Any] = {"name": name, "ssh": parsed["ssh"] or "", "extra": extra}
    fields.update({key: parsed[key] for key in _FIELDS if parsed[key] is not None})
    if parsed["inline"]:
        fields["inline"] = True
    if parsed["lrms"]:
        try:
            plugins.lrms(parsed["lrms"])
        except LrmsError as error:
            hint = "gshell site add ... without --lrms finds what is there"
            raise UsageError(f"--lrms: {error.message}", hint=hint) from None
    fields["lrms"] = parsed["lrms"] or "?"
    described = sites.read(fields)
    place = worker.open_place(described)
    try:
        found, queues = _examine(described.lrms, described.where, place)
    finally:
        place.close()
    described = described._replace(lrms=found)
    fields["lrms"] = found
    _check_queue(described.queue, queues, name)
    check_reachable(ticket, found, described.ssh)
    fields["submitter"] = book.submitter_id()
    answer = ask(ticket, {"m": "site-put", "site": fields})
    known = book.read_sites(ticket.pin)
    shown = answer.get("site")
    known[name] = sites.read(shown) if isinstance(shown, dict) else described
    book.write_sites(ticket.pin, known)
    upkeep.ensure(ticket.pin, poke=True)
    _await_submitter(ticket, name)
    if not parsed["quiet"]:
        print(f"gshell: site {name}: {found} {described.where}; {queues_text(queues)}")
        if parsed["inline"]:
            print(
                "gshell: its pilots carry their invite inside the batch script: whoever can read "
                "that at the site can be one of its nodes, once"
            )
        print(f"  try:  gshell run --site {name} -- hostname")
    return 0


def _examine(lrms: str, where: str, place: Any) -> tuple[str, list[Queue]]:
    """Which batch system, and what it offers.

    Raises:
        GshellError: there is none, or it does not work.
    """
    from gshell.submitter.place import run

    def offered(plugin: Plugin) -> list[Queue] | None:
        done = [run(place, command) for command in plugin.offers()]
        if any(one.code == NOT_THERE for one in done):
            return None
        return plugin.offered(done)

    if lrms != "?":
        queues = offered(plugins.lrms(lrms))
        if queues is None:
            raise GshellError(
                f"{where}: the commands of {lrms} are not there",
                hint="gshell site add ... without --lrms finds what is there",
            )
        return lrms, queues
    trouble: LrmsError | None = None
    for name in registry.NAMES:
        if name != "local" and registry.built_in(name) is not None:
            try:
                queues = offered(registry.plugin(name))
            except LrmsError as error:
                trouble = error
                continue
            if queues is not None:
                return name, queues
    if trouble is not None:
        raise trouble
    raise GshellError(
        f"{where}: no batch system that I know",
        hint="--lrms local starts agents on that very machine",
    )


def _check_queue(queue: str, queues: list[Queue], name: str) -> None:
    names = [one.name for one in queues]
    if queue and names and queue not in names:
        raise UsageError(
            f"there is no queue {queue!r}: there are {', '.join(names)}",
            hint=f"gshell site add {name} --queue {names[0]} ...",
        )


def check_reachable(ticket: Ticket, lrms: str, ssh: str) -> None:
    """A private relay listens on a socket of this machine."""
    far = ssh or lrms != "local"
    if far and all(one.startswith("unix:") for one in ticket.relays):
        raise GshellError(
            "the private relay cannot be reached from other machines: sites need one that can",
            hint="gshell relay start --listen 0.0.0.0:4433    then    gshell login INVITE",
        )


def _await_submitter(ticket: Ticket, name: str) -> None:
    end = time.monotonic() + SUBMITTER_S
    while time.monotonic() < end:
        for site in items_of(ask(ticket, {"m": "sites"}), "sites"):
            if site.get("name") == name and site.get("submitter"):
                return
        upkeep.ensure(ticket.pin)  # one that was about to end may have missed our word
        time.sleep(0.1)  # its submitter is another process: the relay is asked again
    raise GshellError(
        f"site {name} is known, but its submitter does not come up",
        hint=f"less {config.state_dir()}/submitter.log",
    )


def queues_text(queues: list[Queue]) -> str:
    """``2 queues: debug* 2 of 4 nodes free, long 8 of 16 cpus free``."""
    parts = []
    for queue in queues[:6]:
        name = queue.name + ("*" if queue.default and len(queues) > 1 else "")
        for free, of, what in (
            (queue.nodes_free, queue.nodes, "nodes"), (queue.cpus_free, queue.cpus, "cpus"),
        ):  # fmt: skip
            if free is not None and of is not None:
                name += f" {free} of {of} {what} free"
                break
        parts.append(name + ("" if queue.up else " (down)"))
    more = f", and {len(queues) - 6} more" if len(queues) > 6 else ""
    count = f"{len(queues)} queues: " if len(queues) > 1 else "queue "
    return (count + ", ".join(parts) + more) if parts else "it says nothing of its queues"


def _site(parsed: Parsed, name: str) -> dict[str, Any]:
    found = items_of(_ask(parsed, {"m": "sites"}), "sites")
    for site in found:
        if site.get("name") == name:
            return site
    raise GshellError(f"there is no site {name}", hint="gshell sites")


def site_show(parsed: Parsed) -> int:
    site = _site(parsed, parsed.words[0])
    if parsed["json"]:
        print_json("site", site)
        return 0
    ad = site.get("ad") if isinstance(site.get("ad"), dict) else {}
    for key in sorted(site):
        if key not in ("ad", "name", "pilots", "user") and site[key] not in ("", None, [], {}):
            value = site[key]
            text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
            print(f"{key.replace('_', ' ') + ':':<14}{text}")
    for queue in (ad or {}).get("queues") or []:
        if isinstance(queue, dict):
            free, of = queue.get("nodes_free"), queue.get("nodes")
            print(f"{'queue:':<14}{queue.get('name')}: {free} of {of} nodes free, "
                  f"{queue.get('cpus_free')} of {queue.get('cpus')} cpus")  # fmt: skip
    return 0


def site_remove(parsed: Parsed) -> int:
    name = parsed.words[0]
    ticket = launch.ticket_for(parsed, start=False)
    ask(ticket, {"m": "site-drop", "site": name, "force": bool(parsed["force"])})
    upkeep.ensure(ticket.pin, poke=True)  # it looks, and ends if that was the last one
    if not parsed["quiet"]:
        print(f"gshell: site {name} is removed")
    return 0


def site_pause(parsed: Parsed) -> int:
    """``site pause``, ``site resume``."""
    on = parsed.command.name == "site pause"
    _ask(parsed, {"m": "site-pause", "site": parsed.words[0], "on": on})
    return 0


def show_sites(parsed: Parsed) -> int:
    from gshell.client.sitetables import sites_table

    def show() -> str:
        try:
            ticket = launch.ticket_for(parsed, start=False)
            upkeep.ensure(ticket.pin)  # who is told that it is away is told to type this
            found = items_of(ask(ticket, {"m": "sites"}), "sites")
            agents = items_of(ask(ticket, {"m": "agents"}), "agents")
        except BrokerError:
            raise
        except GshellError:
            if launch.ticket_or_none() is not None:
                raise
            found = agents = []
        return text_of(
            parsed, "sites", found, "name",
            lambda f: sites_table(found, agents, time.time(), width(), color_of(parsed), f),
        )  # fmt: skip

    return watch(parsed, show, lambda jobs, agents: "", fed=False)


def show_pilots(parsed: Parsed) -> int:
    from gshell.client.sitetables import pilots_table

    request: dict[str, Any] = {"m": "pilots", "all": bool(parsed["all"])}
    if parsed["site"]:
        request["site"] = parsed["site"]

    def show() -> str:
        found = items_of(_ask(parsed, request), "pilots")
        return text_of(
            parsed, "pilots", found, "pilot",
            lambda fields: pilots_table(found, time.time(), width(), color_of(parsed), fields),
        )  # fmt: skip

    return watch(parsed, show, lambda jobs, agents: "", fed=False)


def pilot_cancel(parsed: Parsed) -> int:
    return _each(parsed, parsed.words, lambda name: {"m": "pilot-cancel", "pilot": name})


def agent_start(parsed: Parsed) -> int:
    """``agent start --site NAME``."""
    name = parsed["site"]
    given = [key for key in ("ticket", "invite", "node", "foreground", "pool") if parsed[key]]
    if given:
        raise UsageError(f"--{given[0]} is for an agent on this machine, --site for a site's")
    ticket = launch.ticket_for(parsed, start=False)
    upkeep.ensure(ticket.pin)
    request: dict[str, Any] = {"m": "pilot-start", "site": name}
    for key, option in (("nodes", "nodes"), ("slots", "slots"), ("walltime", "walltime"),
                        ("n", "count")):  # fmt: skip
        if parsed[option] is not None:
            request[key] = parsed[option]
    answer = ask(ticket, request)
    pilots = [str(one) for one in answer.get("pilots") or []]
    if parsed["json"]:
        print_json("pilots", pilots)
    elif parsed["quiet"]:
        print("\n".join(pilots))
    else:
        what = "pilots " if len(pilots) > 1 else "pilot "
        print(f"gshell: {what}{', '.join(pilots)} asked of site {name}; gshell pilots -w")
    return 0


def submitter(parsed: Parsed) -> int:
    """The hidden verb: be the submitter."""
    from gshell.submitter.main import main

    return main(launch.ticket_for(parsed, start=False))


VERBS = {
    "site add": site_add,
    "site show": site_show,
    "site remove": site_remove,
    "site pause": site_pause,
    "site resume": site_pause,
    "sites": show_sites,
    "pilots": show_pilots,
    "pilot cancel": pilot_cancel,
    "submitter": submitter,
}
