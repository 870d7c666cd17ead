"""Whatever is typed, shown and waited for: all of it is judged once, in order."""

from hypothesis import given
from hypothesis import strategies as st

from gshell.agent.secrecy import ECHO_S, Modes, Secrecy

TEXT = st.lists(
    st.sampled_from([b"a", b"ls", b"\r", b"\x1b[A", b"\x7f", "é".encode(), b"\x03", b"*", b"word"]),
    max_size=6,
).map(b"".join)
STEP = st.one_of(
    st.tuples(st.just("type"), TEXT),
    st.tuples(st.just("show"), TEXT),
    st.tuples(st.just("wait"), st.sampled_from([b"", b"unread"])),
    st.tuples(st.just("modes"), st.sampled_from([b"\0\0", b"\0\1", b"\1\0", b"\1\1"])),
)


@given(st.lists(STEP, max_size=40), st.booleans())
def test_all_of_it_is_judged_once_and_in_order(steps, alternate):
    secrecy, modes, now = Secrecy(), Modes(), 0.0
    typed, found = b"", []
    for kind, data in steps:
        if kind == "type":
            found += secrecy.given("me", len(typed), data, modes, alternate, now)
            typed += data
        elif kind == "show":
            found += secrecy.output(data, modes)
        elif kind == "wait":
            now += ECHO_S
            found += secrecy.look(now, modes, bool(data))
        else:
            modes = Modes(bool(data[0]), bool(data[1]))
    found += secrecy.ended()
    at = 0
    for told in found:
        assert told.begin == at
        at += len(told.data)
    assert b"".join(told.data for told in found) == typed
    assert secrecy.due is None
