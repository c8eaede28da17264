"""The protocol's bytes are what they were: a change here needs a new protocol version."""

import base64
import json
from pathlib import Path

from fedethics.secagg import framing, masking
from fedethics.secagg.framing import Kind
from tests.secagg.federation import fixed_identity, spec_of
from tests.secagg.golden_transcript import VECTORS, transcript

GOLDEN = Path(__file__).with_name("golden_transcript.json")


def golden():
    return [
        (sender, receiver, base64.b64decode(message))
        for sender, receiver, message in json.loads(GOLDEN.read_text())
    ]


def test_three_sites_with_fixed_randomness_say_the_golden_bytes(tmp_path):
    assert transcript(tmp_path) == json.loads(GOLDEN.read_text())


def test_the_golden_bytes_hold_all_messages_of_suite_1_and_every_signature_verifies():
    kinds = []
    for sender, _, message in golden():
        kind = Kind(message[4])
        frame = framing.decode(message, kind=kind, max_body_bytes=1 << 16)
        assert frame.header["sender"] == sender
        assert frame.is_signed_by(fixed_identity(sender).public_key)
        kinds.append(kind)
    assert set(kinds) == set(Kind) - {Kind.JOINED, Kind.SLICE_REQUEST, Kind.SLICE}


def test_the_golden_result_is_the_sum():
    (told,) = [message for _, _, message in golden() if message[4] == Kind.RESULT]
    result = framing.decode(told, kind=Kind.RESULT, max_body_bytes=16)
    total = masking.to_integers(result.body, spec_of(4))
    assert total.tolist() == sum(VECTORS.values()).tolist() == [111, 218, 273, 1000]
