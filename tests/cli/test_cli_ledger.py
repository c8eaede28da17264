"""The ledger's commands read files only, verify first, and start without torch."""

import csv
import io
import json
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from fedethics.charter.document import hash_of, load
from fedethics.identity import Identity
from fedethics.policy.template import policy_text
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.ledger import Cap, DataSet, Ledger
from fedethics.privacy.plan import make_plan
from tests.privacy.charters import HEART

TRAIN = DataSet(fingerprint="aa" * 32, label="train")
HELD_OUT = DataSet(fingerprint="bb" * 32, label="held-out")
CAP = Cap(epsilon=6.0, delta=1e-4)


@pytest.fixture
def site(tmp_path):
    charter = load(HEART)
    plan = make_plan(charter)
    identity = Identity.generate()
    ledger = Ledger.open(tmp_path / "ledger.db", identity=identity, create=True)
    common = {"run": "run-1", "charter_hash": hash_of(charter), "cap": CAP}
    for number in range(1, 4):
        kept = ledger.reserve(
            data_set=TRAIN, round_number=number, kind="update", events=[plan.update.event], **common
        )
        ledger.confirm(kept, note="sent")
    ledger.reserve(
        data_set=HELD_OUT,
        round_number=3,
        kind="fairness",
        events=plan.fairness.events,
        **common,
    )
    (tmp_path / "receipt.json").write_bytes(ledger.receipt(site="a", run="run-1", charter=charter))
    (tmp_path / "public-key").write_text(identity.public_key)
    return tmp_path


def test_show_gives_the_composed_epsilon_by_data_set_run_and_kind(fedethics, site):
    plan = make_plan(load(HEART))
    said = fedethics("ledger", "show", site, "--json").json
    train, held_out = said["data-sets"]
    assert train["epsilon"] == epsilon([plan.update.event] * 3, delta=1e-4)
    assert held_out["epsilon"] == epsilon(plan.fairness.events, delta=1e-4)
    assert train["runs"] == [{"run": "run-1", "charges": 3, "epsilon": train["epsilon"]}]
    assert [kind["kind"] for kind in held_out["kinds"]] == ["fairness"]
    assert (train["cap"], train["cap-from"]) == (6.0, "last charge")
    policy = site / "policy.toml"
    policy.write_text(policy_text(epsilon_per_data_set=5.0))
    capped = fedethics("ledger", "show", site / "ledger.db", "--policy", policy, "--json").json
    assert capped["data-sets"][0]["cap"] == 5.0
    assert "add-or-remove-one" in fedethics("ledger", "show", site).out


def test_show_of_a_ledger_that_charged_nothing_says_so(fedethics, tmp_path):
    Ledger.open(tmp_path / "ledger.db", identity=Identity.generate(), create=True)
    assert "nothing was ever charged" in fedethics("ledger", "show", tmp_path).out


def test_what_if_says_what_another_run_would_leave(fedethics, site):
    plan = make_plan(load(HEART))
    said = fedethics("budget", "what-if", HEART, "--ledger", site, "--json").json
    train = said["data-sets"][0]
    past = [plan.update.event] * 3
    assert train["epsilon-after"] == epsilon([*past, *plan.training.events], delta=1e-4)
    assert train["within-cap"]
    fits = train["runs-that-fit"]
    assert epsilon([*past, *(plan.training.events * fits)], delta=1e-4) <= 6.0
    assert epsilon([*past, *(plan.training.events * (fits + 1))], delta=1e-4) > 6.0


def _audited(site) -> None:
    """Charge both accounts for an audit, as a run's last act does."""
    identity = Identity.generate()
    (site / "ledger.db").unlink()
    (site / "ledger.db.head").unlink()
    ledger = Ledger.open(site / "ledger.db", identity=identity, create=True)
    plan = make_plan(load(HEART))
    for data_set, kind, event in (
        (TRAIN, "update", plan.update.event),
        (HELD_OUT, "fairness", plan.fairness.events[0]),
        (TRAIN, "audit", plan.fairness.events[0]),
        (HELD_OUT, "audit", plan.fairness.events[0]),
    ):
        ledger.reserve(
            data_set=data_set,
            run="run-1",
            round_number=1,
            kind=kind,
            charter_hash=hash_of(load(HEART)),
            events=[event],
            cap=CAP,
        )


