"""Where the settings of the training come from, and what each trial of a search gave and cost."""

from __future__ import annotations

from dataclasses import dataclass

from fedethics.charter.phases import agreed_of
from fedethics.errors import FedethicsError
from fedethics.privacy import search
from fedethics.release import searched
from fedethics.release.folder import Folder
from fedethics.release.sections.block import NO_ESTIMATE, Table, number

_WORDS = {
    "fixed": "By the charter, nobody tried other settings on these records.",
    "public": "By the charter, the settings were chosen on public records: {source}.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Where the settings come from.

    Attributes:
        words: in a sentence or two.
        trials: of a search: each candidate, its figure and its epsilon; None without one.
    """

    words: str
    trials: Table | None = None


def build(opened: Folder) -> Settings | None:
    """Return the part; None where the charter does not say where the settings come from."""
    tuning = opened.charter.tuning
    if tuning is None:
        return None
    if not tuning.paid:
        return Settings(words=_WORDS[tuning.settings_from].format(source=tuning.source))
    if not tuning.is_final:
        return Settings(words="This run is a trial of a search for settings, and no release.")
    try:
        trials = searched.tried(opened.charter, opened.evidence.trials or ())
        _, whole = search.costs(agreed_of(opened.charter))
    except FedethicsError as error:
        return Settings(words=f"The trials of the search cannot be shown: {error}.")
    return Settings(
        words=f"The settings were chosen by {len(trials)} trials on the sites' own records, by the "
        f"best {tuning.select}. Trials and this run together were planned to cost a trained unit "
        f"at most epsilon {whole[0]:.3f}, and a held-out one {whole[1]:.3f}; the epsilons of this "
        "run alone are below that.",
        trials=Table(
            head=("Candidate", "Settings", str(tuning.select), "95 % interval", "Epsilon, alone"),
            rows=tuple(
                (
                    f"{one.number}{', chosen' if one.number == tuning.number else ''}",
                    one.said,
                    NO_ESTIMATE if one.value != one.value else number(one.value),
                    f"{number(one.low)} to {number(one.high)}",
                    f"{one.charter.privacy.training.epsilon:g} trained, "
                    f"{one.charter.privacy.evaluation.epsilon:g} held out",
                )
                for one in trials
            ),
        ),
    )
