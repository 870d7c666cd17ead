"""``gshell play``: a recording in this terminal. The terminal, its keys and the clock; what is
shown when is the `Player`'s."""

from __future__ import annotations

import os
import select
import sys
import time

from gshell.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gshell.cast.format import Cast
    from gshell.cast.playback import Player
    from gshell.cast.screen import Screen
    from gshell.cli.options import Parsed
    from gshell.client.terminal import Terminal

KEYS = {
    b" ": "pause", b".": "step", b"\x1b[C": "forward", b"\x1bOC": "forward", b"\x1b[D": "back",
    b"\x1bOD": "back", b"\x1b[H": "home", b"\x1bOH": "home", b"\x1b[1~": "home", b"\x1b[7~": "home",
    b"\x1b[F": "end", b"\x1bOF": "end", b"\x1b[4~": "end", b"\x1b[8~": "end", b"]": "next",
    b"[": "previous", b"/": "search", b"n": "again", b"q": "quit", b"\x03": "quit", b"\x04": "quit",
    b"+": "faster", b">": "faster", b"-": "slower", b"<": "slower", b"\x1a": "suspend",
    b"?": "help", b"h": "help", b"\x0c": "redraw",
    **{b"%d" % digit: f"tenth {digit}" for digit in range(10)},
}  # fmt: skip
SEEK_S = 5.0
LOOK_ON_S = 0.004  # of an idle moment, for pictures of what is to come
HELP = "space pause  . step  ←→ 5 s  0-9 tenths  [ ] markers  / search  + - speed  q end"


def play(parsed: Parsed) -> int:
    cast = read(parsed.words[0])
    if parsed["at"] is not None:
        return _print_screen(cast, parsed["at"])
    if not _is_tty(1):
        return _print_lines(cast, bool(parsed["quiet"]))
    keys = _keyboard()
    if keys < 0:
        return _print_lines(cast, bool(parsed["quiet"]))
    from gshell.cast.playback import Player

    player = Player(cast, parsed["speed"], parsed["idle"], bool(parsed["marks"]))
    return Show(player, keys, bool(parsed["raw"]), bool(parsed["loop"])).run(
        bool(parsed["resize"]), bool(parsed["quiet"])
    )


def read(name: str) -> Cast:
    """
    Raises:
        GshellError: it cannot be read, or is no recording.
    """
    from gshell.cast.load import load

    try:
        if name == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(name, "rb") as file:
                data = file.read()
        timing = None if name == "-" else _timing(name, data)
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from None
    return load(data, "" if name == "-" else name, timing=timing).cast


def _timing(name: str, data: bytes) -> bytes | None:
    """A typescript's other file, where it has a usual name."""
    if not data.startswith(b"Script started"):
        return None
    stem = os.path.splitext(name)[0]
    for other in (f"{name}.timing", f"{name}.tm", f"{stem}.timing", f"{stem}.tm", f"{stem}.time"):
        if os.path.exists(other):
            with open(other, "rb") as file:
                return file.read()
    return None


