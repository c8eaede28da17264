"""The lies that a coordinator can tell about sums: none ends in a pass.

Only the coordinator writes who was in a sum and what it came to; every site signs, from the moment
it helps to open one, session, cohort, survivors and what it was told. Each lie below is a change of
the evidence that a coordinator can make: of its own lists, of which receipts it shows, and of what
it told a site, which that site signed as it was.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest

from fedethics.aggregates.aggregate import sum_sha256
from fedethics.privacy.ledger.receipt import SumSeen
from fedethics.release import folder
from fedethics.release.evidence import Dropout, Evidence, OpenedSum
from fedethics.release.rules import integrity, privacy
from fedethics.release.rules.rule import overall
from fedethics.release.verification import _sums
from fedethics.secagg.rules import sites_hash
from tests.release.conftest import SITES, Stage, lay_out, session_of

VICTIM = "cleveland"
ROUND = 5


@dataclasses.dataclass(frozen=True)
class Run:
    """A run as it was, and as a coordinator writes it down."""

    stage: Stage
    honest: Evidence

    def entry(self, kind: str = "update", number: int = ROUND) -> OpenedSum:
        return next(e for e in self.honest.rounds if (e.kind, e.round) == (kind, number))

    def listing(self, *, kind: str = "update", number: int = ROUND, **changes: object) -> Evidence:
        """The evidence with one sum written down otherwise."""
        changed = dataclasses.replace(self.entry(kind, number), **changes)
        rounds = (changed if e == self.entry(kind, number) else e for e in self.honest.rounds)
        return dataclasses.replace(self.honest, rounds=tuple(rounds))

    def signed(
        self,
        what: Callable[[SumSeen], SumSeen | None],
        *,
        site: str = VICTIM,
        found: Evidence | None = None,
    ) -> Evidence:
        """The evidence with a site's receipt as it signs it when it was told something else."""
        found = found or self.honest
        kept = tuple(r for r in found.receipts if json.loads(r.body)["site"] != site)
        return dataclasses.replace(found, receipts=(*kept, self.receipt(what, site=site)))

    def receipt(self, what: Callable[[SumSeen], SumSeen | None], *, site: str = VICTIM):
        sums = (what(told) for told in self.told(site))
        return self.stage.receipt(site, sums=tuple(told for told in sums if told is not None))

    def told(self, site: str) -> tuple[SumSeen, ...]:
        return tuple(
            SumSeen(
                kind=e.kind,
                round=e.round,
                session=e.session,
                cohort=sites_hash(e.cohort),
                survivors=sites_hash(e.survivors),
                sha256=e.sum_sha256,
                slices="passed",
                adapter=None if e.kind == "update" else self.honest.model_hash,
            )
            for e in self.honest.rounds
            if site in e.survivors
        )

    def without_receipt(self, found: Evidence, site: str = VICTIM) -> Evidence:
        kept = tuple(r for r in found.receipts if json.loads(r.body)["site"] != site)
        return dataclasses.replace(found, receipts=kept)


def _of(told: SumSeen, kind: str = "update", number: int = ROUND) -> bool:
    return (told.kind, told.round) == (kind, number)


def _said(**changes: object) -> Callable[[SumSeen], SumSeen]:
    return lambda told: dataclasses.replace(told, **changes) if _of(told) else told


def _as_dropped(run: Run, **more: object) -> Evidence:
    """The victim listed as dropped in the round."""
    survivors = tuple(site for site in SITES if site != VICTIM)
    gone = (Dropout(site=VICTIM, stage=str(more.pop("stage", "masked"))),)
    return run.listing(survivors=survivors, dropped=gone, **more)


def _never_there(run: Run) -> Evidence:
    """The victim struck from every sum, its receipt kept back."""
    rounds = tuple(
        dataclasses.replace(
            e,
            cohort=tuple(s for s in e.cohort if s != VICTIM),
            survivors=tuple(s for s in e.survivors if s != VICTIM),
        )
        for e in run.honest.rounds
    )
    return run.without_receipt(dataclasses.replace(run.honest, rounds=rounds))


