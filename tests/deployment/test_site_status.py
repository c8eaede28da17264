"""What the live line says comes from the site's own ledger, policy and log."""

from __future__ import annotations

import os
import time
from pathlib import Path

from fedethics.cli.site_status import line
from fedethics.deployment.site_status import SiteWatch
from fedethics.errors import RecordsRefusal
from fedethics.identity import Identity
from fedethics.policy.model import load_policy
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import SampledGaussian
from fedethics.privacy.ledger import DataSet, Ledger
from fedethics.privacy.ledger.entries import Cap
from fedethics.site.home import SiteHome
from fedethics.site.log import SiteLog

ROOT = Path(__file__).resolve().parents[2]


def _home(tmp_path: Path) -> tuple[SiteHome, Ledger, SiteLog]:
    (tmp_path / "node").mkdir()
    (tmp_path / "site.toml").write_text('site = "st-anna"\ndata = "d.csv"\n')
    (tmp_path / "policy.toml").write_text((ROOT / "configs" / "policy.hospital.toml").read_text())
    identity = Identity.generate()
    ledger = Ledger.open(tmp_path / "ledger.db", identity=identity, create=True)
    return SiteHome.open(tmp_path), ledger, SiteLog(tmp_path / "log.jsonl")


def test_the_watch_follows_the_site_from_loading_to_charged(tmp_path):
    home, ledger, log = _home(tmp_path)
    watch = SiteWatch(home, tmp_path / "node" / "contact")
    watch.look()
    assert watch.status.state == "loading"
    log.write("executor-started")
    log.write("ready")
    (tmp_path / "node" / "contact").touch()
    watch.look()
    assert watch.status.state == "ready"
    assert watch.status.account == ""

    caps = load_policy(home.policy_path).caps
    event = SampledGaussian(noise_multiplier=2.0, sampling_rate=0.5, steps=4)
    ledger.reserve(
        data_set=DataSet(fingerprint="ab" * 32, label="train", source="cd" * 32),
        run="heart-1",
        round_number=3,
        kind="update",
        events=(event,),
        charter_hash="ef" * 32,
        cap=Cap(epsilon=caps.epsilon_per_data_set, delta=caps.delta),
    )
    log.write("answered", action="train.default", run="heart-1")
    watch.look()
    status = watch.status
    assert (status.state, status.run, status.round_number) == ("working", "heart-1", 3)
    assert status.spent == epsilon([event], delta=caps.delta)
    assert status.left == caps.epsilon_per_data_set - status.spent


def test_a_coordinator_that_has_not_answered_lately_is_told_unless_the_site_is_working(tmp_path):
    home, _, log = _home(tmp_path)
    contact = tmp_path / "node" / "contact"
    contact.touch()
    old = time.time() - 120
    os.utime(contact, (old, old))
    watch = SiteWatch(home, contact)
    log.write("ready")
    watch.look()
    assert watch.status.state == "connecting"
    assert watch.status.contact_age_s is not None and watch.status.contact_age_s > 100
    contact.with_name("working").touch()
    watch.look()
    assert watch.status.state == "working"


def test_refusals_are_counted_and_a_note_means_waiting(tmp_path):
    home, _, log = _home(tmp_path)
    watch = SiteWatch(home, tmp_path / "node" / "contact")
    log.write("refused", code="FE202", reason="the policy does not allow this")
    watch.look(note="the coordinator refuses this node")
    assert (watch.status.refused, watch.status.state) == (1, "waiting")
    assert watch.status.note == "the coordinator refuses this node"


def test_the_last_refusal_stands_in_the_line_with_its_reason_until_something_is_answered(tmp_path):
    home, _, log = _home(tmp_path)
    watch = SiteWatch(home, tmp_path / "node" / "contact")
    reasons = ["run heart-1 began with other records\nthan the file holds now", "a second one"]
    log.write("refused", code="FE203", reason=str(RecordsRefusal(reasons)))
    watch.look()
    told = "refused: [FE203] run heart-1 began with other records than the file holds now"
    assert told in line(watch.status) and "second" not in line(watch.status)
    log.write("answered", action="query.ready", run="heart-1")
    watch.look()
    assert "refused" not in line(watch.status)
