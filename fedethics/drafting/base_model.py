"""What a draft says of the base model: the embedded one, or one in a folder of one's own."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseLines:
    """The base model and where its adapter goes, as a charter's `[model]` and `[adapter]` say.

    Attributes:
        name: as reports print it.
        sha256: of its weights.
        targets: layers by name that get an adapter.
        layers: which of the stack.
        most_tokens: that it has positions for; None without a table of them.
        folder: where it lies; None for a model that comes with a package.
    """

    name: str
    sha256: str
    targets: tuple[str, ...]
    layers: tuple[int, ...]
    most_tokens: int | None
    folder: Path | None


EMBEDDED = BaseLines(
    name="all-MiniLM-L6-v2",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    targets=("query", "value"),
    layers=(5,),
    most_tokens=512,
    folder=None,
)

EMBEDDED_DECODER = BaseLines(
    name="SmolLM2-135M-Instruct",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    targets=("q_proj", "v_proj"),
    layers=(28, 29),
    most_tokens=None,
    folder=None,
)


def in_folder(model_dir: Path) -> BaseLines:
    """Return the lines for a model of one's own, with an adapter on its last layer.

    Raises:
        ModelError: there is none that could be trained.
    """
    # By name at run time: commands start without torch, and a model's shapes need it.
    described: Any = importlib.import_module("fedethics.training.described")
    found = described.describe(model_dir)
    folder: Path = found.folder
    return BaseLines(
        name=folder.resolve().stem if folder.is_file() else folder.resolve().name,
        sha256=found.sha256,
        targets=found.targets,
        layers=(found.layers - 1,),
        most_tokens=found.positions,
        folder=folder.resolve(),
    )
