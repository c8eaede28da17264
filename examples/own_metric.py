"""A metric of your own from the released tables: `python examples/own_metric.py RUN`.

RUN is a run's directory. The tables are sums over all sites with their noise, so whatever is
computed of them is free of further charge. A metric with an interval and a rule of the gate is a
`Fraction` of a task's `Measured` (docs/fairness.md); this one is for your eyes.
"""

import sys
from pathlib import Path

import fedethics


def main(run: str, feature: str = "sex") -> None:
    """Print the share of each group that is ill and missed, with the noise of the sum."""
    tables = fedethics.Run(Path(run)).tables()
    names = [one.name for one in tables.layout.features]
    groups = tables.layout.features[names.index(feature)].groups
    # counts[cell, label, decision]; a cell is one combination of groups, the last varying fastest.
    shaped = tables.counts.reshape(*tables.layout.shape, 2, 2)
    others = tuple(axis for axis in range(len(names)) if axis != names.index(feature))
    summed = shaped.sum(axis=others)
    cells = tables.counts.shape[0] // len(groups)
    noise = (cells * tables.counts_variance) ** 0.5
    for group, table in zip(groups, summed, strict=True):
        missed, everyone = int(table[1, 0]), int(table.sum())
        print(
            f"{group}: {missed} ill and missed of {everyone} (noise of the first count: standard "
            f"deviation {noise:.1f})"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
