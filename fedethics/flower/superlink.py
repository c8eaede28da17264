"""`python -m fedethics.flower.superlink ...`: Flower's own SuperLink, ending with its parent.

Its database is asked by one thread at a time, see `database.py`.
"""

from __future__ import annotations

from flwr.superlink.cli import flower_superlink

from fedethics import memory
from fedethics.flower.database import take_turns
from fedethics.flower.pin import end_with_parent, require_flower


def main() -> None:
    """Run the SuperLink with the options of this command line."""
    require_flower()
    memory.keep_private()
    end_with_parent()
    take_turns()
    flower_superlink()


if __name__ == "__main__":
    main()
