"""Which records of a site a window of monitoring reads, and what the permit must know of them.

Guarantee: a window is read only once it is over and its labels have had their time, by this site's
own clock, and by one run only: reading it again would cost its records a second time. Whether the
records of one window are enough says nothing lasting of the next one's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date

from fedethics.aggregates.monitoring import MONITORING, terms_of, window_number, window_run
from fedethics.charter.model import Charter
from fedethics.charter.monitoring_terms import MonitoringTerms
from fedethics.data.file_terms import DataFile
from fedethics.data.personal_terms import PersonalTerms
from fedethics.data.window import Window, read_window
from fedethics.errors import CharterError, PolicyError, PolicyRefusal, RecordsRefusal
from fedethics.policy.model import load_policy
from fedethics.policy.permit import DataFacts
from fedethics.privacy.ledger import Charge, DataSet, read_book
from fedethics.privacy.ledger.ledger import utc_now
from fedethics.site.home import SiteHome, charter_of
from fedethics.site.records import facts_or_refusal, reading_records


def watched_records(
    file: DataFile | None,
    charter: Charter,
    *,
    run: str,
    today: date,
    read_in: Collection[str] = (),
) -> Window:
    """Return the records of the window that a run is of.

    Args:
        file: the site's file of new records.
        charter: with `[monitoring]`.
        run: its name tells the window.
        today: by this site's clock, in UTC.
        read_in: the runs that were charged here under this charter.

    Raises:
        PolicyRefusal: the name tells no window, the window is not over, or another run read it.
        RecordsRefusal: no file, unreadable, not as the charter says, or too few records.
    """
    terms = terms_of(charter)
    number = _readable(charter, run=run, today=today, read_in=read_in)
    begins, ends = terms.window(number)
    if file is None:
        raise RecordsRefusal(['site.toml names no file of new records: monitored = "FILE"'])
    with reading_records():
        window = read_window(
            file,
            charter.data,
            task=charter.model.task,
            time=terms.time,
            begins=begins,
            ends=ends,
            missing=terms.missing,
        )
    usable = len(window.labelled) + len(window.unlabelled)
    if usable < terms.minimum_records:
        raise RecordsRefusal(
            [
                f"window {number} ({begins} to before {ends}) has {usable} usable records, below "
                f"monitoring.minimum-records {terms.minimum_records}"
                if usable
                else f"window {number} ({begins} to before {ends}) has no usable record"
            ]
        )
    return window


def _readable(charter: Charter, *, run: str, today: date, read_in: Collection[str]) -> int:
    """Return the window that a run is of, if it may be read now."""
    terms, number = terms_of(charter), window_number(run)
    if number is None or number > terms.windows:
        raise PolicyRefusal(
            [f"run {run!r} names no window of the charter; expected NAME-w0001 to {terms.windows}"]
        )
    begins, ends = terms.window(number)
    if today < terms.readable_from(number):
        raise PolicyRefusal(
            [
                f"window {number} is {begins} to before {ends} and may be read from "
                f"{terms.readable_from(number)}; this site's clock says {today}"
            ]
        )
    others = [one for one in read_in if one != run and window_number(one) == number]
    if others:
        raise PolicyRefusal(
            [f"window {number} was read in run {others[0]}; another run would charge it again"]
        )
    return number


def window_facts(window: Window, run: str, *, earlier: Collection[str] = ()) -> DataFacts:
    """Return what the permit must know of a window; it stays at the site.

    Its rows are an account of their own, by their content, whatever else the file holds. Nothing is
    trained on them, so the account of training is the same one and is charged nothing. What was
    read before of the same units counts here whatever the policy says of other files.

    Args:
        window: its records.
        run: that reads it.
        earlier: files of the windows that may hold the same units; see `earlier_files`.
    """
    kin = sorted(set(earlier) - {window.fingerprint})
    account = DataSet(
        fingerprint=window.fingerprint,
        label=f"window of {run}",
        follows=tuple(kin),
        unit=window.unit,
    )
    return DataFacts(
        train=account,
        held_out=account,
        train_records=window.units,
        held_out_records=window.units,
    )


def personal_now(home: SiteHome) -> PersonalTerms | None:
    """Return what the policy says of personal data, for what only shows how the site stands.

    A run takes it from the policy that it checked. A policy that cannot be read is a finding of its
    own, under which no run begins.
    """
    try:
        return load_policy(home.policy_path, at_site=False).personal
    except PolicyError:
        return None


def earlier_files(
    home: SiteHome, charter: Charter, run: str, charges: Iterable[Charge]
) -> set[str]:
    """Return the files of windows that may hold units of the window of `run`.

    Of all charters that watched here: the rows of one day may be read again under a charter's next
    version, with labels that came later, and so under another fingerprint. A person may be in every
    window. A record is in the windows of its day alone; a window whose days are not known, since
    its charter is not kept or names another column of days, counts as one of these days.

    Args:
        home: the site's, with the charters it had.
        charter: the one in force.
        run: the window's.
        charges: of the ledger, all that were not released.
    """
    watched = [one for one in charges if one.kind == MONITORING.name]
    number = window_number(run)
    if charter.data.person or number is None:
        return {one.data_set.file for one in watched}
    terms = terms_of(charter)
    begins, ends = terms.window(number)
    found, known = set[str](), dict[str, MonitoringTerms | None]()
    for one in watched:
        if one.charter_hash not in known:
            known[one.charter_hash] = _kept_terms(home, one.charter_hash)
        earlier, other = known[one.charter_hash], window_number(one.run)
        if earlier is not None and earlier.time == terms.time and other is not None:
            first, after = earlier.window(other)
            if after <= begins or ends <= first:
                continue
        found.add(one.data_set.file)
    return found


def _kept_terms(home: SiteHome, charter_hash: str) -> MonitoringTerms | None:
    try:
        return charter_of(home, charter_hash).monitoring
    except CharterError:
        return None


def facts_now(home: SiteHome, charter: Charter, run: str = "") -> DataFacts | RecordsRefusal:
    """Return what the permit must know of the records that a run would read now, or why it cannot.

    Args:
        home: the site's.
        charter: the one in force.
        run: of monitoring: one that was begun; empty for the newest window that may be read.
    """
    if charter.monitoring is None:
        return facts_or_refusal(home.data.under(personal_now(home)), charter)
    try:
        own = run or _newest(charter)
        charges = read_book(home.ledger_path).counted() if home.ledger_path.exists() else ()
        earlier = earlier_files(home, charter, own, charges)
        return window_facts(window_now(home, charter, run), own, earlier=earlier)
    except RecordsRefusal as refusal:
        return refusal
    except PolicyRefusal as refusal:
        return RecordsRefusal(refusal.reasons)


def window_now(home: SiteHome, charter: Charter, run: str = "") -> Window:
    """Return the window of a run, or the newest one that may be read by this machine's clock.

    Raises:
        PolicyRefusal: no window is over.
        RecordsRefusal: its records cannot be read, or are too few.
    """
    today = utc_now().date()
    file = home.monitored
    if file is not None:
        file = file.under(personal_now(home))
    return watched_records(file, charter, run=run or _newest(charter), today=today)


def _newest(charter: Charter) -> str:
    """Return a name for a run of the newest window that may be read by this machine's clock."""
    return window_run("check", max(terms_of(charter).newest(utc_now().date()), 1))


def window_notes(window: Window) -> dict[str, int]:
    """Return what the site's own log says of a window: counts, for the site's eyes only."""
    return {
        "rows": window.rows,
        "without_label": window.rows_without_label,
        "left_out": window.left_out,
        **({"with_personal_data": window.personal} if window.personal else {}),
    }
