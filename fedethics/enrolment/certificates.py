"""The coordinator's certificates: its institution's own, or a pilot authority made on the spot.

Sites believe an authority, not a certificate: the next certificate of the same authority is
believed without a word to them. Another authority is a new invitation, and every site joins again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fedethics.address import Address
from fedethics.deployment.certificates import SERVER_DAYS, make_certificates, renewed_certificate
from fedethics.deployment.chain import Judgement, ServerFiles, judge, pem_blocks
from fedethics.deployment.settings import FederationHome
from fedethics.enrolment import files
from fedethics.errors import EnrolmentError

FOLDER = "tls"
# Longer than any federation of a pilot: renewing the authority itself means joining again.
_AUTHORITY_DAYS = 1825


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnCertificates:
    """PEM files of the institution's own authority.

    Attributes:
        certificate: the SuperLink's, with the certificates between it and the authority's.
        key: its private key.
        ca: the authority's.
        proxy_ca: the authority's of the proxy that sites connect to, where there is one with a
            certificate of its own; None where sites see `certificate`.
    """

    certificate: Path
    key: Path
    ca: Path
    proxy_ca: Path | None = None

    @property
    def server(self) -> ServerFiles:
        """What the SuperLink shows."""
        return ServerFiles(certificate=self.certificate, key=self.key, ca=self.ca)


@dataclass(frozen=True, kw_only=True, slots=True)
class Renewal:
    """What renewing did.

    Attributes:
        end: when the first of the new certificates ends.
        warnings: what should be looked at.
        rejoin: the authority is another one, so that every site must join again.
    """

    end: datetime | None
    warnings: tuple[str, ...]
    rejoin: bool


def pilot_certificates(home: Path, addresses: Sequence[str]) -> None:
    """Make an authority, good for five years, and a certificate for these addresses, for 90 days.

    The authority's key is kept in tls/ca.key, for renewal.
    """
    hosts = tuple(dict.fromkeys(Address.parse(address).host for address in addresses))
    make_certificates(home / FOLDER, names=hosts, authority_days=_AUTHORITY_DAYS)


def own_certificates(
    home: Path, own: OwnCertificates, *, names: Mapping[str, str]
) -> tuple[str, ...]:
    """Copy the institution's own certificates into the home, once a site would believe them.

    Args:
        home: the coordinator's, or the folder that will be it.
        own: the files.
        names: host -> who connects to it, in words.

    Returns:
        What holds now, but not everywhere or not for long.

    Raises:
        EnrolmentError: a site would not believe them, with every reason; nothing was written.
    """
    found = _believed(own, names)
    files.make_private_folder(home / FOLDER)
    _copy(own, home / FOLDER)
    return found.warnings


def renew(
    home: FederationHome,
    own: OwnCertificates | None,
    *,
    new_authority: bool = False,
    days: int = SERVER_DAYS,
) -> Renewal:
    """Put the next certificate in the place of the present one; sites need not join again.

    Args:
        home: the coordinator's.
        own: the institution's next certificate and its key; None for the pilot authority's.
        new_authority: the authority may be another one, after which every site joins again.
        days: how long the pilot authority's next certificate is valid.

    Raises:
        EnrolmentError: a site would not believe it, or it is of another authority; nothing was
            changed.
        SetupError: the pilot authority cannot sign; nothing was changed.
    """
    files_now, names = home.server_files, home.settings.superlink.names_dialled
    with tempfile.TemporaryDirectory(prefix=".tls.", dir=home.path) as made:
        folder = Path(made)
        if own is not None:
            _believed(own, names)
            _copy(own, folder)
        elif new_authority:
            make_certificates(folder, names=tuple(names), days=days, authority_days=_AUTHORITY_DAYS)
        else:
            renewed = renewed_certificate(
                files_now.certificate.parent, names=tuple(names), days=days
            )
            files.create(folder / "server.crt", renewed, mode=0o644)
            for name, path in (("server.key", files_now.key), ("ca.crt", files_now.ca)):
                files.create(folder / name, files.read(path))
        new = ServerFiles(
            certificate=folder / "server.crt", key=folder / "server.key", ca=folder / "ca.crt"
        )
        found = judge(new, names=names)
        if found.problems:
            raise EnrolmentError(_listed(found.problems))
        rejoin = _same_authority(files.read(new.ca), files_now.ca, new_authority=new_authority)
        _replace(new, files_now, folder)
    return Renewal(end=found.end, warnings=found.warnings, rejoin=rejoin)


def _believed(own: OwnCertificates, names: Mapping[str, str]) -> Judgement:
    found = judge(own.server, names=names)
    problems = list(found.problems)
    if own.proxy_ca is not None:
        proxys = pem_blocks(files.read(own.proxy_ca))
        if not proxys:
            problems.append(f"{own.proxy_ca} holds no certificate in PEM text")
    if any("which sites connect to" in one for one in problems):
        problems.append(
            "if there is a proxy with its own certificate, name the authority that signed it: "
            "--proxy-ca FILE"
        )
    if problems:
        raise EnrolmentError(_listed(problems))
    return found


def _copy(own: OwnCertificates, folder: Path) -> None:
    files.create(folder / "server.crt", pem_blocks(files.read(own.certificate)), mode=0o644)
    files.create(folder / "server.key", files.read(own.key))
    files.create(folder / "ca.crt", pem_blocks(files.read(own.ca)), mode=0o644)
    if own.proxy_ca is not None:
        files.create(folder / "proxy-ca.crt", pem_blocks(files.read(own.proxy_ca)), mode=0o644)


def _same_authority(new: bytes, present: Path, *, new_authority: bool) -> bool:
    """Return whether sites must join again, which is only done when it was asked for."""
    other = new != pem_blocks(files.read(present))
    if other and not new_authority:
        raise EnrolmentError(
            f"the certificate is from another authority than {present}, which sites trust; nothing "
            "was changed. With --new-authority it is installed, and every site must join again"
        )
    return other


def _replace(new: ServerFiles, present: ServerFiles, folder: Path) -> None:
    # The key first: between the two, a start refuses, and renewing again mends it.
    files.replace(present.key, files.read(new.key))
    files.replace(present.certificate, files.read(new.certificate), mode=0o644)
    if files.read(new.ca) != files.read(present.ca):
        files.replace(present.ca, files.read(new.ca), mode=0o644)
    if (folder / "ca.key").exists():
        files.replace(present.ca.with_name("ca.key"), files.read(folder / "ca.key"))


def _listed(problems: Sequence[str]) -> str:
    listed = "\n".join(f"  - {one}" for one in problems)
    return f"no site would trust these certificates; nothing was written:\n{listed}"
