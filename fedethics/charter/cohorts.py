"""Which sites train in which round, where the charter asks for fewer than all of them.

The roster is dealt once into cohorts that share no site, each of at least `sites-per-round` sites.
They take turns: each trains once in every pass, in an order that is drawn for that pass. So a
site trains in at most `most_rounds` rounds, whatever the coordinator does, and two rounds' sums
never differ by some of a cohort because of the draw (`docs/secagg.md`).

The draw follows from public terms of the signed charter, so every site checks it by itself, and a
coordinator has no choice in it. What is public hides nothing: no epsilon here is smaller because a
site was left out by chance. It is smaller only because the site did not train.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from fedethics import canonical
from fedethics.charter.model import Charter
from fedethics.identical import Same

NO_SAMPLING = "the draw is public, so epsilon counts it as no sampling"
_PURPOSE = "fedethics/cohorts/1"


def cohorts_of(charter: Charter) -> tuple[tuple[str, ...], ...]:
    """Return the cohorts, each sorted; one of the whole roster where the charter draws none."""
    return _dealt(Same(charter))


def drawn(charter: Charter, number: int) -> tuple[str, ...]:
    """Return the sites that may train in a round, counted from 1; sorted."""
    cohorts = cohorts_of(charter)
    done, place = divmod(number - 1, len(cohorts))
    if len(cohorts) == 1:
        return cohorts[0]
    return cohorts[_turns(Same(charter), done)[place]]


def rounds_of(charter: Charter, site: str) -> tuple[int, ...]:
    """Return the rounds that a site is drawn for, counted from 1."""
    every = range(1, charter.training.rounds + 1)
    return tuple(number for number in every if site in drawn(charter, number))


def most_rounds(charter: Charter) -> int:
    """Return the most rounds that any one site trains in; all of them for a draft."""
    return -(-charter.training.rounds // charter.cohorts)


def words(charter: Charter) -> str:
    """Return the draw in words, for people; empty where every site trains in each round."""
    per_round = charter.training.sites_per_round
    if per_round is None:
        return ""
    cohorts = cohorts_of(charter)
    if len(cohorts) == 1:
        return f"at least {per_round} in each round, once the roster is filled"
    sizes = sorted({len(cohort) for cohort in cohorts})
    return (
        f"{' or '.join(map(str, sizes))} in each round: {len(cohorts)} cohorts take turns, and a "
        f"site trains in at most {most_rounds(charter)} of {charter.training.rounds} rounds"
    )


@lru_cache(maxsize=32)
def _dealt(same: Same[Charter]) -> tuple[tuple[str, ...], ...]:
    charter, count = same.value, same.value.cohorts
    seed = _seed(charter)
    order = sorted(charter.site_names, key=lambda site: _place(seed, "deal", site))
    return tuple(tuple(sorted(order[first::count])) for first in range(count))


@lru_cache(maxsize=4096)
def _turns(same: Same[Charter], done: int) -> tuple[int, ...]:
    """Return the order in which the cohorts train in a pass, by how many passes are done."""
    seed = _seed(same.value)
    places = range(len(_dealt(same)))
    return tuple(sorted(places, key=lambda place: _place(seed, f"pass {done}", str(place))))


def _seed(charter: Charter) -> bytes:
    """Return the public seed: terms that all sign, and none that another key would change."""
    names: list[canonical.Json] = [*sorted(charter.site_names)]
    return canonical.encode(
        {
            "purpose": _PURPOSE,
            "charter": charter.charter.name,
            "version": charter.charter.version,
            "seed": charter.adapter.seed,
            "sites-per-round": charter.training.sites_per_round or 0,
            "sites": names,
        }
    )


def _place(seed: bytes, use: str, name: str) -> bytes:
    said = b"".join(
        len(part).to_bytes(4, "big") + part for part in (seed, use.encode(), name.encode())
    )
    return hashlib.sha256(said).digest()
