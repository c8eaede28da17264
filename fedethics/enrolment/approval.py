"""Approve requests: put sites on the roster, and write the charter that follows and its invitation.

Approving the same requests again changes nothing. A changed roster is a new charter, with the next
version number, and every site joins again: whose sums a site takes part in is part of what it
agrees to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedethics.charter import document
from fedethics.charter.model import Charter, Member
from fedethics.commands import suggested
from fedethics.enrolment import files, homes
from fedethics.enrolment.leaving import Notice, read_notice
from fedethics.enrolment.papers import SiteRequest, read_request
from fedethics.errors import EnrolmentError, EnrolmentForged
from fedethics.identity import Identity
from fedethics.site.home import archive_charter


@dataclass(frozen=True, kw_only=True, slots=True)
class Enrolment:
    """The roster after an approval.

    Attributes:
        members: every approved request, by name.
        charter: the charter with this roster; None while there are fewer sites than the minimum
            cohort.
        changed: the charter is another than before, so that sites must join again.
        missing: sites that are still needed.
    """

    members: tuple[SiteRequest, ...]
    charter: Charter | None
    changed: bool
    missing: int


def approve(home: Path, papers: Sequence[bytes], *, replace: bool = False) -> Enrolment:
    """Put the makers of these requests on the roster.

    Args:
        home: the coordinator's home.
        papers: request files; none rebuilds charter and invitation from what was approved.
        replace: a site may come with another key than it was approved with.

    Raises:
        EnrolmentError, EnrolmentForged: a request does not hold, a name or key occurs twice, or a
            site comes with another key; nothing was written.
    """
    before = {site: data for site, (data, _) in homes.approved(home).items()}
    after = dict(before)
    for data in papers:
        request = read_request(data)
        _check_successor(request, before.get(request.site), replace=replace)
        after[request.site] = data
    members = [read_request(data) for data in after.values()]
    _check_apart(members)
    draft, charter = _charter(home, members)
    for site in after.keys() - before.keys() | {s for s in before if before[s] != after[s]}:
        _write_member(home, after[site])
    return _write_roster(home, members, draft, charter)


def remove(home: Path, paper: bytes) -> Enrolment:
    """Take the site that signed a notice of leaving off the roster.

    Raises:
        EnrolmentError, EnrolmentForged: not a notice, not by a site of the roster, or made before
            the site was put on it; nothing was changed.
    """
    notice, key = read_notice(paper)
    members = {site: request for site, (_, request) in homes.approved(home).items()}
    if notice.site not in members:
        return _finish_removal(home, notice.site, key, list(members.values()))
    if members[notice.site].public_key != key:
        raise EnrolmentForged(
            f"the notice of {notice.site!r} is signed by {key[:16]}, not by the key of the roster; "
            "nothing was changed"
        )
    _check_present(home, notice, members[notice.site])
    left = [request for site, request in members.items() if site != notice.site]
    draft, charter = _charter(home, left)
    homes.take_off(home, notice.site)
    return _write_roster(home, left, draft, charter)


def _finish_removal(home: Path, site: str, key: str, members: Sequence[SiteRequest]) -> Enrolment:
    """Write the charter that follows, where an earlier removal was cut off after the roster."""
    current = homes.current_charter(home)
    named = current.member(site) if current is not None else None
    if named is None or named.public_key != key:
        again = suggested("federation", "approve", "--home", home)
        raise EnrolmentError(
            f"{site!r} is not on the roster; nothing was changed. To write the invitation of the "
            f"current roster again: {again}"
        )
    draft, charter = _charter(home, members)
    return _write_roster(home, members, draft, charter)


def _check_present(home: Path, notice: Notice, member: SiteRequest) -> None:
    """Refuse a notice of an earlier membership: anyone who kept it could send it again.

    The charter that it withdraws from need not be the newest: a site that does not agree to the
    newest leaves the one that it joined.
    """
    again = f"nothing was changed. If {notice.site!r} means to leave, ask it for a new notice"
    if notice.made < member.made:
        raise EnrolmentError(
            f"the notice of {notice.site!r} was made {notice.made}, before the request that was "
            f"approved ({member.made}); {again}"
        )
    withdrawn = [
        charter
        for charter in homes.charters(home)
        if document.hash_of(charter) == notice.charter_hash
        and charter.member(notice.site)
        and charter.charter.version > homes.left_at(home, notice.site)
    ]
    if not withdrawn:
        raise EnrolmentError(
            f"the notice of {notice.site!r} is for charter {notice.charter_hash[:16]}, under which "
            f"it is not on the roster; {again}"
        )


def _check_successor(request: SiteRequest, earlier: bytes | None, *, replace: bool) -> None:
    if earlier is None:
        return
    known = read_request(earlier)
    if request.public_key != known.public_key and not replace:
        raise EnrolmentError(
            f"{request.site!r} is approved with key {known.public_key[:16]} and now asks with "
            f"{request.public_key[:16]}; nothing was written. If the institution confirms that it "
            "lost its key, approve with --replace"
        )
    if request.public_key == known.public_key and request.made < known.made:
        raise EnrolmentError(
            f"the request of {request.site!r} is older ({request.made}) than the one approved "
            f"({known.made}); nothing was written"
        )


def _check_apart(members: Sequence[SiteRequest]) -> None:
    for name, keys in (
        ("identity", [member.public_key for member in members]),
        ("node key", [member.node_key for member in members]),
    ):
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            sites = [m.site for m in members if m.public_key in twice or m.node_key in twice]
            raise EnrolmentError(
                f"{', '.join(sorted(sites))} have the same {name}; nothing was written"
            )


def _charter(home: Path, members: Sequence[SiteRequest]) -> tuple[Charter, Charter | None]:
    """Return the draft, and the charter with this roster once there are enough sites."""
    draft = document.load(home / homes.DRAFT)
    if len(members) < draft.secagg.minimum_cohort:
        return draft, None
    identity = Identity.load(home / homes.IDENTITY)
    roster = [
        Member(site=m.site, public_key=m.public_key, declared_records=m.declared_records)
        for m in sorted(members, key=lambda member: member.site)
    ]
    enrolled = document.enrol(draft, coordinator_key=identity.public_key, roster=roster)
    return draft, _versioned(home, enrolled)


def _versioned(home: Path, enrolled: Charter) -> Charter:
    """Return the charter under the present version if nothing changed, else under the next."""
    current = homes.current_charter(home)
    asked, used = enrolled.charter.version, homes.last_version(home)
    if current is not None and asked <= current.charter.version:
        same = _with_version(enrolled, current.charter.version)
        if same == current:
            return same
    return _with_version(enrolled, max(asked, used + 1))


def _with_version(charter: Charter, version: int) -> Charter:
    return dataclasses.replace(
        charter, charter=dataclasses.replace(charter.charter, version=version)
    )


def _write_member(home: Path, data: bytes) -> None:
    request = read_request(data)
    files.replace(home / homes.ROSTER / f"{request.site}.request", data)
    line = f"{request.node_key} {request.site}\n".encode()
    files.replace(home / homes.NODES / f"{request.site}.pub", line)


def _write_roster(
    home: Path, members: Sequence[SiteRequest], draft: Charter, charter: Charter | None
) -> Enrolment:
    current = homes.current_charter(home)
    path = home / homes.CHARTER
    if current is not None and charter != current:
        archive_charter(path)
    if charter is None:
        # Without enough sites there is nothing that could be run or joined.
        path.unlink(missing_ok=True)
    elif charter != current:
        files.replace(path, document.encode(charter))
    return Enrolment(
        members=tuple(sorted(members, key=lambda member: member.site)),
        charter=charter,
        changed=charter != current,
        missing=max(0, draft.secagg.minimum_cohort - len(members)),
    )
