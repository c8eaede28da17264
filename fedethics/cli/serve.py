"""`fedethics serve`: a released model that answers over HTTP."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from fedethics.cli.output import say
from fedethics.policy.model import Compute


def serve(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The release, as runs/<id>.")],
    host: Annotated[str, typer.Option(help="127.0.0.1 is this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="Holds the token that clients send; written if missing."),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Ask for no token; on this machine only.")
    ] = False,
    certificate: Annotated[
        Path | None, typer.Option("--tls-cert", help="Certificate for TLS, PEM.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--tls-key", help="Its key, PEM.")] = None,
    without_tls: Annotated[
        bool, typer.Option("--without-tls", help="Other machines reach it through a proxy.")
    ] = False,
    model_dir: Annotated[
        Path | None,
        typer.Option("--model-dir", help="Folder of the base model, where no package has it."),
    ] = None,
    most_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, max=4096, help="Of one answer, at most.")
    ] = 256,
    batch: Annotated[
        bool,
        typer.Option("--batch", help="Compute up to 16 records together, as release score."),
    ] = False,
    gpu: Annotated[bool, typer.Option("--gpu", help="Compute on the GPU.")] = False,
) -> None:
    """Verify a release, then answer requests with its model until Ctrl-C.

    Paths: /v1/predict, /v1/explain, /v1/chat/completions, /v1/models, /v1/audit, /health, /metrics.
    No input is logged or kept. Once the release is withdrawn, every answer is 410 with the reason.
    """
    if (token_file is None) != no_token:
        raise typer.BadParameter("give --token-file FILE, or --no-token", param_hint="--token-file")
    # Before anything of Hugging Face is imported: never download.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # By name at run time: other commands start without torch, and this one needs it.
    engine: Any = importlib.import_module("fedethics.serving.run")
    where = importlib.import_module("fedethics.listening").Listening(
        host=host, port=port, token_file=token_file, certificate=certificate, key=key,
        plain=without_tls,
    )  # fmt: skip

    known = f"the token is in {token_file}" if token_file else "no token is asked for"
    say("Verifying the release and loading the model.")
    engine.serve(
        run,
        where,
        model_dir=model_dir,
        compute=Compute(device="cuda" if gpu else "cpu", batches="proven" if batch else "alone"),
        most_tokens=most_tokens,
        ready=lambda address: say(f"Serving {run} at {address}; {known}. Ctrl-C ends it."),
    )
