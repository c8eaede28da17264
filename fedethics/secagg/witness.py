"""What a site does when it catches a lie: end the session and keep the signed proof."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fedethics.errors import SecaggAbort
from fedethics.secagg.framing import Frame, Kind
from fedethics.secagg.store import SiteStore
from fedethics.secagg.terms import SecaggTerms

# A lie here means that the epoch's keys are not what the sites believe.
_BURNS_THE_EPOCH = frozenset({Kind.ROSTER, Kind.JOINED})
# A lie this late may come with answers of other sites: the round stays closed for good.
_REFUSES_THE_ROUND = frozenset({Kind.SURVIVORS, Kind.PROOF})


class Contradiction(SecaggAbort):
    """Two signed messages that cannot both be true; `earlier` is the one that came first."""

    def __init__(self, text: str, *, earlier: bytes) -> None:
        self.earlier = earlier
        super().__init__(text)


@contextmanager
def catching_lies(store: SiteStore, terms: SecaggTerms, message: Frame) -> Iterator[None]:
    """Run a step; if it finds `message` to be a lie, settle that durably and raise on.

    The step itself has been rolled back by then. A lying ROSTER or JOINED burns its epoch; a
    lie within a session wipes the session; from SURVIVORS on, the round is refused for good.
    """
    try:
        yield
    except SecaggAbort as lie:
        charter, header = terms.charter_hash, message.header
        with store.transaction() as step:
            step.record_lie(
                charter,
                signer=header["sender"],
                reason=str(lie),
                message=message.raw,
                earlier=lie.earlier if isinstance(lie, Contradiction) else b"",
            )
            if message.kind in _BURNS_THE_EPOCH:
                epoch = step.epoch(charter, header["epoch"])
                if epoch is not None:
                    step.burn_epoch(charter, epoch)
            session = step.session(header.get("session", ""))
            if session is not None:
                if message.kind in _REFUSES_THE_ROUND:
                    step.close_round(charter, session, "refused", survivors=())
                step.close_session(session.opening.session_id, "aborted")
        raise
