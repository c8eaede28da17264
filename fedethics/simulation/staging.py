"""Make the institutions of a scenario: a home for each with fresh keys, policy and charter.

Simulated institutions are born with their run and live in its directory, so their ledgers start
empty. Real ones keep one ledger for life. They sign the charter as simulated: with a purpose that
no real signature has, so that nobody can take it for consent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedethics import canonical, terms
from fedethics.canonical import Json
from fedethics.charter import document
from fedethics.charter.model import Charter, Member
from fedethics.charter.signing import CharterSignature, add_signatures, sign, signatures_path
from fedethics.data.file_terms import data_file
from fedethics.enrolment import files
from fedethics.errors import RunError
from fedethics.identity import Identity
from fedethics.privacy.ledger import Ledger
from fedethics.scorers.folder import scorer_folders
from fedethics.secagg import SiteStore
from fedethics.simulation.scenario import Scenario, SiteSetup, data_folder

_NOT_FOR_OTHERS_TO_WRITE = 0o755
# What of the charter was set for one run, beside the coordinator's copy of it.
SET = "set.json"


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the parts of one simulated federation lie."""

    run_dir: Path
    coordinator: Path
    homes: Mapping[str, Path]
    charter: Charter


def build(
    scenario: Scenario, draft: Charter, *, base: Path, data_dir: Path, run_dir: Path
) -> Stage:
    """Create homes and keys under `run_dir` and enrol every site in the charter.

    Args:
        scenario: the sites.
        draft: the charter without its roster.
        base: directory that the scenario's relative paths start from.
        data_dir: directory with the sites' files; records stay there.
        run_dir: must not exist.

    Raises:
        RunError: `run_dir` exists, or a site's data or policy file is missing.
        CharterError: fewer sites than the minimum cohort.
    """
    if run_dir.exists():
        raise RunError(
            f"{run_dir} exists already; nothing was overwritten. Choose another --run-id, or "
            f"continue it with --resume {run_dir}"
        )
    _require_files(scenario, base, data_dir)
    draft, people = _with_stakeholders(draft)
    keys = {site.name: Identity.generate() for site in scenario.sites}
    coordinator_key = Identity.generate()
    roster = [
        Member(
            site=site.name,
            public_key=keys[site.name].public_key,
            declared_records=site.declared_records,
        )
        for site in scenario.sites
    ]
    charter = document.enrol(draft, coordinator_key=coordinator_key.public_key, roster=roster)
    stage = existing(run_dir, charter)
    signatures = [
        *(sign(charter, key, role=role, simulated=True) for role, key in people),
        *(sign(charter, key, role="site", simulated=True) for key in keys.values()),
        sign(charter, coordinator_key, role="coordinator", simulated=True),
    ]
    # Not by the umask: a site refuses a home that others could change.
    run_dir.mkdir(mode=_NOT_FOR_OTHERS_TO_WRITE, parents=True)
    for number, (role, key) in enumerate(people, start=1):
        key.save(run_dir / "stakeholders" / f"{number}-{role}.key")
    _write_home(stage.coordinator, coordinator_key, charter, signatures)
    for site in scenario.sites:
        home = stage.homes[site.name]
        _write_home(home, keys[site.name], charter, signatures)
        Ledger.open(home / "ledger.db", identity=keys[site.name], create=True)
        SiteStore(home / "secagg.db")
        files.create(home / "policy.toml", files.read(base / site.policy))
        _write_site_file(home, site, data_dir, _settings(scenario, base))
    return stage


def of_scenario(
    scenario: Scenario,
    draft: Charter,
    *,
    base: Path,
    data: Path,
    run_dir: Path,
    settings: Mapping[str, Any] | None = None,
) -> Stage:
    """Make the institutions with their data, and keep what was set of the charter for this run.

    Args:
        scenario: the sites and where their data come from.
        draft: the charter without its roster, with the settings in it.
        base: directory that the scenario's relative paths start from.
        data: directory of all data sets.
        run_dir: must not exist.
        settings: what was set differently from the charter's file, for `set.json`.

    Raises:
        FedethicsError: the data or the run's directory is not as it must be.
    """
    folder = data_folder(scenario, data, base=base)
    stage = build(scenario, draft, base=base, data_dir=folder, run_dir=run_dir)
    if settings:
        files.create(stage.coordinator / SET, canonical.encode(dict(settings)))
    return stage


def existing(run_dir: Path, charter: Charter | None = None) -> Stage:
    """Return the stage of a run that was built before, or the paths of one about to be."""
    coordinator = run_dir / "coordinator"
    charter = charter or document.load(coordinator / "charter.json")
    homes = {site: run_dir / "sites" / site for site in charter.site_names}
    return Stage(run_dir, coordinator, homes, charter)


def _require_files(scenario: Scenario, base: Path, data_dir: Path) -> None:
    policies = sorted({base / site.policy for site in scenario.sites})
    absent = [str(path) for path in policies if not path.is_file()]
    if absent:
        raise RunError(f"missing policy: {', '.join(absent)}; nothing was started")
    found = [data_file(site.data, data_dir).path for site in scenario.sites]
    missing = [path.name for path in found if not path.is_file()]
    if missing:
        said = f"{data_dir} lacks {', '.join(missing)}; nothing was started"
        if scenario.dataset:
            get = f"python -m simulations.datasets fetch {scenario.dataset}"
            said = f"{said}. To get the data set: {get}"
        raise RunError(said)


def _with_stakeholders(draft: Charter) -> tuple[Charter, tuple[tuple[str, Identity], ...]]:
    """Give each stakeholder without a key one that the simulation draws."""
    found: list[tuple[str, Identity]] = []
    named = []
    for one in draft.ethics.stakeholders:
        if not one.public_key:
            key = Identity.generate()
            found.append((one.role, key))
            one = dataclasses.replace(one, public_key=key.public_key)
        named.append(one)
    ethics = dataclasses.replace(draft.ethics, stakeholders=tuple(named))
    return dataclasses.replace(draft, ethics=ethics), tuple(found)


def _write_home(
    home: Path, key: Identity, charter: Charter, signatures: Sequence[CharterSignature]
) -> None:
    home.parent.mkdir(mode=_NOT_FOR_OTHERS_TO_WRITE, exist_ok=True)
    home.mkdir(mode=0o700)
    key.save(home / "identity.key")
    files.create(home / "charter.json", document.encode(charter))
    add_signatures(signatures_path(home / "charter.json"), charter, signatures)


def _settings(scenario: Scenario, base: Path) -> dict[str, Json]:
    """Return what every site's file says alike; what is empty is left out."""
    folders = {"model-dir": scenario.model_dir, "start-dir": scenario.start_dir}
    found: dict[str, Json] = {
        key: str((base / folder).resolve()) for key, folder in folders.items() if folder
    }
    scorers = scorer_folders(scenario.scorer_dirs, base)
    if scorers:
        dirs: list[Json] = [f"{name}={path.resolve()}" for name, path in scorers.items()]
        found["scorer-dirs"] = dirs
    if scenario.test_noise_seed:
        found["test-noise-seed"] = scenario.test_noise_seed
    return found


def _write_site_file(
    home: Path, site: SiteSetup, data_dir: Path, shared: Mapping[str, Json]
) -> None:
    settings = {"site": site.name, "data": data_file(site.data, data_dir).said, **shared}
    files.create(home / "site.toml", terms.toml_text(settings).encode("utf-8"))
