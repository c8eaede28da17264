"""A signed receipt for one run: what others may know of it, and nothing more.

A receipt names the ledger's head and the entries of all receipts given before, so that a holder of
an older one sees at once whether the ledger was rolled back or rewritten since. It holds no
fingerprint, no record count, no cap, and of other runs nothing but that the ledger has so many
entries and gave so many receipts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from fedethics import canonical, terms
from fedethics.aggregates.noise import Account
from fedethics.aggregates.registry import charged_to, trained_kinds
from fedethics.charter.document import hash_of
from fedethics.charter.model import Charter
from fedethics.errors import LedgerError, LedgerTampered
from fedethics.identity import Identity, verify
from fedethics.privacy.ledger.book import Book
from fedethics.privacy.ledger.entries import RECEIPT_PURPOSE, Charge
from fedethics.terms import KEY, NAME, TIME, term

Slices = Literal["unchecked", "passed", "failed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SumSeen:
    """A sum that this site agreed to open; it stands in every receipt from that moment on.

    Attributes:
        kind, round: which sum.
        session: SHA-256 of the coordinator's signed OPEN; None if the site no longer knows it.
        cohort, survivors: hashes (`fedethics.secagg.rules.sites_hash`) of the sites asked and of
            the sites in the sum, as this site signed them.
        sha256: of the sum that the coordinator told this site; None while it told none.
        slices: whether it passed this site's check of its slices; "unchecked" where there was none.
        adapter: SHA-256 of the adapter_model.safetensors that this site computed its part on, for
            sums of counts; None where the sum is of updates.
    """

    kind: str = term(nonempty=True)
    round: int = term(at_least=0)
    session: str | None = term(default=None, pattern=KEY)
    cohort: str = term(pattern=KEY)
    survivors: str = term(pattern=KEY)
    sha256: str | None = term(default=None, pattern=KEY)
    slices: Slices = term(default="unchecked")
    adapter: str | None = term(default=None, pattern=KEY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """What one run cost one unit at one site, in the words of the site's ledger.

    Attributes:
        began: when this run was first charged here, by this site's clock.
        issued: when the receipt was made, by this site's clock.
        training_rounds: rounds charged for training, in ledger order; a redone round has two.
        training_epsilon: composed epsilon at `delta` of all that was charged to the training
            records, counts by group among it; absent means infinite.
        evaluation_rounds, evaluation_epsilon: the same for the tables of held-out records.
        self_test_passed: the start-up self-test of the DP mechanism passed for this run.
        fixed_noise: noise came from a seed (a test): nothing was private.
        sums: the sums that this site agreed to open, and what it was told of each.
        ledger_entries, ledger_head: length of the chain and hash of its newest entry.
        earlier: hashes of the entries that record each receipt given before, oldest first.
    """

    site: str = term(pattern=NAME)
    run_id: str = term(pattern=NAME)
    charter_hash: str = term(pattern=KEY)
    began: str = term(default="", pattern=f"({TIME})?")
    issued: str = term(pattern=TIME)
    unit: str = term(nonempty=True)
    neighbouring: str = term(nonempty=True)
    delta: float = term(above=0, below=1)
    training_rounds: tuple[int, ...] = term(default=(), at_least=0)
    training_epsilon: float | None = term(default=None, at_least=0)
    evaluation_rounds: tuple[int, ...] = term(default=(), at_least=0)
    evaluation_epsilon: float | None = term(default=None, at_least=0)
    self_test_passed: bool = term(default=False)
    fixed_noise: bool = term(default=False)
    sums: tuple[SumSeen, ...] = term(default=())
    ledger_entries: int = term(at_least=1)
    ledger_head: str = term(pattern=KEY)
    earlier: tuple[str, ...] = term(default=(), pattern=KEY)


def charges_of(book: Book, *, run: str, charter: Charter) -> list[Charge]:
    """Return what a run was charged under `charter`.

    Raises:
        LedgerError: nothing, or under another charter.
    """
    charges = list(book.counted(run=run))
    charter_hash = hash_of(charter)
    others = sorted({charge.charter_hash for charge in charges} - {charter_hash})
    if others or not charges:
        raise LedgerError(
            f"no receipt for run {run!r} under charter {charter_hash[:12]}: the ledger charged it "
            + (f"under {', '.join(h[:12] for h in others)}" if others else "nothing")
        )
    return charges


def make_receipt(
    book: Book,
    *,
    site: str,
    run: str,
    charter: Charter,
    now: datetime,
    self_test_passed: bool,
    fixed_noise: bool,
    sums: tuple[SumSeen, ...] = (),
) -> Receipt:
    """Return the receipt of a run.

    Raises:
        LedgerError: the run was never charged here, or under another charter.
    """
    charges = charges_of(book, run=run, charter=charter)
    charter_hash = hash_of(charter)
    delta = charter.privacy.delta
    training, evaluation = _accounts(charges)
    return Receipt(
        site=site,
        run_id=run,
        charter_hash=charter_hash,
        began=min(charge.time for charge in charges).astimezone(UTC).isoformat(),
        issued=now.astimezone(UTC).isoformat(),
        unit=charter.privacy.unit,
        neighbouring=charter.privacy.neighbouring,
        delta=delta,
        training_rounds=_rounds(training, trained_kinds()),
        training_epsilon=_worst(book, training, delta),
        evaluation_rounds=_rounds(evaluation, charged_to(Account.EVALUATION)),
        evaluation_epsilon=_worst(book, evaluation, delta),
        self_test_passed=self_test_passed,
        fixed_noise=fixed_noise,
        sums=sums,
        ledger_entries=book.length,
        ledger_head=book.head.sha256,
        earlier=tuple(digest for digest in book.receipts if digest != book.head.sha256),
    )


def _accounts(charges: Sequence[Charge]) -> tuple[list[Charge], list[Charge]]:
    """Return the charges of records trained on and those of records counted.

    A kind such as the audit is charged to both accounts. An account that nothing else was charged
    to is of the kind that is missing; where that does not decide, it is listed in both, since a
    receipt must not leave out what was spent.
    """

    def of(kinds: frozenset[str]) -> set[str]:
        return {charge.data_set.fingerprint for charge in charges if charge.kind in kinds}

    trained, counted = of(charged_to(Account.TRAINING)), of(charged_to(Account.EVALUATION))
    unclear = of(charged_to(Account.TRAINING, Account.EVALUATION)) - trained - counted
    if trained and not counted:
        counted = unclear
    elif counted and not trained:
        trained = unclear
    else:
        trained, counted = trained | unclear, counted | unclear
    return (
        [charge for charge in charges if charge.data_set.fingerprint in trained],
        [charge for charge in charges if charge.data_set.fingerprint in counted],
    )


def sign_receipt(receipt: Receipt, identity: Identity) -> bytes:
    """Return the canonical bytes of the receipt's text, the site's key and its signature."""
    body = canonical.encode(terms.document(receipt))
    return canonical.encode(
        {
            "body": body.decode("utf-8"),
            "public-key": identity.public_key,
            "signature": identity.sign(body, purpose=RECEIPT_PURPOSE).hex(),
        }
    )


def read_receipt(data: bytes, *, public_key: str) -> Receipt:
    """Return what a receipt says, once its signature holds.

    Raises:
        LedgerTampered: not a receipt, or not signed by the holder of `public_key`.
    """
    problems: list[str] = []
    try:
        envelope = canonical.parse(data)
        if not isinstance(envelope, dict):
            raise ValueError("not a table")
        body = str(envelope["body"]).encode("utf-8")
        signature = bytes.fromhex(str(envelope["signature"]))
        receipt = terms.read(Receipt, canonical.parse(body), path="receipt", problems=problems)
    except (ValueError, KeyError) as error:
        raise LedgerTampered(f"receipt is damaged: {error}") from error
    if receipt is None or problems:
        raise LedgerTampered("receipt is damaged: " + "; ".join(problems))
    if not verify(public_key, body, signature, purpose=RECEIPT_PURPOSE):
        raise LedgerTampered(f"the receipt of {receipt.site} is not signed by key {public_key}")
    return receipt


def _rounds(charges: Iterable[Charge], kinds: frozenset[str]) -> tuple[int, ...]:
    return tuple(charge.round_number for charge in charges if charge.kind in kinds)


def _worst(book: Book, charges: Iterable[Charge], delta: float) -> float | None:
    """Return what the run cost the unit charged most, on the accounts that `charges` name."""
    spent = (book.spent(charge.data_set, delta=delta, run=charge.run) for charge in charges)
    worst = max(spent, default=0.0)
    return None if math.isinf(worst) else worst
