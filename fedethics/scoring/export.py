"""A released adapter merged into its base: a model folder that plain transformers loads.

Guarantee: only a release that may be used is exported. The folder is whole or absent; before it
gets its name, it was loaded again with plain transformers, and its outputs on fixed texts equal
those of the base together with the adapter, up to the rounding of the sum.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from peft import PeftModel
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast

from fedethics import __version__, canonical, texts
from fedethics.charter.model import Charter
from fedethics.errors import ModelError, ReleaseError
from fedethics.learning_tasks import find_task
from fedethics.policy.model import Compute
from fedethics.release import durable, folder, gate
from fedethics.release.decision import decided
from fedethics.release.folder import Folder
from fedethics.release.sections import usage
from fedethics.release.sections.usage import example_text
from fedethics.release.standing import require_released
from fedethics.scoring.score import released_adapter
from fedethics.training.learner import Learner
from fedethics.training.loading import LOADERS, Quiet, load_base
from fedethics.training.locate import locate_model

Precision = Literal["float32", "bfloat16", "float16"]
_DTYPES: Mapping[Precision, torch.dtype] = {
    "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16,
}  # fmt: skip
# Of the largest output: the sum of base and adapter is rounded once more when it is merged, and
# sixteen bits hold three or two digits.
_APART: Mapping[Precision, float] = {"float32": 1e-4, "bfloat16": 0.1, "float16": 0.02}
_PROBES = ("A first text, short.", "Another text; it has numbers 12, 3.5 and names: Łódź, Çelik.")
ORIGIN = "fedethics.json"
_MODEL_CARD = "MODEL_CARD.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        out: the model's folder.
        precision: of the weights.
        apart: largest difference to the base together with the adapter, on fixed texts, as a share
            of the largest output.
        size: of all files, in bytes.
    """

    out: Path
    precision: Precision
    apart: float
    size: int


def export_release(
    run_dir: Path,
    *,
    out: Path,
    model_dir: Path | None = None,
    precision: Precision = "float32",
) -> Exported:
    """Verify a release, merge its adapter into the base, and write the model with its tokenizer.

    Args:
        run_dir: the release.
        out: the folder to write; it must not exist.
        model_dir: folder of the base model; None for one that comes with a package.
        precision: of the weights. With sixteen bits, a small change may round to nothing.

    Raises:
        ReleaseError: the release does not verify, is not released, or was withdrawn; or `out`
            exists, lies in the release, or cannot be written.
        ModelError: the base is missing, another, or quantised; or the merged model's outputs
            differ. Nothing was left behind.
    """
    _require_new(out, run_dir)
    opened = require_released(run_dir)
    _require_plain_base(opened.charter)
    learner, vector = released_adapter(opened, model_dir, Compute())
    with _making(out) as part:
        with tempfile.TemporaryDirectory() as scratch:
            learner.save_adapter(vector, Path(scratch))
            merged, expected = _merged(opened.charter, learner, Path(scratch), model_dir)
        _write(part, merged, learner, opened, precision)
        del merged
        apart = _difference(part, learner, opened.charter, expected)
        _require_close(apart, precision)
        require_released(run_dir)  # merging took a while; it may have been withdrawn
        os.rename(part, out)
    size = sum(path.stat().st_size for path in out.iterdir())
    return Exported(out=out, precision=precision, apart=apart, size=size)


@contextmanager
def _making(out: Path) -> Iterator[Path]:
    """Yield a new folder beside `out`, and remove it unless it got another name."""
    part = None
    try:
        # A name of its own: another export, or somebody's folder, is not touched.
        part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        part.chmod(0o755)
        yield part
    except OSError as error:
        raise ReleaseError(f"{out} cannot be written: {error.strerror}") from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def _require_new(out: Path, run_dir: Path) -> None:
    if os.path.lexists(out):
        raise ReleaseError(f"--out {out} exists already and is kept; give another name")
    if not out.parent.is_dir():
        raise ReleaseError(f"--out {out}: {out.parent} is no folder. Nothing was exported")
    if run_dir.resolve() in out.resolve().parents:
        raise ReleaseError(
            f"--out {out} lies in the release itself, which would no longer be as it was signed; "
            "give a folder elsewhere. Nothing was exported"
        )


