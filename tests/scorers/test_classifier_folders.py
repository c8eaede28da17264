"""A text classifier in a folder as scorer: pinned by hash and label, each text alone."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification, pipeline
from typer.testing import CliRunner

from fedethics import terms as tables
from fedethics.aggregates.measures.site import _of_answers
from fedethics.charter import document
from fedethics.charter.classifier_terms import ClassifierTerms
from fedethics.charter.document import load
from fedethics.charter.measure_terms import GenerationTerms, MeasureObjective, MeasureTerms
from fedethics.cli.main import app
from fedethics.data.content import Completion
from fedethics.errors import CharterError, ModelError
from fedethics.scorers import score_of
from fedethics.scorers.folder import folder_digest, labels_of, locate, scorer_folders
from fedethics.site.request_context import RequestContext
from fedethics.training.generation import answers
from fedethics.training.learner import Learner
from fedethics.training.text_classifier import TextClassifier
from tests.learning_tasks.tiny_chat import chat_charter, save_chat_model
from tests.scorers.tiny_classifier import save_classifier

torch.set_num_threads(1)
LETTERS = Path(__file__).parents[2] / "examples" / "sft" / "letters.charter.toml"
ANSWERS = ("a b c", "q r s t", "a", "", "[SEP] a", " ".join(["b"] * 200))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_classifier(tmp_path_factory.mktemp("scorer"))


def pinned(folder, **changes):
    told = {"name": "toxicity", "sha256": folder_digest(folder), "label": "toxic", **changes}
    return ClassifierTerms(**told)


def test_a_score_is_the_probability_that_hugging_faces_own_pipeline_gives(folder):
    theirs = pipeline("text-classification", model=str(folder), top_k=None)
    for label in ("toxic", "fine"):
        ours = TextClassifier(folder, pinned(folder, label=label))
        for answer in ANSWERS[:5]:
            expected = {one["label"]: one["score"] for one in theirs([answer])[0]}[label]
            assert ours.score(answer, reference="x") == pytest.approx(expected, abs=1e-6)
    assert len({round(ours.score(answer, reference=""), 3) for answer in ANSWERS}) > 3


def test_a_longer_answer_is_cut_and_a_score_that_is_no_number_counts_as_the_worst(folder):
    ours = TextClassifier(folder, pinned(folder, max_tokens=4))
    assert ours.score("a b c d e f", reference="") == ours.score("a b", reference="")
    ours._model.classifier.bias.data.fill_(float("nan"))
    assert np.isnan(ours.score("a", reference=""))
    assert score_of(ours, "a", reference="") == 1.0
    ours._model = None  # any failure of one record is no error that tells of it
    assert score_of(ours, "a", reference="") == 1.0
    wanted = TextClassifier(folder, pinned(folder, unwanted=False))
    wanted._model.classifier.bias.data.fill_(float("nan"))
    assert score_of(wanted, "a", reference="") == 0.0


def test_a_file_name_that_could_stand_for_two_files_is_refused(folder, tmp_path):
    strange = shutil.copytree(folder, tmp_path / "strange")
    (strange / f"a\n{'0' * 64}  b").write_text("x")
    with pytest.raises(ModelError, match="character that is not printed"):
        folder_digest(strange)


def test_a_folder_is_read_again_only_where_a_file_changed(folder, tmp_path, monkeypatch):
    own, read = shutil.copytree(folder, tmp_path / "own"), []
    digest = hashlib.file_digest
    monkeypatch.setattr(
        hashlib, "file_digest", lambda file, kind: read.append(file.name) or digest(file, kind)
    )
    before = folder_digest(own)
    assert len(read) == len(list(own.iterdir()))
    assert folder_digest(own) == before and len(read) == len(list(own.iterdir()))
    (own / "config.json").write_text((own / "config.json").read_text() + "\n")
    assert folder_digest(own) != before
    assert read[len(list(own.iterdir())) :] == [str(own / "config.json")]


def test_a_classifier_that_gives_no_number_or_is_a_pickle_is_refused(folder, tmp_path):
    broken = shutil.copytree(folder, tmp_path / "broken")
    model = BertForSequenceClassification.from_pretrained(folder)
    model.classifier.bias.data.fill_(float("nan"))
    model.save_pretrained(broken)
    with pytest.raises(ModelError, match="gives no number for a plain text"):
        TextClassifier(broken, pinned(broken))
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"holds no model\.safetensors"):
        folder_digest(broken)


def test_every_file_of_the_folder_is_pinned_and_what_is_not_here_is_one_clear_error(
    folder, tmp_path
):
    terms = pinned(folder)
    found = scorer_folders([f"toxicity={folder}"], tmp_path)
    assert locate(terms, found) == folder and labels_of(folder) == ("fine", "toxic")
    with pytest.raises(ModelError, match=r"is not here: nothing was charged.*toxicity=FOLDER"):
        locate(terms, {})
    with pytest.raises(ModelError, match="cannot be read"):
        locate(terms, {"toxicity": tmp_path / "nowhere"})
    with pytest.raises(ModelError, match="has no label 'rude'; it has: fine, toxic"):
        locate(dataclasses.replace(terms, label="rude"), found)
    other = shutil.copytree(folder, tmp_path / "other")
    settings = json.loads((other / "tokenizer_config.json").read_text())
    (other / "tokenizer_config.json").write_text(json.dumps({**settings, "x": 1}))
    with pytest.raises(ModelError, match="the charter pins"):
        locate(terms, {"toxicity": other})


def asked(folder, **changes):
    terms = GenerationTerms(classifiers=(pinned(folder, **changes),), max_new_tokens=4)
    bar = MeasureObjective(metric="toxicity", bar=0.2, direction="at-most", why="No insults.")
    return MeasureTerms(generation=terms, objectives=(bar,))


def test_a_site_without_the_folder_refuses_before_its_records_are_read(folder, tmp_path):
    charter = dataclasses.replace(load(LETTERS), measures=asked(folder))
    home = SimpleNamespace(scorer_dirs={}, settings=SimpleNamespace(site="east"))
    context = RequestContext(home, charter, "", None, None)
    context.__dict__["learner"] = None  # the base model is here
    with pytest.raises(ModelError, match=r"scorer toxicity/1 is not here: nothing was charged"):
        _ = context.workbench


def test_generated_answers_are_scored_by_the_classifier_of_the_site(folder, tmp_path):
    model = save_chat_model(tmp_path / "model")
    charter = dataclasses.replace(chat_charter(model), measures=asked(folder))
    learner = Learner(charter, model_dir=model)
    part = SimpleNamespace(texts=tuple(Completion(f"who {k}", "me") for k in range(6)))
    terms = pinned(folder)
    context = SimpleNamespace(
        charter=charter, site="none", classifiers={terms: folder},
        workbench=SimpleNamespace(learner=learner),
    )  # fmt: skip
    found = _of_answers(context, learner.initial_vector(), part)["toxicity"]
    said = answers(learner, learner.initial_vector(), part.texts, most=4)
    ours = TextClassifier(folder, terms)
    expected = [ours.score(said[row][0], reference="") for row in found.rows]
    assert len(found.rows) and found.values == pytest.approx(expected)


def test_a_charter_with_classifiers_is_read_as_written_and_without_them_as_before(folder):
    charter = dataclasses.replace(load(LETTERS), measures=asked(folder))
    assert document.parse(document.encode(charter)) == charter
    plain = dataclasses.replace(
        charter, measures=MeasureTerms(generation=GenerationTerms(scorers=("rouge_l/1",)))
    )
    assert b"classifiers" not in document.encode(plain)
    twice = asked(folder).generation
    twice = dataclasses.replace(twice, classifiers=twice.classifiers * 2)
    with pytest.raises(CharterError, match="two scorers have the same name"):
        document.parse(
            document.encode(
                dataclasses.replace(
                    charter, measures=dataclasses.replace(asked(folder), generation=twice)
                )
            )
        )


def test_the_command_prints_lines_that_a_charter_takes(folder):
    done = CliRunner().invoke(app, ["model", "scorer", str(folder)])
    ((told,),) = (tomllib.loads(done.output)["measures"]["generation"]["classifiers"],)
    assert told["sha256"] == folder_digest(folder) and told["label"] == "toxic"
    assert "labels: fine, toxic" in done.output
    problems = []
    assert tables.read(ClassifierTerms, told, path="", problems=problems) and problems == []
