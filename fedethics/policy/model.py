"""The site's policy: what this site allows, in a file that its privacy officer owns.

Guarantee: the policy is read from the site's own disk and nothing received over the network can
change it. Mode, terms and signatures are checked on the same bytes, read once, so that no other
file can be put in between. A policy that is absent, unreadable, one that anybody else could write
or replace (`fedethics.ownership`), wrong in any key, or short of the officers' signatures it asks
for is an error, and the site refuses all work.

The part of a site's policy that says where and how training runs. It holds no privacy term.

Officers' keys are pinned in the ledger: editing the policy does not remove an officer.

The first policy that asks for signatures pins its officers as an entry of the append-only ledger.
From then on a policy with other officers, or with fewer signatures, is obeyed only when the pinned
officers have signed it, which pins the new ones.
"""

from __future__ import annotations

import os
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fedethics import ownership, terms
from fedethics.aggregates.registry import unknown_permission
from fedethics.data.personal_terms import PersonalTerms
from fedethics.errors import PolicyError
from fedethics.identity import public_key_term
from fedethics.policy.signatures import missing_signatures
from fedethics.privacy.ledger import Ledger, PinnedOfficers
from fedethics.privacy.ledger.entries import Cap
from fedethics.terms import KEY, term


@dataclass(frozen=True, kw_only=True, slots=True)
class Compute:
    """Where and how training runs; sites may differ, since none of it changes what is computed.

    Attributes:
        devices: several devices of the kind `device`, such as "cuda:0" and "cuda:1". Each holds the
            whole model, the batches of a step are divided among them, and the clipped gradients
            are added as on one device, bit for bit. Devices whose bits differ are refused. Absent:
            one device.
        dtype: "bfloat16" computes the trained layers' matrix products in bfloat16. Parameters,
            gradients of records, their norms, sums and noise keep their own precision.
        gradients: who computes each record's gradient: "opacus", its hooks; "autograd", this
            package's own layer; "auto", the hooks except where they were measured to be slow
            (short texts). Before a run the two are held against each other, whichever is chosen.
        checkpointing: keep only each trained layer's input in memory and compute the layer again
            in the backward pass: less memory, a third more time.
        cache: where the frozen layers' output lies: "memory", or "disk", a file without a name
            that no other process can open and that is gone when this one ends, however it ends.
        cache_gib: the most that one part of a data set may take there; above it, the frozen
            layers run in every step. Reckoned from public numbers: the records declared, each of
            the greatest length.
        cache_dir: folder of that file.
        batches: "proven" computes records in batches of constant shapes, each proven on this
            machine to keep them apart; "alone" computes every record by itself, which is slower.
    """

    device: Literal["cpu", "cuda"] = term(default="cpu")
    dtype: Literal["float32", "bfloat16"] = term(default="float32")
    gradients: Literal["opacus", "autograd", "auto"] = term(default="opacus")
    checkpointing: bool = term(default=False)
    cache: Literal["memory", "disk"] = term(default="memory")
    cache_gib: float = term(default=4.0, at_least=1e-6, at_most=1e6)
    batches: Literal["proven", "alone"] = term(default="proven")
    cache_dir: str = term(default="/var/tmp", nonempty=True)  # noqa: S108  a file without a name
    devices: tuple[str, ...] | None = term(
        default=None, nonempty=True, pattern=r"cpu|cuda:[0-9]{1,3}"
    )

    @property
    def places(self) -> tuple[str, ...]:
        """Return the devices that batches are divided among; the first computes alone what must."""
        return self.devices or (self.device,)

    def problems(self) -> list[str]:
        """Check what spans fields."""
        found: list[str] = []
        named = self.devices or ()
        if other := [one for one in named if one.partition(":")[0] != self.device]:
            found.append(f"devices: {', '.join(other)} is not of the kind device = {self.device!r}")
        if len(set(named)) < len(named) and self.device != "cpu":
            found.append("devices: a device is listed twice; its memory would hold two models")
        if len(named) > 1 and self.batches == "alone":
            found.append(
                'devices: batches = "alone" computes one record after the other on the first; name '
                'one device, or use batches = "proven"'
            )
        return found


