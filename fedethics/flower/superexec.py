"""`python -m fedethics.flower.superexec ...`: Flower's own launcher, which tells no secret."""

from __future__ import annotations

from flwr.supercore.cli.flower_superexec import flower_superexec

from fedethics import memory
from fedethics.flower.patches import clients, launcher
from fedethics.flower.pin import end_with_parent, require_flower


def main() -> None:
    """Run the launcher with the options of this command line."""
    require_flower()
    memory.keep_private()
    end_with_parent()
    clients.install(proxied=False)
    launcher.install()
    flower_superexec()


if __name__ == "__main__":
    main()
