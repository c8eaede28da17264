"""A server that may send anything it can sign, and a judge of what it has learned.

`LyingServer` holds the coordinator's key and records every byte that passes. `Knowledge` takes
that transcript and works out, by linear algebra over all masked vectors of all sessions, which
combinations of the sites' vectors the server can compute. Masks count as known as soon as the
revealed shares reach the threshold; everything else that the server could do would need to break
HKDF, AES or X25519.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from itertools import combinations

import numpy as np

from fedethics import canonical
from fedethics.secagg import framing, rules
from fedethics.secagg.framing import Kind
from fedethics.secagg.graph import Graph
from tests.secagg.federation import Federation


class LyingServer:
    def __init__(self, federation: Federation) -> None:
        self.federation = federation
        self.told: list[bytes] = []
        self.heard: list[bytes] = []

    def ask(self, name: str, action: str, message: bytes, **arguments):
        """Send `message` to a site's method, and remember both sides of the exchange."""
        self.told.append(message)
        reply = getattr(self.federation.sites[name], action)(message, **arguments)
        if isinstance(reply, bytes):
            self.heard.append(reply)
        return reply

    def forge(self, message: bytes, *, kind: Kind, body: bytes | None = None, **changes) -> bytes:
        """Change fields or the body of a message and sign it again as the coordinator."""
        frame = framing.decode(message, kind=kind, max_body_bytes=1 << 30)
        header = {**frame.header, **changes}
        return framing.encode(
            kind,
            header,
            bytes(frame.body) if body is None else body,
            identity=self.federation.key,
        )

    def shared(self, session, spec, vectors) -> dict[str, bytes]:
        """Let every site of `vectors` share; return FORWARD for each."""
        for name, vector in vectors.items():
            session.add_share(
                self.ask(name, "share", session.open_message, vector=vector, spec=spec)
            )
        return session.forward()

    def masked(self, session, spec, vectors) -> dict[str, bytes]:
        """Let every site of `vectors` share and mask; return SURVIVORS for each."""
        forward = self.shared(session, spec, vectors)
        for name in vectors:
            session.add_masked(self.ask(name, "mask", forward[name]))
        return session.survivors()

    def confirmed(self, session, spec, vectors) -> dict[str, bytes]:
        """Let every site share, mask and confirm; return PROOF for each."""
        survivors = self.masked(session, spec, vectors)
        for name in vectors:
            session.add_confirm(self.ask(name, "confirm", survivors[name]))
        return session.proof()

    def survivors_without(self, survivors: bytes, gone: str) -> bytes:
        """The same SURVIVORS message with one site left out."""
        header = framing.decode(survivors, kind=Kind.SURVIVORS, max_body_bytes=0).header
        kept = [k for k, name in enumerate(header["survivors"]) if name != gone]
        return self.forge(
            survivors,
            kind=Kind.SURVIVORS,
            survivors=[header["survivors"][k] for k in kept],
            roots=[header["roots"][k] for k in kept],
        )

    def knowledge(self, *, static: bool = False, graph: Graph | None = None) -> Knowledge:
        return Knowledge(self, static=static, graph=graph)


