"""Whether a release may be used now: whole, approved, and not withdrawn."""

from __future__ import annotations

from pathlib import Path

from fedethics.errors import ReleaseError
from fedethics.release import folder, gate
from fedethics.release.decision import decided
from fedethics.release.folder import Folder
from fedethics.release.verification import PAGES_TOPIC, SENTENCES_TOPIC, verify

# What may stay undecided: words that people read. The adapter and the verdict rest on none of them.
_WORDS = frozenset({PAGES_TOPIC, SENTENCES_TOPIC})


def require_released(run_dir: Path) -> Folder:
    """Return a release that may be used.

    Pages and sentences that another version of fedethics is said to have written are no obstacle:
    nothing is read from them. Whatever else could not be checked here is one.

    Raises:
        ReleaseError: it does not verify, is withheld, or was withdrawn. Says why.
        CharterError: its charter is none.
    """
    opened = folder.load(run_dir)
    decision, _ = decided(opened, gate.judge(opened).verdict)
    if not decision.released:
        raise ReleaseError(
            f"the adapter in {run_dir} may not be used, and was not loaded. {decision.sentence}"
        )
    checks = verify(run_dir)
    problems = [problem for check in checks for problem in check.problems]
    problems += [one.note for one in checks if one.undecided and one.topic not in _WORDS]
    if problems:
        raise ReleaseError(
            f"the release in {run_dir} does not verify, so its adapter was not loaded: "
            + " ".join(problems)
        )
    return opened
