"""What a person sees: a progress bar with time left, a line a round, and the tables at the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from fedethics.coordinator.events import read_events


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
