"""A lying server that bends the proof it gives a site for a slice of the sum."""

from dataclasses import replace

import numpy as np
import pytest

from fedethics.errors import SecaggAbort
from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from tests.secagg.disturbances import signed
from tests.secagg.summed import SPEC, Summed, bump


def altered(summed, name, change):
    """An honest SLICE for `name` with its body's parts changed, signed by the coordinator."""
    answer = summed.session.slice(summed.request(name))
    frame = framing.decode(answer, kind=Kind.SLICE, max_body_bytes=1 << 30)
    parts = framing.unpack(frame.body)
    change(parts)
    return signed(summed.federation, answer, Kind.SLICE, body=framing.pack(parts))


def other_vector(parts):
    parts[6] = bump(parts[6], 3)


def other_sum_than_signed(parts):
    parts[6] = bump(parts[6], len(parts[6]) - framing.path_bytes(0, 3) - 101)


def other_seed(parts):
    parts[3] = bump(parts[3], 40)


def other_blob_key(parts):
    parts[5] = bump(parts[5], 0)


def other_blob(parts):
    (share,) = framing.unpack(memoryview(parts[4]))
    parts[4] = framing.pack([bump(share, len(share) - 70)])


def no_blob(parts):
    parts[4], parts[5] = b"", b""


def swapped_survivors(parts):
    heads = framing.unpack(memoryview(parts[2]))
    parts[2] = framing.pack([heads[1], heads[0], *heads[2:]])


def forged_commitment(parts):
    heads = framing.unpack(memoryview(parts[1]))
    parts[1] = framing.pack(
        [bump(heads[0], heads[0].index(b'"seed_commitment":"') + 20), *heads[1:]]
    )


def shorter(parts):
    parts.pop()


def cut(parts):
    parts[6] = parts[6][:-1]


@pytest.mark.parametrize(
    "lie",
    [
        other_vector,
        other_sum_than_signed,
        other_seed,
        other_blob_key,
        other_blob,
        no_blob,
        swapped_survivors,
        forged_commitment,
        shorter,
        cut,
    ],
)
def test_a_server_that_bends_the_proof_is_caught(tmp_path, lie):
    summed = Summed(tmp_path)
    name = next(n for n in summed.checkers if summed.leaves(n) == [0])
    assert summed.verify(name, altered(summed, name, lambda parts: None))
    with pytest.raises(SecaggAbort, match="SLICE"):
        summed.verify(name, altered(summed, name, lie))
    (evidence,) = summed.federation.stores[name].proven_lies()
    assert evidence.signer == "coordinator"


def test_a_proof_for_another_result_is_caught(tmp_path):
    """The server shows one sum to the sites and proves another."""
    summed = Summed(tmp_path, lie_at=3)
    name = next(n for n in summed.checkers if 0 in summed.leaves(n))
    opened = summed.session._opened
    body = framing.decode(opened.message, kind=Kind.RESULT, max_body_bytes=1 << 30).body
    words = np.frombuffer(body, dtype=SPEC.dtype).copy()
    words[3] -= 1
    true = signed(summed.federation, opened.message, Kind.RESULT, body=words.tobytes())
    summed.session._opened = replace(opened, message=true)
    with pytest.raises(SecaggAbort, match="another RESULT"):
        summed.verify(name)


def test_slices_verify_with_classic_recovery(tmp_path):
    summed = Summed(tmp_path, recovery="classic")
    assert all(summed.verify(name) for name in summed.checkers)
    name = next(n for n in summed.checkers if summed.leaves(n) == [0])
    with pytest.raises(SecaggAbort, match="the key of site-01 is not the one"):
        summed.verify(name, altered(summed, name, other_blob_key))
