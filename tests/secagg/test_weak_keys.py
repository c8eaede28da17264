"""Keys under which signatures prove nothing are refused wherever a public key enters."""

from __future__ import annotations

import base64
import dataclasses
import importlib
import json
import os
import pkgutil
import re
import typing

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from typer.testing import CliRunner

import fedethics
from fedethics import canonical, terms
from fedethics.charter import document
from fedethics.charter.ethics_terms import Stakeholder
from fedethics.cli.main import app
from fedethics.enrolment.papers import check_public, open_paper
from fedethics.errors import (
    CharterError,
    EnrolmentError,
    FedethicsError,
    LedgerError,
    LedgerTampered,
    PolicyError,
    SecaggReject,
)
from fedethics.identity import Identity, key_fault, verify
from fedethics.policy.model import load_policy
from fedethics.policy.template import policy_text
from fedethics.privacy.ledger import Ledger
from fedethics.privacy.ledger.book import Book
from fedethics.privacy.ledger.entries import BEGINNING, PinnedOfficers, Sealed
from fedethics.secagg.revocation import read_notice
from fedethics.secagg.suites import SUITES
from tests.privacy.charters import HEART
from tests.secagg.federation import Federation

# The curve of RFC 8032, section 5.1, in arithmetic of our own.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
BASE_Y = 4 * pow(5, -1, P) % P


def x_of(y):
    """Both x of a point with this y; none off the curve."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    root = pow(square, (P + 3) // 8, P)
    roots = {root, root * pow(2, (P - 1) // 4, P) % P}
    return sorted({r for one in roots if one * one % P == square for r in (one, -one % P)})


def add(a, b):
    (x1, y1), (x2, y2) = a, b
    k = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P
    return x, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P


def times(number, point):
    found = (0, 1)
    while number:
        if number & 1:
            found = add(found, point)
        point, number = add(point, point), number >> 1
    return found


def encoded(point):
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little").hex()


def points_of_small_order():
    """The eight points that 8 takes to the neutral element, from any point of the curve."""
    y = 2
    while True:
        for x in x_of(y):
            torsion = times(L, (x, y))
            if times(4, torsion) != (0, 1):
                return [times(k, torsion) for k in range(8)]
        y += 1


SMALL = points_of_small_order()
BASE = next((x, BASE_Y) for x in x_of(BASE_Y) if x % 2 == 0)


def spellings(point):
    """Every 32 bytes that a lax decoder takes for this point."""
    x, y = point
    for number in (y, y + P):
        for sign in {x & 1} if x else {0, 1}:
            if number < 1 << 255:
                yield (number | sign << 255).to_bytes(32, "little").hex()


SMALL_KEYS = sorted({spelled for point in SMALL for spelled in spellings(point)})
MIXED_KEYS = [encoded(add(times(k + 2, BASE), SMALL[k])) for k in range(1, 8)]
# Numbers from p on spell small y again: 19 of them for each sign.
LONG_KEYS = [
    (number | sign << 255).to_bytes(32, "little").hex()
    for number in range(P, 1 << 255)
    for sign in (0, 1)
]
OFF_CURVE = [y.to_bytes(32, "little").hex() for y in range(2, 40) if not x_of(y)]
WEAK = {"small": SMALL_KEYS[0], "mixed": MIXED_KEYS[3], "long": LONG_KEYS[3], "off": OFF_CURVE[0]}
# Table 6 of "Taming the many EdDSAs" (eprint 2020/1244): as libraries met them in the field.
PUBLISHED = re.findall(
    "[0-9a-f]{64}",
    """
