"""A site's records as a charter reads them, and what the permit must know of them; no torch.

Danger: whether a computation on records fails, and how, is a fact about them that no noise covers.
So whatever fails while records are read or computed on is one refusal, in which the coordinator
cannot distinguish one reason from another.
"""

from __future__ import annotations

import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fedethics.aggregates.registry import columns_beside
from fedethics.charter.model import Charter
from fedethics.data.beside import BesideColumn
from fedethics.data.file_terms import DataFile
from fedethics.data.reading import read_records
from fedethics.data.records import Records, Split, split
from fedethics.errors import DataError, FedethicsError, RecordsRefusal
from fedethics.identical import Same
from fedethics.policy.permit import DataFacts
from fedethics.privacy.ledger import DataSet

# Read once a process. A site has one or two; a simulation, whose process is all sites, has many.
_FILES = 2048
_State = tuple[int, ...]


# Sensitive: what it holds are records.
class _Newest:
    """Records by charter and file, each file in its newest state only.

    A person who was deleted from a file is in memory until the file is looked at again, no longer.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, tuple[Path, _State, Split]] = OrderedDict()
        self._lock = threading.Lock()

    def forget(self, path: Path) -> None:
        """Let go of what was read of a file."""
        with self._lock:
            for one in [key for key, (of, _, _) in self._kept.items() if of == path]:
                del self._kept[one]

    def get(self, key: Hashable, path: Path, state: _State, read: Callable[[], Split]) -> Split:
        """Return what was read of this state of a file, or read it; forget its other states."""
        with self._lock:
            old = [one for one, (of, then, _) in self._kept.items() if of == path and then != state]
            for one in old:
                del self._kept[one]
            if found := self._kept.get(key):
                self._kept.move_to_end(key)
                return found[2]
        records = read()
        with self._lock:
            self._kept[key] = path, state, records
            while len(self._kept) > _FILES:
                self._kept.popitem(last=False)
        return records


_BY_CHARTER, _BY_TERMS = _Newest(), _Newest()


def site_records(file: Path | DataFile, charter: Charter) -> Split:
    """Read and split the records by a charter, or return what this process read of the same file.

    Raises:
        DataError: the file is not as the charter's schema says.
    """
    own = DataFile.of(file)
    state = _state_of(own.path)
    return _BY_CHARTER.get(
        (Same(charter), own), own.path, state, lambda: _records(charter, own, state)
    )


def forget_records(path: Path) -> None:
    """Let go of what this process read of a file, so that no record stays in its memory."""
    _BY_CHARTER.forget(path)
    _BY_TERMS.forget(path)


def facts_of(records: Split) -> DataFacts:
    """Return what the permit needs to know of the records; it stays at the site."""
    train, held_out = records.train, records.held_out
    return DataFacts(
        train=_account(train, "train"),
        held_out=_account(held_out, "held-out"),
        train_records=train.unit_count,
        held_out_records=held_out.unit_count,
    )


def facts_or_refusal(file: Path | DataFile, charter: Charter) -> DataFacts | RecordsRefusal:
    """Return what the permit needs to know, or why the records cannot be read."""
    try:
        with reading_records():
            return facts_of(site_records(file, charter))
    except RecordsRefusal as refusal:
        return refusal


@contextmanager
def reading_records() -> Iterator[None]:
    """Turn whatever fails inside into the one refusal of all that reads records.

    Guarantee: nothing else leaves, whatever the records hold; the reason, for the site's own log,
    quotes our own errors, and of all others the kind and the place only.

    Raises:
        RecordsRefusal: something failed. It is lasting where the file was read and does not fit.
    """
    try:
        yield
    except RecordsRefusal:
        raise
    except FedethicsError as error:
        lasting = isinstance(error, DataError) and not isinstance(error.__cause__, OSError)
        raise RecordsRefusal([f"[{error.code}] {error}"], lasting=lasting) from error
    except Exception as error:
        # Its text may quote a record.
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        raise RecordsRefusal([f"{type(error).__name__} at {where}"]) from error


def kept_refusal(since: str) -> RecordsRefusal:
    """Return the refusal that a site gave before and keeps, for its own log and terminal."""
    return RecordsRefusal(
        [
            f"this site's records did not fit this charter on {since}, and its answer is kept. "
            "Once `fedethics site check` finds nothing else, `fedethics site reconsider` lets the "
            "site decide again"
        ]
    )


def _account(part: Records, label: str) -> DataSet:
    return DataSet(
        fingerprint=part.fingerprint, label=label, source=part.source_fingerprint, unit=part.unit
    )


def _state_of(path: Path) -> _State:
    """Return what changes whenever the file does; a copy may keep the time of writing."""
    try:
        found = path.stat()
    except OSError:
        return ()  # reading it says what is wrong
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _records(charter: Charter, file: DataFile, state: _State) -> Split:
    """Read a file, or take over what was read under another charter with the same schema."""
    terms, task = charter.data, charter.model.task
    beside: tuple[BesideColumn, ...] = columns_beside(charter)
    return _BY_TERMS.get(
        (terms, task, beside, file),
        file.path,
        state,
        lambda: split(read_records(file, terms, task=task, beside=beside), terms),
    )
