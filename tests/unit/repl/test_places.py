import pytest

from gshell.errors import UsageError
from gshell.repl.places import Place, joined, of_word


@pytest.mark.parametrize(
    ("place", "word", "there"),
    [
        (Place(), "42:", Place("42")),
        (Place("42", "a"), "b", Place("42", "a/b")),
        (Place("42", "a"), "..", Place("42")),
        (Place("42", "a"), "../..", Place("42", "..")),
        (Place("42", "a"), "/tmp//x/", Place("42", "/tmp/x")),
        (Place("42", "a"), "~", Place("42")),
        (Place("42", "a"), "~/x", Place("42", "x")),
        (Place("42", "a"), ":", Place()),
        (Place("42"), "site:b:c", Place("site:b", "c")),
        (Place("42"), "./a:b", Place("42", "a:b")),
        (Place("n1"), "//x", Place("n1", "/x")),
    ],
)
def test_where_a_word_leads(place, word, there):
    assert joined(place, word) == there


def test_how_it_is_asked_for():
    assert Place("42.0").request() == {"beside": "42.0"}
    assert Place("n014").request() == {"agent": "n014"}
    assert Place("site:b").request() == {"site": ["b"]}


def test_half_a_site_is_refused():
    with pytest.raises(UsageError):
        of_word("site:b")