def _require_plain_base(charter: Charter) -> None:
    scheme = charter.model.quantisation
    if scheme != "none":
        raise ModelError(
            f"the adapter was trained on a base in {scheme} and judged with it; merged into the "
            "unrounded base it is another model, which nobody judged. Nothing was exported. Load "
            "the adapter with peft on a base rounded in the same way"
        )


def _merged(
    charter: Charter, learner: Learner, adapter: Path, model_dir: Path | None
) -> tuple[Any, list[Tensor]]:
    """Return the merged model in float32, and what base and adapter give for the probes."""
    task = find_task(charter.model.task)
    base = locate_model(charter.model, model_dir=model_dir)
    loaded = load_base(base, task, classes=learner.classes, max_tokens=charter.model.max_tokens)
    model = _plain(loaded.model)
    model.config.pad_token_id = learner.tokenizer.pad_token_id
    with torch.random.fork_rng(devices=[]), Quiet():
        beside = PeftModel.from_pretrained(model, str(adapter)).eval()
        expected = _outputs(beside, learner, charter)
        merged: Any = beside.merge_and_unload()
    return merged, expected


def _plain(model: Any) -> Any:  # noqa: ANN401
    """Return a model in float32, without what is said of the file that it was read from.

    The weights of a .gguf file are float32 once they are read, and transformers still refuses to
    convert or save them as those of a quantised model.
    """
    if getattr(model, "is_quantized", False):
        model.is_quantized, model.hf_quantizer = False, None
        model.config.quantization_config = None
        del model.config.quantization_config
    return model.float()


def _outputs(model: Any, learner: Learner, charter: Charter) -> list[Tensor]:  # noqa: ANN401
    found = []
    for text in (*_PROBES, example_text(charter.data)):
        ids = learner.tokenizer(text, truncation=True, max_length=learner.max_tokens)["input_ids"]
        with torch.no_grad():
            found.append(model(input_ids=torch.tensor([ids])).logits.float())
    return found


def _write(
    out: Path,
    merged: Any,  # noqa: ANN401
    learner: Learner,
    opened: Folder,
    precision: Precision,
) -> None:
    charter = opened.charter
    config = merged.config
    config.use_cache, config._name_or_path = True, ""
    if find_task(charter.model.task).trains_head:
        names = dict(enumerate(find_task(charter.model.task).classes(charter.data.labels)))
        config.id2label = names
        config.label2id = {name: number for number, name in names.items()}
        config.problem_type = "single_label_classification"
    else:
        merged.generation_config = _generation(learner)
    with Quiet():
        merged.to(_DTYPES[precision]).save_pretrained(out, safe_serialization=True)
    tokenizer = _tokenizer(learner, charter)
    tokenizer.save_pretrained(out)
    files = {
        "README.md": readme(opened).encode(),
        ORIGIN: canonical.encode(_origin(opened, precision)),
        _MODEL_CARD: durable.read(opened.path / folder.CARD),
    }
    for name, data in files.items():
        durable.write(out / name, data)


def _generation(learner: Learner) -> GenerationConfig:
    """Return greedy generation that ends as at the sites: at any control token."""
    return GenerationConfig(
        do_sample=False,
        eos_token_id=sorted(learner.tokenizer.controls) or None,
        pad_token_id=learner.tokenizer.pad_token_id,
    )  # type: ignore[no-untyped-call]


