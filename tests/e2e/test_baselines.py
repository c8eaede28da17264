"""The comparisons train with the very code of the sites: same records in, same model out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fedethics.data.reading import read_records
from fedethics.data.records import split
from fedethics.site.home import SiteHome
from simulations.arms import judge
from simulations.baselines import Bench, Fit


def _every_record_in_every_step(charter):
    training = dataclasses.replace(charter.privacy.training, sampling_rate=1.0)
    privacy = dataclasses.replace(charter.privacy, training=training)
    return dataclasses.replace(charter, privacy=privacy)


@pytest.fixture
def stage(lab):
    # Without noise and with sampling rate 1 a run is deterministic.
    return lab.stage(dp=False, change=_every_record_in_every_step)


def _bench(stage) -> Bench:
    terms = stage.charter.data
    return Bench(
        stage.charter,
        {
            site: split(read_records(SiteHome.open(home).data_path, terms), terms)
            for site, home in stage.homes.items()
        },
    )


def test_plain_sums_give_the_model_that_the_secure_federation_gives(lab, stage):
    run = lab.run(stage)
    bench = _bench(stage)
    learner = bench.learner(stage.charter.adapter.seed)
    fit = bench.federate(learner, sites=tuple(bench.records), epsilon=None, seed=1)
    vector = np.frombuffer((run / "rounds" / "adapter-0002.f32").read_bytes(), dtype="<f4")
    for site, records in bench.records.items():
        expected = learner.scores(vector, learner.activations(records.held_out.texts))
        assert np.allclose(fit.scores[site], expected, atol=1e-4), site


def test_a_site_with_one_label_has_no_area_and_does_not_spoil_the_worst(stage):
    bench = _bench(stage)
    labels = {site: records.held_out.labels for site, records in bench.records.items()}
    perfect = judge(Fit(scores={site: one.astype(float) for site, one in labels.items()}), bench)
    assert (perfect.roc_auc, perfect.accuracy, perfect.worst_site_auc) == (1.0, 1.0, 1.0)
    assert set(labels["switzerland"]) == {1}  # so this data set exercises the case
