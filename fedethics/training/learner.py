"""The model of one charter as a vector: what is trained, hashed, scored and saved.

Everything trainable is one float32 vector: parameters sorted by name, each in row-major order.
The names and shapes are part of `basis_hash`.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from peft import get_peft_model_state_dict
from safetensors.torch import save
from torch import Tensor, nn

from fedethics import canonical
from fedethics.charter.model import Charter
from fedethics.data.content import Content
from fedethics.data.records import Targets
from fedethics.errors import ModelError
from fedethics.learning_tasks import find_task
from fedethics.policy.model import Compute
from fedethics.training.activations import (
    ALONE,
    Activations,
    Batch,
    Shape,
    across,
    over,
    rows_at_once,
    shape_for,
    states_on_disk,
)
from fedethics.training.loading import Loaded, config_digest, load_base
from fedethics.training.locate import locate_model
from fedethics.training.network import Network
from fedethics.training.reader import (
    AnsweringReader,
    ComparingReader,
    Prompt,
    Reader,
    TokenReader,
)
from fedethics.training.records_apart import is_apart, is_same
from fedethics.training.saved_adapter import (
    basis_hash,
    configuration,
    prefix_hash,
    read_start,
)
from fedethics.training.tokenizer import TextReader, load_tokenizer, tokenizer_digest

_Result = TypeVar("_Result")
_ON_CPU = Compute()
# Copies of a model that work side by side; beyond this, threads wait for Python more than for work.
_MOST_COPIES = 8


class Learner:
    """The base model with its adapter. It keeps no result between calls; calls take turns.

    Guarantee: states, scores, losses and gradients of a record follow from that record, the
    adapter, the charter and this machine alone, bit for bit. Records are computed in batches of a
    shape that was proven on this machine, else one at a time (`shape_of`).

    Attributes:
        basis_hash: SHA-256 of all that the vector does not hold: base weights, tokenizer,
            configuration, task, frozen adapter parts, and the vector's names and shapes.
        prefix_hash: SHA-256 of all that activations depend on besides the text.
        parameters: the trainable parameters by name, in vector order; views into `flat`.
        flat: the vector as the network sees it, float32, shape (p,).
        classes: number of targets that a record can have.
        rows: rows of a batch, from public numbers; 1 computes each record alone.
        copies: this learner and others that share its parameters, one for each thread.
        replicas: the same model on the site's further devices, with parameters of their own that
            `over` sets to these.
        lock: held while `flat` belongs to one caller.
        cached: whether activations are those of a frozen prefix, computed once.
        compute: where and how it runs, by the site's own choice.
    """

    def __init__(
        self,
        charter: Charter,
        *,
        model_dir: Path | None = None,
        start_dir: Path | None = None,
        compute: Compute = _ON_CPU,
        place: str = "",
    ) -> None:
        """Load the model that `charter` names.

        Args:
            charter: the model, the adapter and the task.
            model_dir: folder of the base model; None for one that comes with a package.
            start_dir: folder of the release that `charter.adapter.from` names; None where there is
                none, or where nothing is trained.
            compute: where and how it runs.
            place: the one device of a replica; by default, `compute` says all.

        Raises:
            ModelError: missing, another hash, not a supported kind, the adapter does not fit, the
                release is not the agreed one, there is no such device, or devices are of several
                models.
            TrainingError: the model cannot be trained record by record.
        """
        _prepare_device(compute)
        base = locate_model(charter.model, model_dir=model_dir)
        task, label = find_task(charter.model.task), charter.data.labels
        self.classes = len(task.classes(label))
        loaded = load_base(base, task, classes=self.classes, max_tokens=charter.model.max_tokens)
        tokenizer = load_tokenizer(base, loaded.model)
        tokens, config = tokenizer_digest(base, tokenizer), config_digest(base, loaded.model.config)
        digests = {"tokenizer": tokens, "config": config}
        self._charter = charter
        self._network = _network(
            charter, loaded, tokenizer.pad_token_id, compute, place=place or compute.places[0]
        )
        self.compute = compute
        self._start: NDArray[np.float32] | None = None
        self._reader: Reader = task.reader(self._network, tokenizer, charter.model, label)
        self.model = self._network.model
        self.cached = self._network.prefix is not None
        self.parameters = _trainable(self.model)
        self.flat = _flatten(self.parameters)
        self._initial = self.flat.cpu().numpy().copy()
        digests |= _further_digests(self._network, self._reader)
        self.prefix_hash = prefix_hash(charter, digests, self._network.first_layer)
        self.basis_hash = basis_hash(self.prefix_hash, self.model, self.parameters)
        self.lock = threading.RLock()
        if charter.adapter.from_ and start_dir is not None:
            self._start = read_start(self, charter, start_dir)
        self.rows = _rows_of_a_batch(charter, compute, self._network)
        self._proven: dict[Shape, bool] = {}
        # What shapes are proven on: nothing that is done to this learner's own layers is on it.
        self._pristine = self._copy(shared=False)
        others = () if place else compute.places[1:]
        self.replicas = tuple(
            Learner(charter, model_dir=model_dir, compute=compute, place=one) for one in others
        )
        self.copies = (self, *(self._copy(shared=True) for _ in range(_more_copies(compute))))

    @property
    def network(self) -> Network:
        """The network, for what no task asks: put a vector into it with `load` first."""
        return self._network

    @property
    def tokenizer(self) -> TextReader:
        """The model's tokenizer."""
        reader: TextReader = self._reader.tokenizer
        return reader

    @property
    def max_tokens(self) -> int:
        """Tokens to which a longer text is cut, by the charter."""
        return self._charter.model.max_tokens

    @property
    def longest(self) -> int:
        """Tokens of the longest entry that the charter allows."""
        return self._reader.longest

    @property
    def visits(self) -> float:
        """How often a training record is expected to be sampled, by the charter."""
        return self._charter.visits

    @property
    def compares(self) -> bool:
        """Whether losses compare with what the start of training makes of a record."""
        return isinstance(self._reader, ComparingReader)

    @property
    def shortest(self) -> int:
        """Tokens of an empty text's entry."""
        return len(self._reader.ids([""])[0])

    @property
    def size(self) -> int:
        """Number of trainable parameters, p."""
        return self._initial.size

    def initial_vector(self) -> NDArray[np.float32]:
        """Return the vector that training starts from, shape (p,); the same on every machine.

        Raises:
            ModelError: the charter starts from a released adapter, and none was named here.
        """
        if self._charter.adapter.from_:
            start = read_start(self, self._charter, None) if self._start is None else self._start
            return start.copy()
        return self.seeded_vector()

    def seeded_vector(self) -> NDArray[np.float32]:
        """Return the vector that follows from the charter's seed alone, shape (p,)."""
        return self._initial.copy()

    def model_hash(self, vector: NDArray[np.float32]) -> str:
        """Return the SHA-256 of the whole model with this vector: what an opening binds."""
        data = bytes.fromhex(self.basis_hash) + vector.astype("<f4").tobytes()
        return canonical.sha256_hex(data)

    @property
    def states_key(self) -> str:
        """SHA-256 of all that activations depend on besides the text and `compute`."""
        if not isinstance(self._reader, ComparingReader):
            return self.prefix_hash
        return canonical.sha256_hex(
            bytes.fromhex(self.prefix_hash) + bytes.fromhex(self.model_hash(self.initial_vector()))
        )

    def shape_of(self, length: int, *, places: int = 0) -> Shape:
        """Return the shape of a record of `length` tokens, `places` of which are predicted.

        Guarantee: in it a record's numbers were shown not to depend on its company, on this
        machine, with this model, engine and precision (records_apart.py); where that failed, it is
        `ALONE`. It follows from these two numbers and the machine alone.
        """
        if self.rows == 1:
            return ALONE
        positions = self._network.positions
        shape = shape_for(length, rows=self.rows, positions=positions, places=places)
        if shape not in self._proven:
            with self.lock:
                self._proven[shape] = self._prove(shape)
        return shape if self._proven[shape] else ALONE

    def _prove(self, shape: Shape) -> bool:
        """Say whether a shape keeps records apart on each device; refuse devices that differ."""
        self._pristine.compute = self.compute
        if not is_apart(self._pristine, shape):
            return False
        for replica, place in zip(self.replicas, self.compute.places[1:], strict=False):
            tried = replica._pristine
            tried.compute = self.compute
            if not (is_apart(tried, shape) and is_same(self._pristine, tried, shape)):
                raise ModelError(
                    f"devices {self.compute.places[0]} and {place} do not compute the same bits of "
                    f"{shape.rows} records of {shape.length} tokens, so a record's numbers would "
                    "follow from which of them computes it; nothing was computed of any record. "
                    "Name devices of one model in compute.devices in policy.toml, or one device"
                )
        return True

    def prove(self, activations: Activations) -> set[Shape]:
        """Prove the shapes of these records, so that nothing of it is left for later."""
        sizes = enumerate(zip(map(len, activations.hidden), activations.places, strict=True))
        return {
            ALONE
            if activations.alone or activations.in_views(row)
            else self.shape_of(length, places=places)
            for row, (length, places) in sizes
        }

    @contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """Compute each record by itself while the block lasts."""
        rows, self.rows = self.rows, 1
        try:
            yield
        finally:
            self.rows = rows

    def batches(self, activations: Activations, rows: NDArray[np.intp]) -> Iterator[Batch]:
        """Yield `rows` of `activations` in batches whose records do not depend on each other."""
        return activations.batches(rows, self.shape_of)

    def over(
        self, batches: Iterable[Batch], compute: Callable[[Learner, Batch], _Result]
    ) -> Iterator[tuple[Batch, _Result]]:
        """Yield each batch with what `compute` makes of it on this learner or on a copy of it.

        Hold `lock`. The number of copies and devices changes no result.
        """
        if self.replicas:
            return self._across(batches, compute)
        copies = self.copies[: max(1, torch.get_num_threads())]
        return over(copies, batches, compute)

    def _across(
        self, batches: Iterable[Batch], compute: Callable[[Learner, Batch], _Result]
    ) -> Iterator[tuple[Batch, _Result]]:
        """Yield the same from all devices, with this learner's vector on each."""
        for replica in self.replicas:
            with torch.no_grad():
                replica.flat.copy_(self.flat)

        def there(one: Learner, batch: Batch) -> _Result:
            return compute(one, batch if one is self else batch.to(one.network.device))

        yield from across((self, *self.replicas), batches, there)

    def tokens(self, texts: Sequence[Content], *, derived: bool = False) -> Activations:
        """Return the token ids of each text: what every step reads where nothing is cached.

        Not what the start makes of each: where losses compare with it, take `activations`.

        Args:
            texts: one a record.
            derived: whether they were made from records, with words swapped for example.
        """
        device = self._network.device
        if isinstance(self._reader, TokenReader):
            entries = self._reader.entries(texts, derived=derived)
            ids, wanted = [one.ids for one in entries], [one.wanted for one in entries]
        else:
            ids, wanted = self._reader.ids(texts), []
        return Activations(
            tuple(torch.tensor(each, device=device) for each in ids),
            tuple(torch.tensor(each, device=device) for each in wanted),
            alone=derived,
        )

    def activations(self, texts: Sequence[Content], *, records: int | None = None) -> Activations:
        """Return what the frozen layers make of each text, float32, longer texts cut.

        In memory or on disk, as `compute` says. Token ids, where the model is not cut or the
        states of `records` texts of the greatest length would take more than `compute.cache_gib`.

        Args:
            texts: one a record.
            records: a public number of records that decides whether states are kept; the number
                of texts where nothing leaves that rests on them.

        Raises:
            TrainingError: there is no room on the disk.
        """
        return self._with_all(self.tokens(texts), records)

    def derived(self, texts: Sequence[Content], *, records: int) -> Activations:
        """Return the same of texts that were made from records: words left out or swapped.

        Guarantee: no text is an error, and none needs a shape that was not proven for the records:
        either would say that some record holds such a word. One that cannot be put into tokens
        counts as one that does not fit, and each is computed by itself.

        Args:
            texts: one a record.
            records: as for `activations`.

        Raises:
            TrainingError: there is no room on the disk.
            TemplateOverrun: all texts together run over the limit of the chat template's time.
        """
        return self._with_all(self.tokens(texts, derived=True), records)

    def _with_all(self, entries: Activations, records: int | None) -> Activations:
        """Return `entries` of token ids with what is computed of each once."""
        width = int(self.model.config.hidden_size)
        most = 4 * width * self._reader.longest * (len(entries) if records is None else records)
        if self.cached and most <= self.compute.cache_gib * 2**30:
            entries = self._with_states(entries, width)
        if isinstance(self._reader, ComparingReader):
            return self._with_reference(entries)
        return entries

    def _with_states(self, entries: Activations, width: int) -> Activations:
        """Return the frozen layers' states of `entries` of token ids, kept as `compute` says."""
        if self.compute.cache == "memory":
            places = [torch.empty(0)] * len(entries)
        else:
            lengths = [len(entry) for entry in entries.hidden]
            places = list(states_on_disk(lengths, width, Path(self.compute.cache_dir)))
        with self.lock:
            rows = np.arange(len(entries))
            for batch, states in self.over(self.batches(entries, rows), _states):
                for row, state in zip(batch.rows, states, strict=True):
                    if self.compute.cache == "memory":
                        places[row] = state.to(self._network.device)
                    else:
                        places[row].copy_(state)
        return dataclasses.replace(entries, hidden=tuple(places))

    def _with_reference(self, entries: Activations) -> Activations:
        """Return `entries` with what the start of training makes of each; computed this once."""
        found: list[Tensor] = [torch.empty(0)] * len(entries)
        with self.lock:
            self.load(self.initial_vector())
            batches = self.batches(entries, np.arange(len(entries)))
            for batch, compared in self.over(batches, _reference):
                for row, one in zip(batch.rows, compared, strict=True):
                    found[row] = one
        return dataclasses.replace(entries, reference=tuple(found))

    def scores(self, vector: NDArray[np.float32], activations: Activations) -> NDArray[np.float64]:
        """Return what the charter's task measures of each record, float64.

        Shape (n,), such as the probability of the positive label, or (n, columns).
        """
        rows = np.arange(len(activations))
        result: NDArray[np.float64] | None = None
        with self.lock:
            self.load(vector)
            for batch, scores in self.over(self.batches(activations, rows), _scores):
                if result is None:
                    result = np.empty((len(rows), *scores.shape[1:]), dtype=np.float64)
                result[batch.rows] = scores.numpy()
        return np.empty(0, dtype=np.float64) if result is None else result

    def prompts(self, texts: Sequence[Content]) -> list[Prompt]:
        """Return what of each record the model can be asked to continue, and its own answer.

        Raises:
            ModelError: the task's records have no prompt.
        """
        if not isinstance(self._reader, AnsweringReader):
            raise ModelError(f"task {self._charter.model.task!r} has no prompt to answer")
        return self._reader.prompts(texts)

    def answer(self, prompt: Prompt, *, most: int) -> str:
        """Return the likeliest answer of at most so many tokens, up to a control token.

        Hold `lock`. Computed alone; an empty text where the prompt did not fit.
        """
        if not prompt.ids:
            return ""
        tokenizer = self._reader.tokenizer
        ids = self._network.greedy(torch.tensor(prompt.ids), most=most, ends=tokenizer.controls)
        return str(tokenizer.decode(ids))

    def reference(self, batch: Batch) -> Tensor:
        """Return what the network now makes of each entry, for later comparison, shape (b, w).

        Raises:
            ModelError: the task compares with nothing.
        """
        if not isinstance(self._reader, ComparingReader):
            raise ModelError(f"task {self._charter.model.task!r} compares with no start")
        return self._reader.reference(batch)

    def outputs(self, batch: Batch) -> Tensor:
        """Return what scores are computed from, of each entry, float32, shape (b, w)."""
        return self._reader.outputs(batch)

    def scores_of(self, outputs: Tensor) -> Tensor:
        """Return the scores that follow from `outputs`, float64, shape (b,) or (b, columns)."""
        return self._reader.scores(outputs)

    def losses(self, batch: Batch, labels: Targets) -> Tensor:
        """Return the loss of each entry of `batch`, float32, shape (b,): of that entry alone.

        Args:
            batch: at least one record.
            labels: targets of all records, of which `batch.rows` are used.
        """
        return self._reader.losses(batch, batch.targets(labels).to(self._network.device))

    def states(self, batch: Batch) -> list[Tensor]:
        """Return the frozen prefix's states of each entry of token ids, one tensor an entry."""
        if len(batch.hidden) == 1 and batch.wanted and len(parts := batch.views()) > 1:
            whole = [state for part in parts for state in self.states(part)]
            return [torch.cat(whole)]
        views = [self._reader.views(entry) for entry in batch.hidden]
        found: list[list[Tensor]] = [[] for _ in views]
        for view in range(len(views[0])):
            ids = [several[view] for several in views]
            below = self._network.below(self._network.pad(ids, length=batch.length))
            for states, one, own in zip(found, below, ids, strict=True):
                # A copy, so that the padded batch is freed.
                states.append(one[: len(own)].clone())
        return [self._reader.join(states) for states in found]

    @contextmanager
    def plainly(self, *, checkpointing: bool = False) -> Iterator[None]:
        """Compute in float32 inside, and as `checkpointing` says, whatever the policy chose."""
        network = self._network
        chosen = network.bfloat16, network.checkpointing
        network.bfloat16, network.checkpointing = False, checkpointing
        replicas, self.replicas = self.replicas, ()
        # Copies keep the site's precision, and so do proofs: inside, each record by itself, here.
        copies, self.copies = self.copies, (self,)
        try:
            with self.one_at_a_time():
                yield
        finally:
            self.copies, self.replicas = copies, replicas
            network.bfloat16, network.checkpointing = chosen

    def load(self, vector: NDArray[np.float32]) -> None:
        """Put `vector` into the network. Hold `lock` for as long as it must stay there.

        Raises:
            ModelError: the vector has another length.
        """
        if vector.shape != (self.size,):
            raise ModelError(f"adapter vector of shape {vector.shape}, expected ({self.size},)")
        with torch.no_grad():
            self.flat.copy_(torch.from_numpy(np.ascontiguousarray(vector)))

    def save_adapter(self, vector: NDArray[np.float32], directory: Path) -> None:
        """Write the adapter in peft's own format.

        It loads with `PeftModel.from_pretrained` on the base model with as many labels as the task
        has classes. Equal vectors give equal bytes; the base model is named by the charter, not by
        a path of this machine.
        """
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "adapter_model.safetensors").write_bytes(self.adapter_bytes(vector))
        text = configuration(
            self.model.peft_config["default"], self.parameters, base=self._charter.model.name
        )
        (directory / "adapter_config.json").write_text(text, encoding="utf-8")

    def adapter_bytes(self, vector: NDArray[np.float32]) -> bytes:
        """Return the adapter_model.safetensors of `vector`; equal vectors give equal bytes."""
        with self.lock:
            self.load(vector)
            tensors = get_peft_model_state_dict(self.model, save_embedding_layers=False)
            copies = {name: value.detach().cpu().clone() for name, value in tensors.items()}
        return save(copies, metadata={"format": "pt"})

    def _copy(self, *, shared: bool) -> Learner:
        """Return a learner on the same weights, for another thread or, not shared, for proofs.

        Args:
            shared: whether the trained parameters are these, or a vector of their own.
        """
        flat = self.flat if shared else self.flat.clone()
        parts: list[Any] = [self.model, self._network.prefix]
        kept: list[Any] = [self._charter, self.compute, self.lock, self._initial, self._start]
        kept += [self._reader.tokenizer, *(b for m in parts if m for b in m.buffers())]
        memo: dict[int, Any] = {id(one): one for one in kept} | {id(self.flat): flat}
        # Parameters of its own on the same memory: engines write each record's gradients to them.
        for parameter in (p for m in parts if m for p in m.parameters()):
            memo[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=False)
        memo |= {
            id(parameter): nn.Parameter(place)
            for parameter, place in zip(
                self.parameters.values(), _views(flat, self.parameters), strict=True
            )
        }
        twin = copy.copy(self)
        twin.__dict__ = {
            name: copy.deepcopy(value, memo)
            for name, value in self.__dict__.items()
            if name not in {"copies", "replicas", "_pristine", "_proven"}
        }
        twin.copies, twin.replicas, twin._proven = (twin,), (), {}
        return twin


