"""The charter as bytes: read from TOML or canonical JSON, written canonically, hashed.

Guarantee: `parse(encode(c)) == c`, and the hash is the SHA-256 of the only spelling there is.

Settings that people bring from other libraries and that are refused here by name, with the why.

A key that a charter does not know is an error anyway. Those that would weaken the promise, or were
measured to give wrong gradients without any error, say more than "unknown key".

The commented charter that `fedethics charter init` writes, one for each industry.

Guarantee: every template is a valid draft as it stands (a test loads each); what must be filled in
is written in capitals.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

from fedethics import canonical, plain_file, terms
from fedethics.canonical import Json
from fedethics.charter.model import Charter, Heading, Member
from fedethics.charter.spelling import composed_all
from fedethics.errors import CharterError
from fedethics.identical import Same

_METHOD = {
    "dora": "DoRA rescales whole rows of the base weights, so no gradient for each record exists",
    "ia3": "IA3 trains bare scaling vectors, which have no gradient for each record",
    "vera": "VeRA trains bare vectors over shared matrices, which have no gradient for each record",
    "prompt-tuning": "prompt tuning trains a prompt that is not part of any record, so there is "
    "no gradient for each record",
}
_QUANTISED = (
    "quantised weights are a term of the model here, so that every site computes the same: "
    'model.quantisation = "int8" or "nf4". Other schemes are not built'
)
_GHOST = (
    "ghost clipping was measured to be 1.5 to 1.8 times slower for LoRA, and silently unclipped "
    "when a loss is computed inside the model"
)
_MODES = {"ghost": _GHOST, "ghost-fsdp": _GHOST, "ew": "expanded weights fail on these models"}
_SECURE = (
    "secure_mode of Opacus needs a package that is no longer maintained (torchcsprng); noise here "
    "always comes from the operating system's generator through AES"
)
_GDP = "Opacus's GDP accountant reports less than the true epsilon; the accountant here is PLD"
_TARGETS = (
    "a record has one class, from the charter's list, or its own answer as text. Offered: "
    "classification of 2 to 1,000 classes and the other tasks that model.task names. "
)
_TASKS = {
    "regression": f"{_TARGETS}A number can be cut into classes",
    "token-classification": f"{_TARGETS}One label for each token is not built",
    "multi-label": f"{_TARGETS}Several labels at once are not built: one charter for each label",
}

# Key -> what it must not be -> why. "*" is any value but false.
_REFUSED: Mapping[str, Mapping[str, str]] = {
    "method": _METHOD,
    "task": _TASKS | {"multilabel": _TASKS["multi-label"], "ner": _TASKS["token-classification"]},
    "peft-type": _METHOD,
    "use-dora": {"*": _METHOD["dora"]},
    "load-in-4bit": {"*": _QUANTISED},
    "load-in-8bit": {"*": _QUANTISED},
    "quantization": {"*": _QUANTISED},
    "grad-sample-mode": _MODES,
    "clipping": _MODES,
    "secure-mode": {"*": _SECURE},
    "accountant": {"gdp": _GDP},
    "gradient-checkpointing": {
        "*": "it is each site's own choice (compute.checkpointing in its policy) and changes no "
        "result; the reentrant form fails outright"
    },
    "rand-on-empty": {
        "*": "a random record in place of an empty sample is no Poisson sampling, and no "
        "accountant covers it"
    },
}


def refusals(table: object, path: str = "") -> Iterator[str]:
    """Yield a sentence for each refused setting anywhere in a parsed table."""
    if not isinstance(table, dict):
        return
    for key, value in table.items():
        where = f"{path}.{key}" if path else str(key)
        yield from refusals(value, where)
        rules = _REFUSED.get(_plain(key), {})
        why = rules.get(_plain(value)) or (rules.get("*") if value is not False else None)
        if why:
            yield f"{where}: refused by name: {why}"


def _plain(word: object) -> str:
    return str(word).lower().replace("_", "-")


def load(path: Path) -> Charter:
    """Read a charter from a TOML file (as people write it) or a .json file (canonical bytes).

    Raises:
        CharterError: unreadable, or not a charter; the message lists every problem with its key.
    """
    if path.suffix == ".json":
        return parse(plain_file.read(path, CharterError, typed=True))
    return read_toml(plain_file.read(path, CharterError, typed=True), path)


def load_set(path: Path, settings: Mapping[str, Any]) -> Charter:
    """Read a charter with some of its keys set otherwise, by the same reader.

    Args:
        path: as in `load`.
        settings: value by key, such as {"training.rounds": 3}; keys of tables that stand more than
            once cannot be named.

    Raises:
        CharterError: as `load`, or a key that leads through something that is no table.
    """
    if path.suffix == ".json":
        table: Any = canonical.parse(plain_file.read(path, CharterError, typed=True))
    else:
        table = terms.load_toml(path, CharterError)
    for key, value in settings.items():
        *parents, last = key.split(".")
        place = table
        for parent in parents:
            place = place.setdefault(parent, {}) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise CharterError(
                f"--set {key}: it leads through something that is no table of one charter; edit "
                f"{path} in its place. Nothing was started"
            )
        place[last] = value
    named = f" with {', '.join(settings)} set" if settings else ""
    return _build(table, where=f"{path}{named}")


def read_toml(content: bytes, path: Path) -> Charter:
    """Read a charter from the bytes of a TOML file; `path` is named in messages.

    Raises:
        CharterError: not a charter; the message lists every problem with its key.
    """
    return _build(terms.parse_toml(content, path, CharterError), where=str(path))


def parse(data: bytes) -> Charter:
    """Read a charter from its canonical bytes, refusing any other spelling.

    A site reads its charter for each message. The same bytes give the same charter, which nobody
    can change, so each process checks them once.

    Raises:
        CharterError: not canonical, or not a charter; the message lists every problem with its key.
    """
    return _parsed(data)


@lru_cache(maxsize=32)
def _parsed(data: bytes) -> Charter:
    try:
        table = canonical.parse(data)
    except ValueError as error:
        raise CharterError(f"charter bytes are not canonical: {error}") from error
    if composed_all(table) != table:
        raise CharterError("charter bytes are not canonical: letters are not in composed form")
    return _build(table, where="charter")


def encode(charter: Charter) -> bytes:
    """Return the charter's canonical bytes, worked out once for each object: none can change."""
    return _encoded(Same(charter))


