"""Signed papers that people send each other: a request, an invitation, a notice of leaving.

Guarantee: `open_paper` returns a body only if the key named in the paper signed exactly these bytes
for this purpose. Whether that key belongs to whom it should is the reader's question: fingerprints
compared by telephone, or a roster, answer it.

The key by which Flower's SuperLink admits a site's node: ECDSA P-384 in OpenSSH's form.

It proves to the SuperLink which machine calls; it signs nothing of the protocol, which the site's
identity does.

A site's request to be enrolled: its name, its two public keys and what it declares. All public.

Guarantee: the maker of a request holds the identity key that it names. That this key is the
institution's is settled by people, who compare its fingerprint by telephone.

Is what a person said the fingerprint of a key? `fedethics.identity.fingerprint` makes them.

The coordinator's invitation: the charter, the address to connect to, and the authority to trust.

One paper for all sites of the roster. It holds nothing secret, but everything in it depends on the
coordinator's key. A site must hear its fingerprint on another channel than that of the paper.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)

from fedethics import address, canonical, terms
from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.errors import EnrolmentError, EnrolmentForged
from fedethics.identity import Identity, fingerprint, key_fault, public_key_term, verify
from fedethics.terms import KEY, NAME, SIGNATURE, term

T = TypeVar("T")
# A charter with a schema of thousands of columns and hundreds of sites stays well below this.
MAX_PAPER_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Paper:
    """What a paper says, as text, and the key that signed it."""

    body: bytes
    public_key: str

    def read(self, cls: type[T], *, what: str) -> T:
        """Return the body as the dataclass `cls`.

        Raises:
            EnrolmentError: it is not one; every problem is listed.
        """
        problems: list[str] = []
        try:
            found = terms.read(cls, canonical.parse(self.body), path=what, problems=problems)
        except ValueError as error:
            raise EnrolmentError(f"the {what} is damaged: {error}") from error
        if found is None or problems:
            raise EnrolmentError(f"the {what} is damaged: " + "; ".join(problems))
        return found


def sign_paper(content: object, *, purpose: str, identity: Identity) -> bytes:
    """Return the canonical bytes of a dataclass's text, the signer's key and the signature."""
    body = canonical.encode(terms.document(content))
    signed: dict[str, canonical.Json] = {
        "body": body.decode("utf-8"),
        "purpose": purpose,
        "public-key": identity.public_key,
        "signature": identity.sign(body, purpose=purpose).hex(),
    }
    return canonical.encode(signed) + b"\n"


def open_paper(data: bytes, *, purpose: str, what: str) -> Paper:
    """Return what a paper says, once its signature holds.

    Args:
        data: the file's bytes.
        purpose: what the signature must have been made for.
        what: the paper's name in messages.

    Raises:
        EnrolmentError: not such a paper at all.
        EnrolmentForged: not signed by the key that it names.
    """
    if len(data) > MAX_PAPER_BYTES:
        raise EnrolmentError(f"the {what} has {len(data)} bytes; none is larger than 16 MiB")
    try:
        table = canonical.parse(data.removesuffix(b"\n"))
        if not isinstance(table, dict) or table.get("purpose") != purpose:
            raise ValueError(f"it is not a paper for {purpose!r}")
        body, key = str(table["body"]).encode("utf-8"), _spelled(table["public-key"], KEY)
        if fault := key_fault(key):
            raise ValueError(f"its public key {fault}")
        signature = bytes.fromhex(_spelled(table["signature"], SIGNATURE))
    except (ValueError, KeyError) as error:
        raise EnrolmentError(f"the {what} is damaged, or another file: {error}") from error
    if not verify(key, body, signature, purpose=purpose):
        raise EnrolmentForged(
            f"the {what} is not signed by the key {key[:16]} that it names: it was changed in "
            "transit or forged. Nothing was written; ask for it again"
        )
    return Paper(body, key)


def _spelled(value: canonical.Json, pattern: str) -> str:
    # One spelling only: hex digits in capitals would be the same key in other bytes.
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise ValueError(f"{value!r} does not match {pattern}")
    return value


def new_node_key() -> bytes:
    """Return a new private key as OpenSSH writes it."""
    key = ec.generate_private_key(ec.SECP384R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def public_half(private: bytes) -> str:
    """Return the public key of a private one, one line without a comment.

    Raises:
        EnrolmentError: not an ECDSA P-384 key in OpenSSH's form.
    """
    try:
        key = load_ssh_private_key(private, None)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise EnrolmentError(f"the node key is not an OpenSSH private key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp384r1":
        raise EnrolmentError("the node key is not ECDSA on the curve P-384")
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return public.decode("ascii")


def check_public(line: str) -> None:
    """Refuse a public key that Flower's node authentication would not take.

    Raises:
        EnrolmentError: not an ECDSA P-384 key in OpenSSH's form.
    """
    try:
        key = load_ssh_public_key(line.encode("utf-8"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise EnrolmentError(f"the node's public key is not an OpenSSH one: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp384r1":
        raise EnrolmentError("the node's public key is not ECDSA on the curve P-384")


REQUEST_PURPOSE = "site-request"


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
    return sign_paper(content, purpose=REQUEST_PURPOSE, identity=identity)


def read_request(data: bytes) -> SiteRequest:
    """Return a request, once its signature holds.

    Raises:
        EnrolmentError: damaged, or with a node key that Flower would not take.
        EnrolmentForged: not signed by the identity that it names.
    """
    paper = open_paper(data, purpose=REQUEST_PURPOSE, what="request")
    content = paper.read(SiteRequest, what="request")
    if content.public_key != paper.public_key:
        raise EnrolmentForged(
            f"the request of {content.site!r} names key {content.public_key[:16]}, but is signed "
            f"by {paper.public_key[:16]}; nothing was written"
        )
    check_public(content.node_key)
    return content


def fingerprint_matches(said: str, public_key: str) -> bool:
    """Say whether `said` is the whole fingerprint of the key; case, spaces and hyphens are free."""
    return _bare(said) == _bare(fingerprint(public_key))


def _bare(text: str) -> str:
    return "".join(text.split()).replace("-", "").lower()


INVITATION_PURPOSE = "invitation"


@dataclass(frozen=True, kw_only=True, slots=True)
class Invitation:
    """What a site needs to take part.

    Attributes:
        charter: the charter's canonical text, with its roster.
        superlink: host:port that the site's node connects to.
        ca: certificates (PEM) of the authority that the SuperLink's certificate must come from.
    """

    charter: str = term(nonempty=True, prose=True)
    superlink: str = term(check=address.problem)
    ca: str = term(nonempty=True, prose=True)

    @property
    def agreement(self) -> Charter:
        """The charter, read strictly.

        Raises:
            CharterError: it is not one.
        """
        return document.parse(self.charter.encode("utf-8"))


def make_invitation(identity: Identity, *, charter: Charter, superlink: str, ca: str) -> bytes:
    """Return the signed invitation as the bytes of a file; the same for the same content."""
    _check_certificates(ca)
    content = Invitation(
        charter=document.encode(charter).decode("utf-8"), superlink=superlink, ca=ca
    )
    return sign_paper(content, purpose=INVITATION_PURPOSE, identity=identity)


def read_invitation(data: bytes, *, said: str) -> Invitation:
    """Return an invitation, once its signature, its signer and its charter agree.

    Args:
        data: the file's bytes.
        said: the fingerprint that the coordinator read out.

    Raises:
        EnrolmentForged: signed by another key than the one with this fingerprint, or changed.
        EnrolmentError: damaged.
        CharterError: it holds no valid charter.
    """
    paper = open_paper(data, purpose=INVITATION_PURPOSE, what="invitation")
    if not fingerprint_matches(said, paper.public_key):
        raise EnrolmentForged(
            "the invitation is not signed by the key with the fingerprint "
            f"{said.strip() or 'that was left empty'}; nothing was written. Ask the coordinator "
            "for its fingerprint by telephone, and compare what you typed"
        )
    return _agreeing(paper)


def read_accepted(data: bytes) -> Invitation:
    """Return an invitation that was accepted before, once all of it still holds together.

    Its signer's fingerprint was compared when it was accepted.

    Raises:
        EnrolmentForged, EnrolmentError, CharterError: as for `read_invitation`.
    """
    return _agreeing(open_paper(data, purpose=INVITATION_PURPOSE, what="invitation"))


def _agreeing(paper: Paper) -> Invitation:
    content = paper.read(Invitation, what="invitation")
    if content.agreement.coordinator_key != paper.public_key:
        raise EnrolmentForged(
            "the charter in the invitation names another coordinator than the one who signed it; "
            "nothing was written"
        )
    _check_certificates(content.ca)
    return content


def _check_certificates(pem: str) -> None:
    try:
        x509.load_pem_x509_certificates(pem.encode("utf-8"))
    except ValueError as error:
        raise EnrolmentError(f"the authority's certificate is not PEM: {error}") from error
