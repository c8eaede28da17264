"""The coordinator's invitation: the charter, where to dial, and whose certificate to believe.

One paper for all sites of the roster. It holds nothing secret, but everything in it hangs on the
coordinator's key, whose fingerprint a site must hear by another way than the paper came.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509

from fedethics import address
from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.enrolment.envelope import Paper, open_paper, sign_paper
from fedethics.enrolment.fingerprint import matches
from fedethics.errors import EnrolmentError, EnrolmentForged
from fedethics.identity import Identity
from fedethics.terms import term

PURPOSE = "invitation"


@dataclass(frozen=True, kw_only=True, slots=True)
class Invitation:
    """What a site needs to take part.

    Attributes:
        charter: the charter's canonical text, with its roster.
        superlink: host:port that the site's node dials.
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
    return sign_paper(content, purpose=PURPOSE, identity=identity)


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
    paper = open_paper(data, purpose=PURPOSE, what="invitation")
    if not matches(said, paper.public_key):
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
    return _agreeing(open_paper(data, purpose=PURPOSE, what="invitation"))


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
