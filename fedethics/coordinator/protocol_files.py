"""Where a job keeps the protocol's messages, and what the members said of each opened sum.

`protocol/epoch-0002.log`, `protocol/update-0003.log`: one file an epoch, one a sum that is not
settled yet. A sum's file is there from before its OPEN is sent until every site in the sum was told
of it and has checked it.

`sums/update-0003.sum`: an opened sum with the members' signed word that they checked it: the OPEN,
the RESULT and each CHECKED. A site that was away derives the adapter from them, so they are kept
for the length of the job. Nothing in them is secret from a member of the federation, and all of it
is signed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fedethics.aggregates.registry import AGGREGATES
from fedethics.charter_sums import UPDATE
from fedethics.errors import ReleaseError, RunError, SecaggReject
from fedethics.release import durable
from fedethics.secagg import CheckedSum, framing

FOLDER = "protocol"
SUMS = "sums"


@dataclass(frozen=True, slots=True)
class ProtocolFiles:
    """The files of one job, under its directory."""

    job_path: Path

    def epoch(self, number: int) -> Path:
        """Return the file of an epoch."""
        return self._folder / f"epoch-{number:04d}.log"

    def session(self, name: str, number: int) -> Path:
        """Return the file of the sum of `name` in round `number`."""
        return self._folder / f"{name}-{number:04d}.log"

    def sessions(self) -> Iterator[tuple[str, int, Path]]:
        """Yield name, round and file of each sum that is not settled, by round."""
        found: list[tuple[int, str, Path]] = []
        for path in self._folder.glob("*.log"):
            name, _, digits = path.stem.rpartition("-")
            if name in AGGREGATES and digits.isdigit():
                found.append((int(digits), name, path))
        for number, name, path in sorted(found):
            yield name, number, path

    def forget(self, path: Path) -> None:
        """Delete a file that nobody needs any more.

        Raises:
            RunError: it cannot be deleted.
        """
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise RunError(f"{path} cannot be deleted ({error.strerror})") from error

    @property
    def _folder(self) -> Path:
        return self.job_path / FOLDER


@dataclass(frozen=True, slots=True)
class CheckedSums:
    """The files of one job, under its directory."""

    job_path: Path
    _signers: dict[Path, frozenset[str]] = field(default_factory=dict)

    def signers(self, name: str, number: int) -> frozenset[str]:
        """Return the sites that vouched for the sum of `name` in round `number`."""
        path = self._path(name, number)
        if path not in self._signers:
            known = self.load(name, number)
            self._signers[path] = frozenset(map(_signer, known.statements if known else ()))
        return self._signers[path]

    def add(
        self,
        name: str,
        number: int,
        *,
        opened: bytes,
        result: bytes,
        statements: Collection[bytes],
    ) -> None:
        """Keep a sum with the statements that came, beside those that were there, durably.

        Args:
            name: which sum.
            number: its round.
            opened: the OPEN of its session.
            result: the RESULT that was told.
            statements: CHECKED messages, each found genuine and of this sum.

        Raises:
            RunError: it cannot be written; what was there stands.
        """
        if not statements:
            return
        known = self.load(name, number)
        kept = {_signer(each): each for each in known.statements} if known else {}
        kept |= {_signer(each): each for each in statements}
        path = self._path(name, number)
        try:
            path.parent.mkdir(exist_ok=True)
            durable.write(path, framing.pack([opened, result, *kept.values()]))
        except (OSError, ReleaseError) as error:
            raise RunError(
                f"{path} cannot be written ({error}). What was committed is kept; make room, then "
                "resume the job"
            ) from error
        self._signers[path] = frozenset(kept)

    def load(self, name: str, number: int) -> CheckedSum | None:
        """Return a sum with its statements; None if nobody has vouched for it yet.

        Raises:
            RunError: the file is damaged.
        """
        path = self._path(name, number)
        if not path.exists():
            return None
        try:
            opened, result, *statements = framing.unpack(memoryview(durable.read(path)))
        except (ReleaseError, SecaggReject, ValueError) as error:
            raise RunError(f"{path} is damaged: {error}") from error
        return CheckedSum(opened=opened, result=result, statements=tuple(statements))

    def last_checked(self, site: str, *, before: int) -> int:
        """Return the last round up to `before` whose sum of updates a site checked; 0 if none."""
        for number in range(before, 0, -1):
            if site in self.signers(UPDATE, number):
                return number
        return 0

    def _path(self, name: str, number: int) -> Path:
        return self.job_path / SUMS / f"{name}-{number:04d}.sum"


def _signer(statement: bytes) -> str:
    header = framing.decode(statement, kind=framing.Kind.CHECKED, max_body_bytes=0).header
    return str(header["sender"])
