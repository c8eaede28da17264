"""`fedethics model`: what a charter's model is made of, and whether it fits a machine."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from fedethics.canonical import Json
from fedethics.charter.model import Charter
from fedethics.cli.output import AsJson, answer, table
from fedethics.errors import EXIT_REFUSED
from fedethics.scorers.folder import folder_digest, labels_of
from fedethics.terms import toml_text

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


app = typer.Typer(help="Check whether a base model fits this machine.", no_args_is_help=True)


@app.callback()
def model_commands() -> None:
    """Check whether a base model fits this machine."""


@app.command("hash")
def hash_of_model(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The model's folder, or its .gguf file.")
    ],
    as_json: AsJson = False,
) -> None:
    """Print what a charter says of a base model: its hash, and where an adapter usually goes.

    Reads the weights to hash them; computes nothing with them.
    """
    described: Any = importlib.import_module("fedethics.training.described")
    found = described.describe(folder)
    name = found.folder.resolve()
    lines = {
        "model": {"name": name.stem if name.is_file() else name.name, "sha256": found.sha256},
        "adapter": {"targets": list(found.targets), "layers": [found.layers - 1]},
    }
    told = {
        "kind": found.kind, "layers": found.layers, "linear": list(found.linear),
        "most-tokens": found.positions,
    }  # fmt: skip
    bound = f"; model.max-tokens is at most {found.positions}" if found.positions else ""
    text = toml_text(lines) + (
        f"# a {found.kind} model with layers 0 to {found.layers - 1}{bound}\n"
        f"# targets may be any of: {', '.join(found.linear)}\n"
    )
    answer(
        {**lines, **told},
        lambda console: console.print(Text(text.rstrip()), soft_wrap=True),
        as_json=as_json,
    )


@app.command("scorer")
def hash_of_scorer(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The classifier's folder.")],
    as_json: AsJson = False,
) -> None:
    """Print what a charter says of a text classifier that judges generated answers.

    Hashes every file in the folder; loads nothing.
    """
    labels, name = labels_of(folder), re.sub(r"[^a-z0-9_]", "_", folder.resolve().name.lower())
    found: dict[str, Json] = {
        "name": name.lstrip("0123456789_") or "classifier",
        "version": 1,
        "sha256": folder_digest(folder),
        "label": labels[-1],
    }
    lines = toml_text(found)
    text = f"[[measures.generation.classifiers]]\n{lines}# labels: {', '.join(labels)}"
    answer(
        {**found, "labels": list(labels)},
        lambda console: console.print(Text(text), soft_wrap=True),
        as_json=as_json,
    )


@app.command()
def fit(
    folder: Annotated[Path, typer.Argument(help="The model's folder, or its .gguf file.")],
    gpu: Annotated[float, typer.Option(min=0.1, help="Memory of the device, in GiB.")],
    max_tokens: Annotated[int, typer.Option(min=8, help="Tokens of the longest record.")] = 2048,
    answer_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens of the answer among these; default: a quarter."),
    ] = None,
    rank: Annotated[int, typer.Option(min=1, max=256, help="Of the adapter.")] = 8,
    top_layers: Annotated[
        int, typer.Option(min=0, help="Number of last layers that are trained; 0: all.")
    ] = 0,
    target: Annotated[
        list[str] | None, typer.Option(help="A trained layer's name; repeat for more.")
    ] = None,
    form: Annotated[
        Literal["ffa", "fedsvd", "both", "alternating"], typer.Option(help="As in the charter.")
    ] = "ffa",
    quantisation: Annotated[
        Literal["none", "int8", "nf4"], typer.Option(help="As in the charter.")
    ] = "none",
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="As in the policy's compute.checkpointing.")
    ] = False,
    records: Annotated[
        int, typer.Option(min=0, help="Records whose frozen states are kept in memory.")
    ] = 0,
    devices: Annotated[
        int, typer.Option(min=1, max=1000, help="As many as the policy's compute.devices lists.")
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Check whether a training step of a decoder fits a device, and with how many records at once.

    Reads shapes but no weights, and runs nothing on the device. Exit code 5 if it does not fit.
    """
    engine: Any = importlib.import_module("fedethics.training.fit")
    question = engine.Question(
        max_tokens=max_tokens,
        answer_tokens=answer_tokens or max(1, max_tokens // 4),
        rank=rank,
        top_layers=top_layers,
        targets=tuple(target or ("q_proj", "v_proj")),
        form=form,
        quantisation=quantisation,
        checkpointing=checkpointing,
        records=records,
        devices=devices,
    )
    trained, found = engine.needs(folder, question)
    memory = gpu * engine.GIB
    best = next((one.rows for one in found if one.total + engine.RESERVE <= memory), 0)
    advice = engine.advice(question, found[-1], memory)
    _tell(
        found, trained, best, advice,
        gib=engine.GIB, reserve=engine.RESERVE, devices=devices, as_json=as_json,
    )  # fmt: skip
    if not best:
        raise typer.Exit(EXIT_REFUSED)


def _tell(
    found: Any,  # noqa: ANN401  of a module that needs torch
    trained: int,
    best: int,
    advice: list[str],
    *,
    gib: float,
    reserve: float,
    devices: int,
    as_json: bool,
) -> None:
    parts = ("weights", "vector", "gradients", "activations", "states", "total")
    document = {
        "trained-parameters": trained,
        "rows": best,
        "devices": devices,
        "reserve-gib": reserve / gib,
        "needs": [
            {"rows": one.rows, **{f"{part}-gib": getattr(one, part) / gib for part in parts}}
            for one in found
        ],
        "advice": advice,
    }

    def render(console: Console) -> None:
        rows = [(one.rows, *(f"{getattr(one, part) / gib:.2f}" for part in parts)) for one in found]
        heads = ("records at once", *parts)
        console.print(table(f"GiB of a step, {trained:,} trained parameters", heads, rows))
        if best:
            verdict = (
                f"It fits with {best} records at once (training.physical-batch = {best}), "
                f"{reserve / gib:g} GiB being reserved for the device itself."
            )
            if devices > 1:
                verdict += (
                    f" That is for the first of {devices} devices, where gradients are added. Each "
                    f"holds the whole model, so {devices * best} records are computed at once."
                )
        else:
            verdict = f"It does not fit. Try: {'; '.join(advice)}."
        console.print(Text(verdict), soft_wrap=True)

    answer(document, render, as_json=as_json)
