"""The answer of `fedethics budget plan`: numbers, tables, and what they mean in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from fedethics.aggregates.noise import Account, Noise
from fedethics.aggregates.registry import AGGREGATES
from fedethics.canonical import Json
from fedethics.charter.cohorts import NO_SAMPLING, most_rounds, words
from fedethics.charter.model import Charter
from fedethics.cli import budget_verdicts
from fedethics.cli.output import readable, table
from fedethics.foresight.forecast import Forecast
from fedethics.foresight.of_charter import Declared, foresee
from fedethics.foresight.words import document as verdicts_document
from fedethics.privacy import outlook, search
from fedethics.privacy.ledger.entries import epsilon_document
from fedethics.privacy.meaning import (
    NOT_COVERED,
    attack_sentence,
    trust_sentence,
    unit_sentence,
)
from fedethics.privacy.outlook import VISITS_THAT_PAY, SiteOutlook, TrainingQuestion
from fedethics.privacy.plan import PrivacyPlan, make_plan
from fedethics.privacy.signal import HEARD, StepSignal, step_signal

Searching = tuple[tuple[search.PhaseCost, ...], tuple[float, float]]
_SITE_HEADS = ("site", "records", "expected batch", "signal/noise of a step", "can take part")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Everything that the tables, the JSON and the HTML page show.

    Attributes:
        sigma: noise multiplier of training; None where the charter trains without DP.
        privacy: the charter's plan, or None for terms without a charter.
        foretold: what rules of the gate will be able to conclude from what else is counted.
        refusal: why the run as a whole cannot take place; empty when it can.
        signal: how far a step's sum can be heard over its noise; None where it cannot be known.
        verdicts: what the gate will be able to conclude; None if it was not asked for.
        cohorts: which sites train in a round; empty where all of them do.
        searching: of a search: what each of its runs costs, and the most that all of them do.
    """

    title: str
    question: TrainingQuestion
    sigma: float | None
    training_epsilon: float
    unit: str
    sites: tuple[SiteOutlook, ...]
    privacy: PrivacyPlan | None
    refusal: str
    foretold: tuple[tuple[str, str], ...] = ()
    signal: StepSignal | None = None
    verdicts: Forecast | None = None
    cohorts: str = ""
    searching: Searching | None = None

    def sentences(self) -> list[tuple[str, str]]:
        """Return (heading, sentence): what it means, for whom, against whom."""
        delta, plan = self.question.delta, self.privacy
        # Of a search: all of its runs together.
        whole = self.searching[1] if self.searching else (self.training_epsilon, None)
        said = [("a training record", attack_sentence(whole[0], delta, unit=self.unit))]
        if plan is not None:
            held_out = plan.evaluation.epsilon if whole[1] is None else whole[1]
            sentence = attack_sentence(held_out, delta, unit=self.unit)
            said.append(("a held-out record", sentence))
        said.append(("for whom", unit_sentence(self.unit)))
        if plan is None:
            local = trust_sentence("local", what="Training", colluders=0, noise_shares=0)
            said.append(("against whom", local))
        else:
            training = trust_sentence(
                plan.training.trust_mode,
                what="Training",
                colluders=plan.colluders,
                noise_shares=plan.update.shares,
            )
            said.append(("against whom", training))
            tables = trust_sentence(
                plan.evaluation.trust_mode,
                what="Evaluation",
                colluders=plan.colluders,
                noise_shares=plan.fairness.counts.shares,
            )
            said.append(("against whom", tables))
        return said

    @property
    def gradients_epsilon(self) -> float:
        """What the gradients alone cost; the tables below are about these."""
        return math.inf if self.sigma is None else self.question.cost(self.sigma)

    def besides_gradients(self) -> str:
        """Say what else trained records pay for; "" where it is nothing."""
        if self.privacy is None or self.sigma is None:
            return ""
        sums = self.privacy.sums
        kinds = [AGGREGATES[name] for name, own in sums.items() if own.rounds]
        # Those of the finished adapter first.
        ordered = sorted(kinds, key=lambda each: -each.moment)
        return " and ".join(
            each.spent_on
            for each in ordered
            if each.spent_on and sums[each.name].charge(Account.TRAINING)
        )

    def warnings(self) -> list[str]:
        """Say what would make the run useless or slow, though it may take place."""
        said = [] if self.signal is None else self.signal.sentences()
        visits = self.question.sampling_rate * self.question.steps
        if visits < VISITS_THAT_PAY:
            said.append(
                f"A record is visited {visits:.3g} times in the run. Below {VISITS_THAT_PAY}, "
                "keeping the states of the frozen layers costs more time than it saves. So sites "
                "do not keep them for training."
            )
        return said

    def curves(self) -> dict[str, list[tuple[float, float]]]:
        """Return the tables of epsilon against rounds and noise; empty without DP."""
        if self.sigma is None:
            return {"rounds": [], "noise": []}
        return {
            "rounds": [(float(n), e) for n, e in outlook.by_rounds(self.question, self.sigma)],
            "noise": outlook.by_noise(self.question, self.sigma),
        }

    def signals(self) -> list[tuple[int, float]]:
        """Return (records, signal to noise of one step); empty without DP."""
        if self.sigma is None:
            return []
        counts = sorted({*outlook.RECORDS, *(site.records for site in self.sites)})
        rate, sigma = self.question.sampling_rate, self.sigma
        return [
            (n, outlook.signal_to_noise(records=n, sampling_rate=rate, sigma=sigma)) for n in counts
        ]

    def document(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "title": self.title,
            "unit": self.unit,
            "neighbouring": "add-or-remove-one",
            "delta": self.question.delta,
            "training": {
                "epsilon": epsilon_document(self.training_epsilon),
                "gradients-epsilon": epsilon_document(self.gradients_epsilon),
                "noise-multiplier": self.sigma,
                "sampling-rate": self.question.sampling_rate,
                "rounds": self.question.rounds,
                "local-steps": self.question.local_steps,
                "steps": self.question.steps,
            },
            "evaluation": _evaluation_document(self.privacy),
            "sums": _sums_document(self.privacy),
            "sites": [
                {
                    "site": site.site,
                    "records": site.records,
                    "can-take-part": not site.obstacles,
                    "expected-batch": site.expected_batch,
                    "signal-to-noise": None
                    if math.isinf(site.signal_to_noise)
                    else site.signal_to_noise,
                    "obstacles": list(site.obstacles),
                    "cautions": list(site.cautions),
                }
                for site in self.sites
            ],
            "step-signal": None
            if self.signal is None
            else {
                "trained-parameters": self.signal.parameters,
                "expected-batch": self.signal.batch,
                "noise-in-sum": self.signal.noise,
                "bound": self.signal.bound,
                "wanted": HEARD,
            },
            "warnings": [*self.warnings()],
            "foretold": [[term, words] for term, words in self.foretold],
            "verdicts": None if self.verdicts is None else verdicts_document(self.verdicts),
            "refusal": self.refusal,
            "search": _search_document(self.searching),
            "meaning": [[heading, sentence] for heading, sentence in self.sentences()],
            "not-covered": list(NOT_COVERED),
            "epsilon-against": {
                name: [[x, y] for x, y in points] for name, points in self.curves().items()
            },
            "signal-to-noise-against-records": [[n, ratio] for n, ratio in self.signals()],
        }

    def render(self, console: Console) -> None:
        """Show tables and words."""
        console.print(Text(self.title, style="bold"))
        console.print(table("What it takes", ("term", "value"), self.facts()))
        if self.sites:
            console.print(table("Sites", _SITE_HEADS, [_site_row(site) for site in self.sites]))
        for sentence in self.warnings():
            console.print(Text(sentence, style="yellow"))
        self._render_search(console)
        if self.refusal:
            console.print(Text(self.refusal, style="bold red"))
        curves = self.curves()
        for name, heads in (
            ("rounds", ("rounds", "epsilon with this noise")),
            ("noise", ("noise multiplier", "epsilon of the run")),
        ):
            if curves[name]:
                rows = [(readable(x), readable(y)) for x, y in curves[name]]
                console.print(table("", heads, rows))
        if self.signals():
            rows = [(str(n), readable(ratio, 3)) for n, ratio in self.signals()]
            console.print(table("", ("training records", "signal/noise of a step"), rows))
        if self.verdicts is not None:
            budget_verdicts.render(self.verdicts, console)
        console.print(Text("What it means", style="bold"))
        for heading, sentence in self.sentences():
            console.print(Text.assemble((f"{heading}: ", "italic"), sentence))
        console.print(Text("What it does not cover", style="bold"))
        for sentence in NOT_COVERED:
            console.print(Text(f"- {sentence}"))

    def _render_search(self, console: Console) -> None:
        if self.searching is None:
            return
        phases, whole = self.searching
        rows = [
            (one.phase, one.said, *map(readable, (one.training, one.evaluation))) for one in phases
        ]
        heads = ("run", "settings", "epsilon, trained", "epsilon, held out")
        console.print(table("The search: each run alone; the rest is about final-1", heads, rows))
        console.print(
            Text(
                f"All trials and one final run together, composed: epsilon {readable(whole[0])} "
                f"for a trained {self.unit}, {readable(whole[1])} for a held-out one. The "
                "coordinator sees every trial's sums, so every trial is paid for, whichever wins."
            )
        )

    def facts(self) -> list[tuple[str, str]]:
        """Return (term, value) rows."""
        question = self.question
        rows = [
            (
                "epsilon of training",
                f"{readable(self.training_epsilon)} at delta={question.delta:g}",
            ),
            *self._gradients(),
            ("noise multiplier", "none" if self.sigma is None else f"{self.sigma:g}"),
            ("sampling rate", f"{question.sampling_rate:g}"),
            ("steps", f"{question.rounds} rounds x {question.local_steps} = {question.steps}"),
            *([("sites that train", f"{self.cohorts}; {NO_SAMPLING}")] if self.cohorts else []),
            *self._signal(),
        ]
        plan = self.privacy
        if plan is None:
            rows.append(("fairness tables", "charged to held-out records: plan with a charter"))
            return rows
        rows.append(("epsilon of evaluation", f"{readable(plan.evaluation.epsilon)} (held-out)"))
        rows += [
            (name, f"std at least {noise.std:.4g}; {noise.sum_std:.4g} in the sum")
            for name, noise in _noises(plan)
        ]
        rows += [
            (f"{kind}, {name}", f"std at least {noise.std:.4g}; {noise.sum_std:.4g} in the sum")
            for kind, own in plan.sums.items()
            for name, noise in own.noises()
        ]
        rows += list(self.foretold)
        rounds = ", ".join(map(str, plan.progress.rounds)) or "none"
        rows.append(("progress after rounds", rounds))
        return rows

    def _gradients(self) -> list[tuple[str, str]]:
        others = self.besides_gradients()
        if not others:
            return []
        spent = f"{readable(self.gradients_epsilon)}; the rest is for {others}"
        return [("of it, for gradients alone (as in the tables below)", spent)]

    def _signal(self) -> list[tuple[str, str]]:
        if self.sigma is None:
            return []
        name = "batch / (noise x sqrt(p)) of a step"
        if self.signal is None:
            return [(name, "not known: give --with-model or --parameters, and --site or --records")]
        found = self.signal
        return [
            ("trained parameters, p", f"{found.parameters:,}"),
            (
                name,
                f"{found.bound:.3g}: {readable(found.batch, 3)} records, noise {found.noise:.3g} "
                f"in the sum; wanted: {HEARD:g} or more",
            ),
        ]


