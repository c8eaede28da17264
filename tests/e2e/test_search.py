"""A search for settings from scenario to gate, with the ledgers that real sites would have."""

from __future__ import annotations

import pytest
from rich.console import Console

from fedethics.privacy.ledger import read_book
from fedethics.release import gate
from fedethics.release.rules.settings import NAME
from fedethics.simulation import staging
from fedethics.simulation.scenario import load
from fedethics.simulation.searching import simulate_search
from tests.drafting.test_frames import draft, pandas_frames

TUNING = {
    "settings-from": "tuning",
    "rounds": 1,
    "share": 0.3,
    "select": "roc_auc_score",
    "candidates": [{"set": [f"training.learning-rate={rate}"]} for rate in (0.5, 2.0)],
}


@pytest.mark.slow
def test_each_sites_ledger_lists_every_trial_and_all_of_them_fit_the_charters_epsilon(tmp_path):
    path = draft(pandas_frames(), tmp_path / "draft")[0]
    setup, agreed = load(path, settings={"tuning": TUNING, "training.rounds": 2})
    base = staging.of_scenario(
        setup, agreed, base=path.parent, data=tmp_path, run_dir=tmp_path / "s"
    )
    final = simulate_search(Console(quiet=True), base)
    rules = {rule.name: rule for rule in gate.examine(final.run_dir).rules}
    assert rules[NAME].verdict == "pass", rules[NAME].sentence
    assert rules["charter signed by all it names"].verdict == "pass"
    for home in base.homes.values():
        book = read_book(home / "ledger.db")
        runs = {charge.run for charge in book.counted()}
        assert runs == {"s-trial-1", "s-trial-2", final.run_dir.name}
        delta = agreed.privacy.delta
        spent = sorted(book.spent(data_set, delta=delta) for data_set in book.data_sets())
        whole = agreed.privacy.training.epsilon
        assert 0.98 * whole < spent[0] <= spent[-1] <= whole
