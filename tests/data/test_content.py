"""What records say: equal contents have equal names, and nothing else has."""

from __future__ import annotations

import itertools

from fedethics.data.content import (
    Completion,
    Conversation,
    Preference,
    Turn,
    characters,
    digest,
    loose_hash,
    parts,
)

ALL = (
    "ab",
    Completion("a", "b"),
    Preference("a", "b", ""),
    Conversation((Turn("user", "a"), Turn("assistant", "b"))),
    Conversation((Turn("system", "a"), Turn("assistant", "b"))),
    Conversation((Turn("user", "a"), Turn("user", "b"))),
)


def test_contents_of_other_form_role_or_order_have_other_digests():
    every = [(), *((one,) for one in ALL), *itertools.permutations(ALL, 2)]
    assert len({digest(contents) for contents in every}) == len(every)
    assert digest(ALL) == digest(list(ALL))


def test_pieces_are_counted_without_who_says_them():
    assert [characters(one) for one in ALL] == [2] * len(ALL)
    assert parts(ALL[3]) == parts(ALL[4]) == ("a", "b")


def test_case_and_spaces_make_no_other_text_but_the_edge_of_a_piece_does():
    assert loose_hash("A  b\n") == loose_hash("a B")
    assert loose_hash(Completion("A b", "C")) == loose_hash(Completion(" a B", "c "))
    assert loose_hash(Completion("a b", "c")) != loose_hash(Completion("a", "b c"))
