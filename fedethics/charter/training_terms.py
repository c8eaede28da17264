"""What is trained and how: base model, adapter, optimiser; public and the same at each site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedethics.learning_tasks import find_task, task_names
from fedethics.learning_tasks.task import TASK_KEYS
from fedethics.server_optimizers import find_server_optimizer, server_optimizer_names
from fedethics.terms import KEY, kebab, term


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelTerms:
    """The base model, named by the SHA-256 of its weights, and what it learns to do.

    Attributes:
        name: as reports print it; the embedded models are found by it.
        sha256: of model.safetensors or the .gguf file. For weights in several parts: of the lines
            that `sha256sum model-*.safetensors` prints, the part's name without its folder.
        max_tokens: longer texts are cut at their end.
        quantisation: "int8" keeps the weights of the frozen linear layers in eight bits, one scale
            a row; "nf4" in four bits of the NF4 table, a scale for 64 weights, the scales in eight
            bits (it needs the package bitsandbytes). Every site makes them from the weights of this
            hash and gets the same ones. It is another model: users of the adapter must quantise
            its base in the same way.
        task: what is learned, one of `fedethics.learning_tasks`: "classification": a head on the
            model's reading of the text; "choice": the model is asked with `prompt` and trained to
            give the right answer of K; "causal-lm": the same with two answers.
        prompt: of "choice": what the model reads before it answers, with one `{text}`. Nothing
            is added to it: marks such as <|im_start|> are written here.
        answer: of "choice": the answer, with one `{label}`, which is the name of the record's
            class. An end mark is written here too.
            Of "sft": with `prompt`, how records with a prompt and a completion are put into words,
            with one `{prompt}` there and one `{completion}` here; both empty for a chat template.
            Of "text": the text with one `{text}`, its end mark behind; empty for the text alone.
        loss: of "choice": "answer", the mean over the right answer's tokens, which is meant where
            none is named; or "answers", the cross-entropy of the answers' shares.
        chat_template: of "sft": a Jinja template of conversations; absent for the tokenizer's own.
        truncation: of records that have more than `max_tokens`: "oldest-turns" leaves out the
            first exchanges, "prompt-start" cuts the start of what the user says first, "text-end"
            the end of a text (task "text"). A completion is never cut. What still does not fit, or
            everything where this is absent, is not learnt from, and counts as not answered.
        beta: of "preference": how strongly the adapter is held to its start; the gradients, and so
            the clipping norm that fits them, grow with it.
    """

    name: str = term(nonempty=True)
    sha256: str = term(pattern=KEY)
    max_tokens: int = term(at_least=8, at_most=4096)
    quantisation: Literal["none", "int8", "nf4"] = term(default="none")
    task: str = term(default="classification", one_of=task_names)
    prompt: str = term(default="", prose=True)
    answer: str = term(default="", prose=True)
    loss: Literal["answer", "answers"] | None = term(default=None)
    chat_template: str | None = term(default=None, nonempty=True, prose=True)
    truncation: Literal["oldest-turns", "prompt-start", "text-end"] | None = term(default=None)
    beta: float | None = term(default=None, above=0, at_most=10)

    def problems(self) -> list[str]:
        """Check that the words belong to the task."""
        task = find_task(self.task)
        found = [
            f"{kebab(key)}: task {self.task} does not read it"
            for key in TASK_KEYS
            if getattr(self, key) is not None and key not in task.keys
        ]
        if self.loss is not None and self.loss not in task.losses:
            found.append(f"loss: task {self.task} has only one loss, so leave this key out")
        return found + task.problems(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterTerms:
    """LoRA settings. The adapter adds `alpha / rank * B A` to each target; a head is trained too.

    Attributes:
        form: which factors the sites train, and what the coordinator does with the sum:
            "ffa": B; A keeps its start, so that sums of updates are exact and noise enters once
            (FFA-LoRA, arXiv 2403.12313);
            "fedsvd": B; after each round the coordinator factors the product B A again, with an A
            of orthonormal rows (arXiv 2505.12805);
            "both": A and B;
            "alternating": B in odd rounds, A in even ones (RoLoRA, arXiv 2502.01755).
        seed: all starting values follow from it.
        from_: SHA-256 of the adapter_model.safetensors of a release that training starts from, on
            the same base and with the same factors; absent for a fresh start. What that release
            spent stands in its own evidence; at a site, one ledger holds both.
    """

    rank: int = term(at_least=1, at_most=256)
    alpha: float = term(at_least=1e-6, at_most=1e6)
    targets: tuple[str, ...] = term(nonempty=True)
    layers: tuple[int, ...] = term(nonempty=True, at_least=0)
    form: Literal["ffa", "fedsvd", "both", "alternating", "fed-sb"] = term()
    seed: int = term(at_least=0)
    from_: str | None = term(default=None, pattern=KEY)

    def problems(self) -> list[str]:
        """Refuse by name what is not private."""
        if self.form == "fed-sb":
            return [
                'form "fed-sb": refused; as published, A and B start from the gradients of real '
                'records, without noise and outside any epsilon. Use "fedsvd" or "ffa"'
            ]
        return [
            f"{name}: one is listed twice"
            for name, values in (("targets", self.targets), ("layers", self.layers))
            if len(set(values)) < len(values)
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerTerms:
    """A step of the coordinator that remembers earlier rounds; `server_learning_rate` scales it.

    It reads opened sums alone, so it costs no epsilon, and every site takes the same step.

    Attributes:
        optimizer: one of `fedethics.server_optimizers`: "fedavgm", momentum (arXiv 1909.06335);
            "fedadam" or "fedyogi", which divide each coordinate by its own size (arXiv 2003.00295):
            a coordinate moves by about the server's rate, which is to be well below 1.
        momentum: how much of the past the first moment keeps.
        second_moment: of fedadam and fedyogi: how much of the past the square keeps; 0.99 if
            absent.
        tau: of fedadam and fedyogi: added to the divisor; 0.001 if absent.
    """

    optimizer: str = term(one_of=server_optimizer_names)
    momentum: float = term(default=0.9, at_least=0, below=1)
    second_moment: float | None = term(default=None, at_least=0, below=1)
    tau: float | None = term(default=None, at_least=1e-9, at_most=1e3)

    def problems(self) -> list[str]:
        """Refuse a number that the optimiser would not read."""
        read = find_server_optimizer(self.optimizer).keys
        return [
            f"{kebab(key)}: optimizer {self.optimizer!r} does not read it"
            for key in ("second_moment", "tau")
            if getattr(self, key) is not None and key not in read
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingTerms:
    """How the federation learns; every number is public and the same at each site.

    Attributes:
        optimizer: of the local steps, fresh in every round: "sgd"; "adam"; "adamw", with decoupled
            `weight_decay`; "adam-bc", Adam with the noise's variance taken out of its second
            moment (DP-AdamBC, arXiv 2312.14334). Under distributed trust the coordinator takes the
            step, and only "sgd" without momentum needs no memory of earlier rounds.
        server_learning_rate: scales the mean of the sites' updates.
        physical_batch: records computed at once; bounds memory, changes no result.
        server: how the coordinator moves the adapter; absent for the plain mean.
        proximal: FedProx's mu (arXiv 1812.06127): each local step is pulled back to the adapter
            that the round began with. The pull depends on no record, so it costs no epsilon.
        sites_per_round: how many sites train in a round at least; absent for every site. The
            cohorts are drawn in public (`fedethics.charter.cohorts`), so the draw is no sampling
            that an epsilon could count.
    """

    rounds: int = term(at_least=1, at_most=10_000)
    local_steps: int = term(at_least=1, at_most=10_000)
    optimizer: Literal["sgd", "adam", "adamw", "adam-bc"] = term()
    learning_rate: float = term(at_least=1e-9, at_most=1e6)
    momentum: float = term(default=0.0, at_least=0, below=1)
    weight_decay: float = term(default=0.0, at_least=0, at_most=1e3)
    server_learning_rate: float = term(default=1.0, at_least=1e-9, at_most=1e6)
    physical_batch: int = term(default=64, at_least=1, at_most=1_000_000)
    server: ServerTerms | None = term(default=None)
    proximal: float | None = term(default=None, at_least=1e-9, at_most=1e6)
    sites_per_round: int | None = term(default=None, at_least=1, at_most=5000)

    def problems(self) -> list[str]:
        """Refuse a number that the optimiser would not read."""
        found: list[str] = []
        if self.momentum and self.optimizer != "sgd":
            found.append(f"momentum: only for sgd; optimizer {self.optimizer!r} has its own")
        if self.weight_decay and self.optimizer != "adamw":
            found.append(f"weight-decay: only for adamw, not for {self.optimizer!r}")
        if self.proximal is not None and self.local_steps == 1:
            found.append("proximal: pulls from the second local step on, and local-steps is 1")
        return found
