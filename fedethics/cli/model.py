"""`fedethics model`: what a charter's model is made of, and whether it fits a machine."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

from fedethics.charter.model import Charter

WithModel = Annotated[
    bool, typer.Option("--with-model", help="Count the trained parameters of the embedded model.")
]
ModelDir = Annotated[
    Path | None,
    typer.Option(help="The model's folder or .gguf, to count its trained parameters."),
]


def trained_parameters(charter: Charter, model_dir: Path | None) -> int:
    """Return how many parameters a step of `charter` trains, from the model's shapes alone.

    Raises:
        ModelError: the model is not here, or the adapter does not fit it.
    """
    # By name at run time: the officer's commands must start without torch, and this one needs it.
    shapes: Any = importlib.import_module("fedethics.training.shapes")
    return int(shapes.trained_parameters(charter, model_dir=model_dir))
