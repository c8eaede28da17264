"""`fedethics audit mechanism`: attack a charter's training with canaries, on this machine."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from fedethics.charter.document import load
from fedethics.cli.output import AsJson, answer, table
from fedethics.errors import EXIT_INTEGRITY
from fedethics.privacy.noise import NoiseSource

app = typer.Typer(help="Attack what was promised: no data, no budget.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Attack what was promised: no data, no budget."""


@app.command()
def mechanism(
    charter: Annotated[Path, typer.Argument(help="The charter, .toml or .json.")],
    model_dir: Annotated[
        Path | None, typer.Option(help="The site's model folder or .gguf; else the embedded one.")
    ] = None,
    canaries: Annotated[
        int, typer.Option(min=100, max=100_000, help="Made-up units; more show more.")
    ] = 1000,
    as_json: AsJson = False,
) -> None:
    """Send canaries through the training steps of one site and measure noise, shift and epsilon.

    Reads no data and spends no budget. Exit code 6 if anything contradicts the charter; finding
    nothing is no proof of privacy.
    """
    # By name at run time: the officer's commands must start without torch, and this one needs it.
    engine: Any = importlib.import_module("fedethics.training.mechanism_audit")
    learning: Any = importlib.import_module("fedethics.training.learner")
    terms = load(charter)
    learner = learning.Learner(terms, model_dir=model_dir)
    found = engine.audit_mechanism(terms, learner, noise=NoiseSource.from_os(), canaries=canaries)
    document = {
        "charter": str(charter),
        "sound": found.sound,
        "steps": found.steps,
        "canaries": found.canaries,
        "noise-multiplier": found.noise_multiplier,
        "sampling-rate": found.sampling_rate,
        "delta": found.delta,
        "promised-epsilon": found.promised,
        "confidence": engine.CONFIDENCE,
        "figures": [
            {"name": one.name, "measured": one.measured, "agreed": one.agreed, "passed": one.passed}
            for one in found.lines
        ],
    }

    def render(console: Console) -> None:
        rows = [
            (one.name, one.measured, one.agreed, "ok" if one.passed else "CONTRADICTED")
            for one in found.lines
        ]
        title = f"{found.canaries} canaries through {found.steps} steps of {charter}"
        console.print(table(title, ("figure", "measured", "agreed", "state"), rows))
        console.print(
            f"Promised for these steps: epsilon {found.promised:.4g} at delta {found.delta:g}. "
            "An audit can contradict a promise and never prove one."
        )

    answer(document, render, as_json=as_json)
    if not found.sound:
        raise typer.Exit(EXIT_INTEGRITY)
