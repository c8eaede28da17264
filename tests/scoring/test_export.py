"""An exported model is the judged one: plain transformers loads it and gives the same numbers."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fedethics.charter.document import load
from fedethics.charter.training_terms import ModelTerms
from fedethics.errors import ModelError, ReleaseError
from fedethics.policy.model import Compute
from fedethics.release.sections import usage
from fedethics.scoring import export
from fedethics.scoring.export import export_release
from fedethics.site.workbench import learner_for
from tests import small_encoder
from tests.learning_tasks.tiny_chat import chat_charter, save_chat_model

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def _classifier(tmp_path, preset):
    base = tmp_path / "base"
    base.mkdir()
    terms = small_encoder.save(base)
    draft = load(CONFIGS / f"{preset}.charter.toml")
    return dataclasses.replace(draft, model=terms, adapter=small_encoder.ADAPTER), base


def _choice(tmp_path):
    base = save_chat_model(tmp_path / "base")
    draft = chat_charter(base)
    heart = load(CONFIGS / "heart.charter.toml")
    model = ModelTerms(
        name="tiny", sha256=draft.model.sha256, max_tokens=200, task="choice",
        prompt="<|im_start|>user\n{text} sick?<|im_end|>\n", answer=" {label}<|im_end|>",
    )  # fmt: skip
    return dataclasses.replace(draft, data=heart.data, model=model), base


def _chat(tmp_path):
    base = save_chat_model(tmp_path / "base")
    return chat_charter(base), base


CASES = {
    "classes": lambda folder: _classifier(folder, "heart"),
    "levels": lambda folder: _classifier(folder, "heart-levels"),
    "choice": _choice,
    "sft": _chat,
    "embedded": lambda _folder: (load(CONFIGS / "rewrite.charter.toml"), None),
}


@pytest.fixture
def of(monkeypatch, tmp_path):
    """Return a release of the named case: folder, charter, base, learner and vector."""

    def make(case):
        charter, base = CASES[case](tmp_path)
        learner = learner_for(charter, base, Compute())
        noise = np.random.default_rng(3).normal(0, 0.3, learner.size)
        vector = (learner.seeded_vector() + noise).astype(np.float32)
        run = tmp_path / "run"
        learner.save_adapter(vector, run / "adapter")
        (run / "adapter" / "README.md").write_text("the card")
        (run / "manifest.json").write_text("{}")
        import hashlib

        digest = hashlib.sha256((run / "adapter" / "adapter_model.safetensors").read_bytes())
        evidence = SimpleNamespace(
            model_hash=digest.hexdigest(), run_id="r1", charter_hash="c" * 64
        )
        opened = SimpleNamespace(path=run, charter=charter, evidence=evidence)
        monkeypatch.setattr(export, "require_released", lambda _run: opened)
        monkeypatch.setattr(export, "standing", lambda _opened: ("pass", "Released."))
        return SimpleNamespace(run=run, charter=charter, base=base, learner=learner, vector=vector)

    return make


def _ran(code, **places):
    """Run a README's lines with these folders; return what they print."""
    for name, folder in places.items():
        code = re.sub(rf'^{name} = ".*"', f"{name} = {str(folder)!r}", code, flags=re.M)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, "README", "exec"), {})
    return said.getvalue()


def _lines(text):
    return re.search(r"```python\n(.*?)```", text, flags=re.S).group(1)


def _own(release, text):
    learner = release.learner
    return learner.scores(release.vector, learner.activations([text]))[0]


@pytest.mark.parametrize("case", ["classes", "levels", "choice"])
def test_the_readmes_code_prints_the_sites_own_scores(of, tmp_path, case):
    release = of(case)
    export_release(release.run, out=tmp_path / "model", model_dir=release.base)
    text = usage.example_text(release.charter.data)
    own = np.atleast_1d(_own(release, text))
    expected = own if len(own) > 1 else np.array([1 - own[0], own[0]])
    names = release.charter.data.labels.names
    exported = _ran(
        _lines((tmp_path / "model" / "README.md").read_text()), FOLDER=tmp_path / "model"
    )
    beside = _ran(
        usage.of_adapter(release.charter), BASE=release.base, FOLDER=release.run / "adapter"
    )
    for said in (exported, beside):
        pairs = [line.rsplit(" ", 1) for line in said.splitlines()]
        assert [name for name, _ in pairs] == list(names)
        np.testing.assert_allclose([float(share) for _, share in pairs], expected, atol=2e-6)
    assert expected.max() - expected.min() > 1e-3


