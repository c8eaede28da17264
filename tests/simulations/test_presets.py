"""Every preset of configs/: it loads, it is honest about its partition, and its data are read.

The data sets are fetched on demand; a test that needs one that is not there skips by name.
"""

import collections
import functools
import tomllib
from pathlib import Path

import pytest

from fedethics.data.reading import read_records
from fedethics.data.records import group_counts, split
from fedethics.fairness.partition import MINIMUM_CELL, MINIMUM_SITES
from fedethics.policy.model import load_policy
from fedethics.simulation.scenario import data_folder, load
from simulations.datasets.__main__ import DATASETS, ROOT

CONFIGS = Path(__file__).parents[2] / "configs"
PRESETS = ("adult", "compas", "credit", "mpls-stops", "redditbias", "resume", "support2")
# Every scenario of the folder, those of language models and variants of a preset among them.
SCENARIOS = sorted(
    path.stem
    for path in CONFIGS.glob("*.toml")
    if not path.name.startswith("policy.") and not path.name.endswith(".charter.toml")
)
NATURAL = {"heart", "mpls-stops"}
INDUSTRIES = {"healthcare", "finance", "law-enforcement", "content-moderation", "hiring"}
# What must not sway a decision about a person is read for the groups and never told to the model.
NEVER_TOLD = {
    "adult": {"sex", "race"},
    "compas": {"sex", "race"},
    "credit": {"sex", "age", "marriage"},
    "mpls-stops": {"race", "gender"},
    "redditbias": set(),
    "resume": {"race", "gender"},
    "support2": {"race"},
}
# Records of all sites by group, before the split; whole data sets are as published.
GROUPS = {
    "compas": {
        "race": {"African-American": 3175, "Caucasian": 2103, "Hispanic": 509, "Other": 385}
    },
    "resume": {"race": {"black": 2435, "white": 2435}, "gender": {"female": 3746, "male": 1124}},
}


@pytest.fixture(params=PRESETS)
def preset(request):
    """Name, scenario and charter of a preset."""
    return request.param, *load(CONFIGS / f"{request.param}.toml")


@pytest.fixture
def sites(preset):
    """Each site's records of a preset whose data set is there."""
    name, _, _ = preset
    if not DATASETS[name].is_there(ROOT / name):
        pytest.skip(f"data set {name} is absent: python -m simulations.datasets fetch {name}")
    return _read(name)


@functools.cache
def _read(name):
    scenario, charter = load(CONFIGS / f"{name}.toml")
    folder = data_folder(scenario, ROOT, base=CONFIGS)
    return {site.name: read_records(folder / site.data, charter.data) for site in scenario.sites}


def test_there_is_a_preset_for_every_industry_that_has_real_data():
    drafts = [load(CONFIGS / f"{name}.toml")[1] for name in (*PRESETS, "heart")]
    assert {draft.charter.industry for draft in drafts} == INDUSTRIES


def test_a_preset_names_its_data_set_its_partition_and_a_policy_that_allows_it(preset):
    name, scenario, charter = preset
    assert scenario.name == scenario.dataset == charter.name == name
    kinds = {
        kind for kind in ("natural", "simulated") if f"{kind} partition" in charter.data.source
    }
    assert kinds == {"natural" if name in NATURAL else "simulated"}
    assert len(scenario.sites) >= MINIMUM_SITES
    for site in scenario.sites:
        caps = load_policy(CONFIGS / site.policy).caps
        assert charter.privacy.training.epsilon <= caps.epsilon_per_run
        assert charter.privacy.delta <= caps.delta < 1 / site.declared_records


def test_a_preset_says_who_is_harmed_what_is_not_measured_and_asks_of_every_feature(preset):
    _, _, charter = preset
    ethics = charter.ethics
    assert ethics.harmed and ethics.reference_population and len(ethics.not_measured) >= 3
    assert ethics.objectives[0].metric == "roc_auc_score"
    asked = {name for one in ethics.objectives for name in one.feature.split("*") if name}
    assert asked == {feature.name for feature in charter.data.sensitive}


def test_bars_are_those_of_practice_and_not_of_a_result(preset):
    _, _, charter = preset
    for objective in charter.ethics.objectives:
        if objective.metric.endswith("_difference"):
            assert objective.bar == 0.10
        elif objective.metric == "four_fifths":
            assert objective.bar == 0.80
            assert "screening" in "".join(
                one.why for one in charter.ethics.objectives if one.metric == "four_fifths"
            )
        elif objective.metric.startswith("roc_auc_score"):
            assert objective.bar == 0.70


