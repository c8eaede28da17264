"""A certificate authority and a server certificate, for tests and pilots.

In production the institution's own authority signs the SuperLink's certificate; point
`[superlink]` of federation.toml to those files and leave this alone.
Source: RFC 5280, by way of `cryptography`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedethics.errors import SetupError
from fedethics.storage import files

SERVER_DAYS = 90
AUTHORITY_KEY = "ca.key"
_SKEW = timedelta(minutes=10)
_LABEL = "fedethics pilot"


def make_certificates(
    folder: Path,
    *,
    names: Sequence[str],
    days: int = SERVER_DAYS,
    authority_days: int | None = None,
    now: datetime | None = None,
) -> None:
    """Write ca.crt, server.crt and server.key (mode 0600) into `folder`; overwrite nothing.

    The authority's own key is used once and not kept, unless `authority_days` is given: nobody can
    sign a second certificate. The names localhost and 127.0.0.1 are always in it, since the
    coordinator's own processes and its proxy connect to them.

    Args:
        folder: made with mode 0700 if absent.
        names: all host names and addresses that sites connect to.
        days: how long the server's certificate is valid, and the authority's as well.
        authority_days: how long the authority's is valid instead; its key is then kept in ca.key
            (mode 0600), by which `renew_certificate` signs the next one.
        now: when they begin, for tests; a past time makes certificates that have expired.

    Raises:
        SetupError: `names` is empty, or a file is there already.
    """
    if not names:
        raise SetupError("a certificate needs at least one host name or address")
    begin = (now or datetime.now(UTC)) - _SKEW
    authority_key, server_key = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
    lasts = timedelta(days=days if authority_days is None else authority_days)
    authority = _authority(authority_key, begin, begin + lasts)
    end = begin + timedelta(days=days)
    server = _server(server_key.public_key(), authority, authority_key, names, begin, end)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(folder / "ca.crt", authority.public_bytes(serialization.Encoding.PEM), 0o644)
    _write(folder / "server.crt", server.public_bytes(serialization.Encoding.PEM), 0o644)
    _write(folder / "server.key", _private(server_key), 0o600)
    if authority_days is not None:
        _write(folder / AUTHORITY_KEY, _private(authority_key), 0o600)


def renewed_certificate(
    folder: Path, *, names: Sequence[str], days: int = SERVER_DAYS, now: datetime | None = None
) -> bytes:
    """Return (PEM) a new certificate for the key in `folder`, by the authority that is kept there.

    Nothing is written. It ends with its authority at the latest.

    Args:
        folder: where `make_certificates` wrote, with `authority_days`.
        names: all host names and addresses that sites connect to.
        days: how long it is valid.
        now: when it begins, for tests.

    Raises:
        SetupError: the authority's key was not kept, or has expired itself, or cannot be read.
    """
    kept = folder / AUTHORITY_KEY
    if not kept.exists():
        raise SetupError(
            f"{kept} is missing: this authority cannot sign another certificate. Nothing was "
            "changed. Give the next certificate of your own authority, or make a new authority "
            "(--new-authority); then every site joins again"
        )
    begin = (now or datetime.now(UTC)) - _SKEW
    authority = _read_certificate(folder / "ca.crt")
    key, own = _read_key(kept), _read_key(folder / "server.key")
    if key.public_key() != authority.public_key():
        raise SetupError(f"{kept} is not the key of {folder / 'ca.crt'}; nothing was changed")
    if begin >= authority.not_valid_after_utc:
        ended = authority.not_valid_after_utc.date()
        raise SetupError(
            f"the authority in {folder / 'ca.crt'} has ended on {ended} itself; nothing was "
            "changed. Make a new one (--new-authority); then every site joins again"
        )
    end = min(begin + timedelta(days=days), authority.not_valid_after_utc)
    server = _server(own.public_key(), authority, key, names, begin, end)
    return server.public_bytes(serialization.Encoding.PEM)


def require_valid(path: Path, *, now: datetime | None = None) -> None:
    """Refuse a certificate (PEM) that has expired or is not valid yet.

    Raises:
        SetupError: so, or it cannot be read.
    """
    moment = now or datetime.now(UTC)
    certificate = _read_certificate(path)
    if moment > certificate.not_valid_after_utc:
        end = certificate.not_valid_after_utc.isoformat()
        raise SetupError(f"certificate {path} has expired on {end}; no site would connect")
    if moment < certificate.not_valid_before_utc:
        begin = certificate.not_valid_before_utc.isoformat()
        raise SetupError(f"certificate {path} is valid from {begin} only; compare the clock")


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SetupError(f"certificate {path} cannot be read: {type(error).__name__}") from error


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SetupError(f"key {path} cannot be read: {type(error).__name__}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SetupError(f"key {path} was not made by `federation init`; nothing was changed")
    return key


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _authority(key: ec.EllipticCurvePrivateKey, begin: datetime, end: datetime) -> x509.Certificate:
    name = _name(f"{_LABEL} authority")
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        _builder(name, name, key.public_key(), begin, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA384())
    )


def _server(
    key: ec.EllipticCurvePublicKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    names: Sequence[str],
    begin: datetime,
    end: datetime,
) -> x509.Certificate:
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    names = tuple(dict.fromkeys((*names, "localhost", "127.0.0.1")))
    return (
        _builder(_name(f"{_LABEL} SuperLink"), authority.subject, key, begin, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general(n) for n in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority_key, hashes.SHA384())
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    begin: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, data: bytes, mode: int) -> None:
    try:
        files.create(path, data, mode=mode)
    except FileExistsError:
        raise SetupError(f"{path} exists already; nothing was overwritten") from None
