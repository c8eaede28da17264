"""What coordinator and site say to each other: one request, one reply, named byte payloads.

No path, file name, callable or setting ever crosses: a request names an action, the charter by its
hash and the run, and carries protocol messages and the adapter vector. Meanings never change under
one PROTOCOL number; new names may be added.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from fedethics.errors import FedethicsError, RecordsRefusal
from fedethics.terms import NAME

PROTOCOL = 3


class Action(StrEnum):
    """What a site can be asked; the value is the Flower message type."""

    ANNOUNCE = "query.announce"
    JOIN = "query.join"
    COMPLETE = "query.complete"
    READY = "query.ready"
    TRAIN = "train.default"
    EVALUATE = "evaluate.default"
    FORWARD = "query.forward"
    SURVIVORS = "query.survivors"
    PROOF = "query.proof"
    RESULT = "query.result"
    SLICE = "query.slice"
    RECEIPT = "query.receipt"
    WITNESS = "query.witness"

    @property
    def answered(self) -> str:
        """What a site did that answered this, in words for its operator."""
        return _ANSWERED[self]


_ANSWERED: dict[Action, str] = {
    Action.ANNOUNCE: "said which site it is",
    Action.JOIN: "gave its keys for the sums",
    Action.COMPLETE: "agreed with the other sites on keys",
    Action.READY: "said that records, model and budget are ready",
    Action.TRAIN: "trained, and sent its masked update",
    Action.EVALUATE: "evaluated, and sent its masked counts",
    Action.FORWARD: "took the other sites' sealed shares",
    Action.SURVIVORS: "confirmed which sites are in the sum",
    Action.PROOF: "let the sum be opened",
    Action.RESULT: "took the opened sum",
    Action.SLICE: "computed its part of the sum again",
    Action.RECEIPT: "gave its receipt",
    Action.WITNESS: "signed the list of all receipts",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One thing asked of a site.

    Attributes:
        action: what is asked.
        charter_hash: the charter that both sides must hold.
        run: run id, with no site-specific part.
        payloads: named bytes, e.g. "open" and "adapter" for TRAIN.
    """

    action: Action
    charter_hash: str
    run: str
    payloads: Mapping[str, bytes] = field(default_factory=dict)
    protocol: int = PROTOCOL


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A site's no, as the coordinator may see it: a code and a fixed sentence, no local fact.

    Attributes:
        site: who says so, by its own word and unsigned: for a person to read, and nothing rests on
            it.
    """

    code: str
    sentence: str
    site: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """A site's answer: named bytes, or a refusal."""

    payloads: Mapping[str, bytes] = field(default_factory=dict)
    refusal: Refusal | None = None


_OTHERWISE = "the site could not do this"
# Whether these are raised reads no record. Every other code may speak of records: it is told as the
# one refusal of that kind, and so is whatever nobody expected.
_PUBLIC = {
    "FE101": "the site does not hold this charter",
    "FE201": "the site's policy is missing or unreadable",
    "FE202": "the site's policy does not allow this",
    "FE203": "the site's records do not allow this",
    "FE302": "the site's ledger cannot record this",
    "FE303": "the site's ledger does not verify",
    "FE304": "the privacy terms cannot be accounted",
    "FE402": "the site does not have the agreed model",
    "FE601": "the site refused a protocol message",
    "FE602": "the site aborted the protocol",
    "FE603": "the site could not prove a sum of this run, and takes no further part in it",
    "FE604": "the site waits to be told, or shown to be true, a sum that it helped to open",
    "FE605": "the site refused an adapter that does not follow from sums that were checked",
    "FE901": _OTHERWISE,
}


OF_RECORDS = Refusal(code=RecordsRefusal.code, sentence=_PUBLIC[RecordsRefusal.code])


def refuse(error: Exception, *, site: str = "") -> Refusal:
    """Return what the coordinator may know of `error`; its own text stays in the site's log.

    Guarantee: two errors that may depend on records give equal refusals.
    """
    public = isinstance(error, FedethicsError) and error.code in _PUBLIC
    code = error.code if isinstance(error, FedethicsError) and public else OF_RECORDS.code
    return Refusal(code=code, sentence=_PUBLIC[code], site=site)


def sayable(refusal: Refusal) -> Refusal:
    """Return `refusal` if a site may say it, else the one without information.

    Guarantee: a code, the sentence that is listed here for it, and a name or none; nothing else.
    """
    told = refusal if _PUBLIC.get(refusal.code) == refusal.sentence else OF_RECORDS
    return replace(told, site=refusal.site if re.fullmatch(NAME, refusal.site) else "")


def refusal_of(code: str) -> Refusal | None:
    """Return the refusal that a site's code stands for, in our own words; None if it is no code."""
    if re.fullmatch(r"FE[0-9]{3}", code) is None:
        return None
    return Refusal(code=code, sentence=_PUBLIC.get(code, _OTHERWISE))
