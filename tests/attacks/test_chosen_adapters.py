"""A coordinator that picks the adapter itself: no site computes anything with it, in any action."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import fedethics.site.handler as handler_module
from fedethics import charter_sums
from fedethics.charter.ethics_terms import MitigationTerms
from fedethics.charter.privacy_terms import AuditTerms
from fedethics.errors import AdapterRefused, SecaggReject, SumUntold
from fedethics.identity import Identity
from fedethics.privacy.ledger import read_book
from fedethics.protocol import refuse
from fedethics.secagg import CheckedSum, SiteStore, framing, pack_missed, revocation_notice
from fedethics.secagg.framing import Kind
from fedethics.secagg.messages import Party
from fedethics.site.home import SiteHome
from fedethics.site.request_context import RequestContext
from fedethics.training.factors import pairs
from fedethics.training.server_step import plain_step
from tests.attacks.conftest import Liar
from tests.coordinator.conftest import Quick, numbers
from tests.e2e.conftest import Lab

SITE = "cleveland"
OTHERS = ("hungary", "switzerland", "va-long-beach")


def _svd_without_checks(charter):
    secagg = dataclasses.replace(charter.secagg, verify_slices=False)
    adapter = dataclasses.replace(charter.adapter, form="fedsvd")
    return dataclasses.replace(charter, secagg=secagg, adapter=adapter)


def _every_sum(charter):
    mitigation = MitigationTerms(method="dual-ascent", feature="sex", epsilon=1.0)
    privacy = dataclasses.replace(charter.privacy, audit=AuditTerms(attack="loss"))
    return dataclasses.replace(charter, mitigation=mitigation, privacy=privacy)


@pytest.fixture(scope="module")
def staged_with_every_sum(tmp_path_factory, heart_data, encoder):
    stage = Lab(tmp_path_factory.mktemp("every"), heart_data, encoder).stage(change=_every_sum)
    for home in stage.homes.values():
        path = home / "policy.toml"
        text = path.read_text().replace('"fairness",', '"fairness", "steering", "audit",', 1)
        path.write_text(text)
    return stage


@pytest.fixture(scope="module")
def staged_svd(tmp_path_factory, heart_data, encoder):
    return Lab(tmp_path_factory.mktemp("svd"), heart_data, encoder).stage(
        change=_svd_without_checks
    )


@pytest.fixture
def federation(staged_with_every_sum, tmp_path, integers):
    """A coordinator's key, and sites that answer with integers in place of trained ones."""
    liar = Liar(Quick(staged_with_every_sum, tmp_path, tmp_path / "kept").copy())
    liar.enrol()
    return liar


@pytest.fixture
def svd_federation(staged_svd, tmp_path, integers):
    liar = Liar(Quick(staged_svd, tmp_path, tmp_path / "kept").copy())
    liar.enrol()
    return liar


@pytest.fixture
def integers(monkeypatch):
    def compute(context, _adapter, opening, _noise, **_):
        return numbers(context.site, opening, context.specs[opening.aggregate].length)

    monkeypatch.setattr(
        handler_module, "COMPUTED", dict.fromkeys(handler_module.COMPUTED, lambda *_: compute)
    )
    monkeypatch.setattr(handler_module, "self_test", lambda *_: None)
    monkeypatch.setattr(handler_module, "cross_check", lambda *_, **__: None)


def _charges(liar, site: str = SITE) -> int:
    return len(read_book(liar.stage.homes[site] / "ledger.db").charges)


def _forgeries(honest: np.ndarray, before: np.ndarray):
    """Adapters that a coordinator would like to have answered, each by what it is."""
    last_bit = honest.copy()
    last_bit[7] = np.nextafter(last_bit[7], np.float32(9))
    minus_zero = honest.copy()
    minus_zero[honest == 0] = -0.0
    return {
        "one of its own": np.random.default_rng(3).normal(size=honest.size).astype(np.float32),
        "the true one but for a last bit": last_bit,
        "the one of the round before": before,
        "zeros": np.zeros_like(honest),
    } | ({"the true one with minus zeros": minus_zero} if (honest == 0).any() else {})


