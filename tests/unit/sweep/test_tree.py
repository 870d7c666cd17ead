"""Who gets files from whom, where many get the same."""

import random

import pytest

from gshell.sweep.tree import SHUT, TRIES, Tree


def grown(count, site="", **more):
    tree = Tree(**more)
    return tree, {n: tree.join(n, site) for n in range(count)}


def test_the_first_gets_it_from_the_client_and_each_passes_it_on_to_two():
    _, parents = grown(7)
    assert parents == {0: None, 1: 0, 2: 0, 3: 1, 4: 1, 5: 2, 6: 2}


@pytest.mark.parametrize(("count", "fanout", "deep"), [(256, 2, 8), (256, 4, 4), (2, 2, 1)])
def test_it_is_no_deeper_than_it_must_be(count, fanout, deep):
    _, parents = grown(count, fanout=fanout)

    def depth(name):
        return 0 if parents[name] is None else 1 + depth(parents[name])

    assert max(map(depth, parents)) == deep


def test_each_site_gets_one_copy_from_elsewhere():
    tree = Tree()
    parents = {n: tree.join(n, "ab"[n % 2]) for n in range(12)}
    crossing = [n for n, parent in parents.items() if parent is not None and (parent - n) % 2]
    assert [n for n, parent in parents.items() if parent is None] == [0]
    assert crossing == [1]


def test_a_site_that_reaches_no_other_gets_its_copy_from_the_client():
    tree, _ = grown(2, "a")
    assert tree.join("b1", "b") == 0
    assert tree.lost("b1", reached=False) is None
    assert tree.join("b2", "b") == "b1"
    tree.leave("b1")
    assert tree.lost("b2", reached=True) is None  # nobody tries again what was tried


def test_who_reaches_nobody_is_sent_it_by_the_client_after_a_few_tries():
    tree, parents = grown(10)
    tree.reached(1)  # it is not the site's fault
    tried = [parents[9], *(tree.lost(9, reached=False) for _ in range(TRIES - 1))]
    assert None not in tried
    assert len(set(tried)) == TRIES
    assert tree.lost(9, reached=False) is None


def test_where_nobody_reaches_anybody_the_others_do_not_try():
    tree = Tree()
    tree.join("first", "a")
    for n in range(SHUT):
        assert tree.join(n, "a") is not None
        tree.lost(n, reached=False)
    assert tree.join("late", "a") is None


def test_that_somebody_got_through_counts_more_than_who_did_not():
    tree = Tree()
    tree.join("first", "a")
    tree.join("well", "a")
    tree.reached("well")
    for n in range(SHUT + 2):
        tree.join(n, "a")
        tree.lost(n, reached=False)
    assert tree.join("late", "a") is not None


def test_children_of_one_that_is_gone_get_others_and_never_one_below_themselves():
    tree, _ = grown(15)
    tree.leave(0)
    assert tree.lost(1, reached=True) in (2, 5, 6, 11, 12, 13, 14)
    assert tree.lost(2, reached=True) is None  # all that are left are below it: one new copy


def test_one_that_cannot_pass_on_gets_it_from_the_client_and_is_nobody_s_parent():
    tree = Tree()
    assert tree.join("old", serves=False) is None
    assert tree.join("new") is None
    assert tree.join("newer") == "new"


def test_there_is_never_a_ring_whatever_goes_wrong():
    luck = random.Random(7)
    for _ in range(50):
        tree, there, parents = Tree(), [], {}
        for n in range(60):
            what = luck.random()
            if what < 0.5 or len(there) < 3:
                there.append(n)
                parents[n] = tree.join(n, luck.choice("ab"))
            elif what < 0.6:
                gone = there.pop(luck.randrange(len(there)))
                tree.leave(gone)
                for child in [c for c in there if parents[c] == gone]:
                    parents[child] = tree.lost(child, reached=True)
            else:
                one = luck.choice([n for n in there if n in parents])
                parents[one] = tree.lost(one, reached=luck.random() < 0.5)
            for at in there:
                seen = {at}
                while (at := parents[at]) is not None:
                    assert at in there
                    assert at not in seen
                    seen.add(at)
            for at in there:
                assert sum(parents[other] == at for other in there) == tree.children(at) <= 2
