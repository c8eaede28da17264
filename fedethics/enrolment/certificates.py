"""The coordinator's certificates: its institution's own, or a pilot authority made on the spot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from fedethics.deployment.certificates import make_certificates
from fedethics.enrolment import files
from fedethics.errors import EnrolmentError

FOLDER = "tls"


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnCertificates:
    """PEM files of the institution's own authority."""

    certificate: Path
    key: Path
    ca: Path


def pilot_certificates(home: Path, addresses: tuple[str, ...]) -> None:
    """Make an authority and a certificate for these addresses, good for 90 days."""
    hosts = dict.fromkeys(address.rpartition(":")[0] for address in addresses)
    make_certificates(home / FOLDER, names=[host.strip("[]") for host in hosts])


def own_certificates(home: Path, own: OwnCertificates) -> None:
    """Copy the institution's own certificates into the home.

    Raises:
        EnrolmentError: unreadable, not PEM, or the key is not the certificate's.
    """
    certificate, key, ca = (files.read(path) for path in (own.certificate, own.key, own.ca))
    try:
        leaf = x509.load_pem_x509_certificates(certificate)[0]
        x509.load_pem_x509_certificates(ca)
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise EnrolmentError(f"a certificate or its key is not plain PEM: {error}") from error
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise EnrolmentError(f"{own.key} is not the key of {own.certificate}")
    files.make_private_folder(home / FOLDER)
    files.create(home / FOLDER / "server.crt", certificate, mode=0o644)
    files.create(home / FOLDER / "server.key", key)
    files.create(home / FOLDER / "ca.crt", ca, mode=0o644)
