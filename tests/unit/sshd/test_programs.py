from types import SimpleNamespace

import pytest

pytest.importorskip("asyncssh")

from gshell.sshd import programs


def test_what_others_go_on_printing_on_a_terminal_keeps_nobody_waiting(monkeypatch):
    written = []

    def write(data):
        written.append(len(data))
        assert sum(written) <= 2 * programs.LEFT_BYTES

    one = programs.Program.__new__(programs.Program)
    one._terminal, one._outputs = 99, {99: False}
    one._chan = SimpleNamespace(write=write)
    one._loop = SimpleNamespace(remove_reader=lambda fd: None)
    monkeypatch.setattr(programs.os, "read", lambda fd, count: b"y" * 4095)
    one._drain_terminal()
    assert one._outputs == {}
    assert sum(written) >= programs.LEFT_BYTES
