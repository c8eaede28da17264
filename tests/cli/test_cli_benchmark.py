"""`fedethics benchmark` refuses before a model is loaded: data, names, and what is no decoder's."""

from __future__ import annotations

import pytest

from fedethics.benchmarks.registry import BENCHMARKS
from fedethics.errors import EXIT_BAD_INPUT, EXIT_ENVIRONMENT


def test_data_that_is_missing_or_another_is_refused_with_the_command_that_gets_it(
    fedethics, tmp_path
):
    words = ("benchmark", "SmolLM2-135M-Instruct", "--only", "crows-pairs", "--data", tmp_path)
    missing = fedethics(*words)
    assert missing.exit_code == EXIT_ENVIRONMENT
    assert "fedethics benchmark --fetch --only crows-pairs" in " ".join(missing.err.split())
    folder = tmp_path / "crows-pairs"
    folder.mkdir()
    (folder / "crows_pairs_anonymized.csv").write_text("another", encoding="utf-8")
    other = fedethics(*words)
    assert other.exit_code == EXIT_ENVIRONMENT
    said = " ".join(other.err.split())
    assert "it was not used" in said and BENCHMARKS["crows-pairs"].carriers[0].member_sha256 in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--only", "panda"), "benchmark 'panda' is unknown; known: crows-pairs"),
        (("--only", "gap", "--suite", "quick"), "gap has no items in suite quick"),
    ],
)
def test_a_benchmark_that_is_not_there_is_refused_by_name(fedethics, words, said):
    refused = fedethics("benchmark", "SmolLM2-135M-Instruct", *words)
    assert refused.exit_code == EXIT_BAD_INPUT
    assert said in " ".join(refused.err.split())
