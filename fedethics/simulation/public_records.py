"""One file of public records, dealt out to simulated sites that read it as the charter says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from fedethics import plain_file
from fedethics.charter.model import Charter
from fedethics.errors import DataError, RunError
from fedethics.release import durable
from fedethics.simulation.partition import read_csv, write_csv
from fedethics.simulation.scenario import ComparisonSetup, Scenario, SiteSetup

_DATA = "public"
_KEY = b"public-records/1/"


def scenario_of(
    file: Path, charter: Path, draft: Charter, *, folder: Path, model_dir: str = ""
) -> Scenario:
    """Return the sites that share the records of `file`; as many as the minimum cohort.

    A person's records go to one site; else each record goes by its own hash.

    Args:
        file: CSV in UTF-8 with a header, or JSON lines.
        charter: named in the scenario.
        draft: says who a person is, and how many sites there are.
        folder: each site's file is written to `public/` in it.
        model_dir: directory of the base model; empty for the embedded one.

    Raises:
        RunError: the file is of another kind, or leaves a site without records.
    """
    count = draft.secagg.minimum_cohort
    parts = _PARTS.get(file.suffix)
    if parts is None:
        raise RunError(
            f"{file}: public records are read from {' or '.join(_PARTS)}, or from a scenario "
            "(.toml). Nothing was started"
        )
    dealt = parts(plain_file.read(file, DataError), draft.data.person or "", count)
    kept = [round(records * (1 - draft.data.holdout_fraction)) for _, records in dealt]
    if min(kept) < 1:
        raise RunError(f"{file}: too few records for {count} sites; nothing was started")
    (folder / _DATA).mkdir(mode=0o755, parents=True)
    sites = []
    for number, (content, _) in enumerate(dealt, start=1):
        name = f"{_DATA}-{number}"
        durable.write(folder / _DATA / f"{name}{file.suffix}", content)
        sites.append(
            SiteSetup(
                name=name,
                data=f"{name}{file.suffix}",
                declared_records=kept[number - 1],
                policy="policy.toml",
            )
        )
    return Scenario(
        name="public",
        charter=str(charter),
        data_dir=_DATA,
        sites=tuple(sites),
        comparisons=ComparisonSetup(seeds=(draft.adapter.seed,)),
        model_dir=model_dir,
    )


def _site_of(identity: str, count: int) -> int:
    return int.from_bytes(hashlib.sha256(_KEY + identity.encode()).digest()[:6], "big") % count


def _csv(data: bytes, person: str, count: int) -> list[tuple[bytes, int]]:
    rows = read_csv(data)
    if not rows:
        raise RunError("the public file has no records; nothing was started")
    dealt: list[list[Mapping[str, str]]] = [[] for _ in range(count)]
    for row in rows:
        identity = row.get(person, "") if person else json.dumps(row, sort_keys=True)
        dealt[_site_of(identity, count)].append(row)
    return [(write_csv(part, tuple(rows[0])), len(part)) for part in dealt]


def _lines(data: bytes, person: str, count: int) -> list[tuple[bytes, int]]:
    dealt: list[list[bytes]] = [[] for _ in range(count)]
    for number, line in enumerate(filter(bytes.strip, data.splitlines()), start=1):
        try:
            record = json.loads(line)
            identity = str(record[person]) if person else line.decode("utf-8")
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"line {number} of the public file is no JSON object with what the charter names; "
                "nothing was started"
            ) from error
        dealt[_site_of(identity, count)].append(line)
    return [(b"".join(line + b"\n" for line in part), len(part)) for part in dealt]


_PARTS: Mapping[str, Callable[[bytes, str, int], list[tuple[bytes, int]]]] = {
    ".csv": _csv,
    ".jsonl": _lines,
}