def _prepare_device(compute: Compute) -> None:
    """Let a GPU add in the same order each time, where its libraries can be asked to.

    Atomic additions come in any order, so that a record's last bits would follow from chance.

    Raises:
        ModelError: there is no such device, or those named are of several models.
    """
    if compute.device == "cpu":
        return
    if not torch.cuda.is_available():
        raise ModelError(
            f"device {compute.device!r} was asked for, but PyTorch sees no CUDA device here; "
            'set compute.device = "cpu" in policy.toml or mend the driver'
        )
    if absent := [
        one for one in compute.devices or () if _number(one) >= torch.cuda.device_count()
    ]:
        raise ModelError(
            f"compute.devices names {', '.join(absent)}, but PyTorch sees "
            f"{torch.cuda.device_count()} CUDA devices here, counted from cuda:0; nothing was "
            "loaded. Correct policy.toml"
        )
    models = {one: torch.cuda.get_device_name(_number(one)) for one in compute.devices or ()}
    if len(set(models.values())) > 1:
        listed = ", ".join(f"{one} is {name}" for one, name in models.items())
        raise ModelError(
            f"compute.devices: {listed}. A record's last bits would follow from which of them "
            "computes it; nothing was loaded. Name devices of one model"
        )
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)


def _number(device: str) -> int:
    return int(device.partition(":")[2] or 0)