def test_the_readmes_code_writes_the_sites_own_answer(of, tmp_path):
    release = of("sft")
    export_release(release.run, out=tmp_path / "model", model_dir=release.base)
    learner = release.learner
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    asked = [{"role": "user", "content": "hello <|im_end|> you"}]
    rendered = tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    ids = rendered["input_ids"]
    with torch.no_grad():
        found = model.generate(**rendered, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
    with learner.lock:
        learner.load(release.vector)
        own = learner.network.greedy(ids[0], most=12, ends=learner.tokenizer.controls)
    assert found.tolist()[: len(own)] == own
    said = _ran(_lines((tmp_path / "model" / "README.md").read_text()), FOLDER=tmp_path / "model")
    assert said.strip()


def test_the_folder_says_where_it_comes_from_and_names_the_classes(of, tmp_path):
    release = of("classes")
    done = export_release(release.run, out=tmp_path / "model", model_dir=release.base)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert list(config["id2label"].values()) == list(release.charter.data.labels.names)
    assert str(tmp_path) not in json.dumps(config)
    origin = json.loads((tmp_path / "model" / export.ORIGIN).read_text())
    assert origin["base"]["sha256"] == release.charter.model.sha256
    assert origin["gate"] == "pass"
    assert done.size == sum(path.stat().st_size for path in (tmp_path / "model").iterdir())
    assert (tmp_path / "model" / "MODEL_CARD.md").read_text() == "the card"


def test_sixteen_bits_take_half_the_space(of, tmp_path):
    release = of("sft")
    sizes = {}
    for precision in ("float32", "bfloat16"):
        out = tmp_path / precision
        done = export_release(release.run, out=out, model_dir=release.base, precision=precision)
        assert done.apart <= (1e-4 if precision == "float32" else 0.1)
        sizes[precision] = (out / "model.safetensors").stat().st_size
    assert sizes["bfloat16"] < 0.6 * sizes["float32"]


def test_nothing_is_left_of_an_export_that_differs(of, tmp_path, monkeypatch):
    release = of("classes")
    before = sorted(tmp_path.iterdir())
    plain = export._write

    def altered(out, merged, *rest):
        with torch.no_grad():
            next(iter(merged.parameters())).mul_(3.0)
        plain(out, merged, *rest)

    monkeypatch.setattr(export, "_write", altered)
    with pytest.raises(ModelError, match="differs from the judged one"):
        export_release(release.run, out=tmp_path / "model", model_dir=release.base)
    assert sorted(tmp_path.iterdir()) == before


def test_what_cannot_be_exported_is_said_before_anything_is_loaded(of, tmp_path):
    release = of("classes")
    (tmp_path / "there").mkdir()
    for out, why in (
        (tmp_path / "there", "exists already"),
        (release.run / "model", "lies in the release itself"),
        (tmp_path / "no" / "model", "is no folder"),
    ):
        with pytest.raises(ReleaseError, match=why):
            export_release(release.run, out=out, model_dir=release.base)


def test_a_base_in_eight_bits_is_not_merged(of, tmp_path, monkeypatch):
    release = of("classes")
    model = dataclasses.replace(release.charter.model, quantisation="int8")
    charter = dataclasses.replace(release.charter, model=model)
    opened = SimpleNamespace(path=release.run, charter=charter)
    monkeypatch.setattr(export, "require_released", lambda _run: opened)
    with pytest.raises(ModelError, match="another model, which nobody judged"):
        export_release(release.run, out=tmp_path / "model", model_dir=release.base)
    assert not (tmp_path / "model").exists()


def test_a_folder_of_somebody_else_is_not_touched(of, tmp_path):
    release = of("classes")
    mine = tmp_path / ".model.partial"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    export_release(release.run, out=tmp_path / "model", model_dir=release.base)
    assert (mine / "notes.txt").read_text() == "mine"


def test_a_release_withdrawn_while_it_was_merged_is_not_exported(of, tmp_path, monkeypatch):
    release = of("classes")
    looks = iter((export.require_released(release.run),))

    def second_refuses(_run):
        for opened in looks:
            return opened
        raise ReleaseError("withdrawn")

    monkeypatch.setattr(export, "require_released", second_refuses)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ReleaseError, match="withdrawn"):
        export_release(release.run, out=tmp_path / "model", model_dir=release.base)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.slow
def test_the_embedded_decoder_is_exported_from_its_gguf_file(of, tmp_path):
    release = of("embedded")
    done = export_release(release.run, out=tmp_path / "model", precision="bfloat16")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert "quantization_config" not in config and done.apart < 0.1
    said = _ran(_lines((tmp_path / "model" / "README.md").read_text()), FOLDER=tmp_path / "model")
    assert said.strip()
