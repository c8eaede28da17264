"""A site's home: made once, private, and what Flower and the site itself can use."""

import os
import shutil
import stat
import subprocess

import pytest

from fedethics.enrolment.homes import found_site
from fedethics.errors import EnrolmentError
from fedethics.identity import Identity, verify
from fedethics.policy.model import load_policy
from fedethics.privacy.ledger import Ledger
from fedethics.site.home import SiteHome
from tests.enrolment.a_day import everything


@pytest.fixture
def home(tmp_path):
    found_site(tmp_path / "site", site="alpha", data="data.csv")
    return tmp_path / "site"


def test_nobody_but_its_owner_can_read_anything_in_a_new_home(home):
    paths = [home, *home.iterdir()]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in paths} == {0}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_new_home_is_private_even_where_the_account_gives_files_away(tmp_path):
    before = os.umask(0)
    try:
        found_site(tmp_path / "site", site="alpha", data="data.csv")
    finally:
        os.umask(before)
    paths = [tmp_path / "site", *(tmp_path / "site").iterdir()]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in paths} == {0}


def test_a_new_home_can_be_read_by_everything_that_will_use_it(home):
    site = SiteHome.open(home)
    policy = load_policy(site.policy_path)
    ledger = Ledger.open(site.ledger_path, identity=site.identity())
    assert site.settings.site == "alpha"
    assert policy.minimum.cohort >= 3
    assert ledger.data_sets() == ()
    assert site.opened_sums.exists()


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_openssh_derives_the_public_half_that_is_sent(home):
    asked = ["ssh-keygen", "-y", "-f", str(home / "node.key")]
    derived = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert derived.stdout.split()[:2] == (home / "node.pub").read_text().split()[:2]


def test_a_second_init_overwrites_nothing(home):
    before = everything(home)
    with pytest.raises(EnrolmentError, match=r"identity\.key"):
        found_site(home, site="beta", data="data.csv")
    assert everything(home) == before


@pytest.mark.parametrize("name", ["ledger.db", "ledger.db.head", "site.toml"])
def test_a_home_with_one_file_of_another_is_not_taken(tmp_path, name):
    home = tmp_path / "site"
    home.mkdir(mode=0o700)
    (home / name).write_text("someone's")
    with pytest.raises(EnrolmentError, match=name):
        found_site(home, site="alpha", data="data.csv")
    assert [path.name for path in home.iterdir()] == [name]


def test_a_directory_that_others_may_read_is_not_taken(tmp_path):
    home = tmp_path / "site"
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    with pytest.raises(EnrolmentError, match="chmod 700"):
        found_site(home, site="alpha", data="data.csv")
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("name", ["", "Alpha", "a b", "../alpha", "a" * 64])
def test_a_name_that_no_roster_takes_makes_no_home(tmp_path, name):
    with pytest.raises(EnrolmentError, match="name"):
        found_site(tmp_path / "site", site=name, data="data.csv")
    assert not (tmp_path / "site").exists()


def test_two_homes_share_no_key(tmp_path):
    for name in ("one", "two"):
        found_site(tmp_path / name, site=name, data="data.csv")
    one, two = (Identity.load(tmp_path / name / "identity.key") for name in ("one", "two"))
    assert not verify(two.public_key, b"m", one.sign(b"m", purpose="p"), purpose="p")
    assert (tmp_path / "one/node.pub").read_text() != (tmp_path / "two/node.pub").read_text()
