"""Key agreement in every suite: published vectors, invalid keys, and sums that come out."""

import hashlib
import os

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import mlkem
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from fedethics.errors import CharterError, SecaggAbort, SecaggReject, SetupError
from fedethics.secagg import suites
from fedethics.secagg.suites import SUITES
from tests.secagg.federation import Federation, FixedBytes, random_vectors, run_round, spec_of
from tests.secagg.stages import memory_of

SPEC = spec_of()
# RFC 5903, section 8.1
P256_I = "C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433"
P256_R = "C6EF9C5D78AE012A011164ACB397CE2088685D8F06BF9BE0B283AB46476BEE53"
P256_GI_X = "DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C3772581180"
P256_GR_X = "D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63"
P256_SHARED = "D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE"
# The y of both points is odd: ...90BB3 and ...872AB.
P256_ODD = "03"
# Well-known points whose order divides 8, on Curve25519 or its twist.
LOW_ORDER = (
    "00" * 32,
    "01" + "00" * 31,
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)


def test_p_256_agrees_as_in_rfc_5903_section_8_1():
    ours = [
        SUITES[2].initiate(
            bytes.fromhex(P256_I), bytes.fromhex(P256_ODD + P256_GR_X), bound_to=b""
        ),
        SUITES[2].initiate(
            bytes.fromhex(P256_R), bytes.fromhex(P256_ODD + P256_GI_X), bound_to=b""
        ),
    ]
    assert [agreed.secret.hex().upper() for agreed in ours] == [P256_SHARED] * 2


def test_the_drawn_p_256_key_is_the_draw_modulo_the_order():
    draw = bytes(range(40))
    order = 2**256 - 2**224 + 2**192 - 0x4319055258E8617B0C46353D039CDAAF
    pair = SUITES[2].generate(lambda size: draw[:size])
    assert int.from_bytes(pair.private, "big") == int.from_bytes(draw, "big") % (order - 1) + 1


def test_the_hybrid_secret_is_both_secrets_and_the_ciphertext():
    suite = SUITES[3]
    ann, bob = suite.generate(os.urandom), suite.generate(os.urandom)
    agreed = suite.initiate(ann.private, bob.public, bound_to=b"epoch")
    sealed = agreed.ciphertext[:1088]
    quantum = mlkem.MLKEM768PrivateKey.from_seed_bytes(bob.private[32:]).decapsulate(sealed)
    classical = X25519PrivateKey.from_private_bytes(ann.private[:32]).exchange(
        X25519PublicKey.from_public_bytes(bob.public[:32])
    )
    assert agreed.secret == quantum + classical + hashlib.sha256(sealed).digest()


@pytest.mark.parametrize("number", SUITES)
def test_both_ends_agree_and_sizes_are_as_announced(number):
    suite = SUITES[number]
    ann, bob = suite.generate(os.urandom), suite.generate(os.urandom)
    agreed = suite.initiate(ann.private, bob.public, bound_to=b"epoch")
    assert suite.respond(bob.private, ann.public, agreed.ciphertext, bound_to=b"epoch") == (
        agreed.secret
    )
    assert (len(ann.public), len(agreed.ciphertext)) == (suite.public_bytes, suite.ciphertext_bytes)
    eve = suite.generate(os.urandom)
    assert suite.initiate(ann.private, eve.public, bound_to=b"epoch").secret != agreed.secret


@pytest.mark.parametrize("point", LOW_ORDER)
@pytest.mark.parametrize("number", [1, 3])
def test_a_point_of_low_order_is_refused(number, point):
    suite = SUITES[number]
    own = suite.generate(os.urandom)
    peer = bytes.fromhex(point) + own.public[32:]
    with pytest.raises(ValueError, match=r".*"):
        suite.initiate(own.private, peer, bound_to=b"")


@pytest.mark.parametrize(
    "point",
    [
        "00" * 33,  # infinity has no such spelling
        "02" + "00" * 31 + "01",  # x = 1 is on the twist
        "02" + "ff" * 32,  # x is no field element
        "05" + P256_GI_X,
    ],
)
def test_a_point_off_the_p_256_curve_is_refused(point):
    with pytest.raises(ValueError, match=r".*"):
        SUITES[2].initiate(bytes.fromhex(P256_I), bytes.fromhex(point), bound_to=b"")


