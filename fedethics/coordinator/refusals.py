"""What the operator should do about refusals and missing answers of sites."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from fedethics.errors import SecaggAbort, SecaggReject, SumUntold
from fedethics.protocol import refusal_of

# What an honest site answers to what it has opened, or joined, before.
_AGAIN = (SecaggReject.code, SecaggAbort.code)
UNSOUND = "unsound"  # an answer came, and could not be read or did not hold
UNJOINED = "unjoined"  # it announced itself, and no epoch with it came about
SILENT = "silent"
NOT_CONNECTED = "not-connected"
_TOLD_FIRST = "Resume the job: these sites first receive the sums that they wait for."
_OLD_COPY = (
    "Resume the job. If its directory was restored from an older copy, these sites do not open a "
    "second time what they have opened since: resume from the newest copy, or start a job under "
    "another id."
)


def of_sites(
    missing: Collection[str], refusals: Mapping[str, str], *, roster: Collection[str]
) -> dict[str, str]:
    """Return why each site is missing, as `what_to_do` takes it.

    Args:
        missing: sites of the roster.
        refusals: who was asked in vain -> why; nodes that have not said whose they are among them,
            and any missing site may be behind one of those.
        roster: all sites.
    """
    otherwise = SILENT if set(refusals) - set(roster) else NOT_CONNECTED
    return {site: refusals.get(site, otherwise) for site in missing}


def what_to_do(codes: Mapping[str, str]) -> str:
    """Return advice after too few answers: who is missing, each for its reason, and what helps.

    Args:
        codes: who was asked in vain -> the site's code, UNSOUND, UNJOINED, NOT_CONNECTED, or any
            other word for a missing answer.
    """
    refused = {who: code for who, code in sorted(codes.items()) if code.startswith("FE")}
    unsound, unjoined, absent = (
        sorted(who for who, code in codes.items() if code == kind)
        for kind in (UNSOUND, UNJOINED, NOT_CONNECTED)
    )
    silent = sorted(set(codes) - set(refused) - set(unsound) - set(unjoined) - set(absent))
    special = _by_itself(set(refused.values()))
    if unjoined and len(unjoined) == len(codes):
        special = "Resume the job: it repeats its request to the sites."
    parts = [
        f"No answer came from {', '.join(silent)}." if silent else "",
        f"Not asked, because not connected: {', '.join(absent)}." if absent else "",
        f"What {', '.join(unsound)} answered could not be read or did not hold; events.jsonl of "
        "the job says why."
        if unsound
        else "",
        f"The enrolment with {', '.join(unjoined)} failed; events.jsonl of the job says why."
        if unjoined
        else "",
        "Refused, each for reasons in its own log (log.jsonl in its home; in a simulation, under "
        f"sites/ of the run): {'; '.join(map(_told, refused.items()))}."
        if refused
        else "",
        special or _when(back=[*silent, *absent], mended=[*unsound, *refused]),
    ]
    return " ".join(filter(None, parts))


def _by_itself(codes: Collection[str]) -> str:
    """Return the advice where all refusals come of what the coordinator puts right itself."""
    if not codes:
        return ""
    if all(code in _AGAIN for code in codes):
        return _OLD_COPY
    return _TOLD_FIRST if set(codes) == {SumUntold.code} else ""


def _when(*, back: Collection[str], mended: Collection[str]) -> str:
    """Return the one sentence that says when to resume."""
    parts = []
    if back or not mended:
        parts.append("the sites are back" if not mended else f"{', '.join(back)} answer again")
    if mended:
        parts.append(
            f"the operators of {', '.join(sorted(mended))} have corrected this, or have agreed"
        )
    return f"Resume the job when {' and '.join(parts)}."


def _told(refused: tuple[str, str]) -> str:
    who, code = refused
    known = refusal_of(code)
    return f"{who}, {known.sentence} ({code})" if known else f"{who} ({code})"