def test_hiring_asks_impact_ratios_by_race_by_sex_and_by_both():
    charter = load(CONFIGS / "resume.toml")[1]
    features = {one.feature for one in charter.ethics.objectives if one.metric == "four_fifths"}
    assert features == {"race", "gender", "race*gender"}
    assert any(
        "unknown" in said and "Local Law 144" in said for said in charter.ethics.not_measured
    )


def test_what_must_not_sway_a_decision_is_never_told_to_the_model(preset):
    name, _, charter = preset
    told = {column.name for column in charter.data.columns if column.phrase}
    read = {column.name for column in charter.data.columns}
    assert NEVER_TOLD[name] <= read
    assert not NEVER_TOLD[name] & told


def test_every_record_of_the_data_set_is_read_and_none_is_left_out(preset, sites):
    name, scenario, _ = preset
    with (ROOT / name / "all.csv").open(encoding="utf-8") as file:
        rows = sum(1 for _ in file) - 1
    used = sum(len(records) for records in sites.values())
    assert not any(records.dropped for records in sites.values())
    assert used == pytest.approx(scenario.partition.keep * rows, rel=0.03)


def test_groups_have_the_published_counts(preset, sites):
    name, _, charter = preset
    totals = collections.defaultdict(collections.Counter)
    for records in sites.values():
        for feature, counts in group_counts(records, charter.data).items():
            totals[feature].update(counts)
    for feature, counts in totals.items():
        assert sum(counts.values()) == sum(map(len, sites.values()))
        if name in GROUPS and feature in GROUPS[name]:
            assert counts == GROUPS[name][feature]


def test_every_group_is_large_enough_and_at_enough_sites_to_be_shown(preset, sites):
    _, _, charter = preset
    held_out = [split(records, charter.data).held_out for records in sites.values()]
    counts = [group_counts(records, charter.data) for records in held_out]
    for feature in charter.data.sensitive:
        for group in feature.groups:
            here = [count[feature.name][group] for count in counts]
            assert sum(here) >= MINIMUM_CELL
            assert sum(map(bool, here)) >= MINIMUM_SITES


def test_declared_sizes_are_the_training_sizes_to_the_nearest_ten(preset, sites):
    _, scenario, charter = preset
    for site in scenario.sites:
        train = len(split(sites[site.name], charter.data).train)
        assert abs(site.declared_records - train) <= 5


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_site_has_as_many_records_as_its_policy_asks_for(name):
    scenario, charter = load(CONFIGS / f"{name}.toml")
    dataset = scenario.dataset
    if not DATASETS[dataset].is_there(ROOT / dataset):
        pytest.skip(f"data set {dataset} is absent: python -m simulations.datasets fetch {dataset}")
    for site in scenario.sites:
        floor = load_policy(CONFIGS / site.policy).minimum.records
        parts = split(_read(name)[site.name], charter.data)
        fewest = min(parts.train.unit_count, parts.held_out.unit_count)
        assert fewest >= floor, site.name


def test_the_cut_is_one_half_or_at_the_share_of_positive_labels(preset, sites):
    _, _, charter = preset
    evaluation = charter.privacy.evaluation
    labels = [label for records in sites.values() for label in records.labels.tolist()]
    share = sum(labels) / len(labels)
    # Finer bins within it change no decision.
    edges = min(evaluation.bins, 64)
    nearest = round(share * edges) / edges
    assert evaluation.threshold in (0.5, nearest)


def test_the_longest_texts_fit_into_the_models_tokens(preset, sites):
    from tokenizers import Tokenizer

    from fedethics.training.locate import locate_model

    _, _, charter = preset
    folder = locate_model(charter.model, model_dir=None).folder
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    texts = [text for records in sites.values() for text in records.texts]
    longest = sorted(texts, key=len)[-50:]
    lengths = [sum(coded.attention_mask) for coded in tokenizer.encode_batch(longest)]
    assert max(lengths) <= charter.model.max_tokens


def test_no_preset_pretends_to_be_retail():
    for path in CONFIGS.glob("*.charter.toml"):
        assert tomllib.loads(path.read_text())["charter"]["industry"] != "retail"
