"""What a kind of secure sum is: the interface that ledger, permit, plan, sites and gate know."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, Final, Generic, TypeVar

from fedethics import canonical
from fedethics.aggregates.noise import Account, Noise
from fedethics.charter.model import Charter
from fedethics.data.beside import BesideColumn
from fedethics.errors import AccountingError
from fedethics.privacy.calibration import LARGEST
from fedethics.privacy.events import Event
from fedethics.protocol import Action
from fedethics.secagg import SumSpec

if TYPE_CHECKING:
    from fedethics.release.evidence import Evidence

# A site's count plus its noise stays far below this; 64-bit words carry 2**23 sites of it.
_COUNT_BOUND: Final = 2**40

Number = Callable[[float, int], str]
# A term of the charter, what it asks, and which entry of a site's policy decides; all in words.
Ask = tuple[str, str, str]
UNLIMITED: Final = "policy.toml has no limit on it"


class Moment(IntEnum):
    """When in its round a sum is opened, in this order."""

    BEFORE_STEP = 0
    STEP = 1
    AFTER_STEP = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class SumPlan(ABC):
    """What one kind of sum will cost in a run.

    Attributes:
        rounds: after which, or before which, it is due, counted from 1.
    """

    rounds: tuple[int, ...]

    @abstractmethod
    def charge(self, account: Account) -> tuple[Event, ...]:
        """Return what one such sum costs a unit of an account; empty if its records are unread."""

    def whole_run(self, account: Account) -> tuple[Event, ...]:
        """Return what all of a run's cost."""
        return tuple(event for _ in self.rounds for event in self.charge(account))

    @abstractmethod
    def mechanisms(self) -> Iterator[tuple[str, Event]]:
        """Yield each single mechanism, named for an officer, as the policy's floor sees it."""

    def noises(self) -> Iterable[tuple[str, Noise]]:
        """Yield the noise on each of its tables, named for a planner within this kind."""
        return ()


@dataclass(frozen=True, kw_only=True, slots=True)
class TablePlan(SumPlan):
    """Tables with the same noise on every entry, each charged to every account that it is of.

    Attributes:
        noise: on each entry.
        accounts: of the records that are counted.
        table: what one table is, named for an officer.
    """

    noise: Noise
    accounts: tuple[Account, ...]
    table: str

    def charge(self, account: Account) -> tuple[Event, ...]:
        """Return one table."""
        return (self.noise.event,) if account in self.accounts else ()

    def mechanisms(self) -> Iterator[tuple[str, Event]]:
        """Yield a table, where any is due."""
        if self.rounds:
            yield self.table, self.noise.event


P = TypeVar("P", bound=SumPlan)


