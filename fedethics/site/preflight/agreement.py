"""Preflight: policy, charter, signatures and budget; can the records be read; is the model here?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fedethics.charter import document
from fedethics.charter.classifier_terms import ClassifierTerms
from fedethics.charter.data_terms import DataTerms
from fedethics.charter.model import Charter
from fedethics.charter.signing import standing
from fedethics.commands import join_again, suggested
from fedethics.data.personal_terms import found_in
from fedethics.data.records import Split, group_counts
from fedethics.enrolment.papers import read_accepted
from fedethics.errors import DataError, FedethicsError, ModelError, PolicyRefusal
from fedethics.identity import fingerprint
from fedethics.policy.model import load_policy, read_policy
from fedethics.policy.permit import Permit, permit
from fedethics.policy.signatures import missing_signatures
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import Event
from fedethics.privacy.ledger import Cap, DataSet, Ledger, read_book
from fedethics.privacy.plan import make_plan
from fedethics.scorers.folder import locate
from fedethics.site.home import SiteHome
from fedethics.site.preflight.check_result import CheckResult, fail, ok, warn
from fedethics.site.records import site_records
from fedethics.site.runs import refused_since, runs_under_way
from fedethics.site.watched import facts_now, personal_now, window_now
from fedethics.site.withdrawn import withdrawn_here
from fedethics.training.locate import locate_model, locate_start
from fedethics.training.preview import try_charter_template


def policy(home: SiteHome) -> Iterator[CheckResult]:
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


def charter(home: SiteHome) -> Iterator[CheckResult]:
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


def permission(home: SiteHome) -> Iterator[CheckResult]:
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
        yield CheckResult(
            check="budget",
            state="fail",
            found=f"this site would refuse the run, for {len(refusal.reasons)} reason(s)",
            fix="ask the privacy officer to change policy.toml, or the federation its charter",
            local="\n".join(refusal.reasons),
        )
        return
    for what, account, events, cap in (
        ("training", granted.data.train, plan.training.events, granted.train_cap),
        ("held-out", granted.data.held_out, plan.evaluation.events, granted.held_out_cap),
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
        data=facts_now(home, agreed, under_way[0].run if len(under_way) == 1 else ""),
        fixed_noise=bool(home.settings.test_noise_seed),
        run=under_way[0].run if len(under_way) == 1 else "",
        signatures=home.charter_signatures(),
    )


def _joined(home: SiteHome, agreed: Charter, named: str) -> CheckResult:
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


def records(home: SiteHome) -> Iterator[CheckResult]:
    """Read the records as a run would. Counts are for the terminal only."""
    if not home.charter_path.exists():
        yield warn("records", "not checked: no charter yet", fix="join first")
        return
    charter = document.load(home.charter_path)
    if charter.monitoring is not None:
        yield _watched(home, charter)
        yield from _kept(home)
        return
    try:
        found = site_records(home.data.under(personal_now(home)), charter)
    except DataError as error:
        yield fail(
            "records", str(error), fix=f"mend {home.data_path}, or `data` in {home.path}/site.toml"
        )
        return
    sizes = (
        f"{len(found.train.texts)} for training, {len(found.held_out.texts)} held out, "
        f"{sum(found.train.dropped.values())} left out"
        f"{_personal(home, found.train.personal)}"
    )
    yield ok("records", f"{home.data_path} reads with the charter's schema", local=sizes)
    yield _groups(found, charter.data)
    yield from _kept(home)


def _watched(home: SiteHome, charter: Charter) -> CheckResult:
    try:
        window = window_now(home, charter)
    except PolicyRefusal as refusal:
        return CheckResult(
            check="records",
            state="fail",
            found="the newest window could not be read",
            fix=f"mend the file that `monitored` of {home.path}/site.toml names, or wait",
            local="\n".join(refusal.reasons),
        )
    sizes = (
        f"{window.rows} rows, of which {window.rows_without_label} have no label yet and "
        f"{window.left_out} are left out{_personal(home, window.personal)}"
    )
    return ok("records", "the newest window reads with the charter's schema", local=sizes)


def _personal(home: SiteHome, count: int) -> str:
    """Say in how many records the policy's kinds of personal data were found; for the terminal."""
    personal = personal_now(home)
    return "" if personal is None else f"; {found_in(count, personal)}"


