"""The noise on a table of counts: its size, its cost, and whose shares of it are in the sum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

from fedethics.charter.model import Charter
from fedethics.privacy.calibration import smallest_scale
from fedethics.privacy.events import Event, NonPrivate, count_mechanism

TrustMode: TypeAlias = Literal["local", "distributed"]


class Account(StrEnum):
    """The two accounts of a site. Their records are disjoint, so a record pays from one."""

    TRAINING = "training"
    EVALUATION = "evaluation"


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """The noise on every entry of one table.

    Attributes:
        std: standard deviation on which the guarantee rests; 0.0 without DP.
        shares: sites whose noise together carries it.
        sites: sites in the sum.
        event: what the table costs one unit.
    """

    std: float
    shares: int
    sites: int
    event: Event

    @property
    def site_variance(self) -> float:
        """The variance that each site adds to every entry.

        In "distributed" mode, the shares of the sites that do not collude add up to `std` squared;
        in "local" mode each site adds all of it.
        """
        return self.std * self.std / self.shares

    @property
    def sum_variance(self) -> float:
        """The variance of the noise in every entry of the opened sum."""
        return self.sites * self.site_variance

    @property
    def sum_std(self) -> float:
        """The standard deviation of the noise in every entry of the opened sum."""
        return math.sqrt(self.sum_variance)


def sites_of(charter: Charter) -> int:
    """Return how many sites there are; for a draft, the minimum cohort."""
    return len(charter.roster) or charter.secagg.minimum_cohort


def noise_shares(charter: Charter, account: Account, *, whole_roster: bool) -> int:
    """Return the sites whose noise together carries the guarantee of an account.

    Args:
        charter: the agreed terms.
        account: whose trust mode counts: 1 in "local", the honest sites in "distributed".
        whole_roster: whether the sum spans the roster or stays closed, as all sums of counts.
            Otherwise sites may drop out of it or be left out, so the worst sum counts.
    """
    if trust_mode(charter, account) != "distributed":
        return 1
    return charter.secagg.fewest_honest(sites_of(charter), whole_roster=whole_roster)


def trust_mode(charter: Charter, account: Account) -> TrustMode:
    """Return "local" or "distributed", as the charter says of an account."""
    privacy = charter.privacy
    terms = privacy.training if account is Account.TRAINING else privacy.evaluation
    return terms.trust_mode


def count_noise(
    charter: Charter, account: Account, *, std: float, releases: int = 1, sensitivity: int
) -> Noise:
    """Return the noise of this std on a table of counts, and what it costs.

    Args:
        charter: the agreed terms.
        account: whose records are counted, and so whose trust mode holds.
        std: standard deviation on which the guarantee rests; of no account without DP.
        releases: tables that are released together.
        sensitivity: what one unit moves the entries of a table by, added up.
    """
    shares, sites = noise_shares(charter, account, whole_roster=True), sites_of(charter)
    name, training = charter.privacy.evaluation.mechanism, charter.privacy.training.mechanism
    if account is Account.TRAINING and training == "none":
        event: Event = NonPrivate('privacy.training.mechanism = "none"')
        return Noise(std=0.0, shares=shares, sites=sites, event=event)
    if name == "none":
        event = NonPrivate('privacy.evaluation.mechanism = "none"')
        return Noise(std=0.0, shares=shares, sites=sites, event=event)
    event = count_mechanism(name).of(
        std=std, shares=shares, releases=releases, sensitivity=sensitivity
    )
    return Noise(std=std, shares=shares, sites=sites, event=event)


def both_accounts_noise(
    charter: Charter, *, epsilon: float, sensitivity: int, releases: int = 1, largest: float = 500.0
) -> Noise:
    """Return the least noise on a sum of all records, each charged `epsilon` to its own account.

    It is enough for the account whose guarantee the fewest sites carry. The others' noise comes on
    top, and protects the other account no less.

    Args:
        charter: the agreed terms.
        epsilon: of all releases together, at the charter's delta.
        sensitivity: what one unit moves the entries of a table by, added up.
        releases: tables that are released together.
        largest: more noise than this, over the sensitivity, is not looked for.

    Raises:
        AccountingError: no noise within reach keeps it within its epsilon.
    """
    account = min(Account, key=lambda each: noise_shares(charter, each, whole_roster=True))
    if charter.privacy.training.mechanism == "none":  # its records are promised nothing
        account = Account.EVALUATION

    def noise(scale: float) -> Noise:
        std = scale * sensitivity
        return count_noise(charter, account, std=std, releases=releases, sensitivity=sensitivity)

    if not noise(1.0).std:
        return noise(1.0)
    known = count_mechanism(charter.privacy.evaluation.mechanism).largest_std
    return noise(
        smallest_scale(
            lambda scale: (noise(scale).event,),
            epsilon=epsilon,
            delta=charter.privacy.delta,
            largest=min(0.99 * known / sensitivity, largest),
        )
    )