def test_a_ciphertext_that_the_peer_did_not_send_is_refused():
    suite = SUITES[3]
    ann, bob, server = (suite.generate(os.urandom) for _ in range(3))
    true = suite.initiate(ann.private, bob.public, bound_to=b"epoch").ciphertext
    own = suite.initiate(server.private, bob.public, bound_to=b"epoch").ciphertext
    flipped = bytes([true[0] ^ 1]) + true[1:]
    for forged in (own, flipped, true[:1088] + own[1088:], own[:1088] + true[1088:], b""):
        with pytest.raises(ValueError, match="not the peer's own"):
            suite.respond(bob.private, ann.public, forged, bound_to=b"epoch")
    with pytest.raises(ValueError, match="not the peer's own"):
        suite.respond(bob.private, ann.public, true, bound_to=b"another epoch")


@pytest.mark.parametrize("number", [2, 3])
def test_a_round_with_drops_at_every_stage_opens_the_exact_sum_in_every_suite(tmp_path, number):
    federation = Federation(tmp_path, 7, minimum_cohort=4, colluders=0, suite=number)
    federation.join()
    federation.sites = {name: federation.restarted(name) for name in federation.names}
    vectors = random_vectors(federation.names, SPEC)
    drops = {"share": ["site-03"], "masked": ["site-00"]}
    opened, results = run_round(federation, federation.open(SPEC), vectors, SPEC, drops=drops)
    alive = [name for name in federation.names if name not in {"site-00", "site-03"}]
    assert opened.survivors == tuple(alive)
    assert opened.total.tolist() == np.sum([vectors[name] for name in alive], axis=0).tolist()
    assert all(np.array_equal(result.total, opened.total) for result in results.values())


@pytest.mark.parametrize("number", SUITES)
def test_no_private_key_is_left_at_a_site_once_the_epoch_is_complete(tmp_path, number):
    federation = Federation(tmp_path, 4, suite=number)
    keys = SUITES[number].generate(FixedBytes("site-02"))
    federation.sites["site-02"].announce(epoch="run/0")
    before = "".join(memory_of(federation, "site-02"))
    stored = bytes_in(before)
    assert keys.private.hex() in stored
    federation.join()
    assert keys.private.hex() not in bytes_in("".join(memory_of(federation, "site-02")))


def bytes_in(dump):
    """An SQL dump with its blobs decoded as text where they are text."""
    parts = dump.split("X'")
    decoded = (bytes.fromhex(part.partition("'")[0]).decode("latin-1") for part in parts[1:])
    return dump + "".join(decoded)


def test_without_ml_kem_suite_3_says_so_and_the_others_work(monkeypatch):
    monkeypatch.setattr(suites, "mlkem", None)
    with pytest.raises(SetupError, match="ML-KEM-768"):
        SUITES[3].generate(os.urandom)
    assert SUITES[1].generate(os.urandom)
    assert SUITES[2].generate(os.urandom)


def test_an_unknown_suite_is_no_charter(tmp_path):
    with pytest.raises(CharterError, match="suite 4"):
        Federation(tmp_path, 4, suite=4)


def test_a_bundle_with_keys_of_another_suite_is_rejected(tmp_path):
    theirs = Federation(tmp_path / "2", 4, suite=2)
    ours = Federation(tmp_path / "1", 4, suite=1)
    with pytest.raises(SecaggReject, match="mask_key"):
        ours.coordinator.add_announcement(theirs.sites["site-00"].announce(epoch="run/0"))


def test_a_p_256_key_off_the_curve_in_the_roster_is_a_lie_of_the_epoch(tmp_path, monkeypatch):
    federation = Federation(tmp_path, 4, suite=2)
    honest = SUITES[2].generate
    # A coordinator that relays what an honest one refuses.
    monkeypatch.setattr("fedethics.secagg.joining.check_announcement", lambda *_, **__: None)
    for name in federation.names:
        if name == "site-03":
            off_curve = suites.KeyPair(b"\x01" * 32, bytes.fromhex("02" + "00" * 31 + "01"))
            other = suites.KeyPair(b"\x01" * 32, honest(os.urandom).public)
            pairs = iter([off_curve, other])
            monkeypatch.setattr(SUITES[2], "generate", lambda _: next(pairs))  # noqa: B023
        federation.coordinator.add_announcement(federation.sites[name].announce(epoch="run/0"))
    roster = federation.coordinator.roster_message()
    with pytest.raises(SecaggAbort, match="site-03 announced a key that is malformed"):
        federation.sites["site-00"].join(roster)
    (evidence,) = federation.stores["site-00"].proven_lies()
    assert evidence.message == roster
