"""The stage of a rehearsal: throw-away homes, this site's real handler, and stand-ins.

A home of this site has its settings and policy, fresh keys and an empty ledger. Nothing made here
can be used outside of it: the roster of its charter, the coordinator's key and this site's own are
drawn for this rehearsal, so that no real member of the federation accepts a message of it.

A stand-in speaks the whole protocol and has no records: its vector is zero. So the opened sum must
be this site's own vector, bit for bit, which proves masking and opening on the way.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fedethics import charter_sums, terms
from fedethics.canonical import Json, sha256_hex
from fedethics.charter import document
from fedethics.charter.model import Charter, Member
from fedethics.coordinator.exchange import WORK
from fedethics.enrolment import files
from fedethics.errors import FedethicsError
from fedethics.identity import Identity
from fedethics.policy.model import ANY, Officers, Policy, load_policy
from fedethics.privacy.ledger import Ledger
from fedethics.protocol import Action, Reply, Request
from fedethics.secagg import SiteSecagg, SiteStore, SumSpec, framing
from fedethics.secagg.framing import Kind
from fedethics.site.handler import SiteHandler
from fedethics.site.home import SiteHome
from fedethics.site.journal import Journal, Question
from fedethics.site.request_context import audience_of

# Above this many members, the minimum cohort takes part: stand-ins take time too.
_MOST_MEMBERS = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """Where a rehearsal takes place.

    Attributes:
        folder: what is deleted afterwards.
        home: the throw-away home of this site.
        charter: the real charter, with a roster of throw-away keys.
        site: this site's name.
        peers: keys of the stand-ins for the other sites.
    """

    folder: Path
    home: Path
    charter: Charter
    site: str
    peers: Mapping[str, Identity]

    @property
    def coordinator(self) -> Path:
        """Home of the throw-away coordinator."""
        return self.folder / "coordinator"


def build_stage(real: SiteHome, folder: Path) -> Stage:
    """Make the homes in `folder`, which the caller removes."""
    # Of a search, one run with the charter's own settings stands for all: they differ in settings.
    charter = dataclasses.replace(document.load(real.charter_path), tuning=None)
    site = real.settings.site
    own, coordinator = Identity.generate(), Identity.generate()
    members = _members(charter, site)
    peers = {member.site: Identity.generate() for member in members if member.site != site}
    roster = [
        dataclasses.replace(member, public_key=(peers.get(member.site) or own).public_key)
        for member in members
    ]
    played = document.enrol(charter, coordinator_key=coordinator.public_key, roster=roster)
    (folder / "coordinator").mkdir(mode=0o700)
    coordinator.save(folder / "coordinator" / "identity.key")
    files.create(folder / "coordinator" / "charter.json", document.encode(played))
    home = folder / "home"
    home.mkdir(mode=0o700)
    own.save(home / "identity.key")
    Ledger.open(home / "ledger.db", identity=own, create=True)
    SiteStore(home / "secagg.db")
    files.create(home / "charter.json", document.encode(played))
    files.create(home / "policy.toml", _policy_text(load_policy(real.policy_path)).encode())
    settings: dict[str, Json] = {"site": site, "data": real.data.said}
    if real.model_dir is not None:
        settings["model-dir"] = str(real.model_dir.resolve())
    if real.start_dir is not None:
        settings["start-dir"] = str(real.start_dir.resolve())
    if real.scorer_dirs:
        dirs = (f"{name}={path.resolve()}" for name, path in real.scorer_dirs.items())
        settings["scorer-dirs"] = [*dirs]
    files.create(home / "site.toml", terms.toml_text(settings).encode())
    return Stage(folder=folder, home=home, charter=played, site=site, peers=peers)


def _members(charter: Charter, site: str) -> tuple[Member, ...]:
    if len(charter.roster) <= _MOST_MEMBERS:
        return charter.roster
    own = [member for member in charter.roster if member.site == site]
    others = [member for member in charter.roster if member.site != site]
    return (*own, *others[: charter.secagg.minimum_cohort - 1])


def _policy_text(policy: Policy) -> str:
    """Return the policy without what binds it to one charter and to signatures."""
    allow = dataclasses.replace(policy.allow, charters=(ANY,), require_signed_charter=False)
    played = dataclasses.replace(policy, allow=allow, officers=Officers())
    table = terms.document(played)
    return terms.toml_text(table) if isinstance(table, dict) else ""


@dataclass
class OwnSite:
    """This site, through the handler that answers real requests.

    Attributes:
        home: its throw-away home.
        handler: what answers.
        vectors: aggregate and round -> SHA-256 of the vector that this site put into that sum.
        failure: why the last request was refused, in this site's own words.
        work_s: seconds in which it trained and measured since the last `lap`.
        relay_s: seconds that it took over everything else since the last `lap`.
    """

    home: Path
    handler: SiteHandler
    vectors: dict[tuple[str, int], str] = field(default_factory=dict)
    failure: FedethicsError | None = None
    work_s: float = 0.0
    relay_s: float = 0.0

    def answer(self, request: Request) -> Reply:
        """Answer one request as the node would, and count the time.

        Raises:
            FedethicsError: this site refuses.
        """
        begun = time.perf_counter()
        try:
            reply = self.handler.handle(request)
        except FedethicsError as error:
            self.failure = error
            raise  # not as a refusal: nobody is to go on without this site
        spent_s = time.perf_counter() - begun
        if request.action in WORK:
            self.work_s += spent_s
            self._note_vector(request)
        else:
            self.relay_s += spent_s
        return reply

    def lap(self) -> tuple[float, float]:
        """Return `work_s` and `relay_s`, and begin again at zero."""
        spent = self.work_s, self.relay_s
        self.work_s = self.relay_s = 0.0
        return spent

    def _note_vector(self, request: Request) -> None:
        # Sensitive: this site's answer with its own share of the noise only; its hash is kept.
        opening = framing.decode(request.payloads["open"], kind=Kind.OPEN, max_body_bytes=0).header
        name, number = str(opening["task"]), int(opening["round"])
        question = Question(
            charter_hash=request.charter_hash, run=request.run, aggregate=name, round_number=number
        )
        journal, model = Journal(self.home / "journal.db"), str(opening["model_hash"])
        # Under distributed trust an answer is drawn for the others of its cohort.
        for audience in ("", audience_of(opening["cohort"])):
            vector = journal.find(question, model_hash=model, audience=audience)
            if vector is not None:
                self.vectors[name, number] = sha256_hex(vector.astype("<i8").tobytes())


class StandIn:
    """A site without records, which puts zeros into every sum."""

    def __init__(
        self, secagg: SiteSecagg, specs: Mapping[str, SumSpec], *, checks_slices: bool
    ) -> None:
        self._secagg, self._specs, self._checks_slices = secagg, dict(specs), checks_slices
        self._answers: dict[Action, Callable[[Mapping[str, bytes]], dict[str, bytes]]] = {
            Action.ANNOUNCE: lambda told: {
                "announcement": secagg.announce(epoch=told["epoch"].decode("utf-8"))
            },
            Action.JOIN: lambda told: {"acknowledgement": secagg.join(told["roster"])},
            Action.COMPLETE: self._complete,
            Action.TRAIN: self._zeros,
            Action.EVALUATE: self._zeros,
            Action.FORWARD: lambda told: {"masked": secagg.mask(told["forward"])},
            Action.SURVIVORS: lambda told: {"confirm": secagg.confirm(told["survivors"])},
            Action.PROOF: lambda told: {"reveal": secagg.reveal(told["proof"])},
            Action.RESULT: self._finish,
            Action.SLICE: self._verify,
        }

    def answer(self, request: Request) -> Reply:
        """Answer one request; empty, where a real site would report on its records."""
        known = self._answers.get(request.action)
        return Reply(payloads=known(request.payloads) if known else {})

    def _complete(self, told: Mapping[str, bytes]) -> dict[str, bytes]:
        self._secagg.complete(told["joined"])
        return {}

    def _zeros(self, told: Mapping[str, bytes]) -> dict[str, bytes]:
        opening = self._secagg.check_open(told["open"], specs=self._specs)
        spec = self._specs[opening.aggregate]
        zeros = np.zeros(spec.length, dtype=np.int64)
        return {"share": self._secagg.share(told["open"], zeros, spec=spec)}

    def _finish(self, told: Mapping[str, bytes]) -> dict[str, bytes]:
        session = self._secagg.finish(told["result"]).session_id
        if self._checks_slices:
            return {"slice-request": self._secagg.slice_request(session)}
        return {"checked": self._secagg.checked(session)}

    def _verify(self, told: Mapping[str, bytes]) -> dict[str, bytes]:
        session = self._secagg.session_of_slice(told["slice"])
        self._secagg.verify_slice(told["slice"])
        return {"checked": self._secagg.checked(session)}


def stand_ins(stage: Stage, specs: Mapping[str, SumSpec]) -> dict[str, StandIn]:
    """Return the stand-ins for all other sites, by name."""
    charter_hash = document.hash_of(stage.charter)
    agreed = charter_sums.secagg_terms(stage.charter, charter_hash=charter_hash)
    return {
        name: StandIn(
            SiteSecagg(
                site=name,
                identity=identity,
                terms=agreed,
                store=SiteStore(stage.folder / name / "secagg.db"),
            ),
            specs,
            checks_slices=stage.charter.secagg.verify_slices,
        )
        for name, identity in stage.peers.items()
    }
