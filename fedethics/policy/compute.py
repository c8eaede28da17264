"""The part of a site's policy that says where and how training runs. It holds no privacy term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedethics.terms import term


@dataclass(frozen=True, kw_only=True, slots=True)
class Compute:
    """Where and how training runs; sites may differ, since none of it changes what is computed.

    Attributes:
        dtype: "bfloat16" computes the trained layers' matrix products in bfloat16. Parameters,
            gradients of records, their norms, sums and noise keep their own precision.
        gradients: who computes each record's gradient: "opacus", its hooks; "tapped", this
            package's own layer; "auto", the hooks except where they were measured to be slow
            (short texts). Before a run the two are held against each other, whichever is chosen.
        checkpointing: keep only each trained layer's input in memory and compute the layer again
            in the backward pass: less memory, a third more time.
        cache: where the frozen layers' output lies: "memory", or "disk", a file without a name
            that no other process can open and that is gone when this one ends, however it ends.
        cache_gib: the most that one part of a data set may take there; above it, the frozen
            layers run in every step. Reckoned from public numbers: the records declared, each of
            the greatest length.
        cache_dir: folder of that file.
        batches: "proven" computes records in batches of constant shapes, each proven on this
            machine to keep them apart; "alone" computes every record by itself, which is slower.
    """

    device: Literal["cpu", "cuda"] = term(default="cpu")
    dtype: Literal["float32", "bfloat16"] = term(default="float32")
    gradients: Literal["opacus", "tapped", "auto"] = term(default="opacus")
    checkpointing: bool = term(default=False)
    cache: Literal["memory", "disk"] = term(default="memory")
    cache_gib: float = term(default=4.0, at_least=1e-6, at_most=1e6)
    batches: Literal["proven", "alone"] = term(default="proven")
    cache_dir: str = term(default="/var/tmp", nonempty=True)  # noqa: S108  a file without a name
