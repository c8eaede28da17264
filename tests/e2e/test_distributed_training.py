"""A whole federation with shared training noise, persons as units, and a factor A that moves."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from fedethics.aggregates.update import sum_limit
from fedethics.charter import document
from fedethics.data.reading import read_records
from fedethics.data.records import split
from fedethics.privacy.noise import NoiseSource
from fedethics.privacy.plan import make_plan
from fedethics.release import evidence, folder
from fedethics.training.distributed import gradient_share
from fedethics.training.factors import check_form
from fedethics.training.learner import Learner
from fedethics.training.local_terms import LocalTerms
from fedethics.training.server_step import server_step

pytestmark = pytest.mark.slow


def visits(source: Path, target: Path) -> Path:
    """Write the hospitals' files again with a column that makes every two rows one patient."""
    target.mkdir()
    for path in source.glob("*.csv"):
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = list(csv.reader(file))
        with (target / path.name).open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(["patient", *header])
            out.writerows([f"{path.stem}-{i // 2}", *row] for i, row in enumerate(rows))
    return target


def changed(charter):
    privacy = dataclasses.replace(
        charter.privacy,
        unit="person",
        training=dataclasses.replace(charter.privacy.training, trust_mode="distributed"),
    )
    return dataclasses.replace(
        charter,
        privacy=privacy,
        adapter=dataclasses.replace(charter.adapter, form="fedsvd"),
        data=dataclasses.replace(charter.data, person="patient", max_rows_per_person=2),
        training=dataclasses.replace(charter.training, local_steps=1),
        secagg=dataclasses.replace(charter.secagg, clip=100.0),
    )


def test_the_federations_adapter_is_central_dp_sgd_over_the_sites_own_noise(lab, tmp_path):
    stage = lab.stage(noise_seed="7", change=changed, data=visits(lab.data, tmp_path / "visits"))
    for home in stage.homes.values():
        policy = (home / "policy.toml").read_text()
        policy = policy.replace('units = ["record"]', 'units = ["person"]')
        policy = policy.replace(
            'training-trust-modes = ["local"]', 'training-trust-modes = ["distributed"]'
        )
        (home / "policy.toml").write_text(policy)
    run = lab.run(stage)

    charter = document.load(run / "charter.json")
    plan, learner = make_plan(charter), Learner(charter)
    vector = learner.initial_vector()
    opened = evidence.load(run / folder.EVIDENCE)
    for number in (1, 2):
        total = np.zeros(learner.size, dtype=np.int64)
        for site in charter.site_names:
            part = split(
                read_records(tmp_path / "visits" / f"{site}.csv", charter.data), charter.data
            ).train
            assert part.unit_count < len(part)
            total += gradient_share(
                learner,
                vector=vector,
                activations=learner.activations(part.texts),
                labels=part.labels,
                terms=LocalTerms.of(
                    charter,
                    noise_multiplier=plan.update.noise_multiplier,
                    declared_records=charter.member(site).declared_records,
                    round_number=number,
                ),
                noise=NoiseSource.fixed(f"7/{site}".encode()).derive(
                    f"{opened.run_id}/update/{number}"
                ),
                share_std=plan.update.gradient_share_std,
                limit=sum_limit(charter),
                units=part.units,
            )
        vector = server_step(
            learner, vector, charter=charter, total=total, survivors=charter.site_names
        )
        committed = np.frombuffer(
            (run / "rounds" / f"adapter-{number:04d}.f32").read_bytes(), dtype="<f4"
        )
        np.testing.assert_array_equal(committed, vector)
        check_form(learner, vector, charter.adapter, rounds_done=number)
    assert (opened.plan.unit, opened.plan.training_trust_mode) == ("person", "distributed")
