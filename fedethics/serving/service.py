"""One released model that answers: loaded once, asked by one thread, stopped by a withdrawal.

Guarantee: an answer to a record follows from that record, the release and this machine alone, bit
for bit. Other requests do not change it. Nothing that a client sends is kept.
"""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fedethics.canonical import Json
from fedethics.data.content import Content
from fedethics.data.rendering import row_text, text_columns
from fedethics.errors import DataError, FedethicsError, ModelError
from fedethics.fairness.measured import Deciding
from fedethics.policy.model import Compute
from fedethics.release import content, durable, folder, gate
from fedethics.release.decision import decided
from fedethics.release.folder import Folder
from fedethics.release.standing import require_released
from fedethics.scoring.new_records import NewRecord, unlabelled
from fedethics.scoring.score import deciding, released_adapter
from fedethics.serving.inputs import Refused

# Computed together at most; what waits beyond it is refused.
_MOST_TOGETHER = 256
_MOST_WAITING = 64
# Whatever may change whether the release stands; a look at each costs microseconds.
_STANDING = (
    folder.WITHDRAWAL, folder.APPROVALS, folder.MANIFEST, folder.SIGNATURE, folder.ADAPTER,
    folder.CHARTER, folder.EVIDENCE, folder.GATE,
)  # fmt: skip
_SIGNED = (folder.MANIFEST, folder.SIGNATURE, folder.APPROVALS)


@dataclass(slots=True)
class _Job:
    """Texts whose scores somebody waits for, or a call that needs the model for itself."""

    texts: Sequence[Content]
    result: Future[NDArray[np.float64]]
    alone: Callable[[], None] | None = None