def test_what_if_forecasts_training_also_when_an_audit_was_charged_last(fedethics, site):
    _audited(site)
    plan = make_plan(load(HEART))
    said = fedethics("budget", "what-if", HEART, "--ledger", site, "--json").json
    train, held_out = said["data-sets"]
    counted = plan.fairness.events[0]
    trained = [plan.update.event, counted, *plan.training.events]
    assert train["epsilon-after"] == epsilon(trained, delta=1e-4)
    evaluated = [counted, counted, *plan.evaluation.events]
    assert held_out["epsilon-after"] == epsilon(evaluated, delta=1e-4)
    assert train["epsilon-after"] != epsilon([plan.update.event, *evaluated], delta=1e-4)


def test_figures_name_the_unit_of_their_charges_and_say_unit_where_charges_differ(
    fedethics, tmp_path
):
    charter = load(HEART)
    ledger = Ledger.open(tmp_path / "ledger.db", identity=Identity.generate(), create=True)
    person = DataSet(fingerprint="aa" * 32, label="train", source="f", unit="person")
    record = DataSet(fingerprint="bb" * 32, label="train", source="g", unit="record")
    told = []
    for data_set in (person, record, DataSet(fingerprint="bb" * 32, label="train", source="g")):
        ledger.reserve(
            data_set=data_set,
            run="run-1",
            round_number=1,
            kind="update",
            charter_hash=hash_of(charter),
            events=[make_plan(charter).update.event],
            cap=CAP,
        )
        shown = fedethics("ledger", "show", tmp_path, "--json").json["data-sets"]
        told.append([each["unit"] for each in shown])
    # The last charge stands for one of an earlier version, which noted no unit.
    assert told == [["person"], ["person", "record"], ["person", "unit"]]
    assert "one person, add-or-remove-one" in fedethics("ledger", "show", tmp_path).out


def test_verify_accepts_the_files_and_the_receipt_from_the_public_key_alone(fedethics, site):
    key = (site / "public-key").read_text()
    command = ("ledger", "verify", site, "--public-key", key, "--receipt", site / "receipt.json")
    said = fedethics(*command, "--json").json
    assert said["verified"] and said["head-checked"] and said["receipts"] == 1


def test_verify_says_that_without_a_receipt_a_rollback_cannot_be_seen(fedethics, site):
    key = (site / "public-key").read_text()
    without = fedethics("ledger", "verify", site, "--public-key", key)
    assert without.exit_code == 0
    assert without.out.startswith("verified:") and "0 of the receipts" not in without.out
    assert "rollback: not checked, because no receipt was given" in without.out
    receipt = ("--receipt", site / "receipt.json")
    given = fedethics("ledger", "verify", site, "--public-key", key, *receipt)
    assert "the receipt given is in this ledger" in given.out and "not checked" not in given.out


ADDED = [
    "CREATE TABLE more (a)",
    "CREATE TABLE more (a); DROP TABLE more; CREATE VIEW seen AS SELECT * FROM entries",
    "CREATE INDEX quick ON entries (raw)",
    "CREATE TRIGGER kept BEFORE DELETE ON entries BEGIN SELECT RAISE(IGNORE); END",
    "CREATE TRIGGER gone AFTER INSERT ON entries BEGIN DELETE FROM entries WHERE position > 2; END",
    "CREATE TABLE t (a); INSERT INTO t VALUES (1); ANALYZE",
    "CREATE TABLE t (a INTEGER PRIMARY KEY AUTOINCREMENT); DROP TABLE t",
    "ALTER TABLE entries ADD COLUMN note TEXT",
    "ALTER TABLE entries RENAME TO old; CREATE TABLE entries (position, raw, signature); "
    "INSERT INTO entries SELECT * FROM old; DROP TABLE old",
    "PRAGMA user_version = 7",
    "PRAGMA application_id = 7",
]


