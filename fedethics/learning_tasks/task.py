"""What every task answers, without torch: an officer's commands read charters with it.

What needs torch is the task's reader, in a module of the task's folder that `reader` loads.

What tasks have in common whose target is a class: how it is read, and what is measured.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    from fedethics.fairness.measured import Measured


# The form of a record that its columns' phrases tell.
COLUMNS = "columns"
# How Hugging Face builds the model: with a head over classes, or with its output vocabulary.
Architecture = Literal["sequence-classification", "causal-lm"]
# What peft calls the same in an adapter's configuration.
PEFT_TYPES: Mapping[Architecture, str] = {
    "sequence-classification": "SEQ_CLS",
    "causal-lm": "CAUSAL_LM",
}
# The class of transformers that loads it.
_AUTO_CLASSES: Mapping[Architecture, str] = {
    "sequence-classification": "AutoModelForSequenceClassification",
    "causal-lm": "AutoModelForCausalLM",
}
_PIPELINES: Mapping[Architecture, str] = {
    "sequence-classification": "text-classification",
    "causal-lm": "text-generation",
}


# Keys of the charter's model that only some tasks read; absent by default.
TASK_KEYS = ("chat_template", "truncation", "beta")


class Words(Protocol):
    """What a charter says of the model's input: `charter.model`."""

    @property
    def prompt(self) -> str:
        """What the model reads around a text; may be empty."""

    @property
    def answer(self) -> str:
        """What it is to answer; may be empty."""

    @property
    def loss(self) -> str | None:
        """Which of the task's losses is learnt; None for its first, or its only one."""

    @property
    def max_tokens(self) -> int:
        """Tokens that are read of a record."""

    @property
    def chat_template(self) -> str | None:
        """The template of conversations; None for the tokenizer's own."""

    @property
    def truncation(self) -> str | None:
        """What is cut of a record with more tokens; None leaves it out."""

    @property
    def beta(self) -> float | None:
        """How strongly a preference is held to its start."""


class Labels(Protocol):
    """What a charter says of the label: `charter.data.label`."""

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Entries of several classes; None where the label is yes or no."""

    @property
    def names(self) -> tuple[str, ...]:
        """What each class is called, in the order of their numbers; no before yes."""

    @property
    def by_cell(self) -> Mapping[str, int]:
        """Number of the class that each cell means."""

    @property
    def answer_with(self) -> str | None:
        """What the answers are: "options" for a record's own; None for the classes' names."""

    @property
    def incomparable(self) -> tuple[tuple[str, str], ...]:
        """Feature and class, where some group of the feature cannot have the class."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """A metric that a task brings with it.

    Attributes:
        meaning: plain words, to follow "the".
        binned: whether it is a mean over the histograms; else a share of the decisions.
        high: its greatest possible value.
    """

    meaning: str
    binned: bool = False
    high: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounded:
    """A number between two bounds that a task measures of a held-out record.

    Attributes:
        meaning: plain words, to follow "the mean".
        low, high: its least and greatest possible value.
        unit: of its values; empty for shares.
        cut: whether the charter says where it is cut: `high` is then that, and `low` minus that
            where the number can be negative.
        binary: whether it is 0 or 1, so that nothing is told of its spread.
        apart: whether some records have no such number; they are counted apart from the mean.
    """

    meaning: str
    low: float = 0.0
    high: float = 1.0
    unit: str = ""
    cut: bool = False
    binary: bool = False
    apart: bool = False

    def cut_at(self, largest: float) -> Bounded:
        """Return it with the charter's cut."""
        if not self.cut:
            return self
        return replace(self, low=self.low and -largest, high=largest)


