"""Answer clients until stopped; address, token and certificate are checked before a model loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fedethics.listening import Listening
from fedethics.policy.model import Compute
from fedethics.serving.http import application
from fedethics.serving.service import Service


def serve(
    run_dir: Path,
    where: Listening,
    *,
    model_dir: Path | None = None,
    compute: Compute | None = None,
    most_tokens: int = 256,
    ready: Callable[[str], None] = lambda _address: None,
) -> None:
    """Answer until interrupted.

    Args:
        run_dir: the release.
        where: address, token, certificate.
        model_dir: folder of the base model; None for one that comes with a package.
        compute: where it computes.
        most_tokens: of one answer.
        ready: told the address once requests are answered.

    Raises:
        RunError: the address is in use or not this machine's, or the token or certificate is
            missing or not safe.
        ReleaseError: the release may not be used.
        ModelError: the base model is missing or another.
    """
    with where.opened() as listener:
        service = Service(run_dir, model_dir=model_dir, compute=compute)
        try:
            listener.answer(
                application(service, token=listener.token, most_tokens=most_tokens), ready=ready
            )
        finally:
            service.close()
