"""A pytest plugin: whatever imports torch, flwr or what stands on them fails, with its name.

`make test-unit` runs with it, so the unit tests stay what they are: quick to start and to run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

HEAVY = ("torch", "flwr", "opacus", "peft", "transformers")


class Refusal:
    """A finder that comes before all others and finds nothing heavy."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise for a heavy package; leave everything else to the finders that follow.

        Raises:
            ImportError: `name` is a heavy package or a module of one.
        """
        if name.partition(".")[0] in HEAVY:
            raise ImportError(
                f"{name}: a unit test imports none of {', '.join(HEAVY)}; move the test to a "
                "directory that is not among UNIT in the Makefile"
            )
        return None


def pytest_configure() -> None:
    """Refuse from here on; pytest calls this where the plugin is named on its command line."""
    sys.meta_path.insert(0, Refusal())
