"""The officer's commands: budget, policy, charter, doctor."""

import math
import re
import subprocess
import sys

import pytest

from fedethics.charter.document import hash_of, load
from fedethics.policy.model import load_policy
from fedethics.policy.template import policy_text
from fedethics.privacy.accounting import attack_bound
from fedethics.privacy.events import SampledGaussian
from fedethics.privacy.plan import make_plan
from tests.privacy.charters import HEART


def test_a_plan_gives_the_noise_the_run_will_use_and_says_what_epsilon_means(fedethics):
    plan = make_plan(load(HEART))
    said = fedethics("budget", "plan", HEART, "--json").json
    assert said["training"]["noise-multiplier"] == plan.update.noise_multiplier
    assert said["training"]["epsilon"] == plan.training.epsilon
    assert said["evaluation"]["std"]["counts"] == plan.fairness.counts.std
    assert said["evaluation"]["std-in-sum"]["counts"] == math.sqrt(
        plan.fairness.counts.sum_variance
    )
    assert (said["unit"], said["neighbouring"]) == ("record", "add-or-remove-one")
    words = dict(reversed(said["meaning"]))
    strict = 100 * attack_bound(plan.training.epsilon, plan.delta, 0.01)
    assert f"finds at most {strict:.3g} %" in words["a training record"]
    assert "1 false accusation in 100" in words["a training record"]
    assert "up to 1 of the sites. At least 2 honest sites" in str(said["meaning"])
    assert len(said["not-covered"]) >= 5


def test_a_plan_without_a_charter_answers_from_the_terms_alone(fedethics):
    terms = [
        "--rounds",
        "20",
        "--epsilon",
        "3",
        "--delta",
        "1e-4",
        "--sampling-rate",
        "0.1",
        "--local-steps",
        "2",
    ]
    said = fedethics("budget", "plan", "--records", "261", *terms, "--json").json
    assert said["training"]["steps"] == 40
    assert said["training"]["epsilon"] <= 3
    (site,) = said["sites"]
    assert site["expected-batch"] == pytest.approx(26.1)
    sigma = said["training"]["noise-multiplier"]
    assert site["signal-to-noise"] == pytest.approx(26.1 / sigma)
    rounds = said["epsilon-against"]["rounds"]
    assert [point[0] for point in rounds] == [5, 10, 20, 40, 80]
    assert [point[1] for point in rounds] == sorted(point[1] for point in rounds)
    assert dict(map(tuple, rounds))[20] == said["training"]["epsilon"]


def test_a_plan_says_which_sites_cannot_take_part_and_why(fedethics):
    sites = ["--site", "big=20000", "--site", "small=100", "--site", "tiny=1"]
    outcome = fedethics("budget", "plan", HEART, *sites)
    assert "big" in outcome.out and "no: delta 0.0001 is not below" in outcome.out
    assert "noise of a step is larger" in outcome.out
    assert "only 2 sites can take part, below secagg.minimum-cohort 3" in outcome.out
    assert outcome.exit_code == 5
    terms = ["--records", "100", "--delta", "0.05"]
    assert fedethics("budget", "plan", *terms).exit_code == 5
    assert fedethics("budget", "plan", "--records", "100", "--delta", "1e-5").exit_code == 0


def test_a_plan_says_what_besides_the_gradients_a_trained_record_pays_for(fedethics):
    asked = fedethics("budget", "plan", HEART, "--json").json["training"]
    assert asked["gradients-epsilon"] < asked["epsilon"]
    shown = " ".join(fedethics("budget", "plan", HEART).out.split())
    assert "the rest is for the audit's histogram" in shown
    assert f"{asked['gradients-epsilon']:.4g}" in shown


