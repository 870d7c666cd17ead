"""``gshell ranks JOB``: what each rank does, once or until Ctrl-C."""

from __future__ import annotations

import sys

from gshell.cli import launch
from gshell.cli.listing import color_of, text_of, width
from gshell.cli.page import Page
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
    page = Page(live=bool(parsed["watch"]) and sys.stdout.isatty())
    try:
        while True:
            page.show(_text(parsed, view.ask()))
            if not parsed["watch"] or view.ended:
                return 0
            loop.run_until(lambda: False, EVERY_S)
    finally:
        page.leave()
        view.close()
        loop.close()


def _text(parsed: Parsed, rows: list[dict[str, Any]]) -> str:
    if parsed["quiet"] and not parsed["fields"] and not parsed["json"]:
        return "".join(f"{row['rank']} {row.get('pid') or '-'}\n" for row in rows)
    return text_of(
        parsed, "ranks", rows, "rank", lambda f: ranks_table(rows, width(), color_of(parsed), f)
    )
