"""The coordinator's page: jobs, rounds as they happen, missing sites, refusals, verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fedethics.console.places import Places, fault_of
from fedethics.console.role import Role
from fedethics.coordinator.refusals import what_to_do
from fedethics.deployment.job_look import JobLook, estimate, headline, span
from fedethics.errors import FedethicsError
from fedethics.monitoring import history, verdict
from fedethics.monitoring.verdict import WindowVerdict, worded
from fedethics.release import folder, gate
from fedethics.release.decision import decided
from fedethics.release.run_log import RoundSeen, RunSeen, follow, read_events

_SHOWN_ROUNDS = 12
_PAGES = {
    folder.REPORT: "for the ethics board",
    folder.REPORT_PRIVACY: "for the privacy officer",
    folder.REPORT_REGULATOR: "for the regulator",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One job, as the page shows it.

    Attributes:
        name: under which its pages are asked for.
        headline: state, rounds, sites, time left or verdict, in a line.
        running: whether more is to come.
        decision: whether the adapter is released and why, once the run is closed.
        rounds: the newest rounds: number, state, seconds, sites in the sum, who was lost at which
            leg, accuracy.
        sites: that took part in the newest start.
        refusals: site -> why.
        advice: what to do about them.
        notes: what to look at.
        pages: file -> for whom.
        fault: why the rest is empty.
    """

    name: str
    path: Path
    headline: str = ""
    running: bool = False
    verdict: str = ""
    decision: str = ""
    rounds: list[tuple[str, ...]] = field(default_factory=list)
    sites: tuple[str, ...] = ()
    refusals: Mapping[str, str] = field(default_factory=dict)
    advice: str = ""
    notes: tuple[str, ...] = ()
    pages: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """The windows of one place, the newest first, each with its figures in words."""

    name: str
    number: int
    windows: tuple[tuple[WindowVerdict, tuple[str, ...]], ...] = ()
    page: bool = False
    fault: str = ""


def page_of(places: Places, job: str, page: str) -> Path | None:
    """Return the file of one of a job's pages; None where there is none."""
    found = places.jobs().get(job)
    if found is None or page not in _PAGES or not (found / page).is_file():
        return None
    return found / page


def history_page(places: Places, number: int) -> Path | None:
    """Return the page with every figure's history of one place's windows; None without one."""
    folders = list(places.watched().values())
    found = folders[number] / history.PAGE if number < len(folders) else None
    return found if found and found.is_file() else None


def _look(places: Places) -> Mapping[str, object]:
    # A window that was read is told among the windows.
    jobs = [
        _job(name, path)
        for name, path in places.jobs().items()
        if not (path / verdict.VERDICT).exists()
    ]
    return {
        "jobs": jobs,
        "running": sum(each.running for each in jobs),
        "watches": list(_watches(places)),
    }


def _watches(places: Places) -> Iterator[Watch]:
    for number, (name, path) in enumerate(places.watched().items()):
        try:
            windows = tuple(reversed(history.read(path)))[:_SHOWN_ROUNDS]
        except FedethicsError as error:
            yield Watch(name=name, number=number, fault=fault_of(error))
            continue
        if windows:
            rows = tuple((one, tuple(map(worded, one.figures))) for one in windows)
            page = (path / history.PAGE).is_file()
            yield Watch(name=name, number=number, windows=rows, page=page)


def _job(name: str, path: Path) -> Job:
    try:
        run, where = follow(read_events(path)), JobLook.at(path)
        return Job(
            name=name,
            path=path,
            headline=headline(path, run),
            running=run.state not in ("absent", "closed"),
            verdict=run.verdict,
            decision=_decision(path) if run.state == "closed" else "",
            rounds=[_row(each) for each in _newest(run)],
            sites=run.sites,
            refusals=run.refusals,
            advice=_advice(run),
            notes=tuple([*where.notes(run), *(f"abandoned: {one}" for one in run.abandoned[-3:])]),
            pages={page: whose for page, whose in _PAGES.items() if (path / page).is_file()},
        )
    except (FedethicsError, KeyError, TypeError, ValueError) as error:
        told = fault_of(error) if isinstance(error, FedethicsError) else "its log cannot be read"
        return Job(name=name, path=path, fault=told)


def _decision(path: Path) -> str:
    """Return whether the adapter is released, and why; the release is not verified here."""
    try:
        opened = folder.load(path)
        return decided(opened, gate.judge(opened).verdict)[0].sentence
    except FedethicsError as error:
        return fault_of(error)


def _newest(run: RunSeen) -> list[RoundSeen]:
    return sorted(run.seen.values(), key=lambda each: each.number)[-_SHOWN_ROUNDS:]


def _row(each: RoundSeen) -> tuple[str, ...]:
    took = span((each.committed - each.started).total_seconds()) if each.committed else ""
    return (
        str(each.number),
        "committed" if each.committed else "open",
        took,
        str(len(each.survivors)) if each.committed else "",
        ", ".join(f"{site} (at {leg})" for site, leg in each.dropped.items()) or "none",
        estimate(*each.accuracy) if each.accuracy else "",
    )


def _advice(run: RunSeen) -> str:
    codes = {site: why[1:].partition("]")[0] for site, why in run.refusals.items()}
    return what_to_do(codes) if codes and run.state != "closed" else ""


COORDINATOR = Role(
    name="coordinator",
    title="Coordinator",
    question="What runs now, who is missing, and what was decided?",
    shown=lambda places: bool(places.coordinators or places.runs),
    look=_look,
)
