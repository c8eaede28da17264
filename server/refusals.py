"""What sites' refusals tell the operator to do."""

from __future__ import annotations

from collections.abc import Mapping

from fedethics.errors import SecaggAbort, SecaggReject

# What an honest site answers to what it has opened, or joined, before.
_AGAIN = (SecaggReject.code, SecaggAbort.code)
_RESUME = "Resume the job when the sites are back."


def what_to_do(codes: Mapping[str, str]) -> str:
    """Return advice after too few answers.

    Args:
        codes: who was asked in vain -> the site's code, or the exchange's word for silence.
    """
    refused = {who: code for who, code in codes.items() if code.startswith("FE")}
    silent = sorted(set(codes) - set(refused))
    parts = []
    if silent:
        parts.append(f"No answer came from {', '.join(silent)}.")
    if refused:
        told = ", ".join(f"{who} {code}" for who, code in sorted(refused.items()))
        parts.append(f"These refused, each with the reason in its own log: {told}.")
    parts.append(_RESUME)
    if refused and all(code in _AGAIN for code in refused.values()):
        parts.append(
            "If the job's directory was put back from an older copy, they will not open again what "
            "they opened since: resume from the newest copy, or start a job under another id."
        )
    return " ".join(parts)
