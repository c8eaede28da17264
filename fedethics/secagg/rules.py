"""The rules that a site holds the coordinator to; each breach is a lie, since it came signed.

Both sides call these functions, so an honest coordinator never asks for what a site must refuse.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from fedethics import canonical
from fedethics.errors import SecaggAbort
from fedethics.secagg.graph import HARARY, shape
from fedethics.secagg.terms import SecaggTerms, SumSpec


def check_open(
    header: Mapping[str, Any], *, terms: SecaggTerms, spec: SumSpec, members: Collection[str]
) -> None:
    """Check that an OPEN asks for a sum that the charter allows.

    Args:
        header: the OPEN's fields, each well formed.
        terms: the charter's terms.
        spec: the charter's aggregate of the name that the OPEN gives.
        members: the sites that joined the epoch.

    Raises:
        SecaggAbort: names every rule that is broken.
    """
    cohort: list[str] = header["cohort"]
    size = len(cohort)
    run = header["epoch"].rpartition("/")[0]
    strangers = sorted(set(cohort) - set(members))
    graph, threshold = shape(size, epoch_size=len(members), terms=terms)
    breaches = {
        f"suite {header['suite']} is not the charter's {terms.suite}": (
            header["suite"] != terms.suite
        ),
        f"graph {header['graph']!r} is not {graph!r}": header["graph"] != graph,
        # A server that could choose the cohort after it saw the ring could choose neighbours.
        f"a cohort of {size} on a ring of {len(members)}; on a ring it is the whole epoch": (
            graph == HARARY and size != len(members)
        ),
        f"mode {header['mode']!r} is not the charter's {terms.mode!r}": (
            header["mode"] != terms.mode
        ),
        f"run {header['run']!r} is not the epoch's {run!r}": header["run"] != run,
        f"cohort of {size}, minimum {terms.minimum_cohort}": size < terms.minimum_cohort,
        f"cohort of {size}, but sum {spec.name!r} has a quorum of {spec.at_least}": (
            size < spec.at_least
        ),
        f"not in the epoch: {', '.join(strangers)}": bool(strangers),
        f"threshold {header['threshold']} for {size} sites, the rule gives {threshold}": header[
            "threshold"
        ]
        != threshold,
        f"sum {spec.name!r} has another specification in the charter": (
            header["spec_hash"] != spec.hash
        ),
        f"a sum of {size} sites could wrap {spec.word_bits}-bit words": not spec.fits(size),
    }
    broken = [breach for breach, holds in breaches.items() if holds]
    if broken:
        raise SecaggAbort(f"OPEN refused, nothing was computed: {'; '.join(broken)}")


def check_cohort_change(
    cohort: Collection[str], *, opened: Iterable[Collection[str]], minimum_cohort: int
) -> None:
    """Check that a cohort equals or is a whole cohort apart from each one opened before.

    Two sums over cohorts that differ by few sites would give those sites' vectors away.

    Raises:
        SecaggAbort: it differs from one by at least one site and fewer than `minimum_cohort`.
    """
    for earlier in opened:
        apart = set(cohort) ^ set(earlier)
        if 0 < len(apart) < minimum_cohort:
            raise SecaggAbort(
                f"OPEN refused: the cohort differs from one opened before by {len(apart)} sites "
                f"({', '.join(sorted(apart))}), allowed are 0 or at least {minimum_cohort}; the "
                "difference of two sums would single them out. Keep them in the cohort (a silent "
                "site counts as dropped), or start a new run"
            )


def check_subset(
    subset: Sequence[str],
    *,
    of: Collection[str],
    cohort: Collection[str],
    terms: SecaggTerms,
    spec: SumSpec,
    site: str | None,
    stage: str,
) -> None:
    """Check a set of sites still present (U1 or U2) against the set before it.

    Raises:
        SecaggAbort: not a subset, without `site`, too small, or not the whole cohort of a sum
            that demands it.
    """
    smallest = max(terms.smallest_sum(len(cohort)), spec.at_least)
    strangers = sorted(set(subset) - set(of))
    if strangers:
        raise SecaggAbort(f"{stage} lists sites that were not there: {', '.join(strangers)}")
    if site is not None and site not in subset:
        raise SecaggAbort(f"{stage} was sent to {site} and does not list it")
    if len(subset) < smallest:
        raise SecaggAbort(
            f"{stage}: {len(subset)} of {len(cohort)} sites are left, {smallest} are needed; "
            "the sum stays closed"
        )
    if spec.whole_cohort and len(subset) != len(cohort):
        missing = ", ".join(sorted(set(cohort) - set(subset)))
        raise SecaggAbort(
            f"{stage}: sum {spec.name!r} opens only with the whole cohort, missing {missing}; "
            "the sum stays closed. Restart the round with everyone"
        )


def check_neighbours(
    subset: Collection[str], *, neighbours: Collection[str], threshold: int, stage: str
) -> None:
    """Check that enough of a site's ring neighbours are still present.

    Raises:
        SecaggAbort: fewer than `threshold`: its vector could not be opened, or would be cut off
            from the others' and open alone.
    """
    left = len(set(subset) & set(neighbours))
    if left < threshold:
        raise SecaggAbort(
            f"{stage}: {left} of this site's {len(neighbours)} neighbours are left, {threshold} "
            "are needed; the sum stays closed"
        )


def sites_hash(sites: Iterable[str]) -> str:
    """Return the hash by which statements and receipts name a set of sites, in any order."""
    listed: list[canonical.Json] = [*sorted(sites)]
    return canonical.sha256_hex(canonical.encode(listed))


def shared_hash(session_id: str, shared: Sequence[str]) -> str:
    """Return the hash by which sites name U1."""
    return _shared_hash(session_id, tuple(shared))


# Of 5000 sites' MASKED messages each is held to it: 13 s in all if spelled anew every time.
@lru_cache(maxsize=8)
def _shared_hash(session_id: str, shared: tuple[str, ...]) -> str:
    return canonical.sha256_hex(canonical.encode({"session": session_id, "shared": list(shared)}))


def view_hash(
    session_id: str, *, shared: Sequence[str], survivors: Sequence[str], roots: Sequence[str]
) -> str:
    """Return the hash of everything on which survivors must agree before shares are revealed."""
    return canonical.sha256_hex(
        canonical.encode(
            {
                "session": session_id,
                "shared": list(shared),
                "survivors": list(survivors),
                "roots": list(roots),
            }
        )
    )
