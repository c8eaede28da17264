"""How many planted copies `data similar` finds, and what a public benchmark's own items look like.

`python -m tools.bench.similar [--data .data/benchmarks]`: notes made of BBQ's contexts (public, in
English). A copy has some of its words replaced; a contaminated record holds an item's context in
the middle of a made-up note.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np

from fedethics.benchmarks.registry import find_benchmark
from fedethics.quality.benchmark_overlap import overlap
from fedethics.quality.near_duplicates import RUN, near_duplicates, words

_NOTES, _PLANTED, _WORDS = 10_000, 1_000, 100


def main() -> None:
    """Print both tables."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--data", type=Path, default=Path(".data/benchmarks"))
    data = asked.parse_args().data
    rng = np.random.default_rng(18)
    vocabulary = np.array([f"word{n}" for n in range(5_000)])
    notes = [" ".join(rng.choice(vocabulary, size=_WORDS)) for _ in range(_NOTES)]
    print("| words replaced of 100 | mean similarity | found | wrongly found | seconds |")
    print("|---|---|---|---|---|")
    for replaced in (0, 1, 2, 3, 5):
        copies = [_changed(note, replaced, vocabulary, rng) for note in notes[:_PLANTED]]
        begun = time.process_time()
        found = near_duplicates(notes, copies)
        spent = time.process_time() - begun
        right = sum(one.other == one.record - _NOTES for one in found)
        alike = np.mean([_similar(*pair) for pair in zip(notes, copies, strict=False)])
        print(
            f"| {replaced} | {alike:.3f} | {right / _PLANTED:.1%} | {len(found) - right} | "
            f"{spent:.1f} |"
        )
    print("\n| benchmark | items | records with an item found | clean records found | seconds |")
    print("|---|---|---|---|---|")
    for name in ("bbq", "crows-pairs"):
        benchmark = find_benchmark(name)
        begun = time.process_time()
        items = list(benchmark.read(benchmark.members(data)))
        planted = [
            f"{notes[n]} {item.prompt.partition(chr(10))[0] or item.choices[0]} {notes[n + 1]}"
            for n, item in enumerate(items[:: max(1, len(items) // _PLANTED)][:_PLANTED])
        ]
        able = sum(len(words(one)) - 2 * _WORDS >= 8 for one in planted)
        found_in = overlap([*planted, *notes], name, items)
        hits = sum(place < len(planted) for place in found_in.records)
        print(
            f"| {name} | {len(items)} | {hits} of {len(planted)} ({able} of 8 words or more) | "
            f"{len(found_in.records) - hits} of {len(notes)} | {time.process_time() - begun:.1f} |"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nPeak memory of the whole script: {peak:.0f} MiB")


def _changed(
    note: str, replaced: int, vocabulary: np.ndarray[tuple[int], np.dtype[np.str_]],
    rng: np.random.Generator,
) -> str:  # fmt: skip
    said = note.split()
    for place in rng.choice(len(said), size=replaced, replace=False):
        said[place] = str(rng.choice(vocabulary))
    return " ".join(said)


def _similar(one: str, other: str) -> float:
    sets = [
        {tuple(said[i : i + RUN]) for i in range(len(said) - RUN + 1)}
        for said in (words(one), words(other))
    ]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


if __name__ == "__main__":
    main()