def _without(run: Run, kind: str, number: int) -> Evidence:
    rounds = tuple(e for e in run.honest.rounds if (e.kind, e.round) != (kind, number))
    changes = {"progress": tuple(p for p in run.honest.progress if p.round != number)}
    return dataclasses.replace(run.honest, rounds=rounds, **(changes if kind != "update" else {}))


def _twice(run: Run, **changes: object) -> Evidence:
    again = dataclasses.replace(run.entry(), **changes)
    return dataclasses.replace(run.honest, rounds=(*run.honest.rounds, again))


OTHER = "ab" * 32
FAILED = _said(slices="failed")
UNTOLD = _said(sha256=None, slices="unchecked")
UNCHECKED = _said(slices="unchecked")
THREE = tuple(site for site in SITES if site != VICTIM)

FAULTS: dict[str, Callable[[Run], Evidence]] = {
    "a site found the sum false": lambda run: run.signed(FAILED),
    "... and is listed as dropped": lambda run: run.signed(FAILED, found=_as_dropped(run)),
    "... and as dropped late": lambda run: run.signed(
        FAILED, found=_as_dropped(run, stage="reveal")
    ),
    "... and as never asked": lambda run: run.signed(
        FAILED, found=run.listing(cohort=THREE, survivors=THREE)
    ),
    "... and its whole sum is struck": lambda run: run.signed(
        FAILED, found=_without(run, "update", ROUND)
    ),
    "a site is dropped that was in the sum": _as_dropped,
    "a site is dropped that was not told the sum": lambda run: run.signed(
        UNTOLD, found=_as_dropped(run)
    ),
    "a site is dropped that did not check": lambda run: run.signed(
        UNCHECKED, found=_as_dropped(run)
    ),
    "a site is listed that was not there": lambda run: run.listing(
        number=3, survivors=SITES, dropped=()
    ),
    "another site is listed in its place": lambda run: run.listing(
        number=3,
        survivors=tuple(s for s in SITES if s != "hungary"),
        dropped=(Dropout(site="hungary", stage="masked"),),
    ),
    "another cohort, a site never asked": lambda run: run.listing(cohort=THREE, survivors=THREE),
    "another cohort, a site that nobody asked": lambda run: run.listing(
        number=3,
        cohort=(*SITES, "ghost"),
        dropped=(*run.entry(number=3).dropped, Dropout(site="ghost", stage="share")),
    ),
    "another session": lambda run: run.listing(session=OTHER),
    "another total on record": lambda run: run.listing(sum_sha256=OTHER),
    "another total told to one site": lambda run: run.signed(_said(sha256=OTHER)),
    "one site asked in another session": lambda run: run.signed(_said(session=OTHER)),
    "one site shown another cohort": lambda run: run.signed(_said(cohort=sites_hash(THREE))),
    "one site shown other survivors": lambda run: run.signed(_said(survivors=sites_hash(THREE))),
    "the same round twice": _twice,
    "the same round twice, another total": lambda run: _twice(run, sum_sha256=OTHER),
    "the same round twice, another session": lambda run: _twice(run, session=OTHER),
    "an update is missing": lambda run: _without(run, "update", ROUND),
    "a count is missing": lambda run: _without(run, "progress", 1),
    "the group tables are missing": lambda run: _without(run, "fairness", 5),
    "a round that the charter has not": lambda run: dataclasses.replace(
        run.honest,
        rounds=(
            *run.honest.rounds,
            dataclasses.replace(
                run.entry(), round=ROUND + 1, session=session_of("update", ROUND + 1)
            ),
        ),
    ),
    "a site dropped and in the sum at once": lambda run: run.listing(
        dropped=(Dropout(site=VICTIM, stage="masked"),)
    ),
    "a late site that is not in the sum": lambda run: run.listing(
        survivors=THREE, dropped=(Dropout(site=VICTIM, stage="confirm"),)
    ),
    "a site listed twice": lambda run: run.listing(survivors=(*SITES, VICTIM)),
    "a site asked twice": lambda run: run.listing(cohort=(*SITES, VICTIM)),
    "an older receipt beside the true one": lambda run: dataclasses.replace(
        run.signed(FAILED),
        receipts=(
            *run.signed(FAILED).receipts,
            run.receipt(lambda told: told if told.round < ROUND else None),
        ),
    ),
    "a site is dropped, and its receipt kept back": lambda run: run.without_receipt(
        _as_dropped(run)
    ),
    "a site struck from every sum": _never_there,
    "a receipt that names a sum twice": lambda run: dataclasses.replace(
        run.honest,
        receipts=(
            *(r for r in run.honest.receipts if json.loads(r.body)["site"] != VICTIM),
            run.stage.receipt(VICTIM, sums=(*run.told(VICTIM), run.told(VICTIM)[-1])),
        ),
    ),
}
GAPS: dict[str, Callable[[Run], Evidence]] = {
    "a site is told nothing": lambda run: run.signed(UNTOLD),
    "a site is not answered when it checks": lambda run: run.signed(UNCHECKED),
    "a site's receipt is kept back": lambda run: run.without_receipt(run.honest),
    "an older receipt in place of the true one": lambda run: run.signed(
        lambda told: told if told.round < ROUND else None
    ),
    "a site that does not name the session": lambda run: run.signed(_said(session=None)),
    "a site in the sum that fell silent and never checked": lambda run: run.signed(
        lambda told: None if _of(told) else told,
        found=run.listing(dropped=(Dropout(site=VICTIM, stage="confirm"),)),
    ),
}


