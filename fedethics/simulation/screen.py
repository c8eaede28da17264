"""What a person sees: a progress bar with time left, a line a round, and the tables at the end.

The tables say groups, budgets and gate, and where everything lies.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from fedethics.cli.release import show as show_gate
from fedethics.commands import command
from fedethics.coordinator.events import read_events
from fedethics.fairness.estimate import Estimate
from fedethics.fairness.measure import aggregate, by_group, overall
from fedethics.fairness.metrics import find_metric, of_class
from fedethics.identity import Identity
from fedethics.policy.model import load_policy
from fedethics.privacy.ledger.ledger import Ledger
from fedethics.release import folder
from fedethics.release.comparisons import Comparisons
from fedethics.release.folder import Folder
from fedethics.release.gate import GateReport
from fedethics.simulation.staging import Stage

_RATES = ("selection_rate", "true_positive_rate", "false_positive_rate", "accuracy_score")
# Of more classes than these, a screen has no room for each.
_MOST_CLASSES = 4
_GAPS = (
    "demographic_parity_difference",
    "equal_opportunity_difference",
    "false_positive_rate_difference",
)
_STYLE = {
    "pass": "green",
    "fail": "bold red",
    "cannot conclude": "yellow",
    "not informative": "yellow",
}


class Screen:
    """Follows a run's event log and draws it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            # A method's name is no markup.
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("elapsed"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task("starting", total=None)

    @contextmanager
    def follow(self, run_dir: Path, *, steps: int) -> Iterator[None]:
        """Draw the run in `run_dir` until the block ends.

        Args:
            run_dir: where the event log is or will be.
            steps: how often the bar will advance, by events and by `tick`.
        """
        self._progress.update(self._task, total=steps)
        stop = threading.Event()
        thread = threading.Thread(target=self._watch, args=(run_dir, stop), daemon=True)
        with self._progress:
            thread.start()
            try:
                yield
            finally:
                stop.set()
                thread.join()

    def tick(self, description: str) -> None:
        """Advance the bar by one step."""
        self._progress.update(self._task, advance=1, description=description)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(Text(text), soft_wrap=True)

    def _watch(self, run_dir: Path, stop: threading.Event) -> None:
        seen = len(list(read_events(run_dir)))
        while True:
            last = stop.is_set()
            events = list(read_events(run_dir))
            for event in events[seen:]:
                self._draw(event)
            seen = len(events)
            if last:
                return
            stop.wait(0.2)

    def _draw(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "round-started":
            self._progress.update(self._task, description=f"round {event['round']}: training")
        elif kind == "round-committed":
            self.tick(f"round {event['round']}: measuring")
            lost = ", ".join(f"{site} ({stage})" for site, stage in event["dropped"].items())
            note = f"; lost: {lost}" if lost else ""
            self.say(f"round {event['round']}: {len(event['survivors'])} sites in the sum{note}")
        elif kind == "metrics":
            self.tick(f"round {event['round']}: measured")
            self.say(f"round {event['round']}: accuracy {_interval(event['accuracy'])}")
        elif kind == "progress-skipped":
            self.tick(f"round {event['round']}: not measured")
            self.say(f"round {event['round']}: not measured: {event['why']}")
        elif kind == "fairness-committed":
            self.tick("group tables opened")
        elif kind in {"refused", "rejected"}:
            self.say(f"{event['site']} refused [{event['code']}]: {event['sentence']}")
        elif kind == "sum-abandoned":
            self.say(f"round {event['round']}: {event['kind']} sum abandoned: {event['why']}")


def _interval(estimate: dict[str, float | None]) -> str:
    low, high = (
        "no limit" if estimate[end] is None else f"{estimate[end]:.3f}" for end in ("low", "high")
    )
    value = "no estimate" if estimate["value"] is None else f"{estimate['value']:.3f}"
    return f"{value} (95 % interval {low} to {high}, noise included)"


def show(
    console: Console,
    stage: Stage,
    report: GateReport,
    found: Comparisons | None,
    *,
    program: str = "fedethics",
) -> None:
    """Print all tables of a finished run; `program` is how a reader calls fedethics."""
    opened = folder.load(stage.run_dir)
    console.print(_groups(opened))
    if why := stage.charter.ethics.without_groups:
        console.print(Text(f"Nothing was measured by group, says the charter: {why}"))
    else:
        console.print(_gaps(opened))
    console.print(_budgets(stage, opened))
    if found is not None:
        console.print(_comparisons(found))
        for note in found.notes:
            console.print(Padding(Text(note), (0, 0, 1, 2)))
    show_gate(report, console)
    console.print(_verdict(stage, report, program))


def _groups(opened: Folder) -> Table:
    table = _table("Held-out records of all sites: value [95 % interval, sampling and noise]")
    columns = ("count", *_rates(opened))
    for name in ("", "records", *columns[1:]):
        # A class stands in brackets, which are no markup.
        table.add_column(Text(name.replace("_score", "").replace("_", " ")))
    table.add_row("everyone", *(_shown(overall(opened.tables, name)) for name in columns))
    for feature in opened.tables.layout.features:
        table.add_section()
        by_name = {name: by_group(opened.tables, name, feature=feature.name) for name in columns}
        for group in feature.groups:
            cells = [by_name[name][group] for name in columns]
            table.add_row(
                group, *("too few to show" if c.suppressed else _shown(c.estimate) for c in cells)
            )
    return table


def _rates(opened: Folder) -> tuple[str, ...]:
    """Return the rates that are shown, of those that the charter's task measures."""
    measured, label = opened.tables.layout.measured, opened.charter.data.labels
    usual = [name for name in _RATES if name in measured.metrics]
    if label.classes is not None:
        usual.append("balanced_accuracy_score")
        if len(label.names) <= _MOST_CLASSES:
            usual += [of_class("recall_score", name) for name in label.names]
    return tuple(usual) or tuple(sorted(measured.rates))[: len(_RATES)]


def _gaps(opened: Folder) -> Table:
    measured = opened.tables.layout.measured
    ranked = "roc_auc_score" in measured.metrics
    table = _table(f"Gaps between groups{', and the area under the ROC curve' if ranked else ''}")
    features = opened.tables.layout.features
    for name in ("", *(f"by {feature.name}" for feature in features)):
        table.add_column(name)
    for name in _GAPS:
        if not measured.answers(find_metric(name)):
            continue
        gaps = [aggregate(opened.tables, name, feature=feature.name) for feature in features]
        table.add_row(name.replace("_", " "), *map(_shown, gaps))
    if ranked:
        table.add_row("AUC of everyone", _shown(overall(opened.tables, "roc_auc_score")))
    return table


def _table(title: str) -> Table:
    return Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))


