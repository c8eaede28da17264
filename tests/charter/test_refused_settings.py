"""Settings from other libraries that would break the promise are refused by name."""

import pytest

from fedethics.charter.document import load
from fedethics.errors import CharterError

CASES = [
    ("[adapter]", "use-dora = true", "DoRA"),
    ("[adapter]", 'method = "ia3"', "IA3"),
    ("[adapter]", 'peft_type = "VERA"', "VeRA"),
    ("[adapter]", 'method = "prompt_tuning"', "prompt tuning"),
    ("[adapter]", "load_in_4bit = true", "quantised weights"),
    ("[training]", "gradient-checkpointing = true", "compute.checkpointing"),
    ("[training]", 'grad-sample-mode = "ghost"', "ghost clipping"),
    ("[training]", "rand_on_empty = true", "no Poisson sampling"),
    ("[privacy]", "secure-mode = true", "torchcsprng"),
    ("[privacy]", 'accountant = "gdp"', "less than the true epsilon"),
]


@pytest.mark.parametrize(("table", "line", "why"), CASES, ids=[line for _, line, _ in CASES])
def test_a_refused_setting_is_named_with_its_reason(table, line, why, heart_text, tmp_path):
    path = tmp_path / "charter.toml"
    path.write_text(heart_text.replace(f"{table}\n", f"{table}\n{line}\n", 1))
    with pytest.raises(CharterError, match=f"refused by name: .*{why}"):
        load(path)


def test_the_demo_charters_are_refused_nothing(root):
    for name in ("heart", "heart-sft"):
        assert load(root / "configs" / f"{name}.charter.toml")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('task = "causal-lm"\n', "", "task classification has none"),
        ("{text}", "the row", "exactly one {text}"),
        ('answer = "{label}"', 'answer = "yes"', "exactly one {label}"),
    ],
)
def test_prompt_and_answer_belong_to_one_task(old, new, problem, root, tmp_path):
    text = (root / "configs" / "heart-sft.charter.toml").read_text()
    path = tmp_path / "charter.toml"
    lines = [line for line in text.split("\n")]
    changed = "\n".join(
        line if line.startswith("#") else line.replace(old.strip("\n"), new) for line in lines
    )
    path.write_text(changed)
    with pytest.raises(CharterError, match=problem.replace("{", r"\{")):
        load(path)
