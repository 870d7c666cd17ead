"""``gshell ranks JOB``: what each rank does, once or until Ctrl-C."""

from __future__ import annotations

import json
import sys

from gshell.cli import launch, verbs
from gshell.cli.verbs import JSON_SCHEMA
from gshell.client.conversation import Dialler
from gshell.client.ranksview import RanksView, ranks_table
from gshell.errors import UsageError
from gshell.net.loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gshell.cli.options import Parsed

EVERY_S = 1.0


def ranks(parsed: Parsed) -> int:
    """
    Raises:
        GshellError: there is no such job, or nobody answers.
    """
    if parsed.words[0].startswith("gshell://"):
        raise UsageError(
            "ranks is for jobs of your own",
            hint="gshell attach LINK    and there, in a line of its own:  ~#",
        )
    if len(parsed.words) != 1 or not parsed.words[0].isdigit():
        raise UsageError("ranks takes one job id", hint="gshell jobs")
    loop = Loop()
    ticket = launch.ticket_for(parsed, start=False)
    view = RanksView(Dialler(loop, ticket), parsed.words[0], parsed["rank"] or "all")
    live = bool(parsed["watch"]) and sys.stdout.isatty()
    try:
        while True:
            text = _text(parsed, view.ask())
            # Home, each line to its end, then the rest of the screen: nothing flickers.
            shown = "\x1b[H" + text.replace("\n", "\x1b[K\n") + "\x1b[J" if live else text
            sys.stdout.write(shown)
            sys.stdout.flush()
            if not parsed["watch"] or view.ended:
                return 0
            loop.run_until(lambda: False, EVERY_S)
    finally:
        view.close()
        loop.close()


def _text(parsed: Parsed, rows: list[dict[str, Any]]) -> str:
    if parsed["json"]:
        return json.dumps({"schema": JSON_SCHEMA, "ranks": rows}, indent=1) + "\n"
    if parsed["quiet"]:
        return "".join(f"{row['rank']} {row.get('pid') or '-'}\n" for row in rows)
    return ranks_table(rows, verbs.width(), verbs.color_of(parsed))
