"""What a coordinator sees of a site's records before a release is charged: one bit, and it is kept.

Two files that differ in records get the same replies, or one of them gets the one refusal that
stands for every reason; and a reason that reads no record is told alike for both.
"""

from __future__ import annotations

import builtins
import dataclasses
import json
import random
from pathlib import Path

import pytest
from flwr.app import Context, RecordDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fedethics.aggregates.update.site as update_module
import fedethics.site.handler as handler_module
from fedethics import charter_sums, errors
from fedethics.aggregates.schedule import sum_specs
from fedethics.charter import document
from fedethics.errors import FedethicsError, PolicyRefusal, RecordsRefusal
from fedethics.flower.client_entry import answer
from fedethics.flower.wire import parse_reply, request_message
from fedethics.identity import Identity
from fedethics.policy.granted import DataFacts
from fedethics.privacy.ledger import DataSet
from fedethics.protocol import OF_RECORDS, Action, Request, refuse
from fedethics.secagg import CoordinatorSecagg
from fedethics.site.journal import Journal
from fedethics.site.records import reading_records
from tests.cli.conftest import fedethics  # noqa: F401  fixture
from tests.coordinator.conftest import (  # noqa: F401  fixtures
    kept_jobs,
    learned,
    quick,
    staged,
)
from tests.e2e.conftest import encoder, heart_data  # noqa: F401  fixture
from tests.inprocess import enter_task, wire_copy
from tests.policy.test_permit import Site

# Each says something that no record enters: of the charter, the policy, the ledger's own state,
# the model, a message, or the disk. Whoever adds a code decides here, too.
PUBLIC = {
    "FE101",
    "FE201",
    "FE202",
    "FE302",
    "FE303",
    "FE304",
    "FE402",
    "FE601",
    "FE602",
    "FE603",
    "FE604",
    "FE605",
    "FE901",
}
OURS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, FedethicsError)
]
OTHERS = [
    kind
    for kind in vars(builtins).values()
    if isinstance(kind, type)
    and issubclass(kind, Exception)
    and not issubclass(kind, BaseExceptionGroup)
]


def made(kind: type[Exception]) -> Exception:
    if issubclass(kind, PolicyRefusal):
        return kind(["oldpeak of line 7 is 9.9"])
    return kind.__new__(kind)


@pytest.mark.parametrize("kind", [*OURS, *OTHERS], ids=lambda kind: kind.__name__)
def test_every_error_has_one_code_for_records_or_is_of_no_record(kind):
    told = refuse(made(kind))
    if getattr(kind, "code", "") in PUBLIC:
        assert told.code == kind.code
    else:
        assert told == OF_RECORDS


@pytest.mark.parametrize("kind", [*OURS, *OTHERS], ids=lambda kind: kind.__name__)
def test_whatever_fails_while_records_are_read_or_computed_on_is_the_one_refusal(kind):
    with pytest.raises(RecordsRefusal) as caught, reading_records():
        raise made(kind)
    assert refuse(caught.value) == OF_RECORDS
    if kind in OTHERS:  # a stranger's text may quote a record
        assert caught.value.reasons[0].startswith(f"{kind.__name__} at test_one_refusal")


FACTS = st.builds(
    lambda train, held_out, file: DataFacts(
        train=DataSet(fingerprint=f"{file}-train", label="train", source=file),
        held_out=DataSet(fingerprint=f"{file}-held-out", label="held-out", source=file),
        train_records=train,
        held_out_records=held_out,
    ),
    st.integers(0, 20_000),
    st.integers(0, 20_000),
    st.sampled_from(["first", "second", "third"]),
)
READ = st.one_of(FACTS, st.just(RecordsRefusal(["[FE401] line 3: out of range"], lasting=True)))


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("permit"))
    other = DataSet(fingerprint="first-train", label="train", source="first")
    site.charge(4, data_set=other)  # one of the files was used before, and another never
    return site


