"""Settings chosen on public or made-up records, which cost no privacy: `fedethics tune`.

Each candidate is a whole simulated federation over the public records, with the noise that the
charter's own training epsilon asks for: settings that are good without noise are often bad with it.
The figures themselves need no noise there and get next to none.

`python -m fedethics.simulation.public_tuning` is started by the command as a process of its own,
since the command starts without torch.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

# Before anything of Hugging Face is imported: never download.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from fedethics import memory, plain_file
from fedethics.aggregates.registry import AGGREGATES
from fedethics.charter import document
from fedethics.charter.amended import Change, amended, fragment, patch
from fedethics.charter.model import Charter
from fedethics.charter.tuning_terms import Candidate
from fedethics.cli.output import Terminal, say
from fedethics.errors import CharterError, FedethicsError, RunError
from fedethics.policy.template import policy_text
from fedethics.release import durable
from fedethics.simulation import public_records, scenario, staging, trials_page
from fedethics.simulation.command import told
from fedethics.simulation.scenario import Scenario, settings_of
from fedethics.simulation.trials import finished, run_trial
from fedethics.simulation.trials_page import Finished, Trial

POLICY, TUNED, PATCH, LINES = "policy.toml", "tuned.charter.toml", "tuned.patch", "tuned-lines.toml"
# Of the figures alone; the records are public.
_EVALUATION_EPSILON = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What is tried, and on which records.

    Attributes:
        charter: the charter whose settings are sought.
        public: a scenario, or one file of records that the charter's schema reads.
        named: what the records are, in the operator's words; kept in the charter.
        candidates: what is tried.
        seeds: each candidate is run with each.
        select: metric that decides; empty for the first objective without groups.
        model_dir: directory of the base model; empty for the embedded one.
    """

    charter: Path
    public: Path
    named: str
    candidates: tuple[Candidate, ...]
    seeds: tuple[int, ...]
    select: str = ""
    model_dir: str = ""


def candidates_of(charter: Charter, tried: Sequence[str]) -> tuple[Candidate, ...]:
    """Return the grid that `--try KEY=[..]` gives, or else the charter's own candidates.

    Raises:
        RunError: neither, a key without a list, or a key that no trial may set.
    """
    if not tried:
        own = charter.tuning.candidates if charter.tuning else None
        if not own:
            raise RunError(
                'nothing to try: give --try "training.learning-rate=[0.5, 1, 2]", or list '
                "[[tuning.candidates]] in the charter. Nothing was started"
            )
        return own
    grid = settings_of(tried)
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise RunError(f"--try {key}: needs a list of values, such as {key}=[1, 2]")
    points = itertools.product(*grid.values())
    spelled = [
        tuple(f"{key}={_spelled(value)}" for key, value in zip(grid, point, strict=True))
        for point in points
    ]
    found = tuple(Candidate(set_=pairs) for pairs in spelled)
    if problems := found[0].problems():
        raise RunError(f"--try: {'; '.join(problems)}. Nothing was started")
    return found


