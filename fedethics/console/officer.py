"""The privacy officer's page: every data set with spent, cap and what is left; costs; receipts.

Every epsilon is composed by the accountant of record, at the policy's delta, for one unit of the
account (record or person), add-or-remove-one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fedethics.aggregates.noise import Account as Kind
from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.commands import suggested
from fedethics.console.places import Places, fault_of
from fedethics.console.role import Role
from fedethics.console.unchanged import Unchanged
from fedethics.deployment.site_look import roster_key
from fedethics.errors import CharterError, FedethicsError, RecordsRefusal
from fedethics.policy.granted import DataFacts, linked
from fedethics.policy.model import Caps, Policy, load_policy
from fedethics.privacy.ledger import read_book, statement
from fedethics.privacy.ledger.book import YEAR, Book
from fedethics.privacy.ledger.entries import Charge, DataSet
from fedethics.privacy.ledger.statement import composed
from fedethics.privacy.ledger.verify import verify_files
from fedethics.privacy.plan import make_plan
from fedethics.site.home import SiteHome, charter_of
from fedethics.site.records import facts_or_refusal, forget_records
from fedethics.site.runs import KEPT_HEADS, receipts_kept

_MOST_DATES = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSetLook:
    """One account.

    Attributes:
        file: name of the file that it was cut from, or what is known of it.
        label: "train" or "held-out".
        charters: that it was charged under, in words.
        unit: whose epsilon it is.
        spent, cap, left: over the life of the data set; `left` is a lower bound.
        year_spent, year_cap: within 365 days.
        frees: when charges leave the 365 days -> what is spent within them from then on.
    """

    file: str
    label: str
    charters: tuple[str, ...]
    unit: str
    spent: float
    cap: float
    left: float
    year_spent: float
    year_cap: float
    frees: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a charter that was not run yet would cost one account here.

    Attributes:
        fits: whether all caps allow it; None where that cannot be told.
        why: the caps that it would pass, or why nothing can be told.
    """

    charter: str
    label: str
    epsilon: float
    fits: bool | None
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """One site, as the page shows it."""

    name: str
    slug: str
    path: Path
    caps: Caps | None = None
    data_sets: tuple[DataSetLook, ...] = ()
    costs: tuple[Cost, ...] = ()
    receipts: tuple[str, ...] = ()
    receipt_command: str = ""
    entries: int = 0
    head: str = ""
    verified: str = ""
    fault: str = ""


_BUDGETS: Unchanged[Budget] = Unchanged()


def ledger_csv(places: Places, site: str) -> bytes | None:
    """Return a site's charges as CSV; None where there is no such site.

    Raises:
        FedethicsError: the home or its ledger cannot be read.
    """
    path = places.site_homes().get(site)
    if path is None:
        return None
    home = SiteHome.open(path, to_look=True)
    return statement.as_csv(read_book(home.ledger_path, roster_key(home) or None)).encode()


def receipt(places: Places, site: str, run: str) -> bytes | None:
    """Return a receipt that a site gave for a run; None where it has kept none.

    Raises:
        FedethicsError: the home, its ledger or what it keeps cannot be read.
    """
    path = places.site_homes().get(site)
    if path is None:
        return None
    home = SiteHome.open(path, to_look=True)
    key = read_book(home.ledger_path, roster_key(home) or None).head.public_key
    return receipts_kept(home, key).get(run)


def _look(places: Places) -> Mapping[str, object]:
    return {"budgets": [_budget(slug, path) for slug, path in places.site_homes().items()]}


def _budget(slug: str, path: Path) -> Budget:
    try:
        home = SiteHome.open(path, to_look=True)
        # A day's change moves the 365 days, too.
        today = datetime.now(UTC).date()
        return _BUDGETS.get((path, today), _rests_on(home), lambda: _read(slug, home))
    except (FedethicsError, OSError) as error:
        told = fault_of(error) if isinstance(error, FedethicsError) else str(error.strerror)
        return Budget(name=slug, slug=slug, path=path, fault=told)


def _rests_on(home: SiteHome) -> tuple[Path, ...]:
    ledger = home.ledger_path
    head = ledger.with_name("ledger.db.head")
    site = home.path / "site.toml"
    return (
        ledger, head, home.policy_path, home.charter_path, home.data_path, site,
        home.path / KEPT_HEADS,
    )  # fmt: skip


