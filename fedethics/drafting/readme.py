"""What a draft decided, for the person who must decide it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedethics import texts
from fedethics.data.file_terms import DataFile
from fedethics.drafting.columns import FoundColumn
from fedethics.drafting.groups import SMALL
from fedethics.drafting.proposal import EPSILON, HOLDOUT, Proposal
from fedethics.privacy.calibration import noise_multiplier
from fedethics.terms import toml_text

_WARNING = """\
**This folder is about your file's records.** It holds copies of them (`sites/`), and ranges,
values and exact sizes that were read from them (here, in `charter.toml` and in `scenario.toml`).
For a simulation on one machine that is fine. Before real sites sign, set ranges and values from
knowledge of what a value can be, choose which sizes to publish, and send neither this page nor
`sites/` to anyone. `grep -n DECIDE *.toml` lists what a person must decide; no one can sign before
the texts that begin with "DECIDE: " are replaced (`fedethics charter check charter.toml`).
"""


# Sensitive: exact counts of one site's records.
@dataclass(frozen=True, kw_only=True, slots=True)
class SiteSize:
    """Records of one site by the draft.

    Attributes:
        training, held_out: of the two parts.
        left_out: records, by the reason.
        longest: characters of the longest text.
    """

    site: str
    training: int
    held_out: int
    left_out: Mapping[str, int]
    longest: int

    @property
    def declared(self) -> int:
        """The training size, rounded down."""
        step = 10 if self.training >= 100 else 5 if self.training >= 20 else 1
        return self.training - self.training % step


def readme_text(
    proposal: Proposal, sizes: Sequence[SiteSize], *, max_tokens: int, verdicts: Sequence[str]
) -> str:
    """Return the page, in Markdown; `verdicts` is what the gate will be able to conclude."""
    wish = proposal.wish
    head = f"# {wish.name}: what `fedethics new` decided\n\n{_WARNING}"
    parts = (
        _decided(proposal), _columns(proposal), _label(proposal), _groups(proposal),
        _sites(proposal, sizes),
        _training(proposal, max_tokens), _verdicts(verdicts),
    )  # fmt: skip
    return "\n".join((head, *("\n".join((*part, "")) for part in parts)))


def _decided(proposal: Proposal) -> Iterator[str]:
    task = proposal.wish.task
    yield f"## Decided\n\nThe file is taken to hold {task.told} (task `{task.name}`).\n"
    for one in proposal.wish.decided:
        yield f"- DECIDE: {texts.markdown(one.said)}"


def _columns(proposal: Proposal) -> Iterator[str]:
    yield "## Columns\n"
    yield "| column | kind | the model reads | allowed | empty cells | |"
    yield "|---|---|---|---|---|---|"
    for found in proposal.columns:
        terms = found.terms
        told = texts.markdown(terms.phrase) if terms.phrase else "nothing (groups only)"
        yield (
            f"| {texts.markdown(terms.name)} | {terms.kind} | {told} | {_allowed(found)} | "
            f"{_emptiness(found)} | {found.note} |"
        )
    for one in proposal.left_out:
        yield f"| {texts.markdown(one.name)} | not read | | | | {one.why} |"


def _allowed(found: FoundColumn) -> str:
    terms = found.terms
    nothing = f"; not recorded: {', '.join(terms.not_recorded)}" if terms.not_recorded else ""
    if terms.kind == "number":
        return f"{terms.minimum:.12g} to {terms.maximum:.12g}{texts.markdown(nothing)}"
    if terms.kind == "text":
        return f"at most {terms.max_chars} characters"
    return texts.markdown(", ".join(terms.choices) + nothing)


def _emptiness(found: FoundColumn) -> str:
    if found.terms.on_empty == "say":
        how = 'written as "not recorded"' if found.terms.phrase else "a separate group"
        return f"{found.empty}: {how}"
    return f"{found.empty}: record left out" if found.empty else "none"


def _label(proposal: Proposal) -> Iterator[str]:
    label = proposal.label
    if proposal.content is not None:
        listed = ", ".join(map(texts.markdown, proposal.content.fields))
        yield f"## Content\n\nForm `{proposal.content.form}`, from {listed}. There is no label."
    if label is None:
        return
    yield f"## Label\n\n{texts.markdown(label.column)}:\n"
    if proposal.unlabelled:
        yield f"- no label: {proposal.unlabelled} records, left out"
    for cell, number in label.by_cell.items():
        count = proposal.label_counts[cell]
        named = texts.markdown(f"{label.names[number]} (in the file: {cell})")
        yes = ", the positive one" if label.classes is None and number == 1 else ""
        yield f"- {named}: {count} records ({count / proposal.records:.0%}){yes}"


def _groups(proposal: Proposal) -> Iterator[str]:
    yield "## Groups\n"
    if not proposal.features:
        yield (
            "None: no column was found by its name, and none was named. Nothing will be measured "
            "by group; `ethics.without-groups` in `charter.toml` must say why. To compare groups, "
            "name columns: `--sensitive`.\n"
        )
    elif proposal.guessed:
        yield "No sensitive columns were named; these were found by their names.\n"
    for feature in proposal.features:
        merged = ", ".join(feature.terms.merged)
        name, column = texts.markdown(feature.terms.name), texts.markdown(feature.terms.column)
        yield f"{name}, from {column}:\n"
        for group, size in feature.sizes.items():
            few = f" (fewer than {SMALL}; merge it, or its figures say little)" * (size < SMALL)
            yield f"- {texts.markdown(group)}: {size} records{few}"
        if merged:
            yield f"- put together, as proposed: {texts.markdown(merged)}"
        yield ""


def _sites(proposal: Proposal, sizes: Sequence[SiteSize]) -> Iterator[str]:
    wish = proposal.wish
    how = "simulated, by a hash of each record"
    if wish.sites or proposal.dealt:
        how = f"the values of {wish.sites}" if wish.sites else "those that the records came from"
    yield f"## Sites\n\n{proposal.records} records; the sites are {texts.markdown(how)}.\n"
    if proposal.repeated:
        yield f"{proposal.repeated} records are the same as an earlier one of their site; kept.\n"
    if proposal.shared:
        yield f"{proposal.shared} records stand at another site too; each site uses its own.\n"
    told = {file.read.said and toml_text(DataFile(Path("FILE"), file.read).table): file.path.name
            for file in proposal.files}  # fmt: skip
    for said, name in told.items():
        if said:
            yield "The files in `sites/` are in plain form. A site that keeps a file like"
            yield f"{texts.markdown(name)} writes, in its `site.toml`:\n"
            yield f"```toml\n[data]\n{said}```\n"
    yield "| site | training | declared | held out | left out |"
    yield "|---|---|---|---|---|"
    for one in sizes:
        why = "; ".join(f"{count}: {texts.markdown(why)}" for why, count in one.left_out.items())
        yield f"| {one.site} | {one.training} | {one.declared} | {one.held_out} | {why or 0} |"


def _training(proposal: Proposal, max_tokens: int) -> Iterator[str]:
    task, unit = proposal.wish.task, "person" if proposal.wish.person else "record"
    sigma = noise_multiplier(
        epsilon=EPSILON, delta=proposal.delta, sampling_rate=proposal.sampling_rate,
        steps=task.steps,
    )  # fmt: skip
    yield "## Training\n"
    yield (
        f"- {task.rounds} rounds of {task.local_steps} steps; a step samples "
        f"{proposal.sampling_rate:g} of the training {unit}s"
    )
    yield (
        f"- epsilon {EPSILON:g} for a training {unit} and {EPSILON:g} for a held-out one, delta "
        f"{proposal.delta:g}; that takes noise of at least {sigma:.2f} clipping norms a step "
        "(`fedethics budget plan` has the whole plan, with the audit's part)"
    )
    yield f"- at most {max_tokens} tokens of a record are read; longer texts are cut at their end"
    yield from _bars(proposal)


def _verdicts(verdicts: Sequence[str]) -> Iterator[str]:
    yield "## What the gate will be able to conclude\n"
    for sentence in verdicts:
        yield f"- {texts.markdown(sentence)}"
    yield (
        "\n`fedethics budget plan charter.toml --held-out N` shows the chances of each verdict.\n\n"
        "Next: `fedethics simulate .` in this folder."
    )


def _bars(proposal: Proposal) -> Iterator[str]:
    """Say how near to a bar chance alone leaves a figure undecided: 95 %, rates near one half."""
    yield (
        "- bars: see `[[ethics.objectives]]` in `charter.toml`, decide each of them. If the true "
        "value is nearer to a bar than chance can distinguish, the result is *cannot conclude*. "
        "The noise on the counts adds to chance. Chance alone leaves about:"
    )
    yield f"    - a share over everyone: ± {_margin(proposal.records * HOLDOUT):.2f}"
    two = proposal.label is not None and proposal.labels.classes is None
    share = 1.0
    if two:
        positive = sum(proposal.label_counts[cell] for cell in proposal.labels.positive)
        share = positive / proposal.records
    what = "share of missed cases" if two else "accuracy" if proposal.label else "exact matches"
    for feature in proposal.features:
        smallest = sorted(feature.sizes.values())[:2]
        gap = math.hypot(*(_margin(size * HOLDOUT * share) for size in smallest))
        name = texts.markdown(feature.terms.name)
        yield f"    - gap by {name} in the {what}: ± {min(gap, 1.0):.2f} (its two smallest groups)"


def _margin(records: float) -> float:
    return 1.96 * math.sqrt(0.25 / max(records, 1.0))
