"""The draft of a charter as a commented TOML file; `# DECIDE` marks what a person must decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields

from fedethics.charter.amended import toml_value
from fedethics.charter.data_terms import ContentTerms, LabelColumn
from fedethics.drafting.columns import FoundColumn
from fedethics.drafting.groups import SMALL, FoundFeature
from fedethics.drafting.proposal import EPSILON, HOLDOUT, Proposal
from fedethics.terms import kebab

_HEAD = """\
# A draft that `fedethics new` wrote from records. It runs in a simulation as it is.
# Ranges, values and groups below were read from those records, as a start only. Before
# real sites sign, set them from what you know of each column, and decide each "# DECIDE".
# No site or person can sign while a text still begins with "DECIDE: "; see: fedethics charter check
"""
_UNLABELLED = "DECIDE: a record without a label is left out; without this line it is an error"
_WITHOUT_GROUPS = (
    "DECIDE: this file has no column that tells groups of people apart; why is that no harm? Or "
    "add such a column and name it in [[data.sensitive]]"
)
_EVALUATION = """\
tables = "nested" # counts for each feature; scores in 8 bins by group, and finer over everyone
counts-ratio = 1.0
histogram-ratio = 1.5
histogram-by = {histogram_by}
progress-ratio = 4.0
progress-every = 1
bins = {bins}
threshold = 0.5
"""
_AUDIT = """\
[privacy.audit]
attack = "loss"
epsilon = 0.5 # a part of both epsilons above
bins = 10
"""
_SECAGG = """\
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
    return "\n".join(
        (
            _HEAD + _decided(proposal), *_ethics(proposal), *_data(proposal),
            *_training(proposal, max_tokens), *_privacy(proposal),
            *_annotation(proposal), _SECAGG,
        )
    )  # fmt: skip


def _decided(proposal: Proposal) -> str:
    lines = [f"# DECIDE: {one.said}" for one in proposal.wish.decided]
    return "\n".join(["", "# What the file did not say by itself:", *lines, ""]) if lines else ""


def _training(proposal: Proposal, max_tokens: int) -> Iterator[str]:
    wish, task = proposal.wish, proposal.wish.task
    template = {"chat-template": wish.chat_template} if wish.chat_template else {}
    yield _table(
        "model",
        {"name": wish.model.name, "sha256": wish.model.sha256, "max-tokens": max_tokens,
         **task.more, **template},
        {"max-tokens": "longer texts are cut" if "beta" not in task.more else
         "a pair with a longer answer is not learnt from"},
    )  # fmt: skip
    yield _table(
        "adapter",
        {"rank": task.rank, "alpha": task.alpha, "targets": list(wish.model.targets),
         "layers": list(wish.model.layers), "form": "ffa", "seed": 7},
        {"layers": "the last: what those below make of a text is computed once"},
    )  # fmt: skip
    batch = {} if task.physical_batch is None else {"physical-batch": task.physical_batch}
    yield _table(
        "training",
        {"rounds": task.rounds, "local-steps": task.local_steps, "optimizer": "sgd",
         "learning-rate": task.learning_rate, **batch},
    )  # fmt: skip


def _annotation(proposal: Proposal) -> Iterator[str]:
    if not proposal.annotated:
        return
    yield _table(
        "annotation",
        {"annotators": list(proposal.wish.annotators), "labels": list(proposal.annotated),
         "guideline": "DECIDE: what were annotators told? Or guideline-sha256, its hash",
         "bar": 0.667, "epsilon": 0.25},
        {"labels": "from this file; DECIDE: all possible labels",
         "bar": "DECIDE: the lowest agreement (Krippendorff's alpha) that can pass",
         "epsilon": "a part of both epsilons above"},
    )  # fmt: skip


