"""Certificates of every kind that an institution may hand over, right and wrong; all made here."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
HOSTS = ("127.0.0.1", "localhost")


def usage(*, signs: bool = False, digital: bool = True) -> x509.KeyUsage:
    names = ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement"]
    rest = dict.fromkeys([*names, "encipher_only", "decipher_only"], False)
    return x509.KeyUsage(digital_signature=digital, key_cert_sign=signs, crl_sign=signs, **rest)


@dataclass
class One:
    """A certificate and its key; `by` signed it, or it itself."""

    name: str
    by: One | None = None
    ca: bool = False
    hosts: tuple[str, ...] = ()
    begin: datetime = NOW - DAY
    end: datetime = NOW + 200 * DAY
    key: object = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    key_usage: x509.KeyUsage | None = None
    purposes: tuple = ()
    hashed: object = field(default_factory=hashes.SHA256)
    flag: bool = True
    bare: bool = False

    def __post_init__(self) -> None:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        signer = self.by or self
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.by.certificate.subject if self.by else subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.begin)
            .not_valid_after(self.end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), False
            )
        )
        if self.flag:
            made = made.add_extension(x509.BasicConstraints(self.ca, None), True)
        if self.ca and self.key_usage is None and not self.bare:
            self.key_usage = usage(signs=True)
        if self.key_usage is not None:
            made = made.add_extension(self.key_usage, True)
        if self.purposes:
            made = made.add_extension(x509.ExtendedKeyUsage(self.purposes), False)
        if self.hosts:
            made = made.add_extension(
                x509.SubjectAlternativeName([*map(_general, self.hosts)]), False
            )
        hashed = None if isinstance(signer.key, ed25519.Ed25519PrivateKey) else self.hashed
        self.certificate = made.sign(signer.key, hashed)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


class Institution:
    """A root, an intermediate and a server's certificate, all as they should be."""

    def __init__(self) -> None:
        self.root = One("root", ca=True)
        self.middle = One("middle", by=self.root, ca=True)
        self.leaf = self.server()

    def server(self, by: One | None = None, **changes) -> One:
        return One("server", by=by or self.middle, **({"hosts": HOSTS} | changes))


