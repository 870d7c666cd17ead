"""Every verb and preamble, tried by everybody: the table is in `kit.matrix`."""

import pytest

from kit import matrix
from relay.broker.verbs import VERBS


def test_every_verb_has_its_row():
    assert {what.split()[0] for what in matrix._REQUESTS} == set(VERBS)
    assert set(matrix.rows()) == {*matrix._REQUESTS, *matrix._PREAMBLES}


@pytest.mark.parametrize("party", matrix.PARTIES)
@pytest.mark.parametrize("what", matrix.rows())
def test_rights_are_exactly_these(what, party):
    assert matrix.try_cell(what, party, matrix.table()[what, party]) == []