def _network(
    charter: Charter, loaded: Loaded, pad_id: int, compute: Compute, *, place: str
) -> Network:
    """Return the network of `loaded` with the charter's adapter on a device."""
    network = Network(
        loaded,
        charter.adapter,
        pad_id=pad_id,
        device=place,
        quantisation=charter.model.quantisation,
    )
    network.bfloat16 = compute.dtype == "bfloat16"
    network.checkpointing = compute.checkpointing
    return network


def _rows_of_a_batch(charter: Charter, compute: Compute, network: Network) -> int:
    if compute.batches == "alone" or network.mixes_experts:
        return 1
    return rows_at_once(charter.training.physical_batch, device=compute.device)


def _further_digests(network: Network, reader: Reader) -> dict[str, str]:
    """Return what models of some kinds only depend on."""
    found = {"quantised": network.quantised} if network.quantised else {}
    if isinstance(reader, TokenReader):
        found["rendering"] = reader.rendering
    return found


def _more_copies(compute: Compute) -> int:
    """Return how many further copies of a learner work in parallel."""
    if compute.device == "cuda" or compute.devices:
        return 0
    return min(torch.get_num_threads(), _MOST_COPIES) - 1


def _states(learner: Learner, batch: Batch) -> list[Tensor]:
    return learner.states(batch)[: len(batch.rows)]


def _reference(learner: Learner, batch: Batch) -> Tensor:
    with torch.no_grad():
        return learner.reference(batch)[: len(batch.rows)].cpu()


def _scores(learner: Learner, batch: Batch) -> Tensor:
    with torch.no_grad():
        scores = learner.scores_of(learner.outputs(batch))
    return scores[: len(batch.rows)].cpu()


def _trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return {name: named[name] for name in sorted(named)}


def _flatten(parameters: dict[str, nn.Parameter]) -> Tensor:
    """Return one vector of all parameters, and make each parameter a view into it."""
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in parameters.values()])
    for parameter, place in zip(parameters.values(), _views(flat, parameters), strict=True):
        parameter.data = place
    return flat


def _views(flat: Tensor, parameters: dict[str, nn.Parameter]) -> list[Tensor]:
    """Return the part of the vector that each parameter is, in its shape."""
    parts = torch.split(flat, [parameter.numel() for parameter in parameters.values()])
    return [
        part.view(parameter.shape)
        for part, parameter in zip(parts, parameters.values(), strict=True)
    ]