RIGHT = {
    "leaf and intermediate": lambda i: (i.leaf.pem + i.middle.pem, i.leaf.key_pem, i.root.pem),
    "with the root too": lambda i: (
        i.leaf.pem + i.middle.pem + i.root.pem,
        i.leaf.key_pem,
        i.root.pem,
    ),
    "straight from the root": lambda i: _of(i, i.server(by=i.root), chain=b""),
    "intermediate with the authority": lambda i: (
        i.leaf.pem,
        i.leaf.key_pem,
        i.root.pem + i.middle.pem,
    ),
    "windows line ends": lambda i: (
        (i.leaf.pem + i.middle.pem).replace(b"\n", b"\r\n"),
        i.leaf.key_pem.replace(b"\n", b"\r\n"),
        i.root.pem.replace(b"\n", b"\r\n"),
    ),
    "words between the blocks": lambda i: (
        b"subject=server\n" + i.leaf.pem + b"issuer=root\n" + i.middle.pem,
        i.leaf.key_pem,
        b"# our root\n" + i.root.pem,
    ),
    "two authorities": lambda i: (
        i.leaf.pem + i.middle.pem,
        i.leaf.key_pem,
        One("another", ca=True).pem + i.root.pem,
    ),
    "rsa 2048": lambda i: _of(i, i.server(key=_rsa(2048))),
    "ed25519": lambda i: _of(i, i.server(key=ed25519.Ed25519PrivateKey.generate())),
    "server purpose": lambda i: _of(i, i.server(purposes=(ExtendedKeyUsageOID.SERVER_AUTH,))),
    "older form of key": lambda i: (
        i.leaf.pem + i.middle.pem,
        i.leaf.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        i.root.pem,
    ),
}
WRONG = {
    "no intermediate": (lambda i: (i.leaf.pem, i.leaf.key_pem, i.root.pem), "was signed by"),
    "wrong order": (
        lambda i: (i.middle.pem + i.leaf.pem, i.leaf.key_pem, i.root.pem),
        "wrong order",
    ),
    "root before intermediate": (
        lambda i: (i.leaf.pem + i.root.pem + i.middle.pem, i.leaf.key_pem, i.root.pem),
        "wrong order",
    ),
    "stranger in the chain": (
        lambda i: (i.leaf.pem + One("odd", ca=True).pem, i.leaf.key_pem, i.root.pem),
        "did not sign",
    ),
    "another authority": (
        lambda i: (i.leaf.pem + i.middle.pem, i.leaf.key_pem, One("root", ca=True).pem),
        "was signed by",
    ),
    "intermediate as authority": (
        lambda i: (i.leaf.pem, i.leaf.key_pem, i.middle.pem),
        "was signed by",
    ),
    "key of nobody": (
        lambda i: (i.leaf.pem + i.middle.pem, One("x").key_pem, i.root.pem),
        "not the key of",
    ),
    "expired": (lambda i: _of(i, i.server(begin=NOW - 9 * DAY, end=NOW - DAY)), "has expired"),
    "not valid yet": (lambda i: _of(i, i.server(begin=NOW + DAY)), "valid from"),
    "intermediate expired": (
        lambda i: _under(i, begin=NOW - 9 * DAY, end=NOW - DAY),
        "has expired",
    ),
    "root expired": (lambda i: _rooted(begin=NOW - 9 * DAY, end=NOW - DAY), "has expired"),
    "another host": (lambda i: _of(i, i.server(hosts=("fed.example.org",))), "not for 127.0.0.1"),
    "name in no alternative": (
        lambda i: _of(i, One("127.0.0.1", by=i.middle)),
        "no subject alternative names",
    ),
    "authority as server": (lambda i: _of(i, i.server(ca=True)), "authority's certificate"),
    "intermediate without the flag": (lambda i: _under(i, ca=False), "CA flag"),
    "intermediate without constraints": (lambda i: _under(i, flag=False), "CA flag"),
    "intermediate may not sign": (lambda i: _under(i, key_usage=usage()), "key usage"),
    "server may not sign": (
        lambda i: _of(i, i.server(key_usage=usage(digital=False, signs=True))),
        "digital signature",
    ),
    "for clients only": (
        lambda i: _of(i, i.server(purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,))),
        "server authentication",
    ),
    "rsa 1024": (lambda i: _of(i, i.server(key=_rsa(1024))), "1024 bits"),
    "small curve": (
        lambda i: _of(i, i.server(key=ec.generate_private_key(ec.SECP224R1()))),
        "P-256 at least",
    ),
    "encrypted key": (
        lambda i: (
            i.leaf.pem + i.middle.pem,
            i.leaf.key.private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")
            ),
            i.root.pem,
        ),
        "is encrypted",
    ),
    "encrypted key of the older form": (
        lambda i: (
            i.leaf.pem + i.middle.pem,
            i.leaf.key.private_bytes(
                Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"word")
            ),
            i.root.pem,
        ),
        "is encrypted",
    ),
    "two keys": (
        lambda i: (i.leaf.pem + i.middle.pem, i.leaf.key_pem + i.middle.key_pem, i.root.pem),
        "2 private keys",
    ),
    "public key": (
        lambda i: (
            i.leaf.pem + i.middle.pem,
            i.leaf.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            i.root.pem,
        ),
        "no private key",
    ),
    "certificate as DER": (lambda i: (i.leaf.der, i.leaf.key_pem, i.root.pem), "is DER"),
    "authority as DER": (
        lambda i: (i.leaf.pem + i.middle.pem, i.leaf.key_pem, i.root.der),
        "is DER",
    ),
    "key as DER": (
        lambda i: (
            i.leaf.pem + i.middle.pem,
            i.leaf.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
            i.root.pem,
        ),
        "is DER",
    ),
    "key among the certificates": (
        lambda i: (i.leaf.pem + i.middle.pem + i.leaf.key_pem, i.leaf.key_pem, i.root.pem),
        "holds a private key",
    ),
    "key with the authority": (
        lambda i: (i.leaf.pem + i.middle.pem, i.leaf.key_pem, i.root.pem + i.root.key_pem),
        "holds a private key",
    ),
    "files changed about": (
        lambda i: (i.leaf.key_pem, i.leaf.pem + i.middle.pem, i.root.pem),
        "holds a private key",
    ),
    "a request": (
        lambda i: (
            i.leaf.pem.replace(b" CERTIFICATE-", b" CERTIFICATE REQUEST-"),
            i.leaf.key_pem,
            i.root.pem,
        ),
        "a request for a certificate",
    ),
    "pkcs7": (
        lambda i: (i.leaf.pem.replace(b" CERTIFICATE-", b" PKCS7-"), i.leaf.key_pem, i.root.pem),
        "PKCS#7",
    ),
    "cut off": (
        lambda i: ((i.leaf.pem + i.middle.pem)[:-60], i.leaf.key_pem, i.root.pem),
        "cut off",
    ),
    "not base64": (
        lambda i: (i.leaf.pem.replace(b"MII", b"!!!"), i.leaf.key_pem, i.root.pem),
        "cannot be read",
    ),
    "empty": (lambda i: (b"", i.leaf.key_pem, i.root.pem), "holds no certificate"),
    "utf-16": (
        lambda i: (i.leaf.pem.decode().encode("utf-16"), i.leaf.key_pem, i.root.pem),
        "holds no certificate",
    ),
    "its own authority": (
        lambda i: (lambda s: (s.pem, s.key_pem, s.pem))(One("self", hosts=HOSTS)),
        "CA flag",
    ),
}


def _rsa(bits: int):
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def _of(institution: Institution, leaf: One, chain: bytes | None = None):
    rest = institution.middle.pem if chain is None else chain
    return leaf.pem + rest, leaf.key_pem, institution.root.pem


def _under(institution: Institution, **changes):
    middle = One("middle", by=institution.root, **({"ca": True} | changes))
    leaf = institution.server(by=middle)
    return leaf.pem + middle.pem, leaf.key_pem, institution.root.pem


def _rooted(**changes):
    root = One("root", ca=True, **changes)
    leaf = One("server", by=root, hosts=HOSTS)
    return leaf.pem, leaf.key_pem, root.pem


def write(folder: Path, made: tuple[bytes, bytes, bytes]) -> tuple[object, ...]:
    """Write the three files, and return the options that name them."""
    folder.mkdir(exist_ok=True)
    words: list[object] = []
    for option, name, data in zip(
        ("--certificate", "--key", "--ca"), ("s.pem", "s.key", "ca.pem"), made, strict=True
    ):
        (folder / name).write_bytes(data)
        words += [option, folder / name]
    return tuple(words)
