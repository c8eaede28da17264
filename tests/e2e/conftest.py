"""Whole federations on the four hospitals, small enough to run many times."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tomli_w

from fedethics.charter.ethics_terms import ExplanationTerms
from fedethics.charter.model import Charter
from fedethics.charter.privacy_terms import AuditTerms
from fedethics.charter.training_terms import ModelTerms
from fedethics.simulation import staging
from fedethics.simulation.scenario import Scenario, load
from fedethics.simulation.staging import Stage
from simulations.datasets import heart
from tests import small_encoder
from tests.loopback import Fault, no_fault, run_federation

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / ".data" / "heart"


@pytest.fixture(scope="session")
def heart_data() -> Path:
    """Return the directory with one file for each hospital, fetched by hash if absent."""
    heart.fetch(DATA)
    return DATA


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelTerms]:
    """Install a small random encoder for this session; return the terms that name it."""
    with small_encoder.installed(tmp_path_factory.mktemp("encoder")) as terms:
        yield terms


@dataclasses.dataclass(frozen=True)
class Lab:
    """Builds and runs small federations under one directory."""

    path: Path
    data: Path
    encoder: ModelTerms

    def stage(
        self,
        name: str = "run",
        *,
        folder: str = "a",
        noise_seed: str = "",
        dp: bool = True,
        embedded: bool = False,
        change: Callable[[Charter], Charter] = lambda charter: charter,
        data: Path | None = None,
    ) -> Stage:
        """Stage a federation of two rounds.

        Args:
            name: of the run.
            folder: that it lies in.
            noise_seed: fixes the noise where it is given.
            dp: with noise at all.
            embedded: with the demo's own model, in place of a small random one.
            change: what is other in the charter.
            data: the hospitals' files.
        """
        scenario, draft = load(ROOT / "configs" / "heart.toml")
        if not embedded:
            adapter = small_encoder.ADAPTER
            draft = dataclasses.replace(draft, model=self.encoder, adapter=adapter)
        draft = change(_small(draft, dp=dp))
        policy = (ROOT / "configs" / "policy.hospital.toml").read_text()
        permissive = (
            f"without-dp = {str(not dp).lower()}\nfixed-noise = {str(bool(noise_seed)).lower()}\n"
        )
        base = self.path / "policies" / folder
        base.mkdir(parents=True, exist_ok=True)
        (base / "policy.toml").write_text(policy.replace("[minimum]", f"{permissive}\n[minimum]"))
        scenario = _with_policy(scenario, noise_seed)
        return staging.build(
            scenario,
            draft,
            base=base,
            data_dir=data or self.data,
            run_dir=self.path / folder / name,
        )

    def run(self, stage: Stage, *, resume: bool = False, lost: Fault = no_fault) -> Path:
        """Run it and return the run's directory."""
        return run_federation(stage, resume=resume, lost=lost)


@pytest.fixture
def lab(tmp_path: Path, heart_data: Path, encoder: ModelTerms) -> Lab:
    """Return a fresh lab."""
    return Lab(tmp_path, heart_data, encoder)


@pytest.fixture(scope="module")
def shared_lab(
    tmp_path_factory: pytest.TempPathFactory, heart_data: Path, encoder: ModelTerms
) -> Lab:
    """Return a lab for runs that the tests of a module read together."""
    return Lab(tmp_path_factory.mktemp("shared"), heart_data, encoder)


def edit_site_file(stage: Stage, site: str, **changes: str | list[str]) -> None:
    """Change a site's own settings."""
    path = stage.homes[site] / "site.toml"
    import tomllib

    settings = tomllib.loads(path.read_text()) | changes
    path.write_text(tomli_w.dumps(settings))


def _small(draft: Charter, *, dp: bool) -> Charter:
    # One sum less in each of many runs; test_audited_run.py is about it.
    privacy = dataclasses.replace(draft.privacy, audit=AuditTerms())
    if not dp:
        privacy = dataclasses.replace(
            privacy,
            training=dataclasses.replace(privacy.training, mechanism="none"),
            evaluation=dataclasses.replace(privacy.evaluation, mechanism="none"),
        )
    training = dataclasses.replace(draft.training, rounds=2, local_steps=2)
    # Explained in a test of its own: it scores every held-out record once for each column.
    ethics = dataclasses.replace(draft.ethics, explanation=ExplanationTerms())
    return dataclasses.replace(draft, training=training, privacy=privacy, ethics=ethics)


def _with_policy(scenario: Scenario, noise_seed: str) -> Scenario:
    sites = tuple(dataclasses.replace(site, policy="policy.toml") for site in scenario.sites)
    return dataclasses.replace(scenario, sites=sites, test_noise_seed=noise_seed)
