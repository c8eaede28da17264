"""Members hold each other's receipts: a ledger that was rolled back finds no countersignature."""

import dataclasses
import shutil
from types import SimpleNamespace

import pytest

from fedethics import canonical, terms
from fedethics.charter.document import hash_of, load
from fedethics.charter.model import Member
from fedethics.errors import LedgerTampered
from fedethics.identity import Identity
from fedethics.privacy.ledger import Cap, DataSet, Ledger, read_receipt, verify_files
from fedethics.privacy.ledger.receipt import sign_receipt
from fedethics.privacy.plan import make_plan
from fedethics.release.evidence import Countersignature
from fedethics.release.receipts import (
    Heads,
    countersignature_faults,
    encode_heads,
    from_envelope,
    parse_heads,
)
from fedethics.site.countersigning import KEPT_HEADS, countersign_heads
from tests.privacy.charters import HEART

NAMES = ("a", "b", "c")


class Members:
    def __init__(self, folder):
        self.folder = folder
        self.keys = {name: Identity.generate() for name in NAMES}
        roster = tuple(
            Member(site=name, public_key=key.public_key, declared_records=200)
            for name, key in self.keys.items()
        )
        draft = load(HEART)
        self.charter = dataclasses.replace(draft, roster=roster, coordinator_key="d" * 64)
        self.roster = {name: key.public_key for name, key in self.keys.items()}
        for name in NAMES:
            (folder / name).mkdir()
            self.ledger(name, create=True)

    def ledger(self, name, *, create=False):
        path = self.folder / name / "ledger.db"
        return Ledger.open(path, identity=self.keys[name], create=create)

    def charge(self, name, run):
        self.ledger(name).reserve(
            data_set=DataSet(fingerprint="aa" * 32, label="train"),
            run=run,
            round_number=1,
            kind="update",
            events=[make_plan(self.charter).update.event],
            charter_hash=hash_of(self.charter),
            cap=Cap(epsilon=30.0, delta=1e-4),
        )

    def heads(self, run):
        receipts = tuple(
            from_envelope(self.ledger(name).receipt(site=name, run=run, charter=self.charter))
            for name in NAMES
        )
        return Heads(run=run, charter_hash=hash_of(self.charter), receipts=receipts)

    def ask(self, name, run, heads):
        session = SimpleNamespace(
            charter=self.charter,
            charter_hash=hash_of(self.charter),
            site=name,
            identity=self.keys[name],
            ledger=self.ledger(name),
            home=SimpleNamespace(path=self.folder / name),
        )
        return countersign_heads(session, run, encode_heads(heads))


@pytest.fixture
def members(tmp_path):
    return Members(tmp_path)


def signed(data):
    problems = []
    return terms.read(Countersignature, canonical.parse(data), path="", problems=problems)


def test_members_countersign_what_is_true_and_keep_it(members):
    for name in NAMES:
        members.charge(name, "run-1")
    heads = members.heads("run-1")
    signatures = [signed(members.ask(name, "run-1", heads)) for name in NAMES]
    assert countersignature_faults(heads, signatures, members.roster) == ()
    (kept,) = (members.folder / "b" / KEPT_HEADS).iterdir()
    assert parse_heads(kept.read_bytes()) == heads
    fewer = dataclasses.replace(heads, receipts=heads.receipts[1:])
    assert len(countersignature_faults(fewer, signatures, members.roster)) == 3


def test_a_member_whose_ledger_was_rolled_back_is_not_vouched_for(members):
    for name in NAMES:
        members.charge(name, "run-1")
    kept = members.folder / "kept"
    shutil.copytree(members.folder / "a", kept)
    for name in (*NAMES, *NAMES):
        members.charge(name, "run-2")
    for name in NAMES:
        members.ask(name, "run-2", members.heads("run-2"))
    shutil.rmtree(members.folder / "a")
    shutil.copytree(kept, members.folder / "a")
    for name in NAMES:
        members.charge(name, "run-3")
    heads = members.heads("run-3")  # every receipt genuine, and of the ledger as it now is
    with pytest.raises(LedgerTampered, match="has 4 entries now and had 5 after run 'run-2'"):
        members.ask("b", "run-3", heads)
    assert len(list((members.folder / "b" / KEPT_HEADS).iterdir())) == 1


