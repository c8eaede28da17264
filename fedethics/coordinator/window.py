"""The coordinator's part in a window of monitoring: what it rests on, and what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from fedethics.aggregates.monitoring import MONITORING, terms_of, window_number
from fedethics.coordinator.closing import collect_receipts, countersigned
from fedethics.coordinator.events import EventLog
from fedethics.coordinator.federation import Federation
from fedethics.coordinator.job import Job, RunSettings
from fedethics.errors import RunError
from fedethics.monitoring import baseline
from fedethics.monitoring.baseline import Baseline
from fedethics.monitoring.closing import publish
from fedethics.monitoring.evidence import WindowEvidence
from fedethics.privacy.plan import PrivacyPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchedRelease:
    """The window of this run, and the release that it is held to."""

    window: int
    baseline: Baseline


def watched_release(job: Job, settings: RunSettings) -> WatchedRelease | None:
    """Return what a run of monitoring rests on; None for a charter that trains.

    Raises:
        RunError: the run's name tells no window, the window is not over, or no release is named.
        ReleaseError: the release does not verify, was withdrawn, or is another one.
    """
    if job.charter.monitoring is None:
        return None
    agreed, number = terms_of(job.charter), window_number(settings.job_id)
    if number is None or number > agreed.windows:
        raise RunError(
            f"job id {settings.job_id!r} names no window of the charter: NAME-w0001 to "
            f"NAME-w{agreed.windows:04d}. Nothing was started"
        )
    today = datetime.now(UTC).date()
    if today < agreed.readable_from(number):
        raise RunError(
            f"window {number} may be read from {agreed.readable_from(number)}, and this machine's "
            f"clock says {today}; nothing was started or charged"
        )
    if settings.start_path is None:
        raise RunError(
            "a charter with [monitoring] needs the folder of the release that it watches: "
            "start-dir. Nothing was started"
        )
    return WatchedRelease(
        window=number, baseline=baseline.released(settings.start_path, job.charter)
    )


def close_window(
    job: Job,
    federation: Federation,
    plan: PrivacyPlan,
    watched: WatchedRelease,
    events: EventLog,
) -> None:
    """Write all that a window's run leaves behind, and say what it found."""
    taken = collect_receipts(job, federation)
    witnesses = countersigned(job, federation, taken)
    (opened,) = [one for one in job.state.sums if one.kind == MONITORING.name]
    (counted,) = [one for one in job.state.counted or () if one.kind == MONITORING.name]
    found = WindowEvidence(
        run_id=federation.run,
        window=watched.window,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        charter_hash=job.charter_hash,
        release_manifest_sha256=terms_of(job.charter).release,
        model_sha256=job.charter.adapter.from_ or "",
        variance=MONITORING.of(plan.sums).noise.sum_variance,
        test_mode=any(receipt.fixed_noise for _, receipt in taken),
        opened=opened,
        counts=counted.counts,
        receipts=tuple(signed for signed, _ in taken),
        countersignatures=witnesses,
        charter_signatures=job.signatures,
    )
    said = publish(job.path, job.charter, found, watched.baseline, job.identity)
    events.write("window-closed", window=said.window, verdict=said.verdict, sentence=said.sentence)
    if said.verdict == "drifted":
        events.write("alarm", window=said.window, sentence=said.sentence)
