"""What a masked vector looks like: noise, whatever is in it."""

import numpy as np
import pytest
from scipy import stats

from fedethics.secagg import derivation, framing, masking
from fedethics.secagg.framing import Kind
from tests.secagg.federation import Federation, spec_of

LENGTH = 200_000
SITE = "site-01"


def masked_words(folder, value, *, bits, own_mask=True):
    """The words that one of four sites sends for a vector of `value` in every coordinate.

    Without `own_mask` as the coordinator sees them once it has removed PRG(b_i).
    """
    federation = Federation(folder, 4)
    federation.join()
    spec = spec_of(length=LENGTH, bits=bits, bound=2 ** (bits - 1) // 5)
    drawn = []
    fixed = federation.random[SITE]
    federation.random[SITE] = lambda size: drawn.append(fixed(size)) or drawn[-1]
    federation.sites[SITE] = federation.restarted(SITE)
    session = federation.open(spec)
    for name in federation.names:
        vector = np.full(LENGTH, value * spec.bound, dtype=np.int64)
        session.add_share(federation.sites[name].share(session.open_message, vector, spec=spec))
    masked = federation.sites[SITE].mask(session.forward()[SITE])
    body = framing.decode(masked, kind=Kind.MASKED, max_body_bytes=1 << 30).body
    words = np.frombuffer(body, dtype=spec.dtype).copy()
    if not own_mask:
        key = derivation.self_mask_key(drawn[0], session=bytes.fromhex(session._sid), site=SITE)
        masking.apply_masks(words, subtract=[key])
    return words


@pytest.mark.parametrize("own_mask", [True, False], ids=["as sent", "own mask removed"])
@pytest.mark.parametrize("bits", [16, 32, 64])
def test_masked_zeros_and_masked_maxima_cannot_be_told_apart(tmp_path, bits, own_mask):
    samples = {}
    for name, value in (("zeros", 0), ("maxima", 1), ("minima", -1)):
        words = masked_words(tmp_path / name, value, bits=bits, own_mask=own_mask)
        samples[name] = words
        counts = np.bincount(words.view(np.uint8), minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-5
        unit = words / 2.0**bits
        assert stats.kstest(unit, "uniform").pvalue > 1e-5
        # Neighbours say nothing of each other.
        assert abs(np.corrcoef(unit[:-1], unit[1:])[0, 1]) < 5 / np.sqrt(LENGTH)
    # The masks are the same for all three (randomness is fixed), and yet: two samples, one law.
    for other in ("maxima", "minima"):
        unlike = stats.ks_2samp(samples["zeros"] / 2.0**bits, samples[other] / 2.0**bits)
        assert unlike.pvalue > 1e-5


def test_the_tests_above_would_notice_a_vector_that_is_not_masked(tmp_path):
    words = masked_words(tmp_path, 1, bits=32)
    words[: LENGTH // 10] = 2**31 // 5
    assert stats.chisquare(np.bincount(words.view(np.uint8), minlength=256)).pvalue < 1e-5
    assert stats.kstest(words / 2.0**32, "uniform").pvalue < 1e-5


def test_masks_of_different_sessions_have_nothing_in_common(tmp_path):
    federation = Federation(tmp_path, 4)
    federation.join()
    spec = spec_of(length=LENGTH)
    sent = []
    for number in range(2):
        session = federation.open(spec, number)
        for name in federation.names:
            vector = np.zeros(LENGTH, dtype=np.int64)
            session.add_share(federation.sites[name].share(session.open_message, vector, spec=spec))
        body = framing.decode(
            federation.sites[SITE].mask(session.forward()[SITE]),
            kind=Kind.MASKED,
            max_body_bytes=1 << 30,
        ).body
        sent.append(np.frombuffer(body, dtype="<u4"))
    difference = sent[0] - sent[1]
    assert stats.kstest(difference / 2.0**32, "uniform").pvalue > 1e-5
    assert abs(np.corrcoef(sent[0], sent[1])[0, 1]) < 5 / np.sqrt(LENGTH)
