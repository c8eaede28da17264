"""Joining: nothing is written before a person agreed, and only what was agreed to is installed."""

import dataclasses
import hashlib
import ssl
import stat
import tomllib

import pytest

from fedethics.charter.document import hash_of
from fedethics.charter.document import load as load_charter
from fedethics.charter.signing import add_signatures, load_signatures, sign, signatures_path
from fedethics.deployment.certificates import make_certificates
from fedethics.enrolment import files
from fedethics.enrolment.approval import approve
from fedethics.enrolment.joining import install, with_node_table
from fedethics.enrolment.leaving import leave
from fedethics.enrolment.papers import make_invitation
from fedethics.errors import EnrolmentError, EnrolmentForged
from fedethics.identity import Identity
from fedethics.site.home import charter_of
from tests.enrolment.a_day import ADDRESS, everything


def test_an_invitation_signed_by_another_key_is_refused_and_nothing_is_written(day):
    before = everything(day.path / "alpha")
    with pytest.raises(EnrolmentForged):
        day.propose("alpha", day.invitation(key=Identity.generate()))
    assert everything(day.path / "alpha") == before


@pytest.mark.parametrize("said", ["", "ABCD-EFGH", "0000 0000 0000 0000 0000 0000 0000 0000"])
def test_the_wrong_fingerprint_is_refused_and_the_right_one_not_given_away(day, said):
    before = everything(day.path / "alpha")
    with pytest.raises(EnrolmentForged) as caught:
        day.propose("alpha", said=said)
    assert day.fingerprint not in str(caught.value)
    assert everything(day.path / "alpha") == before


def test_looking_at_an_invitation_writes_nothing(day):
    before = everything(day.path / "alpha")
    proposal = day.propose("alpha")
    assert proposal.refusals == ()
    assert everything(day.path / "alpha") == before


def test_a_site_that_the_roster_names_by_another_key_does_not_join(day):
    key = day.path / "alpha" / "identity.key"
    key.unlink()
    Identity.generate().save(key)
    with pytest.raises(EnrolmentError, match="this home's key"):
        day.propose("alpha")


def test_a_site_that_is_not_on_the_roster_does_not_join(day):
    settings = day.path / "alpha" / "site.toml"
    settings.write_text(settings.read_text().replace('site = "alpha"', 'site = "omega"'))
    with pytest.raises(EnrolmentError, match="does not name 'omega'"):
        day.propose("alpha")


def test_every_reason_of_a_policy_that_is_too_tight_is_told_at_once(day):
    day.edit_policy("alpha", "epsilon-per-run = 4.0", "epsilon-per-run = 1.0")
    day.edit_policy("alpha", "cohort = 3", "cohort = 5")
    day.edit_policy("alpha", "noise-multiplier = 0.5", "noise-multiplier = 50.0")
    day.edit_policy("alpha", '"local", "distributed"]', '"local"]')
    reasons = " ".join(day.propose("alpha").refusals)
    for word in ("within the run", "minimum.cohort 5", "minimum.noise-multiplier", "trust-mode"):
        assert word in reasons


def test_the_table_shows_both_sides_of_each_term(day):
    day.edit_policy("alpha", "epsilon-per-run = 4.0", "epsilon-per-run = 1.5")
    rows = {ask.term: (ask.asked, ask.allowed) for ask in day.propose("alpha").asks}
    asked, allowed = rows["epsilon of training, whole run"]
    assert asked.startswith("3 at delta")
    assert "1.5 a run" in allowed
    assert rows["sites in any opened sum"] == ("at least 3 of 3", "at least 3")
    assert rows["who table noise protects against"] == ("distributed", "local or distributed")


def test_a_site_may_join_before_its_records_are_in_place_and_is_told_so(day):
    (day.path / "patients.csv").unlink()
    proposal = day.propose("alpha")
    assert "patients.csv" in proposal.unread
    assert proposal.refusals == ()


def test_records_do_not_silence_the_reasons_that_need_none(day):
    (day.path / "patients.csv").unlink()
    day.edit_policy("alpha", "cohort = 3", "cohort = 5")
    assert "minimum.cohort 5" in " ".join(day.propose("alpha").refusals)