def _tokenizer(learner: Learner, charter: Charter) -> Any:  # noqa: ANN401
    """Return the sites' own tokenizer, as Hugging Face holds one."""
    reader = learner.tokenizer
    raw = Tokenizer.from_str(reader.as_file())
    marks = dict(reader.chat.tokens) | {"pad_token": raw.id_to_token(reader.pad_token_id)}
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=raw,
        model_max_length=charter.model.max_tokens,
        model_input_names=["input_ids", "attention_mask"],
        **marks,
    )
    template = charter.model.chat_template or reader.chat.template
    if template and not charter.model.prompt:
        tokenizer.chat_template = template
    return tokenizer


def _difference(out: Path, learner: Learner, charter: Charter, expected: list[Tensor]) -> float:
    """Return how far the folder's outputs are from `expected`, as a share of the largest.

    Raises:
        ModelError: the folder's tokenizer reads a text differently from the sites.
    """
    task = find_task(charter.model.task)
    with Quiet():
        model = LOADERS[task.architecture].from_pretrained(
            out, local_files_only=True, trust_remote_code=False, dtype=torch.float32
        )
        tokenizer = AutoTokenizer.from_pretrained(out, local_files_only=True)
    for text in (*_PROBES, example_text(charter.data)):
        own = learner.tokenizer(text, truncation=True, max_length=learner.max_tokens)["input_ids"]
        if tokenizer(text, truncation=True)["input_ids"] != own:
            raise ModelError(
                "the written tokenizer does not read a text as the sites do; nothing was exported. "
                "Score with `fedethics release score`"
            )
    found = _outputs(model.eval(), learner, charter)
    largest = max(float(one.abs().max()) for one in expected)
    pairs = zip(found, expected, strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs) / max(largest, 1e-12)


def _require_close(apart: float, precision: Precision) -> None:
    # Written so that a number that is none is refused too.
    if not apart <= _APART[precision]:
        raise ModelError(
            f"the merged model in {precision} differs from the judged one by {apart:.2g} of its "
            f"largest output, and {_APART[precision]:g} is allowed; nothing was exported. Take "
            "--precision float32, or load the adapter with peft"
        )


def _origin(opened: Folder, precision: Precision) -> canonical.Json:
    """Return where the model comes from, for programs."""
    charter, evidence = opened.charter, opened.evidence
    verdict, sentence = standing(opened)
    labelled = charter.data.label is not None
    return {
        "exported-by": f"fedethics {__version__}",
        "precision": precision,
        "run": evidence.run_id,
        "charter": charter.name,
        "charter-sha256": evidence.charter_hash,
        "manifest-sha256": durable.file_sha256(opened.path / folder.MANIFEST),
        "adapter-sha256": evidence.model_hash,
        "base": {"name": charter.model.name, "sha256": charter.model.sha256},
        "task": charter.model.task,
        "classes": [*charter.data.labels.names] if labelled else [],
        "threshold": str(charter.privacy.evaluation.threshold) if labelled else "",
        "gate": verdict,
        "decision": sentence,
    }


def standing(opened: Folder) -> tuple[str, str]:
    """Return the gate's verdict, and in words whether the release may be used."""
    verdict = gate.judge(opened).verdict
    decision, _ = decided(opened, verdict)
    return verdict, decision.sentence


def readme(opened: Folder) -> str:
    """Return the folder's README: what the model is, whether it may be used, and code that runs."""
    charter = opened.charter
    verdict, sentence = standing(opened)
    return (
        f"# {texts.markdown(charter.name)}\n\n"
        f"{texts.markdown(charter.model.name)}, fine-tuned in run {opened.evidence.run_id} of this "
        "charter, the adapter merged into the base.\n\n"
        f"Gate: {verdict}. {texts.markdown(sentence)}\n\n"
        "A later withdrawal of the release does not reach this copy: ask the release's keeper, or "
        f"compare the hashes in `{ORIGIN}` with `withdrawal.json`. The model card of the release, "
        f"with every figure and what was not measured, is `{_MODEL_CARD}`.\n\n"
        f"## How to use\n\n```python\n{usage.of_merged(charter)}```\n"
    )
