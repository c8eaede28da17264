"""May this run take place here? Asked of the site's own policy, ledger and records.

Guarantee: a permit's caps are the policy's, to the last digit; nothing in a charter or a message
can raise them. A refusal lists every reason at once. Which of the two refusals it is follows from
`PUBLIC_RULES` alone wherever one of them refuses: they read no record and no account, so what a
coordinator sees of the others is one bit, whichever of them refuses and however many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from fedethics.aggregates.noise import Account
from fedethics.aggregates.registry import AGGREGATES
from fedethics.charter.document import hash_of
from fedethics.charter.model import Charter
from fedethics.charter.phases import agreed_of
from fedethics.charter.signing import CharterSignature
from fedethics.errors import PolicyRefusal, RecordsRefusal
from fedethics.policy.granted import DataFacts, Permit, linked
from fedethics.policy.model import ANY, Policy
from fedethics.policy.signatures import signature_reasons
from fedethics.privacy.ledger import Ledger
from fedethics.privacy.plan import PrivacyPlan, make_plan
from fedethics.privacy.search import follows, is_search, runs_of

__all__ = [
    "PUBLIC_RULES",
    "RECORD_RULES",
    "DataFacts",
    "Permit",
    "permit",
    "refusals_before_joining",
]


@dataclass(frozen=True, slots=True)
class _Request:
    charter: Charter
    site: str
    policy: Policy
    plan: PrivacyPlan
    ledger: Ledger
    data: DataFacts | RecordsRefusal
    fixed_noise: bool
    run: str
    signatures: Sequence[CharterSignature]


def permit(
    charter: Charter,
    *,
    site: str,
    policy: Policy,
    plan: PrivacyPlan,
    ledger: Ledger,
    data: DataFacts | RecordsRefusal,
    fixed_noise: bool = False,
    run: str = "",
    signatures: Sequence[CharterSignature] = (),
) -> Permit:
    """Return a permit for the whole run, or refuse with every reason.

    Args:
        charter: what is asked.
        site: this site's name on the roster.
        policy: what this site allows.
        plan: the plan that this site computed from the charter.
        ledger: what was spent here before.
        data: the site's records, or why they cannot be read as the charter says.
        fixed_noise: the site is set to draw its noise from a seed, for tests.
        run: when asking again in the middle of a run, its id: what it was charged already is then
            part of its plan and not counted twice. Each round is still charged by the ledger.
        signatures: over the charter, as the site keeps them next to it.

    Raises:
        PolicyRefusal: every reason, each naming the key and both values; one of them at least
            reads no record.
        RecordsRefusal: every reason, and all of them read the records or their accounts.
    """
    if policy.allow.changed_data == "link" and isinstance(data, DataFacts):
        data = linked(data, ledger.data_sets())
    request = _Request(charter, site, policy, plan, ledger, data, fixed_noise, run, signatures)
    public = [reason for rule in PUBLIC_RULES for reason in rule(request)]
    # Asked in any case: the log gets every reason, and no answer comes sooner than another.
    of_records = [reason for rule in RECORD_RULES for reason in rule(request)]
    if public:
        raise PolicyRefusal([*public, *of_records])
    if isinstance(data, RecordsRefusal):
        raise RecordsRefusal(of_records, lasting=data.lasting)
    if of_records:
        raise RecordsRefusal(of_records, lasting=_lasting(request))
    return Permit(
        charter_hash=plan.charter_hash,
        site=site,
        data=data,
        train_cap=policy.cap(with_dp=plan.private(Account.TRAINING)),
        held_out_cap=policy.cap(with_dp=plan.private(Account.EVALUATION)),
    )


def _lasting(request: _Request) -> bool:
    # The next window has other records, and is another question.
    return request.charter.monitoring is None and any(_people(request))


def refusals_before_joining(
    charter: Charter,
    *,
    site: str,
    policy: Policy,
    plan: PrivacyPlan,
    ledger: Ledger,
    data: DataFacts | None,
) -> tuple[str, ...]:
    """Return the reasons against joining, except signatures, which follow, and absent records."""
    rules = [rule for rule in PUBLIC_RULES if rule is not _signed]
    facts: DataFacts | RecordsRefusal = RecordsRefusal([])
    if data:
        rules += RECORD_RULES
        facts = linked(data, ledger.data_sets()) if policy.allow.changed_data == "link" else data
    request = _Request(charter, site, policy, plan, ledger, facts, False, "", ())
    return tuple(reason for rule in rules for reason in rule(request))


def _agreed(request: _Request) -> Iterator[str]:
    agreed, own = request.policy.allow.charters, hash_of(request.charter)
    actual = hash_of(agreed_of(request.charter))
    if request.plan.charter_hash != own:
        yield f"the plan is of charter {request.plan.charter_hash[:12]}, not of {own[:12]}"
    if ANY not in agreed and actual not in agreed:
        yield (
            f"allow.charters does not list {actual}; read the charter with "
            "`fedethics charter show` and add its hash to agree to it"
        )


def _phase(request: _Request) -> Iterator[str]:
    """Hold a run of a search to its charter and name, by which the ledger shows what it was."""
    phase = request.charter.tuning.phase if request.charter.tuning else None
    if phase is None:
        if is_search(request.charter) and request.run:
            yield "tuning: the charter is of a search; only its trials and its final run can be run"
        return
    if not follows(request.charter):
        yield f"the charter of {phase} does not follow from the one that was agreed"
    if request.run and not request.run.endswith(f"-{phase}"):
        yield f"run {request.run!r}: a run of {phase} has a name that ends with -{phase}"
    elif request.run:
        yield from _once(request, phase)


def _once(request: _Request, phase: str) -> Iterator[str]:
    """Refuse a phase that was charged for already, a second final run, and a second search."""
    search = request.run.removesuffix(f"-{phase}")
    for one in runs_of(agreed_of(request.charter)):
        ran = one.tuning.phase if one.tuning else None
        final = one.tuning is not None and one.tuning.is_final
        for earlier in request.ledger.runs_under(hash_of(one)):
            if earlier == request.run:
                continue
            if ran == phase or (final and phase.startswith("final-")):
                yield (
                    f"run {request.run!r}: {ran} of this search was run as {earlier!r}; another "
                    "run would be paid for beyond what was agreed"
                )
            elif earlier != f"{search}-{ran}":
                yield f"run {request.run!r}: this charter's search was begun with run {earlier!r}"


def _of_the_search(request: _Request) -> Iterator[str]:
    """Ask the public rules of every run of a search: none is paid for that could not be finished.

    The budget is asked run by run: the plan keeps the whole search within the charter's epsilon.
    """
    agreed = agreed_of(request.charter)
    if not is_search(agreed):
        return
    told = {reason for rule in _OF_A_RUN for reason in rule(request)}
    for one in runs_of(agreed):
        if one == request.charter or one.tuning is None:
            continue
        other = replace(request, charter=one, plan=make_plan(one))
        for reason in (reason for rule in _OF_A_RUN for reason in rule(other)):
            if reason not in told:
                told.add(reason)
                yield f"{one.tuning.phase} of the search: {reason}"


def _enrolled(request: _Request) -> Iterator[str]:
    member = request.charter.member(request.site)
    if not request.charter.roster:
        yield "the charter is a draft: its roster is empty, so it cannot be run"
    elif member is None:
        yield f"{request.site!r} is not on the charter's roster"
    elif member.public_key != request.ledger.head.public_key:
        yield (
            f"the roster names {request.site!r} by key {member.public_key[:12]}, but this site "
            f"signs with {request.ledger.head.public_key[:12]}"
        )


def _signed(request: _Request) -> Iterator[str]:
    if request.policy.allow.require_signed_charter:
        yield from signature_reasons(request.charter, request.signatures)


def _terms(request: _Request) -> Iterator[str]:
    allow, privacy = request.policy.allow, request.charter.privacy
    if privacy.unit not in allow.units:
        yield f"privacy.unit {privacy.unit!r} is not in allow.units {list(allow.units)}"
    for name, mode, modes in (
        ("training", privacy.training.trust_mode, allow.training_trust_modes),
        ("evaluation", privacy.evaluation.trust_mode, allow.evaluation_trust_modes),
    ):
        if mode not in modes:
            yield (
                f"privacy.{name}.trust-mode {mode!r} is not in allow.{name}-trust-modes "
                f"{list(modes)}"
            )
    cap = request.policy.caps.delta
    if privacy.delta > cap:
        yield f"privacy.delta {privacy.delta:g} is above this site's caps.delta {cap:g}"


def _releases(request: _Request) -> Iterator[str]:
    asked = [
        word
        for each in AGGREGATES.values()
        if each.name in request.plan.sums
        for word in each.permissions(request.charter)
    ]
    for kind in asked:
        if kind not in request.policy.allow.releases:
            yield f"the charter asks for {kind!r} releases, which allow.releases does not list"


def _mechanisms(request: _Request) -> Iterator[str]:
    if request.fixed_noise and not request.policy.allow.fixed_noise:
        yield (
            "this site is set to fixed noise, which gives no protection; allow.fixed-noise is "
            "false. Remove test-noise-seed from site.toml"
        )
    floor = request.policy.minimum.noise_multiplier
    single = (one for plan in request.plan.sums.values() for one in plan.mechanisms())
    for name, event in single:
        multiplier = event.multiplier
        if multiplier is None:
            if not request.policy.allow.without_dp:
                yield f"{name} has no differential privacy, and allow.without-dp is false"
        elif multiplier < floor:
            yield (
                f"{name} would have noise multiplier {multiplier:.4g}, below "
                f"minimum.noise-multiplier {floor:g}"
            )


def _cohort(request: _Request) -> Iterator[str]:
    floor, secagg = request.policy.minimum, request.charter.secagg
    asked = secagg.minimum_cohort
    if asked < floor.cohort:
        yield f"secagg.minimum-cohort {asked} is below this site's minimum.cohort {floor.cohort}"
    honest = secagg.fewest_honest(len(request.charter.roster) or asked, whole_roster=False)
    if honest < floor.honest_sites:
        yield (
            f"secagg.minimum-cohort {asked} less secagg.colluders {secagg.colluders} leaves "
            f"{honest} honest sites in the worst sum of mode {secagg.mode!r}, below this site's "
            f"minimum.honest-sites {floor.honest_sites}"
        )


def _readable(request: _Request) -> Iterator[str]:
    if isinstance(request.data, RecordsRefusal):
        yield from request.data.reasons


def _began(request: _Request) -> Iterator[str]:
    """Hold a run to the records that it began with: a round on others would be another job's."""
    data = request.data
    if isinstance(data, RecordsRefusal) or not request.run:
        return
    if not request.ledger.files_of(request.run) <= {data.train.file, data.held_out.file}:
        yield (
            f"run {request.run} began with other records than the data file holds now, and a run "
            "continues only with those with which it began. Put the file back as it was, and the "
            "run continues; or ask the coordinator to start a new run with the new file"
        )