@pytest.fixture(scope="module")
def run(stage, heart) -> Run:
    return Run(stage, heart)


def _judged(run: Run, found: Evidence, path):
    opened = folder.load(lay_out(path, run.stage, found))
    return (*integrity.examine(opened), *privacy.examine(opened))


def test_the_truth_passes(run, tmp_path):
    verdicts = {rule.name: rule.verdict for rule in _judged(run, run.honest, tmp_path)}
    assert verdicts["sums as the sites were told"] == "pass"
    assert verdicts["sums that the sites recomputed"] == "pass"
    assert set(verdicts.values()) == {"pass"}


def test_a_site_that_fell_silent_late_and_checked_afterwards_passes(run, tmp_path):
    late = run.listing(dropped=(Dropout(site=VICTIM, stage="reveal"),))
    assert overall(_judged(run, late, tmp_path)) == "pass"


@pytest.mark.parametrize("lie", FAULTS)
def test_a_lie_about_a_sum_fails_the_gate(lie, run, tmp_path):
    assert overall(_judged(run, FAULTS[lie](run), tmp_path)) == "fail"


@pytest.mark.parametrize("lie", GAPS)
def test_what_is_left_unsaid_of_a_sum_leaves_the_gate_undecided(lie, run, tmp_path):
    assert overall(_judged(run, GAPS[lie](run), tmp_path)) == "cannot conclude"


def test_the_measured_attack_fails_release_verify_too(run, tmp_path):
    # A site's receipt says that the sum of round 5 is false, and it is listed as dropped there.
    found = FAULTS["... and is listed as dropped"](run)
    rules = _judged(run, found, tmp_path)
    told = next(rule for rule in rules if rule.name == "sums as the sites were told")
    assert "cleveland signed that other sites are in the update sum of round 5" in told.sentence
    proven = next(rule for rule in rules if rule.name == "sums that the sites recomputed")
    assert "The update sum of round 5 is false, by the check of cleveland." in proven.sentence
    assert _sums(type("Judged", (), {"rules": rules})) == (told.sentence, proven.sentence)


def test_the_hash_of_a_sum_covers_its_order_and_its_signs():
    assert len({sum_sha256(t) for t in ((1, 2), (2, 1), (-1, 2), (1, -2), (1, 2, 0))}) == 5
