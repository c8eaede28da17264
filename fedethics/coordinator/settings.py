"""The run config, checked: Flower refuses unknown keys but lets wrong types pass.

Nothing here is a privacy term; those stand in the charter, which each site holds for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedethics import terms
from fedethics.errors import RunError
from fedethics.terms import term


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSettings:
    """What the coordinator's operator chooses for one run.

    Attributes:
        job_dir: directory of the run; made when the run starts, continued when `resume` is set.
        job_id: name of the run in every message and ledger; the same when it is resumed.
        coordinator_home: directory with charter.json and the coordinator's identity.key.
        model_dir: directory of the base model; empty for the embedded one.
        leg_timeout_s: how long to wait for the slowest site to train or measure.
        relay_timeout_s: how long to wait in every other exchange; 0 for as long as `leg_timeout_s`.
        resume: continue the job in `job_dir` after its last committed round.
        node_names: site's name of each node that the SuperLink admits, as "NODE=NAME,...", for the
            event log only; whose an answer is, its signature says.
    """

    job_dir: str = term(nonempty=True)
    job_id: str = term(pattern=r"[a-z0-9][a-z0-9-]{0,62}")
    coordinator_home: str = term(nonempty=True)
    model_dir: str = term(default="")
    leg_timeout_s: float = term(default=600.0, above=0)
    relay_timeout_s: float = term(default=0.0, at_least=0)
    resume: bool = term(default=False)
    node_names: str = term(default="", pattern=r"([0-9]+=[a-z0-9-]+(,[0-9]+=[a-z0-9-]+)*)?")

    @classmethod
    def from_run_config(cls, config: Mapping[str, bool | int | float | str]) -> RunSettings:
        """Check the flat run config.

        Raises:
            RunError: a key is missing, has the wrong type or is out of range; all at once.
        """
        problems: list[str] = []
        settings = terms.read(cls, dict(config), path="", problems=problems)
        if problems or settings is None:
            listed = "\n".join(f"  - {problem}" for problem in problems)
            raise RunError(f"the run config is not valid; nothing was started:\n{listed}")
        return settings

    @property
    def job_path(self) -> Path:
        """The run's directory."""
        return Path(self.job_dir)

    @property
    def names_of_nodes(self) -> dict[int, str]:
        """Site's name of each admitted node."""
        pairs = (pair.split("=") for pair in self.node_names.split(",") if pair)
        return {int(node): name for node, name in pairs}

    @property
    def model_path(self) -> Path | None:
        """Directory of the base model, or None for the embedded one."""
        return Path(self.model_dir) if self.model_dir else None
