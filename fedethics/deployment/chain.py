"""Judge a server's certificates before anything is started or written: would a site believe them?

Every problem is found at once and described in words. At the end a TLS handshake is made in memory,
with the same libraries by which a site checks. Nothing is sent anywhere.
Source: RFC 5280 (path validation), RFC 8446 section 4.4.2 (the server's certificate comes first).
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

WARN_DAYS = 30
_LEAST_RSA_BITS = 2048
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_OLD_HASHES = ("md5", "sha1")
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_OTHER_BLOCKS = {
    b"CERTIFICATE REQUEST": "a request for a certificate, not the certificate",
    b"NEW CERTIFICATE REQUEST": "a request for a certificate, not the certificate",
    b"PKCS7": "PKCS#7, not certificates; run: openssl pkcs7 -print_certs",
    b"TRUSTED CERTIFICATE": "OpenSSL's own form; run: openssl x509",
    b"PUBLIC KEY": "a public key",
}
T = TypeVar("T", bound=x509.ExtensionType)
_SPKI = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerFiles:
    """The three PEM files of a TLS server."""

    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What was found.

    Attributes:
        problems: each would keep a site from connecting, or the server from starting.
        warnings: what holds, but not everywhere or not for long.
        end: when the first certificate of the chain ends; None where none could be read.
    """

    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    end: datetime | None = None


def judge(
    files: ServerFiles, *, names: Mapping[str, str], now: datetime | None = None
) -> Judgement:
    """Return what is wrong with a server's certificates.

    Args:
        files: the server's certificate with its intermediates, its key, and the authority's.
        names: host name or IP address -> who connects to it, in words.
        now: for tests; the handshake is made by this machine's clock.
    """
    moment, problems = now or datetime.now(UTC), list[str]()
    chain = _certificates(files.certificate, problems)
    anchors = _certificates(files.ca, problems)
    key = _public_half(files.key, problems)
    if not chain or not anchors or key is None:
        return Judgement(problems=tuple(problems))
    for one, path in (*_with(chain, files.certificate), *_with(anchors, files.ca)):
        problems += _strength(one, path)
    problems += [] if problems else _order(chain, key, files)
    if not problems:
        problems += [*_server(chain[0], files), *_authorities(chain[1:], files.certificate)]
        problems += [*_authorities(anchors, files.ca), *_path(chain, anchors, files)]
        for one, path in (*_with(chain, files.certificate), *_with(anchors, files.ca)):
            problems += _dates(one, path, moment)
    warnings = list[str]()
    if not problems:
        problems += _shake(files, names, chain[0])
        warnings += _warnings(files, names, strict=not problems)
    end = min(one.not_valid_after_utc for one in (*chain, *anchors))
    near = ending(end, now=moment)
    return Judgement(
        problems=tuple(dict.fromkeys(problems)),
        warnings=tuple(filter(None, (near, *warnings))),
        end=end,
    )


def ending(end: datetime, *, now: datetime | None = None) -> str:
    """Return a sentence in the last 30 days of a certificate's life and after it, else ""."""
    left = end - (now or datetime.now(UTC))
    if left.days >= WARN_DAYS:
        return ""
    if left.total_seconds() <= 0:
        return f"the certificate ended on {end.date()}; no site connects"
    return f"the certificate ends on {end.date()}, in {left.days} days"


def first_end(certificate: Path, ca: Path) -> datetime | None:
    """Return when the first of these certificates ends; None where one cannot be read."""
    found = [*_certificates(certificate, []), *_certificates(ca, [])]
    return min((one.not_valid_after_utc for one in found), default=None)


def last_end(ca: Path) -> datetime | None:
    """Return when the last authority of a file ends; None where it cannot be read."""
    return max((one.not_valid_after_utc for one in _certificates(ca, [])), default=None)


def pem_blocks(data: bytes) -> bytes:
    """Return the certificates of a PEM file and nothing else that stands in it."""
    blocks = (one for one in _BLOCK.finditer(data) if one.group(1) == b"CERTIFICATE")
    return b"".join(one.group(0).replace(b"\r\n", b"\n") + b"\n" for one in blocks)


