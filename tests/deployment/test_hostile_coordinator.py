"""What a coordinator in the wrong hands gets out of four sites of `fedethics site run`: nothing.

One federation of real processes suffers all of it, and then ends its job as if nothing had been.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from fedethics.charter.signing import add_signatures, sign, signatures_path
from fedethics.identity import Identity
from fedethics.privacy.ledger.verify import read_book
from fedethics.protocol import Action
from fedethics.release import evidence
from fedethics.simulation.staging import Stage
from tests.deployment import hostile_server
from tests.deployment.federation import Federation, deploy, stage
from tests.loopback import run_federation

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

CLIENT = """\
import pathlib
pathlib.Path({canary!r}).write_text("ran")
"""
SECRETS = ("ledger.db", "ledger.db.head", "charter.json", "policy.toml", "identity.key")
UNSIGNED, STRIPPED, FORGED, SIGNED = "cleveland", "hungary", "switzerland", "va-long-beach"


@dataclasses.dataclass
class Story:
    """What happened, one chapter after the other."""

    federation: Federation
    canary: Path
    told: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    codes: dict[str, int] = dataclasses.field(default_factory=dict)
    kept: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    logs: dict[str, dict[str, list[dict[str, Any]]]] = dataclasses.field(default_factory=dict)
    alive: bool = False


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    federation = deploy(stage(folder / "b", rounds=2))
    story = Story(federation, folder / "canary")
    _sign_for_good(federation.stage)
    for home in federation.stage.homes.values():
        policy = home / "policy.toml"
        policy.write_text(
            policy.read_text().replace("[minimum]", "require-signed-charter = true\n[minimum]")
        )
    try:
        sites = federation.sites()
        story.kept["before"] = _kept(federation)
        signatures = _spoil_signatures(federation.stage)
        _tell(story, "attack", _bundle(folder / "hostile", story.canary))
        for path, data in signatures.items():
            path.write_bytes(data)
        _tell(story, "noisy", folder / "hostile")
        _tell(story, "replay", folder / "hostile")
        _tell(story, "honest", ROOT)
        story.alive = all(site.poll() is None for site in sites.values())
        yield story
    finally:
        federation.end()


def _sign_for_good(made: Stage) -> None:
    """Sign the charter as people do: a simulation's signatures are nobody's consent."""
    people = sorted((made.run_dir / "stakeholders").glob("*.key"))
    signers = [("coordinator", made.coordinator / "identity.key")]
    signers += [("site", home / "identity.key") for home in made.homes.values()]
    signers += [(key.stem.partition("-")[2], key) for key in people]
    signed = [sign(made.charter, Identity.load(key), role=role) for role, key in signers]
    for home in (made.coordinator, *made.homes.values()):
        path = signatures_path(home / "charter.json")
        path.unlink()
        add_signatures(path, made.charter, signed)


def _spoil_signatures(made: Stage) -> dict[Path, bytes]:
    """Leave one site with a charter that nobody signed, and so on; return what was there."""
    paths = {name: signatures_path(home / "charter.json") for name, home in made.homes.items()}
    before = {path: path.read_bytes() for path in paths.values()}
    other = Identity.generate()
    theirs = dataclasses.replace(made.charter, coordinator_key=other.public_key)
    mallory = sign(theirs, other, role="coordinator")
    paths[UNSIGNED].unlink()
    for name in (STRIPPED, FORGED):
        table = json.loads(paths[name].read_text())
        rows = [row for row in table["signatures"] if row["name"] != name]
        if name == FORGED:
            rows = table["signatures"]
            (row,) = (row for row in rows if row["role"] == "coordinator")
            row |= {"public-key": other.public_key, "signature": mallory.signature}
        paths[name].write_text(json.dumps(table | {"signatures": rows}))
    return before


def _bundle(app: Path, canary: Path) -> Path:
    """Make a Flower app whose server is hostile and whose client code would leave a trace."""
    shutil.copytree(ROOT / "server", app / "server", ignore=shutil.ignore_patterns("__pycache__"))
    (app / "server" / "app.py").rename(app / "server" / "honest.py")
    shutil.copy(hostile_server.__file__, app / "server" / "app.py")
    shutil.copy(Path(__file__).with_name("hostile_messages.py"), app / "server")
    (app / "clients").mkdir()
    for name in ("__init__.py", "app.py"):
        (app / "clients" / name).write_text(CLIENT.format(canary=str(canary)))
    for name in ("LICENSE", "README.md"):
        shutil.copy(ROOT / name, app / name)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    config = project["tool"]["flwr"]["app"]["config"]
    config |= hostile_server.SETTINGS
    (app / "pyproject.toml").write_text(tomli_w.dumps(project))
    return app


def _tell(story: Story, mode: str, app: Path) -> None:
    """Run one chapter to its end and note what it left."""
    federation, home = story.federation, story.federation.coordinator
    settings = tomllib.loads((home / "federation.toml").read_text())
    settings["job"]["app"] = str(app)
    (home / "federation.toml").write_text(tomli_w.dumps(settings))
    (home / "mode").write_text(mode)
    before = {name: len(federation.log_of(name)) for name in federation.stage.homes}
    begun = (federation.job / "state.json").exists()
    coordinator = federation.coordinate("resume" if begun else "start")
    story.codes[mode] = coordinator.wait(timeout=420)
    report = home / f"{mode}.json"
    story.told[mode] = json.loads(report.read_text()) if report.exists() else {}
    story.kept[mode] = _kept(federation)
    story.logs[mode] = {name: federation.log_of(name)[since:] for name, since in before.items()}


def _kept(federation: Federation) -> dict[str, str]:
    """Return the SHA-256 of what each site must keep as it is: ledger, records, keys, terms."""
    found: dict[str, str] = {}
    for name, home in federation.stage.homes.items():
        data = Path(tomllib.loads((home / "site.toml").read_text())["data"])
        for path in (*(home / each for each in SECRETS), data):
            found[f"{name}/{path.name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _refused(story: Story, mode: str) -> list[str]:
    """Return the error codes in the sites' logs of one chapter."""
    return [
        str(entry["code"])
        for log in story.logs[mode].values()
        for entry in log
        if entry["event"] in ("refused", "unexpected")
    ]


