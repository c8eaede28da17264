"""Learning rate by adapter form, and adaptive clipping, on the four hospitals under DP.

Rates are chosen on inner folds of the training side: each seed holds out another third of it. The
chosen rate of each form is then judged once on the held-out patients. Choosing on real data costs
privacy that no ledger sees; this data set is public.

    python -m tools.bench.training_defaults --seeds 7 11 13
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from fedethics.charter.model import Charter
from fedethics.data.records import Split
from simulations.arms import judge
from simulations.baselines import Bench
from tools.bench.adapter_forms import _federate, _heart

FOLDS = 3
RATES = (0.25, 0.5, 1.0, 2.0, 4.0)
FORMS = ("ffa", "fedsvd", "both", "alternating")


def main() -> None:
    """Print one line for each variant and rate, then the chosen ones on the held-out patients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 11, 13])
    parser.add_argument("--epsilon", type=float, default=3.0)
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES))
    parser.add_argument("--only", default="", help="run variants whose name holds this")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here too")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    charter, records = _heart()
    figures: dict[str, dict[str, list[float]]] = {}
    for name, changed in variants(charter):
        if chosen.only not in name:
            continue
        inner = {rate: _tuned(changed, records, rate, chosen) for rate in chosen.rates}
        best = max(inner, key=lambda rate: float(np.mean(inner[rate])))
        final = _aucs(Bench(_at(changed, best), records), chosen)
        print(f"| {name} | {_cells(inner)} | {best:g} | {_cell(final)} |", flush=True)
        figures[name] = {**{f"inner, {rate:g}": aucs for rate, aucs in inner.items()}}
        figures[name][f"held out, {best:g}"] = final
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def variants(charter: Charter) -> Iterator[tuple[str, Charter]]:
    """Yield each adapter form, then "ffa" with a clipping norm that adapts."""
    for form in FORMS:
        adapter = dataclasses.replace(charter.adapter, form=form)
        yield form, dataclasses.replace(charter, adapter=adapter)
    for quantile in (0.5, 0.7):
        local = dataclasses.replace(charter.privacy.training, adaptive_quantile=quantile)
        privacy = dataclasses.replace(charter.privacy, training=local)
        yield f"ffa, adaptive {quantile:g}", dataclasses.replace(charter, privacy=privacy)


def _tuned(
    charter: Charter, records: Mapping[str, Split], rate: float, chosen: argparse.Namespace
) -> list[float]:
    """Return the AUC on each seed's own fold of the training side."""
    found = []
    for place, seed in enumerate(chosen.seeds):
        inner = {site: _fold(whole, place % FOLDS) for site, whole in records.items()}
        roster = tuple(
            dataclasses.replace(member, declared_records=len(inner[member.site].train))
            for member in charter.roster
        )
        bench = Bench(_at(dataclasses.replace(charter, roster=roster), rate), inner)
        found.append(judge(_federate(bench, chosen.epsilon, seed), bench).roc_auc)
    return found


def _fold(whole: Split, fold: int) -> Split:
    rows = np.arange(len(whole.train))
    kept, left = rows[rows % FOLDS != fold], rows[rows % FOLDS == fold]
    return Split(train=whole.train.take(kept.tolist()), held_out=whole.train.take(left.tolist()))


def _at(charter: Charter, rate: float) -> Charter:
    training = dataclasses.replace(charter.training, learning_rate=rate)
    return dataclasses.replace(charter, training=training)


def _aucs(bench: Bench, chosen: argparse.Namespace) -> list[float]:
    return [judge(_federate(bench, chosen.epsilon, seed), bench).roc_auc for seed in chosen.seeds]


def _cells(inner: dict[float, list[float]]) -> str:
    return " | ".join(f"{np.mean(aucs):.3f}" for aucs in inner.values())


def _cell(aucs: list[float]) -> str:
    return f"{np.mean(aucs):.3f} ({min(aucs):.3f} to {max(aucs):.3f})"


if __name__ == "__main__":
    main()
