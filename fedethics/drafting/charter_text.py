"""The draft of a charter as a commented TOML file; `# DECIDE` marks what a person must decide."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping

from fedethics.charter.amended import toml_value
from fedethics.drafting.columns import FoundColumn
from fedethics.drafting.groups import SMALL, FoundFeature
from fedethics.drafting.proposal import EPSILON, HOLDOUT, LOCAL_STEPS, ROUNDS, Proposal

_HEAD = """\
# A draft that `fedethics new` wrote from one file. It runs in a simulation as it is.
# Ranges, values and groups below were read from that file's records, as a start only. Before
# real sites sign, set them from what you know of each column, and decide each "# DECIDE".
# No site or person can sign while a text still begins with "DECIDE: "; see: fedethics charter check
"""
_UNLABELLED = "DECIDE: a record without a label is left out; without this line it is an error"
_FIXED = """\
[model]
name = {model_name}
sha256 = "{model_sha256}"
max-tokens = {max_tokens} # longer texts are cut at their end

[adapter]
rank = 8
alpha = 128
targets = {targets}
layers = {layers} # the last one: what those below make of a text is computed once
form = "ffa"
seed = 7

[training]
rounds = {rounds}
local-steps = {local_steps}
optimizer = "sgd"
learning-rate = 1.0

# DECIDE: what one record may cost, in training and in evaluation (`fedethics budget plan` says in
# words what an epsilon means).
[privacy]
unit = "record" # DECIDE: "person" where one person can have several records
neighbouring = "add-or-remove-one"
delta = {delta} # below one over the records of every site

[privacy.training]
mechanism = "dp-sgd"
trust-mode = "local"
epsilon = {epsilon}
clipping-norm = 1.0
sampling-rate = {sampling_rate}

[privacy.evaluation]
mechanism = "skellam"
trust-mode = "distributed"
epsilon = {epsilon}
tables = "nested" # counts for each feature; scores in 8 bins by group, and finer over everyone
counts-ratio = 1.0
histogram-ratio = 1.5
histogram-by = {histogram_by}
progress-ratio = 4.0
progress-every = 1
bins = {bins}
threshold = 0.5

[privacy.audit]
attack = "loss"
epsilon = 0.5 # a part of both epsilons above
bins = 10