def plan_of_charter(
    charter: Charter,
    *,
    sites: Mapping[str, int],
    parameters: int | None = None,
    declared: Declared | None = None,
) -> Plan:
    """Plan a charter's run for its roster, with the records of `sites` where given.

    Args:
        charter: the agreed terms.
        sites: records of sites, before those that the roster declares.
        parameters: trained in a step; None where they are not known.
        declared: the held-out records; None where nobody asks for verdicts.
    """
    searching = search.costs(charter) if search.is_search(charter) else None
    if searching is not None:
        charter = search.phase(charter, "final-1")
    privacy = make_plan(charter)
    roster = {member.site: member.declared_records for member in charter.roster}
    question = TrainingQuestion(
        rounds=most_rounds(charter),
        local_steps=charter.training.local_steps,
        sampling_rate=charter.privacy.training.sampling_rate,
        epsilon=charter.privacy.training.epsilon,
        delta=charter.privacy.delta,
    )
    outlooks = _outlooks({**roster, **sites}, question, privacy.update.noise_multiplier)
    able = sum(not site.obstacles for site in outlooks)
    needed = charter.secagg.minimum_cohort
    unable = [site.site for site in outlooks if site.obstacles and site.site in roster]
    refusal = ""
    if outlooks and able < needed:
        refusal = f"only {able} sites can take part, below secagg.minimum-cohort {needed}"
    elif unable and able < (charter.secagg.quorum or len(charter.roster)):
        refusal = (
            f"{', '.join(unable)} cannot take part, and counts are summed over the whole roster "
            "(or secagg.quorum) or not at all. So the run would end without its fairness tables"
        )
    return Plan(
        title=f"{charter.name} version {charter.charter.version} ({privacy.charter_hash[:16]})",
        question=question,
        sigma=privacy.update.noise_multiplier,
        training_epsilon=privacy.training.epsilon,
        unit=charter.privacy.unit,
        sites=outlooks,
        privacy=privacy,
        foretold=tuple(
            row
            for kind, own in privacy.sums.items()
            for row in AGGREGATES[kind].foretold(charter, own)
        ),
        refusal=refusal,
        signal=step_signal(
            charter, privacy, parameters=parameters or 0, records={**roster, **sites}
        ),
        verdicts=None if declared is None else foresee(charter, declared),
        searching=searching,
        cohorts=words(charter),
    )


