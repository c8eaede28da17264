"""Identities sign for one purpose only and refuse keys that others can read."""

from __future__ import annotations

import pytest

from fedethics.errors import PolicyError
from fedethics.identity import Identity, verify


def test_a_signature_holds_for_its_message_purpose_and_key_only():
    identity, other = Identity.generate(), Identity.generate()
    signature = identity.sign(b"message", purpose="ledger")
    assert verify(identity.public_key, b"message", signature, purpose="ledger")
    assert not verify(identity.public_key, b"message", signature, purpose="charter")
    assert not verify(identity.public_key, b"massage", signature, purpose="ledger")
    assert not verify(other.public_key, b"message", signature, purpose="ledger")
    assert not verify("not a key", b"message", signature, purpose="ledger")


def test_purpose_and_message_cannot_be_shifted_against_each_other():
    identity = Identity.generate()
    signature = identity.sign(b"bc", purpose="a")
    assert not verify(identity.public_key, b"c", signature, purpose="ab")


def test_a_saved_key_is_private_and_never_overwritten(tmp_path):
    path = tmp_path / "keys" / "identity.key"
    identity = Identity.generate()
    identity.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Identity.load(path).public_key == identity.public_key
    with pytest.raises(FileExistsError):
        Identity.generate().save(path)


def test_a_key_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "identity.key"
    Identity.generate().save(path)
    path.chmod(0o640)
    with pytest.raises(PolicyError, match="chmod 600"):
        Identity.load(path)
    with pytest.raises(PolicyError, match="cannot be read"):
        Identity.load(tmp_path / "absent.key")
