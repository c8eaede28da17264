"""A coordinator in a process of its own that ends by os._exit at the n-th message of a kind.

Usage: python dying_coordinator.py RUN_DIR MESSAGE_TYPE NUMBER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fedethics.simulation import staging
from tests.loopback import run_federation


def main() -> None:
    run_dir, message_type, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    count = 0

    def dies(_site: str, message: object) -> bool:
        nonlocal count
        count += message.metadata.message_type.startswith(message_type)
        if count == number:
            os._exit(9)
        return False

    stage = staging.existing(run_dir)
    run_federation(stage, resume=(run_dir / "state.json").exists(), lost=dies)


if __name__ == "__main__":
    main()
