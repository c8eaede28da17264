"""How a site answers each request, from its own files and its own rules.

The order inside TRAIN and EVALUATE is the promise "spend before you look": the opening is checked
against the charter, the permit is asked, the budget is reserved durably, and only then are records
touched by the mechanism; its noised output is masked before anything leaves. What a message says of
its run counts for nothing unless the signed opening says the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedethics.aggregates.at_site import COMPUTED
from fedethics.aggregates.measuring import Mechanism
from fedethics.aggregates.registry import aggregate
from fedethics.canonical import sha256_hex
from fedethics.errors import FedethicsError, SecaggAbort, SecaggReject
from fedethics.identical import Same
from fedethics.policy.permit import Permit
from fedethics.protocol import Action, Reply, Request
from fedethics.secagg import Opening, SiteStore
from fedethics.site.countersigning import countersign_heads
from fedethics.site.derived_adapter import require_derived, require_form, step_after
from fedethics.site.egress import require_listed
from fedethics.site.home import SiteHome
from fedethics.site.log import SiteLog
from fedethics.site.openings import check_agreed
from fedethics.site.records import reading_records
from fedethics.site.request_context import RequestContext
from fedethics.site.withdrawn import take_withdrawals
from fedethics.training.accountants import cross_check
from fedethics.training.learner import Learner
from fedethics.training.local_terms import LocalTerms
from fedethics.training.self_test import self_test

# The last self-test that passed in this process: of which run, how, and with which model.
_TESTED: set[tuple[str, str, str, LocalTerms, Same[Learner]]] = set()


class SiteHandler:
    """Answers requests for the site whose home is `path`; keeps no state of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.log = SiteLog(path / "log.jsonl")
        self._answers: dict[Action, Callable[[RequestContext, Request], dict[str, bytes]]] = {
            Action.ANNOUNCE: self._announce,
            Action.JOIN: lambda context, request: {
                "acknowledgement": context.secagg.join(_payload(request, "roster"))
            },
            Action.COMPLETE: self._complete,
            Action.TRAIN: self._work,
            Action.EVALUATE: self._work,
            Action.FORWARD: lambda context, request: {
                "masked": context.secagg.mask(_payload(request, "forward"))
            },
            Action.SURVIVORS: lambda context, request: {
                "confirm": context.secagg.confirm(_payload(request, "survivors"))
            },
            Action.PROOF: lambda context, request: {
                "reveal": context.secagg.reveal(_payload(request, "proof"))
            },
            Action.RESULT: self._result,
            Action.SLICE: self._slice,
            Action.READY: self._ready,
            Action.RECEIPT: lambda context, request: {"receipt": context.receipt(request.run)},
            Action.WITNESS: lambda context, request: {
                "countersignature": countersign_heads(
                    context, request.run, _payload(request, "heads")
                )
            },
        }

    @property
    def site(self) -> str:
        """The name that this site gives itself; empty where its settings cannot be read."""
        try:
            return SiteHome.open(self._path).settings.site
        except FedethicsError:
            return ""

    def handle(self, request: Request) -> Reply:
        """Answer `request`, or raise the reason why not.

        Raises:
            FedethicsError: the refusal, with its full text for the site's own log; also where the
                answer would hold what may not leave the site (`fedethics.site.egress`).
        """
        home = SiteHome.open(self._path)
        context = RequestContext.open(home, request.charter_hash, SiteStore(home.opened_sums))
        payloads = self._answers[request.action](context, request)
        require_listed(request.action, payloads, context.secagg)
        self.log.write("answered", action=str(request.action), run=request.run)
        return Reply(payloads=payloads)

    def _announce(self, context: RequestContext, request: Request) -> dict[str, bytes]:
        epoch = _payload(request, "epoch").decode("utf-8", "replace")
        if epoch.rpartition("/")[0] != request.run:
            raise SecaggReject(f"epoch {epoch!r} is not of run {request.run!r}; nothing was done")
        context.permit(request.run)
        self.log.write("records read", **context.reading_notes(request.run))
        return {"announcement": context.secagg.announce(epoch=epoch)}

    def _ready(self, context: RequestContext, request: Request) -> dict[str, bytes]:
        """Say whether this site would answer what is left of a run; nothing is charged.

        Or take notes of releases that were withdrawn, where some are sent.
        """
        if notes := request.payloads.get("withdrawn"):
            take_withdrawals(context.home, notes, self.log)
            return {}
        context.require_no_refuted_sum(request.run)  # an untold one is told before the opening
        context.permit(request.run)
        return {}

    def _complete(self, context: RequestContext, request: Request) -> dict[str, bytes]:
        context.secagg.complete(_payload(request, "joined"))
        return {}

    def _work(self, context: RequestContext, request: Request) -> dict[str, bytes]:
        """Check the opening, answer it within the budget, and share the answer."""
        open_message = _payload(request, "open")
        opening = context.secagg.check_open(open_message, specs=context.specs)
        check_agreed(opening, request, charter=context.charter, plan=context.plan)
        context.require_settled_sums(opening.run)
        adapter = _vector(_payload(request, "adapter"), context.learner.size)
        context.require_model(opening.model_hash, adapter)
        require_derived(context, opening, adapter, request.payloads.get("missed", b""))
        require_form(context, adapter, opening)
        granted = context.permit(opening.run)
        question = context.question(opening)
        vector = context.journal.find(
            question, model_hash=opening.model_hash, audience=context.audience(opening)
        )
        if vector is None:
            # All that can refuse the work itself comes first, before it costs.
            mechanism = COMPUTED[opening.aggregate](context, opening, request.payloads)
            vector = self._draw(context, granted, opening, mechanism, adapter)
        spec = context.specs[opening.aggregate]
        return {"share": context.secagg.share(open_message, vector, spec=spec)}

    def _draw(
        self,
        context: RequestContext,
        granted: Permit,
        opening: Opening,
        mechanism: Mechanism,
        adapter: NDArray[np.float32],
    ) -> NDArray[np.int64]:
        """Reserve the budget, compute with noise, and keep the answer. Sensitive until masked."""
        if aggregate(opening.aggregate).reads_gradients:
            self._self_test(context, opening)
        reserved = context.reserve(granted, opening)
        with reading_records():
            vector = mechanism(context, adapter, opening, context.noise(opening))
        context.journal.keep(
            context.question(opening),
            vector,
            model_hash=opening.model_hash,
            audience=context.audience(opening),
            adapter_sha256=context.adapter_sha256(opening, adapter),
        )
        for reservation in reserved:
            context.ledger.confirm(reservation, note="noised answer drawn")
        return vector

    def _self_test(self, context: RequestContext, opening: Opening) -> None:
        run, charter_hash, basis = opening.run, context.charter_hash, context.basis
        if context.journal.self_test_passed(charter_hash=charter_hash, run=run, basis=basis):
            return
        part = context.workbench.records.train
        terms = context.local_terms(opening.round_number)
        cross_check(context.plan.training.events, delta=context.plan.delta)
        with reading_records():
            activations = context.workbench.activations(part)
            learner = context.workbench.learner
            # Sites that are simulated in one process have one machine, one model and the same
            # terms: what the test shows of them is shown once. Shapes are proven for each.
            tested = (charter_hash, run, basis, terms, Same(learner))
            if tested in _TESTED:
                learner.prove(activations)
            else:
                self_test(learner, activations, part.labels, terms)
                _TESTED.clear()
                _TESTED.add(tested)
            # Held-out records too, so that no shape is left to be proven after a charge.
            held_out = context.workbench.activations(context.workbench.records.held_out)
            context.workbench.learner.prove(held_out)
        if left_out := activations.left_out + held_out.left_out:
            # For the site's own eyes: they count as not answered, and train nothing.
            self.log.write("records without tokens to learn", run=run, records=left_out)
        context.journal.record_self_test(charter_hash=charter_hash, run=run, basis=basis)
        self.log.write("self-test passed", run=run)

    def _result(self, context: RequestContext, request: Request) -> dict[str, bytes]:
        """Take the sum, and ask for the slices of it that this site checks.

        Where the charter asks for no checks, the sum is accepted as it was sent.
        """
        result = context.secagg.finish(_payload(request, "result"))
        question, checks = context.question(result), context.charter.secagg.verify_slices
        seen = sha256_hex(result.total.astype("<i8").tobytes())
        step = step_after(context, result)
        context.journal.opened(
            question,
            sum_sha256=seen,
            adapter=None if step is None else step.vector,
            moments=None if step is None else step.moments,
            believed=not checks,
        )
        if context.site not in result.survivors:
            return {}
        if not checks:
            return {"checked": context.secagg.checked(result.session_id)}
        context.require_no_refuted_sum(result.run)
        slices = context.secagg.slice_request(result.session_id)
        context.journal.ask_for_check(question, session_id=result.session_id)
        return {"slice-request": slices}

    def _slice(self, context: RequestContext, request: Request) -> dict[str, bytes]:
        """Check slices of a sum; one that fails ends this site's part in the run."""
        answer = _payload(request, "slice")
        session_id = context.secagg.session_of_slice(answer)
        # Durable first: if this process dies while it checks, the sum counts as unproven.
        context.journal.begin_check(session_id)
        try:
            proven = context.secagg.verify_slice(answer)
        except SecaggReject:
            context.journal.end_check(session_id, "asked")
            raise
        except SecaggAbort as lie:
            context.journal.end_check(session_id, "failed")
            self.log.write("false-sum", run=request.run, reason=str(lie))
            raise
        context.journal.end_check(session_id, "passed")
        self.log.write("sum-checked", run=request.run, coordinates=proven)
        return {"checked": context.secagg.checked(session_id)}


def _payload(request: Request, name: str) -> bytes:
    data = request.payloads.get(name)
    if data is None:
        raise SecaggReject(f"{request.action} came without its {name!r}; nothing was done")
    return data


def _vector(data: bytes, length: int) -> NDArray[np.float32]:
    if len(data) != 4 * length:
        raise SecaggReject(
            f"adapter has {len(data)} bytes, the charter's has {4 * length}; nothing was done"
        )
    vector = np.frombuffer(data, dtype="<f4").astype(np.float32)
    if not np.isfinite(vector).all():
        raise SecaggReject("adapter holds values that are not finite; nothing was done")
    return vector
