"""Where a run's numbers can go: one object for each tool, found by its name.

Adding one means a class here and its name in the registry. What a tool needs is imported when it
is used; the extra `fedethics[tracking]` installs it.
"""

from __future__ import annotations

import csv
import importlib
import io
import os
from abc import ABC, abstractmethod
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from fedethics.errors import RunError, SetupError
from fedethics.registry import Registry
from fedethics.release import durable
from fedethics.tracking.recorded import Recorded

_LONGEST_SETTING = 500


class Tracker(ABC):
    """One tool."""

    name: ClassVar[str]

    @abstractmethod
    def write(self, found: Recorded, out: str) -> str:
        """Write a run and return where it is.

        Args:
            found: the run.
            out: a folder, or what else the tool writes to.

        Raises:
            RunError: it cannot be written there.
            SetupError: the tool is not installed.
        """


class Csv(Tracker):
    """One CSV file a run: a line for each number. Written whole each time, in the same order."""

    name = "csv"

    def write(self, found: Recorded, out: str) -> str:
        """Write `out`/RUN.csv."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(("run", "round", "name", "value"))
        for one in found.scalars:
            table.writerow((found.run, one.step, one.name, repr(one.value)))
        path = Path(out) / f"{found.run}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.write(path, text.getvalue().encode("utf-8"))
        return str(path)


class TensorBoard(Tracker):
    """An event file a run, for `tensorboard --logdir`; written without TensorFlow and torch."""

    name = "tensorboard"

    def write(self, found: Recorded, out: str) -> str:
        """Write a new event file into the folder `out`/RUN, in place of an earlier one."""
        writers = _needed("tensorboard.summary.writer.event_file_writer", self.name)
        events = _needed("tensorboard.compat.proto.event_pb2", self.name)
        summaries = _needed("tensorboard.compat.proto.summary_pb2", self.name)
        path = Path(out) / found.run
        path.mkdir(parents=True, exist_ok=True)
        for earlier in path.glob("events.out.tfevents.*"):
            earlier.unlink()  # else every number would stand there twice
        writer = writers.EventFileWriter(str(path))
        for one in found.scalars:
            value = summaries.Summary.Value(tag=one.name, simple_value=one.value)
            summary = summaries.Summary(value=[value])
            writer.add_event(events.Event(wall_time=one.time_s, step=one.step, summary=summary))
        writer.close()
        return str(path)


class Mlflow(Tracker):
    """A run of the MLflow experiment `fedethics`, on a server or in a folder."""

    name = "mlflow"

    def write(self, found: Recorded, out: str) -> str:
        """Write a new MLflow run; `out` is a tracking URI or a folder."""
        uri = out if "://" in out else Path(out).resolve().as_uri()
        if uri.startswith("file:"):
            # MLflow asks for this word where runs are kept in files and not in a database.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        tracking = _needed("mlflow.tracking", self.name)
        entities = _needed("mlflow.entities", self.name)
        failed = _needed("mlflow.exceptions", self.name).MlflowException
        try:
            client = tracking.MlflowClient(tracking_uri=uri)
            run_id = self._begun(client, found)
            client.log_batch(
                run_id,
                metrics=[
                    entities.Metric(_plain(one.name), one.value, int(1000 * one.time_s), one.step)
                    for one in found.scalars
                ],
                params=[
                    entities.Param(key, value[:_LONGEST_SETTING])
                    for key, value in found.settings.items()
                ],
                tags=[entities.RunTag(key, value) for key, value in found.tags.items()],
            )
            client.set_terminated(run_id)
        except failed as error:
            raise RunError(f"MLflow at {uri} did not take the run: {error}") from error
        return f"{uri} (run {run_id})"

    def _begun(self, client: Any, found: Recorded) -> str:  # noqa: ANN401  untyped library object
        known = client.get_experiment_by_name("fedethics")
        experiment = known.experiment_id if known else client.create_experiment("fedethics")
        return str(client.create_run(experiment, run_name=found.run).info.run_id)


def _plain(name: str) -> str:
    """Return a name of characters that MLflow takes."""
    return "".join(each if each.isalnum() or each in "_-. /" else "_" for each in name)


def _needed(module: str, tool: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SetupError(
            f"{tool} is not installed ({error}); nothing was written. pip install "
            f'"fedethics[tracking]", or use --to csv, which needs nothing'
        ) from error


_KNOWN: Registry[Tracker] = Registry("tracker", RunError, Csv(), TensorBoard(), Mlflow())
register, tracker_names, find_tracker = _KNOWN.register, _KNOWN.names, _KNOWN.find