[secagg]
suite = 1
minimum-cohort = 3
colluders = 1
mode = "strict"
clip = 2.0
scale = 1048576.0
"""


# Fine bins over everyone. From so many held-out records on, 64 of them leave more open of the area
# than the noise of 256 does (`tools/bench/verdicts.py`).
_FEW_BINS, _MANY_BINS, _MANY_HELD_OUT = 64, 256, 1000


def charter_text(proposal: Proposal, *, max_tokens: int) -> str:
    """Return the draft; `charter.document.load` reads it back."""
    fixed = _FIXED.format(
        model_name=toml_value(proposal.wish.model.name),
        model_sha256=proposal.wish.model.sha256,
        targets=toml_value(proposal.wish.model.targets),
        layers=toml_value(proposal.wish.model.layers),
        max_tokens=max_tokens,
        rounds=ROUNDS,
        local_steps=LOCAL_STEPS,
        delta=f"{proposal.delta:g}",
        epsilon=EPSILON,
        sampling_rate=proposal.sampling_rate,
        histogram_by=toml_value([proposal.features[0].terms.name]),
        bins=_MANY_BINS if proposal.records * HOLDOUT >= _MANY_HELD_OUT else _FEW_BINS,
    )
    parts = (*_ethics(proposal), *_data(proposal), fixed)
    return "\n".join((_HEAD, *parts))


def _ethics(proposal: Proposal) -> Iterator[str]:
    wish = proposal.wish
    yield _table(
        "charter", {"name": wish.name, "version": 1, "industry": wish.industry},
        {"industry": "DECIDE"},
    )  # fmt: skip
    yield _table(
        "ethics",
        {
            "purpose": "DECIDE: what is the score for, and who decides with it?",
            "harmed": "DECIDE: who is harmed by a wrong score, and which groups most?",
            "reference-population": "DECIDE: whom do these records represent, and whom not?",
            "not-measured": ["DECIDE: what is important but not in the data?"],
        },
    )
    yield "# DECIDE: each bar, before the first run; these are starting points, not law.\n"
    for metric, feature, bar, why in _objectives(proposal):
        named = {"feature": feature} if feature else {}
        least = not feature
        yield _table(
            "[ethics.objectives]",
            {"metric": metric, **named, "bar": bar,
             "direction": "at-least" if least else "at-most", "why": f"DECIDE: {why}"},
        )  # fmt: skip


def _objectives(proposal: Proposal) -> Iterator[tuple[str, str, float, str]]:
    counts = proposal.label_counts
    of_class = Counter[int]()
    for cell, number in proposal.label.by_cell.items():
        of_class[number] += counts[cell]
    most = max(of_class.values()) / proposal.records
    features = [feature.terms.name for feature in proposal.features]
    said = f"always giving the most common label is right for {most:.0%} of this file's records"
    bar = min(0.99, math.ceil(most * 20 + 0.2) / 20)
    if proposal.label.classes is None:
        yield "roc_auc_score", "", 0.7, "a score below 0.7 is commonly said to add little"
        yield "accuracy_score", "", bar, said
        for name in features:
            yield "equal_opportunity_difference", name, 0.2, f"cases missed more often by {name}"
            yield "false_positive_rate_difference", name, 0.2, f"false alarms more often by {name}"
        return
    even = 1 / len(of_class)
    yield "accuracy_score", "", bar, said
    yield (
        "balanced_accuracy_score", "", round(even + (1 - even) / 4, 2),
        f"one class for all records is right for {even:.0%} on average over the classes",
    )  # fmt: skip
    for name in features:
        yield "accuracy_score_difference", name, 0.2, f"wrong more often by {name}"


def _data(proposal: Proposal) -> Iterator[str]:
    wish, label = proposal.wish, proposal.label
    how = "a simulated partition by hash"
    if wish.sites or proposal.dealt:
        how = f"by the column {wish.sites}" if wish.sites else "each with records of its own"
    yield _table(
        "data",
        {
            "source": f"DECIDE: origin, years and licence; {len(proposal.rows)} sites, {how}",
            "holdout-fraction": HOLDOUT,
            "split-salt": f"{wish.name}/1",
        },
    )
    empty: dict[str, object] = {"on-empty": "drop-row"} if proposal.unlabelled else {}
    if label.classes is None:
        yield _table(
            "data.label",
            {"column": label.column, "positive": list(label.positive),
             "negative": list(label.negative), "positive-name": label.positive_name,
             "negative-name": label.negative_name, **empty},
            {"positive": "DECIDE: which value is the yes", "on-empty": _UNLABELLED},
        )  # fmt: skip
    else:
        yield _table(
            "data.label", {"column": label.column, "classes": list(label.classes), **empty},
            {"classes": "DECIDE: the classes, and their names as `name=value`",
             "on-empty": _UNLABELLED},
        )  # fmt: skip
    sensitive = {feature.terms.column for feature in proposal.features}
    for found in proposal.columns:
        yield _column(found, sensitive=found.terms.name in sensitive)
    for feature in proposal.features:
        yield _feature(feature)


def _column(found: FoundColumn, *, sensitive: bool) -> str:
    terms = found.terms
    table: dict[str, object] = {"name": terms.name, "kind": terms.kind}
    notes: dict[str, str] = {}
    if terms.phrase:
        table["phrase"] = terms.phrase
    if sensitive and not terms.phrase:
        notes["kind"] = (
            "used for groups, not read by the model; DECIDE: a phrase lets the model read it"
        )
    if terms.kind == "category":
        table["values"] = list(terms.values)
        notes["values"] = "from this file; DECIDE: all possible values"
    if terms.kind == "number":
        table |= {"minimum": terms.minimum, "maximum": terms.maximum}
        notes["minimum"] = "from this file, rounded outwards; DECIDE: what a value can be"
    if terms.kind == "text":
        table["max-chars"] = terms.max_chars
        notes["max-chars"] = "DECIDE: a longer text is an error"
    if terms.not_recorded:
        table["not-recorded"] = list(terms.not_recorded)
        notes["not-recorded"] = "DECIDE: do these mean that nothing was recorded?"
    if terms.on_empty == "say":
        table["on-empty"] = terms.on_empty
        notes["on-empty"] = 'DECIDE: or "drop-row", which leaves the record out'
    elif found.empty:
        notes["name"] = "DECIDE: a record whose cell is empty is left out"
    return _table("[data.columns]", table, notes)


def _feature(feature: FoundFeature) -> str:
    terms = feature.terms
    table: dict[str, object] = {
        "name": terms.name, "column": terms.column, "groups": list(terms.groups)
    }  # fmt: skip
    notes: dict[str, str] = {}
    if terms.edges:
        table["edges"] = list(terms.edges)
        notes["edges"] = "DECIDE: these cut this file's records in about three"
    if terms.merge:
        table["merge"] = list(terms.merge)
        notes["merge"] = f"DECIDE: other spellings, and values of fewer than {SMALL} records"
    if feature.small:
        notes["groups"] = f"DECIDE: fewer than {SMALL} records: {', '.join(feature.small)}"
    return _table("[data.sensitive]", table, notes)


def _table(name: str, values: Mapping[str, object], notes: Mapping[str, str] | None = None) -> str:
    said = {key: f" # {note}" for key, note in (notes or {}).items()}
    lines = [f"{key} = {toml_value(value)}{said.get(key, '')}" for key, value in values.items()]
    return "\n".join((f"[{name}]", *lines, ""))
