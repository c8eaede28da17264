"""Watch a simulated release: its own sites, keys and ledgers read windows of new records.

It lies beside the run, since a release holds no other files: RUN-monitoring/coordinator has the
charter that watches, and RUN-monitoring/windows the folder of each window and their history.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from fedethics import terms
from fedethics.aggregates.monitoring import terms_of, window_run
from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.charter.signing import add_signatures, sign, signatures_path
from fedethics.coordinator.job import STATE, RunSettings
from fedethics.coordinator.run import run_job
from fedethics.coordinator.transport import InProcess
from fedethics.enrolment import files
from fedethics.errors import RunError
from fedethics.identity import Identity
from fedethics.monitoring import verdict
from fedethics.monitoring.drafting import watch_charter
from fedethics.monitoring.verdict import WindowVerdict
from fedethics.protocol import Reply, Request
from fedethics.simulation import staging
from fedethics.site import answering
from fedethics.site.home import SiteHome, archive_charter
from fedethics.storage import files as stored

WINDOWS = "windows"


def beside(run_dir: Path) -> Path:
    """Return the folder of what was watched of a run."""
    return run_dir.parent / f"{run_dir.name}-monitoring"


def begin(run_dir: Path, table: Mapping[str, Any], data: Mapping[str, Path]) -> Charter:
    """Let the sites of a simulated run agree to watch its release.

    Args:
        run_dir: the run, released.
        table: `[monitoring]`, without `release`.
        data: each site's file of new records.

    Raises:
        ReleaseError: the release may not be used.
        CharterError: the terms are not valid.
        RunError: a site has no file, or the run is watched under other terms already.
    """
    charter = watch_charter(run_dir, dict(table))
    if missing := sorted(set(charter.site_names) - set(data)):
        raise RunError(f"no file of new records for {', '.join(missing)}; nothing was started")
    coordinator = beside(run_dir) / "coordinator"
    if coordinator.exists():
        if document.load(coordinator / "charter.json") != charter:
            raise RunError(
                f"{run_dir} is watched under other terms already; nothing was started. Take them "
                f"again, or watch a copy of the run"
            )
        return charter
    stage = staging.existing(run_dir)
    signatures = [sign(charter, key, role=role, simulated=True) for role, key in _people(run_dir)]
    for site, home in stage.homes.items():
        key = Identity.load(home / "identity.key")
        signatures.append(sign(charter, key, role="site", simulated=True))
        settings = tomllib.loads((home / "site.toml").read_text(encoding="utf-8"))
        settings |= {"monitored": str(data[site].resolve()), "start-dir": str(run_dir.resolve())}
        stored.replace(home / "site.toml", terms.toml_text(settings).encode("utf-8"))
    own = Identity.load(stage.coordinator / "identity.key")
    signatures.append(sign(charter, own, role="coordinator", simulated=True))
    for home in stage.homes.values():
        archive_charter(home / "charter.json")
        stored.replace(home / "charter.json", document.encode(charter))
        add_signatures(signatures_path(home / "charter.json"), charter, signatures)
    coordinator.mkdir(mode=0o700, parents=True)
    shutil.copy2(stage.coordinator / "identity.key", coordinator / "identity.key")
    files.create(coordinator / "charter.json", document.encode(charter))
    add_signatures(signatures_path(coordinator / "charter.json"), charter, signatures)
    return charter


def _people(run_dir: Path) -> list[tuple[str, Identity]]:
    """Return the stakeholders whose keys the simulation drew."""
    found = sorted((run_dir / "stakeholders").glob("*.key"))
    return [(path.stem.partition("-")[2], Identity.load(path)) for path in found]


def read_window(run_dir: Path, number: int) -> WindowVerdict:
    """Read one window, or return its verdict if it was read before.

    Args:
        run_dir: a run that `begin` was called for.
        number: which window, from 1.

    Raises:
        FedethicsError: it cannot be read: not over, too few records, over budget, withdrawn.
    """
    homes = {site: run_dir / "sites" / site for site in _charter(run_dir).site_names}
    run = window_run(run_dir.name, number)
    folder = beside(run_dir) / WINDOWS / run
    if (folder / verdict.VERDICT).exists():
        return verdict.load(folder)
    home = SiteHome.open(next(iter(homes.values())))
    settings = RunSettings(
        coordinator_home=str(beside(run_dir) / "coordinator"),
        job_dir=str(folder),
        job_id=run,
        model_dir=str(home.model_dir or ""),
        start_dir=str(run_dir),
        resume=(folder / STATE).exists(),
    )
    run_job(InProcess({site: partial(_answer, path) for site, path in homes.items()}), settings)
    return verdict.load(folder)


def due(run_dir: Path) -> tuple[int, ...]:
    """Return the windows that are over and have no verdict yet."""
    newest = terms_of(_charter(run_dir)).newest(datetime.now(UTC).date())
    read = beside(run_dir) / WINDOWS
    return tuple(
        number
        for number in range(1, newest + 1)
        if not (read / window_run(run_dir.name, number) / verdict.VERDICT).exists()
    )


def _charter(run_dir: Path) -> Charter:
    path = beside(run_dir) / "coordinator" / "charter.json"
    if not path.exists():
        raise RunError(f"{run_dir} is not watched: there is no {path}")
    return document.load(path)


def _answer(home: Path, request: Request) -> Reply:
    return answering.answer(home, lambda: request)
