"""Three hospitals' data frames become a federation: `python examples/own_frames.py`.

The patients are synthetic: this file makes them up. Takes about a minute; see docs/api.md.
"""

import random
import sys

import pandas

import fedethics


def patients(hospital: int, records: int = 300) -> pandas.DataFrame:
    """Make patients up: whoever is older, or in pain, is more often ill."""
    draw = random.Random(hospital)  # noqa: S311  made up, the same each time
    rows = []
    for _ in range(records):
        age, pain = draw.randint(20, 90), draw.choice(["none", "dull", "sharp"])
        ill = draw.random() < 0.1 + 0.3 * (age > 60) + 0.4 * (pain == "sharp")
        rows.append({"age": age, "sex": draw.choice("FM"), "pain": pain, "ill": ill})
    return pandas.DataFrame(rows)


def main(out: str = "runs") -> None:
    """Run the federation; print the verdict, a metric by group, and what each site spent."""
    frames = {name: patients(number) for number, name in enumerate(("north", "south", "west"))}
    run = fedethics.simulate(frames, label="ill", sensitive=["sex"], name="own-frames", out=out)
    for group, rate in fedethics.by_group(run.tables(), "accuracy_score", feature="sex").items():
        print(f"accuracy for {group}: {rate.estimate.low:.2f} to {rate.estimate.high:.2f}")
    for site, data_sets in run.spent().items():
        print(
            f"epsilon at {site}: " + ", ".join(f"{d.data_set} {d.epsilon:.2f}" for d in data_sets)
        )
    print("gate:", run.verdict, "- report:", run.report)


if __name__ == "__main__":
    main(*sys.argv[1:])