def _certificates(path: Path, problems: list[str]) -> list[x509.Certificate]:
    data = _bytes(path, problems)
    if data is None:
        return []
    if data[:1] == b"\x30":
        convert = "openssl x509 -inform der (or openssl pkcs12, for a .p12 or .pfx file)"
        problems.append(f"{path} is DER, not PEM text; convert it with: {convert}")
        return []
    kinds = [one.group(1) for one in _BLOCK.finditer(data)]
    if any(kind.endswith(b"PRIVATE KEY") for kind in kinds):
        problems.append(
            f"{path} holds a private key besides its certificates, and others receive this file; "
            "put the key into a separate file"
        )
        return []
    others = [_OTHER_BLOCKS[kind] for kind in kinds if kind in _OTHER_BLOCKS]
    if others:
        problems.append(f"{path} holds {others[0]}")
        return []
    if b"CERTIFICATE" not in kinds:
        problems.append(f"{path} holds no certificate in PEM text (-----BEGIN CERTIFICATE-----)")
        return []
    try:
        found = x509.load_pem_x509_certificates(pem_blocks(data))
        for one in found:
            _ = (one.public_key(), one.extensions)  # both are only read when asked for
    except (ValueError, UnsupportedAlgorithm) as error:
        problems.append(f"{path} holds a certificate that cannot be read: {_one_line(error)}")
        return []
    if data.count(b"-----BEGIN CERTIFICATE-----") != len(found):
        problems.append(f"{path} holds a certificate that is cut off")
        return []
    return found


def _public_half(path: Path, problems: list[str]) -> bytes | None:
    data = _bytes(path, problems)
    if data is None:
        return None
    kinds = [one.group(1) for one in _BLOCK.finditer(data)]
    keys = [kind for kind in kinds if kind.endswith(b"PRIVATE KEY")]
    why = ""
    if data[:1] == b"\x30":
        why = "is DER, not PEM text; convert it with: openssl pkey -inform der"
    elif not keys:
        why = "holds no private key in PEM text (-----BEGIN PRIVATE KEY-----)"
    elif len(keys) > 1:
        why = f"holds {len(keys)} private keys; keep only the right one"
    elif keys[0] == b"ENCRYPTED PRIVATE KEY" or b"Proc-Type: 4,ENCRYPTED" in data:
        why = (
            "is encrypted, and no one can type its passphrase when the SuperLink is restarted; "
            "decrypt it with: openssl pkey, and keep it with mode 0600"
        )
    if why:
        problems.append(f"{path} {why}")
        return None
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        problems.append(f"{path} holds a private key that cannot be read: {_one_line(error)}")
        return None
    return key.public_key().public_bytes(*_SPKI)


def _order(chain: Sequence[x509.Certificate], key: bytes, files: ServerFiles) -> Iterator[str]:
    """Say whether the key's certificate comes first, and each one's issuer after it."""
    where = [_spki(one) == key for one in chain]
    if not any(where):
        yield f"{files.key} is not the key of {files.certificate}"
        return
    wrong = (
        f"{files.certificate} is in the wrong order: the server's own certificate comes first, "
        "then the one that signed it, and so on"
    )
    if not where[0]:
        yield f"{wrong}. Its own is number {where.index(True) + 1} there"
        return
    for one, issuer in pairwise(chain):
        if not _signed(one, issuer):
            signer = any(_signed(one, other) for other in chain)
            yield (
                f"{wrong}. {_named(issuer)} stands where the issuer of {_named(one)} belongs"
                if signer
                else f"{files.certificate} holds {_named(issuer)}, which did not sign {_named(one)}"
            )
            return


