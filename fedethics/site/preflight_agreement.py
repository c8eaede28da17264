"""Preflight: policy, charter and signatures, and whether the budget allows a run of the charter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.charter.signing import standing
from fedethics.commands import join_again, suggested
from fedethics.enrolment.papers import read_accepted
from fedethics.errors import FedethicsError, PolicyRefusal
from fedethics.identity import fingerprint
from fedethics.policy.model import load_policy, read_policy
from fedethics.policy.permit import Permit, permit
from fedethics.policy.signatures import missing_signatures
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import Event
from fedethics.privacy.ledger import Cap, DataSet, Ledger, read_book
from fedethics.privacy.plan import make_plan
from fedethics.site.finding import Finding, fail, ok, warn
from fedethics.site.home import SiteHome
from fedethics.site.records import facts_or_refusal
from fedethics.site.under_way import runs_under_way


def policy(home: SiteHome) -> Iterator[Finding]:
    """Read the policy as the site would, officers' signatures included."""
    try:
        read = read_policy(home.policy_path)
        pinned = read_book(home.ledger_path).officers
        missing = missing_signatures(
            read.path,
            content=read.content,
            officers=pinned.public_keys if pinned else (),
            required=pinned.required_signatures if pinned else 0,
        )
    except FedethicsError as error:
        yield fail("policy", str(error), fix=suggested("policy", "check", home.policy_path))
        return
    if missing and pinned and pinned.required_signatures:
        yield fail(
            "policy",
            "the officers whom the ledger has pinned did not sign this policy",
            fix=missing[0],
        )
    else:
        yield ok("policy", f"{home.policy_path} is valid")


def charter(home: SiteHome) -> Iterator[Finding]:
    """Check that the charter is the one that was joined, and who signed it."""
    if not home.charter_path.exists():
        yield fail(
            "charter",
            "this site has not joined a federation",
            fix=join_again(home.path),
        )
        return
    agreed = document.load(home.charter_path)
    named = f"{agreed.name} version {agreed.charter.version} ({document.hash_of(agreed)[:16]})"
    yield _joined(home, agreed, named)
    signed = standing(agreed, home.charter_signatures())
    if signed.complete:
        yield ok("signatures", f"all {len(signed.valid)} whom the charter names have signed")
    else:
        absent = ", ".join(signer.label for signer in signed.missing)
        yield warn(
            "signatures",
            " ".join([f"not signed by {absent}." if absent else "", *signed.void]).strip(),
            fix=suggested("charter", "sign", home.charter_path, "--site-home", home.path)
            + "; then collect the others' with: "
            + suggested("charter", "collect", home.charter_path, "SIGNATURE"),
        )


def permission(home: SiteHome) -> Iterator[Finding]:
    """Ask policy, ledger and records for a run, or for what is left of one; charge nothing."""
    if not home.charter_path.exists():
        yield warn("budget", "not checked: no charter yet", fix="join first")
        return
    agreed = document.load(home.charter_path)
    plan, unit = make_plan(agreed), agreed.privacy.unit
    try:
        granted = permit_now(home)
    except PolicyRefusal as refusal:
        # Some reasons name numbers of records, so they are for the terminal.
        yield Finding(
            check="budget",
            state="fail",
            found=f"this site would refuse the run, for {len(refusal.reasons)} reason(s)",
            fix="ask the privacy officer to change policy.toml, or the federation its charter",
            local="\n".join(refusal.reasons),
        )
        return
    for what, account, events, cap in (
        ("training", granted.data.train, plan.training_events, granted.train_cap),
        ("held-out", granted.data.held_out, plan.evaluation_events, granted.held_out_cap),
    ):
        yield ok(f"budget, {what}", _outlook(home, account, events, cap, unit))


def permit_now(home: SiteHome) -> Permit:
    """Return the permit that a run of the charter would get now; charge nothing.

    Raises:
        PolicyRefusal: with every reason.
        CharterError, PolicyError, LedgerError, LedgerTampered: what cannot be read.
    """
    agreed = document.load(home.charter_path)
    # What a run that is under way was charged already is part of what it asks for.
    under_way = runs_under_way(home, read_book(home.ledger_path))
    return permit(
        agreed,
        site=home.settings.site,
        policy=load_policy(home.policy_path),
        plan=make_plan(agreed),
        ledger=Ledger.open(home.ledger_path, identity=home.identity()),
        data=facts_or_refusal(home.data_path, agreed),
        fixed_noise=bool(home.settings.test_noise_seed),
        run=under_way[0].run if len(under_way) == 1 else "",
        signatures=home.charter_signatures(),
    )


def _joined(home: SiteHome, agreed: Charter, named: str) -> Finding:
    again = join_again(home.path)
    path = home.path / "invitation"
    if not path.exists():
        return warn("charter", f"{named}; no invitation is kept here", fix=again)
    try:
        accepted = read_accepted(path.read_bytes())
    except FedethicsError as error:
        return fail("charter", str(error), fix=again)
    if accepted.agreement != agreed:
        return fail(
            "charter",
            f"{home.charter_path} is not the charter of the invitation that was accepted",
            fix=f"find out who changed it; then {again}",
        )
    coordinator = fingerprint(agreed.coordinator_key)
    return ok("charter", f"{named}, by the coordinator with fingerprint {coordinator}")


def _outlook(home: SiteHome, account: DataSet, events: Sequence[Event], cap: Cap, unit: str) -> str:
    book = read_book(home.ledger_path)
    past = [event for charge in book.counted(account) for event in charge.events]
    now, after = (epsilon(each, delta=cap.delta) for each in (past, [*past, *events]))
    return (
        f"epsilon {now:.3g} of {cap.epsilon:g} spent; this run brings it to {after:.3g} "
        f"(delta {cap.delta:g}, one {unit}, add-or-remove-one)"
    )