def _read(slug: str, home: SiteHome) -> Budget:
    policy = load_policy(home.policy_path, at_site=False)
    charter = document.load(home.charter_path) if home.charter_path.exists() else None
    key = roster_key(home)
    book = read_book(home.ledger_path, key or None)
    facts = _facts(home, policy, charter, book) if charter else None
    return Budget(
        name=home.settings.site,
        slug=slug,
        path=home.path,
        caps=policy.caps,
        data_sets=tuple(
            _data_set(home, book, each, caps=policy.caps, facts=facts) for each in book.data_sets()
        ),
        costs=tuple(_costs(charter, book, policy, facts)) if charter else (),
        receipts=tuple(receipts_kept(home, book.head.public_key)) if book.length else (),
        receipt_command=suggested(
            "site", "receipt", "--home", home.path, "--run", "RUN", "-o", "RECEIPT.json"
        ),
        entries=book.length,
        head=book.head.sha256 if book.length else "",
        verified=_verified(home, book, key),
    )


def _verified(home: SiteHome, book: Book, key: str) -> str:
    """Return what was verified of the ledger, in words, and what was not."""
    whole = "chain and signatures verify"
    with_key = "with the key of the charter's roster" if key else "with its own first key only"
    report = verify_files(home.ledger_path, book.head.public_key) if book.length else None
    missing = "" if report is None or report.head_checked else "; its head file is missing"
    return f"{whole} {with_key}{missing}"


def _facts(
    home: SiteHome, policy: Policy, charter: Charter, book: Book
) -> DataFacts | RecordsRefusal:
    """Return the site's two accounts as the permit takes them; no record stays in memory."""
    try:
        facts = facts_or_refusal(home.data.under(policy.personal), charter)
    finally:
        forget_records(home.data_path)
    if isinstance(facts, DataFacts) and policy.allow.changed_data == "link":
        return linked(facts, book.data_sets())
    return facts


def _data_set(
    home: SiteHome,
    book: Book,
    account: DataSet,
    *,
    caps: Caps,
    facts: DataFacts | RecordsRefusal | None,
) -> DataSetLook:
    charges, now = list(book.counted(account)), datetime.now(UTC)
    in_year = [each for each in charges if book.age(each, now=now) < YEAR]
    spent = composed(charges, delta=caps.delta)
    own = isinstance(facts, DataFacts) and account.file == facts.train.file
    return DataSetLook(
        file=home.data_path.name if own else f"another file ({account.file[:12]})",
        label=account.label,
        charters=tuple(
            _charter_name(home, each) for each in dict.fromkeys(one.charter_hash for one in charges)
        ),
        unit=book.unit_of(account),
        spent=spent,
        cap=caps.epsilon_per_data_set,
        left=max(0.0, caps.epsilon_per_data_set - spent),
        year_spent=composed(in_year, delta=caps.delta),
        year_cap=caps.epsilon_per_year,
        frees=tuple(_frees(book, in_year, caps=caps, now=now)),
    )


def _frees(
    book: Book, in_year: list[Charge], *, caps: Caps, now: datetime
) -> Iterator[tuple[str, float]]:
    """Yield each day on which charges leave the 365 days, and what is spent within them then."""
    ends = {each.index: (now + YEAR - book.age(each, now=now)).date() for each in in_year}
    for day in sorted(set(ends.values()))[:_MOST_DATES]:
        rest = [each for each in in_year if ends[each.index] > day]
        yield day.isoformat(), composed(rest, delta=caps.delta)


def _charter_name(home: SiteHome, charter_hash: str) -> str:
    try:
        charter = charter_of(home, charter_hash)
    except CharterError:
        return f"{charter_hash[:12]} (no longer kept here)"
    return f"{charter.name}, version {charter.charter.version}"


def _costs(
    charter: Charter, book: Book, policy: Policy, facts: DataFacts | RecordsRefusal | None
) -> Iterator[Cost]:
    """Yield what a first or another run of the charter in force would cost each account."""
    plan, name = make_plan(charter), f"{charter.name}, version {charter.charter.version}"
    for kind in Kind:
        costs = plan.account(kind)
        label = "train" if kind is Kind.TRAINING else "held-out"
        if not isinstance(facts, DataFacts):
            why = "the records cannot be read by this charter: see `fedethics site check`"
            yield Cost(charter=name, label=label, epsilon=costs.epsilon, fits=None, why=why)
            continue
        account = facts.train if kind is Kind.TRAINING else facts.held_out
        overruns = book.overruns(
            account,
            run="",
            events=costs.events,
            cap=policy.cap(with_dp=costs.epsilon < float("inf")),
            now=datetime.now(UTC),
        )
        yield Cost(
            charter=name,
            label=label,
            epsilon=costs.epsilon,
            fits=not overruns,
            why="; ".join(overruns),
        )


OFFICER = Role(
    name="officer",
    title="Privacy officer",
    question="What was spent of each data set, what is left, and what would the next run cost?",
    shown=lambda places: bool(places.site_homes()),
    look=_look,
)
