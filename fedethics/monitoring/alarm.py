"""alarm.json: the coordinator's signed note to the officers that a window drifted."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from fedethics import canonical, terms
from fedethics.charter.model import Charter
from fedethics.errors import ReleaseError
from fedethics.identity import Identity, verify
from fedethics.monitoring.verdict import WindowVerdict
from fedethics.release import durable
from fedethics.terms import KEY, SIGNATURE, TIME, term

ALARM = "alarm.json"
_PURPOSE = "monitoring-alarm"


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """What drifted, for the people who may withdraw the release.

    Attributes:
        sentence: which figures are above which bars.
        officers: who may withdraw the release alone, as "role name".
        signature: by the coordinator over all other fields; empty only while it is being made.
    """

    run_id: str = term(nonempty=True)
    window: int = term(at_least=1)
    raised: str = term(pattern=TIME)
    charter_hash: str = term(pattern=KEY)
    release_manifest_sha256: str = term(pattern=KEY)
    sentence: str = term(nonempty=True, prose=True)
    officers: tuple[str, ...] = term(default=())
    signature: str = term(default="", pattern=f"({SIGNATURE})?")


def raised(verdict: WindowVerdict, charter: Charter, identity: Identity) -> Alarm:
    """Return the signed note on a window that drifted."""
    alarm = Alarm(
        run_id=verdict.run_id,
        window=verdict.window,
        raised=verdict.finished,
        charter_hash=verdict.charter_hash,
        release_manifest_sha256=verdict.release_manifest_sha256,
        sentence=verdict.sentence,
        officers=tuple(f"{one.role} {one.name}" for one in charter.ethics.stakeholders),
    )
    signature = identity.sign(_message(alarm), purpose=_PURPOSE).hex()
    return dataclasses.replace(alarm, signature=signature)


def write(alarm: Alarm, folder: Path) -> None:
    """Write alarm.json durably."""
    durable.write(folder / ALARM, canonical.encode(terms.document(alarm)))


def load(folder: Path) -> Alarm:
    """Return the alarm of a window's folder, checked for form only.

    Raises:
        ReleaseError: none, or malformed.
    """
    path = folder / ALARM
    return terms.parse(Alarm, durable.read(path), what=str(path), error=ReleaseError)


def fault(alarm: Alarm, charter: Charter) -> str:
    """Return why an alarm does not count, or ""."""
    signature = bytes.fromhex(alarm.signature)
    if verify(charter.coordinator_key, _message(alarm), signature, purpose=_PURPOSE):
        return ""
    return "The alarm does not bear the coordinator's signature."


def _message(alarm: Alarm) -> bytes:
    return canonical.encode(terms.document(dataclasses.replace(alarm, signature="")))