def plan_of_terms(
    question: TrainingQuestion, *, sites: Mapping[str, int], parameters: int | None = None
) -> Plan:
    """Plan a run of which only the terms of training are known yet; each site adds its own noise.

    Args:
        question: the terms.
        sites: records of each site.
        parameters: trained in a step; None where they are not known.
    """
    sigma = question.noise()
    outlooks = _outlooks(sites, question, sigma)
    unable = [site.site for site in outlooks if site.obstacles]
    return Plan(
        title="Training at one site, without a charter",
        question=question,
        sigma=sigma,
        training_epsilon=question.cost(sigma),
        unit="record",
        sites=outlooks,
        privacy=None,
        refusal=f"{', '.join(unable)} cannot take part" if unable else "",
        signal=StepSignal(
            parameters=parameters,
            batch=question.sampling_rate * sum(sites.values()),
            noise=sigma * math.sqrt(len(sites)),
        )
        if parameters and sites
        else None,
    )


def _outlooks(
    sites: Mapping[str, int], question: TrainingQuestion, sigma: float | None
) -> tuple[SiteOutlook, ...]:
    return tuple(
        outlook.site_outlook(name, records, question=question, sigma=sigma)
        for name, records in sites.items()
    )


def _noises(plan: PrivacyPlan) -> list[tuple[str, Noise]]:
    fairness = plan.fairness
    named = [("counts", fairness.counts), ("histogram", fairness.histogram)]
    explained = [("score changes (in steps)", fairness.effects), ("flips", fairness.flips)]
    named += [(name, noise) for name, noise in explained if noise.std]
    return [("progress", plan.progress.noise), *named] if plan.progress.rounds else named


