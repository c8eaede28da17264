"""What two charters differ in: key, old, new, and what that means for people where it is known.

What a changed term means for people and for privacy, in one sentence.

Only what follows from the term itself is said; where nothing does, the answer is empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from fedethics import terms, texts
from fedethics.canonical import Json
from fedethics.charter.model import Charter

Context = Mapping[str, Json]
_Meaning = Callable[[Json, Json, Context], str]


def meaning(key: str, old: Json, new: Json, context: Context) -> str:
    """Return the meaning of a change of `key`, or "".

    Args:
        key: full key, as `differences` spells it.
        old: the value before; None where the term was absent.
        new: the value after; None where the term is absent.
        context: the table that the term stands in, in the newer charter.
    """
    for pattern, say in _MEANINGS:
        if re.fullmatch(pattern, key):
            return say(old, new, context)
    return ""


def _grows(more: str, less: str) -> _Meaning:
    def say(old: Json, new: Json, _context: Context) -> str:
        if isinstance(old, int | float) and isinstance(new, int | float):
            return more if new > old else less
        return ""

    return say


def _fixed(sentence: str) -> _Meaning:
    return lambda _old, _new, _context: sentence


def _item(added: str, removed: str) -> _Meaning:
    def say(old: Json, new: Json, _context: Context) -> str:
        return added if old is None else removed if new is None else ""

    return say


def _epsilon(whose: str) -> _Meaning:
    def say(old: Json, new: Json, _context: Context) -> str:
        if not (isinstance(old, float) and isinstance(new, float)):
            return ""
        from fedethics.privacy.accounting import attack_bound  # here: it loads the accountant

        # Delta is left out: it is a term of its own.
        first, second = (_share(attack_bound(epsilon, 0.0, 0.01)) for epsilon in (old, new))
        change = "less" if new > old else "more"
        return (
            f"{whose} are protected {change}: an attacker who accepts 1 false accusation in 100 "
            f"finds at most {second} of those who took part, before {first}."
        )

    return say


def _share(value: float) -> str:
    return "nearly all" if value > 0.995 else f"{100 * value:.3g} %"


def _bar(old: Json, new: Json, context: Context) -> str:
    if not (isinstance(old, float) and isinstance(new, float)):
        return ""
    easier = (new > old) == (context.get("direction") == "at-most")
    if easier:
        return (
            "Easier to meet: a model that did not pass before may now pass, and people may be "
            "harmed by it."
        )
    return "Harder to meet: the release must satisfy more."


def _mitigation(old: Json, new: Json, _context: Context) -> str:
    before, after = _items(old), _items(new)
    if "thresholds" in after - before:
        return "A person's group may now be used for a decision about that person."
    if "thresholds" in before - after:
        return "A person's group may no longer be used for a decision."
    return ""


def _shorter(what: str) -> _Meaning:
    def say(old: Json, new: Json, _context: Context) -> str:
        gone, more = _items(old) - _items(new), _items(new) - _items(old)
        parts = (
            f"No longer {what}: {'; '.join(sorted(gone))}." if gone else "",
            f"Newly {what}: {'; '.join(sorted(more))}." if more else "",
        )
        return " ".join(filter(None, parts))

    return say


def _items(value: Json) -> set[str]:
    return {str(item) for item in value} if isinstance(value, list) else set()


_SAME_EPSILON = (
    "The guarantee is still that of its epsilon; the noise is computed again, and so is the model."
)
_OTHER_ATTACK = "How precise the attack is; its cost is part of the same epsilons."
_OTHER_SHARE = "How precisely agreement is measured; its cost is part of the same epsilons."
_OTHER_CENSUS = "What the census counts and how precisely; its cost is part of the same epsilons."
_OTHER_NORMS = (
    "How precisely gradient norms are counted, and when; its cost is a part of training's."
)
_EVALUATED_ANEW = (
    "The guarantee is still that of its epsilon; the noise on all held-out figures is computed "
    "again."
)
_OTHER_SPLIT = (
    "The same people are split into trained and held out differently; sites refuse that, because "
    "it would give these people a second budget."
)
_MEANINGS: tuple[tuple[str, _Meaning], ...] = (
    (r"privacy\.training\.epsilon", _epsilon("Records that are trained on")),
    (r"privacy\.evaluation\.epsilon", _epsilon("Held-out records")),
    (
        r"privacy\.audit\.attack",
        _fixed("Whether the finished adapter is attacked before its release."),
    ),
    (r"privacy\.audit\.(epsilon|bins)", _fixed(_OTHER_ATTACK)),
    (
        r"documentation(\..*)?",
        _fixed("Changes what the technical documentation says, and nothing that is computed."),
    ),
    (r"annotation", _item("The agreement of annotators is counted.", "It is no longer counted.")),
    (r"annotation\.guideline(-sha256)?", _fixed("Annotators followed another guideline.")),
    (
        r"annotation\.bar",
        _grows("More annotators must agree on labels.", "Fewer annotators may agree on labels."),
    ),
    (
        r"annotation\.group-bar",
        _grows(
            "More annotators must agree in each group.", "Fewer annotators may agree in a group."
        ),
    ),
    (r"annotation\.by", _fixed("Agreement is counted by the groups of another feature.")),
    (r"annotation\.epsilon", _fixed(_OTHER_SHARE)),
    (r"census", _item("A census is taken before training.", "No census is taken any more.")),
    (
        r"census\.minimum",
        _grows("More records of each group are needed.", "Fewer records of a group are enough."),
    ),
    (
        r"census\.largest-difference",
        _grows(
            "Groups may differ more from the reference population.",
            "Groups may differ less from the reference population.",
        ),
    ),
    (r"census\.epsilon", _fixed(_OTHER_CENSUS)),
    (r"census\.(by|labels|missing|lengths|sites-from|vocabulary.*)", _fixed(_OTHER_CENSUS)),
    (r"census\.reference(\[.*\])?(\..*)?", _fixed("The data are compared with other people.")),
    (r"census\.stop", _fixed("Whether a missed bar of the census ends the run before training.")),
    (r"norms", _item("Gradient norms are counted once.", "They are not counted any more.")),
    (r"norms\.(epsilon|round)", _fixed(_OTHER_NORMS)),
    (r"measures", _item("Texts are measured further.", "They are not measured further any more.")),
    (r"measures\.objectives\[.*\]\.bar", _bar),
    (
        r"measures\.objectives\[.*\]",
        _item("The release is held to this too.", "The release is no longer held to this."),
    ),
    (
        r"monitoring",
        _item(
            "A release is watched on new records; nothing is trained.",
            "No release is watched any more; a model is trained.",
        ),
    ),
    (r"monitoring\.epsilon", _fixed("What all windows together may cost one unit.")),
    (r"monitoring\.bars\..*", _fixed("Another drift is called an alarm.")),
    (
        r"monitoring\.(time|first-day|days|windows|wait-days)",
        _fixed("Other records are read, or at other times."),
    ),
    (r"monitoring\.release", _fixed("Another release is watched.")),
    (
        r"paired",
        _item("The model is compared with its start.", "It is no longer compared with its start."),
    ),
    (r"paired\.objectives\[.*\]\.bar", _bar),
    (
        r"paired\.objectives\[.*\]",
        _item("The release is held to this too.", "The release is no longer held to this."),
    ),
    (r"paired\.(feature|epsilon)", _fixed(_EVALUATED_ANEW)),
    (r"measures\.names", _shorter("measured of a held-out text")),
    (
        r"measures\.counterfactuals(\[.*\])?",
        _item("Words are swapped in held-out texts.", "These words are no longer swapped."),
    ),
    (
        r"measures\.counterfactuals\[.*\]\..*",
        _fixed("Other words are swapped, or something else is compared then."),
    ),
    (r"measures\.vocabulary(\..*)?", _fixed("Other words, or with other noise, are summed.")),
    (r"measures\.(feature|largest-loss|spread-ratio|epsilon)", _fixed(_EVALUATED_ANEW)),
    (
        r"privacy\.delta",
        _grows(
            "Protection may fail outright with a higher probability.",
            "Protection may fail outright with a lower probability.",
        ),
    ),
    (r"privacy\.(training|evaluation)\.mechanism", _fixed("Whether there is noise at all.")),
    (
        r"privacy\.(training|evaluation)\.trust-mode",
        _fixed(
            "Who must be honest for the guarantee to hold: the site alone, or the other sites too."
        ),
    ),
    (
        r"privacy\.evaluation\.threshold",
        _grows("Fewer people are flagged.", "More people are flagged."),
    ),
    (r"privacy\.evaluation\.(tables|bins|histogram-by|.*-ratio)", _fixed(_EVALUATED_ANEW)),
    (r"privacy\.training\.(clipping-norm|sampling-rate)", _fixed(_SAME_EPSILON)),
    (r"training\.(rounds|local-steps)", _fixed(_SAME_EPSILON)),
    (
        r"secagg\.minimum-cohort",
        _grows(
            "A sum hides each site among more sites.", "A sum hides each site among fewer sites."
        ),
    ),
    (
        r"secagg\.colluders",
        _grows("Holds against more dishonest sites.", "Holds against fewer dishonest sites."),
    ),
    (r"ethics\.objectives\[.*\]\.bar", _bar),
    (
        r"ethics\.objectives\[.*\]\.confidence",
        _grows("A pass needs more certainty.", "A pass needs less certainty."),
    ),
    (
        r"ethics\.objectives\[.*\]",
        _item(
            "The release must satisfy this too. The gate looks at one more bar, so it needs a "
            "clearer miss of any single one to fail.",
            "The release need not satisfy this any more.",
        ),
    ),
    (r"ethics\.benchmarks", _fixed("Other bars on what the model says.")),
    (
        r"ethics\.stakeholders\[.*\]",
        _item("Must sign the charter too.", "Need not sign the charter any more."),
    ),
    (r"ethics\.stakeholders\[.*\]\.public-key", _fixed("Another key signs under this name.")),
    (r"ethics\.not-measured", _shorter("deliberately not measured")),
    (r"ethics\.allowed-mitigation", _mitigation),
    (r"ethics\.explanation\.columns", _shorter("tested for influence on the score")),
    (r"ethics\.explanation\.swap", _shorter("tested for influence of its word")),
    (r"ethics\.explanation\.(by|largest-change|.*-ratio)", _fixed(_EVALUATED_ANEW)),
    (r"ethics\.reference-population", _fixed("The figures describe other people.")),
    (
        r"data\.sensitive\[.*\]",
        _item("Gaps between these groups are measured.", "These groups are no longer measured."),
    ),
    (r"data\.sensitive\[.*\]\.groups", _shorter("a group")),
    (
        r"data\.columns\[.*\]",
        _item("The model may read this of a person.", "The model no longer reads this."),
    ),
    (r"data\.(holdout-fraction|split-salt)", _fixed(_OTHER_SPLIT)),
    (r"data\.label(\..*)?", _fixed("Something else is predicted about a person.")),
    (
        r"data\.rules(\[.*\])?(\..*)?",
        _fixed("Other records are refused or left out as impossible."),
    ),
    (r"data\.content(\..*)?", _fixed("The model reads another text about a person.")),
    (r"model\.sha256", _fixed("Another base model.")),
    (r"roster\[.*\]", _item("This site's people take part.", "This site's people leave.")),
    (r"roster\[.*\]\.public-key", _fixed("Another key signs for this site.")),
    (r"roster\[.*\]\.declared-records", _fixed("The site's weight in the model changes.")),
    (r"coordinator-key", _fixed("Another coordinator.")),
)


ABSENT = "absent"
# Lists whose items have a name: matched by it, so that a moved item is no change.
_NAMED_BY: dict[str, tuple[str, ...]] = {
    "ethics.objectives": ("metric", "feature"),
    "measures.objectives": ("metric",),
    "measures.counterfactuals": ("name",),
    "paired.objectives": ("metric",),
    "census.reference": ("feature",),
    "ethics.stakeholders": ("role", "name"),
    "data.columns": ("name",),
    "data.sensitive": ("name",),
    "data.rules": ("name",),
    "roster": ("site",),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One difference.

    Attributes:
        key: full key; items of a list by name, as "roster[hungary].declared-records".
        meaning: one sentence on what it means for people or privacy; empty where nothing is known.
    """

    key: str
    old: str
    new: str
    meaning: str


