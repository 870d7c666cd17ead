from gshell.agent.secrecy import ECHO_S, KERNEL_S, Modes, Secrecy

COOKED = Modes(True, True)
ASKING = Modes(True, False)  # a password
RAW = Modes(False, False)


class Typing:
    """One terminal and its program, as the rule sees them."""

    def __init__(self, modes, alternate=False):
        self.secrecy = Secrecy()
        self.modes = modes
        self.alternate = alternate
        self.at = 0
        self.now = 0.0
        self.found = []

    def type(self, data):
        self.found += self.secrecy.given("me", self.at, data, self.modes, self.alternate, self.now)
        self.at += len(data)

    def shows(self, data):
        self.found += self.secrecy.output(data, self.modes)

    def later(self, seconds, unread=False):
        self.now += seconds
        self.found += self.secrecy.look(self.now, self.modes, unread)

    def keys(self, text, echo=lambda key: key):
        for byte in text:
            key = bytes((byte,))
            self.type(key)
            self.shows(echo(key))

    @property
    def open(self):
        return b"".join(told.data for told in self.found if not told.secret)

    @property
    def secret(self):
        return b"".join(told.data for told in self.found if told.secret)


def test_what_is_read_without_an_echo_by_lines_is_a_secret_but_for_enter():
    typing = Typing(ASKING)
    typing.type(b"hunter2\r")
    assert (typing.open, typing.secret) == (b"\r", b"hunter2")


def test_corrections_of_a_password_are_secret_too():
    typing = Typing(ASKING)
    typing.type(b"ab\x7f\x15cd\r")
    assert (typing.open, typing.secret) == (b"\r", b"ab\x7f\x15cd")


def test_what_the_terminal_echoes_is_open():
    typing = Typing(COOKED)
    typing.type(b"ls -l\r")
    typing.shows(b"ls -l\r\n")
    assert (typing.open, typing.secret) == (b"ls -l\r", b"")


def test_keys_that_the_program_shows_are_open_before_their_echo_is_told():
    typing = Typing(RAW)
    typing.keys(b"ls", lambda key: b"\x1b[1m" + key + b"\x1b[m")
    typing.type(b"\r")
    assert typing.open == b"ls\r"
    assert not typing.secret


def test_keys_read_raw_that_nothing_answers_are_secret():
    typing = Typing(RAW)
    for key in (b"p", b"w", b"d"):
        typing.type(key)
        typing.later(0.1)
    typing.type(b"\r")
    typing.shows(b"\r\nwelcome to pwd\r\n")
    assert (typing.open, typing.secret) == (b"\r", b"pwd")


def test_stars_are_no_echo():
    typing = Typing(RAW)
    typing.keys(b"hunter2", lambda key: b"*")
    typing.type(b"\r")
    assert (typing.open, typing.secret) == (b"\r", b"hunter2")


def test_bullets_are_no_echo():
    typing = Typing(RAW)
    typing.keys(b"pw", lambda key: "•".encode())
    assert typing.secret == b"pw"


def test_a_pasted_line_that_is_answered_with_something_else_is_secret():
    typing = Typing(RAW)
    typing.type(b"hunter2\r")
    typing.shows(b"\r\nlogin: hunter2 is wrong\r\n")
    assert (typing.open, typing.secret) == (b"\r", b"hunter2")


def test_a_line_typed_ahead_of_a_silent_prompt_is_secret_by_the_modes_when_it_is_read():
    typing = Typing(COOKED)
    typing.type(b"hunter2\r")
    typing.modes = ASKING
    typing.later(KERNEL_S)
    assert (typing.open, typing.secret) == (b"\r", b"hunter2")


def test_a_line_drawn_anew_with_each_key_is_open():
    typing = Typing(RAW)
    line = b""
    for byte in b"make -j":
        key = bytes((byte,))
        line += key
        typing.type(key)
        typing.shows(b"\r\x1b[K\x1b[32m$ \x1b[m" + line + b"   \x1b[3D")
    assert typing.open == b"make -j"


def test_the_end_of_a_paste_waits_for_its_echo_that_comes_in_pieces():
    typing = Typing(RAW)
    typing.type(b"echo a\r")
    typing.shows(b"ech")
    typing.shows(b"o a\r\na\r\n")
    assert typing.open == b"echo a\r"
    assert not typing.secret


def test_keys_on_the_alternate_screen_are_commands():
    typing = Typing(RAW, alternate=True)
    typing.type(b":wq\r")
    assert typing.open == b":wq\r"


def test_a_password_by_lines_is_secret_on_the_alternate_screen_too():
    typing = Typing(ASKING, alternate=True)
    typing.type(b"hunter2\r")
    assert typing.secret == b"hunter2"


def test_keys_that_are_no_text_are_open_at_once():
    typing = Typing(RAW)
    typing.type(b"\x1b[A\x1bOB\x03\t")
    assert typing.open == b"\x1b[A\x1bOB\x03\t"


def test_what_is_not_read_yet_is_not_judged_yet():
    typing = Typing(RAW)
    typing.type(b"ls")
    typing.later(ECHO_S, unread=True)
    assert not typing.found
    typing.shows(b"ls")
    assert typing.open == b"ls"


def test_when_the_program_ends_what_nobody_showed_is_secret():
    typing = Typing(RAW)
    typing.type(b"pw\r")
    typing.found += typing.secrecy.ended()
    assert (typing.open, typing.secret) == (b"\r", b"pw")


def test_everything_comes_out_once_in_order_with_its_offsets():
    typing = Typing(RAW)
    typing.type(b"ab\x1b[Ccd\r\xc3\xa9\n")
    typing.later(2 * ECHO_S)
    assert b"".join(told.data for told in typing.found) == b"ab\x1b[Ccd\r\xc3\xa9\n"
    at = 0
    for told in typing.found:
        assert told.begin == at
        at += len(told.data)


def test_a_line_that_is_shown_is_open_though_keys_before_it_were_not():
    typing = Typing(RAW)
    for key in (b"x", b"y"):
        typing.type(key)
    typing.type(b"make all\r")
    typing.shows(b"got 2\r\n$ make all\r\n")
    assert (typing.open, typing.secret) == (b"make all\r", b"xy")


def test_a_line_behind_a_prompt_that_is_drawn_anew_is_open():
    typing = Typing(RAW)
    typing.type(b"exit 4\r")
    typing.shows(b"\r\x1b[Kready$ exit 4\r\nexit\r\n")
    assert (typing.open, typing.secret) == (b"exit 4\r", b"")


def test_a_key_that_was_read_and_is_not_shown_in_time_is_secret():
    typing = Typing(RAW)
    typing.type(b"p")
    typing.later(ECHO_S)
    assert typing.secret == b"p"
