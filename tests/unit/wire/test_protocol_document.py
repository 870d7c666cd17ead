"""PROTOCOL.md says what the code does, where that can be read off; ``--draw`` redraws it."""

import pathlib
import re
import sys

from gshell.wire import constants, frames
from gshell.wire.states import RECEIVING, SENDING, State, Table

ROOT = pathlib.Path(__file__).parents[3]
DOCUMENT = ROOT / "gshell" / "wire" / "PROTOCOL.md"
DRAWING = re.compile(r"(?<=<!-- states -->\n).*(?=<!-- /states -->)", re.DOTALL)
ERROR = re.compile(r'RemoteProtocolError\(\s*"([a-z-]+)"')


def draw(title: str, table: Table) -> list[str]:
    """One arrow a line, from each state in turn."""
    width = max(len(event) for _, event in table) + 3
    lines = [f"{title}:"]
    for state in State:
        name = state.value
        for (start, event), to in table.items():
            if start is state:
                lines.append(f"  {name:11} ── {event} {'─' * (width - len(event))}▶ {to.value}")
                name = ""
    return [*lines, ""]


def drawing() -> str:
    lines = [*draw("sender", SENDING), *draw("receiver", RECEIVING)]
    return "\n".join(["```", *lines[:-1], "```", ""])


def text() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


def test_the_drawing_of_the_states_is_the_table() -> None:
    found = DRAWING.search(text())
    assert found
    assert found.group() == drawing(), f"python {__file__} --draw"


def test_every_state_can_be_reached_and_the_last_ones_are_last() -> None:
    for table, last in ((SENDING, {State.STOPPED}), (RECEIVING, {State.CLOSED})):
        reached = {State.OPEN, *table.values()}
        assert reached - {start for start, _ in table} == last


def test_every_frame_is_listed_with_its_number() -> None:
    for name in ["DATA", "GRANT", "STOP", "GAP", "HELLO", "WELCOME", "PING", "PONG", "BYE"]:
        assert f"| {getattr(frames, name)} | {name} |" in text()


def test_every_error_is_named_and_no_other() -> None:
    source = "".join(path.read_text() for path in (ROOT / "gshell" / "wire").glob("*.py"))
    section = text().split("## 8. Errors")[1].split("##")[0]
    names = re.search(r"Names: `([^`]*)`", section)
    assert names
    assert set(names.group(1).split()) == set(ERROR.findall(source))


def test_every_number_is_the_codes() -> None:
    windows = {
        "control, each way": constants.CONTROL_WINDOW,
        "output of a pty": constants.INTERACTIVE_WINDOW,
        "output of a pipe": constants.PIPE_WINDOW,
        "input": constants.INPUT_WINDOW,
    }
    said = [f"| {what} | {window} |" for what, window in windows.items()]
    said += [f"at most {constants.MAX_GREETING_BYTES} |", f"at most {constants.MAX_BYE_BYTES} |"]
    said += [f"at most {constants.MAX_JSON_BYTES} bytes", f"at most {constants.MAX_FRAME_BYTES} |"]
    said += [f"for {constants.HEARTBEAT_S:.0f} s", f"after {constants.DEAD_AFTER_S:.0f} s"]
    said += [f"up to {constants.EARLY_BYTES >> 20} MiB", f"{constants.MAX_WINDOW >> 20} MiB"]
    said += [f"`v`: {constants.VERSION}."]
    assert [phrase for phrase in said if phrase not in text()] == []


def test_it_is_short() -> None:
    assert len(text().splitlines()) <= 200


if __name__ == "__main__" and sys.argv[1:] == ["--draw"]:
    DOCUMENT.write_text(DRAWING.sub(drawing(), text()), encoding="utf-8")