@lru_cache(maxsize=32)
def _encoded(same: Same[Charter]) -> bytes:
    return canonical.encode(terms.document(same.value))


def hash_of(charter: Charter) -> str:
    """Return the SHA-256 of the canonical bytes: the charter's name in every message."""
    return canonical.sha256_hex(encode(charter))


def schema_hash(charter: Charter) -> str:
    """Return the SHA-256 of the data schema alone, for manifests."""
    return canonical.sha256_hex(canonical.encode(terms.document(charter.data)))


def enrol(draft: Charter, *, coordinator_key: str, roster: Sequence[Member]) -> Charter:
    """Return the draft with its roster and coordinator filled in, checked again.

    Raises:
        CharterError: a name or key is listed twice, or fewer sites than the minimum cohort.
    """
    charter = dataclasses.replace(draft, coordinator_key=coordinator_key, roster=tuple(roster))
    return parse(encode(charter))


def _build(table: Any, *, where: str) -> Charter:  # noqa: ANN401  parsed TOML or JSON
    # Cells are read in the same form: a word is the same category however its letters are put.
    table = composed_all(table)
    problems: list[str] = []
    charter = terms.read(Charter, table, path="", problems=problems)
    problems.extend(refusals(table))
    if problems or charter is None:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise CharterError(f"{where} is not a valid charter; nothing was started:\n{listed}")
    return charter


INDUSTRIES: tuple[str, ...] = get_args(get_type_hints(Heading)["industry"])
_TEMPLATES = Path(__file__).parent / "templates"
# The feature that score histograms are crossed with; more features mean more noise in each.
_HISTOGRAM_BY = {"law-enforcement": "race", "content-moderation": "target"}
_TO_FILL_IN = re.compile(r"NAME (of|for) |DESCRIBE: |DECIDE: ")
_HEAD = """\
# The whole agreement between the sites, the coordinator and the stakeholders.
# Edit it, then: fedethics charter check FILE. Every message names it by its SHA-256, so any
# change makes another charter and voids every signature. fedethics charter diff A B says what a
# change means. Fill in the words in CAPITALS. The bars are starting points, not law.

"""


def charter_text(industry: str) -> str:
    """Return a commented draft for one of `INDUSTRIES`."""
    parts = (f"{industry}.toml", "common.toml")
    text = "".join((_TEMPLATES / part).read_text(encoding="utf-8") for part in parts)
    return _HEAD + text.replace("HISTOGRAM-BY", _HISTOGRAM_BY.get(industry, "sex"))


def unfilled(charter: Charter) -> tuple[str, ...]:
    """Return each place where a charter still has a template's capitals, as "key: text"."""
    return tuple(_unfilled(terms.document(charter), ""))


def _unfilled(value: Json, where: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _unfilled(below, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for number, below in enumerate(value, start=1):
            yield from _unfilled(below, f"{where}[{number}]")
    elif isinstance(value, str) and _TO_FILL_IN.match(value):
        yield f"{where}: {value!r}"
