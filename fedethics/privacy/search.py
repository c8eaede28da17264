"""A search for settings on the federation's own records: what each of its runs may spend.

All trials together cost one unit at most `tuning.share` of each budget, and trials and final run
together at most the whole of it, composed by the accountant of record: the coordinator sees every
trial's sums, so every trial is paid for, whichever wins.

Guarantee: the charters of all phases follow from the signed charter alone; sites and gate compute
them for themselves. Epsilons are rounded down to four significant digits, so that the last bit of a
machine's arithmetic never decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from fedethics.aggregates.noise import Account
from fedethics.charter.document import hash_of
from fedethics.charter.model import Charter
from fedethics.charter.phases import agreed_of, phase_of
from fedethics.charter.tuning_terms import Candidate, TuningTerms
from fedethics.errors import AccountingError, CharterError
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.calibration import smallest_scale
from fedethics.privacy.events import Event
from fedethics.privacy.plan import events_at, fixed_events, largest_scale, make_plan

_KEYS = {
    Account.TRAINING: "privacy.training.epsilon",
    Account.EVALUATION: "privacy.evaluation.epsilon",
}

# Tables that ask for sums beside training and fairness.
_FINAL_ALONE = ("annotation", "measures", "paired", "census", "monitoring", "norms")


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseCost:
    """What one run of a search costs one unit.

    Attributes:
        phase: such as "trial-2".
        said: its settings.
        training, evaluation: epsilon of each account.
    """

    phase: str
    said: str
    training: float
    evaluation: float


def is_search(charter: Charter) -> bool:
    """Say whether this is a signed charter whose runs are trials and a final run."""
    return charter.tuning is not None and charter.tuning.paid and charter.tuning.phase is None


def trials(agreed: Charter) -> tuple[Charter, ...]:
    """Return the charter of every trial, in the candidates' order.

    Raises:
        AccountingError: no noise keeps the trials within their share, or a sum has an epsilon of
            its own.
        CharterError: a candidate's settings make no valid charter.
    """
    return tuple(phase(agreed, f"trial-{n}") for n in range(1, len(_candidates(agreed)) + 1))


@lru_cache(maxsize=128)
def phase(agreed: Charter, name: str) -> Charter:
    """Return the charter of one phase of a search.

    Raises:
        AccountingError: as `trials`.
        CharterError: no such phase, or no search at all.
    """
    kind, _, number = name.partition("-")
    candidates = _candidates(agreed)
    known = [f"{kind}-{n}" for kind in ("trial", "final") for n in range(1, len(candidates) + 1)]
    if name not in known:
        raise CharterError(f"{name!r} is no run of this search; its runs are {', '.join(known)}")
    return _trial(agreed, int(number)) if kind == "trial" else _final(agreed, int(number))


def of_hash(agreed: Charter, wanted: str) -> Charter | None:
    """Return the charter of this hash among those that a site agreed to by signing `agreed`.

    A search itself is no run: of such a charter, only the phases are.

    Raises:
        AccountingError: as `trials`.
    """
    return next((one for one in runs_of(agreed) if hash_of(one) == wanted), None)


def runs_of(agreed: Charter) -> Iterator[Charter]:
    """Yield every charter that can be run: itself, or the phases of a search."""
    if not is_search(agreed):
        yield agreed
        return
    for kind in ("trial", "final"):
        for number in range(1, len(_candidates(agreed)) + 1):
            yield phase(agreed, f"{kind}-{number}")


def follows(charter: Charter) -> bool:
    """Say whether a phase's charter is the one that follows from what was signed.

    Raises:
        AccountingError: as `trials`.
        CharterError: nothing that could have been signed follows from it.
    """
    name = charter.tuning.phase if charter.tuning else None
    return name is None or hash_of(phase(agreed_of(charter), name)) == hash_of(charter)


def costs(agreed: Charter) -> tuple[tuple[PhaseCost, ...], tuple[float, float]]:
    """Return what each phase costs, and the most that a whole search costs, in both accounts."""
    delta, found, worst = agreed.privacy.delta, [], [0.0, 0.0]
    spent = [_spent(agreed, account) for account in Account]
    for number, candidate in enumerate(_candidates(agreed), start=1):
        for name in (f"trial-{number}", f"final-{number}"):
            plan = make_plan(phase(agreed, name))
            found.append(
                PhaseCost(
                    phase=name,
                    said=candidate.said,
                    training=plan.training.epsilon,
                    evaluation=plan.evaluation.epsilon,
                )
            )
            if name.startswith("final"):
                for index, account in enumerate(Account):
                    events = [*spent[index], *plan.account(account).events]
                    worst[index] = max(worst[index], epsilon(events, delta=delta))
    ordered = sorted(found, key=lambda one: not one.phase.startswith("trial"))
    return tuple(ordered), (worst[0], worst[1])


def search_terms(agreed: Charter) -> TuningTerms:
    """Return the terms of a search.

    Raises:
        CharterError: the charter asks for none.
    """
    if not is_search(agreed) or agreed.tuning is None:
        raise CharterError('the charter asks for no search: tuning.settings-from is not "tuning"')
    return agreed.tuning


def _candidates(agreed: Charter) -> tuple[Candidate, ...]:
    return search_terms(agreed).candidates or ()


def _trial(agreed: Charter, number: int) -> Charter:
    epsilons = {_KEYS[account]: _trial_epsilons(agreed, account)[number - 1] for account in Account}
    return phase_of(agreed, f"trial-{number}", {**_trial_settings(agreed, number), **epsilons})


def _trial_settings(agreed: Charter, number: int) -> dict[str, Any]:
    settings = _candidates(agreed)[number - 1].settings
    # What is counted beside training and fairness waits for the final run.
    left_out = {name: None for name in _FINAL_ALONE if getattr(agreed, name) is not None}
    audit = {"privacy.audit.attack": "none"} if agreed.privacy.audit.asked else {}
    return {**settings, **left_out, **audit, "training.rounds": search_terms(agreed).rounds}


@lru_cache(maxsize=64)
def _trial_epsilons(agreed: Charter, account: Account) -> tuple[float, ...]:
    """Return each trial's epsilon: together, with one scale of noise, they cost the share."""
    _require_common(agreed)
    count, share = len(_candidates(agreed)), search_terms(agreed).share or 0.0
    drafts = [
        phase_of(agreed, f"trial-{n}", _trial_settings(agreed, n)) for n in range(1, count + 1)
    ]
    delta, whole = agreed.privacy.delta, _whole(agreed, account)

    def together(scale: float) -> list[Event]:
        return [event for draft in drafts for event in _run(draft, account, scale)]

    scale = smallest_scale(
        together, epsilon=share * whole, delta=delta, largest=_largest(drafts, account)
    )
    return tuple(_down(epsilon(_run(one, account, scale), delta=delta)) for one in drafts)