def _shown(estimate: Estimate) -> str:
    if not estimate.known:
        return "no value"
    spell = "{:.0f}" if estimate.high > 1 else "{:.2f}"
    low, high = (spell.format(x) for x in (estimate.low, estimate.high))
    return f"{'no estimate' if estimate.cut else spell.format(estimate.value)} [{low}, {high}]"


def _budgets(stage: Stage, opened: Folder) -> Table:
    privacy = opened.charter.privacy
    table = _table(
        f"Epsilon at delta={privacy.delta:g}, unit={privacy.unit}, {privacy.neighbouring}; "
        f"training trust {privacy.training.trust_mode}, "
        f"evaluation trust {privacy.evaluation.trust_mode}"
    )
    for name in ("site", "records", "spent", "left, at least", "cap", "rounds in the sum"):
        table.add_column(name)
    # Epsilons compose to less than their sum, so the difference is the least that is left.
    updates = [entry for entry in opened.evidence.rounds if entry.kind == "update"]
    for site, home in stage.homes.items():
        taken = sum(site in entry.survivors for entry in updates)
        for label, spent, cap in _spending(stage, home.name):
            table.add_row(
                site, label, f"{spent:.3f}", f"{max(cap - spent, 0.0):.3f}", f"{cap:g}",
                f"{taken} of {len(updates)}" if label == "train" else "",
            )  # fmt: skip
    return table


def _spending(stage: Stage, site: str) -> Iterator[tuple[str, float, float]]:
    home = stage.homes[site]
    policy = load_policy(home / "policy.toml")
    ledger = Ledger.open(home / "ledger.db", identity=Identity.load(home / "identity.key"))
    for account in ledger.data_sets():
        spent = ledger.spent(account, delta=stage.charter.privacy.delta)
        yield account.label, spent, policy.caps.epsilon_per_data_set


def _comparisons(found: Comparisons) -> Table:
    table = _table("The same held-out records, without noise: mean over seeds [least, most]")
    for name in ("what", "AUC", "accuracy", "AUC at its worst site", "seeds"):
        table.add_column(name)
    for row in found.rows:
        figures = [_spread(v) for v in (row.roc_auc, row.accuracy, row.worst_site_auc)]
        table.add_row(row.name, *figures, str(len(row.seeds)))
    return table


def _spread(values: tuple[float, ...]) -> str:
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.3f}"
    return f"{mean:.3f} [{min(values):.3f}, {max(values):.3f}]"


def _verdict(stage: Stage, report: GateReport, program: str) -> RenderableType:
    run = stage.run_dir
    meaning = {
        "pass": "every rule holds; the adapter is withheld until it is approved",
        "fail": "at least one rule failed: the adapter can never be released",
        "cannot conclude": "the evidence does not suffice for a verdict: the adapter is withheld",
        "not informative": "no rule could have failed: the adapter is withheld",
    }[report.verdict]
    return Panel(
        Text.assemble(
            (report.verdict.upper(), _STYLE[report.verdict]),
            f": {meaning}\n"
            f"report   {run / folder.REPORT}\n"
            f"         {folder.REPORT_PRIVACY}, {folder.REPORT_REGULATOR}, {folder.REPORT_SITE}, "
            f"{folder.REPORT_RESEARCHER} and {folder.REPORT_JSON} next to it\n"
            f"adapter  {folder.located(run, folder.ADAPTER).parent}\n"
            f"ledgers  {next(iter(stage.homes.values())).parent}/<site>/ledger.db\n"
            f"check    {command(program, 'release', 'gate', run)}\n"
            f"         {command(program, 'release', 'verify', run)}",
        ),
        title="verdict",
    )