0100000000000000000000000000000000000000000000000000000000000000
ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f
0000000000000000000000000000000000000000000000000000000000000080
0000000000000000000000000000000000000000000000000000000000000000
c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a
c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa
26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05
26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85
0100000000000000000000000000000000000000000000000000000000000080
ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f
eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f
""",
)


def test_the_published_points_of_small_order_are_all_that_there_are():
    assert sorted(PUBLISHED) == SMALL_KEYS


def test_every_spelling_of_a_point_of_small_order_is_at_fault():
    assert len(SMALL_KEYS) == 14
    assert all(map(key_fault, SMALL_KEYS))


def test_every_spelling_other_than_the_standards_is_at_fault():
    assert len(LONG_KEYS) == 38 and all(map(key_fault, LONG_KEYS))


def test_a_key_is_sound_exactly_where_the_groups_order_takes_it_to_the_neutral_element():
    seen = set()
    for y in range(2, 30):
        for x in x_of(y) or [None]:
            point = (x, y)
            sound = x is not None and times(L, point) == (0, 1)
            spelled = encoded((x or 0, y))
            assert (key_fault(spelled) == "") is sound
            seen.add(sound)
    assert seen == {True, False}
    assert all(map(key_fault, MIXED_KEYS + OFF_CURVE))
    assert not any(key_fault(encoded(times(k, BASE))) for k in (1, 2, 3, 1000, L - 1))


@pytest.mark.parametrize("key", ["", "ab", "AB" * 32, "0" * 63 + "g", None, 7, b"\x05" * 32])
def test_what_is_not_64_lower_case_hex_digits_is_at_fault(key):
    assert key_fault(key)


@pytest.mark.parametrize("message", [b"delta = 1e-5", b"delta = 1e-1", b""])
@pytest.mark.parametrize("key", ["01" + "00" * 31, "00" * 32, *SMALL_KEYS])
def test_constant_bytes_are_nobodys_signature(key, message):
    # R and S of the attack: under the neutral element as key, R = S B for any message.
    neutral, nothing = (1).to_bytes(32, "little"), bytes(32)
    for r, s in ((neutral, 0), (bytes.fromhex(encoded(BASE)), 1), (nothing, 0)):
        signature = r + s.to_bytes(32, "little")
        assert not verify(key, message, signature, purpose="charter")


def test_the_library_alone_would_take_constant_bytes_for_a_signature_over_anything():
    key = Ed25519PublicKey.from_public_bytes((1).to_bytes(32, "little"))
    for message in (b"before delta was changed", b"after"):
        key.verify(bytes.fromhex(encoded(BASE)) + (1).to_bytes(32, "little"), message)


# github.com/novifinancial/ed25519-speccheck, cases.json: (message, key, signature).
SPECCHECK = re.findall(
    "[0-9a-f]{64}",
    """