POLICIES = {
    "": {},
    "the charter is not agreed to": {"charters": ["e" * 64]},
    "too small a cohort": {"cohort": 9},
    "delta is too large": {"delta": 1e-6},
    "too little noise": {"noise_multiplier": 50.0},
    "a spent budget": {"epsilon_per_data_set": 3.0},
    "many records": {"records": 500},
}
PUBLIC_POLICIES = {
    "the charter is not agreed to",
    "too small a cohort",
    "delta is too large",
    "too little noise",
}


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    READ,
    READ,
    st.sampled_from(sorted(POLICIES)),
    st.sampled_from(["link", "refuse", "other-people"]),
    st.sampled_from(["", "earlier", "run-9"]),
)
def test_the_permits_answers_to_any_two_data_files_differ_by_one_bit_at_most(
    asked, one, two, name, changed, run
):
    policy = asked.policy_of(**POLICIES[name])
    allow = dataclasses.replace(policy.allow, changed_data=changed)
    policy = dataclasses.replace(policy, allow=allow)
    told = []
    for data in (one, two):
        try:
            asked.ask(policy=policy, data=data, run=run)
        except FedethicsError as error:
            told.append(refuse(error))
        else:
            told.append("permit")
    if name in PUBLIC_POLICIES:
        assert told[0] == told[1] and told[0].code == "FE202"
    else:
        assert set(told) <= {"permit", OF_RECORDS}


# Through the door of a real site: what leaves it are these messages and nothing else.


@dataclasses.dataclass
class Door:
    """One site's door, and a coordinator that holds the real key."""

    stage: object
    data: object
    site: str = "hungary"
    count: int = 100  # the name of an epoch has as many digits in each message

    def __post_init__(self):
        self.home = self.stage.homes[self.site]
        self.hash = document.hash_of(self.stage.charter)
        path = self.home / "site.toml"
        text = path.read_text()
        source = next(each for each in text.splitlines() if "data =" in each).split('"')[1]
        path.write_text(text.replace(source, str(self.data)))
        self.text = Path(source).read_text(encoding="utf-8")
        self.write(self.text)

    def write(self, text):
        self.data.write_text(text)

    def ask(self, action, run="run", **payloads):
        self.count += 1
        request = Request(action=action, charter_hash=self.hash, run=run, payloads=payloads)
        enter_task(run_id=1, node_id=1)
        sent = request_message(request, node_id=2, ttl_s=9.0, group="x")
        message = wire_copy(sent, message_id=f"m-{self.count}")
        context = Context(2, 2, {"site-home": str(self.home)}, RecordDict(), {})
        return parse_reply(answer(message, context))

    def announce(self, run="run"):
        self.count += 1
        return self.ask(Action.ANNOUNCE, run, epoch=f"{run}/{self.count}".encode())

    def seen(self, run="run"):
        """What is to be seen of an answer: the refusal, or which payloads of which size."""
        reply = self.announce(run)
        return reply.refusal or {name: len(data) for name, data in reply.payloads.items()}


@pytest.fixture
def door(quick, tmp_path):  # noqa: F811
    return Door(quick.copy(), tmp_path / "records.csv")


def neighbours(text: str, seed: int) -> str:
    """Change, add or take away one record of a file, in one of many ways."""
    draw = random.Random(seed)
    head, *rows = text.splitlines()
    place, column = draw.randrange(len(rows)), draw.randrange(len(head.split(",")))
    cells = rows[place].split(",")
    ways = {
        "without": lambda: rows.pop(place),
        "twice": lambda: rows.append(rows[place]),
        "a value": lambda: _set(rows, place, cells, column, draw.choice(["", "-7", "1e9", "?"])),
        "long": lambda: _set(rows, place, cells, column, "x" * 5000),
        "short": lambda: rows.insert(place, "1,2"),
        "not text": lambda: rows.insert(place, '"'),
    }
    ways[draw.choice(sorted(ways))]()
    return "\n".join([head, *rows]) + "\n"


def _set(rows, place, cells, column, value):
    cells[column] = value
    rows[place] = ",".join(cells)


def refusal_of_records(site: str):
    return dataclasses.replace(OF_RECORDS, site=site)


def test_files_that_differ_in_one_record_get_equal_answers_or_the_one_refusal(door):
    granted = door.seen()
    refused = refusal_of_records(door.site)
    assert isinstance(granted, dict)
    found = []
    for seed in range(40):
        Journal(door.home / "journal.db").drop_refusal(charter_hash=door.hash)
        door.write(neighbours(door.text, seed))
        found.append(door.seen())
    assert refused in found and granted in found
    assert [each for each in found if each not in (granted, refused)] == []