def _assert_refused(liar, task: str, number: int, adapter: np.ndarray, what: str) -> None:
    before = _charges(liar)
    refused = liar.work(SITE, task, number, adapter=adapter)
    assert isinstance(refused, AdapterRefused), (task, number, what, refused)
    assert refuse(refused).code == "FE605"
    assert _charges(liar) == before


def test_each_action_of_each_round_takes_the_derived_adapter_and_no_other(federation):
    liar, start = federation, federation.adapter
    for what, forged in _forgeries(start, start + np.float32(1)).items():
        for task in (charter_sums.STEERING, charter_sums.UPDATE):
            _assert_refused(liar, task, 1, forged, what)
    liar.play(charter_sums.STEERING, 1)
    first, _ = liar.play(charter_sums.UPDATE, 1)
    after_1 = liar.stepped(start, first)
    for what, forged in _forgeries(after_1, start).items():
        for task, number in (
            (charter_sums.PROGRESS, 1),
            (charter_sums.STEERING, 2),
            (charter_sums.UPDATE, 2),
        ):
            _assert_refused(liar, task, number, forged, what)
    liar.play(charter_sums.PROGRESS, 1, adapter=after_1)
    liar.play(charter_sums.STEERING, 2, adapter=after_1)
    second, _ = liar.play(charter_sums.UPDATE, 2, adapter=after_1)
    after_2 = liar.stepped(after_1, second)
    for what, forged in _forgeries(after_2, after_1).items():
        for task in (charter_sums.AUDIT, charter_sums.FAIRNESS):
            _assert_refused(liar, task, 2, forged, what)
    liar.play(charter_sums.AUDIT, 2, adapter=after_2)
    liar.play(charter_sums.FAIRNESS, 2, adapter=after_2)


def test_no_round_is_measured_before_its_sum_was_opened(federation):
    for task, number in (
        (charter_sums.PROGRESS, 1),
        (charter_sums.UPDATE, 2),
        (charter_sums.FAIRNESS, 2),
    ):
        _assert_refused(federation, task, number, federation.adapter, "the start")


def test_a_sum_that_the_site_was_told_and_not_shown_to_be_true_leads_to_no_adapter(federation):
    liar = federation
    liar.play(charter_sums.STEERING, 1)
    session, _ = liar.play(charter_sums.UPDATE, 1, settled=OTHERS)
    after_1 = liar.stepped(liar.adapter, session)
    assert isinstance(liar.work(SITE, charter_sums.PROGRESS, 1, adapter=after_1), SumUntold)
    liar.ask(SITE, handler_module.Action.RESULT, result=session.result().message)
    before = _charges(liar)
    assert isinstance(liar.work(SITE, charter_sums.PROGRESS, 1, adapter=after_1), SumUntold)
    assert _charges(liar) == before
    liar.settle(SITE, session)
    assert "share" in liar.work(SITE, charter_sums.PROGRESS, 1, adapter=after_1)


class Away:
    """Round 1 without one site, and what an honest coordinator would send it for round 2."""

    def __init__(self, liar: Liar) -> None:
        self.liar = liar
        liar.play(charter_sums.STEERING, 1)
        self.session, self.said = liar.play(charter_sums.UPDATE, 1, cohort=OTHERS)
        self.after_1 = liar.stepped(liar.adapter, self.session)
        self.sum = CheckedSum(
            opened=self.session.open_message,
            result=self.session.result().message,
            statements=tuple(self.said.values()),
        )

    def progress(self, *missed: CheckedSum, adapter=None):
        """Ask the site that was away for its part of the counts after round 1."""
        payloads = {"missed": pack_missed(missed)} if missed else {}
        vector = self.after_1 if adapter is None else adapter
        return self.liar.work(SITE, charter_sums.PROGRESS, 1, adapter=vector, payloads=payloads)

    def coordinator_says(self, kind: Kind, body: bytes = b"", **fields: object) -> bytes:
        member = Party(
            name="coordinator",
            identity=Identity.load(self.liar.stage.coordinator / "identity.key"),
            terms=self.liar.secagg._member.terms,
            random_bytes=lambda size: bytes(size),
        )
        return member.message(kind, body, **fields)

    def site_says(self, site: str, *, signed_for: str = "", **changes: object) -> bytes:
        """A CHECKED really signed by a site, as a colluding one would sign it."""
        frame = framing.decode(self.said["hungary"], kind=Kind.CHECKED, max_body_bytes=0)
        header = {**frame.header, "sender": signed_for or site, **changes}
        identity = Identity.load(self.liar.stage.homes[site] / "identity.key")
        return framing.encode(Kind.CHECKED, header, identity=identity)