def test_after_joining_the_site_holds_charter_address_and_authority_privately(day):
    proposal = day.join("alpha")
    home = day.home("alpha")
    assert home.charter(proposal.charter_hash) == proposal.charter
    assert home.settings.node.superlink == "127.0.0.1:9443"
    ca = home.path / home.settings.node.ca
    assert ca.read_bytes() == (day.coordinator / "tls" / "ca.crt").read_bytes()
    made = (ca, home.charter_path, home.path / "invitation", home.path / "site.toml")
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}


def test_joining_twice_changes_nothing(day):
    day.join("alpha")
    before = everything(day.path / "alpha")
    assert day.join("alpha").again
    assert everything(day.path / "alpha") == before


def test_a_changed_charter_shows_what_changed_and_keeps_the_one_before(day):
    first = day.join("alpha")
    draft = day.coordinator / "draft.toml"
    draft.write_text(draft.read_text().replace("rounds = 5", "rounds = 6"))
    approve(day.coordinator, [])
    second = day.join("alpha")
    changed = {change.key: (change.old, change.new) for change in second.changes}
    assert changed["training.rounds"] == ("5", "6")
    assert changed["charter.version"] == ("1", "2")
    assert hash_of(load_charter(day.home("alpha").charter_path)) == second.charter_hash
    assert charter_of(day.home("alpha"), first.charter_hash) == first.charter


@pytest.mark.parametrize("written", [0, 1, 2, 3])
def test_a_crash_before_the_last_write_leaves_the_charter_before_in_force(
    day, monkeypatch, written
):
    first = day.join("alpha")
    draft = day.coordinator / "draft.toml"
    draft.write_text(draft.read_text().replace("rounds = 5", "rounds = 6"))
    approve(day.coordinator, [])
    second, replace, calls = day.propose("alpha"), files.replace, []

    def dying(path, data, **rest):
        if len(calls) == written:
            raise EnrolmentError("no space left on device")
        calls.append(path)
        replace(path, data, **rest)

    monkeypatch.setattr(files, "replace", dying)
    with pytest.raises(EnrolmentError):
        install(day.home("alpha"), second)
    monkeypatch.undo()
    assert hash_of(load_charter(day.home("alpha").charter_path)) == first.charter_hash
    install(day.home("alpha"), second)
    assert hash_of(load_charter(day.home("alpha").charter_path)) == second.charter_hash


SETTINGS = """\
# mine
site = "alpha"
data = "d.csv"  # where it is

[node]  # how to dial
superlink = "old:1"   # the old one
key = "other.key"
ca = "old.crt"
"""


def test_the_operators_own_lines_and_comments_survive_joining():
    edited = with_node_table(SETTINGS, superlink="new:2", ca="ca.crt")
    table = tomllib.loads(edited)
    assert table["node"] == {"superlink": "new:2", "ca": "ca.crt", "key": "other.key"}
    for line in ("# mine", 'data = "d.csv"  # where it is', "[node]  # how to dial"):
        assert line in edited


@pytest.mark.parametrize(
    "text",
    [
        'site = "a"\ndata = "d"\nnode = { superlink = "x:1" }\n',
        'site = "a"\ndata = "d"\nnode.superlink = "x:1"\n',
    ],
)
def test_a_spelling_that_cannot_be_edited_is_refused_and_not_mangled(text):
    with pytest.raises(EnrolmentError, match=r"by hand|TOML"):
        with_node_table(text, superlink="new:2", ca="ca.crt")


def test_a_table_after_node_is_left_alone():
    text = SETTINGS + '\n[later]\nsuperlink = "not this one"\n'
    table = tomllib.loads(with_node_table(text, superlink="new:2", ca="ca.crt"))
    assert table["later"] == {"superlink": "not this one"}
    assert table["node"]["superlink"] == "new:2"


def test_a_proposal_cannot_be_changed_after_it_was_shown(day):
    with pytest.raises(dataclasses.FrozenInstanceError):
        day.propose("alpha").refusals = ()


def _rerouted(day, *, superlink=ADDRESS, ca=None):
    """Return a genuine invitation with the same charter and another way to the coordinator."""
    charter = load_charter(day.coordinator / "charter.json")
    own = (day.coordinator / "tls" / "ca.crt").read_text()
    return make_invitation(day.key, charter=charter, superlink=superlink, ca=ca or own)


