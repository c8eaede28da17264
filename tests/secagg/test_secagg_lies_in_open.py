"""A lying server: what an OPEN may ask for."""

import numpy as np
import pytest

from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from tests.secagg.federation import MODEL, spec_of
from tests.secagg.lie_checks import (
    SPEC,
    assert_caught,
    assert_learned_nothing,
    assert_next_round_works,
)

OTHER_SPEC = spec_of(length=6)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cohort": ["site-00"], "threshold": 2}, "cohort of 1, minimum 4"),
        (
            {"cohort": ["site-00", "site-01", "site-02"], "threshold": 3},
            "cohort of 3, minimum 4",
        ),
        ({"threshold": 4}, "threshold 4 for 7 sites, the rule gives 5"),
        ({"threshold": 6}, "threshold 6"),
        ({"cohort": [f"site-0{k}" for k in range(6)] + ["site-99"]}, "not in the epoch: site-99"),
        ({"cohort": [f"site-0{k}" for k in range(1, 7)]}, "does not list it"),
        ({"spec_hash": OTHER_SPEC.hash}, "another specification"),
        ({"task": "secret-task"}, "no sum 'secret-task'"),
        ({"mode": "fast"}, "mode 'fast' is not the charter's 'strict'"),
        ({"suite": 9}, "suite 9"),
        ({"graph": "star"}, "graph 'star'"),
        ({"run": "another-run"}, "run 'another-run'"),
        ({"epoch_hash": "00" * 32}, "another ROSTER"),
    ],
)
def test_an_open_that_breaks_the_charter_is_refused_before_any_work(
    server, federation, changes, reason
):
    lie = server.forge(federation.open(SPEC).open_message, kind=Kind.OPEN, **changes)
    with pytest.raises(SecaggAbort, match=reason):
        server.ask("site-00", "check_open", lie, specs={SPEC.name: SPEC})
    assert_caught(server, "site-00")
    with pytest.raises((SecaggAbort, SecaggReject)):
        server.ask("site-00", "share", lie, vector=np.zeros(5, dtype=np.int64), spec=SPEC)
    assert_learned_nothing(server)
    assert_next_round_works(server)


def test_an_honest_open_is_described_to_the_caller(server, federation):
    session = federation.open(SPEC)
    opening = server.ask("site-00", "check_open", session.open_message, specs={SPEC.name: SPEC})
    assert opening.cohort == tuple(federation.names) and opening.threshold == 5
    assert (opening.run, opening.aggregate, opening.round_number) == ("run", "update", 0)
    assert opening.model_hash == MODEL


def test_another_model_to_one_site_makes_its_masks_useless(server, federation, vectors):
    session = federation.open(SPEC)
    other = server.forge(session.open_message, kind=Kind.OPEN, model_hash="ee" * 32)
    opening = server.ask("site-00", "check_open", other, specs={SPEC.name: SPEC})
    assert opening.model_hash == "ee" * 32  # the caller sees it and need not go on
    lone = server.ask("site-00", "share", other, vector=vectors["site-00"], spec=SPEC)
    with pytest.raises(SecaggReject, match="another session"):
        session.add_share(lone)
    for name in federation.names[1:]:
        session.add_share(
            server.ask(name, "share", session.open_message, vector=vectors[name], spec=SPEC)
        )
    forward = session.forward()["site-01"]
    relabelled = server.forge(
        forward,
        kind=Kind.FORWARD,
        session=opening.session_id,
        recipient="site-00",
        shared=federation.names,
        body=bytes(framing.decode(forward, kind=Kind.FORWARD, max_body_bytes=1 << 20).body)
        + bytes(126),
    )
    with pytest.raises(SecaggAbort, match="shares from site-01 to site-00"):
        server.ask("site-00", "mask", relabelled)
    assert_caught(server, "site-00")
    assert_learned_nothing(server)
