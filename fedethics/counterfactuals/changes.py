"""The changes that are measured: whether the decision flips, and by how much the loss moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from fedethics.counterfactuals.change import Scored, WordChange
from fedethics.learning_tasks.task import Bounded

if TYPE_CHECKING:
    from fedethics.fairness.measured import FloatArray


class Flips(WordChange):
    """1 where another decision is taken, or another answer chosen."""

    name: ClassVar[str] = "flips"
    meaning: ClassVar[str] = "share of decisions that change when the words of {words} are swapped"
    decides: ClassVar[bool] = True

    def bounded(self, words: str, *, largest_loss: float) -> Bounded:
        """Return a share without a spread: every number is 0 or 1."""
        del largest_loss
        return Bounded(meaning=self.meaning.format(words=words), binary=True, apart=True)

    def of(self, scored: Scored) -> FloatArray:
        """Compare both decisions."""
        chosen = scored.measured.chosen
        before = chosen(scored.before, threshold=scored.threshold)
        after = chosen(scored.after, threshold=scored.threshold)
        flipped: FloatArray = (before != after).astype("float64")
        return flipped


class LossChange(WordChange):
    """How far the record's own loss moves, either way; both losses are cut first.

    The loss is minus the logarithm of how sure the model is of the record's target: its label, its
    tokens (geometric mean), its chosen answer.
    """

    name: ClassVar[str] = "loss_change"
    meaning: ClassVar[str] = "change of the loss, up or down, when the words of {words} are swapped"

    def bounded(self, words: str, *, largest_loss: float) -> Bounded:
        """Return nats from 0 to the cut."""
        meaning = self.meaning.format(words=words)
        return Bounded(meaning=meaning, high=largest_loss, unit="nats", apart=True)

    def of(self, scored: Scored) -> FloatArray:
        """Compare both losses; a record that the model cannot read as it is has no change."""
        import numpy as np  # here: charters are read without it

        def sure(scores: FloatArray) -> FloatArray:
            return scored.measured.sureness(scored.targets.astype(np.int64), scores)

        with np.errstate(divide="ignore"):
            before, after = (
                np.minimum(-np.log(sure(scores)), scored.largest_loss)
                for scores in (scored.before, scored.after)
            )
        change = np.abs(after - before) / scored.largest_loss
        return np.where(sure(scored.before) > 0, change, np.nan)