@pytest.mark.parametrize("script", ADDED)
def test_a_ledgers_file_that_holds_anything_but_its_entries_is_refused(fedethics, site, script):
    key = (site / "public-key").read_text()
    command = ("ledger", "verify", site, "--public-key", key)
    assert fedethics(*command).exit_code == 0
    with closing(sqlite3.connect(site / "ledger.db")) as connection:
        connection.executescript(script)
    refused = fedethics(*command)
    assert refused.exit_code == 6 and "holds what no ledger has" in refused.err
    assert fedethics("ledger", "show", site).exit_code == 6


def test_verify_finds_the_sites_receipt_inside_a_runs_evidence(fedethics, site):
    key = (site / "public-key").read_text()
    own = json.loads((site / "receipt.json").read_text())
    evidence = site / "evidence.json"
    evidence.write_text(json.dumps({"receipts": [{**own, "public-key": "e" * 64}, own]}, indent=2))
    command = ("ledger", "verify", site, "--public-key", key, "--receipt", evidence, "--json")
    assert fedethics(*command).json["receipts"] == 1


def test_a_file_that_is_no_receipt_and_a_truncated_key_are_wrong_arguments(fedethics, site):
    key = (site / "public-key").read_text()
    for arguments, said in (
        (("--public-key", key[:20]), "all 64 hex digits"),
        (("--public-key", key, "--receipt", site / "public-key"), "neither a receipt nor"),
        (
            ("--public-key", Identity.generate().public_key, "--receipt", site / "receipt.json"),
            "holds no receipt by",
        ),
    ):
        outcome = fedethics("ledger", "verify", site, *arguments)
        assert outcome.exit_code == 2
        assert said in " ".join(outcome.err.replace("│", "").split())


def test_verify_refuses_another_key_and_a_changed_byte_with_exit_code_6(fedethics, site):
    other = fedethics("ledger", "verify", site, "--public-key", Identity.generate().public_key)
    assert other.exit_code == 6 and "[FE303]" in other.err
    path = site / "ledger.db"
    path.write_bytes(path.read_bytes().replace(b'"round":2', b'"round":1', 1))
    for command in ("show", "export"):
        outcome = fedethics("ledger", command, site)
        assert outcome.exit_code == 6
        assert "ledger entry" in outcome.err and "does not verify" in outcome.err
        assert outcome.out == ""


def test_export_lists_every_charge_with_its_mechanism(fedethics, site):
    rows = list(csv.DictReader(io.StringIO(fedethics("ledger", "export", site).out)))
    assert [row["state"] for row in rows] == ["confirmed"] * 3 + ["reserved"]
    assert json.loads(rows[0]["events"])[0]["steps"] == 4
    output = site / "charges.json"
    fedethics("ledger", "export", site, "--format", "json", "--output", output)
    assert len(json.loads(output.read_text())["charges"]) == 4
    again = fedethics("ledger", "export", site, "--output", output)
    assert again.exit_code == 2 and "cannot be written" in again.err


def test_reading_a_ledger_changes_no_byte_of_it(fedethics, site):
    before = {path.name: path.read_bytes() for path in site.iterdir()}
    fedethics("ledger", "show", site)
    fedethics("ledger", "verify", site, "--public-key", (site / "public-key").read_text())
    fedethics("budget", "what-if", HEART, "--ledger", site)
    assert {path.name: path.read_bytes() for path in site.iterdir()} == before


def test_a_missing_ledger_is_a_clear_error(fedethics, tmp_path):
    outcome = fedethics("ledger", "show", tmp_path / "none.db")
    assert outcome.exit_code == 5 and "there is no ledger at" in outcome.err


def test_ledger_show_starts_without_torch_or_flower(site):
    script = (
        "import sys\n"
        "from fedethics.cli.main import main\n"
        f"sys.argv = ['fedethics', 'ledger', 'show', {str(site)!r}]\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    heavy = {'torch', 'flwr', 'opacus', 'peft', 'transformers', 'matplotlib'}\n"
        "    print(end.code, sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=HEART.parents[1],
    )
    assert done.stderr.strip() == "0 []"
