"""A run rests on the records that it began with, and the site's own commands say so."""

from __future__ import annotations

import io
import json
import os
from types import SimpleNamespace

import pytest

import fedethics.site.handler as handler_module
import fedethics.site.request_context as context_module
from fedethics.aggregates.registry import AGGREGATES, aggregate
from fedethics.charter import document
from fedethics.errors import TrainingError
from fedethics.privacy.ledger import Cap, Ledger
from fedethics.privacy.plan import make_plan
from fedethics.secagg import SiteStore
from fedethics.site.handler import SiteHandler
from fedethics.site.home import SiteHome
from fedethics.site.journal import Journal, Question
from fedethics.site.preflight.checks import preflight
from fedethics.site.records import facts_of, site_records
from fedethics.site.request_context import RequestContext

CAP_KEYS = {"update": "train", "fairness": "held_out"}


class Charged:
    """A site that joined, and was charged for one part of a run."""

    def __init__(self, day, kind):
        self.path = day.path / "alpha"
        home = SiteHome.open(self.path)
        self.charter = document.load(home.charter_path)
        self.hash = document.hash_of(self.charter)
        facts = facts_of(site_records(home.data_path, self.charter))
        plan = make_plan(self.charter)
        Ledger.open(home.ledger_path, identity=home.identity()).reserve(
            data_set=getattr(facts, CAP_KEYS[kind]),
            run="heart-1",
            round_number=1,
            kind=kind,
            events=plan.charge(kind, aggregate(kind).accounts[0]),
            charter_hash=self.hash,
            cap=Cap(epsilon=8.0, delta=1e-4),
        )
        self.patients = home.data_path

    def found(self):
        return {each.check: each for each in preflight(self.path, network=False)}

    def end(self):
        Journal(self.path / "journal.db").opened(
            Question(charter_hash=self.hash, run="heart-1", aggregate="fairness", round_number=5),
            sum_sha256="0" * 64,
        )


@pytest.fixture(params=["update", "fairness"])
def charged(joined, request):
    return Charged(joined, request.param)


def rows(text, change):
    head, *lines = text.splitlines()
    return "\n".join([head, *change(lines)]) + "\n"


CHANGES = {
    "a record less": lambda lines: lines[:-1],
    "a record twice": lambda lines: [*lines, lines[0]],
    "another value": lambda lines: [lines[0].replace(lines[0].split(",")[0], "41", 1), *lines[1:]],
    "no record that can be read": lambda lines: ["1,2"],
}


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_other_records_stop_a_run_until_the_file_is_as_it_was(charged, fedethics, change):
    text = charged.patients.read_text()
    before = charged.found()["run"]
    assert before.state == "ok" and "heart-1" in before.found
    charged.patients.write_text(rows(text, CHANGES[change]))
    changed = charged.found()
    assert changed["run"].state == changed["budget"].state == "fail"
    assert "put the file back" in changed["run"].fix
    told = json.loads(fedethics("site", "status", "--home", charged.path, "--json").out)
    assert "cannot continue" in told["under-way"]
    charged.patients.write_text(text)
    assert charged.found()["run"].state == "ok"
    told = json.loads(fedethics("site", "status", "--home", charged.path, "--json").out)
    assert told["under-way"] == "heart-1"


def test_the_same_records_are_the_same_under_any_name_time_and_order(charged):
    text = charged.patients.read_text()
    charged.patients.unlink()
    charged.patients.write_text(rows(text, lambda lines: lines[::-1]))
    os.utime(charged.patients, (1, 1))
    assert charged.found()["run"].state == "ok"