def test_every_raw_message_is_refused_with_a_code_and_nothing_is_charged(story):
    assert story.codes["attack"] == 0, story.federation.told()
    told = dict(story.told["attack"])
    told.pop(hostile_server.PROPER)
    assert len(told) > 35
    for name, answer in told.items():
        assert isinstance(answer, str) and answer.startswith("FE"), (name, answer)
    assert story.kept["attack"] == story.kept["before"]
    assert len(_refused(story, "attack")) >= len(told)


def test_no_raw_message_runs_into_something_that_nobody_foresaw(story):
    unforeseen = [
        entry
        for mode in story.logs.values()
        for log in mode.values()
        for entry in log
        if entry["event"] == "unexpected"
    ]
    assert unforeseen == []


def test_what_a_message_quotes_at_length_does_not_fill_the_sites_log(story):
    for log in story.logs["attack"].values():
        assert max(len(json.dumps(entry)) for entry in log) < 8000


@pytest.mark.parametrize(
    ("site", "why"),
    [
        (UNSIGNED, "the coordinator has not signed the charter"),
        (STRIPPED, f"site {STRIPPED} has not signed the charter"),
        (FORGED, "the coordinator signed, but the charter names no such signer and key"),
    ],
)
def test_a_site_that_asks_for_signatures_refuses_a_charter_without_them(story, site, why):
    codes = [e["code"] for e in story.logs["attack"][site] if why in str(e.get("reason"))]
    assert codes == ["FE202"]
    assert sorted(
        answer if isinstance(answer, str) else "answered"
        for answer in story.told["attack"][hostile_server.PROPER].values()
    ) == ["FE202", "FE202", "FE202", "answered"]


def test_each_message_twice_is_answered_twice_with_the_same_bytes(story):
    told = story.told["noisy"]
    assert story.codes["noisy"] == 0, story.federation.told()
    assert told["death"] == "the coordinator dies here"
    assert told["differing"] == []
    assert told["unanswered"] == 0
    assert told["doubled"] > 40
    assert told["late"] == 1


def test_what_was_sent_before_gets_no_more_when_it_is_sent_again(story):
    assert story.codes["replay"] == 0, story.federation.told()
    again = story.told["replay"]["again"]
    assert {one["action"] for one in again} >= set(Action) - {
        Action.COMPLETE, Action.RECEIPT, Action.WITNESS,
        Action.READY,  # asked only of a site that gave nothing to the last sum
    }  # fmt: skip
    for one in again:
        answer = one["answer"]
        if isinstance(answer, str):
            assert answer.startswith("FE"), one
        else:  # what was said already, in the same bytes, or that it was heard
            assert "share" not in answer and "masked" not in answer, one["action"]
    assert story.kept["replay"] == story.kept["noisy"]


def test_a_round_that_was_opened_is_opened_for_no_key_and_no_cohort_again(story):
    told = dict(story.told["replay"])
    told.pop("again")
    assert len(told) >= 8
    for name, answers in told.items():
        for node, answer in answers.items():
            refused_by_its_own = node == "0"
            assert refused_by_its_own or str(answer).startswith("FE6"), (name, answer)
    assert _refused(story, "replay")


def test_nothing_of_any_bundle_ran(story):
    assert not story.canary.exists()
    for name, home in story.federation.stage.homes.items():
        assert not [path for path in (home / "node").rglob("*") if path.name == "clients"]
        bundles = [e for mode in story.logs.values() for e in mode[name] if e["event"] == "bundle"]
        assert len(bundles) == 4
        assert {entry["executed"] for entry in bundles} == {False}
        assert len({entry["sha256"] for entry in bundles}) == 2


def test_the_honest_job_ends_well_afterwards_and_its_sums_are_the_simulations(story, tmp_path):
    assert story.codes["honest"] == 0, story.federation.told()
    assert story.alive
    ours = evidence.load(run_federation(stage(tmp_path / "a", rounds=2)) / "evidence.json").rounds
    theirs = evidence.load(story.federation.job / "evidence.json").rounds
    assert {(e.round, e.kind, e.sum_sha256) for e in ours} == {
        (e.round, e.kind, e.sum_sha256) for e in theirs
    }
    for home in story.federation.stage.homes.values():
        counted = {(c.round_number, c.kind) for c in read_book(home / "ledger.db").counted()}
        assert counted == {(e.round, e.kind) for e in theirs}