def _search_document(found: Searching | None) -> Json:
    if found is None:
        return None
    phases, whole = found
    return {
        "runs": [
            {
                "run": one.phase,
                "settings": one.said,
                "training": epsilon_document(one.training),
                "evaluation": epsilon_document(one.evaluation),
            }
            for one in phases
        ],
        "training": epsilon_document(whole[0]),
        "evaluation": epsilon_document(whole[1]),
    }


def _sums_document(plan: PrivacyPlan | None) -> Json:
    """Return the noise of the kinds that have an epsilon of their own, by kind and table."""
    if plan is None:
        return None
    return {
        kind: {
            name: {"std": noise.std, "std-in-sum": noise.sum_std} for name, noise in own.noises()
        }
        for kind, own in plan.sums.items()
        if tuple(own.noises())
    }


def _site_row(site: SiteOutlook) -> tuple[str, str, str, str, str]:
    verdict = "no: " + "; ".join(site.obstacles) if site.obstacles else "yes"
    if site.cautions:
        verdict += "; but " + "; ".join(site.cautions)
    ratio = "-" if math.isinf(site.signal_to_noise) else readable(site.signal_to_noise, 3)
    return site.site, str(site.records), readable(site.expected_batch, 3), ratio, verdict


def _evaluation_document(plan: PrivacyPlan | None) -> Json:
    if plan is None:
        return None
    return {
        "epsilon": epsilon_document(plan.evaluation.epsilon),
        "trust-mode": plan.evaluation.trust_mode,
        "sites": plan.sites,
        "noise-shares": plan.fairness.counts.shares,
        "progress-rounds": list(plan.progress.rounds),
        "std": {
            "progress": plan.progress.noise.std,
            **{name: noise.std for name, noise in _noises(plan)},
        },
        "std-in-sum": {name: noise.sum_std for name, noise in _noises(plan)},
    }