def _people(request: _Request) -> Iterator[str]:
    """Yield what speaks against these people's records themselves, whatever was spent on them."""
    yield from _records(request)
    yield from _same_people(request)


def _records(request: _Request) -> Iterator[str]:
    data, floor = request.data, request.policy.minimum.records
    if isinstance(data, RecordsRefusal):
        return
    caps, asked = request.policy.caps, request.charter.privacy.delta
    for name, records in (("training", data.train_records), ("held-out", data.held_out_records)):
        if records < floor:
            yield f"{name} has {records} records, below minimum.records {floor}"
        for key, delta in (("privacy.delta", asked), ("caps.delta", caps.delta)):
            if records < 1 or delta >= 1 / records:
                yield (
                    f"{key} {delta:g} is not below 1/records of {name} ({records} records): at "
                    "such a delta a record may be published in full"
                )


def _same_people(request: _Request) -> Iterator[str]:
    data = request.data
    if isinstance(data, RecordsRefusal):
        return
    cut = {data.train.fingerprint, data.held_out.fingerprint}
    known = [account for account in request.ledger.data_sets() if account.fingerprint not in cut]
    if any(account.source and account.source == data.train.source for account in known):
        yield (
            "these records were split into training and held-out differently before; another "
            "split would give the same people a second budget. Keep the earlier data.split-salt "
            "and data.holdout-fraction"
        )
    elif known and request.policy.allow.changed_data == "refuse":
        yield (
            "the data file is not the one that the ledger has accounts for, and "
            'allow.changed-data is "refuse". Restore the file, or let the privacy officer link it '
            "to the earlier ones"
        )


def _budget(request: _Request) -> Iterator[str]:
    plan, policy, data = request.plan, request.policy, request.data
    if isinstance(data, RecordsRefusal):
        return
    for name, account, events, private in (
        ("training", data.train, plan.training.events, plan.private(Account.TRAINING)),
        ("evaluation", data.held_out, plan.evaluation.events, plan.private(Account.EVALUATION)),
    ):
        if not private and not policy.allow.without_dp:
            continue  # refused for that; its infinite epsilon would only repeat it
        overruns = request.ledger.overruns(
            account, run=request.run, events=events, cap=policy.cap(with_dp=private)
        )
        for overrun in overruns:
            yield f"{name} on {account.label!r}: {overrun}"


Rule = Callable[[_Request], Iterator[str]]
_OF_A_RUN: tuple[Rule, ...] = (_terms, _releases, _mechanisms, _cohort)
PUBLIC_RULES: tuple[Rule, ...] = (
    _agreed,
    _phase,
    _enrolled,
    _signed,
    _terms,
    _releases,
    _mechanisms,
    _cohort,
    _of_the_search,
)
# The budget is among them: which account it is asked of follows from the records.
RECORD_RULES: tuple[Rule, ...] = (_readable, _began, _people, _budget)