def _spelled(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def tune(asked: Asked, *, out: Path, data: Path) -> tuple[Finished, ...]:
    """Run every candidate with every seed, and keep table and page.

    Args:
        asked: what is tried.
        out: the directory of the search; must not exist.
        data: directory of all data sets.

    Raises:
        FedethicsError: a setting, the records or the directory is not as it must be.
    """
    if out.exists():
        raise RunError(f"{out} exists already; nothing was overwritten. Choose another --run-id")
    trials = _trials(asked)
    # Every charter is read before anything is written.
    drafts = [_draft(asked, trial) for trial in trials]
    base, setup = _setup(asked, drafts[0], out)
    _write_policy(drafts[0], out)
    found = []
    for trial, draft in zip(trials, drafts, strict=True):
        say(f"{trial.name} of {len(trials)}: {trial.said}")
        stage = staging.of_scenario(
            setup, draft, base=base, data=data, run_dir=out / trial.name,
            settings=trial.all_settings,
        )  # fmt: skip
        run_trial(stage, False)
        found.append(finished(trial, out / trial.name))
        trials_page.write(found, out, sentence=f"On public records: {asked.named}")
    return tuple(found)


def _trials(asked: Asked) -> tuple[Trial, ...]:
    private = document.load(asked.charter).privacy.training
    base = {"privacy.evaluation.epsilon": _EVALUATION_EPSILON}
    if private.mechanism != "none":
        base["privacy.training.epsilon"] = private.epsilon
    pairs = itertools.product(asked.candidates, asked.seeds)
    return tuple(
        Trial(number=number, point=one.settings, seed=seed, base=base)
        for number, (one, seed) in enumerate(pairs, start=1)
    )


def _is_scenario(asked: Asked) -> bool:
    return asked.public.suffix == ".toml"


def _draft(asked: Asked, trial: Trial) -> Charter:
    """Return the trial's charter, without [tuning]: the trial itself is an ordinary run.

    What is counted of the federation's own records says nothing of public ones and is left out.
    """
    if _is_scenario(asked):
        _, draft = scenario.load(asked.public, settings=trial.all_settings)
    else:
        draft = document.load_set(asked.charter, trial.all_settings)
    return dataclasses.replace(draft, tuning=None, norms=None, census=None)


def _setup(asked: Asked, draft: Charter, out: Path) -> tuple[Path, Scenario]:
    """Make the search's directory; return what the sites' paths are relative to, and the sites."""
    if _is_scenario(asked):
        (setup, _), base = scenario.load(asked.public), asked.public.parent
        out.mkdir(mode=0o755, parents=True)
    else:
        base = out
        setup = public_records.scenario_of(
            asked.public, asked.charter, draft, folder=out, model_dir=asked.model_dir
        )
    policy = str((out / POLICY).resolve())
    sites = tuple(dataclasses.replace(site, policy=policy) for site in setup.sites)
    return base, dataclasses.replace(setup, sites=sites, sweep=None, repeat=None)


def _write_policy(draft: Charter, out: Path) -> None:
    """Write what the simulated sites allow: public records need no protection."""
    terms, local = draft.privacy, ("local", "distributed")
    # Whatever the trials count is allowed: a list kept here would lack the next kind of sum.
    asked = [word for each in AGGREGATES.values() for word in each.permissions(draft)]
    largest = 2 * max(terms.training.epsilon, terms.evaluation.epsilon)
    text = policy_text(
        epsilon_per_data_set=largest, epsilon_per_run=largest, epsilon_per_year=largest,
        delta=terms.delta, noise_multiplier=0.001, records=1,
        units=(terms.unit,), training_trust_modes=local,
        without_dp=terms.training.mechanism == "none", more_releases=asked,
    )  # fmt: skip
    durable.write(out / POLICY, text.encode("utf-8"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Winner:
    """The candidate that did best.

    Attributes:
        metric: that decided.
        figure: its mean over the seeds.
    """

    candidate: Candidate
    metric: str
    figure: float


def best_of(found: Sequence[Finished], candidates: Sequence[Candidate], *, select: str) -> Winner:
    """Return the candidate with the best mean of a metric; the first of equal ones.

    Raises:
        RunError: no trial has an estimate of it.
    """
    metric = select or _first_floor(found)
    means: list[tuple[float, int, float]] = []
    for index, candidate in enumerate(candidates):
        figures = [
            rule.figure
            for one in found
            if one.trial.point == candidate.settings and (rule := one.measured.get(metric))
        ]
        values = [f.value for f in figures if f is not None and f.value is not None]
        sign = -1.0 if any(f and f.direction == "at-most" for f in figures) else 1.0
        if values:
            means.append((sign * fmean(values), -index, fmean(values)))
    if not means:
        names = sorted({name for one in found for name in one.measured})
        raise RunError(
            f"no trial has an estimate of {metric!r}; the charter's objectives are "
            f"{', '.join(names)}. The trials are kept; choose with --select"
        )
    _, earliest, figure = max(means)
    return Winner(candidate=candidates[-earliest], metric=metric, figure=figure)


def _first_floor(found: Sequence[Finished]) -> str:
    names = [name for one in found for name in one.measured if " by " not in name]
    return names[0] if names else ""


def changes_of(winner: Winner, *, named: str) -> list[Change]:
    """Return the charter's new lines, with where they are from."""
    keys = [(*key.rpartition("."), value) for key, value in winner.candidate.settings.items()]
    return [
        *(Change(table=table, name="", key=last, value=value) for table, _, last, value in keys),
        Change(table="tuning", name="", key="settings-from", value="public"),
        Change(table="tuning", name="", key="source", value=named),
    ]


def write_charter(asked: Asked, winner: Winner, out: Path) -> list[Path]:
    """Write the winning lines, and where the layout allows it the charter with them and a patch."""
    changes = changes_of(winner, named=asked.named)
    written = [out / LINES]
    durable.write(out / LINES, fragment(changes).encode("utf-8"))
    before = plain_file.read(asked.charter, CharterError, typed=True).decode("utf-8")
    try:
        after = amended(_with_table(before, asked.charter), changes)
    except CharterError as error:
        say(f"{error}. The lines to put in are in {out / LINES}")
        return written
    difference = patch(before, after, name=asked.charter.name)
    durable.write(out / TUNED, after.encode("utf-8"))
    durable.write(out / PATCH, difference.encode("utf-8"))
    return [out / TUNED, out / PATCH, *written]


def _with_table(text: str, path: Path) -> str:
    """Return the charter's text with a table [tuning] in it."""
    if path.suffix == ".json":
        raise CharterError(f"{path} is an agreed charter, which is not changed")
    if document.read_toml(text.encode("utf-8"), path).tuning is not None:
        return text
    return f'{text.rstrip()}\n\n[tuning]\nsettings-from = "fixed"\n'


def main() -> int:
    """Tune as the command line says; an expected error is one message and its exit code."""
    options = _options()
    try:
        return _main(options)
    except FedethicsError as error:
        told(f"[{error.code}] {error}")
        return error.exit_code
    except KeyboardInterrupt:
        told("interrupted. Finished trials are kept; a search starts again with another --run-id")
        return 130


def _main(options: argparse.Namespace) -> int:
    draft = document.load(options.charter)
    named = options.named or options.public.stem
    asked = Asked(
        charter=options.charter,
        public=options.public,
        named=named,
        candidates=candidates_of(draft, options.tried),
        seeds=tuple(dict.fromkeys(options.seed or [draft.adapter.seed])),
        select=options.select,
        model_dir=str(options.model_dir.resolve()) if options.model_dir else "",
    )
    out = options.out / scenario.run_name(options.run_id, f"tune-{draft.name}")
    say(
        f"{len(asked.candidates) * len(asked.seeds)} runs on {named}, which is said to be public: "
        "no privacy is spent, and none is kept for these records"
    )
    found = tune(asked, out=out, data=options.data)
    winner = best_of(found, asked.candidates, select=asked.select)
    Terminal().print(trials_page.table(found))
    say(f"best     {winner.candidate.said}: {winner.metric} {winner.figure:.4f}")
    for path in write_charter(asked, winner, out):
        say(f"written  {path}")
    say(f"page     {out / trials_page.PAGE}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fedethics tune")
    parser.add_argument("charter", type=Path)
    parser.add_argument("--public", type=Path, required=True)
    parser.add_argument("--named", default="")
    parser.add_argument("--try", action="append", default=[], dest="tried")
    parser.add_argument("--seed", action="append", type=int)
    parser.add_argument("--select", default="")
    parser.add_argument("--model-dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--run-id", default="")
    parser.add_argument("--data", type=Path, default=Path(".data"))
    return parser.parse_args()


if __name__ == "__main__":
    memory.keep_private()
    sys.exit(main())
