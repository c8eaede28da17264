"""What a permit is asked with and what it grants: the site's two accounts and their caps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fedethics.aggregates.noise import Account
from fedethics.privacy.ledger import Cap, DataSet


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFacts:
    """What the permit must know of the site's records. Sensitive: it never leaves the site.

    Where the unit is the person, numbers of records are numbers of persons.
    """

    train: DataSet
    held_out: DataSet
    train_records: int
    held_out_records: int


def linked(data: DataFacts, accounts: Iterable[DataSet]) -> DataFacts:
    """Return the accounts tied to every other file that a ledger knows.

    The same people may be in those files, so what was spent on them counts
    (docs/adr/0011-linked-accounts.md).

    Args:
        data: the site's two accounts.
        accounts: of the ledger.
    """
    follows = tuple(sorted({account.file for account in accounts} - {data.train.file}))
    return replace(
        data,
        train=replace(data.train, follows=follows),
        held_out=replace(data.held_out, follows=follows),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Permit:
    """The site agrees to run one charter, within these caps.

    Attributes:
        charter_hash: the charter that it is for.
        site: the site's name on the roster.
        data: the two accounts.
        train_cap, held_out_cap: what the ledger must enforce on each.
    """

    charter_hash: str
    site: str
    data: DataFacts
    train_cap: Cap
    held_out_cap: Cap

    def account(self, account: Account) -> tuple[DataSet, Cap]:
        """Return the data set that an account is of, and its cap."""
        if account is Account.TRAINING:
            return self.data.train, self.train_cap
        return self.data.held_out, self.held_out_cap