class Knowledge:
    """What the server can compute from everything it sent and received.

    Args:
        server: whose transcript to judge.
        static: whether a site's vector of a task is the same in every round, as counts over
            unchanged data nearly are. (A restart of a round always counts as the same vector.)
        graph: who shares masks and holds shares, if not everyone.
    """

    def __init__(
        self, server: LyingServer, *, static: bool = False, graph: Graph | None = None
    ) -> None:
        self._static = static
        self._graph = graph
        self._opens: dict[str, dict] = {}
        self._shared: dict[str, list[str]] = {}
        self._views: dict[str, tuple[list[str], list[str]]] = {}
        self._masked: list[tuple[str, str, str]] = []
        self._holders: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        for message in server.told:
            self._read_told(message)
        for message in dict.fromkeys(server.heard):
            self._read_heard(message)

    def known_secrets(self) -> set[tuple[str, str, str]]:
        """(session, owner, "seed" or "key") whose shares reached the threshold."""
        return {
            secret
            for secret, holders in self._holders.items()
            if len(holders) >= self._opens[secret[0]]["threshold"]
        }

    def computable(self) -> np.ndarray:
        """Rows spanning every combination of vectors that the server can compute."""
        known = self.known_secrets()
        masks: dict[tuple, int] = {}
        columns: dict[tuple, int] = {}
        equations = []
        for session, site, shared_hash in self._masked:
            terms = {self._vector(session, site): 1}
            if (session, site, "seed") not in known:
                terms["seed", session, site] = 1
            for peer in self._shared[shared_hash]:
                keys = {(session, site, "key"), (session, peer, "key")}
                joined = self._graph is None or peer in self._graph.peers(site)
                if peer != site and joined and not keys & known:
                    terms["pair", session, *sorted((site, peer))] = 1 if peer > site else -1
            equations.append(terms)
            for term in terms:
                table = columns if term[0] == "vector" else masks
                table.setdefault(term, len(table))
        self.columns = columns
        mask_part = np.zeros((len(equations), len(masks) or 1))
        vector_part = np.zeros((len(equations), len(columns) or 1))
        for row, terms in enumerate(equations):
            for term, sign in terms.items():
                if term[0] == "vector":
                    vector_part[row, columns[term]] = sign
                else:
                    mask_part[row, masks[term]] = sign
        return _left_null_space(mask_part) @ vector_part

    def smallest_exposed_group(self, *, colluders: Collection[str] = ()) -> int:
        """The fewest vectors in any non-zero combination that the server can compute; 0: none.

        With `colluders`, whose vectors the server knows: the fewest of the other sites' vectors.
        """
        rows = self.computable()
        rows = rows[:, [k for term, k in self.columns.items() if term[-1] not in colluders]]
        rank = np.linalg.matrix_rank(rows) if rows.size else 0
        if rank == 0:
            return 0
        unit = np.eye(rows.shape[1])
        for size in range(1, rows.shape[1] + 1):
            for group in combinations(range(rows.shape[1]), size):
                joint = np.linalg.matrix_rank(np.vstack([rows, unit[list(group)]]))
                if rank + size - joint > 0:
                    return size
        raise AssertionError("a space of rank above 0 has a non-zero vector")

    def both_kinds_known(self) -> set[tuple[str, str]]:
        """(session, site) whose seed and blob key are both known: I1 says there are none."""
        known = self.known_secrets()
        return {(s, site) for s, site, use in known if (s, site, "key") in known and use == "seed"}

    def _vector(self, session: str, site: str) -> tuple:
        header = self._opens[session]
        when = () if self._static else (header["round"],)
        return ("vector", header["run"], header["task"], *when, site)

    def _read_told(self, message: bytes) -> None:
        kind, header = _header(message)
        if kind is Kind.OPEN:
            self._opens[canonical.sha256_hex(message)] = header
        elif kind is Kind.FORWARD:
            digest = rules.shared_hash(header["session"], header["shared"])
            self._shared[digest] = header["shared"]
        elif kind is Kind.SURVIVORS and header["shared_hash"] in self._shared:
            shared = self._shared[header["shared_hash"]]
            view = rules.view_hash(
                header["session"],
                shared=shared,
                survivors=header["survivors"],
                roots=header["roots"],
            )
            self._views[view] = (shared, header["survivors"])

    def _read_heard(self, message: bytes) -> None:
        kind, header = _header(message)
        if kind is Kind.MASKED:
            self._masked.append((header["session"], header["sender"], header["shared_hash"]))
        elif kind is Kind.REVEAL:
            shared, survivors = self._views[header["view"]]
            for site in shared:
                if self._graph and header["sender"] not in self._graph.holders(site):
                    continue
                use = "seed" if site in survivors else "key"
                self._holders[header["session"], site, use].add(header["sender"])

    def give_share(self, session: str, owner: str, use: str, holder: str) -> None:
        """Add a share that a colluding site hands over."""
        self._holders[session, owner, use].add(holder)


def _header(message: bytes) -> tuple[Kind, dict]:
    kind = Kind(message[4])
    return kind, dict(framing.decode(message, kind=kind, max_body_bytes=1 << 30).header)


def _left_null_space(matrix: np.ndarray) -> np.ndarray:
    left, singular, _ = np.linalg.svd(matrix, full_matrices=True)
    rank = int(np.sum(singular > 1e-9))
    return left[:, rank:].T
