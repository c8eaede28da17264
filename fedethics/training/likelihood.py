"""Log-probabilities of continuations by a decoder, before and after its adapter.

For public texts: nothing here is a record's. Sequences of one length are computed together, so
that there is no padding; logits are taken only at the places whose next token is asked.

A continuation's tokens are those of the whole text behind the tokens of its prompt, as in
lm-evaluation-harness. Where the prompt is empty, the model's beginning-of-text token is read first
(else its end-of-text token), as there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedethics import __version__
from fedethics.benchmarks.benchmark import Item
from fedethics.benchmarks.results import Version
from fedethics.benchmarks.running import Scored
from fedethics.canonical import sha256_hex
from fedethics.charter.model import Charter
from fedethics.errors import ModelError
from fedethics.learning_tasks import find_task
from fedethics.training.learner import Learner
from fedethics.training.loading import load_base
from fedethics.training.locate import ADAPTER_FILE, any_model, weights_sha256
from fedethics.training.network import DECODERS, Network
from fedethics.training.quantised import keep_stored
from fedethics.training.saved_adapter import read_adapter
from fedethics.training.tokenizer import TextReader, load_tokenizer

# Logits of a batch: so many places times the vocabulary, in float32.
_PLACES = 512
_ROWS = 32
_TASK = "causal-lm"
# Relative difference of logits that the order of additions alone can make.
_ROUNDING = 1e-3

# Token ids of one length, shape (b, n), and the first place whose next token is asked -> logits of
# the places from there on, float32, shape (b, places, vocabulary), by model.
Logits = Callable[[Tensor, int], list[Tensor]]


class _Sequence(NamedTuple):
    """A text of an item's choice: what is read, and what its last tokens are held to.

    Attributes:
        place: of item and choice.
        ids: all tokens, those asked included.
        asked: how many of the last are asked.
    """

    place: tuple[int, int]
    ids: tuple[int, ...]
    asked: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageModel:
    """A decoder to ask; see `fedethics.benchmarks.running.Model`.

    Attributes:
        logits: of the base, then of the base with the adapter where there is one.
        positions: most tokens that the model reads.
        prefix_id: the token before a text that follows nothing.
    """

    name: str
    base_sha256: str
    quantisation: str
    adapter_sha256: str | None
    charter_sha256: str | None
    prefix: str
    versions: tuple[Version, ...]
    logits: Logits
    tokenizer: TextReader
    positions: int
    prefix_id: int

    def score(self, items: Sequence[Item]) -> list[Scored]:
        """Return the log-probabilities of each item's choices, in nats.

        Raises:
            ModelError: an item is longer than the model reads, or a logit is not finite.
        """
        sequences = [
            self._sequence((number, choice), item.prompt, text)
            for number, item in enumerate(items)
            for choice, text in enumerate(item.choices)
        ]
        sums: dict[tuple[int, int], list[float]] = {}
        with torch.inference_mode():
            for batch in _batches(sequences):
                sums |= self._sums(batch)
        asked = {each.place: each.asked for each in sequences}
        return [
            Scored(
                tokens=tuple(asked[number, choice] for choice in range(len(item.choices))),
                sums=tuple(zip(*(sums[number, c] for c in range(len(item.choices))), strict=True)),
            )
            for number, item in enumerate(items)
        ]

    def _sequence(self, place: tuple[int, int], prompt: str, text: str) -> _Sequence:
        whole: list[int] = self.tokenizer(prompt + text, add_special_tokens=False)["input_ids"]
        before: list[int] = [self.prefix_id]
        if prompt:
            before = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        else:
            whole = [*before, *whole]
        if len(whole) <= len(before):
            raise ModelError(f"no token of this model stands for {text!r} after its prompt")
        if len(whole) > self.positions:
            raise ModelError(
                f"an item has {len(whole)} tokens, and the model reads {self.positions}; take a "
                "benchmark with shorter texts"
            )
        return _Sequence(place, tuple(whole), len(whole) - len(before))

    def _sums(self, batch: Sequence[_Sequence]) -> dict[tuple[int, int], list[float]]:
        # Choices that differ in their last token alone are one text to read.
        read = list(dict.fromkeys(each.ids[:-1] for each in batch))
        rows = {ids: row for row, ids in enumerate(read)}
        length = len(read[0])
        first = length - max(each.asked for each in batch)
        found: dict[tuple[int, int], list[float]] = {each.place: [] for each in batch}
        for logits in self.logits(torch.tensor(read), first):
            chances = logits.log_softmax(dim=-1)
            for each in batch:
                tokens = torch.tensor(each.ids[-each.asked :], device=chances.device)
                places = torch.arange(length - each.asked - first, length - first)
                picked = chances[rows[each.ids[:-1]], places.to(chances.device), tokens]
                total = float(picked.double().sum())
                if not total <= 0:
                    raise ModelError("the model's logits are not finite; fetch the model again")
                found[each.place].append(total)
        return found


def of_charter(
    charter: Charter, charter_sha256: str, *, adapter: Path | None, model_dir: Path | None
) -> LanguageModel:
    """Return the charter's base model with the adapter in a folder.

    Args:
        charter: names the model and the adapter's form.
        charter_sha256: of its bytes.
        adapter: folder of the adapter; None for the base alone.
        model_dir: folder of the base model; None for one that comes with a package.

    Raises:
        ModelError: not a decoder, not the agreed base, or not an adapter of this charter.
    """
    if find_task(charter.model.task).architecture != "causal-lm":
        raise ModelError(
            f"model.task {charter.model.task!r} trains a classifier, which gives no probability of "
            "a text; benchmarks need a decoder that predicts the next token"
        )
    learner = Learner(charter, model_dir=model_dir)
    vectors = [learner.seeded_vector()]
    if adapter is not None:
        vectors.append(read_adapter(learner, adapter))
    network, tokenizer = learner.network, learner.tokenizer
    prefix = _prefix_id(network.model.config, charter.model.name)

    def logits(ids: Tensor, first: int) -> list[Tensor]:
        return _of_vectors(learner, network, vectors, ids, first)

    _require_causal(logits, charter.model.name, prefix)
    return LanguageModel(
        name=charter.model.name,
        base_sha256=charter.model.sha256,
        quantisation=charter.model.quantisation,
        adapter_sha256=None if adapter is None else _file_sha256(adapter / ADAPTER_FILE),
        charter_sha256=charter_sha256,
        prefix=tokenizer.decode([prefix]),
        versions=_versions(),
        logits=logits,
        tokenizer=tokenizer,
        positions=network.positions,
        prefix_id=prefix,
    )


def of_folder(where: str) -> LanguageModel:
    """Return a base model alone: a folder, a .gguf file, or the name of an embedded one.

    Raises:
        ModelError: nothing is there, or it is not a decoder.
    """
    base = any_model(where)
    digest = weights_sha256(base)
    loaded = load_base(base, find_task(_TASK), classes=1, max_tokens=2)
    model = loaded.model
    keep_stored(model)
    tokenizer = load_tokenizer(base, model)
    prefix = _prefix_id(model.config, where)

    def logits(ids: Tensor, first: int) -> list[Tensor]:
        return [_of_model(model, ids, first)]

    _require_causal(logits, where, prefix)
    positions = getattr(model.config, "max_position_embeddings", None) or 1 << 30
    return LanguageModel(
        name=base.gguf_file or Path(where).name,
        base_sha256=digest,
        quantisation="none",
        adapter_sha256=None,
        charter_sha256=None,
        prefix=tokenizer.decode([prefix]),
        versions=_versions(),
        logits=logits,
        tokenizer=tokenizer,
        positions=positions,
        prefix_id=prefix,
    )


def _of_vectors(
    learner: Learner,
    network: Network,
    vectors: Sequence[NDArray[np.float32]],
    ids: Tensor,
    first: int,
) -> list[Tensor]:
    """Compute what is frozen once, and the layers with an adapter once for each vector."""
    count, length = ids.shape
    batch = network.pad(list(ids))
    if network.prefix is not None:
        batch = network.pad(list(network.below(batch)))
    rows = torch.arange(count).repeat_interleave(length - first).to(network.device)
    places = torch.arange(first, length).repeat(count).to(network.device)
    found: list[Tensor] = []
    with learner.lock:
        for vector in vectors:
            learner.load(vector)
            found.append(network.token_logits(batch, rows, places).view(count, length - first, -1))
    return found


def _of_model(model: Any, ids: Tensor, first: int) -> Tensor:  # noqa: ANN401
    if model.config.model_type in DECODERS:
        states = model.base_model(input_ids=ids).last_hidden_state[:, first:]
        logits: Tensor = model.get_output_embeddings()(states)
    else:
        logits = model(input_ids=ids).logits[:, first:]
    return logits.float()


def _batches(sequences: Sequence[_Sequence]) -> Iterator[list[_Sequence]]:
    """Yield sequences of one length, and within it of like numbers of asked tokens."""
    batch: list[_Sequence] = []
    for each in sorted(sequences, key=lambda one: (len(one.ids), one.asked, one.place)):
        full = len(batch) >= _ROWS or each.asked * (len(batch) + 1) > _PLACES
        if batch and (full or len(each.ids) != len(batch[0].ids)):
            yield batch
            batch = []
        batch.append(each)
    if batch:
        yield batch


def _require_causal(logits: Logits, name: str, token: int) -> None:
    """Refuse a model whose first prediction depends on what comes after."""
    other = token - 1 if token else 1
    with torch.inference_mode():
        (found, *_) = logits(torch.tensor([[token, token], [token, other]]), 0)
    one, changed = found[0, 0], found[1, 0]
    if float((one - changed).abs().max()) > _ROUNDING * float(one.abs().max()):
        raise ModelError(
            f"{name} reads what comes after a token (an encoder); benchmarks need a decoder, which "
            "predicts the next token"
        )


def _prefix_id(config: Any, name: str) -> int:  # noqa: ANN401
    for key in ("bos_token_id", "eos_token_id"):
        value = getattr(config, key, None)
        value = value[0] if isinstance(value, list) and value else value
        if type(value) is int:
            return value
    raise ModelError(
        f"{name}: the configuration names no token that begins or ends a text, so the probability "
        "of a whole sentence is not defined"
    )


def _file_sha256(path: Path) -> str:
    return sha256_hex(path.read_bytes())


def _versions() -> tuple[Version, ...]:
    others = tuple(Version(name=name, version=version(name)) for name in ("torch", "transformers"))
    return (Version(name="fedethics", version=__version__), *others)
