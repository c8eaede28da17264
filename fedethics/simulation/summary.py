"""The tables at the end of a simulation: groups, budgets, gate, and where everything lies."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fedethics.cli.release import show as show_gate
from fedethics.commands import command
from fedethics.fairness.estimate import Estimate
from fedethics.fairness.measure import aggregate, by_group, overall
from fedethics.identity import Identity
from fedethics.policy.model import load_policy
from fedethics.privacy.ledger.ledger import Ledger
from fedethics.release import folder
from fedethics.release.comparisons import Comparisons
from fedethics.release.folder import Folder
from fedethics.release.gate import GateReport
from fedethics.simulation.staging import Stage

_RATES = ("selection_rate", "true_positive_rate", "false_positive_rate", "accuracy_score")
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
    for name in ("", "records", *_RATES):
        table.add_column(name.replace("_score", "").replace("_", " "))
    columns = ("count", *_RATES)
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


def _gaps(opened: Folder) -> Table:
    table = _table("Gaps between groups, and the area under the ROC curve")
    features = opened.tables.layout.features
    for name in ("", *(f"by {feature.name}" for feature in features)):
        table.add_column(name)
    for name in _GAPS:
        gaps = [aggregate(opened.tables, name, feature=feature.name) for feature in features]
        table.add_row(name.replace("_", " "), *map(_shown, gaps))
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
        "pass": "every rule holds; the adapter is withheld until somebody approves it",
        "fail": "at least one rule is broken: the adapter is withheld for good",
        "cannot conclude": "the evidence is too thin to say: the adapter is withheld",
        "not informative": "no rule could have failed: the adapter is withheld",
    }[report.verdict]
    return Panel(
        Text.assemble(
            (report.verdict.upper(), _STYLE[report.verdict]),
            f": {meaning}\n"
            f"report   {run / folder.REPORT}\n"
            f"         {folder.REPORT_PRIVACY}, {folder.REPORT_REGULATOR} and {folder.REPORT_JSON} "
            "beside it\n"
            f"adapter  {folder.located(run, folder.ADAPTER).parent}\n"
            f"ledgers  {run / 'sites'}/<site>/ledger.db\n"
            f"check    {command(program, 'release', 'gate', run)}\n"
            f"         {command(program, 'release', 'verify', run)}",
        ),
        title="verdict",
    )