def test_a_plan_says_whether_a_step_can_be_heard_over_its_noise(fedethics):
    sites = ("--site", "a=400", "--site", "b=400", "--site", "c=400")
    unknown = " ".join(fedethics("budget", "plan", HEART, *sites).out.split())
    assert "give --with-model or --parameters" in unknown
    said = fedethics("budget", "plan", HEART, *sites, "--parameters", "92160", "--json").json
    sigma, signal = said["training"]["noise-multiplier"], said["step-signal"]
    assert signal["bound"] == pytest.approx(600 / (sigma * (3 * 92160) ** 0.5))
    assert "trained parameters" in " ".join(said["warnings"])
    few = fedethics("budget", "plan", HEART, *sites, "--parameters", "100", "--json").json
    assert few["step-signal"]["bound"] > 2 and few["warnings"] == []


def test_a_plan_says_when_states_of_frozen_layers_are_not_kept(fedethics):
    terms = ("--records", "1000", "--rounds", "5", "--json", "--sampling-rate")
    once, often = (fedethics("budget", "plan", *terms, rate).json for rate in ("0.2", "0.4"))
    assert "frozen layers" in " ".join(once["warnings"]) and often["warnings"] == []


def test_the_html_plan_is_one_file_that_loads_nothing(fedethics, tmp_path):
    page = tmp_path / "plan.html"
    fedethics("budget", "plan", HEART, "--site", "a<b=200", "--report", page)
    text = page.read_text()
    assert text.count("<svg") == 3
    assert "a&lt;b" in text and "a<b" not in text
    assert not re.search(r"(src|href)=\"(?!#)|url\((?!#)|@import|<script", text)
    assert "20.1 %" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--site", "alpha"], "expected NAME=RECORDS"),
        (["--rounds", "0"], "--rounds must be at least 1"),
        (["--epsilon", "-1"], "epsilon -1.0 is not finite and above 0"),
        (["--epsilon", "inf"], "epsilon inf is not finite"),
        (["--delta", "0"], "delta 0 is not in"),
        (["--sampling-rate", "1.5"], "sampling_rate 1.5 is not in (0, 1]"),
    ],
)
def test_terms_that_make_no_sense_are_one_clear_error(fedethics, arguments, message):
    outcome = fedethics("budget", "plan", "--records", "100", *arguments)
    assert outcome.exit_code == 2
    assert message in outcome.err
    assert outcome.out == ""


def test_a_malformed_charter_is_one_message_and_no_traceback(tmp_path):
    broken = tmp_path / "broken.toml"
    broken.write_text(HEART.read_text().replace("epsilon = 3.0", 'epsilon = "eight"'))
    done = subprocess.run(
        [sys.executable, "-m", "fedethics.cli.main", "charter", "check", str(broken)],
        capture_output=True,
        text=True,
        check=False,
        cwd=HEART.parents[1],
    )
    assert done.returncode == 2
    assert done.stderr.startswith("fedethics: [FE101]")
    assert "privacy.training.epsilon: expected a number, got text 'eight'" in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""


def test_a_charter_is_shown_with_the_hash_that_names_it(fedethics):
    charter = load(HEART)
    checked = fedethics("charter", "check", HEART, "--json").json
    assert checked["hash"] == hash_of(charter) and checked["draft"]
    shown = fedethics("charter", "show", HEART).out
    assert hash_of(charter) in shown
    assert "equal_opportunity_difference" in shown and "race, income and language" in shown
    document = fedethics("charter", "show", HEART, "--json").json
    assert document["charter"]["privacy"]["delta"] == 1e-4


def test_policy_init_writes_a_policy_that_checks_and_never_overwrites(fedethics, tmp_path):
    path = tmp_path / "site" / "policy.toml"
    assert fedethics("policy", "init", path, "--charter", "e" * 64).exit_code == 0
    assert load_policy(path).allow.charters == ("e" * 64,)
    checked = fedethics("policy", "check", path, "--json").json
    assert checked["policy"]["caps"]["epsilon-per-run"] == 3.0
    assert any("anyone who can edit" in caution for caution in checked["cautions"])
    again = fedethics("policy", "init", path)
    assert again.exit_code == 2 and "was not changed" in again.err
    path.write_text(path.read_text() + "\n[extra]\n")
    broken = fedethics("policy", "check", path)
    assert broken.exit_code == 2 and "[FE201]" in broken.err and "extra: unknown key" in broken.err


