"""How many planted label errors `data suspects` finds in the heart data.

`python -m tools.bench.suspects`: labels of 5 and 10 per cent of the records are flipped, ten draws
each. The data's own labels count as true: whatever is wrong in them lowers the precision.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from fedethics.charter.document import load
from fedethics.data.reading import read_records
from fedethics.quality.suspects import confident_suspects, features, folds, out_of_fold
from tools.bench.data_sets import fetched

_SITES = ("cleveland", "hungary", "switzerland", "va-long-beach")
_DRAWS = 10


def main() -> None:
    """Print the table."""
    terms = load(Path(__file__).resolve().parents[2] / "configs" / "heart.charter.toml").data
    sites = {name: read_records(fetched("heart", f"{name}.csv"), terms) for name in _SITES}
    print("| records | flipped | suspects | precision | recall | suspects without flips |")
    print("|---|---|---|---|---|---|")
    whole = list(sites.values())
    pooled = replace(
        whole[0],
        texts=tuple(text for one in whole for text in one.texts),
        labels=np.concatenate([one.labels for one in whole]),
        groups=np.concatenate([one.groups for one in whole]),
        values=tuple(row for one in whole for row in one.values),
        row_hashes=tuple(row for one in whole for row in one.row_hashes),
        persons=tuple(row for one in whole for row in one.persons),
    )
    for name, records in {"all four pooled": pooled, **sites}.items():
        inputs, parts, rng = features(records, terms), folds(records), np.random.default_rng(18)
        truth = records.labels.astype(np.int64)
        clean = len(confident_suspects(truth, out_of_fold(inputs, truth, classes=2, folds=parts)))
        for share in (0.05, 0.10):
            counts, hits, planted = 0, 0, max(round(share * len(truth)), 1)
            for _ in range(_DRAWS):
                flipped = rng.choice(len(truth), planted, replace=False)
                labels = truth.copy()
                labels[flipped] = 1 - labels[flipped]
                found = confident_suspects(
                    labels, out_of_fold(inputs, labels, classes=2, folds=parts)
                )
                counts += len(found)
                hits += len({one.record for one in found} & set(flipped.tolist()))
            print(
                f"| {name}, {len(truth)} | {planted} ({share:.0%}) | {counts / _DRAWS:.1f} "
                f"| {hits / max(counts, 1):.2f} | {hits / (planted * _DRAWS):.2f} | {clean} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
