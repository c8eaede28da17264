"""Run a scenario on one machine: `python -m simulations configs/heart.toml`."""

from __future__ import annotations

import os

# Before anything of Flower or Hugging Face is imported: never phone home, never download.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
os.environ.setdefault("FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from simulations.command import main

if __name__ == "__main__":
    main()
