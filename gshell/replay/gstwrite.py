"""A script as a transcript: `gst` reads the same from it. Knows no files."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gshell.replay.gst import COMMENT, INPUT, slashes, special
from gshell.replay.gstinput import parts, plain, quoted
from gshell.replay.script import Key, Line, Script, Secret, Step, Text, Wait


def write(script: Script) -> str:
    """The script as a transcript; reading it gives the same, but for numbers of lines."""
    done = [f"# {script.name}"] if script.name and "\n" not in script.name else []
    done += [f"# note: {line}" for warning in script.warnings for line in warning.splitlines()]
    done += [f"@param {name}={_value(default)}" for name, default in script.params]
    done += [f"@env {name}={_value(value)}" for name, value in script.env]
    head = [] if script.timeout_s == 60 else [f"@timeout {_seconds(script.timeout_s)}"]
    head += [f"@size {script.size[0]}x{script.size[1]}"] if script.size else []
    head += [f"@shell {_value(script.shell)}"] if script.shell else []
    head += [f"@command {_value(script.command)}"] if script.command else []
    head += [f"@status {script.status}"] if script.status is not None else []
    done += [" ".join(head)] if head else []
    for step in script.steps:
        done += ["", *_step(step)]
    return "\n".join(done).strip("\n") + "\n"


def shown(step: Step) -> str:
    """A step's input on one line, as it is written."""
    if step.kind == "wait":
        return _wait("wait", step.wait)
    typed = _typed(step)
    if step.kind == "shell" or step.wait.shell:
        return f"$ {typed}".rstrip()
    return f"{_prompt(step.wait.text)}> {typed}".rstrip()


def _step(step: Step) -> Iterator[str]:
    wait = step.wait
    if step.kind == "wait":
        yield _wait("wait", wait)
    else:
        if wait.regex:
            yield _wait("expect", wait)
        yield shown_exactly(step)
        if wait.timeout_s is not None and not wait.regex:
            yield f"@ready {_seconds(wait.timeout_s)}"
    if step.timeout_s is not None:
        yield f"@timeout {_seconds(step.timeout_s)}"
    if wait.at_s is not None:
        yield f"@at {_seconds(wait.at_s)}"
    if step.unordered:
        yield "(unordered)"
    if step.expected is not None and not step.expected:
        yield "(nothing)"
    for line in step.expected or ():
        yield expected_line(line)
    if step.status is not None:
        yield f"[{step.status.text}]"


def shown_exactly(step: Step) -> str:
    if step.kind == "shell" or step.wait.shell:
        return f"$ {_typed(step)}" if step.parts else "$"
    prompt = _prompt(step.wait.text)
    return f"{prompt}> {_typed(step)}" if step.parts else f"{prompt}>"


def _wait(word: str, wait: Wait) -> str:
    limit = f" {_seconds(wait.timeout_s)}" if wait.timeout_s is not None else ""
    if not wait.regex:
        return word + limit
    screen = "screen " if wait.on_screen else ""
    return f"{word} {screen}/{_slashed(wait.regex)}/{limit}"


def _slashed(source: str) -> str:
    r"""A regex between slashes: ``/`` that no backslash protects is ``\/``."""
    protected = re.sub(r"\\(.)|/", lambda found: found[0] if found[1] else "\\/", source)
    return re.sub(r"(?<=\s)#", r"\\#", protected)  # not a comment


def _prompt(text: str) -> str:
    line = f"{text}> x"
    found = INPUT.match(line)
    if found and found[2] == text and special(line) == "input":
        return text
    return quoted(text)


def _typed(step: Step) -> str:
    texts = [part.text for part in step.parts if isinstance(part, Text)]
    only_text = len(texts) == len(step.parts)
    if only_text and step.kind != "keys":
        text = "".join(texts)
        as_it_is = (
            text == text.rstrip()
            and text.isprintable()
            and not (step.kind == "shell" and slashes(text) % 2)
            and not COMMENT.search(f"$ {text}")
            and parts(text) == (plain(text), False)
        )
        return text if as_it_is else f"<Text {quoted(text)}>"
    done = []
    silent = step.kind == "keys" and not any(isinstance(part, Key) for part in step.parts)
    for part in step.parts:
        match part:
            case Text(text):
                done.append(f"<Type {quoted(text)}>" if silent else quoted(text))
            case Key(_, name):
                done.append(name)
            case Secret(number):
                done.append(f"(secret {number})")
    if silent and not texts:
        done.append('<Type "">')
    return " ".join(done)


def expected_line(line: Line) -> str:
    """As it is written."""
    tags = f"(rank {line.rank}) " if line.rank is not None else ""
    tags += {"err": "(stderr) ", "any": "(both) "}.get(line.stream, "")
    text = re.sub(r"(?<=\s)\s# ", lambda found: found[0][0] + "\\# ", line.text)
    bare = text.lstrip("\\")
    if special(bare):
        text = "\\" + text
    return (tags + text).rstrip() if text else tags.rstrip()


def _value(text: str) -> str:
    return text if text and re.fullmatch(r'[^\s"@\\]+', text) else quoted(text)


def _seconds(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".") + "s"