def test_bounds_that_a_coordinator_chooses_give_one_bit_each_and_no_reason(door):
    """The attack: charters whose bounds cut through a column, each asked once."""
    charter = document.load(door.home / "charter.json")
    found = []
    for highest in (90, 150, 185, 900):
        columns = tuple(
            dataclasses.replace(each, maximum=float(highest)) if each.name == "thalch" else each
            for each in charter.data.columns
        )
        other = dataclasses.replace(
            charter, data=dataclasses.replace(charter.data, columns=columns)
        )
        (door.home / "charter.json").write_bytes(document.encode(other))
        door.hash = document.hash_of(other)
        found.append(door.seen())
    refused = refusal_of_records(door.site)
    assert found[0] == refused and isinstance(found[-1], dict)
    assert all(each in (refused, found[-1]) for each in found)


def test_the_answer_to_a_charter_is_kept_until_a_person_at_the_site_lets_it_be_decided_anew(
    door,
    fedethics,  # noqa: F811
):
    refused = refusal_of_records(door.site)
    door.write("\n".join(door.text.splitlines()[:4]) + "\n")
    assert door.seen() == refused
    door.write(door.text)  # now the records go with the charter; whoever asks does not learn it
    assert door.seen() == door.seen("run-2") == refused
    log = [json.loads(line) for line in (door.home / "log.jsonl").read_text().splitlines()]
    assert "site reconsider" in log[-1]["reason"]
    done = fedethics("site", "reconsider", "--home", door.home, "--yes")
    assert done.exit_code == 0, done.err
    assert isinstance(door.seen(), dict)
    assert fedethics("site", "reconsider", "--home", door.home, "--yes").exit_code == 2


def test_a_file_that_is_not_there_for_a_moment_is_no_answer_for_good(door):
    door.data.unlink()
    assert door.seen() == refusal_of_records(door.site)
    door.write(door.text)
    assert isinstance(door.seen(), dict)


def test_a_missing_model_is_told_alike_whatever_the_records_hold(door):
    settings_file = door.home / "site.toml"
    settings_file.write_text(f'model-dir = "{door.home}"\n' + settings_file.read_text())
    found = {door.seen()}
    door.write(neighbours(door.text, 3))
    found.add(door.seen())
    door.data.unlink()
    found.add(door.seen())
    assert {each.code for each in found} == {"FE402"}


FAILURES = [
    MemoryError,
    RecursionError,
    ValueError,
    errors.TrainingError,
    errors.ModelError,
    errors.FairnessError,
    errors.SecaggReject,
    errors.LedgerError,
]


@pytest.mark.parametrize(
    ("module", "where"), [(handler_module, "self_test"), (update_module, "train")],
    ids=["self_test", "train"],
)  # fmt: skip
def test_whatever_fails_in_training_on_the_records_is_the_one_refusal(
    door,
    learned,  # noqa: F811
    module,
    where,
    monkeypatch,
):
    secagg = CoordinatorSecagg(
        identity=Identity.load(door.stage.coordinator / "identity.key"),
        terms=charter_sums.secagg_terms(door.stage.charter, charter_hash=door.hash),
    )
    doors = {
        site: door if site == door.site else Door(door.stage, door.data.with_name(site), site)
        for site in door.stage.homes
    }
    for each in doors.values():
        secagg.add_announcement(each.ask(Action.ANNOUNCE, epoch=b"run/0").payloads["announcement"])
    for each in doors.values():
        reply = each.ask(Action.JOIN, roster=secagg.roster_message())
        secagg.add_acknowledgement(reply.payloads["acknowledgement"])
    adapter = learned.initial_vector()
    specs = sum_specs(door.stage.charter, vector_length=adapter.size)
    opened = secagg.open(
        spec=specs[charter_sums.UPDATE],
        round_number=1,
        model_hash=learned.model_hash(adapter),
        cohort=tuple(doors),
    )
    told = set()
    for kind in FAILURES:

        def fail(*_args, _kind=kind, **_more):
            raise made(_kind)

        monkeypatch.setattr(module, where, fail)
        reply = door.ask(
            Action.TRAIN, open=opened.open_message, adapter=adapter.astype("<f4").tobytes()
        )
        told.add(reply.refusal)
    assert told == {refusal_of_records(door.site)}
    reasons = (door.home / "log.jsonl").read_text()
    for kind in FAILURES:
        assert (f"[{kind.code}]" if kind in OURS else kind.__name__) in reasons
