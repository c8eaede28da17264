"""How a release's model is used, as Python lines for a model card; a test runs them.

And a text in the form that a charter's records have, made up from the charter alone.
"""

from __future__ import annotations

from fedethics.charter.data_terms import Column, DataTerms
from fedethics.charter.model import Charter
from fedethics.data.records import Value
from fedethics.data.rendering import row_text, text_columns
from fedethics.learning_tasks import find_task

_FREE_TEXT = "A text that you want to have an answer for."

_MERGED = """\
import torch
from transformers import AutoTokenizer, {loader}

FOLDER = "."  # this folder
tokenizer = AutoTokenizer.from_pretrained(FOLDER)
model = {loader}.from_pretrained(FOLDER).eval()

"""
_BESIDE = """\
import torch
from peft import PeftModel
from transformers import AutoTokenizer, {loader}

BASE = "..."  # folder of {base!r}, with the SHA-256 above
FOLDER = "."  # this folder
tokenizer = AutoTokenizer.from_pretrained(BASE)
base = {loader}.from_pretrained(BASE, {settings})
model = PeftModel.from_pretrained(base, FOLDER).eval()

"""


def of_merged(charter: Charter) -> str:
    """Return the lines for a folder that `fedethics release export` wrote."""
    task = find_task(charter.model.task)
    return _fenced(_MERGED.format(loader=task.auto_class) + _asking(charter))


def of_adapter(charter: Charter) -> str:
    """Return the lines for the adapter's folder, used together with the base model."""
    task = find_task(charter.model.task)
    settings = 'dtype="float32"'
    if task.trains_head:
        names = dict(enumerate(task.classes(charter.data.labels)))
        settings += f",\n    num_labels={len(names)}, id2label={names!r},\n"
    loading = _BESIDE.format(loader=task.auto_class, base=charter.model.name, settings=settings)
    if (scheme := charter.model.quantisation) != "none":
        note = (
            f"# The base must be in {scheme}, as in training; from_pretrained alone does not do it."
        )
        loading = f"{note}\n{loading}"
    return _fenced(loading + _asking(charter))


def _fenced(code: str) -> str:
    """Return the same Python, in which no string of the charter ends a page's block of code."""
    # Such marks stand in strings only, where Python reads the escape as the character.
    return code.replace("<!--", r"\x3c!--").replace("```", r"\x60\x60\x60")


def _asking(charter: Charter) -> str:
    example = f"example = {example_text(charter.data)!r}\n"
    task = find_task(charter.model.task)
    return example + task.usage(charter.model, charter.data.labels)


def example_text(terms: DataTerms) -> str:
    """Return what a model of this charter could be asked; it is no person's.

    Each column has its first category, or the middle of its range.
    """
    columns = text_columns(terms)
    if terms.content is not None or not columns:
        return _FREE_TEXT
    return row_text({column.name: _some_value(column) for column in columns}, columns)


def _some_value(column: Column) -> Value:
    if column.kind == "category":
        return next(iter(column.choices))
    if column.kind == "text":
        return _FREE_TEXT
    middle = (column.minimum + column.maximum) / 2
    return float(round(middle)) if column.maximum - column.minimum >= 2 else middle