def _final(agreed: Charter, number: int) -> Charter:
    settings = _candidates(agreed)[number - 1].settings
    draft = phase_of(agreed, f"final-{number}", settings)
    epsilons = {_KEYS[one]: _left(agreed, draft, one) for one in Account}
    return phase_of(agreed, f"final-{number}", {**settings, **epsilons})


def _left(agreed: Charter, draft: Charter, account: Account) -> float:
    """Return the epsilon of a final run that keeps the whole search within the budget."""
    spent, delta = _spent(agreed, account), agreed.privacy.delta
    scale = smallest_scale(
        lambda scale: [*spent, *_run(draft, account, scale)],
        epsilon=_whole(agreed, account),
        delta=delta,
        largest=_largest([draft], account),
    )
    return _down(epsilon(_run(draft, account, scale), delta=delta))


def _run(draft: Charter, account: Account, scale: float) -> tuple[Event, ...]:
    """Return all that a run costs an account, at this scale of its common noise."""
    return (*fixed_events(draft, account), *events_at(draft, account, scale))


def _spent(agreed: Charter, account: Account) -> tuple[Event, ...]:
    plans = map(make_plan, trials(agreed))
    return tuple(event for plan in plans for event in plan.account(account).events)


def _whole(agreed: Charter, account: Account) -> float:
    privacy = agreed.privacy
    return {
        Account.TRAINING: privacy.training.epsilon,
        Account.EVALUATION: privacy.evaluation.epsilon,
    }[account]


def _largest(drafts: Sequence[Charter], account: Account) -> float:
    return min(map(partial(largest_scale, account=account), drafts))


def _require_common(agreed: Charter) -> None:
    privacy = agreed.privacy
    if "none" in (privacy.training.mechanism, privacy.evaluation.mechanism):
        raise AccountingError(
            'tuning: trials without differential privacy cost infinity; with mechanism "none", try '
            "settings by [sweep] in a simulation of public records. Nothing was started"
        )


def _down(value: float) -> float:
    """Return the number of four significant digits at or below `value`."""
    places = 3 - math.floor(math.log10(value))
    return float(f"{math.floor(value * 10**places)}e{-places}")