def under_way(home: SiteHome) -> Iterator[CheckResult]:
    """Look whether each run that was charged here can go on with the records as they are."""
    for each in runs_under_way(home, read_book(home.ledger_path)):
        if each.same_records:
            yield ok("run", f"{each.run} is running, with the records with which it began")
            continue
        yield fail(
            "run",
            f"{each.run} began with other records than {home.data_path} holds now; its next round "
            "will be refused before anything is charged",
            fix="put the file back as it was when the run began; or tell the coordinator that this "
            "run cannot end and a new one is needed",
        )


def _kept(home: SiteHome) -> Iterator[CheckResult]:
    since = refused_since(home)
    if since:
        yield fail(
            "answer",
            f"on {since} the records did not fit the charter, and this site keeps that answer: "
            "another answer after they changed would tell the coordinator of the change",
            fix="when everything else is mended: "
            + suggested("site", "reconsider", "--home", home.path),
        )


def model(home: SiteHome) -> Iterator[CheckResult]:
    """Hash the base model's weights and compare with the charter."""
    if not home.charter_path.exists():
        yield warn("model", "not checked: no charter yet", fix="join first")
        return
    charter = document.load(home.charter_path)
    terms = charter.model
    try:
        locate_model(terms, model_dir=home.model_dir)
        try_charter_template(charter)
    except ModelError as error:
        yield fail(
            "model", str(error), fix=f"install it, or set model-dir in {home.path}/site.toml"
        )
    else:
        yield ok("model", f"{terms.name} is here, with the agreed hash {terms.sha256[:16]}")
    if charter.adapter.from_:
        yield from _start(home, charter)
    for note in withdrawn_here(home):
        told = f"release {note.manifest_sha256[:16]} is withdrawn: {note.sentence}"
        yield warn("withdrawn", told, fix="stop using every copy of it; serve answers 410 there")
    for pinned in (charter.measures and charter.measures.generation.classifiers) or ():
        yield _scorer(home, pinned)


def _scorer(home: SiteHome, pinned: ClassifierTerms) -> CheckResult:
    named = f"{pinned.name}/{pinned.version}"
    try:
        folder = locate(pinned, home.scorer_dirs)
    except ModelError as error:
        return fail(
            "scorer",
            str(error),
            fix=f"put the agreed folder on this machine, and set scorer-dirs in "
            f"{home.path}/site.toml",
        )
    return ok("scorer", f"{named} is in {folder}, with the agreed hash {pinned.sha256[:16]}")


def _start(home: SiteHome, charter: Charter) -> Iterator[CheckResult]:
    try:
        folder = locate_start(charter, home.start_dir)
    except FedethicsError as error:
        yield fail(
            "start",
            str(error),
            fix=f"put the release on this machine, and set start-dir in {home.path}/site.toml",
        )
    else:
        yield ok("start", f"the released adapter that training starts from is in {folder}")


def _groups(found: Split, terms: DataTerms) -> CheckResult:
    lines, empty = [], []
    for part, records_of in (("training", found.train), ("held-out", found.held_out)):
        for feature, counts in group_counts(records_of, terms).items():
            lines.append(
                f"{part}, {feature}: " + ", ".join(f"{group} {n}" for group, n in counts.items())
            )
            empty += [f"{feature}={group} ({part})" for group, n in counts.items() if n == 0]
    if not empty:
        return ok(
            "groups", "every declared group has records in both parts", local="\n".join(lines)
        )
    return CheckResult(
        check="groups",
        state="warn",
        found=f"{len(empty)} declared group(s) have no record in a part",
        fix="say so in the charter's discussion: no figure is possible for a group that is absent "
        "everywhere",
        local="\n".join([*lines, "absent: " + ", ".join(empty)]),
    )
