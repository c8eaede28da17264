"""The secret under which a site names its records for labelling tools.

A name without a key could be tried out: who knows some of a record's cells would find the others.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fedethics import plain_file
from fedethics.errors import DataError
from fedethics.storage import files

_ENDING = ".task-key"
_BYTES = 32
# Which key (8 digits), and half of a MAC: two records of a site have never the same.
_MARK, _NAME = 8, 32
_NAMED = re.compile(rf"[0-9a-f]{{{_MARK}}}-[0-9a-f]{{{_NAME}}}", re.ASCII)


# Sensitive: a secret.
@dataclass(frozen=True, kw_only=True, slots=True)
class TaskKey:
    """A site's key, kept in a file beside its records.

    Attributes:
        path: of the file.
        kept: whether the file was there.
        secret: the key.
    """

    path: Path
    kept: bool
    secret: bytes = field(repr=False)

    @classmethod
    def beside(cls, data: Path) -> TaskKey:
        """Return the key that lies beside a file of records, or a new one, which is not kept yet.

        Raises:
            DataError: the file of the key is unreadable or holds no key.
        """
        path = data.with_name(f"{data.name}{_ENDING}")
        if not path.exists() and not path.is_symlink():
            return cls(path=path, kept=False, secret=secrets.token_bytes(_BYTES))
        return cls(path=path, kept=True, secret=_read(path))

    def keep(self) -> None:
        """Write the key, private to its owner, if it is new; before any name leaves.

        Raises:
            DataError: it cannot be written, or another key was written in the meantime.
        """
        if self.kept:
            return
        try:
            files.create(self.path, f"{self.secret.hex()}\n".encode("ascii"))
        except FileExistsError as error:
            raise DataError(
                f"{self.path} was written at the same time by another command. Nothing else was "
                "written; run this one again"
            ) from error
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be written: {error.strerror}. It keeps the key of the "
                "tasks' names, beside the records; nothing else was written"
            ) from error

    def discard(self) -> None:
        """Remove a key that `keep` wrote, for no name has left."""
        if not self.kept:
            with suppress(DataError, OSError):
                if _read(self.path) == self.secret:
                    self.path.unlink()

    def name_of(self, record: bytes) -> str:
        """Return the name of the record with this hash."""
        return f"{self._mark}-{_mac(self.secret, record)[:_NAME]}"

    def require_own(self, name: str, where: str) -> None:
        """Refuse a name that another key made; what is no such name is let pass.

        Raises:
            DataError: this key is new, so that of the name is missing, or it is another.
        """
        if _NAMED.fullmatch(name) is None or name.startswith(f"{self._mark}-"):
            return
        why = "holds another key" if self.kept else "is missing"
        raise DataError(
            f"{where}: the task was named under a key of `fedethics data export`, and "
            f"{self.path} {why}. Name the exported records with --records, and put the key back "
            "that the export wrote. Nothing was written"
        )

    @property
    def _mark(self) -> str:
        return _mac(self.secret, b"which key")[:_MARK]


def _mac(key: bytes, said: bytes) -> str:
    return hmac.new(key, said, hashlib.sha256).hexdigest()


def _read(path: Path) -> bytes:
    data = plain_file.read(path, lambda what: DataError(f"key of tasks {what}"), limit=1024)
    try:
        key = bytes.fromhex(data.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != _BYTES:
        raise DataError(
            f"{path} holds no key of tasks ({2 * _BYTES} hex digits). Put the file back that "
            "`fedethics data export` wrote; it was not changed. Nothing was written"
        )
    return key
