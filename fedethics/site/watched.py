"""Which records of a site a window of monitoring reads, and what the permit must know of them.

Guarantee: a window is read only once it is over and its labels have had their time, by this site's
own clock, and by one run only: reading it again would cost its records a second time. Whether the
records of one window are enough says nothing lasting of the next one's.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from fedethics.aggregates.monitoring import terms_of, window_number, window_run
from fedethics.charter.model import Charter
from fedethics.data.file_terms import DataFile
from fedethics.data.personal_terms import PersonalTerms
from fedethics.data.window import Window, read_window
from fedethics.errors import PolicyError, PolicyRefusal, RecordsRefusal
from fedethics.policy.model import load_policy
from fedethics.policy.permit import DataFacts
from fedethics.privacy.ledger import DataSet
from fedethics.privacy.ledger.ledger import utc_now
from fedethics.site.home import SiteHome
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
    trained on them, so the account of training is the same one and is charged nothing. A person may
    be in every window, so where the unit is the person, earlier windows count here whatever the
    policy says of other files.

    Args:
        window: its records.
        run: that reads it.
        earlier: files of the windows that were charged under this charter.
    """
    kin = sorted(set(earlier) - {window.fingerprint}) if window.unit == "person" else []
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
        return window_facts(window_now(home, charter, run), run)
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
    newest = window_run("check", max(terms_of(charter).newest(today), 1))
    file = home.monitored
    if file is not None:
        file = file.under(personal_now(home))
    return watched_records(file, charter, run=run or newest, today=today)


def window_notes(window: Window) -> dict[str, int]:
    """Return what the site's own log says of a window: counts, for the site's eyes only."""
    return {
        "rows": window.rows,
        "without_label": window.rows_without_label,
        "left_out": window.left_out,
        **({"with_personal_data": window.personal} if window.personal else {}),
    }
