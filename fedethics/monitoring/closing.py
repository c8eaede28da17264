"""What is written of a window once its sum is opened: evidence, verdict, alarm, and the history."""

from __future__ import annotations

from pathlib import Path

from fedethics.charter.model import Charter
from fedethics.identity import Identity
from fedethics.monitoring import alarm, evidence, history, verdict
from fedethics.monitoring.baseline import Baseline
from fedethics.monitoring.evidence import WindowEvidence
from fedethics.monitoring.verdict import WindowVerdict, judge_window


def publish(
    folder: Path, charter: Charter, found: WindowEvidence, baseline: Baseline, identity: Identity
) -> WindowVerdict:
    """Write all that a window leaves behind, and return its verdict.

    Args:
        folder: of the window's run.
        charter: with `[monitoring]`.
        found: what was opened, without its signature.
        baseline: what the release published.
        identity: the coordinator's.
    """
    made = evidence.signed(found, identity)
    evidence.write(made, folder)
    said = judge_window(charter, baseline, made)
    if said.verdict == "drifted":
        # Before the verdict: whoever sees that finds the note.
        alarm.write(alarm.raised(said, charter, identity), folder)
    verdict.write(said, folder)
    history.write_page(folder.parent, charter)
    return said