def test_an_officer_can_sign_a_policy(fedethics, tmp_path):
    from fedethics.identity import Identity

    officer = Identity.generate()
    officer.save(tmp_path / "officer.key")
    policy = tmp_path / "policy.toml"
    fedethics("policy", "init", policy)
    text = policy.read_text().replace("public-keys = []", f'public-keys = ["{officer.public_key}"]')
    policy.write_text(text.replace("required-signatures = 0", "required-signatures = 1"))
    assert fedethics("policy", "check", policy).exit_code == 2
    assert fedethics("policy", "sign", policy, "--key", tmp_path / "officer.key").exit_code == 0
    assert fedethics("policy", "check", policy).exit_code == 0


def test_doctor_names_a_package_of_the_wrong_version(fedethics, monkeypatch):
    assert fedethics("doctor", "--json").json["healthy"]
    from fedethics import installation

    monkeypatch.setattr(installation, "version", lambda name: "0.0.1")
    outcome = fedethics("doctor")
    assert outcome.exit_code == 7
    assert "needs 1.41.* or 1.42.*" in " ".join(outcome.out.split())


def test_a_large_budget_is_not_called_private(fedethics):
    said = fedethics("budget", "plan", "--records", "100", "--epsilon", "50", "--json").json
    assert "finds at most all of those" in str(said["meaning"])
    assert SampledGaussian(said["training"]["noise-multiplier"], 0.1, 20).steps == 20


def test_a_key_that_is_no_officers_signs_no_policy_and_the_command_says_so(fedethics, tmp_path):
    from fedethics.identity import Identity

    officer, other = Identity.generate(), Identity.generate()
    officer.save(tmp_path / "officer.key")
    other.save(tmp_path / "other.key")
    policy = tmp_path / "policy.toml"
    fedethics("policy", "init", policy)
    for named in ("", f'"{officer.public_key}"'):
        text = policy.read_text()
        policy.write_text(re.sub(r"public-keys = \[.*\]", f"public-keys = [{named}]", text))
        refused = fedethics("policy", "sign", policy, "--key", tmp_path / "other.key")
        assert refused.exit_code == 2 and "is no officer's" in refused.err
        assert not policy.with_name("policy.toml.sig").exists()
    assert fedethics("policy", "sign", policy, "--key", tmp_path / "officer.key").exit_code == 0
    leaving = ("policy", "sign", policy, "--key", tmp_path / "other.key", "--leaving")
    said = fedethics(*leaving)
    assert said.exit_code == 0 and "is no officer's" in said.out
    assert fedethics(*leaving, "--json").json["officer"] is False


@pytest.mark.parametrize("run", [1.0, 4.0])
@pytest.mark.parametrize("year", [1.5, 5.0])
@pytest.mark.parametrize("life", [2.0, 6.0])
def test_policy_check_names_each_cap_that_another_makes_void(fedethics, tmp_path, run, year, life):
    path = tmp_path / "policy.toml"
    path.write_text(
        policy_text(epsilon_per_run=run, epsilon_per_year=year, epsilon_per_data_set=life)
    )
    cautions = " ".join(fedethics("policy", "check", path, "--json").json["cautions"])
    for narrow, small, wide, large in (
        ("run", run, "year", year),
        ("run", run, "data-set", life),
        ("year", year, "data-set", life),
    ):
        said = f"caps.epsilon-per-{narrow} {small:g} is above caps.epsilon-per-{wide} {large:g}"
        assert (said in cautions) is (small > large)


def test_policy_check_names_floors_that_contradict_each_other(fedethics, tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text(policy_text(honest_sites=5, cohort=3, records=50, delta=0.05))
    cautions = " ".join(fedethics("policy", "check", path, "--json").json["cautions"])
    assert "minimum.honest-sites 5 is above" in cautions
    assert "caps.delta 0.05 is not below" in cautions
