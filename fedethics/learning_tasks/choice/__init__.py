"""Tasks "choice" and "causal-lm": a language model is asked, and trained to give the right answer.

The answers are the charter's: `model.answer` with the name of each class. Options that each record
brings with it (multiple choice) are told in its text, and the answers are their names, such as "A";
or, with `data.label.answer-with` = "options", the answers are the options' own words.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, ClassVar

from fedethics.learning_tasks.task import Architecture, Labelled, Labels, Words


class Choice(Labelled):
    """A prompt in, one of K answers out.

    The loss of a record is the mean over the right answer's tokens, or, with `model.loss` =
    "answers", the cross-entropy of the answers' shares. Of a record's own options, the shares are
    the softmax of their mean log-probabilities a token.
    """

    name: ClassVar[str] = "choice"
    architecture: ClassVar[Architecture] = "causal-lm"
    losses: ClassVar[tuple[str, ...]] = ("answer", "answers")

    def problems(self, words: Words) -> list[str]:
        """Require a prompt with the text's place, and an answer with the label's."""
        return list(_problems(self.name, words))

    def reader(
        self,
        network: Any,  # noqa: ANN401
        tokenizer: Any,  # noqa: ANN401
        words: Words,
        labels: Labels,
    ) -> Any:  # noqa: ANN401
        """Return what asks the model and compares its answers."""
        if labels.answer_with is not None:
            module = import_module("fedethics.learning_tasks.choice.options_reader")
            count = len(self.classes(labels))
            return module.OptionsReader(network, tokenizer, words, classes=count)
        module = import_module("fedethics.learning_tasks.choice.reader")
        names, two = self.classes(labels), labels.classes is None
        return module.AnswerReader(network, tokenizer, words, names, two=two)

    def usage(self, words: Words, labels: Labels) -> str:
        """Return the lines that print each answer's share, computed as in training."""
        if labels.answer_with is not None:
            return (
                f"prompt, answer, most = {words.prompt!r}, {words.answer!r}, {words.max_tokens}\n"
                f"{_SHARES_OF_OPTIONS}"
            )
        names = list(self.classes(labels))
        return (
            f"prompt, answer = {words.prompt!r}, {words.answer!r}\n"
            f"names, most = {names!r}, {words.max_tokens}\n"
            f"{_SHARES}"
        )


# What `AnswerReader` computes, in plain transformers; a test holds the two together.
_SHARES = """\

def read(text, **how):
    return tokenizer(text, add_special_tokens=False, **how)["input_ids"]

before, _, after = prompt.partition("{text}")
answers = [read(answer.replace("{label}", name)) for name in names]
room = most - len(read(before)) - len(read(after)) - max(map(len, answers)) + 1
asked = read(before) + read(example, split_special_tokens=True)[:room] + read(after)
totals = []
for ids in answers:
    with torch.no_grad():
        logits = model(torch.tensor([asked + ids])).logits[0, len(asked) - 1 : -1]
    chances = logits.float().log_softmax(dim=1)
    totals.append(sum(float(chances[place, token]) for place, token in enumerate(ids)))
shares = torch.tensor(totals, dtype=torch.float64).softmax(dim=0)
for name, share in zip(names, shares.tolist()):
    print(name, share)
"""


# What `OptionsReader` computes, in plain transformers; a test holds the two together.
_SHARES_OF_OPTIONS = """\
options = ["an answer", "another answer"]  # the record's own, in the order of the classes

def read(text):  # the sites read a control token that a record holds as text
    return tokenizer(text, add_special_tokens=False)["input_ids"]

def with_each(asked):
    for option in options:
        start, end = read(asked), answer.replace("{label}", option)
        whole = read(asked + end)
        yield start, whole[len(start) :] if whole[: len(start)] == start else read(end)

for kept in range(len(example), -1, -1):  # a text that does not fit is cut at its end
    pairs = list(with_each(prompt.replace("{text}", example[:kept])))
    if max(len(start) + len(ids) for start, ids in pairs) <= most:
        break
means = []
for start, ids in pairs:
    with torch.no_grad():
        logits = model(torch.tensor([start + ids])).logits[0, len(start) - 1 : -1]
    chances = logits.float().log_softmax(dim=1)
    means.append(sum(float(chances[place, token]) for place, token in enumerate(ids)) / len(ids))
for option, share in zip(options, torch.tensor(means).double().softmax(dim=0).tolist()):
    print(option, share)
"""


class TwoAnswers(Choice):
    """Choice between two answers, by the name that it had before there were more."""

    name: ClassVar[str] = "causal-lm"
    losses: ClassVar[tuple[str, ...]] = ()

    def label_problems(self, labels: Labels) -> list[str]:
        """Refuse classes: that is task "choice"."""
        if labels.classes is None:
            return []
        return ['classes: task causal-lm has two answers, positive and negative; use task "choice"']


def _problems(task: str, words: Words) -> Iterator[str]:
    for name, text, mark in (
        ("prompt", words.prompt, "{text}"), ("answer", words.answer, "{label}")
    ):  # fmt: skip
        if text.count(mark) != 1:
            yield f"{name}: task {task} needs it, with exactly one {mark}"
    if words.prompt.strip() == "{text}":
        yield "prompt: holds nothing besides {text}, which may be empty"
