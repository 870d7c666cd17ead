"""Sets of ranks, as people write them."""

import pytest

from gshell.model.rankset import RankSet


@pytest.mark.parametrize(
    ("text", "same"),
    [("", ""), ("all", "all"), (" all ", "all"), ("3", "3"), ("0-3,7", "0-3,7"),
     ("7, 0 - 2 ,3", "0-3,7"), ("5-5", "5"), ("1-4,2-3,9", "1-4,9")],
)  # fmt: skip
def test_a_set_is_written_the_same_way_however_it_was_typed(text: str, same: str) -> None:
    assert RankSet.parse(text).text() == same
    assert RankSet.parse(same) == RankSet.parse(text)


@pytest.mark.parametrize(
    "text", ["-1", "3-", "-", "a", "1,,2", "3-1", "1.5", "²", "9" * 30, "all,1"]
)
def test_what_is_no_set_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        RankSet.parse(text)


def test_it_knows_its_ranks() -> None:
    some = RankSet.parse("1-2,9")
    assert [rank for rank in range(12) if rank in some] == [1, 2, 9]
    assert list(some.ranks(8)) == [1, 2]
    assert some.beyond(9)
    assert not some.beyond(10)
    assert list(RankSet.parse("all").ranks(3)) == [0, 1, 2]
    assert 99 in RankSet.parse("all")
    assert not RankSet.parse("")
    assert RankSet.parse("0")
    assert RankSet.parse("all")
    assert RankSet.of([3, 1, 2, 7]).text() == "1-3,7"
