"""What tests of monitoring share: a small released run, and files of new records with days."""

from __future__ import annotations

import csv
import dataclasses
from datetime import date, timedelta
from pathlib import Path

from fedethics.identity import Identity
from fedethics.release import folder, gate
from fedethics.release.approve import approve
from fedethics.simulation.staging import Stage

FIRST = date(2026, 1, 1)
DAYS = 30
TERMS = {
    "time": "seen",
    "first-day": FIRST.isoformat(),
    "days": DAYS,
    "windows": 6,
    "minimum-records": 20,
    "epsilon": 2.0,
    "bars": {"score-psi": 0.5, "label-rate": 0.15, "objectives": False},
}


def lenient(charter):
    """Return the charter with one objective that no noise can make fail."""
    (accuracy,) = [one for one in charter.ethics.objectives if one.metric == "accuracy_score"]
    easy = dataclasses.replace(accuracy, bar=0.01)
    return dataclasses.replace(
        charter, ethics=dataclasses.replace(charter.ethics, objectives=(easy,))
    )


def released(stage: Stage, run: Path) -> None:
    """Approve a run, with the key that its charter names."""
    key = Identity.load(stage.coordinator / "identity.key")
    approve(
        run,
        key,
        role="coordinator",
        reason="a test",
        despite_uncertainty=gate.judge(folder.load(run)).verdict != "pass",
    )


def new_records(
    sites: dict[str, Path], place: Path, *, windows: int, copies: int
) -> dict[str, Path]:
    """Write each site's rows again in each window, with days; return the files.

    In the second window every label is that of disease.
    """
    place.mkdir(parents=True, exist_ok=True)
    found = {}
    for site, path in sites.items():
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        found[site] = place / f"{site}.csv"
        with found[site].open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [*rows[0], "seen"])
            writer.writeheader()
            for window in range(windows):
                for copy in range(copies):
                    for number, row in enumerate(rows):
                        day = FIRST + timedelta(days=window * DAYS + number % DAYS)
                        label = "1" if window == 1 else row["num"]
                        new = {"id": f"{window}-{copy}-{row['id']}", "num": label}
                        writer.writerow({**row, **new, "seen": day.isoformat()})
    return found