def _server(leaf: x509.Certificate, files: ServerFiles) -> Iterator[str]:
    path = files.certificate
    constraints = _extension(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        yield f"{path} begins with an authority's certificate ({_named(leaf)}), not a server's"
    usage = _extension(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        yield f"{path}: its key usage lacks digital signature, which TLS needs"
    purposes = _extension(leaf, x509.ExtendedKeyUsage)
    fit = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    if purposes is not None and not any(one in purposes for one in fit):
        yield f"{path}: its extended key usage lacks server authentication"
    if _extension(leaf, x509.SubjectAlternativeName) is None:
        yield f"{path} names no host: it has no subject alternative names"


def _authorities(found: Sequence[x509.Certificate], path: Path) -> Iterator[str]:
    for one in found:
        constraints = _extension(one, x509.BasicConstraints)
        if constraints is None or not constraints.ca:
            yield f"{path}: {_named(one)} is not an authority's certificate (CA flag)"
        usage = _extension(one, x509.KeyUsage)
        if usage is not None and not usage.key_cert_sign:
            yield f"{path}: the key usage of {_named(one)} lacks signing of certificates"


def _strength(one: x509.Certificate, path: Path) -> Iterator[str]:
    key = one.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _LEAST_RSA_BITS:
            yield f"{path}: the RSA key of {_named(one)} has {key.key_size} bits; 2048 at least"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            yield f"{path}: the key of {_named(one)} is on {key.curve.name}; P-256 at least"
    elif not isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        yield f"{path}: the key of {_named(one)} is of a kind that TLS does not accept"
    hashed = one.signature_hash_algorithm
    if hashed is not None and hashed.name in _OLD_HASHES and one.issuer != one.subject:
        yield f"{path}: {_named(one)} is signed over {hashed.name}, which can be forged"


def _path(
    chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], files: ServerFiles
) -> Iterator[str]:
    """Say which certificate is missing between the server's and the authority's."""
    last, seen = chain[-1], set[bytes]()
    while not _signed(last, last):
        issuer = next((one for one in anchors if _signed(last, one)), None)
        if issuer is None:
            yield (
                f"{files.certificate}: {_named(last)} was signed by "
                f"{last.issuer.rfc4514_string()!r}, which is neither in it nor in {files.ca}. "
                "Append the certificates in between to it, each after the one that it signed, or "
                "name the authority that did sign it"
            )
            return
        if issuer.public_bytes(Encoding.DER) in seen:
            return
        seen.add(issuer.public_bytes(Encoding.DER))
        last = issuer
    if not any(one == last for one in anchors):
        yield f"{files.certificate} ends at {_named(last)}, which is not in {files.ca}"


def _dates(one: x509.Certificate, path: Path, now: datetime) -> Iterator[str]:
    if now > one.not_valid_after_utc:
        yield f"{path}: {_named(one)} has expired on {one.not_valid_after_utc.isoformat()}"
    if now < one.not_valid_before_utc:
        begin = one.not_valid_before_utc.isoformat()
        yield f"{path}: {_named(one)} is valid from {begin} only; compare the clock"


def _shake(files: ServerFiles, names: Mapping[str, str], leaf: x509.Certificate) -> Iterator[str]:
    for name, who in names.items():
        why, code = _handshake(files, name, strict=False)
        if code in (62, 64):  # OpenSSL: the name, the IP address
            yield f"{files.certificate} is for {_hosts(leaf)}, not for {name}, which {who}"
        elif why:
            yield f"{files.certificate}: no connection to {name}, which {who}: {why}"


def _warnings(files: ServerFiles, names: Mapping[str, str], *, strict: bool) -> Iterator[str]:
    for name in names if strict else ():
        why, _ = _handshake(files, name, strict=True)
        if why:
            yield f"a site with Python 3.13 or newer refuses {files.certificate}: {why}"
            return


def _handshake(files: ServerFiles, name: str, *, strict: bool) -> tuple[str, int]:
    """Return why a client of `name` would not connect, and OpenSSL's code for it."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.hostname_checks_common_name = False
    if strict:
        client.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        server.load_cert_chain(files.certificate, files.key, password=lambda: "")
        client.load_verify_locations(cafile=files.ca)
        _exchange(server, client, name)
    except ssl.SSLCertVerificationError as error:
        return error.verify_message, error.verify_code
    except (ssl.SSLError, OSError) as error:
        return getattr(error, "reason", None) or str(error), 0
    return "", 0


def _exchange(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(down, up, server_hostname=name),
        server.wrap_bio(up, down, server_side=True),
    ]
    steps: list[Callable[[], None]] = [end.do_handshake for end in ends]
    for _ in range(6):  # a handshake takes two turns each
        done = True
        for step in steps:
            try:
                step()
            except ssl.SSLWantReadError:
                done = False
        if done:
            return


def _signed(one: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _with(found: Sequence[x509.Certificate], path: Path) -> Iterator[tuple[x509.Certificate, Path]]:
    for one in found:
        yield one, path


def _extension(one: x509.Certificate, kind: type[T]) -> T | None:
    try:
        return one.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _hosts(leaf: x509.Certificate) -> str:
    names = _extension(leaf, x509.SubjectAlternativeName)
    return ", ".join(str(one.value) for one in names) if names is not None else "no host"


def _spki(one: x509.Certificate) -> bytes:
    return one.public_key().public_bytes(*_SPKI)


def _named(one: x509.Certificate) -> str:
    return repr(one.subject.rfc4514_string() or f"number {one.serial_number}")


def _bytes(path: Path, problems: list[str]) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError as error:
        problems.append(f"{path} cannot be read: {error.strerror}")
        return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
