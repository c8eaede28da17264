"""One released model that answers: loaded once, asked by one thread, stopped by a withdrawal.

Guarantee: an answer to a record follows from that record, the release and this machine alone, bit
for bit. Other requests do not change it. Nothing that a client sends is kept.
"""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fedethics.canonical import Json
from fedethics.data.content import Content
from fedethics.data.rendering import row_content, text_columns
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

# Texts that are computed together at most.
_MOST_TOGETHER = 256
# What waits beyond it is refused: requests, and texts of all of them.
_MOST_WAITING = 64
_MOST_TEXTS = 4096
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
        self._jobs: queue.Queue[_Job | None] = queue.Queue(_MOST_WAITING + 1)
        self._texts = 0
        self._counting = threading.Lock()
        self._stopped = ""
        self._look = threading.Lock()
        self._auditing = threading.Lock()
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

    def changed(self) -> bool:
        """Say whether anything was changed since the last look; this takes microseconds."""
        return _stamps(self._path) != self._seen or bool(self._stopped)

    def require_standing(self) -> None:
        """Refuse where the release was withdrawn or altered since it was loaded.

        Raises:
            Refused: with status 410 and the reason. Also where it could not be looked at.
        """
        with self._look:
            now = _stamps(self._path)
            if now != self._seen:
                # Until the look has ended well, nothing is answered.
                self._stopped = "the release changed, and could not be verified again"
                self._stopped = self._why_not()
                self._seen = now
            if self._stopped:
                raise Refused(410, self._stopped)

    def require_deciding(self) -> None:
        """Refuse where the model writes answers and decides nothing of a record.

        Raises:
            Refused: with status 404.
        """
        self._deciding()

    def scores(self, texts: Sequence[Content]) -> Future[NDArray[np.float64]]:
        """Let the model score texts, with others that wait where it computes in batches.

        Raises:
            Refused: the task decides nothing, or too many wait.
        """
        self._deciding()
        job = _Job(texts, Future())
        if not texts:
            job.result.set_result(np.empty(0))
            return job.result
        self._submit(job)
        return job.result

    def told(
        self, records: Sequence[NewRecord], scores: NDArray[np.float64]
    ) -> list[dict[str, Json]]:
        """Return score and decision of each record, or why it is not scored.

        Args:
            records: in the order of the request.
            scores: of those that have a content, in their order.
        """
        decide, found = self._deciding(), iter(scores)
        told: list[dict[str, Json]] = []
        for record in records:
            if record.content is None:
                told.append({"not_scored": record.left_out})
                continue
            own = np.asarray(next(found))
            finite = bool(np.isfinite(own).all())
            told.append(
                dict(decide(own)) if finite else {"not_scored": "the model gives no finite score"}
            )
        return told

    def without_each(self, record: NewRecord) -> list[Content]:
        """Return a record's text, and its text without each column's phrase.

        Raises:
            Refused: the model reads no columns, or the charter leaves such a record out.
        """
        self._deciding()
        columns = text_columns(self._schema)
        if self._schema.content is not None or not columns:
            raise Refused(400, "this model reads free text and no columns")
        if record.content is None:
            raise Refused(422, f"the charter leaves this record out: {record.left_out}")
        others = ([one for one in columns if one.name != out.name] for out in columns)
        return [
            record.content,
            *(row_content(record.values, self._schema, kept) for kept in others),
        ]

    def effects(self, scores: NDArray[np.float64]) -> dict[str, Json]:
        """Return the decision, and what each column's phrase does to the score.

        An effect is the score less the score of the text without that phrase (occlusion). With
        several classes, the score of the class that was decided.

        Args:
            scores: of the texts of `without_each`.
        """
        told = scores[:, int(np.argmax(scores[0]))] if scores.ndim == 2 else scores
        names = [column.name for column in text_columns(self._schema)]
        effects: dict[str, Json] = {
            name: float(told[0] - score) for name, score in zip(names, told[1:], strict=True)
        }
        return {**self._deciding()(np.asarray(scores[0])), "effects": effects}

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
        with self._auditing:
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
        """Let the worker end, after what waits."""
        self._jobs.put(None)
        self._worker.join(timeout=10)

    def _why_not(self) -> str:
        try:
            require_released(self._path)
        except FedethicsError as error:
            return str(error)
        except Exception:
            # Whatever it is: a release that cannot be verified is not used.
            return "the release could not be verified again; `fedethics release verify` says why"
        return ""

    def _deciding(self) -> Callable[[NDArray[np.float64]], Mapping[str, float | str]]:
        if self._decide is None:
            raise Refused(404, "this model writes answers; ask /v1/chat/completions")
        return self._decide.of

    def _submit(self, job: _Job) -> None:
        with self._counting:
            full = self._jobs.qsize() >= _MOST_WAITING
            if full or self._texts + len(job.texts) > _MOST_TEXTS:
                raise Refused(503, "too many requests wait already; ask again later")
            self._texts += len(job.texts)
            self._jobs.put_nowait(job)

    def _work(self) -> None:
        held: _Job | None = None
        while True:
            job, held = held or self._jobs.get(), None
            if job is None:
                return
            self._taken(job)
            if job.alone is not None:
                _settle(job, job.alone)
                continue
            together, held, ended = self._together(job)
            self._compute(together)
            if ended:
                return

    def _taken(self, job: _Job) -> None:
        with self._counting:
            self._texts -= len(job.texts)

    def _together(self, first: _Job) -> tuple[list[_Job], _Job | None, bool]:
        """Return what is computed in one go, a job of another kind, and whether this is the end."""
        jobs, texts = [first], len(first.texts)
        while texts < _MOST_TOGETHER:
            try:
                more = self._jobs.get_nowait()
            except queue.Empty:
                break
            if more is None:
                return jobs, None, True
            if more.alone is not None:
                return jobs, more, False
            self._taken(more)
            jobs.append(more)
            texts += len(more.texts)
        return jobs, None, False

    def _compute(self, jobs: Sequence[_Job]) -> None:
        texts = [text for job in jobs for text in job.texts]
        try:
            self.require_standing()
            states = self._learner.activations(texts, records=_MOST_TOGETHER)
            scores = self._learner.scores(self._vector, states)
        except Refused as refused:
            for job in jobs:
                job.result.set_exception(refused)
            return
        except Exception:
            if len(jobs) == 1:
                jobs[0].result.set_exception(_failed())
            else:  # one of them alone may be at fault
                for job in jobs:
                    self._compute([job])
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
            with closing(tokens):  # the model is cut again when its iterator is closed
                for token in tokens:
                    self.require_standing()
                    ended = token in learner.tokenizer.controls
                    if ended or not heard:
                        break
                    written.append(token)
                    text = learner.tokenizer.decode(written)
                    # A character of several tokens is told when it is whole.
                    ready = "" if text.endswith("\ufffd") else text[len(shown) :]
                    shown += ready
                    heard = told(ready, len(written), False)
            told(learner.tokenizer.decode(written)[len(shown) :], len(written), ended)


def _deciding_of(opened: Folder) -> Deciding | None:
    try:
        return deciding(opened.charter)
    except DataError:
        return None


def _settle(job: _Job, call: Callable[[], None]) -> None:
    try:
        call()
    except Refused as refused:
        job.result.set_exception(refused)
    except Exception:
        # Its words may hold what a client sent; whoever waits is told that it failed.
        job.result.set_exception(_failed())
    else:
        job.result.set_result(np.empty(0))


def _failed() -> Refused:
    return Refused(500, "the model could not compute an answer")


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
