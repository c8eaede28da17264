"""The roster: signed requests make it, the same ones change nothing, others are a new charter."""

import dataclasses
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization.ssh import load_ssh_public_key

from fedethics.charter.document import hash_of
from fedethics.charter.document import load as load_charter
from fedethics.charter.signing import (
    add_signatures,
    load_signatures,
    sign,
    signatures_path,
    standing,
)
from fedethics.enrolment import homes
from fedethics.enrolment.approval import approve, remove
from fedethics.enrolment.homes import found_site
from fedethics.enrolment.leaving import PURPOSE, Notice
from fedethics.enrolment.papers import sign_paper
from fedethics.errors import CharterError, EnrolmentError, EnrolmentForged
from fedethics.identity import Identity
from tests.enrolment.a_day import SITES, everything


def test_the_charter_comes_once_there_are_enough_sites(morning):
    one = approve(morning.coordinator, [morning.request("alpha")])
    assert (one.charter, one.missing) == (None, 2)
    all_three = approve(morning.coordinator, [morning.request(s) for s in ("beta", "gamma")])
    assert all_three.charter.site_names == SITES
    assert all_three.charter.coordinator_key == morning.key.public_key
    assert load_charter(morning.coordinator / "charter.json") == all_three.charter


def test_only_approved_nodes_are_given_to_the_superlink(morning):
    approve(morning.coordinator, [morning.request("alpha")])
    (key,) = (morning.coordinator / "nodes").glob("*.pub")
    assert key.stem == "alpha"
    load_ssh_public_key(key.read_bytes())


def test_approving_the_same_requests_again_changes_nothing(day):
    requests = [data for data, _ in homes.approved(day.coordinator).values()]
    before = everything(day.coordinator)
    again = approve(day.coordinator, requests)
    assert not again.changed
    assert everything(day.coordinator) == before


def test_a_new_member_is_a_new_version_of_the_charter(day):
    before = load_charter(day.coordinator / "charter.json")
    found_site(day.path / "delta", site="delta", data="data.csv")
    after = approve(day.coordinator, [day.request("delta")])
    assert after.changed
    assert after.charter.charter.version == before.charter.version + 1
    assert hash_of(after.charter) != hash_of(before)


def test_an_edited_draft_is_a_new_version_too(day):
    draft = day.coordinator / "draft.toml"
    draft.write_text(draft.read_text().replace("rounds = 5", "rounds = 6"))
    after = approve(day.coordinator, [])
    assert (after.charter.charter.version, after.charter.training.rounds) == (2, 6)
    assert not approve(day.coordinator, []).changed


def test_signatures_over_the_charter_before_are_put_away_with_it(day):
    before = load_charter(day.coordinator / "charter.json")
    path = signatures_path(day.coordinator / "charter.json")
    add_signatures(path, before, [sign(before, day.key, role="coordinator")])
    draft = day.coordinator / "draft.toml"
    draft.write_text(draft.read_text().replace("rounds = 5", "rounds = 6"))
    approve(day.coordinator, [])
    assert not path.exists()
    kept = day.coordinator / "charters" / f"{hash_of(before)}.json"
    assert load_charter(kept) == before
    assert standing(before, load_signatures(signatures_path(kept))).valid


def test_a_site_that_comes_with_another_key_is_refused_unless_replaced(day):
    home = day.path / "alpha"
    for path in home.iterdir():
        path.unlink()
    found_site(home, site="alpha", data="data.csv")
    before = everything(day.coordinator)
    with pytest.raises(EnrolmentError, match="--replace"):
        approve(day.coordinator, [day.request("alpha")])
    assert everything(day.coordinator) == before
    replaced = approve(day.coordinator, [day.request("alpha")], replace=True)
    key = Identity.load(home / "identity.key").public_key
    assert replaced.charter.member("alpha").public_key == key


def test_an_older_request_does_not_undo_a_newer_one(morning, monkeypatch):
    class Later:
        @staticmethod
        def now(zone):
            from datetime import datetime

            return datetime(2090, 1, 1, tzinfo=zone)

    earlier = morning.request("alpha", declared_records=100)
    monkeypatch.setattr("fedethics.enrolment.papers.datetime", Later)
    approve(morning.coordinator, [morning.request("alpha", declared_records=200)])
    with pytest.raises(EnrolmentError, match="older"):
        approve(morning.coordinator, [earlier])


def test_one_key_under_two_names_is_refused(morning):
    twice = [morning.request("alpha"), morning.request("alpha", site="beta")]
    with pytest.raises(EnrolmentError, match="same identity"):
        approve(morning.coordinator, twice)
    assert homes.approved(morning.coordinator) == {}