class Aggregate(ABC, Generic[P]):
    """One kind of secure sum.

    Attributes:
        name: in messages, ledgers and evidence.
        moment: when in its round it is opened; a sum at `STEP` changes the model.
        accounts: which of a site's accounts it is charged to, in the order in which it is.
        scaled: the account whose epsilon its noise shares with others by one common scale; None
            where its noise follows from an epsilon of its own.
        reads_gradients: whether a site computes each unit's gradient for it. Its sensitivity rests
            on them, so the site's self-test comes before it, and before it is charged.
        whole_roster: whether it is over the whole roster or not at all. Data stand still between
            sums of counts, so two that differ by one site would show that site's table.
        once: whether a run opens it once. Only such counts may be opened over a quorum.
        skippable: whether a run goes on without it, where not every site is there.
        ends_run: whether it is the last sum of a run.
        opt_in: what a policy that lists it lets charters do; empty where a new policy lists it.
        spent_on: what a trained record pays for, where it pays for this beside the gradients.
        seen: what the coordinator sees of it; empty where every run's list says so.
    """

    name: ClassVar[str]
    moment: ClassVar[Moment] = Moment.AFTER_STEP
    accounts: ClassVar[tuple[Account, ...]] = (Account.EVALUATION,)
    scaled: ClassVar[Account | None] = None
    reads_gradients: ClassVar[bool] = False
    whole_roster: ClassVar[bool] = True
    once: ClassVar[bool] = False
    skippable: ClassVar[bool] = False
    ends_run: ClassVar[bool] = False
    opt_in: ClassVar[str] = ""
    spent_on: ClassVar[str] = ""
    seen: ClassVar[str] = ""
    plan_type: type[P]

    @property
    def trains(self) -> bool:
        """Whether its sum changes the model."""
        return self.moment is Moment.STEP

    @property
    def words(self) -> tuple[str, ...]:
        """What a policy can list of it: see `permissions`."""
        return (self.name,)

    @property
    def action(self) -> Action:
        """What a site is asked for its part."""
        return Action.TRAIN if self.trains else Action.EVALUATE

    def fewest(self, charter: Charter) -> int:
        """Return how many sites its sum needs, where it is over the whole roster: all or a quorum.

        0 for a sum that is not.
        """
        if not self.whole_roster:
            return 0
        quorum = charter.secagg.quorum if self.once else None
        return len(charter.roster) if quorum is None else quorum

    def adapter_round(self, number: int) -> int:
        """Return after which round the adapter is that a sum of round `number` is about."""
        return number if self.moment is Moment.AFTER_STEP else number - 1

    @abstractmethod
    def plan(self, charter: Charter, scale: float) -> P | None:
        """Return its noise and cost; None where the charter does not foresee it.

        Args:
            charter: the agreed terms.
            scale: the common scale of the account that it is `scaled` with; 0.0 without noise.

        Raises:
            AccountingError: no noise keeps it within its own epsilon.
        """

    def largest_scale(self, charter: Charter) -> float:
        """Return the largest common scale whose noise the accountant knows."""
        return LARGEST

    @abstractmethod
    def spec(self, charter: Charter, plan: P, *, vector_length: int) -> SumSpec | None:
        """Return its length, word size and bound; None where it can have none.

        Args:
            charter: the agreed terms.
            plan: its own.
            vector_length: number of trainable parameters of the adapter.
        """

    @abstractmethod
    def permissions(self, charter: Charter) -> tuple[str, ...]:
        """Return the words that a policy must list; empty where the charter asks for none."""

    def columns(self, charter: Charter) -> Iterable[BesideColumn]:
        """Return the columns of a site's file that it reads beside the charter's schema."""
        return ()

    def asks(self, charter: Charter) -> Iterable[Ask]:
        """Yield what a charter asks of a site by it, beside the kinds of sums and both epsilons."""
        return ()

    def foretold(self, charter: Charter, plan: P) -> Iterable[tuple[str, str]]:
        """Yield what its rule of the gate will be able to conclude, before anything is spent."""
        return ()

    @abstractmethod
    def left(self, charter: Charter, plan: P, number: Number) -> tuple[str, str, str]:
        """Return, for a report, what left, whose records paid, and by which mechanism.

        Args:
            charter: the agreed terms.
            plan: its own.
            number: spells a number with so many digits.
        """

    def faults(self, evidence: Evidence) -> Iterable[str]:
        """Yield what the gate finds wrong between what was opened and what the evidence holds."""
        return ()

    def gaps(self, evidence: Evidence) -> Iterable[str]:
        """Yield what of it the gate misses in the evidence."""
        return ()

    def of(self, sums: Mapping[str, SumPlan]) -> P:
        """Return this kind's plan among those of a run.

        Raises:
            AccountingError: the charter does not foresee it.
        """
        plan = sums.get(self.name)
        if not isinstance(plan, self.plan_type):
            raise AccountingError(f"the charter asks for no {self.name}; nothing was computed")
        return plan


def count_spec(name: str, length: int) -> SumSpec:
    """Return the specification of a sum of counts, over the whole roster or not at all."""
    return SumSpec(name=name, length=length, word_bits=64, bound=_COUNT_BOUND, whole_cohort=True)


def sum_sha256(opened: Sequence[int]) -> str:
    """Return the SHA-256 of an opened sum, as 64-bit little-endian integers."""
    return canonical.sha256_hex(
        b"".join(value.to_bytes(8, "little", signed=True) for value in opened)
    )


def opened_sums(evidence: Evidence, kind: str) -> dict[int, str]:
    """Return the hashes of the sums of a kind that are on record, by round."""
    return {entry.round: entry.sum_sha256 for entry in evidence.rounds if entry.kind == kind}
