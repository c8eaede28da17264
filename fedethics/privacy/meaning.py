"""What an epsilon means, in words that an officer can put before a board."""

from __future__ import annotations

import math
from typing import Literal, assert_never

from fedethics.privacy.accounting import attack_bound

NOT_COVERED = (
    "Facts about a whole group, which the model is meant to learn: the guarantee is about one "
    "unit, not about what many units share.",
    "A person with several units. If the unit is the record, each row is a unit; a person at "
    "several sites has several units in any case. Their epsilons compose, and the bound for the "
    "person is weaker.",
    "What the site itself publishes, such as its declared number of records.",
    "Choosing settings by trying them on these records, unless each try was charged to the ledger; "
    "here each is.",
    'Under local trust with noise "fast", gradient noise is drawn in floating point; an attacker '
    'who reads its last bits is not covered. Under "strict", under distributed trust, and on '
    "counts, noise is exact integers.",
    "Anyone inside the site who can read its disk.",
)


def attack_sentence(epsilon: float, delta: float, *, unit: str) -> str:
    """Return what the strongest membership attacker can reach, at 1 % and 10 % false alarms.

    Source: Kairouz, Oh and Viswanath (2015), as `attack_bound`.
    """
    if math.isinf(epsilon):
        return (
            f"Epsilon is infinite: nothing bounds what can be learnt about one {unit}. An attacker "
            "may be right every time."
        )
    strict, loose = (attack_bound(epsilon, delta, rate) for rate in (0.01, 0.10))
    return found_sentence(strict, loose, unit=unit)


def found_sentence(strict: float, loose: float, *, unit: str) -> str:
    """Return what these largest shares that an attacker finds mean.

    Args:
        strict: of the units that took part, at 1 % false alarms.
        loose: the same at 10 %.
        unit: "record" or "person".
    """
    return (
        f"Someone who knows everything except whether one {unit} took part, sees all that is "
        f"released, and accepts 1 false accusation in 100 finds at most {_percent(strict)} of "
        f"those who did take part; accepting 10 in 100, at most {_percent(loose)}. Without any "
        "release, guessing finds 1 % and 10 %."
    )


def unit_sentence(unit: str) -> str:
    """Return whom the guarantee is for."""
    return (
        f"For one {unit}: whether any single {unit} of the site's file is added or removed "
        "(add-or-remove-one) changes the chance of any outcome by at most this much."
    )


def trust_sentence(
    mode: Literal["local", "distributed"], *, what: str, colluders: int, noise_shares: int
) -> str:
    """Return whom the guarantee holds against."""
    match mode:
        case "local":
            return (
                f"{what}: against everyone outside the site, even if the coordinator and all other "
                "sites work together; the site's own noise is enough."
            )
        case "distributed":
            return (
                f"{what}: against a lying coordinator together with up to {colluders} of the "
                f"sites. At least {noise_shares} honest sites are in any sum that can be opened; "
                "they add the noise on which the guarantee depends."
            )
        case unknown:
            assert_never(unknown)


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %" if value < 0.9995 else "all"
