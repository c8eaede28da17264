"""`python -m fedethics.flower.superlink ...`: Flower's own SuperLink, ending with its parent."""

from __future__ import annotations

from flwr.superlink.cli import flower_superlink

from fedethics.flower.pin import end_with_parent, require_flower


def main() -> None:
    """Run the SuperLink with the options of this command line."""
    require_flower()
    end_with_parent()
    flower_superlink()


if __name__ == "__main__":
    main()
