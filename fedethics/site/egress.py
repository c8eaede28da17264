"""Everything that may leave a site: the names and sizes of what each action is answered with.

`EGRESS` is the whole list, and `require_listed` is called where answers leave
(`fedethics.site.handler`). An answer under a name that is not listed, with more bytes than its
bound, or that is not the signed message its name says, is an error, and nothing of it is sent. Each
message of the protocol is read as its receiver reads it, so its header has the fields of its kind
and no others. A refusal is a code with the sentence that `fedethics.protocol` has for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from fedethics import plain_file
from fedethics.errors import EgressError, FedethicsError, ReleaseError, SecaggReject
from fedethics.protocol import Action
from fedethics.release.receipts import from_envelope, genuine, read_countersignature
from fedethics.secagg import SiteSecagg, framing
from fedethics.secagg.framing import Frame, Kind
from fedethics.secagg.messages import LISTED_MESSAGE_BYTES, joined_bytes, receive
from fedethics.secagg.shamir import SHARE_BYTES
from fedethics.secagg.sharing import share_body_bytes


class Payload(Protocol):
    """What may leave under one name."""

    def require(self, data: bytes, site: SiteSecagg) -> None:
        """Raise FedethicsError if the bytes are something else, or too many."""


@dataclass(frozen=True, slots=True)
class Message:
    """A signed message of the secure sum, of this site and under this charter.

    Attributes:
        kind: of the message.
        body: most bytes of its body.
        header: most bytes of the rest, over 1 KiB.
    """

    kind: Kind
    body: Callable[[SiteSecagg, Frame], int] = lambda _site, _message: 0
    header: Callable[[SiteSecagg, Frame], int] = lambda _site, _message: 0

    def require(self, data: bytes, site: SiteSecagg) -> None:
        """Read it as its receiver will, and measure it."""
        read = receive(data, kind=self.kind, terms=site.terms, max_body_bytes=len(data))
        if read.header["sender"] != site.name:
            raise SecaggReject(f"a message of {read.header['sender']}")
        _require_size(len(read.body), self.body(site, read))
        _require_size(len(data) - len(read.body), LISTED_MESSAGE_BYTES + self.header(site, read))


@dataclass(frozen=True, slots=True)
class Document:
    """Canonical JSON of fixed keys.

    Attributes:
        read: raises FedethicsError if it is another document.
        most: bytes.
    """

    read: Callable[[bytes, SiteSecagg], object]
    most: int

    def require(self, data: bytes, site: SiteSecagg) -> None:
        """Measure it, and read it as its receiver will."""
        _require_size(len(data), self.most)
        self.read(data, site)


def _public_keys(site: SiteSecagg, _message: Frame) -> int:
    return 2 * 2 * site.terms.key_agreement.public_bytes  # two, in hex


def _ciphertexts(site: SiteSecagg, _message: Frame) -> int:
    return joined_bytes(site.terms)


def _sealed_shares(site: SiteSecagg, _message: Frame) -> int:
    return share_body_bytes(len(site.terms.roster) - 1, recovery=site.terms.mask_recovery)


def _masked_vector(site: SiteSecagg, message: Frame) -> int:
    return site.sum_bytes(message.header["session"])


def _opening_shares(site: SiteSecagg, _message: Frame) -> int:
    return SHARE_BYTES * len(site.terms.roster)


def _slice_numbers(site: SiteSecagg, message: Frame) -> int:
    return 12 * framing.leaf_count(site.sum_bytes(message.header["session"]))


def _own_receipt(data: bytes, site: SiteSecagg) -> None:
    if genuine(from_envelope(data), roster_key=site.terms.roster[site.name]) is None:
        raise ReleaseError("a receipt that this site did not sign")


_SHARE = {"share": Message(Kind.SHARE, _sealed_shares)}
_CHECKED = {"checked": Message(Kind.CHECKED)}
EGRESS: Final[Mapping[Action, Mapping[str, Payload]]] = {
    Action.READY: {},
    Action.ANNOUNCE: {"announcement": Message(Kind.EPOCH, header=_public_keys)},
    Action.JOIN: {"acknowledgement": Message(Kind.EPOCH_ACK, _ciphertexts)},
    Action.COMPLETE: {},
    Action.TRAIN: _SHARE,
    Action.EVALUATE: _SHARE,
    Action.FORWARD: {"masked": Message(Kind.MASKED, _masked_vector)},
    Action.SURVIVORS: {"confirm": Message(Kind.CONFIRM)},
    Action.PROOF: {"reveal": Message(Kind.REVEAL, _opening_shares)},
    Action.RESULT: _CHECKED | {"slice-request": Message(Kind.SLICE_REQUEST, header=_slice_numbers)},
    Action.SLICE: _CHECKED,
    Action.RECEIPT: {"receipt": Document(_own_receipt, plain_file.DOCUMENT_LIMIT)},
    Action.WITNESS: {
        "countersignature": Document(lambda data, _: read_countersignature(data), 512)
    },
}


def require_listed(action: Action, payloads: Mapping[str, bytes], site: SiteSecagg) -> None:
    """Check an answer against the list, before anything of it is sent.

    Args:
        action: that is answered.
        payloads: the whole answer.
        site: whose charter and stored sums give the bounds.

    Raises:
        EgressError: a name that is not listed for this action, or other or more bytes than may
            leave under it. The coordinator learns no more than that the site could not answer.
    """
    listed = EGRESS[action]
    for name, data in payloads.items():
        if name not in listed:
            raise EgressError(f"{action} would send {name!r}, which is not listed to leave a site")
        try:
            listed[name].require(data, site)
        except FedethicsError as fault:
            raise EgressError(
                f"{action} would send as {name!r} what may not leave: {fault}"
            ) from fault


def _require_size(found: int, most: int) -> None:
    if found > most:
        raise SecaggReject(f"{found:,} bytes where at most {most:,} belong")
