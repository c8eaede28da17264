"""Requests and invitations: whatever byte of them changes, they no longer hold."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics import canonical
from fedethics.enrolment.papers import (
    INVITATION_PURPOSE,
    fingerprint_matches,
    make_request,
    new_node_key,
    public_half,
    read_invitation,
    read_request,
)
from fedethics.errors import EnrolmentError, EnrolmentForged
from fedethics.identity import Identity, fingerprint

IDENTITY = Identity.generate()
REQUEST = make_request(
    IDENTITY, site="alpha", node_key=public_half(new_node_key()), declared_records=100
)


def _changed(data: bytes, **fields: object) -> bytes:
    """Return a paper with fields of its body changed and its signature left as it was."""
    paper = json.loads(data)
    body = json.loads(paper["body"]) | fields
    paper["body"] = canonical.encode(body).decode()
    return canonical.encode(paper)


def test_a_request_says_what_was_put_into_it():
    read = read_request(REQUEST)
    assert (read.site, read.declared_records) == ("alpha", 100)
    assert read.public_key == IDENTITY.public_key


@given(position=st.integers(0, len(REQUEST) - 1), value=st.integers(0, 255))
@settings(max_examples=150, deadline=None)
def test_a_request_with_any_byte_changed_is_refused(position, value):
    changed = REQUEST[:position] + bytes([value]) + REQUEST[position + 1 :]
    if changed.rstrip(b"\n") == REQUEST.rstrip(b"\n"):
        return
    with pytest.raises((EnrolmentError, EnrolmentForged)):
        read_request(changed)


def test_the_same_signature_in_other_letters_is_another_paper():
    paper = json.loads(REQUEST)
    paper["signature"] = paper["signature"].upper()
    with pytest.raises(EnrolmentError, match="match"):
        read_request(canonical.encode(paper))


@pytest.mark.parametrize(
    "fields",
    [{"declared-records": 100000}, {"site": "beta"}, {"node-key": public_half(new_node_key())}],
)
def test_a_request_that_was_edited_is_refused_as_forged(fields):
    with pytest.raises(EnrolmentForged, match="changed in transit or forged"):
        read_request(_changed(REQUEST, **fields))


def test_a_request_under_anothers_key_cannot_be_signed_with_ones_own():
    paper = json.loads(REQUEST)
    thief = Identity.generate()
    paper["public-key"] = thief.public_key
    paper["signature"] = thief.sign(paper["body"].encode(), purpose="site-request").hex()
    with pytest.raises(EnrolmentForged, match="names key"):
        read_request(canonical.encode(paper))


def test_a_signature_for_another_purpose_is_no_request():
    paper = json.loads(REQUEST)
    paper["signature"] = IDENTITY.sign(paper["body"].encode(), purpose="receipt").hex()
    with pytest.raises(EnrolmentForged):
        read_request(canonical.encode(paper))


def test_a_node_key_that_flower_would_not_take_is_refused_at_the_desk():
    with pytest.raises(EnrolmentError, match=r"node-key|OpenSSH"):
        read_request(
            make_request(
                IDENTITY, site="alpha", node_key="ecdsa-sha2-nistp384 AAAA", declared_records=1
            )
        )


@pytest.mark.parametrize("said", ["{}", " {} ", "{upper}", "{hyphens}"])
def test_a_fingerprint_may_be_typed_as_people_type(said):
    right = fingerprint(IDENTITY.public_key)
    typed = said.format(right, upper=right.upper(), hyphens=right.replace(" ", "-"))
    assert fingerprint_matches(typed, IDENTITY.public_key)


def test_a_part_of_a_fingerprint_is_not_the_fingerprint():
    right = fingerprint(IDENTITY.public_key)
    for part in ("", right[:4], right[:-1], right[5:], right + "0"):
        assert not fingerprint_matches(part, IDENTITY.public_key)


def test_an_invitation_is_the_same_bytes_for_the_same_content(day):
    assert day.invitation() == day.invitation()


def test_an_invitation_signed_by_another_key_is_refused(day):
    with pytest.raises(EnrolmentForged, match="fingerprint"):
        read_invitation(day.invitation(key=Identity.generate()), said=day.fingerprint)


def test_an_impostor_with_its_own_fingerprint_still_cannot_name_the_real_charter(day):
    # The charter names its coordinator, so a paper by another key contradicts itself.
    impostor = Identity.generate()
    with pytest.raises(EnrolmentForged, match="another coordinator"):
        read_invitation(day.invitation(key=impostor), said=fingerprint(impostor.public_key))


@pytest.mark.parametrize("fields", [{"superlink": "evil.example:443"}, {"ca": "none"}])
def test_an_invitation_that_was_edited_is_refused(day, fields):
    with pytest.raises(EnrolmentForged):
        read_invitation(_changed(day.invitation(), **fields), said=day.fingerprint)


def test_a_certificate_that_is_none_is_refused_even_when_signed(day):
    paper = json.loads(day.invitation())
    body = json.loads(paper["body"]) | {"ca": "not a certificate"}
    paper["body"] = canonical.encode(body).decode()
    paper["signature"] = day.key.sign(paper["body"].encode(), purpose=INVITATION_PURPOSE).hex()
    with pytest.raises(EnrolmentError, match="PEM"):
        read_invitation(canonical.encode(paper), said=day.fingerprint)