def test_another_file_with_the_time_and_size_of_the_first_is_another_file(charged):
    stamp = charged.patients.stat()
    assert charged.found()["run"].state == "ok"
    data = charged.patients.read_bytes()
    first = data.index(b"\n") + 1
    other = next(each for each in b"3456" if each != data[first])
    charged.patients.write_bytes(data[:first] + bytes([other]) + data[first + 1 :])
    os.utime(charged.patients, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    now = charged.patients.stat()
    assert (now.st_size, now.st_mtime_ns) == (stamp.st_size, stamp.st_mtime_ns)
    assert charged.found()["run"].state == "fail"


def test_a_run_that_ended_is_not_under_way(charged, fedethics):
    charged.end()
    charged.patients.write_text(rows(charged.patients.read_text(), CHANGES["a record less"]))
    assert "run" not in charged.found()
    told = json.loads(fedethics("site", "status", "--home", charged.path, "--json").out)
    assert told["under-way"] == "none"


def test_an_answer_that_the_site_keeps_is_shown_with_what_lets_it_decide_anew(
    joined, fedethics, monkeypatch
):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    path = joined.path / "alpha"
    charter_hash = document.hash_of(document.load(path / "charter.json"))
    Journal(path / "journal.db").keep_refusal(charter_hash=charter_hash, since="2026-11-30")
    kept = {each.check: each for each in preflight(path, network=False)}["answer"]
    assert kept.state == "fail" and "fedethics site reconsider" in kept.fix
    assert "2026-11-30" in fedethics("site", "status", "--home", path, "--json").out
    assert fedethics("site", "reconsider", "--home", path).exit_code == 5  # nobody said yes
    assert fedethics("site", "reconsider", "--home", path, "--yes").exit_code == 0
    assert "answer" not in {each.check for each in preflight(path, network=False)}


def test_a_self_test_counts_for_what_it_was_made_of_and_nothing_else(joined, monkeypatch):
    made = []
    monkeypatch.setattr(handler_module, "self_test", lambda *_: made.append(session.basis))
    monkeypatch.setattr(handler_module, "cross_check", lambda *_, **__: None)
    handler = SiteHandler(joined.path / "alpha")
    part, proven = SimpleNamespace(labels=(1,), left_out=0), []
    held_out = SimpleNamespace(left_out=0)
    session = SimpleNamespace(
        charter_hash="c" * 64,
        journal=Journal(joined.path / "alpha" / "journal.db"),
        workbench=SimpleNamespace(
            records=SimpleNamespace(train=part, held_out=held_out),
            activations=lambda chosen: chosen,
            learner=SimpleNamespace(prove=proven.append),
        ),
        local_terms=lambda _number: None,
        plan=SimpleNamespace(training=SimpleNamespace(events=()), delta=1e-4),
    )
    for basis in ("cpu", "cpu", "cuda", "cpu", "cuda"):
        session.basis = basis
        handler._self_test(session, SimpleNamespace(run="heart-1", round_number=1))
    assert made == ["cpu", "cuda"] and proven == [held_out, held_out]
    assert session.journal.self_test_passed(charter_hash="c" * 64, run="heart-1")
    assert not session.journal.self_test_passed(charter_hash="c" * 64, run="heart-2")


@pytest.mark.parametrize("name", ["update", "norms"])
def test_no_gradient_is_computed_or_charged_before_the_self_test(joined, monkeypatch, name):
    handler = SiteHandler(joined.path / "alpha")

    def refuse(*_):
        raise TrainingError("no gradient for each record here")

    def reserve(*_):
        pytest.fail("charged before the self-test")

    monkeypatch.setattr(handler, "_self_test", refuse)
    session = SimpleNamespace(reserve=reserve)
    with pytest.raises(TrainingError):
        handler._draw(session, None, SimpleNamespace(aggregate=name), None, None)


def test_which_kinds_read_gradients_is_said_of_each():
    # A new kind whose part of a sum rests on gradients must be among them.
    assert {each.name for each in AGGREGATES.values() if each.reads_gradients} == {
        "update", "norms",
    }  # fmt: skip


def test_how_a_site_computes_and_with_what_is_named_by_the_basis_of_its_self_test(
    joined, monkeypatch
):
    home = SiteHome.open(joined.path / "alpha")

    def basis():
        charter_hash = document.hash_of(document.load(home.charter_path))
        return RequestContext.open(home, charter_hash, SiteStore(home.opened_sums)).basis

    seen = {basis(), basis()}
    policy = home.policy_path.read_text()
    for compute in ('device = "cuda"', 'dtype = "bfloat16"', "checkpointing = true"):
        head, _, rest = policy.partition("[compute]")
        home.policy_path.write_text(
            f"{head}[compute]\n{compute}\n" if rest else f"{policy}\n[compute]\n{compute}\n"
        )
        seen.add(basis())
    home.policy_path.write_text(policy)
    monkeypatch.setattr(context_module, "_versions", lambda: (("torch", "9"),))
    seen.add(basis())
    assert len(seen) == 5
