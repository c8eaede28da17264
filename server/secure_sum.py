"""One secure sum, from OPEN to RESULT, over the legs of the federation.

Work first, aggregate after: the shares ride on the reply to TRAIN or EVALUATE, so a site that is
lost while it computes costs nothing but its own contribution.
"""

from __future__ import annotations

from collections.abc import Mapping

from fedethics.protocol import Action
from fedethics.secagg import CoordinatorRound, Opened, TaskSpec
from server.federation import Federation


def secure_sum(
    federation: Federation,
    *,
    spec: TaskSpec,
    action: Action,
    round_number: int,
    model_hash: str,
    adapter: bytes,
    strict: bool,
) -> Opened:
    """Open one sum over the federation's sites.

    Args:
        federation: the enrolled sites.
        spec: which sum.
        action: TRAIN or EVALUATE.
        round_number: from 1.
        model_hash: what OPEN binds the adapter to.
        adapter: float32 little-endian vector that every site gets.
        strict: whether sites sign the survivor set before they reveal anything.

    Raises:
        SecaggAbort: too few sites, or, for a count task, fewer than all; nothing was opened.
    """
    current = federation.coordinator.open(
        spec=spec, round_number=round_number, model_hash=model_hash, cohort=federation.sites
    )
    work = {"open": current.open_message, "adapter": adapter}
    federation.leg(action, dict.fromkeys(federation.sites, work), "share", current.add_share)
    federation.leg(
        Action.FORWARD, _each("forward", current.forward()), "masked", current.add_masked
    )
    _agree_and_reveal(federation, current, strict=strict)
    return current.result()


def tell(federation: Federation, opened: Opened) -> None:
    """Send the sum to the sites that are in it; done after it was committed, so none is lost."""
    told = {key: {"result": opened.message} for key in opened.survivors}
    federation.leg(Action.RESULT, told, "", lambda _: "")


def _agree_and_reveal(federation: Federation, current: CoordinatorRound, *, strict: bool) -> None:
    survivors = current.survivors()
    if not strict:
        federation.leg(Action.PROOF, _each("proof", survivors), "reveal", current.add_reveal)
        return
    federation.leg(Action.SURVIVORS, _each("survivors", survivors), "confirm", current.add_confirm)
    federation.leg(Action.PROOF, _each("proof", current.proof()), "reveal", current.add_reveal)


def _each(name: str, messages: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    return {site: {name: message} for site, message in messages.items()}