def _is_tty(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _keyboard() -> int:
    """Where keys come from; -1: nowhere."""
    if _is_tty(0):
        return 0
    try:
        return os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return -1


def _print_screen(cast: Cast, at_s: float) -> int:
    from gshell.cast.playback import Pictures, index_at

    rows = Pictures(cast).at(index_at(cast, at_s)).text()
    while rows and not rows[-1]:
        rows.pop()
    sys.stdout.write("".join(f"{row}\n" for row in rows))
    return 0


def _print_lines(cast: Cast, quiet: bool) -> int:
    from gshell.cast.playback import lines_of

    for when, line in lines_of(cast):
        sys.stdout.write(f"{line}\n" if quiet else f"{when:9.3f}  {line}\n")
    return 0


def clock_text(seconds: float) -> str:
    """
    >>> clock_text(3725.4), clock_text(65)
    ('1:02:05', '1:05')
    """
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Show:
    """The terminal while it plays. Invariant: at the end it is as it was, whatever the end."""

    def __init__(self, player: Player, keys: int, raw: bool, loops: bool) -> None:
        from gshell.cast.playsafe import PlaySafe

        self._player = player
        self._keys = keys
        self._raw = raw
        self._loops = loops
        self._new_filter = PlaySafe
        self._filter = PlaySafe()
        self._terminal: Terminal | None = None
        self._over = False
        self._covered = False  # a line of ours is on the screen
        self._typed: bytes | None = None  # of what is searched for
        self._sought = ""
        self._killed = 0

    def run(self, resize: bool, quiet: bool) -> int:
        import signal

        from gshell.client.terminal import Terminal

        player = self._player
        self._terminal = terminal = Terminal(self._keys)
        self._fit(resize, quiet)
        wakes, woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

        def end(number: int, frame: object) -> None:
            self._killed = number
            os.write(woken, b"!")

        before = {n: signal.signal(n, end) for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
        terminal.guard()
        try:
            terminal.raw()
            player.start(time.monotonic())
            while not self._over and not self._killed:
                self._round(wakes)
        finally:
            terminal.close()
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(wakes)
            os.close(woken)
        os.write(1, b"\r\n" if not self._at_line_start() else b"")
        if self._killed:
            return 128 + self._killed
        return 0

    def _at_line_start(self) -> bool:
        player = self._player
        return player.here().x == 0 and not self._covered

    def _fit(self, resize: bool, quiet: bool) -> None:
        header = self._player.cast.header
        rows, columns = os.get_terminal_size(1)[::-1]
        if resize:
            os.write(1, f"\x1b[8;{header.rows};{header.columns}t".encode())
        elif not quiet and (columns < header.columns or rows < header.rows):
            size = f"{header.columns}x{header.rows}"
            sys.stderr.write(f"[recorded at {size}, this terminal is {columns}x{rows}]\n")

    def _round(self, wakes: int) -> None:
        """Show what is due, and wait for what comes next: time, or a key."""
        player = self._player
        now = time.monotonic()
        self._show(player.play(now))
        if player.ended and not player.paused and self._at_end():
            return
        if player.stops and player.paused and not self._covered:
            self._cover("marker")
        due = player.due(time.monotonic())
        if due is None or due > 2 * LOOK_ON_S:
            end = time.monotonic() + LOOK_ON_S
            while not player.pictures.complete and time.monotonic() < end:
                player.pictures.look_on()
            if not player.pictures.complete:
                due = 0.0  # keys, and then more of it
            elif due is not None:
                due = player.due(time.monotonic())
        ready, _, _ = select.select([self._keys, wakes], [], [], due)
        if self._keys in ready:
            self._read_keys()

    def _at_end(self) -> bool:
        """All was shown: again, or that was it."""
        if not self._loops:
            self._over = True
            return True
        self._seek(0.0)
        return False

    # -- the screen

    def _show(self, text: str) -> None:
        if not text:
            return
        if self._covered:
            self._uncover()
            return  # that shows it, too
        data = text.encode("utf-8", "replace")
        self._write(data if self._raw else self._safe(data))

    def _safe(self, data: bytes) -> bytes:
        """Without what asks, takes the clipboard or the title, or changes what keys send: they are
        for us."""
        return self._filter.feed(data)

    def _write(self, data: bytes) -> None:
        terminal = self._terminal
        assert terminal is not None
        terminal.output(data)
        while data:
            data = data[os.write(1, data) :]

    def _picture(self, screen: Screen) -> None:
        """All of it anew."""
        from gshell.cast.redraw import redraw

        terminal = self._terminal
        assert terminal is not None
        reset = terminal.seen.reset()
        terminal.seen.clear()
        self._write(reset + b"\x1b[!p\x1b[m\x0f\x1b[H\x1b[2J")
        drawn = redraw(screen).encode("utf-8", "replace")
        self._filter = self._new_filter()
        self._write(drawn if self._raw else self._safe(drawn))
        self._covered = False

    def _uncover(self) -> None:
        self._picture(self._player.here())

    def _cover(self, words: str = "") -> None:
        """A line of ours at the bottom, until it goes on."""
        player = self._player
        now = time.monotonic()
        place = f"{clock_text(player.head(now))}/{clock_text(player.duration_s)}"
        speed = "" if player.speed == 1 else f" x{player.speed:g}"
        state = "paused " if player.paused else ""
        line = f" {state}{place}{speed}  {words or '? keys'} "
        width = os.get_terminal_size(1).columns
        self._write(
            f"\x1b7\x1b[r\x1b[999;1H\x1b[0;7m{line[: width - 1]}\x1b[0;K\x1b[m\x1b8".encode()
        )
        self._covered = True

    # -- keys

    def _read_keys(self) -> None:
        data = os.read(self._keys, 64)
        if not data:
            self._over = True
            return
        while data and not self._over:
            if self._typed is not None:
                data = self._type(data)
                continue
            size = next((n for n in (4, 3, 1) if data[:n] in KEYS and len(data) >= n), 0)
            if not size:
                data = b"" if data[:1] == b"\x1b" else data[1:]
                continue
            self._do(KEYS[data[:size]])
            data = data[size:]

    def _do(self, action: str) -> None:
        player = self._player
        now = time.monotonic()
        if action == "quit":
            if self._covered:
                self._uncover()
            self._over = True
        elif action == "pause":
            player.pause(now)
            if player.paused:
                self._cover()
            elif self._covered:
                self._uncover()
        elif action == "step":
            if self._covered:
                self._uncover()
            self._show(player.step(now))
            self._cover()
        elif action in ("forward", "back"):
            self._seek(player.head(now) + (SEEK_S if action == "forward" else -SEEK_S))
        elif action in ("home", "end"):
            self._seek(0.0 if action == "home" else player.duration_s)
        elif action.startswith("tenth"):
            self._seek(player.duration_s * int(action[-1]) / 10)
        elif action in ("next", "previous"):
            spot = player.marker(action == "next", now)
            if spot is None:
                self._cover("no more markers")
            else:
                self._seek(spot)
        elif action in ("faster", "slower"):
            player.hurry(2.0 if action == "faster" else 0.5, now)
            self._cover()
        elif action == "search":
            self._typed = b""
            if not player.paused:
                player.pause(now)
            self._cover("/")
        elif action == "again":
            self._find()
        elif action == "suspend":
            terminal = self._terminal
            assert terminal is not None
            paused = player.paused
            if not paused:
                player.pause(now)
            terminal.suspend_self()
            if not paused:
                player.pause(time.monotonic())
            self._uncover()
        elif action == "redraw":
            self._uncover()
        elif action == "help":
            self._cover(HELP)

    def _seek(self, to_s: float) -> None:
        player = self._player
        self._picture(player.seek(to_s, time.monotonic()))
        if player.paused:
            self._cover()

    def _type(self, data: bytes) -> bytes:
        """Words to search for; what is left of ``data``."""
        assert self._typed is not None
        for at, byte in enumerate(data):
            if byte in b"\r\n":
                self._sought = self._typed.decode("utf-8", "replace") or self._sought
                self._typed = None
                self._find()
                return data[at + 1 :]
            if byte in b"\x1b\x03":
                self._typed = None
                self._uncover()
                self._cover()
                return b""
            if byte in b"\x7f\x08":
                self._typed = self._typed[:-1]
            elif byte >= 0x20:
                self._typed += bytes((byte,))
        self._cover("/" + self._typed.decode("utf-8", "replace"))
        return b""

    def _find(self) -> None:
        from gshell.model.sanitize import sanitize

        player = self._player
        now = time.monotonic()
        spot = player.find(self._sought, now)
        if spot is None:
            self._cover(f"not found: {sanitize(self._sought)}" if self._sought else "/ searches")
            return
        if not player.paused:
            player.pause(now)
        self._seek(spot)


VERBS = {"play": play}