@pytest.fixture
def away(federation):
    return Away(federation)


def test_a_site_that_was_away_goes_on_with_the_sums_that_others_vouch_for(away):
    refused = away.progress()
    assert isinstance(refused, AdapterRefused)
    assert "checked sums up to round 0" in str(refused)
    before = _charges(away.liar)
    assert "share" in away.progress(away.sum)
    assert "share" in away.progress()  # it is known now
    assert _charges(away.liar) == before + 1
    for what, forged in _forgeries(away.after_1, away.liar.adapter).items():
        refused = away.progress(away.sum, adapter=forged)
        assert isinstance(refused, AdapterRefused), what


def _other_total(away) -> tuple[np.ndarray, bytes, str]:
    """A total of the coordinator's own, its RESULT and root."""
    total = away.session.result().total.copy()
    total[3] += 1
    words = away.session._spec.word_bits // 8
    message = away.coordinator_says(
        Kind.RESULT,
        total.astype(f"<i{words}").tobytes(),
        session=away.session.session_id,
        survivors=list(OTHERS),
    )
    frame = framing.decode(message, kind=Kind.RESULT, max_body_bytes=1 << 30)
    return total, message, frame.root.hex()


def test_a_site_that_was_away_believes_no_sum_that_too_few_members_checked(away):
    said, whole = away.sum.statements, away.sum
    total, result, root = _other_total(away)
    forged = plain_step(
        away.liar.adapter, charter=away.liar.stage.charter, total=total, survivors=OTHERS
    )
    colluder = away.site_says("hungary", total=root)
    lies = {
        "one statement too few": dataclasses.replace(whole, statements=said[:-1]),
        "one statement twice": dataclasses.replace(whole, statements=(*said[:-1], said[0])),
        "no statement": dataclasses.replace(whole, statements=()),
        "another total": dataclasses.replace(whole, result=result),
        "another total, one colluder": dataclasses.replace(
            whole, result=result, statements=(colluder, *said[1:])
        ),
        "another total, the colluder only": dataclasses.replace(
            whole, result=result, statements=(colluder,)
        ),
        "a site that is not in the sum": dataclasses.replace(
            whole, statements=(*said[:-1], away.site_says(SITE))
        ),
        "the statement of another session": dataclasses.replace(
            whole, statements=(*said[:-1], away.site_says("va-long-beach", session="ab" * 32))
        ),
        "of another run": dataclasses.replace(
            whole, statements=(*said[:-1], away.site_says("va-long-beach", run="other"))
        ),
        "of another round": dataclasses.replace(
            whole, statements=(*said[:-1], away.site_says("va-long-beach", round=2))
        ),
        "of another charter": dataclasses.replace(
            whole, statements=(*said[:-1], away.site_says("va-long-beach", charter="cd" * 32))
        ),
        "over other survivors": dataclasses.replace(
            whole, statements=(*said[:-1], away.site_says("va-long-beach", survivors="ab" * 32))
        ),
        "in another's name": dataclasses.replace(
            whole, statements=(*said[:-1], away.site_says("hungary", signed_for="va-long-beach"))
        ),
    }
    before = _charges(away.liar)
    for what, lie in lies.items():
        for adapter in (away.after_1, forged):
            refused = away.progress(lie, adapter=adapter)
            assert isinstance(refused, AdapterRefused), (what, refused)
    assert _charges(away.liar) == before
    assert "share" in away.progress(whole)


def test_a_site_that_was_away_believes_no_sum_of_an_older_run(away):
    older = away.sum
    liar = Liar(away.liar.stage, run="later")
    liar.enrol()
    liar.play(charter_sums.STEERING, 1)
    liar.play(charter_sums.UPDATE, 1, cohort=OTHERS)
    payloads = {"missed": pack_missed([older])}
    refused = liar.work(SITE, charter_sums.PROGRESS, 1, adapter=away.after_1, payloads=payloads)
    assert isinstance(refused, AdapterRefused)
    assert "is of run 'run', asked is 'later'" in str(refused)