def test_a_ledger_that_was_rolled_back_is_found_however_far_it_has_grown_since(members):
    for name in NAMES:
        members.charge(name, "run-1")
    kept = members.folder / "kept"
    shutil.copytree(members.folder / "a", kept)
    for name in NAMES:
        members.charge(name, "run-2")
    members.ask("b", "run-2", members.heads("run-2"))
    given = members.ledger("a").receipt(site="a", run="run-2", charter=members.charter)
    shutil.rmtree(members.folder / "a")
    shutil.copytree(kept, members.folder / "a")
    for _ in range(5):
        for name in NAMES:
            members.charge(name, "run-3")
    with pytest.raises(LedgerTampered, match="an older copy was restored and has grown since"):
        members.ask("b", "run-3", members.heads("run-3"))
    path = members.folder / "a" / "ledger.db"
    with pytest.raises(LedgerTampered, match="rolled back or rewritten"):
        verify_files(path, members.roster["a"], receipts=[given])


def test_an_honest_ledger_that_grows_is_vouched_for_run_after_run(members):
    for run in ("run-1", "run-2", "run-3"):
        for name in NAMES:
            members.charge(name, run)
        heads = members.heads(run)
        signatures = [signed(members.ask(name, run, heads)) for name in NAMES]
        assert countersignature_faults(heads, signatures, members.roster) == ()


def test_a_receipt_that_names_others_than_the_ledger_gave_does_not_verify(members):
    members.charge("a", "run-1")
    ledger = members.ledger("a")
    data = ledger.receipt(site="a", run="run-1", charter=members.charter)
    false = dataclasses.replace(
        read_receipt(data, public_key=members.roster["a"]), earlier=("ab" * 32,)
    )
    path = members.folder / "a" / "ledger.db"
    assert verify_files(path, members.roster["a"], receipts=[data]).receipts == 1
    with pytest.raises(LedgerTampered, match="names receipts given before it"):
        verify_files(path, members.roster["a"], receipts=[sign_receipt(false, members.keys["a"])])


def test_receipts_by_strangers_or_of_other_runs_or_not_ones_own_are_not_countersigned(members):
    for run in ("run-1", "run-2"):
        for name in NAMES:
            members.charge(name, run)
    heads = members.heads("run-1")
    with pytest.raises(LedgerTampered, match="of run 'run-1', not of 'run-2'"):
        members.ask("a", "run-2", heads)
    other = dataclasses.replace(heads, receipts=(members.heads("run-2").receipts[0],))
    with pytest.raises(LedgerTampered, match="for another run"):
        members.ask("b", "run-1", other)
    stranger = dataclasses.replace(heads.receipts[0], public_key=Identity.generate().public_key)
    with pytest.raises(LedgerTampered, match="no member signed"):
        members.ask("b", "run-1", dataclasses.replace(heads, receipts=(stranger,)))
    (members.folder / "a" / "ledger.db").unlink()
    (members.folder / "a" / "ledger.db.head").unlink()
    members.ledger("a", create=True)
    with pytest.raises(LedgerTampered, match="its ledger does not hold"):
        members.ask("a", "run-1", heads)
    assert not (members.folder / "a" / KEPT_HEADS).exists()


def test_what_was_witnessed_cannot_be_taken_back_by_a_shorter_list(members):
    for name in NAMES:
        members.charge(name, "run-1")
    heads = members.heads("run-1")
    members.ask("b", "run-1", heads)
    without = dataclasses.replace(heads, receipts=heads.receipts[:2])
    with pytest.raises(LedgerTampered, match="held a receipt of c before and lacks it now"):
        members.ask("b", "run-1", without)
    (kept,) = (members.folder / "b" / KEPT_HEADS).iterdir()
    assert parse_heads(kept.read_bytes()) == heads


def test_another_history_of_the_same_length_is_not_vouched_for(members):
    for name in NAMES:
        members.charge(name, "run-1")
    members.ask("b", "run-1", members.heads("run-1"))
    for file in (members.folder / "c").iterdir():
        file.unlink()
    members.ledger("c", create=True)
    for name in NAMES:
        members.charge(name, "run-2")
    with pytest.raises(LedgerTampered, match="but another head: its history was changed"):
        members.ask("b", "run-2", members.heads("run-2"))


def test_a_run_named_like_a_path_writes_nothing(members):
    with pytest.raises(LedgerTampered, match="does not match"):
        parse_heads(encode_heads(Heads(run="../charter", charter_hash="c" * 64, receipts=())))
