"""The folder that `fedethics new` writes: charter, scenario, policy, a file for each site, README.

Guarantee: the whole folder or nothing. What it holds was read back by the code of a run: the
charter loads, and every site's file is as the charter says, with records to train on and to hold
out. The folder and the sites' files are for their owner's eyes alone (modes 0700 and 0600).
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedethics.charter import document
from fedethics.charter.data_terms import DataTerms
from fedethics.charter.model import Charter
from fedethics.data.content import characters
from fedethics.data.json_lines import line_of
from fedethics.data.reading import read_records
from fedethics.data.records import Records, split
from fedethics.drafting.charter_text import charter_text
from fedethics.drafting.proposal import Proposal
from fedethics.drafting.readme import SiteSize, readme_text
from fedethics.errors import DataError, FedethicsError
from fedethics.foresight import words
from fedethics.foresight.chances import SHORT
from fedethics.foresight.of_charter import counted, foresee
from fedethics.policy.template import policy_text
from fedethics.simulation.partition import Row, write_csv
from fedethics.storage import files

DATA, CHARTER, SCENARIO, POLICY, README = (
    "sites", "charter.toml", "scenario.toml", "policy.toml", "README.md"
)  # fmt: skip
# Of each site, in each of both parts.
_FEWEST_RECORDS = 5
_CHARACTERS_A_TOKEN = 3
_LEAST_TOKENS, _MOST_TOKENS = 64, 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What a folder holds.

    Attributes:
        sizes: how many records each site has in both parts.
        verdicts: what the gate will be able to conclude, in sentences.
    """

    sizes: tuple[SiteSize, ...]
    verdicts: tuple[str, ...]