def test_a_member_whose_key_was_revoked_vouches_for_nothing(away):
    stage = away.liar.stage
    theirs = Identity.load(stage.homes["hungary"] / "identity.key")
    home = SiteHome.open(stage.homes[SITE])
    context = RequestContext.open(home, away.liar.hash, SiteStore(home.opened_sums))
    spec = context.specs[charter_sums.UPDATE]
    assert context.secagg.believe(away.sum, spec=spec)[1].survivors == OTHERS
    context.secagg.revoke(revocation_notice(theirs, key=theirs.public_key, reason="stolen"))
    with pytest.raises(SecaggReject, match="hungary, whose key was revoked here"):
        context.secagg.believe(away.sum, spec=spec)


def _turned(liar, vector, seed: int):
    """The same adapter with a pair of factors rotated: bits that another machine could give."""
    pair = pairs(liar.learner)[0]
    a, b = pair.read(vector)
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(a), len(a))))
    turned = vector.copy()
    turned[pair.a] = (q @ a).astype(np.float32).ravel()
    turned[pair.b] = (b @ q.T).astype(np.float32).ravel()
    return turned


def test_under_fedsvd_the_first_rotation_that_passes_is_the_one_of_that_round(svd_federation):
    liar, start = svd_federation, svd_federation.adapter
    for what, forged in _forgeries(start, start + np.float32(1)).items():
        _assert_refused(liar, charter_sums.UPDATE, 1, forged, what)
    first, _ = liar.play(charter_sums.UPDATE, 1)
    after_1 = liar.stepped(start, first)
    plain = plain_step(
        start, charter=liar.stage.charter, total=first.result().total, survivors=first.cohort
    )
    for forged in (plain, after_1 * np.float32(1.01), start):
        refused = liar.work(SITE, charter_sums.PROGRESS, 1, adapter=forged)
        assert isinstance(refused, AdapterRefused)
    taken = _turned(liar, after_1, 1)
    liar.play(charter_sums.PROGRESS, 1, adapter=taken)
    for task, number in ((charter_sums.PROGRESS, 1), (charter_sums.UPDATE, 2)):
        refused = liar.work(SITE, task, number, adapter=_turned(liar, after_1, 2))
        assert not isinstance(refused, dict)
        refused = liar.work(SITE, task, number, adapter=after_1)
        assert not isinstance(refused, dict)
    second, _ = liar.play(charter_sums.UPDATE, 2, adapter=taken)
    liar.play(charter_sums.FAIRNESS, 2, adapter=liar.stepped(taken, second))


def test_a_site_that_was_away_under_fedsvd_is_held_to_the_rotation_that_the_others_used(
    svd_federation,
):
    liar, start = svd_federation, svd_federation.adapter
    sums, adapter, used = [], start, [start]
    for number in (1, 2):
        session, said = liar.play(charter_sums.UPDATE, number, adapter=adapter, cohort=OTHERS)
        sums.append(
            CheckedSum(
                opened=session.open_message,
                result=session.result().message,
                statements=tuple(said.values()),
                start=adapter.astype("<f4").tobytes(),
            )
        )
        adapter = _turned(liar, liar.stepped(adapter, session), number)
        used.append(adapter)

    def asked(*missed):
        payloads = {"missed": pack_missed(missed)}
        return liar.work(SITE, charter_sums.FAIRNESS, 2, adapter=adapter, payloads=payloads)

    other = _turned(liar, used[1], 7).astype("<f4").tobytes()
    for missed in (
        [sums[1]],
        [sums[1], sums[0]],
        [sums[0]],
        [sums[0], dataclasses.replace(sums[1], start=other)],
        [sums[0], dataclasses.replace(sums[1], start=b"")],
        [sums[0], dataclasses.replace(sums[1], start=start.astype("<f4").tobytes())],
        [sums[0], dataclasses.replace(sums[1], statements=sums[0].statements)],
    ):
        assert isinstance(asked(*missed), AdapterRefused)
    assert _charges(liar) == 0
    assert "share" in asked(*sums)
