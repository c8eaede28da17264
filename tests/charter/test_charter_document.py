"""A charter is one document with one spelling; anything else is refused with every reason."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedethics import canonical
from fedethics.charter import document
from fedethics.charter.model import Member
from fedethics.errors import CharterError
from fedethics.identity import Identity


@pytest.fixture
def write(tmp_path: Path):
    def _write(text: str) -> Path:
        path = tmp_path / "charter.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def _members(count: int) -> list[Member]:
    return [
        Member(
            site=f"site-{index}",
            public_key=Identity.generate().public_key,
            declared_records=100,
        )
        for index in range(count)
    ]


def test_the_canonical_bytes_read_back_to_the_same_charter_and_hash(root):
    charter = document.load(root / "configs" / "heart.charter.toml")
    again = document.parse(document.encode(charter))
    assert again == charter
    assert document.hash_of(again) == document.hash_of(charter)


def test_the_same_bytes_are_checked_once_and_other_bytes_by_themselves(root, monkeypatch):
    charter = document.load(root / "configs" / "heart.charter.toml")
    other = dataclasses.replace(
        charter, training=dataclasses.replace(charter.training, rounds=charter.training.rounds + 1)
    )
    checked: list[object] = []
    build = document._build
    monkeypatch.setattr(
        document, "_build", lambda table, where: checked.append(table) or build(table, where=where)
    )
    document._parsed.cache_clear()
    for _ in range(3):  # as a site does for each message
        assert document.parse(document.encode(charter)) == charter
    assert len(checked) == 1
    assert document.parse(document.encode(other)) == other != charter
    assert len(checked) == 2


def test_the_order_of_keys_and_comments_in_the_file_do_not_change_the_hash(write, heart_text):
    moved = heart_text.replace('unit = "record"\n', "").replace(
        "delta = 1e-4", 'delta = 0.0001 # the same\nunit = "record"'
    )
    assert moved != heart_text
    assert document.hash_of(document.load(write(moved))) == document.hash_of(
        document.load(write(heart_text))
    )


def test_any_changed_term_changes_the_hash(root):
    charter = document.load(root / "configs" / "heart.charter.toml")
    other = dataclasses.replace(
        charter, training=dataclasses.replace(charter.training, rounds=charter.training.rounds + 1)
    )
    assert document.hash_of(other) != document.hash_of(charter)


def test_another_spelling_of_the_same_charter_is_refused(root):
    charter = document.load(root / "configs" / "heart.charter.toml")
    spaced = json.dumps(json.loads(document.encode(charter)), indent=1).encode()
    with pytest.raises(CharterError, match="canonical"):
        document.parse(spaced)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "epsilon = 3.0\nclipping",
            'epsilon = "eight"\nclipping',
            "expected a number, got text 'eight'",
        ),
        ("epsilon = 3.0\nclipping", "epsilon = 0.0\nclipping", "must be above 0"),
        ("epsilon = 3.0\nclipping", "epsilon = -1\nclipping", "must be above 0"),
        ("epsilon = 3.0\nclipping", "epsilon = inf\nclipping", "must be finite"),
        ("epsilon = 3.0\nclipping", "epsilon = nan\nclipping", "must be finite"),
        ("epsilon = 3.0\nclipping", "clipping", "privacy.training.epsilon: missing"),
        ("delta = 1e-4", "delta = 1.0", "privacy.delta: must be below 1"),
        ("delta = 1e-4", "delta = 1e-4\ndelat = 1", "privacy.delat: unknown key"),
        ('unit = "record"', 'unit = "person"', "does not name the column"),
        ("minimum-cohort = 3", "minimum-cohort = 2", "at least 3"),
        ("colluders = 1", "colluders = 2", "fewer than 2 honest sites"),
        ('trust-mode = "local"', 'trust-mode = "distributed"', "a round has one step"),
        ("threshold = 0.5", "threshold = 0.503", "not an edge"),
        ('feature = "sex"', 'feature = "shoe_size"', "not among the sensitive features"),
        ("rounds = ", "rounds = true #", "expected a whole number"),
        ('column = "age"\n', 'column = "agee"\n', "no column 'agee'"),
        ("edges = [50, 60]", "edges = [60, 50]", "edges must increase"),
    ],
)
def test_a_wrong_term_is_named_with_its_key_and_the_allowed_values(
    write, heart_text, old, new, said
):
    changed = heart_text.replace(old, new, 1)
    assert changed != heart_text
    with pytest.raises(CharterError) as caught:
        document.load(write(changed))
    assert said in str(caught.value)
    assert "nothing was started" in str(caught.value)


def test_all_problems_are_reported_at_once(write, heart_text):
    bad = heart_text.replace("delta = 1e-4", "delta = 2.0").replace("colluders = 1", "coluders = 1")
    with pytest.raises(CharterError) as caught:
        document.load(write(bad))
    for said in ("privacy.delta", "secagg.coluders: unknown key", "secagg.colluders: missing"):
        assert said in str(caught.value)


def test_a_missing_or_broken_file_is_one_clear_error(tmp_path):
    with pytest.raises(CharterError, match="cannot be read"):
        document.load(tmp_path / "absent.toml")
    (tmp_path / "broken.toml").write_text("[charter\n")
    with pytest.raises(CharterError, match="not valid TOML"):
        document.load(tmp_path / "broken.toml")


def test_a_roster_below_the_minimum_cohort_or_with_a_double_is_refused(root):
    draft = document.load(root / "configs" / "heart.charter.toml")
    key = Identity.generate().public_key
    with pytest.raises(CharterError, match=r"fewer than secagg\.minimum-cohort"):
        document.enrol(draft, coordinator_key=key, roster=_members(2))
    twice = _members(3)
    with pytest.raises(CharterError, match="is listed twice"):
        document.enrol(draft, coordinator_key=key, roster=[*twice, twice[0]])
    assert document.enrol(draft, coordinator_key=key, roster=twice).site_names == (
        "site-0",
        "site-1",
        "site-2",
    )


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


@given(_json)
def test_canonical_bytes_round_trip_and_are_unique(node):
    data = canonical.encode(node)
    assert canonical.encode(canonical.parse(data)) == data


@pytest.mark.parametrize(
    "data", [b'{"a":1,"a":1}', b'{"b":1,"a":1}', b'{"a": 1}', b"1.0e0", b"\xff"]
)
def test_bytes_that_are_not_canonical_are_refused(data):
    with pytest.raises(ValueError):
        canonical.parse(data)
