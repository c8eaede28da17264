"""What is trained and how: base model, adapter, optimiser; public and the same at each site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedethics.terms import KEY, term


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelTerms:
    """The base model, named by the SHA-256 of its weights."""

    name: str = term(nonempty=True)
    sha256: str = term(pattern=KEY)
    max_tokens: int = term(at_least=8, at_most=4096)


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterTerms:
    """LoRA settings. `freeze_a` trains B and the head only (FFA-LoRA, arXiv 2403.12313)."""

    rank: int = term(at_least=1, at_most=256)
    alpha: float = term(above=0)
    targets: tuple[str, ...] = term(nonempty=True)
    layers: tuple[int, ...] = term(nonempty=True, at_least=0)
    freeze_a: bool = term()
    seed: int = term(at_least=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingTerms:
    """How the federation learns; every number is public and the same at each site."""

    rounds: int = term(at_least=1, at_most=10_000)
    local_steps: int = term(at_least=1, at_most=10_000)
    optimizer: Literal["sgd", "adam"] = term()
    learning_rate: float = term(above=0)
    momentum: float = term(default=0.0, at_least=0, below=1)
    server_learning_rate: float = term(default=1.0, above=0)
    physical_batch: int = term(default=64, at_least=1)
