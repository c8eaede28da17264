"""What one request needs of a site: charter, plan, permit, ledger, secure aggregation, records."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedethics import canonical, charter_sums, terms
from fedethics.aggregates.noise import Account
from fedethics.aggregates.registry import aggregate
from fedethics.aggregates.schedule import sum_specs
from fedethics.canonical import Json, sha256_hex
from fedethics.charter.classifier_terms import ClassifierTerms
from fedethics.charter.document import hash_of
from fedethics.charter.model import Charter
from fedethics.charter.phases import agreed_of
from fedethics.data.facts import reading_notes
from fedethics.data.window import Window
from fedethics.errors import RecordsRefusal, SecaggAbort, SumRefuted, SumUntold
from fedethics.identity import Identity
from fedethics.installation import packages
from fedethics.policy.model import Policy, read_policy, require_pinned_officers
from fedethics.policy.permit import DataFacts, Permit, permit
from fedethics.privacy.events import NonPrivate
from fedethics.privacy.ledger import Ledger, Reservation
from fedethics.privacy.ledger.ledger import utc_now
from fedethics.privacy.noise import NoiseSource
from fedethics.privacy.plan import PrivacyPlan, make_plan
from fedethics.scorers.folder import locate
from fedethics.secagg import Opening, Result, SiteSecagg, SiteStore, SumSpec
from fedethics.site.home import SiteHome
from fedethics.site.journal import Journal, Question
from fedethics.site.records import kept_refusal, reading_records
from fedethics.site.runs import sums_seen
from fedethics.site.watched import earlier_files, watched_records, window_facts, window_notes
from fedethics.site.workbench import Workbench, learner_for, open_workbench
from fedethics.training.learner import Learner
from fedethics.training.local_terms import LocalTerms


def audience_of(cohort: Iterable[str]) -> str:
    """Name the sites whose noise an answer rests on besides its own."""
    return sha256_hex("\x00".join(sorted(cohort)).encode("utf-8"))


@lru_cache(maxsize=1)  # a process computes with what it has loaded
def _versions() -> tuple[tuple[str, str], ...]:
    return tuple((each.name, each.found) for each in packages())


@dataclass(frozen=True)
class RequestContext:
    """Everything is read from the site's own files when first needed, and nothing from the wire."""

    home: SiteHome
    charter: Charter
    charter_hash: str
    identity: Identity
    secagg: SiteSecagg

    @classmethod
    def open(cls, home: SiteHome, charter_hash: str, store: SiteStore) -> RequestContext:
        """Open the site's files for one request under the charter of `charter_hash`."""
        charter = home.charter(charter_hash)
        identity = home.identity()
        secagg = SiteSecagg(
            site=home.settings.site,
            identity=identity,
            terms=charter_sums.secagg_terms(charter, charter_hash=charter_hash),
            store=store,
        )
        return cls(home, charter, charter_hash, identity, secagg)

    @property
    def agreed_hash(self) -> str:
        """Hash of the charter that was signed: one answer about the records for a whole search."""
        return hash_of(agreed_of(self.charter))

    @property
    def site(self) -> str:
        """The site's name on the roster."""
        return self.home.settings.site

    @cached_property
    def plan(self) -> PrivacyPlan:
        """The privacy plan that this site computes from the charter by itself."""
        return make_plan(self.charter)

    @cached_property
    def policy(self) -> Policy:
        """What this site allows; absent or unreadable means that it refuses."""
        read = read_policy(self.home.policy_path)
        require_pinned_officers(read, self.ledger)
        return read.policy

    @cached_property
    def learner(self) -> Learner:
        """The charter's model; whether it is here says nothing of the records."""
        return learner_for(
            self.charter,
            self.home.model_dir,
            self.policy.compute,
            start_dir=self.home.start_dir,
        )

    @cached_property
    def classifiers(self) -> Mapping[ClassifierTerms, Path]:
        """Folder of each text classifier that the charter pins; none is told of the records.

        Raises:
            ModelError: one is not here, or is another one.
        """
        measures = self.charter.measures
        pinned = (measures.generation.classifiers if measures else None) or ()
        return {one: locate(one, self.home.scorer_dirs) for one in pinned}

    @cached_property
    def workbench(self) -> Workbench:
        """The site's records and learner; raises RecordsRefusal where the records cannot be read.

        The model is loaded first: the answer that it is missing must be the same, whatever the
        records hold.
        """
        model, member = self.learner, self.charter.member(self.site)
        _ = self.classifiers
        with reading_records():
            return open_workbench(
                self.charter,
                data=self.home.data.under(self.policy.personal),
                model_dir=self.home.model_dir,
                start_dir=self.home.start_dir,
                compute=model.compute,
                declared=member.declared_records if member else 0,
            )

    def watched(self, run: str) -> Window:
        """Return the records of the window that a run is of; nothing is charged.

        Raises:
            PolicyRefusal: the run's name tells no window of the charter, the window is not over, or
                another run read it here.
            RecordsRefusal: no file is named, or its records of the window cannot be read or are
                too few.
        """
        _ = self.learner  # first, as for the workbench
        file = self.home.monitored
        return watched_records(
            None if file is None else file.under(self.policy.personal),
            self.charter,
            run=run,
            today=utc_now().date(),
            read_in=self.ledger.runs_under(self.charter_hash),
        )

    @cached_property
    def specs(self) -> dict[str, SumSpec]:
        """The sums that the charter allows."""
        length = self.learner.size
        return sum_specs(self.charter, vector_length=length)

    @cached_property
    def ledger(self) -> Ledger:
        """The site's ledger, verified on opening; never made here: losing it is no reset."""
        return Ledger.open(self.home.path / "ledger.db", identity=self.identity)

    @property
    def basis(self) -> str:
        """Name what a self-test is of: how this site computes, and with which packages.

        Where one of them changes in a run, an earlier test says nothing of what follows.
        """
        versions: dict[str, Json] = dict(_versions())
        compute = terms.document(self.policy.compute)
        return sha256_hex(canonical.encode({"compute": compute, "packages": versions}))

    @property
    def journal(self) -> Journal:
        """What this site remembers of its runs."""
        return Journal(self.home.path / "journal.db")

    def question(self, asked: Opening | Result) -> Question:
        """Name the round of an aggregate that an opening asks for or a result answers."""
        return Question(
            charter_hash=self.charter_hash,
            run=asked.run,
            aggregate=asked.aggregate,
            round_number=asked.round_number,
        )

    def audience(self, opening: Opening) -> str:
        """Name the sites whose noise an answer to `opening` rests on; empty for its own alone.

        Count sums over the whole roster or nothing have one audience anyway.
        """
        kind, privacy = aggregate(opening.aggregate), self.charter.privacy
        modes = {privacy.training.trust_mode}
        if kind.whole_roster:
            if kind.fewest(self.charter) == len(self.charter.roster):
                return ""
            modes.add(privacy.evaluation.trust_mode)
        if "distributed" not in modes:
            return ""
        return audience_of(opening.cohort)

    def reading_notes(self, run: str) -> dict[str, int]:
        """Return what the site's own log says of the records that a run reads."""
        if self.charter.monitoring is not None:
            return window_notes(self.watched(run))
        return reading_notes(self.workbench.records)

    @property
    def fixed_noise(self) -> bool:
        """Whether this site draws its noise from a seed, for tests: then nothing is private."""
        return bool(self.home.settings.test_noise_seed)

    def permit(self, run: str) -> Permit:
        """Ask the site's policy, ledger and records for the whole of a run.

        Whether the records fit the charter is decided once, before the first charge of a run, and
        kept: another answer after the records changed would be another bit of them.

        Raises:
            PolicyRefusal: with every reason; RecordsRefusal where all of them read the records.
        """
        begun = bool(self.ledger.files_of(run))
        since = "" if begun else self.journal.refused_since(charter_hash=self.agreed_hash)
        try:
            return permit(
                self.charter,
                site=self.site,
                policy=self.policy,
                plan=self.plan,
                ledger=self.ledger,
                data=kept_refusal(since) if since else self._facts(run),
                fixed_noise=self.fixed_noise,
                run=run,
                signatures=self.home.charter_signatures(),
            )
        except RecordsRefusal as refusal:
            if refusal.lasting and not begun:
                now = datetime.now(UTC).isoformat(timespec="seconds")
                self.journal.keep_refusal(charter_hash=self.agreed_hash, since=now)
            raise

    def _facts(self, run: str) -> DataFacts | RecordsRefusal:
        try:
            if self.charter.monitoring is not None:
                earlier = earlier_files(self.home, self.charter, run, self.ledger.charges())
                return window_facts(self.watched(run), run, earlier=earlier)
            return self.workbench.facts()
        except RecordsRefusal as refusal:
            return refusal

    def require_settled_sums(self, run: str) -> None:
        """Refuse a run while a sum that this site helped to open is unknown, unproven or false.

        Otherwise a coordinator could withhold one sum from a site and still let it take part in the
        next.

        Raises:
            SumRefuted: a sum did not pass this site's check. Nothing was computed.
            SumUntold: a sum was not told yet, or its check has not ended. Nothing was computed; the
                same opening is answered once the sum was told and checked.
        """
        self.require_no_refuted_sum(run)
        told = self.journal.sums(charter_hash=self.charter_hash, run=run)
        open_ends = []
        for seen in self.secagg.opened_rounds(run):
            here = told.get((seen.aggregate, seen.round_number))
            checks = self.charter.secagg.verify_slices and self.site in seen.survivors
            if here is None or (checks and here.check != "passed"):
                open_ends.append(f"{seen.aggregate} of round {seen.round_number}")
        if open_ends:
            raise SumUntold(
                f"run {run}: this site helped to open the sum of {', '.join(open_ends)} but has "
                "not received it, or not checked it. It helps to open no other sum before that. "
                "Nothing was computed. The coordinator sends it again by itself; if this message "
                "keeps coming back, ask the coordinator's operator"
            )

    def require_no_refuted_sum(self, run: str) -> None:
        """Refuse a run of which a sum did not pass this site's check.

        Raises:
            SumRefuted: names the sums. Nothing was computed.
        """
        told = self.journal.sums(charter_hash=self.charter_hash, run=run)
        false = [
            f"{name} of round {number}"
            for (name, number), here in told.items()
            if here.check == "failed"
        ]
        if false:
            raise SumRefuted(
                f"run {run}: the sum of {', '.join(false)} did not pass this site's check, so "
                "it answers no further round. Nothing was computed. The coordinator's signed "
                "proof of it is kept (log.jsonl, secagg.db): show it to the other members"
            )

    def require_model(self, model_hash: str, adapter: NDArray[np.float32]) -> None:
        """Refuse an adapter other than the one that every site was promised in OPEN."""
        if self.learner.model_hash(adapter) != model_hash:
            raise SecaggAbort(
                "the adapter received is not the one named in the opening; another model for one "
                "site could single out its records. Nothing was computed"
            )

    def adapter_sha256(self, opening: Opening, adapter: NDArray[np.float32]) -> str:
        """Name the file that counts are about, for the gate; empty where updates are asked for."""
        if aggregate(opening.aggregate).trains:
            return ""
        return sha256_hex(self.learner.adapter_bytes(adapter))

    def reserve(self, granted: Permit, opening: Opening) -> tuple[Reservation, ...]:
        """Charge the ledger for the work that `opening` asks for, durably, before it is done.

        A kind may be charged to both accounts: trained units first, then held-out ones. If the
        second is refused, the first stays charged: nothing that may have been used is given back.
        """
        accounts = aggregate(opening.aggregate).accounts
        return tuple(self._charge(granted, opening, account) for account in accounts)

    def _charge(self, granted: Permit, opening: Opening, account: Account) -> Reservation:
        events = self.plan.charge(opening.aggregate, account)
        # All that a run asks of an account: a run begins only where it can end.
        whole_run = self.plan.account(account).events
        data_set, cap = granted.account(account)
        if self.fixed_noise:
            whole_run = ()
            # Whoever knows the seed can subtract the noise, so the books must not call it private.
            events = (NonPrivate("noise fixed by test-noise-seed"),)
            cap = dataclasses.replace(cap, epsilon=math.inf, per_run=None, per_year=None)
        return self.ledger.reserve(
            data_set=data_set,
            run=opening.run,
            round_number=opening.round_number,
            kind=opening.aggregate,
            events=events,
            charter_hash=self.charter_hash,
            cap=cap,
            whole_run=whole_run,
        )

    def noise(self, opening: Opening) -> NoiseSource:
        """Return fresh noise from the operating system, or test noise if the site is set so."""
        seed = self.home.settings.test_noise_seed
        if not seed:
            return NoiseSource.from_os()
        source = NoiseSource.fixed(f"{seed}/{self.site}".encode())
        return source.derive(f"{opening.run}/{opening.aggregate}/{opening.round_number}")

    def local_terms(self, round_number: int) -> LocalTerms:
        """Return the terms of local training in a round, counted from 1."""
        member = self.charter.member(self.site)
        return LocalTerms.of(
            self.charter,
            noise_multiplier=self.plan.update.noise_multiplier or 0.0,
            declared_records=member.declared_records if member else 0,
            round_number=round_number,
        )

    def receipt(self, run: str) -> bytes:
        """Return the signed receipt of what this run spent here, as canonical bytes."""
        passed = self.journal.self_test_passed(charter_hash=self.charter_hash, run=run)
        told = self.journal.sums(charter_hash=self.charter_hash, run=run)
        return self.ledger.receipt(
            site=self.site,
            run=run,
            charter=self.charter,
            self_test_passed=passed,
            fixed_noise=self.fixed_noise,
            sums=sums_seen(self.secagg.opened_rounds(run), told),
        )