8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6
c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa
c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a
0000000000000000000000000000000000000000000000000000000000000000
9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79
c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa
f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43
a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04
aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab
f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43
c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa
8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e
9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79
cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d
9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f
87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009
e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c
cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d
160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed512
5ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09
e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c
cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d
21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7
e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405
85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40
442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623
e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e
547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514
85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40
442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623
8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa1942
7e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22
9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41
f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43
ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
03be9678ac102edcd92b0210bb34d7428d12ffc5df5f37e359941266a4e35f0f
9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41
f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43
ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
ca8c5b64cd208982aa38d4936621a4775aa233aa0505711d8fdcfdaa943d4908
e96b7021eb39c1a163b6da4e3093dcd3f21387da4cc4572be588fafae23c155b
ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dc
a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04
39a591f5321bbe07fd5a23dc2f39d025d74526615746727ceefd6e82ae65c06f
ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dc
a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04
""",
)
CASES = [tuple(map(bytes.fromhex, SPECCHECK[k : k + 4])) for k in range(0, len(SPECCHECK), 4)]


def test_each_of_the_twelve_speccheck_cases_has_a_key_at_fault_or_a_signature_openssl_refuses():
    assert len(CASES) == 12
    for message, key, r, s in CASES:
        if key_fault(key.hex()):
            continue
        with pytest.raises(InvalidSignature):
            Ed25519PublicKey.from_public_bytes(key).verify(r + s, message)


def test_a_signature_whose_s_is_not_below_the_order_is_refused():
    identity = Identity.generate()
    signature = identity.sign(b"message", purpose="p")
    s = int.from_bytes(signature[32:], "little")
    assert verify(identity.public_key, b"message", signature, purpose="p")
    for more in range(1, (2**256 - 1 - s) // L + 1):
        other = signature[:32] + (s + more * L).to_bytes(32, "little")
        assert not verify(identity.public_key, b"message", other, purpose="p")


def test_no_r_of_small_order_is_taken():
    identity = Identity.generate()
    for r in SMALL_KEYS:
        signature = bytes.fromhex(r) + bytes(32)
        assert not verify(identity.public_key, b"message", signature, purpose="p")


# --- where public keys enter -------------------------------------------------------------------


# The module's dataclasses that hold a public key, each read by `terms.read`.
def key_fields():
    for module in pkgutil.walk_packages(fedethics.__path__, "fedethics."):
        if module.name.split(".")[1] in {"flower", "training", "simulation"}:
            continue  # need Flower or torch, and read no terms
        loaded = importlib.import_module(module.name)
        for name, cls in vars(loaded).items():
            if not (dataclasses.is_dataclass(cls) and isinstance(cls, type)):
                continue
            if cls.__module__ != module.name:
                continue
            for field in dataclasses.fields(cls):
                pattern = str(field.metadata.get("pattern") or "")
                if terms.KEY in pattern and "key" in field.name:
                    yield pytest.param(cls, field, id=f"{name}.{field.name}")


FIELDS = list(key_fields())


def test_the_fields_that_hold_public_keys_are_found():
    assert len(FIELDS) >= 10
    assert {"Member.public_key", "Stakeholder.public_key", "Charter.coordinator_key",
            "Officers.public_keys", "Approval.public_key", "RequestBody.public_key"} - {
        str(each.id) for each in FIELDS
    } <= {"RequestBody.public_key"}  # fmt: skip


@pytest.mark.parametrize("weak", WEAK)
@pytest.mark.parametrize(("cls", "field"), FIELDS)
def test_every_table_with_a_public_key_refuses_a_weak_one(cls, field, weak):
    values = {
        terms.kebab(each.name): _sound(typing.get_type_hints(cls)[each.name], each)
        for each in dataclasses.fields(cls)
        if each.default is dataclasses.MISSING or each.name == field.name
    }
    key = terms.kebab(field.name)
    values[key] = [WEAK[weak]] if isinstance(values[key], list) else WEAK[weak]
    problems: list[str] = []
    terms.read(cls, values, path="here", problems=problems)
    assert any("public-key" in line or key in line for line in problems), problems
    assert any("prime order" in line or "standard" in line for line in problems), problems


def _sound(hint, field):
    """A value that the field takes, as far as a table of scalars needs one."""
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)[0]
    if typing.get_origin(hint) is tuple:
        return []
    patterns = {
        terms.KEY: "ab" * 32,
        terms.TIME: "2026-01-01T00:00:00Z",
        terms.SIGNATURE: "ab" * 64,
        terms.NAME: "site",
    }
    if hint is str:
        return patterns.get(str(field.metadata.get("pattern")), "text")
    return {int: 1, float: 1.0, bool: True}.get(hint)


def weak_charter(key):
    charter = document.load(HEART)
    people = (Stakeholder(role="ethicist", name="Eve", public_key=key),)
    ethics = dataclasses.replace(charter.ethics, stakeholders=people)
    return document.encode(dataclasses.replace(charter, ethics=ethics))


def weak_policy(folder, key):
    path = folder / "policy.toml"
    path.write_text(policy_text().replace("public-keys = []", f'public-keys = ["{key}"]'))
    return load_policy(path)


def weak_ledger(key):
    body = {"action": "open", "format": 1, "index": 0, "ledger": "x", "previous": BEGINNING,
            "public-key": key, "time": "2026-01-01T00:00:00+00:00"}  # fmt: skip
    forged = bytes.fromhex(encoded(BASE)) + (1).to_bytes(32, "little")
    Book().extend(Sealed(raw=canonical.encode(body), signature=forged))


def weak_officers(folder, key):
    with Ledger_of(folder) as ledger:
        ledger.pin_officers(PinnedOfficers(public_keys=(key,), required_signatures=1))


class Ledger_of:
    def __init__(self, folder):
        self.ledger = Ledger.open(folder / "l.db", identity=Identity.generate(), create=True)

    def __enter__(self):
        return self.ledger

    def __exit__(self, *error):
        return None


def weak_paper(key):
    table = {"body": "{}", "purpose": "p", "public-key": key, "signature": "ab" * 64}
    open_paper(canonical.encode(table), purpose="p", what="request")


def weak_notice(key):
    table = {"key": key, "reason": "lost", "signer": key, "signature": "ab" * 64}
    read_notice(canonical.encode(table), own_key=Identity.generate().public_key)


def weak_verifier(folder, key):
    answer = CliRunner().invoke(
        app, ["ledger", "verify", str(folder / "no.db"), "--public-key", key]
    )
    assert answer.exit_code == 2
    raise PolicyError(answer.output.replace("\n", " "))


def weak_secagg(folder, key):
    federation = Federation(folder)
    roster = dict(federation.terms.roster) | {"site-02": key}
    dataclasses.replace(federation.terms, roster=roster)


ENTRIES = {
    "charter": (lambda _, key: document.parse(weak_charter(key)), CharterError),
    "policy's officers": (weak_policy, PolicyError),
    "ledger's first entry": (lambda _, key: weak_ledger(key), LedgerTampered),
    "pinned officers": (weak_officers, FedethicsError),
    "request, invitation, leaving": (lambda _, key: weak_paper(key), EnrolmentError),
    "revocation": (lambda _, key: weak_notice(key), SecaggReject),
    "ledger verify": (weak_verifier, PolicyError),
    "secure aggregation's roster": (weak_secagg, CharterError),
}


@pytest.mark.parametrize("weak", WEAK)
@pytest.mark.parametrize("entry", ENTRIES)
def test_a_weak_key_is_refused_at_each_door(tmp_path, entry, weak):
    take, error = ENTRIES[entry]
    with pytest.raises(error):
        take(tmp_path, WEAK[weak])


@pytest.mark.parametrize("weak", WEAK)
def test_a_refused_officer_leaves_the_ledger_as_it_was(tmp_path, weak):
    ledger = Ledger.open(tmp_path / "l.db", identity=Identity.generate(), create=True)
    before = ledger.head
    with pytest.raises(LedgerError, match="nothing was written"):
        ledger.pin_officers(PinnedOfficers(public_keys=(WEAK[weak],), required_signatures=1))
    assert ledger.head == before


@pytest.mark.parametrize("weak", WEAK)
def test_the_refusal_names_whose_key_it_is(tmp_path, weak):
    with pytest.raises(CharterError, match="the key of Eve"):
        document.parse(weak_charter(WEAK[weak]))
    with pytest.raises(CharterError, match="the public key of site-02"):
        weak_secagg(tmp_path, WEAK[weak])


# --- key agreement -----------------------------------------------------------------------------

# RFC 7748, section 6.1, and cr.yp.to/ecdh.html: every u that gives a secret of zeros.
ZERO_U = sorted(
    {(1 + y) * pow(1 - y, -1, P) % P for _, y in SMALL if y != 1} | {0, 1, P - 1, P, P + 1}
)


@pytest.mark.parametrize("suite", [1, 3])
@pytest.mark.parametrize("u", ZERO_U)
def test_an_x25519_key_that_gives_a_secret_of_zeros_is_refused(suite, u):
    agreement = SUITES[suite]
    own, peer = (agreement.generate(os.urandom) for _ in range(2))
    for number in (u, u | 1 << 255):  # the last bit is not read
        weak = number.to_bytes(32, "little") + peer.public[32:]
        with pytest.raises(ValueError):
            agreement.initiate(own.private, weak, bound_to=b"pair")


def test_a_p256_key_that_is_no_point_of_the_curve_is_refused():
    own = SUITES[2].generate(os.urandom)
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    off = [x for x in range(60) if pow(x**3 - 3 * x + b, (p - 1) // 2, p) == p - 1]
    assert len(off) > 20
    points = [bytes([sign]) + x.to_bytes(32, "big") for x in [*off, p, p + 5] for sign in (2, 3)]
    for point in [*points, bytes(33), b"\x04" + bytes(32), b"\x05" + bytes(32)]:
        with pytest.raises(ValueError):
            SUITES[2].initiate(own.private, point, bound_to=b"pair")


def test_an_ml_kem_key_with_a_coefficient_beyond_the_modulus_is_refused():
    own, peer = (SUITES[3].generate(os.urandom) for _ in range(2))
    damaged = peer.public[:32] + b"\xff" * 3 + peer.public[35:]  # two coefficients of 4095
    with pytest.raises(ValueError):
        SUITES[3].initiate(own.private, damaged, bound_to=b"pair")


def test_a_node_key_off_its_curve_is_refused():
    def text(blob):
        return len(blob).to_bytes(4, "big") + blob

    curve = b"nistp384"
    point = b"\x04" + (5).to_bytes(48, "big") + (7).to_bytes(48, "big")
    blob = text(b"ecdsa-sha2-" + curve) + text(curve) + text(point)
    line = "ecdsa-sha2-nistp384 " + base64.b64encode(blob).decode()
    with pytest.raises(EnrolmentError):
        check_public(line)
    with pytest.raises(ValueError):
        load_ssh_public_key(line.encode())


def test_json_of_a_key_never_reads_as_another_spelling():
    # Upper case, spaces and a prefix are other texts; only one text is the key.
    key = Identity.generate().public_key
    for other in (key.upper(), f" {key}", f"0x{key}"[:64], json.dumps(key)):
        assert other == key or key_fault(other)
