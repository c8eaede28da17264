"""A finished round whose masked vectors were kept, for tests of slices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from tests.secagg.disturbances import signed
from tests.secagg.federation import MODEL, Federation, random_vectors, run_round, spec_of

LEAF_WORDS = framing.LEAF_BYTES // 4
SPEC = spec_of(2 * LEAF_WORDS + 100)  # three leaves, the last one short


class Summed:
    """A finished round whose masked vectors were kept; `site-01` dropped after sharing."""

    def __init__(self, folder, spec=SPEC, *, lie_at=None, drops=None, **terms):
        self.spec, self.folder = spec, folder
        self.federation = Federation(folder / "sites", 6, **terms)
        self.federation.join()
        self.drops = {"masked": ["site-01"]} if drops is None else drops
        self.session = self.federation.coordinator.open(
            spec=spec,
            round_number=0,
            model_hash=MODEL,
            cohort=self.federation.names,
            keep=folder / "kept",
        )
        self.vectors = random_vectors(self.federation.names, spec)
        self.sid = framing.decode(
            self._play(lie_at), kind=Kind.RESULT, max_body_bytes=1 << 30
        ).header["session"]

    def _play(self, lie_at):
        if lie_at is None:
            opened, _ = run_round(
                self.federation, self.session, self.vectors, self.spec, drops=self.drops
            )
            return opened.message
        honest = self.session.result

        def lying_result():
            opened = honest()
            total = framing.decode(opened.message, kind=Kind.RESULT, max_body_bytes=1 << 30).body
            words = np.frombuffer(total, dtype=self.spec.dtype).copy()
            words[lie_at] += 1
            forged = signed(self.federation, opened.message, Kind.RESULT, body=words.tobytes())
            self.session._opened = replace(opened, message=forged)
            return self.session._opened

        self.session.result = lying_result
        opened, _ = run_round(
            self.federation, self.session, self.vectors, self.spec, drops=self.drops
        )
        return opened.message

    @property
    def checkers(self):
        return [name for name in self.federation.names if name != "site-01"]

    def request(self, name, random_leaves=0):
        return self.federation.restarted(name).slice_request(self.sid, random_leaves=random_leaves)

    def verify(self, name, answer=None):
        answer = self.session.slice(self.request(name)) if answer is None else answer
        return self.federation.restarted(name).verify_slice(answer)

    def leaves(self, name):
        request = framing.decode(self.request(name), kind=Kind.SLICE_REQUEST, max_body_bytes=0)
        return request.header["leaves"]


def bump(data, position):
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
