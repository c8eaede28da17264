"""Officers cannot be taken out of a policy by whoever can edit the file."""

import pytest

from fedethics.errors import PolicyError
from fedethics.identity import Identity
from fedethics.policy.model import read_policy, require_pinned_officers
from fedethics.policy.signatures import sign_policy
from fedethics.policy.template import policy_text
from fedethics.privacy.ledger import Ledger, verify_files


class Site:
    def __init__(self, folder):
        self.path = folder / "policy.toml"
        self.key = Identity.generate()
        self.ledger = Ledger.open(folder / "ledger.db", identity=self.key, create=True)
        self.officers = [Identity.generate() for _ in range(3)]

    def write(self, officers, required, *, signed_by=(), epsilon=8.0):
        keys = ", ".join(f'"{officer.public_key}"' for officer in officers)
        text = policy_text(epsilon_per_data_set=epsilon)
        text = text.replace("public-keys = []", f"public-keys = [{keys}]")
        text = text.replace("required-signatures = 0", f"required-signatures = {required}")
        self.path.write_text(text)
        for officer in signed_by:
            sign_policy(self.path, officer)

    def obey(self):
        read = read_policy(self.path)
        require_pinned_officers(read, self.ledger)
        return read.policy


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_a_policy_without_officers_pins_nobody(site):
    site.write((), 0)
    site.obey()
    assert site.ledger.officers is None


@pytest.mark.parametrize("left", [0, 1])
def test_taking_officers_out_or_asking_for_fewer_needs_the_pinned_ones(site, left):
    first, second, _ = site.officers
    site.write((first, second), 2, signed_by=(first, second))
    site.obey()
    site.write((first, second)[:left], left, signed_by=(first,), epsilon=1000.0)
    with pytest.raises(PolicyError, match="the ledger has pinned"):
        site.obey()
    sign_policy(site.path, second)
    assert site.obey().caps.epsilon_per_data_set == 1000.0


def test_officers_of_an_intruder_do_not_stand_in_for_the_pinned_ones(site):
    first, second, intruder = site.officers
    site.write((first, second), 1, signed_by=(second,))
    site.obey()
    site.write((intruder,), 1, signed_by=(intruder,))
    with pytest.raises(PolicyError, match="refuses all work"):
        site.obey()


def test_the_pin_is_an_entry_of_the_ledger_that_verifies_and_is_written_once(site):
    first, *_ = site.officers
    site.write((first,), 1, signed_by=(first,))
    for _ in range(3):
        site.obey()
    actions = [entry["action"] for entry in site.ledger.entries()]
    assert actions == ["open", "officers"]
    assert verify_files(site.path.with_name("ledger.db"), site.key.public_key).entries == 2


def test_the_officers_own_copy_put_in_place_later_does_not_make_another_file_good(site):
    first, second, _ = site.officers
    site.write((first, second), 2, signed_by=(first, second))
    site.obey()
    good = site.path.read_bytes()
    site.write((), 0, epsilon=1000.0)
    read = read_policy(site.path)
    site.path.write_bytes(good)  # as whoever may write the file would, after it was read
    with pytest.raises(PolicyError, match="the ledger has pinned"):
        require_pinned_officers(read, site.ledger)
