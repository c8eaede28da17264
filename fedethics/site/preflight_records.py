"""Preflight: can the records be read with the charter's schema, and is the agreed model here?"""

from __future__ import annotations

from collections.abc import Iterator

from fedethics.charter import document
from fedethics.charter.data_terms import DataTerms
from fedethics.commands import suggested
from fedethics.data.records import Split, group_counts
from fedethics.errors import DataError, ModelError
from fedethics.privacy.ledger import read_book
from fedethics.site.finding import Finding, fail, ok, warn
from fedethics.site.home import SiteHome
from fedethics.site.records import site_records
from fedethics.site.under_way import refused_since, runs_under_way
from fedethics.training.locate import locate_model


def records(home: SiteHome) -> Iterator[Finding]:
    """Read the records as a run would. Counts are for the terminal only."""
    if not home.charter_path.exists():
        yield warn("records", "not checked: no charter yet", fix="join first")
        return
    charter = document.load(home.charter_path)
    try:
        found = site_records(home.data_path, charter)
    except DataError as error:
        yield fail(
            "records", str(error), fix=f"mend {home.data_path}, or `data` in {home.path}/site.toml"
        )
        return
    sizes = (
        f"{len(found.train.texts)} for training, {len(found.held_out.texts)} held out, "
        f"{sum(found.train.dropped.values())} left out"
    )
    yield ok("records", f"{home.data_path} reads with the charter's schema", local=sizes)
    yield _groups(found, charter.data)
    yield from _kept(home)


def under_way(home: SiteHome) -> Iterator[Finding]:
    """Look whether each run that was charged here can go on with the records as they are."""
    for each in runs_under_way(home, read_book(home.ledger_path)):
        if each.same_records:
            yield ok("run", f"{each.run} is under way, on the records that it began with")
            continue
        yield fail(
            "run",
            f"{each.run} began with other records than {home.data_path} holds now; its next round "
            "is refused, before anything is charged",
            fix="put the file back as it was when the run began; or tell the coordinator that this "
            "run cannot end, and that a new one is needed",
        )


def _kept(home: SiteHome) -> Iterator[Finding]:
    since = refused_since(home)
    if since:
        yield fail(
            "answer",
            f"on {since} the records did not go with the charter, and this site keeps to that "
            "answer: another one after they changed would tell the coordinator of the change",
            fix="once nothing else is to mend: "
            + suggested("site", "reconsider", "--home", home.path),
        )


def model(home: SiteHome) -> Iterator[Finding]:
    """Hash the base model's weights and compare with the charter."""
    if not home.charter_path.exists():
        yield warn("model", "not checked: no charter yet", fix="join first")
        return
    terms = document.load(home.charter_path).model
    try:
        locate_model(terms, model_dir=home.model_dir)
    except ModelError as error:
        yield fail(
            "model", str(error), fix=f"install it, or set model-dir in {home.path}/site.toml"
        )
    else:
        yield ok("model", f"{terms.name} is here, with the agreed hash {terms.sha256[:16]}")


def _groups(found: Split, terms: DataTerms) -> Finding:
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
    return Finding(
        check="groups",
        state="warn",
        found=f"{len(empty)} declared group(s) have no record in a part",
        fix="say so in the charter's discussion: nothing can be said about a group that is absent "
        "everywhere",
        local="\n".join([*lines, "absent: " + ", ".join(empty)]),
    )