class LearningTask(ABC):
    """One kind of thing that a model can learn. It holds no state.

    Attributes:
        name: as a charter writes it, in `model.task`.
        architecture: how the base model is built; with a head, the head is trained whole.
        rates: metrics that no other task has, by name.
        forms: in which forms it reads a record: `COLUMNS`, or those of `data.content.form`.
        labelled: whether a record has a label that is learnt.
        losses: what `model.loss` may name; empty where the task has one loss.
        values: numbers between bounds that a charter's `measures` can ask for, by name.
        answers: whether its records have a prompt, for which the model can write an answer.
        explained: whether it answers something that words of a record can move.
        keys: which of `TASK_KEYS` it reads; a charter that gives it another one is refused.
    """

    name: ClassVar[str]
    architecture: ClassVar[Architecture]
    rates: ClassVar[Mapping[str, Rate]] = {}
    forms: ClassVar[tuple[str, ...]] = (COLUMNS,)
    labelled: ClassVar[bool] = True
    losses: ClassVar[tuple[str, ...]] = ()
    values: ClassVar[Mapping[str, Bounded]] = {}
    answers: ClassVar[bool] = False
    explained: ClassVar[bool] = True
    keys: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def problems(self, words: Words) -> list[str]:
        """Return what is wrong with a charter's words for this task, one sentence each."""

    def label_problems(self, _labels: Labels) -> list[str]:
        """Return what is wrong with a charter's label for this task, one sentence each."""
        return []

    @abstractmethod
    def classes(self, labels: Labels) -> tuple[str, ...]:
        """Return the name of each target, in the order of their numbers; one, where all are 0."""

    @abstractmethod
    def target(self, cell: str, labels: Labels) -> int | None:
        """Return the number of the target that a cell of the label column means; None for none."""

    @abstractmethod
    def cells(self, labels: Labels) -> tuple[str, ...]:
        """Return the cells that mean a target, for messages."""

    @abstractmethod
    def measured(self, labels: Labels) -> Measured:
        """Return what is counted of a held-out record."""

    @abstractmethod
    def reader(
        self,
        network: Any,  # noqa: ANN401  torch
        tokenizer: Any,  # noqa: ANN401  transformers
        words: Words,
        labels: Labels,
    ) -> Any:  # noqa: ANN401
        """Return what encodes records and computes their loss: a `training.reader.Reader`.

        Args:
            network: the `fedethics.training.network.Network` that it reads with.
            tokenizer: of the same model.
            words: the charter's model.
            labels: the charter's label.

        Raises:
            ModelError: the words do not fit this model's tokens.
        """

    @abstractmethod
    def usage(self, words: Words, labels: Labels) -> str:
        """Return Python lines that use a fine-tuned model, for a model card and its test.

        They read `torch`, `model`, `tokenizer` and `example`, and print what the model answers.
        `example` is a text in the form that the charter's records have.
        """

    @property
    def trains_head(self) -> bool:
        """Whether a head over classes is trained whole, beside the adapter's factors."""
        return self.architecture == "sequence-classification"

    @property
    def peft_type(self) -> str:
        """What peft calls it in adapter_config.json."""
        return PEFT_TYPES[self.architecture]

    @property
    def auto_class(self) -> str:
        """The class of transformers that loads the model, by its name."""
        return _AUTO_CLASSES[self.architecture]

    @property
    def pipeline(self) -> str:
        """What Hugging Face calls it on a model's page."""
        return _PIPELINES[self.architecture]


class Labelled(LearningTask, ABC):
    """A task whose target is the class that the charter's label says: yes or no, or one of K."""

    rates: ClassVar[Mapping[str, Rate]] = {
        "mean_true_score": Rate(meaning="mean score of the true class", binned=True),
        "precision_macro": Rate(meaning="mean over the classes of the precision"),
        "f1_macro": Rate(meaning="mean over the classes of the F1 score"),
    }

    def classes(self, labels: Labels) -> tuple[str, ...]:
        """Return the names in the charter's order; of a yes or no, the negative one first."""
        return labels.names

    def target(self, cell: str, labels: Labels) -> int | None:
        """Return the number of the class that a cell means: 1 for yes, 0 for no."""
        return labels.by_cell.get(cell)

    def cells(self, labels: Labels) -> tuple[str, ...]:
        """Return the cells that mean each class, in their order."""
        return tuple(labels.by_cell)

    def measured(self, labels: Labels) -> Measured:
        """Return the table of class and decision, and scores."""
        from fedethics.fairness.classes import Classes  # here: charters are read without scipy
        from fedethics.fairness.measured import TWO_CLASSES

        return TWO_CLASSES if labels.classes is None else Classes(labels.names, labels.incomparable)


class Unlabelled(LearningTask, ABC):
    """A task whose records have no label: what is learnt is in what they say."""

    labelled: ClassVar[bool] = False

    def classes(self, _labels: Labels) -> tuple[str, ...]:
        """Return one name, the task's own: all targets are 0."""
        return (self.name,)

    def target(self, _cell: str, _labels: Labels) -> int | None:
        """Return None: no cell means a target."""
        return None

    def cells(self, _labels: Labels) -> tuple[str, ...]:
        """Return nothing."""
        return ()


def rendering_problems(task: str, words: Words) -> Iterator[str]:
    """Yield what is wrong with how a prompt and a completion are put into words.

    Either both plain templates, each with its one mark, or none of them and a chat template.
    """
    plain = words.prompt or words.answer
    for name, text, mark in (
        ("prompt", words.prompt, "{prompt}"), ("answer", words.answer, "{completion}")
    ):  # fmt: skip
        if plain and text.count(mark) != 1:
            yield (
                f"{name}: task {task} needs exactly one {mark} in it, or neither prompt nor answer "
                "where a chat template renders the record"
            )
    if plain and words.chat_template is not None:
        yield "chat-template: prompt and answer say already how a record is rendered"


def answering_usage(words: Words, *, asked: str = "prompt") -> str:
    """Return the lines of `LearningTask.usage` that let a model answer a prompt.

    Args:
        words: the charter's model: with a prompt, its words; else a chat template renders.
        asked: the mark in the charter's prompt.
    """
    if words.prompt:
        mark = "{" + asked + "}"
        read = (
            f"asked = {words.prompt!r}.replace({mark!r}, example)\n"
            'inputs = tokenizer(asked, add_special_tokens=False, return_tensors="pt")\n'
        )
    else:
        read = (
            'messages = [{"role": "user", "content": example}]\n'
            "inputs = tokenizer.apply_chat_template(\n"
            '    messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"\n'
            ")\n"
        )
    return (
        f"{read}with torch.no_grad():\n"
        "    ids = model.generate(**inputs, max_new_tokens=64, do_sample=False)\n"
        'answer = ids[0, inputs["input_ids"].shape[1] :]\n'
        "print(tokenizer.decode(answer, skip_special_tokens=True))\n"
    )
