"""A server that remembers earlier rounds: every site derives the same step, also one that was away.

Sites answer with integers in place of trained updates; everything else is real.
"""

from __future__ import annotations

import dataclasses

import pytest

from fedethics import charter_sums
from fedethics.charter.training_terms import ServerTerms
from fedethics.errors import AdapterRefused
from fedethics.secagg import CheckedSum, pack_missed
from fedethics.training.server_step import moments_after, plain_step
from tests.attacks.conftest import Liar
from tests.attacks.test_chosen_adapters import OTHERS, SITE, integers  # noqa: F401  fixture
from tests.coordinator.conftest import Quick
from tests.e2e.conftest import Lab


def _with_memory(charter):
    server = ServerTerms(optimizer="fedyogi", second_moment=0.9)
    training = dataclasses.replace(
        charter.training, rounds=3, server=server, server_learning_rate=0.01
    )
    return dataclasses.replace(charter, training=training)


@pytest.fixture(scope="module")
def staged_with_memory(tmp_path_factory, heart_data, encoder):
    return Lab(tmp_path_factory.mktemp("memory"), heart_data, encoder).stage(change=_with_memory)


@pytest.fixture
def federation(staged_with_memory, tmp_path, integers):  # noqa: F811
    liar = Liar(Quick(staged_with_memory, tmp_path, tmp_path / "kept").copy())
    liar.enrol()
    return liar


class Server:
    """An honest server: the adapter and its memory after each round."""

    def __init__(self, liar: Liar) -> None:
        self.liar, self.moments, self.adapters, self.sums = liar, None, [liar.adapter], []

    def round(self, number: int, *, cohort=None) -> None:
        session, said = self.liar.play(
            charter_sums.UPDATE, number, adapter=self.adapters[-1], cohort=cohort
        )
        opened = session.result()
        told = {"total": opened.total, "survivors": opened.survivors}
        charter = self.liar.stage.charter
        stepped = plain_step(self.adapters[-1], charter=charter, **told, moments=self.moments)
        self.moments = moments_after(charter, **told, moments=self.moments)
        self.adapters.append(stepped)
        self.sums.append(
            CheckedSum(
                opened=session.open_message,
                result=opened.message,
                statements=tuple(said.values()),
            )
        )
        # What a server without memory would send, or one that forgot it.
        self.forgetful = plain_step(self.adapters[-2], charter=charter, **told)


def test_sites_take_the_step_with_its_memory_and_no_other(federation):
    server = Server(federation)
    server.round(1)
    server.round(2)
    refused = federation.work(SITE, charter_sums.PROGRESS, 2, adapter=server.forgetful)
    assert isinstance(refused, AdapterRefused)
    server.round(3)
    assert "share" in federation.work(SITE, charter_sums.FAIRNESS, 3, adapter=server.adapters[3])


def test_a_site_that_was_away_derives_the_memory_from_the_sums_that_others_vouch_for(federation):
    server = Server(federation)
    server.round(1, cohort=OTHERS)
    server.round(2, cohort=OTHERS)
    forgetful_after_2 = server.forgetful

    def progress(adapter):
        asked = {"missed": pack_missed(server.sums[:2])}
        return federation.work(SITE, charter_sums.PROGRESS, 2, adapter=adapter, payloads=asked)

    assert isinstance(progress(forgetful_after_2), AdapterRefused)
    assert "share" in progress(server.adapters[2])
    server.round(3, cohort=OTHERS)  # goes on from the memory that the site derived just now
    asked = {"missed": pack_missed(server.sums[2:])}
    answer = federation.work(
        SITE, charter_sums.FAIRNESS, 3, adapter=server.adapters[3], payloads=asked
    )
    assert "share" in answer
