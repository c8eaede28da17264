"""Labels that a record's own features speak against: confident learning, at the site alone.

A small logistic regression says how probable each class is for a record that it was not fitted to.
A class's threshold is the mean probability that records with this label give it. A record whose
most probable class above its threshold is not its label is a suspect: Northcutt, Jiang and Chuang
(2021), "Confident Learning: Estimating Uncertainty in Dataset Labels", the confident joint.

A suspect is a record to look at again. Rare but true records are suspects too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedethics.charter.data_terms import Column, DataTerms
from fedethics.data.records import Records, Value
from fedethics.errors import DataError
from fedethics.quality.near_duplicates import words

Floats = NDArray[np.float64]

FOLDS = 5
BUCKETS = 1024
_LEAST_RECORDS = 20
_MOST_CELLS = 2**27  # of features: 1 GiB
_PENALTY = 1.0
_STEPS = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspect:
    """A record whose label is in doubt.

    Attributes:
        record: its place.
        given, likely: numbers of its label and of the class that speaks against it.
        margin: probability of the label minus that of the most probable other class, -1 to 1.
    """

    record: int
    given: int
    likely: int
    margin: float


def suspects(records: Records, terms: DataTerms) -> tuple[Suspect, ...]:
    """Return the records whose label is in doubt, those with the lowest margin first.

    Args:
        records: of one file.
        terms: the charter's schema, with a label.

    Raises:
        DataError: no label, too few records, one class only, or features too large for memory.
    """
    if terms.label is None or terms.label.options is not None:
        raise DataError(
            "suspected label errors need a label of classes that mean the same in every record; "
            "this charter's label is "
            + ("absent" if terms.label is None else "the place of a record's own option")
        )
    present = np.bincount(records.labels.astype(np.intp), minlength=len(terms.label.names))
    if len(records) < _LEAST_RECORDS or np.count_nonzero(present) < 2:
        raise DataError(
            f"{len(records)} records of {np.count_nonzero(present)} classes: a model that doubts "
            f"labels needs {_LEAST_RECORDS} records and two classes. No label was judged"
        )
    labels = records.labels.astype(np.int64)
    probabilities = out_of_fold(
        features(records, terms), labels, classes=len(present), folds=folds(records)
    )
    return confident_suspects(labels, probabilities)


def features(records: Records, terms: DataTerms) -> Floats:
    """Return what a record says without its label, shape (n, features).

    A category is one column for each value, a number is scaled to mean 0 and deviation 1 (and a
    column says where it is missing), a text is counts of its words in 1,024 hashed buckets, as
    their square roots, of length 1.
    """
    label = terms.labels.column
    parts: list[Floats] = []
    columns = [one for one in terms.columns if one.name != label]
    texts = terms.content is not None
    width = sum(len(one.values) if one.kind == "category" else 2 for one in columns)
    width += BUCKETS * (texts + sum(one.kind == "text" for one in columns))
    if len(records) * width > _MOST_CELLS:
        raise DataError(
            f"{len(records)} records of {width} features need more than 1 GiB. Nothing was judged; "
            "check the file in parts"
        )
    for column in columns:
        parts.append(_encoded([row.get(column.name) for row in records.values], column))
    if texts:
        parts.append(_counted([words(one) for one in records.texts]))
    return np.hstack([np.ones((len(records), 1)), *parts])


def _encoded(values: Sequence[Value], column: Column) -> Floats:
    if column.kind == "text":
        return _counted([words(str(value or "")) for value in values])
    if column.kind == "category":
        known = sorted({str(value) for value in values if value is not None})
        return np.array([[float(value == one) for one in known] for value in values])
    missing = np.array([value is None for value in values])
    numbers = np.array([0.0 if value is None else float(value) for value in values])
    there = numbers[~missing]
    middle, spread = (there.mean(), there.std()) if there.size else (0.0, 1.0)
    scaled = np.where(missing, 0.0, (numbers - middle) / (spread or 1.0))
    return np.column_stack([scaled, missing.astype(float)])


def _counted(texts: Sequence[Sequence[str]]) -> Floats:
    counts = np.zeros((len(texts), BUCKETS))
    for row, said in enumerate(texts):
        for word in said:
            digest = hashlib.blake2b(word.encode(), digest_size=4).digest()
            counts[row, int.from_bytes(digest) % BUCKETS] += 1
    roots = np.sqrt(counts)
    lengths = np.linalg.norm(roots, axis=1, keepdims=True)
    return np.asarray(roots / np.where(lengths > 0, lengths, 1.0))


def folds(records: Records) -> NDArray[np.int64]:
    """Return each record's fold, 0 to 4: the same for equal rows, and for all rows of a person."""
    names = records.persons if any(records.persons) else records.row_hashes
    return np.array(
        [int.from_bytes(hashlib.blake2b(one, digest_size=8).digest()) % FOLDS for one in names],
        dtype=np.int64,
    )


