"""Four hospitals fine-tune together, simulated on this machine: `python examples/demo.py`.

Needs the data set once: `python -m simulations.datasets fetch heart`. Takes about two minutes.
"""

import sys

import fedethics


def main(scenario: str = "configs/heart.toml", out: str = "runs", data: str = ".data") -> None:
    """Run the scenario, and print the verdict and one metric by group."""
    run = fedethics.simulate(scenario, out=out, data=data)
    tables = run.tables()
    auc = fedethics.overall(tables, "roc_auc_score")
    print(f"AUC: {auc.figure:.3f} [{auc.low:.3f}, {auc.high:.3f}]")
    found = fedethics.by_group(tables, "true_positive_rate", feature="sex")
    for group, rate in found.items():
        print(f"true positive rate of {group}: {rate.estimate.low:.3f} to {rate.estimate.high:.3f}")
    print("gate:", run.examine().verdict, "- report:", run.report)


if __name__ == "__main__":
    main(*sys.argv[1:])