def write(proposal: Proposal, out: Path) -> Written:
    """Write the folder.

    Args:
        proposal: what was decided.
        out: the folder; must not exist.

    Raises:
        DataError: the folder exists or cannot be written, a record is not as the draft says, or a
            site has too few records.
        CharterError: the draft is no valid charter.
    """
    if out.exists():
        raise DataError(f"{out} exists; it was not changed. Choose another --out")
    partial = out.with_name(f"{out.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(mode=0o700, parents=True)
        (partial / DATA).mkdir(mode=0o700)
        written = _fill(partial, proposal)
        files.move(partial, out)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return written


def _fill(folder: Path, proposal: Proposal) -> Written:
    for site, rows in proposal.rows.items():
        files.create(folder / DATA / _file_of(site, proposal), _records(rows, proposal))
    charter = folder / CHARTER
    _put(charter, charter_text(proposal, max_tokens=_LEAST_TOKENS))
    terms = document.load(charter).data
    records = {site: _read(folder, site, terms, proposal) for site in proposal.rows}
    sizes = tuple(_size(site, read, terms) for site, read in records.items())
    _require_enough(sizes)
    tokens = _tokens(
        max(size.longest for size in sizes), most=proposal.wish.model.most_tokens,
        spare=proposal.wish.task.spare_tokens,
    )  # fmt: skip
    _put(charter, charter_text(proposal, max_tokens=tokens))
    _put(folder / SCENARIO, _scenario(proposal, sizes))
    fewest = min(min(size.training, size.held_out) for size in sizes)
    policy = policy_text(
        epsilon_per_data_set=6.0, epsilon_per_run=4.0, epsilon_per_year=6.0,
        delta=proposal.delta, records=min(50, fewest),
        units=("person",) if proposal.wish.person else ("record",),
        training_trust_modes=(proposal.wish.task.trust_mode,),
        more_releases=("agreement",) if proposal.annotated else (),
    )  # fmt: skip
    _put(folder / POLICY, policy)
    verdicts = _foreseen(document.load(charter), records)
    _put(folder / README, readme_text(proposal, sizes, max_tokens=tokens, verdicts=verdicts))
    return Written(sizes=sizes, verdicts=verdicts)


def _put(path: Path, text: str) -> None:
    files.replace(path, text.encode("utf-8"))


def _foreseen(charter: Charter, records: Mapping[str, Records]) -> tuple[str, ...]:
    """Return what the gate will be able to conclude, from the held-out records themselves."""
    held_out = [split(read, charter.data).held_out for read in records.values()]
    try:
        found = foresee(charter, counted(charter, held_out), effort=SHORT)
    except FedethicsError as error:
        return (f"Verdicts are not foreseen: {error}",)
    return tuple(words.sentences(found))


def _file_of(site: str, proposal: Proposal) -> str:
    return f"{site}.csv" if proposal.content is None else f"{site}.jsonl"


def _records(rows: Sequence[Row], proposal: Proposal) -> bytes:
    """Return a site's file: free text as JSON lines, in which it keeps its blanks."""
    if proposal.content is None:
        return write_csv(rows, tuple(rows[0]))
    return "".join(f"{line_of(row, proposal.content)}\n" for row in rows).encode("utf-8")


def _read(folder: Path, site: str, terms: DataTerms, proposal: Proposal) -> Records:
    path = folder / DATA / _file_of(site, proposal)
    try:
        return read_records(path, terms, task=proposal.wish.task.name)
    except DataError as error:
        said = str(error).replace(str(path), f"of {site}")
        raise DataError(f"{said}. The draft cannot read it; nothing was written") from error


def _size(site: str, records: Records, terms: DataTerms) -> SiteSize:
    longest = max(map(characters, records.texts), default=0)
    try:
        parts = split(records, terms)
    except DataError:  # a part is empty, which the caller says in its own words
        return SiteSize(site=site, training=len(records), held_out=0, left_out={}, longest=longest)
    return SiteSize(
        site=site,
        training=_units(parts.train, terms),
        held_out=_units(parts.held_out, terms),
        left_out=parts.train.dropped,
        longest=longest,
    )


def _units(records: Records, terms: DataTerms) -> int:
    return len(set(records.persons)) if terms.person else len(records)


def _require_enough(sizes: Sequence[SiteSize]) -> None:
    few = [size for size in sizes if min(size.training, size.held_out) < _FEWEST_RECORDS]
    if few:
        listed = ", ".join(f"{one.site} {one.training} and {one.held_out}" for one in few)
        raise DataError(
            f"a site needs {_FEWEST_RECORDS} records to train on and as many to hold out, and some "
            f"have fewer: {listed}. Use fewer sites. Nothing was written"
        )


def _tokens(longest: int, *, most: int | None, spare: int) -> int:
    """Return a length in steps of 32 tokens that most texts of so many characters fit in.

    Args:
        longest: characters of the longest text.
        most: tokens that the model has positions for; None where it has no table of them.
        spare: tokens that a template adds.
    """
    steps = math.ceil((longest / _CHARACTERS_A_TOKEN + spare) / 32)
    return min(max(32 * steps, _LEAST_TOKENS), _MOST_TOKENS, most or _MOST_TOKENS)


def _scenario(proposal: Proposal, sizes: Sequence[SiteSize]) -> str:
    lines = [
        "# The sites of one machine. Run it with: fedethics simulate FOLDER",
        "",
        f"name = {json.dumps(proposal.wish.name)}",
        f"charter = {json.dumps(CHARTER)}",
        f"data-dir = {json.dumps(DATA)}",
    ]
    if proposal.wish.model.folder is not None:
        lines.append(f"model-dir = {json.dumps(str(proposal.wish.model.folder))}")
    for size in sizes:
        lines += [
            "",
            "[[sites]]",
            f"name = {json.dumps(size.site)}",
            f"data = {json.dumps(_file_of(size.site, proposal))}",
            f"declared-records = {size.declared} # DECIDE: what a site publishes of its size",
            f"policy = {json.dumps(POLICY)}",
        ]
    return "\n".join([*lines, "", "[comparisons]", "seeds = [7]", ""])