def differences(before: Charter, after: Charter) -> tuple[Change, ...]:
    """Return every difference, in the order of the charter's tables; empty for equal charters."""
    old, new = terms.document(before), terms.document(after)
    return tuple(
        Change(key=key, old=_shown(was), new=_shown(now), meaning=meaning(key, was, now, context))
        for key, was, now, context in _walk("", old, new, {})
    )


Step = tuple[str, Json, Json, Mapping[str, Json]]


def _walk(key: str, old: Json, new: Json, context: Mapping[str, Json]) -> Iterator[Step]:
    """Yield what differs below `key`; `context` is the table that an item stands in."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys((*old, *new)):
            where = f"{key}.{name}" if key else name
            yield from _walk(where, old.get(name), new.get(name), new)
    elif key in _NAMED_BY and isinstance(old, list) and isinstance(new, list):
        first, second = _by_name(key, old), _by_name(key, new)
        for name in dict.fromkeys((*first, *second)):
            yield from _walk(f"{key}[{name}]", first.get(name), second.get(name), {})
    else:
        yield key, old, new, context


def _by_name(key: str, items: list[Json]) -> dict[str, Json]:
    tables = cast("list[dict[str, Json]]", items)
    return {
        " by ".join(str(item[part]) for part in _NAMED_BY[key] if item.get(part)): item
        for item in tables
    }


def _shown(value: Json) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return "; ".join(_shown(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items() if item != "")
    return texts.in_line(str(value))