def test_a_tampered_request_among_good_ones_leaves_the_roster_as_it_was(morning):
    bad = morning.request("beta").replace(b"100", b"900")
    with pytest.raises(EnrolmentForged):
        approve(morning.coordinator, [morning.request("alpha"), bad])
    assert homes.approved(morning.coordinator) == {}


def test_a_request_that_was_changed_in_the_roster_folder_is_noticed(day):
    path = day.coordinator / "roster" / "alpha.request"
    path.write_bytes(path.read_bytes().replace(b"100", b"900"))
    with pytest.raises(EnrolmentForged):
        approve(day.coordinator, [])


def test_a_draft_that_is_no_charter_makes_no_home(tmp_path):
    bad = tmp_path / "bad.toml"
    bad.write_text("[charter]\nname = 'x'\n")
    with pytest.raises(CharterError):
        homes.found_coordinator(
            tmp_path / "c", draft=bad, listen="127.0.0.1:9443", address="127.0.0.1:9443"
        )
    assert not (tmp_path / "c").exists()


def _notice(day, identity, **changes):
    content = Notice(
        site="gamma",
        public_key=identity.public_key,
        charter_hash=hash_of(load_charter(day.coordinator / "charter.json")),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        ledger_entries=1,
        ledger_head="cd" * 32,
    )
    return sign_paper(dataclasses.replace(content, **changes), purpose=PURPOSE, identity=identity)


def test_only_a_site_itself_can_take_itself_off_the_roster(day):
    before = everything(day.coordinator)
    with pytest.raises(EnrolmentForged):
        remove(day.coordinator, _notice(day, Identity.generate()))
    own = Identity.load(day.path / "gamma" / "identity.key").public_key
    with pytest.raises(EnrolmentForged):
        remove(day.coordinator, _notice(day, Identity.generate(), public_key=own))
    assert everything(day.coordinator) == before


def test_a_site_that_left_is_off_the_roster_and_its_node_is_not_admitted(day):
    gone = remove(day.coordinator, _notice(day, Identity.load(day.path / "gamma" / "identity.key")))
    assert [member.site for member in gone.members] == ["alpha", "beta"]
    assert (gone.charter, gone.missing) == (None, 1)
    assert not (day.coordinator / "charter.json").exists()
    assert not (day.coordinator / "nodes" / "gamma.pub").exists()


def test_no_version_is_used_twice_even_after_a_time_without_a_charter(day):
    gone = _notice(day, Identity.load(day.path / "gamma" / "identity.key"))
    remove(day.coordinator, gone)
    found_site(day.path / "delta", site="delta", data="data.csv")
    again = approve(day.coordinator, [day.request("delta")])
    assert again.charter.site_names == ("alpha", "beta", "delta")
    assert again.charter.charter.version == 2


def _gamma(day):
    return Identity.load(day.path / "gamma" / "identity.key")


def _refused(day, notice, match):
    before = everything(day.coordinator)
    with pytest.raises(EnrolmentError, match=match):
        remove(day.coordinator, notice)
    assert everything(day.coordinator) == before


def test_a_notice_does_not_count_again_once_the_site_came_back_with_the_same_key(day):
    request = homes.approved(day.coordinator)["gamma"][0]
    gone = _notice(day, _gamma(day))
    remove(day.coordinator, gone)
    # The very same request again, so that its time says nothing.
    assert approve(day.coordinator, [request]).charter.charter.version == 2
    _refused(day, gone, "under which it is not on the roster")
    assert remove(day.coordinator, _notice(day, _gamma(day))).missing == 1


def test_a_notice_made_before_the_request_that_was_approved_is_refused(day):
    _refused(day, _notice(day, _gamma(day), made="2020-01-01T00:00:00+00:00"), "before the request")


def test_a_notice_for_a_charter_that_never_was_in_force_is_refused(day):
    _refused(day, _notice(day, _gamma(day), charter_hash="ab" * 32), "is for charter abababab")


def test_a_site_that_does_not_agree_to_the_newest_charter_may_leave_the_one_it_joined(day):
    notice = _notice(day, _gamma(day))
    draft = day.coordinator / "draft.toml"
    draft.write_text(draft.read_text().replace("rounds = 5", "rounds = 6"))
    assert approve(day.coordinator, []).charter.charter.version == 2
    assert [member.site for member in remove(day.coordinator, notice).members] == ["alpha", "beta"]


def test_a_second_site_may_leave_while_there_is_no_charter(day):
    beta = Identity.load(day.path / "beta" / "identity.key")
    notice = _notice(day, beta, site="beta")
    remove(day.coordinator, _notice(day, _gamma(day)))
    assert remove(day.coordinator, notice).missing == 2