def out_of_fold(
    inputs: Floats, labels: NDArray[np.int64], *, classes: int, folds: NDArray[np.int64]
) -> Floats:
    """Return each record's class probabilities by a model fitted to the other folds.

    Args:
        inputs: shape (n, features), the first of which is 1.
        labels: shape (n,).
        classes: how many there are.
        folds: of each record, shape (n,).

    Returns:
        Shape (n, classes).
    """
    found = np.full((len(labels), classes), 1 / classes)
    for fold in np.unique(folds):
        apart = folds == fold
        if not apart.all():
            weights = fitted(inputs[~apart], labels[~apart], classes=classes)
            found[apart] = softmax(inputs[apart] @ weights)
    return found


def fitted(inputs: Floats, labels: NDArray[np.int64], *, classes: int) -> Floats:
    """Return the weights of a multinomial logistic regression, shape (features, classes).

    The sum of log losses plus half the squared weights is lowered by 300 of Nesterov's accelerated
    steps; the constant is not penalised, as in scikit-learn's LogisticRegression with C = 1.
    """
    truth = np.eye(classes)[labels]
    penalty = np.full((inputs.shape[1], 1), _PENALTY)
    penalty[0] = 0.0
    # Softmax's curvature is at most a half of the inputs' own.
    products = inputs @ inputs.T if len(inputs) < inputs.shape[1] else inputs.T @ inputs
    step = 1 / (0.5 * float(np.linalg.eigvalsh(products)[-1]) + _PENALTY)
    weights = ahead = np.zeros((inputs.shape[1], classes))
    for turn in range(_STEPS):
        slope = inputs.T @ (softmax(inputs @ ahead) - truth) + penalty * ahead
        before, weights = weights, ahead - step * slope
        ahead = weights + turn / (turn + 3) * (weights - before)
    return weights


def softmax(scores: Floats) -> Floats:
    """Return probabilities of scores, by row."""
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def confident_suspects(labels: NDArray[np.int64], probabilities: Floats) -> tuple[Suspect, ...]:
    """Return the records off the diagonal of the confident joint, the lowest margin first.

    Args:
        labels: as given, shape (n,).
        probabilities: out of fold, shape (n, classes).
    """
    classes = probabilities.shape[1]
    thresholds = np.full(classes, np.inf)  # nothing is confidently of a class that is not there
    for number in np.unique(labels):
        thresholds[number] = probabilities[labels == number, number].mean()
    eligible = np.where(probabilities >= thresholds, probabilities, -1.0)
    likely = eligible.argmax(axis=1)
    rows = np.arange(len(labels))
    given = probabilities[rows, labels]
    others = probabilities.copy()
    others[rows, labels] = -1.0
    margins = given - others.max(axis=1)
    off = np.flatnonzero((eligible.max(axis=1) >= 0) & (likely != labels))
    return tuple(
        Suspect(
            record=int(row),
            given=int(labels[row]),
            likely=int(likely[row]),
            margin=float(margins[row]),
        )
        for row in off[np.argsort(margins[off], kind="stable")]
    )
