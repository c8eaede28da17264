"""`fedethics doctor | dp-check | audit`: is this machine set up, and is training on it private?

`fedethics dp-check`: would this charter, on this model and machine, train as DP-SGD must?

`fedethics audit mechanism | text`: attack a charter's training with canaries, on this machine.
"""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from fedethics import __version__
from fedethics.charter.document import load
from fedethics.cli.output import AsJson, answer, table
from fedethics.data.reading import read_records
from fedethics.data.records import split
from fedethics.errors import EXIT_ENVIRONMENT, EXIT_INTEGRITY
from fedethics.installation import packages
from fedethics.privacy.noise import NoiseSource

_FLAGS = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "HF_HUB_OFFLINE": "1",
}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing looked at; `ok` is False only for what would stop a run."""

    what: str
    value: str
    ok: bool
    advice: str = ""


def doctor(as_json: AsJson = False) -> None:
    """Check versions and offline flags. Exit code 7 if a needed package is missing or wrong."""
    found = [*(Requirement(p.name, p.found, p.ok, p.advice) for p in packages()), *_flags()]
    healthy = all(finding.ok for finding in found)
    document = {
        "fedethics": __version__,
        "python": platform.python_version(),
        "healthy": healthy,
        "findings": [
            {"what": f.what, "value": f.value, "ok": f.ok, "advice": f.advice} for f in found
        ],
    }

    def render(console: Console) -> None:
        title = f"fedethics {__version__}, Python {platform.python_version()}"
        rows = [(f.what, f.value, "ok" if f.ok else "wrong", f.advice) for f in found]
        console.print(table(title, ("what", "found", "state", "advice"), rows))

    answer(document, render, as_json=as_json)
    if not healthy:
        raise typer.Exit(EXIT_ENVIRONMENT)


def _flags() -> Iterator[Requirement]:
    for name, wanted in _FLAGS.items():
        value = os.environ.get(name, "")
        advice = "" if value == wanted else f"site run and federation start set {wanted}"
        # fedethics' own commands never reach out, so a missing flag is advice and not an error.
        yield Requirement(name, value or "not set", True, advice)


def dp_check(
    charter: Annotated[Path, typer.Argument(help="The charter, .toml or .json.")],
    model_dir: Annotated[
        Path | None, typer.Option(help="The site's model folder or .gguf; else the embedded one.")
    ] = None,
    start_dir: Annotated[
        Path | None, typer.Option(help="The release that the charter starts from, if it does.")
    ] = None,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Device to test.")] = "cpu",
    devices: Annotated[
        str, typer.Option(metavar="LIST", help="Several, such as cuda:0,cuda:1, held together.")
    ] = "",
    dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="Precision of matrix products.")
    ] = "float32",
    as_json: AsJson = False,
) -> None:
    """Test with made-up records that ten known errors of DP training are caught; run the self-test.

    Reads no data and spends no budget. Exit code 6 if anything fails.
    """
    # By name at run time: the officer's commands must start without torch, and this one needs it.
    engine: Any = importlib.import_module("fedethics.training.check")
    found = engine.check_charter(
        load(charter), model_dir=model_dir, start_dir=start_dir, device=device, dtype=dtype,
        devices=tuple(filter(None, devices.split(","))),
    )  # fmt: skip
    sound = all(check.passed for check in found)
    document = {
        "charter": str(charter),
        "device": devices or device,
        "dtype": dtype,
        "sound": sound,
        "checks": [{"name": c.name, "passed": c.passed, "detail": c.detail} for c in found],
    }

    def render(console: Console) -> None:
        rows = [(c.name, "ok" if c.passed else "FAILED", c.detail) for c in found]
        console.print(table(f"dp-check of {charter}", ("check", "state", "detail"), rows))

    answer(document, render, as_json=as_json)
    if not sound:
        raise typer.Exit(EXIT_INTEGRITY)


audit_app = typer.Typer(
    help="Test the promised privacy by attack; uses no data and no budget.", no_args_is_help=True
)


@audit_app.callback()
def audit_group() -> None:
    """Test the promised privacy by attack; uses no data and no budget."""


@audit_app.command()
def mechanism(
    charter: Annotated[Path, typer.Argument(help="The charter, .toml or .json.")],
    model_dir: Annotated[
        Path | None, typer.Option(help="The site's model folder or .gguf; else the embedded one.")
    ] = None,
    start_dir: Annotated[
        Path | None, typer.Option(help="The release that the charter starts from, if it does.")
    ] = None,
    canaries: Annotated[
        int,
        typer.Option(
            min=100, max=100_000, help="Number of made-up units; more units give a stronger test."
        ),
    ] = 1000,
    as_json: AsJson = False,
) -> None:
    """Send canaries through the training steps of one site and measure noise, shift and epsilon.

    Reads no data and spends no budget. Exit code 6 if anything contradicts the charter. If nothing
    does, that is no proof of privacy.
    """
    # By name at run time: the officer's commands must start without torch, and this one needs it.
    engine: Any = importlib.import_module("fedethics.training.mechanism_audit")
    learning: Any = importlib.import_module("fedethics.training.learner")
    terms = load(charter)
    learner = learning.Learner(terms, model_dir=model_dir, start_dir=start_dir)
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
            f"Promised for these steps: epsilon {found.promised:.4g} at delta {found.delta:g}. An "
            "audit can contradict a promise but never prove it."
        )

    answer(document, render, as_json=as_json)
    if not found.sound:
        raise typer.Exit(EXIT_INTEGRITY)


@audit_app.command()
def text(
    charter: Annotated[Path, typer.Argument(help="The charter, .toml or .json.")],
    data: Annotated[
        Path | None,
        typer.Option(help="A site's file: its training records are trained on with them."),
    ] = None,
    model_dir: Annotated[
        Path | None, typer.Option(help="The site's model folder or .gguf; else the embedded one.")
    ] = None,
    start_dir: Annotated[
        Path | None, typer.Option(help="The release that the charter starts from, if it does.")
    ] = None,
    canaries: Annotated[
        int, typer.Option(min=16, max=10_000, help="Made-up records; more show more.")
    ] = 64,
    references: Annotated[
        int, typer.Option(min=15, max=100_000, help="Numbers that each is ranked among.")
    ] = 255,
    as_json: AsJson = False,
) -> None:
    """Train on random numbers in a fixed sentence, and see how far the model knows them.

    The whole run of the charter, with its noise and without. Spends no budget, since nothing
    leaves: with --data, keep the figures at the site. Exit code 6 if the attack refutes the
    promised epsilon; finding nothing is no proof of privacy.
    """
    # By name at run time: the officer's commands must start without torch, and this one needs it.
    engine: Any = importlib.import_module("fedethics.training.canaries")
    learning: Any = importlib.import_module("fedethics.training.learner")
    terms = load(charter)
    learner = learning.Learner(terms, model_dir=model_dir, start_dir=start_dir)
    records = split(read_records(data, terms.data), terms.data).train.texts if data else ()
    found = engine.audit_canaries(
        terms,
        learner,
        noise=NoiseSource.from_os(),
        canaries=canaries,
        references=references,
        records=records,
    )
    counted = {
        "canaries": canaries,
        "references": references,
        "confidence": engine.CONFIDENCE,
        "of-own-records": bool(records),
    }
    _tell(charter, found, counted, as_json=as_json)


_OWN = (
    "These figures follow from this site's records, without noise, and no budget was charged. Do "
    "not send them to anyone."
)


def _tell(charter: Path, found: Any, counted: dict[str, Any], *, as_json: bool) -> None:  # noqa: ANN401
    shown = [("without noise", found.plain)]
    if found.private is not None:
        shown.insert(0, ("as agreed", found.private))
    sound = all(one.kept for _, one in shown)
    document = {
        "charter": str(charter),
        "sound": sound,
        "steps": found.steps,
        "delta": found.delta,
        **counted,
        "trainings": [{"training": name, **_figures(one)} for name, one in shown],
    }

    def render(console: Console) -> None:
        heads = (
            "training",
            "bits, trained on",
            "bits, not",
            "most",
            "epsilon at least",
            "promised",
        )
        title = f"{counted['canaries']} numbers through {found.steps} steps of {charter}"
        console.print(table(title, heads, [_exposure_row(name, one) for name, one in shown]))
        console.print(
            "A number that was never read has 1.44 bits on average. Reach: what the bound on "
            "epsilon would be, had the attack made no mistake. An audit can contradict a promise "
            "and never prove one."
        )
        if counted["of-own-records"]:
            console.print(Text(_OWN, style="yellow"))

    answer(document, render, as_json=as_json)
    if not sound:
        raise typer.Exit(EXIT_INTEGRITY)


def _figures(found: Any) -> dict[str, float | None]:  # noqa: ANN401  its module needs torch
    return {
        "noise-multiplier": found.noise_multiplier,
        "promised-epsilon": found.promised if found.noise_multiplier else None,
        "exposure-in-bits": float(found.inside.mean()),
        "exposure-of-others-in-bits": float(found.outside.mean()),
        "largest-measurable": found.most,
        "epsilon-at-least": found.bound,
        "epsilon-within-reach": found.reach,
    }


def _exposure_row(name: str, found: Any) -> tuple[str, ...]:  # noqa: ANN401  its module needs torch
    return (
        name,
        f"{found.inside.mean():.2f}",
        f"{found.outside.mean():.2f}",
        f"{found.most:.2f}",
        f"{found.bound:.3g} (reach {found.reach:.3g})",
        f"{found.promised:.4g}",
    )
