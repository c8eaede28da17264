"""A simulated site that puts poison into its sums: a real site's handler, changed in one place."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedethics import charter_sums
from fedethics.protocol import Request
from fedethics.secagg import SiteSecagg, SiteStore, SumSpec
from fedethics.simulation.faults import Poison
from fedethics.site.handler import SiteHandler
from fedethics.site.request_context import RequestContext


class PoisonedSite(SiteHandler):
    """A real site's handler but for one thing: what it puts into sums of updates."""

    def __init__(self, path: Path, poison: Poison) -> None:
        super().__init__(path)
        self._poison = poison

    def _work(self, context: RequestContext, request: Request) -> dict[str, bytes]:
        secagg = _PoisonedSecagg(
            site=context.site,
            identity=context.identity,
            terms=charter_sums.secagg_terms(context.charter, charter_hash=context.charter_hash),
            store=SiteStore(context.home.opened_sums),
        )
        secagg.poison = self._poison
        return super()._work(dataclasses.replace(context, secagg=secagg), request)


class _PoisonedSecagg(SiteSecagg):
    poison: Poison

    def share(self, open_message: bytes, vector: NDArray[np.int64], *, spec: SumSpec) -> bytes:
        """Share poison in place of an update; counts are shared as they are."""
        if spec.name == charter_sums.UPDATE:
            vector = self.poison(vector, spec.bound)
        return super().share(open_message, vector, spec=spec)
