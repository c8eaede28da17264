"""Where the charter's settings come from: fixed beforehand, public records, or trials paid for.

A trial is a whole run of its own over the same records. The coordinator sees the sums of every
trial, so trials compose; repeat-and-select (Papernot and Steinke 2022), which counts the best trial
alone, needs a selector that shows nothing of the others and does not apply.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fedethics.charter.ethics_terms import EthicsTerms
from fedethics.terms import term

Source = Literal["fixed", "public", "tuning"]
# What a candidate may set: how is trained, never what is promised, measured or asked of whom.
TUNABLE = (
    "adapter.alpha",
    "adapter.layers",
    "adapter.rank",
    "adapter.targets",
    "privacy.training.clipping-norm",
    "privacy.training.sampling-rate",
    "training.learning-rate",
    "training.local-steps",
    "training.momentum",
    "training.optimizer",
    "training.proximal",
    "training.server-learning-rate",
    "training.server.momentum",
    "training.server.optimizer",
    "training.server.second-moment",
    "training.server.tau",
    "training.weight-decay",
)
_MOST = 16
_ONLY_PAID = ("rounds", "share", "select")


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One set of settings to be tried.

    Attributes:
        set_: as the option `--set` spells them: "training.learning-rate=0.5".
    """

    set_: tuple[str, ...] = term(nonempty=True)

    @property
    def settings(self) -> dict[str, Any]:
        """The value of each key."""
        return dict(map(setting, self.set_))

    @property
    def said(self) -> str:
        """The settings in one line."""
        return ", ".join(f"{key} = {value}" for key, value in self.settings.items())

    def problems(self) -> list[str]:
        """Refuse a key that no trial may set, and one that is set twice."""
        found = []
        keys = [pair.partition("=")[0].strip() for pair in self.set_]
        for pair, key in zip(self.set_, keys, strict=True):
            if "=" not in pair:
                found.append(f"set: {pair!r} is no KEY=VALUE, such as training.learning-rate=0.5")
            elif key not in TUNABLE:
                found.append(f"set: no trial may set {key!r}; it may set {', '.join(TUNABLE)}")
        if len(set(keys)) < len(keys):
            found.append("set: a key is listed twice")
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class TuningTerms:
    """Where the settings come from, and the trials, if they are to be paid for.

    Attributes:
        settings_from: "fixed": nobody tried others on these records; "public": chosen on records
            that are public or made up, named in `source`; "tuning": chosen by the trials below,
            which are runs over the federation's own records.
        source: of "public": the records.
        candidates: of "tuning": what is tried.
        rounds: of each trial.
        share: of each budget that all trials together may spend, composed.
        select: metric of an objective without groups; the trial with the best estimate wins, the
            first of equal ones.
        phase: which run of the search a charter is for: "trial-2", or "final-2" for the run with
            the settings of the second candidate. Absent in what the sites sign; each phase's
            charter follows from it (`fedethics.charter.phases`).
        replaced: of a phase: the keys that it sets, with the values that were agreed, as JSON.
    """

    settings_from: Source = term()
    source: str = term(default="", prose=True)
    candidates: tuple[Candidate, ...] | None = term(default=None, nonempty=True)
    rounds: int | None = term(default=None, at_least=1, at_most=10_000)
    share: float | None = term(default=None, at_least=0.01, at_most=0.9)
    select: str | None = term(default=None, pattern=r"[a-z0-9_]{1,60}")
    phase: str | None = term(default=None, pattern=r"(trial|final)-[1-9][0-9]?")
    replaced: str | None = term(default=None, nonempty=True)

    @property
    def paid(self) -> bool:
        """Whether trials on the federation's own records choose the settings."""
        return self.settings_from == "tuning"

    @property
    def is_final(self) -> bool:
        """Whether this is the charter of the run after the trials."""
        return self.phase is not None and self.phase.startswith("final-")

    @property
    def number(self) -> int:
        """The candidate of a phase, counted from 1; 0 where it is none."""
        return int(self.phase.partition("-")[2]) if self.phase else 0

    def problems(self) -> list[str]:
        """Check that each source has only the keys that belong to it."""
        found = []
        if (self.settings_from == "public") != bool(self.source):
            found.append(
                'source: names the public records that settings-from = "public" was tried on; '
                "give both or neither"
            )
        given = [key for key in (*_ONLY_PAID, "candidates") if getattr(self, key) is not None]
        if not self.paid and [key for key in given if key != "candidates"]:
            found.append(f'{", ".join(given)}: only with settings-from = "tuning"')
        if self.paid:
            found += self._search_problems()
        if (self.phase is None) != (self.replaced is None):
            found.append("phase, replaced: written by fedethics for one run; leave both out")
        return found

    def _search_problems(self) -> list[str]:
        missing = [key for key in (*_ONLY_PAID, "candidates") if getattr(self, key) is None]
        if missing:
            return [f'{", ".join(missing)}: missing; settings-from = "tuning" needs them']
        tried = self.candidates or ()
        found = []
        if not 2 <= len(tried) <= _MOST:
            found.append(f"candidates: {len(tried)}; a search has 2 to {_MOST}")
        if len({tuple(sorted(one.set_)) for one in tried}) < len(tried):
            found.append("candidates: one is listed twice; it would be paid for twice")
        if self.number > len(tried):
            found.append(f"phase: {self.phase!r}, but there are {len(tried)} candidates")
        return found


def tuning_rule(tuning: TuningTerms, ethics: EthicsTerms) -> Iterator[str]:
    """Yield why trials could not be compared: their metric is no objective of everyone."""
    known = [one.metric for one in ethics.objectives if not one.feature]
    if tuning.select is not None and tuning.select not in known:
        yield (
            f"tuning.select: {tuning.select!r} is the metric of no objective without groups; there "
            f"are {', '.join(known) or 'none'}"
        )


def setting(pair: str) -> tuple[str, Any]:
    """Return key and value of `key=value`: the value as TOML, or else as a text."""
    key, _, value = pair.partition("=")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def with_settings(table: dict[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that stood at these keys, after they were set; None where there was none.

    Raises:
        KeyError: a key leads through something that is no table.
    """
    before: dict[str, Any] = {}
    for key, value in settings.items():
        *parents, last = key.split(".")
        place, made = table, ""
        for depth, parent in enumerate(parents, start=1):
            if parent not in place:
                # The whole table was absent, with what it gets beside this key.
                made = made or ".".join(parents[:depth])
                place[parent] = {}
            place = place[parent]
            if not isinstance(place, dict):
                raise KeyError(key)
        if not any(made_before in before for made_before in _above(parents)):
            before[made or key] = None if made else place.get(last)
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return before


def _above(parents: list[str]) -> list[str]:
    return [".".join(parents[:depth]) for depth in range(1, len(parents) + 1)]
