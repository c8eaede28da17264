"""Under distributed trust the noise of an answer rests on the others in its sum: for them only."""

from __future__ import annotations

import dataclasses

import pytest

from fedethics import charter_sums
from fedethics.privacy.ledger import read_book
from tests.attacks.conftest import Liar

SITE = "cleveland"


def _charges(stage):
    book = read_book(stage.homes[SITE] / "ledger.db")
    return [charge.kind for charge in book.charges.values()]


@pytest.fixture
def shared_noise(lab):
    def change(charter):
        training = dataclasses.replace(charter.training, local_steps=1, learning_rate=0.1)
        mode = dataclasses.replace(charter.privacy.training, trust_mode="distributed")
        privacy = dataclasses.replace(charter.privacy, training=mode)
        return dataclasses.replace(charter, training=training, privacy=privacy)

    stage = lab.stage(change=change)
    for home in stage.homes.values():
        path = home / "policy.toml"
        old, new = 'training-trust-modes = ["local"]', 'training-trust-modes = ["distributed"]'
        path.write_text(path.read_text().replace(old, new))
    return Liar(stage)


def test_another_cohort_gets_another_draw_and_pays_for_it(shared_noise):
    liar = shared_noise
    liar.enrol()
    everyone = tuple(liar.handlers)
    fewer = tuple(site for site in everyone if site != "switzerland")
    for cohort, charged in ((everyone, 1), (everyone, 1), (fewer, 2), (fewer, 2), (everyone, 3)):
        assert "share" in liar.work(SITE, charter_sums.UPDATE, 1, cohort=cohort)
        assert _charges(liar.stage) == ["update"] * charged


def test_a_vector_that_carries_its_own_noise_is_one_release_to_any_cohort(liar):
    liar.enrol()
    everyone = tuple(liar.handlers)
    for cohort in (everyone, tuple(site for site in everyone if site != "switzerland")):
        assert "share" in liar.work(SITE, charter_sums.UPDATE, 1, cohort=cohort)
    assert _charges(liar.stage) == ["update"]
