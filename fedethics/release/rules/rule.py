"""One rule's answer: verdict, figure, interval, bar, sentence, and where to check it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fedethics import texts
from fedethics.terms import term

# "not informative": nothing that could have been found would have made the rule fail.
Outcome = Literal["pass", "fail", "cannot conclude", "not informative"]
Topic = Literal["people", "privacy", "integrity"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """The number that a rule turns on. What is undefined or unbounded is absent.

    Attributes:
        value, low, high: estimate and interval, at `confidence`.
        bar, direction: what was agreed beforehand.
    """

    value: float | None = term(default=None)
    low: float | None = term(default=None)
    high: float | None = term(default=None)
    confidence: float | None = term(default=None)
    bar: float | None = term(default=None)
    direction: Literal["at-most", "at-least", ""] = term(default="")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule of the gate and its verdict.

    Attributes:
        sentence: what was found, for a reader without the other fields.
        evidence: file of the run directory that shows it.
    """

    name: str = term(nonempty=True)
    topic: Topic = term()
    verdict: Outcome = term()
    figure: Measurement | None = term(default=None)
    sentence: str = term(nonempty=True, prose=True)
    evidence: str = term(nonempty=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What speaks against a rule: faults make it fail, gaps leave it undecided.

    Attributes:
        idle: why nothing that could have been found would have made the rule fail; a rule that
            cannot fail does not pass.
    """

    faults: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    idle: str = ""

    def verdict(self) -> Outcome:
        """Fail on any fault, cannot conclude on any gap, else pass if it could have failed."""
        if self.faults:
            return "fail"
        if self.gaps:
            return "cannot conclude"
        return "not informative" if self.idle else "pass"

    def rule(
        self,
        name: str,
        *,
        topic: Topic,
        holds: str,
        evidence: str,
        figure: Measurement | None = None,
    ) -> Rule:
        """Return the rule that these findings answer; `holds` is its sentence without any."""
        return Rule(
            name=name,
            topic=topic,
            verdict=self.verdict(),
            figure=figure,
            # It may quote a file that nobody checked yet, such as the adapter's configuration.
            sentence=texts.in_line(" ".join((*self.faults, *self.gaps)) or self.idle or holds),
            evidence=evidence,
        )


def overall(rules: Sequence[Rule]) -> Outcome:
    """Fail if any rule fails; cannot conclude if any cannot or none holds; else pass.

    A rule that is not informative is neither a fault nor a pass: the verdict rests on the others,
    and the report lists it among what the gate does not cover.
    """
    verdicts = {rule.verdict for rule in rules}
    if "fail" in verdicts:
        return "fail"
    return "cannot conclude" if "cannot conclude" in verdicts or "pass" not in verdicts else "pass"