ANY = "any"
_COULD = "raise its caps, so the site refuses all work"


@dataclass(frozen=True, kw_only=True, slots=True)
class Caps:
    """What each data set (training and held-out records apart) may spend.

    Attributes:
        epsilon_per_data_set: over its whole life, all runs together.
        epsilon_per_run: within one run.
        epsilon_per_year: within any 365 days.
        delta: the delta that all three are stated at, and the largest a charter may ask for.
    """

    epsilon_per_data_set: float = term(above=0, at_most=1e6)
    epsilon_per_run: float = term(above=0, at_most=1e6)
    epsilon_per_year: float = term(above=0, at_most=1e6)
    delta: float = term(at_least=1e-12, below=1)

    def contradictions(self) -> list[str]:
        """Say which caps can never be reached, since another one ends the spending first."""
        named = (
            ("epsilon-per-run", self.epsilon_per_run),
            ("epsilon-per-year", self.epsilon_per_year),
            ("epsilon-per-data-set", self.epsilon_per_data_set),
        )
        return [
            f"caps.{narrow} {small:g} is above caps.{wide} {large:g}, so it never holds: "
            f"{large:g} does"
            for place, (narrow, small) in enumerate(named)
            for wide, large in named[place + 1 :]
            if small > large
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowed:
    """What a charter may ask for.

    Attributes:
        charters: hashes of the charters that the site agreed to, or the one word "any".
        units: units of privacy.
        training_trust_modes, evaluation_trust_modes: against whom the noise must protect.
        releases: kinds of sums that may leave; "explanation" is part of the fairness tables.
        without_dp: whether a charter may ask for a mechanism without differential privacy.
        fixed_noise: whether noise may come from a seed (tests on public data only).
        changed_data: what a file other than those the ledger knows means: "link": it may hold the
            same people, so what was spent on the others counts for it too; "refuse": it is not
            used; "other-people": the officer states that no person is in both.
        require_signed_charter: refuse a charter unless everyone whom it names has signed.
    """

    charters: tuple[str, ...] = term(nonempty=True, pattern=f"{ANY}|{KEY}")
    units: tuple[Literal["record", "person"], ...] = term(nonempty=True)
    training_trust_modes: tuple[Literal["local", "distributed"], ...] = term(nonempty=True)
    evaluation_trust_modes: tuple[Literal["local", "distributed"], ...] = term(nonempty=True)
    releases: tuple[str, ...] = term(nonempty=True, check=unknown_permission)
    without_dp: bool = term(default=False)
    fixed_noise: bool = term(default=False)
    changed_data: Literal["link", "refuse", "other-people"] = term(default="link")
    require_signed_charter: bool = term(default=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Minimum:
    """Floors that hold whatever the budget.

    Attributes:
        noise_multiplier: std over sensitivity of every single mechanism.
        cohort: sites in any sum that is opened.
        honest_sites: of these, those that the charter does not count as colluding with the
            coordinator: a site hides among them only, whatever the rest tell each other.
        records: records in each of the two partitions.
    """

    noise_multiplier: float = term(at_least=0, at_most=1e4)
    cohort: int = term(at_least=3)
    honest_sites: int = term(default=2, at_least=2)
    records: int = term(at_least=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Officers:
    """Who must sign this file (`policy.toml.sig`) before the site obeys it."""

    public_keys: tuple[str, ...] = public_key_term(default=())
    required_signatures: int = term(default=0, at_least=0)

    def problems(self) -> list[str]:
        """Refuse a number of signatures that can never be reached."""
        if self.required_signatures > len(set(self.public_keys)):
            return [
                f"required-signatures {self.required_signatures} exceeds the "
                f"{len(set(self.public_keys))} public-keys"
            ]
        return []


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """All that one site allows; without `personal`, nothing is looked for in texts."""

    version: Literal[1] = term()
    caps: Caps = term()
    allow: Allowed = term()
    minimum: Minimum = term()
    compute: Compute = term(default=Compute())
    officers: Officers = term(default=Officers())
    personal: PersonalTerms | None = term(default=None)

    def cap(self, *, with_dp: bool) -> Cap:
        """Return what the ledger enforces for a data set.

        Without DP, epsilon is infinite and no cap has a meaning; that takes `allow.without-dp`.
        """
        if not with_dp and self.allow.without_dp:
            return Cap(epsilon=float("inf"), delta=self.caps.delta)
        return Cap(
            epsilon=self.caps.epsilon_per_data_set,
            delta=self.caps.delta,
            per_run=self.caps.epsilon_per_run,
            per_year=self.caps.epsilon_per_year,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyFile:
    """A policy, and the very bytes that it was read from, over which officers sign."""

    path: Path
    content: bytes
    policy: Policy


def load_policy(path: Path, *, at_site: bool = True) -> Policy:
    """Read a site's policy.

    Args:
        path: the file.
        at_site: whether a site acts on it, so that nobody else may be able to replace it. An
            officer who reads a copy looks at the file's own mode only.

    Raises:
        PolicyError: absent, unreadable, not safe from others, not a policy (every problem is listed
            with its key), or not signed as it asks.
    """
    return read_policy(path, at_site=at_site).policy


def read_policy(path: Path, *, at_site: bool = True, signed: bool = True) -> PolicyFile:
    """Read a site's policy once, for callers that verify further signatures over the same bytes.

    Args:
        path: the file.
        at_site: as for `load_policy`.
        signed: whether the officers' signatures must be there; not yet for one who signs.

    Raises:
        PolicyError: as for `load_policy`.
    """
    if at_site:
        ownership.require_safe(path, PolicyError, what="policy", could=_COULD)
    content = _read_once(path)
    table = terms.parse_toml(content, path, PolicyError)
    problems: list[str] = []
    policy = terms.read(Policy, table, path="", problems=problems)
    if policy is not None and signed and policy.officers.required_signatures:
        problems.extend(
            missing_signatures(
                path,
                content=content,
                officers=policy.officers.public_keys,
                required=policy.officers.required_signatures,
            )
        )
    if problems or policy is None:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise PolicyError(f"{path} is not a valid policy; this site refuses all work:\n{listed}")
    return PolicyFile(path=path, content=content, policy=policy)


def _read_once(path: Path) -> bytes:
    """Return the bytes of the file whose mode was checked: one file, opened once."""
    try:
        if not path.is_file():  # a pipe would be waited on for ever
            raise PolicyError(f"{path} cannot be read: there is no such regular file")
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read()
    except OSError as error:
        raise PolicyError(ownership.cannot_read(path, error)) from error
    if ownership.knows_owners() and mode & (stat.S_IWOTH | stat.S_IWGRP):
        raise PolicyError(
            f"policy {path} has mode {mode:04o}: others than its owner could {_COULD}. Run: "
            f"chmod go-w {shlex.quote(str(path))}"
        )
    return content


def require_pinned_officers(read: PolicyFile, ledger: Ledger) -> None:
    """Check a loaded policy against the officers that the ledger has pinned, and pin new ones.

    Args:
        read: as `read_policy` returned it, so its own officers have signed these bytes.
        ledger: this site's.

    Raises:
        PolicyError: the pinned officers did not sign this policy; the site refuses all work.
    """
    officers = read.policy.officers
    stated = PinnedOfficers(
        public_keys=tuple(sorted(set(officers.public_keys))),
        required_signatures=officers.required_signatures,
    )
    pinned = ledger.officers
    if stated == pinned or (pinned is None and not stated.required_signatures):
        return
    if pinned is not None and pinned.required_signatures:
        missing = missing_signatures(
            read.path,
            content=read.content,
            officers=pinned.public_keys,
            required=pinned.required_signatures,
        )
        if missing:
            keys = ", ".join(key[:16] for key in pinned.public_keys)
            raise PolicyError(
                f"{read.path} names other officers or fewer signatures than the ledger has pinned "
                f"({pinned.required_signatures} of {keys}); this site refuses all work until they "
                f"sign the change: {missing[0]}"
            )
    ledger.pin_officers(stated)