def test_another_address_under_the_same_charter_is_a_change_and_no_repetition(day):
    day.join("alpha")
    proposal = day.propose("alpha", _rerouted(day, superlink="elsewhere.example.org:443"))
    assert not proposal.again
    (change,) = proposal.changes
    assert (change.key, change.old, change.new) == (
        "node.superlink",
        ADDRESS,
        "elsewhere.example.org:443",
    )


def test_another_authority_under_the_same_charter_is_shown_by_its_fingerprint(day):
    day.join("alpha")
    make_certificates(day.path / "other", names=["elsewhere.example.org"])
    other = (day.path / "other" / "ca.crt").read_text()
    proposal = day.propose("alpha", _rerouted(day, ca=other))
    assert not proposal.again
    (change,) = proposal.changes
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(other)).hexdigest().upper()
    assert change.key == "node.ca (SHA-256)"
    assert change.new.replace(":", "") == digest != change.old.replace(":", "")


def test_a_replayed_invitation_swaps_neither_address_nor_authority_without_a_yes(
    day, fedethics, monkeypatch, tmp_path
):
    day.join("alpha")
    make_certificates(day.path / "other", names=["elsewhere.example.org"])
    paper = tmp_path / "old.invitation"
    paper.write_bytes(_rerouted(day, ca=(day.path / "other" / "ca.crt").read_text()))
    before = everything(day.path / "alpha")
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    again = ("site", "join", "--home", day.path / "alpha", "--fingerprint", day.fingerprint)
    refused = fedethics(*again, paper)
    assert refused.exit_code == 5
    assert "What changes for this site" in refused.out
    assert everything(day.path / "alpha") == before
    # The invitation that it holds already asks nothing.
    paper.write_bytes(day.invitation())
    assert fedethics(*again, paper).exit_code == 0
    assert everything(day.path / "alpha") == before


def test_a_new_address_leaves_the_signatures_over_the_unchanged_charter_in_place(day):
    first = day.join("alpha")
    home = day.home("alpha")
    path = signatures_path(home.charter_path)
    add_signatures(path, first.charter, [sign(first.charter, day.key, role="coordinator")])
    signed = load_signatures(path)
    install(home, day.propose("alpha", _rerouted(day, superlink="elsewhere.example.org:443")))
    assert load_signatures(path) == signed
    assert day.home("alpha").settings.node.superlink == "elsewhere.example.org:443"


@pytest.mark.parametrize("left", [False, True])
def test_an_invitation_to_an_earlier_version_is_refused_also_after_leaving(day, left):
    replayed = day.invitation()
    day.join("alpha")
    draft = day.coordinator / "draft.toml"
    draft.write_text(draft.read_text().replace("rounds = 5", "rounds = 6"))
    approve(day.coordinator, [])
    day.join("alpha")
    if left:
        leave(day.home("alpha"))
    before = everything(day.path / "alpha")
    with pytest.raises(EnrolmentError, match="has had version 2"):
        day.propose("alpha", replayed)
    assert everything(day.path / "alpha") == before
    assert day.join("alpha").charter.charter.version == 2


def test_the_table_shows_what_the_sums_and_the_steering_rest_on(day):
    rows = {ask.term: (ask.asked, ask.allowed) for ask in day.propose("alpha").asks}
    assert rows["sites assumed to collude with the coordinator"][0] == "1"
    assert rows["honest sites in any opened sum"] == ("at least 2", "at least 2")
    assert rows["who is in a sum"][0].startswith("strict")
    assert rows["whether a received sum is the true one"][0] == "by the sites, in slices"
    assert rows["how training noise is drawn"][0] == "fast (float64)"
    assert rows["training steered between groups"][0] == "none"
    assert rows["attack on the finished adapter"][1] == 'only with "audit" among allow.releases'
    draft = day.coordinator / "draft.toml"
    text = draft.read_text().replace('mode = "strict"', 'mode = "fast"\nverify-slices = false')
    text += '\n[mitigation]\nmethod = "dual-ascent"\nfeature = "sex"\nepsilon = 0.25\n'
    draft.write_text(text)
    approve(day.coordinator, [])
    rows = {ask.term: (ask.asked, ask.allowed) for ask in day.propose("alpha").asks}
    assert rows["who is in a sum"][0].startswith("fast")
    assert rows["whether a received sum is the true one"][0] == "not checked by the sites"
    assert rows["training steered between groups"][0] == "dual-ascent by sex"
    assert rows["epsilon of the counts that steer"][0].startswith("0.25,")
