"""PMI-1: what ranks say and are told, as MPICH's own process manager would."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gshell.mpi import pmi

GOLDEN = Path(__file__).parent / "pmi"


def server(*layout: int, index: int = 0) -> pmi.Server:
    return pmi.Server("kvs_7", layout or (1,), index)


def answers(actions: list[pmi.Action]) -> list[str]:
    return [a.data.decode() for a in actions if isinstance(a, pmi.Answer)]


def ask(one: pmi.Server, text: str, rank: int = 0) -> str:
    return "".join(answers(one.receive(rank, text.encode() + b"\n")))


def words(line: str) -> dict[str, str]:
    """What a client looks at: the rest is for people."""
    found = pmi.parse(line.strip())
    for name in ("msg", "tag", "info", "pmi_subversion"):
        found.pop(name, None)
    if found.get("rc", "0") != "0":  # why it failed is not looked at, nor which number it has
        return {"cmd": found["cmd"], "failed": "yes"}
    found.pop("rc", None)
    for name in ("kvsname", "value", "size"):
        if name in found:
            found[name] = re.sub(r"^(kvs_.*|/tmp/.*)$", "*", found[name])
    return found


class Hydra:
    """One member with two ranks, and its head; rank 0 is the recorded one."""

    def __init__(self) -> None:
        self.server = server(2)
        self.names = pmi.Names()

    def say(self, rank: int, text: str) -> list[str]:
        """What rank 0 is answered."""
        actions = self.server.receive(rank, text.encode() + b"\n")
        if any(isinstance(action, pmi.Asked) for action in actions):
            actions = self.server.answer(rank, self.names.ask(text))
        if any(isinstance(action, pmi.Entered) for action in actions):
            actions = self.server.leave({})
        return answers([a for a in actions if isinstance(a, pmi.Answer) and a.rank == 0])


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("*.txt")))
def test_a_rank_of_mpich_is_answered_as_by_hydra(name: str) -> None:
    """Recorded between a rank and hydra; ``?`` is what another rank says meanwhile."""
    one = Hydra()
    said: list[str] = []
    for line in (GOLDEN / name).read_text().splitlines():
        way, _, text = line.partition(" ")
        if way == "<":
            assert [words(answer) for answer in said] == [words(text)]
        else:
            said = one.say([">", "?"].index(way), text)


def test_lines_are_taken_however_they_are_cut() -> None:
    one = server(1)
    text = b"cmd=init pmi_version=1 pmi_subversion=1\ncmd=get_maxes\ncmd=get_appnum\n"
    whole = answers(server(1).receive(0, text))
    single = [a for byte in text for a in answers(one.receive(0, bytes([byte])))]
    assert single == whole
    assert len(whole) == 3


def test_what_is_put_is_seen_here_at_once_and_elsewhere_after_the_barrier() -> None:
    here, there = server(1, 1, index=0), server(1, 1, index=1)
    ask(here, "cmd=put kvsname=kvs_7 key=card value=tcp 10.0.0.1=x")
    assert "value=tcp 10.0.0.1=x" in ask(here, "cmd=get kvsname=kvs_7 key=card")
    assert "rc=-1" in ask(there, "cmd=get kvsname=kvs_7 key=card")
    (entered,) = here.receive(0, b"cmd=barrier_in\n")
    assert isinstance(entered, pmi.Entered)
    there.receive(0, b"cmd=barrier_in\n")
    assert (
        answers(here.leave({})) == answers(there.leave(entered.puts)) == ["cmd=barrier_out rc=0\n"]
    )
    assert "value=tcp 10.0.0.1=x" in ask(there, "cmd=get kvsname=kvs_7 key=card")
    assert here.receive(0, b"cmd=barrier_in\n") == [pmi.Entered({})]  # each put goes once


def test_a_barrier_is_entered_by_the_last_of_a_members_ranks() -> None:
    one = server(3)
    assert one.receive(0, b"cmd=barrier_in\n") == one.receive(2, b"cmd=barrier_in\n") == []
    assert one.receive(1, b"cmd=barrier_in\n") == [pmi.Entered({})]
    assert {a.rank for a in one.leave({}) if isinstance(a, pmi.Answer)} == {0, 1, 2}


def test_all_that_is_in_the_space_can_be_walked_through() -> None:
    one = server(2, 1)
    assert "key=PMI_process_mapping val=(vector,(0,1,2),(1,1,1))" in ask(
        one, "cmd=getbyidx kvsname=k idx=0"
    )
    assert ask(one, "cmd=getbyidx kvsname=k idx=1").startswith("cmd=getbyidx_results rc=-2")


def test_a_spawn_of_many_lines_is_refused_in_one_answer_and_told_of() -> None:
    one = server(1)
    text = b"mcmd=spawn\nnprocs=2\nexecname=cmd=abort\ntotspawns=1\nargcnt=0\nendcmd\n"
    first, second = one.receive(0, text)
    assert isinstance(first, pmi.Answer)
    assert first.data.startswith(b"cmd=spawn_result rc=-1 ")
    assert second == pmi.Refused(0, "spawn")
    assert "rc=0" in ask(one, "cmd=get_appnum")  # and it goes on


@pytest.mark.parametrize(
    ("said", "code"), [("exitcode=7", 7), ("exitcode=-1", -1), ("", 1), ("exitcode=x", 1)]
)
def test_an_abort_has_its_code(said: str, code: int) -> None:
    assert server(1).receive(0, f"cmd=abort {said}\n".encode()) == [pmi.Aborted(0, code, "")]


def test_one_who_wants_pmi_2_is_refused_so_that_it_falls_back() -> None:
    one = server(1)
    assert "rc=-1" in ask(one, "cmd=init pmi_version=2 pmi_subversion=0")
    assert not one.initialized(0)
    assert "rc=0" in ask(one, "cmd=init pmi_version=1 pmi_subversion=1")
    assert one.unfinished(0)
    ask(one, "cmd=finalize")
    assert not one.unfinished(0)


def test_an_unknown_command_is_answered_and_nonsense_ends_the_listening() -> None:
    one = server(1)
    assert ask(one, "cmd=get_ranks2hosts").startswith("cmd=get_ranks2hosts_result rc=-1")
    (broken,) = one.receive(0, b"GET / HTTP/1.1\n")
    assert isinstance(broken, pmi.Broken)
    assert one.receive(0, b"cmd=get_maxes\n") == []
    (broken,) = server(1).receive(0, b"x" * (pmi.MAX_LINE_BYTES + 1))
    assert isinstance(broken, pmi.Broken)


def test_no_rank_fills_the_memory() -> None:
    one = server(1)
    value = "v" * pmi.MAX_VALUE_BYTES
    kept = sum("rc=0" in ask(one, f"cmd=put key=k{n} value={value}") for n in range(20_000))
    assert 0 < kept * len(value) <= pmi.MAX_PUTS_BYTES
    assert "rc=-1" in ask(server(1), f"cmd=put key=k value={value}v")


def test_a_mapping_that_is_too_long_to_be_a_value_is_left_out() -> None:
    layout = [1 + n % 2 for n in range(300)]
    assert len(pmi.process_mapping(layout)) > pmi.MAX_VALUE_BYTES
    assert "rc=-1" in ask(server(*layout), "cmd=get kvsname=kvs_7 key=PMI_process_mapping")


@pytest.mark.parametrize(
    ("layout", "text"),
    [([1], "(vector,(0,1,1))"), ([2, 2], "(vector,(0,2,2))"), ([3, 2], "(vector,(0,1,3),(1,1,2))"),
     ([4, 4, 2, 4], "(vector,(0,2,4),(2,1,2),(3,1,4))")],
)  # fmt: skip
def test_the_mapping_says_who_shares_a_node(layout: list[int], text: str) -> None:
    assert pmi.process_mapping(layout) == text
