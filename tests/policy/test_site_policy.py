"""The policy file: read strictly, owned by the site, signed where it asks for it."""

import dataclasses
import os
from pathlib import Path

import pytest

from fedethics.errors import PolicyError
from fedethics.identity import Identity
from fedethics.policy.model import load_policy
from fedethics.policy.signatures import sign_policy, signature_path
from fedethics.policy.template import policy_text


def write(tmp_path, text):
    path = tmp_path / "policy.toml"
    path.write_text(text)
    return path


def test_the_example_file_is_the_template_and_is_valid(root):
    path = root / "configs" / "policy.example.toml"
    assert path.read_text() == policy_text()
    policy = load_policy(path)
    assert policy.caps.epsilon_per_data_set == 8.0
    assert not policy.allow.without_dp and not policy.allow.fixed_noise


def test_a_site_without_a_policy_refuses(tmp_path):
    with pytest.raises(PolicyError, match="cannot be read"):
        load_policy(tmp_path / "policy.toml")


def test_everything_wrong_with_a_policy_is_reported_at_once(tmp_path):
    text = (
        policy_text()
        .replace("epsilon-per-run = 3.0", 'epsilon-per-run = "three"')
        .replace("cohort = 3", "cohort = 2\nmaximum-cohort = 9")
        .replace('units = ["record"]', "units = []")
        .replace('charters = ["any"]', 'charters = ["all"]')
        .replace("delta = 0.0001", "delta = 1.5")
    )
    with pytest.raises(PolicyError) as caught:
        load_policy(write(tmp_path, text))
    for expected in (
        "caps.epsilon-per-run: expected a number",
        "caps.delta: must be below 1",
        "minimum.cohort: must be at least 3",
        "minimum.maximum-cohort: unknown key",
        "allow.units: must not be empty",
        "allow.charters[0]: 'all' does not match",
        "this site refuses all work",
    ):
        assert expected in str(caught.value)


@pytest.mark.parametrize("key", ["epsilon-per-data-set", "releases", "noise-multiplier"])
def test_a_policy_that_leaves_a_limit_out_is_refused(tmp_path, key):
    lines = [line for line in policy_text().splitlines() if not line.startswith(key)]
    with pytest.raises(PolicyError, match=f"{key}: missing"):
        load_policy(write(tmp_path, "\n".join(lines)))


@pytest.mark.parametrize("value", ["inf", "nan", "0", "-1.0"])
def test_a_cap_that_caps_nothing_is_refused(tmp_path, value):
    text = policy_text().replace("epsilon-per-data-set = 8.0", f"epsilon-per-data-set = {value}")
    with pytest.raises(PolicyError, match="epsilon-per-data-set"):
        load_policy(write(tmp_path, text))


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o602])
def test_a_policy_that_others_than_its_owner_may_write_is_refused(tmp_path, mode):
    path = write(tmp_path, policy_text())
    path.chmod(mode)
    with pytest.raises(PolicyError, match="others than its owner could raise its caps"):
        load_policy(path)


def test_a_policy_that_asks_for_two_officers_needs_both_and_no_edit_after(tmp_path):
    officers = [Identity.generate(), Identity.generate()]
    keys = ", ".join(f'"{officer.public_key}"' for officer in officers)
    text = (
        policy_text()
        .replace("public-keys = []", f"public-keys = [{keys}]")
        .replace("required-signatures = 0", "required-signatures = 2")
    )
    path = write(tmp_path, text)
    with pytest.raises(PolicyError, match="cannot be read"):
        load_policy(path)
    sign_policy(path, officers[0])
    sign_policy(path, officers[0])
    sign_policy(path, Identity.generate())
    with pytest.raises(PolicyError, match="2 asked for, 1 valid"):
        load_policy(path)
    assert sign_policy(path, officers[1]) == 3
    assert load_policy(path).officers.required_signatures == 2
    path.write_text(text.replace("epsilon-per-run = 3.0", "epsilon-per-run = 30.0"))
    with pytest.raises(PolicyError, match="2 asked for, 0 valid"):
        load_policy(path)
    path.write_text(text)
    signature_path(path).write_text('{"public-key": 1}')
    with pytest.raises(PolicyError, match="not a JSON list"):
        load_policy(path)


def test_more_signatures_than_officers_is_refused(tmp_path):
    text = policy_text().replace("required-signatures = 0", "required-signatures = 1")
    with pytest.raises(PolicyError, match="exceeds the 0 public-keys"):
        load_policy(write(tmp_path, text))


def test_without_dp_has_no_cap_only_where_the_policy_allows_it(tmp_path):
    policy = load_policy(write(tmp_path, policy_text()))
    assert policy.cap(with_dp=False) == policy.cap(with_dp=True)
    open_minded = dataclasses.replace(
        policy, allow=dataclasses.replace(policy.allow, without_dp=True)
    )
    assert open_minded.cap(with_dp=False).epsilon == float("inf")
    assert open_minded.cap(with_dp=True) == policy.cap(with_dp=True)


def test_a_dtype_that_is_not_known_is_refused_with_those_that_are(tmp_path):
    text = policy_text().replace('dtype = "float32"', 'dtype = "float16"')
    with pytest.raises(PolicyError, match="expected one of float32, bfloat16"):
        load_policy(write(tmp_path, text))


def test_a_signed_copy_cannot_be_raced_in_behind_an_unsigned_policy(tmp_path, monkeypatch):
    officer = Identity.generate()
    text = (
        policy_text()
        .replace("public-keys = []", f'public-keys = ["{officer.public_key}"]')
        .replace("required-signatures = 0", "required-signatures = 1")
    )
    path = write(tmp_path, text)
    sign_policy(path, officer)
    path.write_text(text.replace("epsilon-per-run = 3.0", "epsilon-per-run = 30.0"))
    genuine, opened = Path.open, []

    def racing(self, *args, **more):
        file = genuine(self, *args, **more)
        if self == path:
            # The moment the policy is open, the copy that was signed takes its name.
            opened.append(self)
            copy = tmp_path / "copy"
            copy.write_text(text)
            os.replace(copy, path)
        return file

    monkeypatch.setattr(Path, "open", racing)
    with pytest.raises(PolicyError, match="1 asked for, 0 valid"):
        load_policy(path)
    assert opened == [path]
    monkeypatch.undo()
    assert load_policy(path).caps.epsilon_per_run == 3.0


def test_the_mode_that_counts_is_that_of_the_file_that_was_read(tmp_path, monkeypatch):
    path = write(tmp_path, policy_text())
    path.chmod(0o666)
    genuine = Path.open

    def racing(self, *args, **more):
        file = genuine(self, *args, **more)
        if self == path:
            copy = tmp_path / "copy"
            copy.touch(mode=0o600)
            os.replace(copy, path)
        return file

    monkeypatch.setattr(Path, "open", racing)
    with pytest.raises(PolicyError, match="mode 0666"):
        load_policy(path)


def test_a_policy_from_before_the_floor_of_honest_sites_asks_for_two(tmp_path):
    lines = [line for line in policy_text().splitlines() if not line.startswith("honest-sites")]
    assert load_policy(write(tmp_path, "\n".join(lines))).minimum.honest_sites == 2
    with pytest.raises(PolicyError, match=r"minimum\.honest-sites: must be at least 2"):
        load_policy(write(tmp_path, policy_text(honest_sites=1)))