def _privacy(proposal: Proposal) -> Iterator[str]:
    task, person = proposal.wish.task, proposal.wish.person
    yield (
        "# DECIDE: what one unit may cost, in training and in evaluation (`fedethics budget plan` "
        "says in\n# words what an epsilon means).\n"
    )
    yield _table(
        "privacy",
        {"unit": "person" if person else "record", "neighbouring": "add-or-remove-one",
         "delta": proposal.delta},
        {"unit": f"DECIDE: the persons are those of {person}" if person else
         'DECIDE: "person" where one person can have several records',
         "delta": "below one over the units of every site"},
    )  # fmt: skip
    yield _table(
        "privacy.training",
        {"mechanism": "dp-sgd", "trust-mode": task.trust_mode, "epsilon": EPSILON,
         "clipping-norm": task.clipping_norm, "sampling-rate": proposal.sampling_rate},
    )  # fmt: skip
    fixed = _EVALUATION.format(
        histogram_by=toml_value([one.terms.name for one in proposal.features[:1]]),
        bins=_MANY_BINS if proposal.records * HOLDOUT >= _MANY_HELD_OUT else _FEW_BINS,
    )
    shown = {"mechanism": "skellam", "trust-mode": "distributed", "epsilon": EPSILON}
    yield _table("privacy.evaluation", shown) + fixed
    if task.audited:
        yield _AUDIT


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
            **({} if proposal.features else {"without-groups": _WITHOUT_GROUPS}),
        },
    )
    yield "# DECIDE: each bar, before the first run; these are starting points, not law.\n"
    for metric, feature, bar, at_least, why in wish.task.bars(proposal):
        named = {"feature": feature} if feature else {}
        yield _table(
            "[ethics.objectives]",
            {"metric": metric, **named, "bar": bar,
             "direction": "at-least" if at_least else "at-most", "why": f"DECIDE: {why}"},
        )  # fmt: skip


def _data(proposal: Proposal) -> Iterator[str]:
    wish = proposal.wish
    how = "a simulated partition by hash"
    if wish.sites or proposal.dealt:
        how = f"by the column {wish.sites}" if wish.sites else "each with records of its own"
    yield _table(
        "data",
        {
            "source": f"DECIDE: origin, years and licence; {len(proposal.rows)} sites, {how}",
            "holdout-fraction": HOLDOUT,
            "split-salt": f"{wish.name}/1",
            **_person(proposal),
        },
        {"max-rows-per-person": "DECIDE: further rows are left out; noise on counts grows with it"},
    )
    if proposal.label is not None:
        yield _label(proposal, proposal.label)
    if proposal.content is not None:
        yield _content(proposal.content)
    sensitive = {feature.terms.column for feature in proposal.features}
    for found in proposal.columns:
        yield _column(found, sensitive=found.terms.name in sensitive)
    for feature in proposal.features:
        yield _feature(feature)


def _person(proposal: Proposal) -> dict[str, object]:
    if not proposal.wish.person:
        return {}
    return {"person": proposal.wish.person, "max-rows-per-person": proposal.most_rows}


def _content(content: ContentTerms) -> str:
    given = {kebab(field.name): getattr(content, field.name) for field in fields(ContentTerms)
             if getattr(content, field.name) != field.default}  # fmt: skip
    notes = {
        "form": "as this file's fields say",
        "max-characters": "DECIDE: a longer record is an error",
        "max-turns": "DECIDE: of one conversation",
    }
    return _table("data.content", given, notes)


def _label(proposal: Proposal, label: LabelColumn) -> str:
    empty: dict[str, object] = {"on-empty": "drop-row"} if proposal.unlabelled else {}
    if label.classes is None:
        return _table(
            "data.label",
            {"column": label.column, "positive": list(label.positive),
             "negative": list(label.negative), "positive-name": label.positive_name,
             "negative-name": label.negative_name, **empty},
            {"positive": "DECIDE: which value is the yes", "on-empty": _UNLABELLED},
        )  # fmt: skip
    return _table(
        "data.label", {"column": label.column, "classes": list(label.classes), **empty},
        {"classes": "DECIDE: the classes, and their names as `name=value`",
         "on-empty": _UNLABELLED},
    )  # fmt: skip


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
