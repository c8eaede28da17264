"""What more rounds cost in noise, before anybody trains: `python examples/plan_a_budget.py`.

The charter fixes epsilon; more rounds need more noise to stay within it.
"""

import dataclasses
import sys

import fedethics


def main(path: str = "configs/heart.charter.toml") -> None:
    """Print what the charter costs, and the same charter with other numbers of rounds."""
    charter = fedethics.load_charter(path)
    for rounds in (charter.training.rounds, 10, 40):
        training = dataclasses.replace(charter.training, rounds=rounds)
        spend = fedethics.epsilon(dataclasses.replace(charter, training=training))
        print(
            f"{rounds} rounds: noise multiplier {spend.noise_multiplier:.2f}, "
            f"training epsilon {spend.training:.2f}, evaluation epsilon {spend.evaluation:.2f} "
            f"at delta {spend.delta:g} for one {spend.unit}, add-or-remove-one"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
