"""A site's request to be enrolled: its name, its two public keys and what it declares. All public.

Guarantee: whoever made a request holds the identity key that it names. That this key is the
institution's is settled by people, who compare its fingerprint by telephone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from fedethics.enrolment.envelope import open_paper, sign_paper
from fedethics.enrolment.node_key import check_public
from fedethics.errors import EnrolmentForged
from fedethics.identity import Identity, public_key_term
from fedethics.terms import NAME, term

PURPOSE = "site-request"


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteRequest:
    """What a site asks to be put on the roster.

    Attributes:
        site: the name it asks for.
        public_key: its identity, which signs everything of the protocol.
        node_key: its node's public key, one line in OpenSSH's form.
        declared_records: the training size that it chooses to publish.
        made: when (ISO 8601, UTC).
    """

    site: str = term(pattern=NAME)
    public_key: str = public_key_term()
    node_key: str = term(pattern=r"ecdsa-sha2-nistp384 [A-Za-z0-9+/=]+")
    declared_records: int = term(at_least=1)
    made: str = term(nonempty=True)


def make_request(identity: Identity, *, site: str, node_key: str, declared_records: int) -> bytes:
    """Return the signed request as the bytes of a file."""
    content = SiteRequest(
        site=site,
        public_key=identity.public_key,
        node_key=node_key,
        declared_records=declared_records,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return sign_paper(content, purpose=PURPOSE, identity=identity)


def read_request(data: bytes) -> SiteRequest:
    """Return a request, once its signature holds.

    Raises:
        EnrolmentError: damaged, or with a node key that Flower would not take.
        EnrolmentForged: not signed by the identity that it names.
    """
    paper = open_paper(data, purpose=PURPOSE, what="request")
    content = paper.read(SiteRequest, what="request")
    if content.public_key != paper.public_key:
        raise EnrolmentForged(
            f"the request of {content.site!r} names key {content.public_key[:16]}, but is signed "
            f"by {paper.public_key[:16]}; nothing was written"
        )
    check_public(content.node_key)
    return content
