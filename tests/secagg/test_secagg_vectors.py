"""The primitives under our wrappers give the published answers."""

import hashlib

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedethics.secagg import derivation, framing, masking
from fedethics.secagg.suites import SUITES

ALICE = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
ALICE_PUBLIC = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
BOB = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
BOB_PUBLIC = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
AGREED = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


def test_x25519_agrees_as_in_rfc_7748_section_6_1():
    private = X25519PrivateKey.from_private_bytes(bytes.fromhex(ALICE))
    assert private.public_key().public_bytes_raw().hex() == ALICE_PUBLIC
    roots = [
        derivation.pair_root(
            SUITES[1].initiate(bytes.fromhex(mine), bytes.fromhex(theirs), bound_to=b"").secret,
            epoch_hash=b"e" * 32,
            use="mask",
            pair={"a", "b"},
        )
        for mine, theirs in ((ALICE, BOB_PUBLIC), (BOB, ALICE_PUBLIC))
    ]
    expected = derivation.derive(
        bytes.fromhex(AGREED), salt=b"e" * 32, info=derivation.label("mask-root", "a", "b")
    )
    assert roots == [expected, expected]


def test_ed25519_signs_as_in_rfc_8032_section_7_1():
    private = Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    assert private.sign(b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )


def test_hkdf_derives_as_in_rfc_5869_test_case_1():
    secret, salt = bytes.fromhex("0b" * 22), bytes.fromhex("000102030405060708090a0b0c")
    info = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9")
    published = (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )
    assert HKDF(algorithm=SHA256(), length=42, salt=salt, info=info).derive(secret).hex() == (
        published
    )
    # Ours is the same expansion, cut at 32 bytes.
    assert derivation.derive(secret, salt=salt, info=info).hex() == published[:64]


def test_aes_256_ctr_encrypts_as_in_sp_800_38a_f_5_5_through_update_into():
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    counter = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    plain = bytes.fromhex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )
    stream = Cipher(algorithms.AES256(key), modes.CTR(counter)).encryptor()
    buffer = bytearray(64 + 15)
    assert stream.update_into(plain, buffer) == 64
    assert buffer[:64].hex() == (
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
        "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
    )


GCM_KEY = "feffe9928665731c6d6a8f9467308308" * 2
GCM_TEXT = (
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
)
GCM_CIPHER = (
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
)


@pytest.mark.parametrize(
    ("key", "nonce", "plain", "bound_to", "cipher", "tag"),
    [
        ("00" * 32, "00" * 12, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
        (
            "00" * 32,
            "00" * 12,
            "00" * 16,
            "",
            "cea7403d4d606b6e074ec5d3baf39d18",
            "d0d1c8a799996bf0265b98b5d48ab919",
        ),
        (
            GCM_KEY,
            "cafebabefacedbaddecaf888",
            GCM_TEXT,
            "feedfacedeadbeeffeedfacedeadbeefabaddad2",
            GCM_CIPHER,
            "76fc6ece0f4e1768cddf8853bb2d551b",
        ),
    ],
    ids=["case 13", "case 14", "case 16"],
)
def test_seals_are_those_of_the_gcm_specification(key, nonce, plain, bound_to, cipher, tag):
    """McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B."""
    key, nonce, plain, bound_to = map(bytes.fromhex, (key, nonce, plain, bound_to))
    sealed = derivation.seal(key, plain, nonce=nonce, bound_to=bound_to)
    assert sealed.hex() == nonce.hex() + cipher + tag
    assert derivation.unseal(key, sealed, bound_to=bound_to) == plain
    for position in range(len(sealed)):
        bent = sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1 :]
        assert derivation.unseal(key, bent, bound_to=bound_to) is None
    assert derivation.unseal(key, sealed, bound_to=bound_to + b"x") is None


def test_a_mask_is_the_aes_256_keystream_from_counter_zero():
    key = bytes(range(32))
    blocks = Cipher(algorithms.AES256(key), modes.ECB()).encryptor()
    size = 2 * masking.CHUNK_BYTES + 48
    counters = b"".join(k.to_bytes(16, "big") for k in range(size // 16))
    expected = np.frombuffer(blocks.update(counters), dtype="<u4")
    words = np.zeros(size // 4, dtype="<u4")
    masking.apply_masks(words, add=[key])
    assert np.array_equal(words, expected)
    masking.apply_masks(words, subtract=[key])
    assert not words.any()


def reference_tree_hash(leaves):
    """RFC 9162, section 2.1.1, by its recursive definition."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    left, right = reference_tree_hash(leaves[:split]), reference_tree_hash(leaves[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def test_the_tree_hash_is_that_of_rfc_9162():
    for leaves in range(1, 12):
        for cut in (0, 1, framing.LEAF_BYTES - 1):
            data = bytes(k % 251 for k in range(leaves * framing.LEAF_BYTES - cut))
            pieces = [
                data[start : start + framing.LEAF_BYTES]
                for start in range(0, len(data), framing.LEAF_BYTES)
            ]
            assert framing.tree_hash(data) == reference_tree_hash(pieces)
    assert framing.tree_hash(b"") == reference_tree_hash([b""])


def test_labels_of_different_parts_never_meet():
    assert derivation.label("a", "bc") != derivation.label("ab", "c")
    assert derivation.label("a") != derivation.label("a", "")
