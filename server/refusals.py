"""What sites' refusals and silence tell the operator to do."""

from __future__ import annotations

from collections.abc import Mapping

from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.protocol import refusal_of

# What an honest site answers to what it has opened, or joined, before.
_AGAIN = (SecaggReject.code, SecaggAbort.code)
UNSOUND = "unsound"  # an answer came, and could not be read or did not hold
_WHEN_BACK = "Resume the job when the sites are back."
_WHEN_WILLING = "Resume the job when their operators have put that right, or have agreed to it."
_OLD_COPY = (
    "Resume the job. If its directory was put back from an older copy, these sites will not open "
    "again what they opened since: resume from the newest copy, or start a job under another id."
)


def what_to_do(codes: Mapping[str, str]) -> str:
    """Return advice after too few answers: one sentence for silence, one for each sort of no.

    Args:
        codes: who was asked in vain -> the site's code, UNSOUND, or any other word for silence.
    """
    unsound = sorted(who for who, code in codes.items() if code == UNSOUND)
    refused = {who: code for who, code in sorted(codes.items()) if code.startswith("FE")}
    silent = sorted(set(codes) - set(refused) - set(unsound))
    parts = []
    if silent:
        parts.append(f"No answer came from {', '.join(silent)}.")
    if silent or not codes:
        parts.append(_WHEN_BACK)
    if unsound:
        parts.append(
            f"What {', '.join(unsound)} answered could not be read or did not hold; events.jsonl "
            "of the job says why. That must be mended there first."
        )
    if refused:
        parts.append(
            "These refused, each with its reasons in its own log (log.jsonl in its home; in a "
            f"simulation, under sites/ of the run): {'; '.join(map(_told, refused.items()))}."
        )
        again = all(code in _AGAIN for code in refused.values())
        parts.append(_OLD_COPY if again else _WHEN_WILLING)
    return " ".join(parts)


def _told(refused: tuple[str, str]) -> str:
    who, code = refused
    known = refusal_of(code)
    return f"{who}, {known.sentence} ({code})" if known else f"{who} ({code})"
