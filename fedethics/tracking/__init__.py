"""A run's event log handed to the tools that researchers compare runs with.

`recorded` reads what a run recorded of itself; a tracker writes it. Both look at files of the run's
directory alone, so that a run can be tracked while it runs, after it, and again.
"""

from fedethics.tracking.recorded import Recorded, Scalar, recorded
from fedethics.tracking.trackers import Tracker, find_tracker, register, tracker_names

__all__ = [
    "Recorded",
    "Scalar",
    "Tracker",
    "find_tracker",
    "recorded",
    "register",
    "tracker_names",
]
