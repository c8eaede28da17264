"""Where a job keeps the protocol's messages: one file an epoch, one a sum that is not settled yet.

`protocol/epoch-0002.log`, `protocol/update-0003.log`. A sum's file is there from before its OPEN is
sent until every site in the sum was told of it and has checked it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from fedethics.errors import RunError
from fedethics.tasks import AUDIT, FAIRNESS, PROGRESS, STEERING, UPDATE, Kind

FOLDER = "protocol"
_TASKS = (UPDATE, PROGRESS, FAIRNESS, STEERING, AUDIT)


@dataclass(frozen=True, slots=True)
class ProtocolFiles:
    """The files of one job, under its directory."""

    job_path: Path

    def epoch(self, number: int) -> Path:
        """Return the file of an epoch."""
        return self._folder / f"epoch-{number:04d}.log"

    def session(self, task: Kind, number: int) -> Path:
        """Return the file of the sum of `task` in round `number`."""
        return self._folder / f"{task}-{number:04d}.log"

    def sessions(self) -> Iterator[tuple[Kind, int, Path]]:
        """Yield task, round and file of each sum that is not settled, by round."""
        found: list[tuple[int, str, Path]] = []
        for path in self._folder.glob("*.log"):
            name, _, digits = path.stem.rpartition("-")
            if name in _TASKS and digits.isdigit():
                found.append((int(digits), name, path))
        for number, task, path in sorted(found):
            yield cast(Kind, task), number, path

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