class Service:
    """A release in use.

    Attributes:
        run_id: of the release; the model's name for clients.
        opened: the verified release.
    """

    def __init__(
        self, run_dir: Path, *, model_dir: Path | None = None, compute: Compute | None = None
    ) -> None:
        """Verify the release and load its model.

        Args:
            run_dir: the release.
            model_dir: folder of the base model; None for one that comes with a package.
            compute: where and how it computes. With batches "alone", one request costs one record;
                with "proven", a whole batch, which up to sixteen records share, and scores are
                `release score`'s to the last bit.

        Raises:
            ReleaseError: it does not verify, is not released, or was withdrawn.
            ModelError: the base model is missing or another, or the adapter does not fit.
        """
        self._seen = _stamps(run_dir)
        self._path = run_dir
        self.opened = require_released(run_dir)
        self.run_id = self.opened.evidence.run_id
        self._learner, self._vector = released_adapter(
            self.opened, model_dir, compute or Compute(batches="alone")
        )
        self._schema = unlabelled(self.opened.charter.data)
        self._decide = _deciding_of(self.opened)
        self._jobs: queue.Queue[_Job | None] = queue.Queue(_MOST_WAITING)
        self._stopped = ""
        self._look = threading.Lock()
        self._audited: Json = None
        self._worker = threading.Thread(target=self._work, name="model", daemon=True)
        self._worker.start()

    @property
    def waiting(self) -> int:
        """How many requests wait for the model."""
        return self._jobs.qsize()

    @property
    def answers(self) -> bool:
        """Whether the model writes answers to prompts."""
        return self._decide is None

    def require_standing(self) -> None:
        """Refuse where the release was withdrawn or altered since it was loaded.

        Raises:
            Refused: with status 410 and the reason.
        """
        with self._look:
            now = _stamps(self._path)
            if now != self._seen:
                self._seen = now
                self._stopped = self._why_not()
            if self._stopped:
                raise Refused(410, self._stopped)

    def predict(self, records: Sequence[NewRecord]) -> list[dict[str, Json]]:
        """Return score and decision of each record, or why it is not scored.

        Raises:
            Refused: the task decides nothing, or too many wait.
        """
        decide = self._deciding()
        contents = [one.content for one in records if one.content is not None]
        found = iter(self._scores(contents))
        told: list[dict[str, Json]] = []
        for record in records:
            if record.content is None:
                told.append({"not_scored": record.left_out})
                continue
            scores = np.asarray(next(found))
            finite = bool(np.isfinite(scores).all())
            told.append(
                dict(decide(scores))
                if finite
                else {"not_scored": "the model gives no finite score"}
            )
        return told

    def explain(self, record: NewRecord) -> dict[str, Json]:
        """Return the decision, and what each column's phrase does to the score.

        An effect is the score less the score of the text without that phrase (occlusion). With
        several classes, the score of the class that was decided.

        Raises:
            Refused: the model reads no columns, or the charter leaves such a record out.
        """
        decide = self._deciding()
        columns = text_columns(self._schema)
        if self._schema.content is not None or not columns:
            raise Refused(
                400, "this model reads free text and no columns; it is not explained here"
            )
        if record.content is None:
            raise Refused(422, f"the charter leaves this record out: {record.left_out}")
        values = record.values
        without = [
            row_text(values, [column for column in columns if column.name != left_out.name])
            for left_out in columns
        ]
        scores = self._scores([record.content, *without])
        told = scores[:, int(np.argmax(scores[0]))] if scores.ndim == 2 else scores
        effects: dict[str, Json] = {
            column.name: float(told[0] - score)
            for column, score in zip(columns, told[1:], strict=True)
        }
        return {**decide(np.asarray(scores[0])), "effects": effects}

    def answer(
        self, asked: Content, *, most: int, told: Callable[[str, int, bool], bool]
    ) -> tuple[Future[NDArray[np.float64]], int]:
        """Let the model write the likeliest answer.

        Args:
            asked: a conversation or a prompt with an empty answer.
            most: tokens at most.
            told: called with each new piece of text, how many tokens were written, and whether
                the answer ended by itself; returns whether to go on.

        Returns:
            What ends when the answer is written, and the prompt's tokens.

        Raises:
            Refused: the task writes no answers, the prompt is too long, or too many wait.
        """
        if not self.answers:
            raise Refused(404, "this model decides and writes no answers; ask /v1/predict")
        try:
            (prompt,) = self._learner.prompts([asked])
        except (DataError, ModelError) as error:
            raise Refused(422, f"the model cannot be asked this: {error}") from None
        if not prompt.ids:
            raise Refused(413, "messages: longer than the charter's model.max-tokens")
        job = _Job((), Future(), alone=lambda: self._write(prompt.ids, most, told))
        self._submit(job)
        return job.result, len(prompt.ids)

    def audit(self) -> Json:
        """Return verdict, figures and what was signed, of exactly what is served.

        `signed` holds the documents to the letter: the manifest lists the hash of gate.json,
        evidence and adapter, and the coordinator's signature is over the manifest.
        """
        with self._look:
            if self._audited is None:
                verdict = gate.judge(self.opened)
                decision, _ = decided(self.opened, verdict.verdict)
                report = content.report_json(content.build(self.opened, verdict, decision))
                signed = {name: durable.read(self._path / name).decode("utf-8") for name in _SIGNED}
                self._audited = {
                    "model": self.run_id,
                    "adapter-sha256": self.opened.evidence.model_hash,
                    "charter-sha256": self.opened.charter_sha256,
                    "report": json.loads(report),
                    "signed": dict(signed),
                }
            return self._audited

    def close(self) -> None:
        """Let the worker end."""
        self._jobs.put(None)
        self._worker.join(timeout=10)

    def _why_not(self) -> str:
        try:
            require_released(self._path)
        except FedethicsError as error:
            return str(error)
        return ""

    def _deciding(self) -> Callable[[NDArray[np.float64]], Mapping[str, float | str]]:
        if self._decide is None:
            raise Refused(404, "this model writes answers; ask /v1/chat/completions")
        return self._decide.of

    def _scores(self, texts: Sequence[Content]) -> NDArray[np.float64]:
        if not texts:
            return np.empty(0)
        job = _Job(texts, Future())
        self._submit(job)
        return job.result.result()

    def _submit(self, job: _Job) -> None:
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise Refused(503, f"{_MOST_WAITING} requests wait already; ask again later") from None

    def _work(self) -> None:
        held: _Job | None = None
        while True:
            job, held = held or self._jobs.get(), None
            if job is None:
                return
            if job.alone is not None:
                _settle(job, job.alone)
                continue
            together, held = self._together(job)
            self._compute(together)

    def _together(self, first: _Job) -> tuple[list[_Job], _Job | None]:
        """Return what is computed in one go, and a job of another kind that was met."""
        jobs, texts = [first], len(first.texts)
        while texts < _MOST_TOGETHER:
            try:
                more = self._jobs.get_nowait()
            except queue.Empty:
                break
            if more is None:
                self._jobs.put(None)
                break
            if more.alone is not None:
                return jobs, more
            jobs.append(more)
            texts += len(more.texts)
        return jobs, None

    def _compute(self, jobs: Sequence[_Job]) -> None:
        texts = [text for job in jobs for text in job.texts]
        try:
            states = self._learner.activations(texts, records=_MOST_TOGETHER)
            scores = self._learner.scores(self._vector, states)
        except Exception:
            for job in jobs:
                job.result.set_exception(Refused(500, "the model could not compute an answer"))
            return
        place = 0
        for job in jobs:
            job.result.set_result(scores[place : place + len(job.texts)])
            place += len(job.texts)

    def _write(self, ids: Sequence[int], most: int, told: Callable[[str, int, bool], bool]) -> None:
        learner = self._learner
        with learner.lock:
            learner.load(self._vector)
            written: list[int] = []
            shown = ""
            ended, heard = False, True
            tokens = learner.network.following(torch.tensor(ids), most=most)
            for token in tokens:
                ended = token in learner.tokenizer.controls
                if ended or not heard:
                    break
                written.append(token)
                text = learner.tokenizer.decode(written)
                # A character of several tokens is told when it is whole.
                ready = "" if text.endswith("\ufffd") else text[len(shown) :]
                shown += ready
                heard = told(ready, len(written), False)
            _close(tokens)
            told(learner.tokenizer.decode(written)[len(shown) :], len(written), ended)


def _deciding_of(opened: Folder) -> Deciding | None:
    try:
        return deciding(opened.charter)
    except DataError:
        return None


def _close(tokens: Iterator[int]) -> None:
    # The model is cut again only when its iterator is closed.
    close: Any = getattr(tokens, "close", None)
    if close is not None:
        close()


def _settle(job: _Job, call: Callable[[], None]) -> None:
    try:
        call()
    except Exception:
        job.result.set_exception(Refused(500, "the model could not compute an answer"))
    else:
        job.result.set_result(np.empty(0))


def _stamps(run_dir: Path) -> tuple[tuple[int, int, int] | None, ...]:
    found: list[tuple[int, int, int] | None] = []
    for name in _STANDING:
        try:
            state = os.lstat(run_dir / name)
        except OSError:
            found.append(None)
        else:
            found.append((state.st_ino, state.st_mtime_ns, state.st_size))
    return tuple(found)
