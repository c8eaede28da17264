"""The probability of one label of a text, by a classifier in a folder: each text alone.

Read as float32 safetensors with the folder's own tokenizer; no code of the folder is run, nothing
is downloaded, and no text shares a pass with another (docs/adr/0016).
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from fedethics.charter.classifier_terms import ClassifierTerms
from fedethics.errors import ModelError
from fedethics.scorers.folder import labels_of
from fedethics.training.loading import Quiet, one_line

_PROBE = "word " * 10_000


class TextClassifier:
    """Scores a generated answer by the probability of the charter's label."""

    def __init__(self, folder: Path, terms: ClassifierTerms) -> None:
        """Load a folder whose hash was checked, and try it on a short and a long text.

        Raises:
            ModelError: it cannot be read, or gives no number.
        """
        self.worst = 1.0 if terms.unwanted else 0.0
        self._label = labels_of(folder).index(terms.label)
        try:
            with Quiet():
                self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
                self._model: Any = AutoModelForSequenceClassification.from_pretrained(
                    folder,
                    local_files_only=True,
                    trust_remote_code=False,
                    use_safetensors=True,
                    dtype=torch.float32,
                ).eval()
            config = self._model.config
            self._apart = config.problem_type == "multi_label_classification"
            longest = min(
                terms.max_tokens,
                self._tokenizer.model_max_length,
                getattr(config, "max_position_embeddings", None) or terms.max_tokens,
            )
            self._longest = int(longest)
            tried = [self.score(text, reference="") for text in ("", "a", _PROBE)]
        except Exception as error:  # whatever the libraries raise of a folder
            raise ModelError(f"scorer {terms.name}: {folder} is not used: {one_line(error)}") from (
                error
            )
        if not all(map(math.isfinite, tried)):
            raise ModelError(f"scorer {terms.name}: {folder} gives no number for a plain text")

    @torch.no_grad()
    def score(self, answer: str, *, reference: str) -> float:
        """Return the label's probability; the record's own answer does not matter."""
        del reference
        read = self._tokenizer(
            answer, truncation=True, max_length=self._longest, return_tensors="pt"
        )
        if not read["input_ids"].shape[1]:
            read = {"input_ids": torch.tensor([[self._tokenizer.pad_token_id or 0]])}
        logits = self._model(**read).logits[0].double()
        if self._apart or len(logits) == 1:
            return float(logits[self._label].sigmoid())
        return float(logits.softmax(dim=0)[self._label])


@lru_cache(maxsize=4)
def classifier_of(folder: Path, terms: ClassifierTerms) -> TextClassifier:
    """Return this process's classifier; it holds no state between texts."""
    return TextClassifier(folder, terms)
