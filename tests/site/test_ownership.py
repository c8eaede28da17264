"""Whatever a site's decision rests on can be changed by its account and root alone, or is refused.

The kind is drawn: any file that counts, anything on the way to it, any of the ways in which another
account could get at it. Files of another account are made with os.chown where this runs as root.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fedethics import ownership
from fedethics.enrolment.homes import found_site
from fedethics.errors import EnrolmentError, FedethicsError, PolicyError
from fedethics.identity import Identity
from fedethics.policy.model import load_policy
from fedethics.site.home import SiteHome
from fedethics.site.preflight.checks import preflight

OTHER = 65534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
FILES = (
    *("site.toml", "policy.toml", "policy.toml.sig", "charter.json", "charter.signatures.json"),
    *("invitation", "ca.crt", "identity.key", "node.key", "log.jsonl", "ledger.db.head"),
    *(f"{name}.db{end}" for name in ("ledger", "journal", "secagg") for end in ("", "-journal")),
)
KEPT = ("charters/old.json", "witnessed/a.json")
SECRETS = ("identity.key", "node.key")


@pytest.fixture
def home(tmp_path):
    """Make a site's home two folders deep, with a file of each name that counts."""
    path = tmp_path / "srv" / "site"
    path.parent.mkdir(mode=0o755)
    found_site(path, site="a", data="d.csv")
    for name in FILES:
        if not (path / name).exists():
            (path / name).touch(mode=0o600)
    for name in KEPT:
        (path / name).parent.mkdir(mode=0o700)
        (path / name).touch(mode=0o600)
    assert not SiteHome.open(path).path.is_symlink()
    return path


def refused(home: Path) -> str:
    with pytest.raises(PolicyError) as told:
        SiteHome.open(home)
    return str(told.value)


@pytest.mark.parametrize("name", [*FILES, *KEPT])
@pytest.mark.parametrize("mode", [0o602, 0o620, 0o622, 0o666, 0o664])
def test_a_file_that_others_may_write_is_refused_with_the_command_that_mends_it(home, name, mode):
    (home / name).chmod(mode)
    said = refused(home)
    assert f"{home / name} has mode {mode:04o}" in said
    mended = "chmod 600" if name in SECRETS else "chmod go-w"
    assert f"{mended} {home / name}" in said
    subprocess.run(f"{mended} '{home / name}'", shell=True, check=True)
    SiteHome.open(home)


@pytest.mark.parametrize("name", ["charters", "witnessed"])
def test_a_folder_inside_that_others_may_write_is_refused(home, name):
    (home / name).chmod(0o777)
    assert f"{home / name} has mode 0777" in refused(home)


@pytest.mark.parametrize("up", [0, 1, 2])
@pytest.mark.parametrize("mode", [0o777, 0o757, 0o702])
def test_a_folder_on_the_way_that_others_may_write_is_refused(home, up, mode):
    folder = [home, *home.parents][up]
    before = stat.S_IMODE(folder.stat().st_mode)
    folder.chmod(mode)
    said = refused(home)
    assert f"{folder} has mode {mode:04o}" in said
    assert f"chmod go-w {folder}" in said
    with pytest.raises(PolicyError, match="raise its caps"):
        load_policy(home / "policy.toml")
    with pytest.raises(PolicyError, match="not safe"):
        Identity.load(home / "identity.key")
    folder.chmod(before)
    SiteHome.open(home)


@AS_ROOT
@pytest.mark.parametrize("mode", [0o775, 0o770, 0o720])
def test_roots_group_is_nobodys_private_group(home, mode):
    home.parent.chmod(mode)
    assert f"{home.parent} has mode {mode:04o}" in refused(home)


def test_a_folder_with_the_sticky_bit_may_be_writable_by_all(home):
    home.parent.chmod(0o1777)
    SiteHome.open(home)
    load_policy(home / "policy.toml")


@pytest.mark.parametrize("name", FILES)
def test_no_link_is_taken_in_the_place_of_a_file(home, name):
    (home / name).rename(home.parent / "aside")
    (home / name).symlink_to(home.parent / "aside")
    said = refused(home)
    assert f"{home / name} is a symbolic link" in said
    command = said.rpartition("Run: ")[2]
    if sys.platform.startswith("linux"):
        subprocess.run(command, shell=True, check=True)
        (home / name).chmod(0o600)
        SiteHome.open(home)


def test_a_link_on_the_way_is_followed_and_what_it_leads_through_is_held_to_the_rule(home):
    link = home.parent / "link"
    link.symlink_to(Path("..") / "srv" / "." / "site")
    assert SiteHome.open(link).settings.site == "a"
    aside = home.parent.parent / "aside"
    aside.mkdir(mode=0o755)
    home.rename(aside / "site")
    link.unlink()
    link.symlink_to(aside / "site")
    SiteHome.open(link)
    aside.chmod(0o777)
    assert f"{aside} has mode 0777" in refused(link)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["a-pipe", "a-folder"])
def test_what_is_no_file_is_refused_without_a_wait(home, make):
    (home / "policy.toml").unlink()
    make(home / "policy.toml")
    with pytest.raises(PolicyError):
        load_policy(home / "policy.toml")
    with pytest.raises(PolicyError):
        load_policy(home / "policy.toml", at_site=False)


@AS_ROOT
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_account_is_refused(home, name):
    os.chown(home / name, OTHER, OTHER)
    assert f"{home / name} belongs to" in refused(home)
    os.chown(home / name, 0, OTHER)
    SiteHome.open(home)


@AS_ROOT
@pytest.mark.parametrize("up", [0, 1, 2])
@pytest.mark.parametrize("sticky", [0, stat.S_ISVTX])
def test_a_folder_of_another_account_is_refused_sticky_or_not(home, up, sticky):
    folder = [home, *home.parents][up]
    folder.chmod(0o755 | sticky)
    os.chown(folder, OTHER, OTHER)
    try:
        said = refused(home)
    finally:
        os.chown(folder, 0, 0)
    assert f"{folder} belongs to" in said
    assert "sudo -u" in said


@AS_ROOT
def test_a_link_of_another_account_is_refused(home):
    link = home.parent / "link"
    link.symlink_to(home)
    os.chown(link, OTHER, OTHER, follow_symlinks=False)
    assert f"{link} belongs to" in refused(link)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610])
def test_a_key_that_others_may_read_is_refused(home, name, mode):
    (home / name).chmod(mode)
    assert f"chmod 600 {home / name}" in refused(home)


def test_a_loop_of_links_and_a_way_that_does_not_exist_are_no_traceback(tmp_path):
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    for path in (tmp_path / "one" / "x", tmp_path / "no" / "such", Path("/")):
        ownership.faults(path)
        with pytest.raises(FedethicsError):
            load_policy(path)


def test_a_path_with_blanks_is_quoted_in_the_command(tmp_path):
    path = tmp_path / "a b" / "policy.toml"
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o666)
    path.chmod(0o666)
    (fault,) = ownership.faults(path)
    subprocess.run(fault.fix, shell=True, check=True)
    assert ownership.faults(path) == ()


def test_a_home_is_not_founded_where_others_could_replace_it(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(EnrolmentError, match="chmod go-w"):
        found_site(tmp_path / "open" / "site", site="a", data="d.csv")
    assert list((tmp_path / "open").rglob("*.*")) == []


def test_the_check_has_a_row_with_what_mends_it(home):
    (home / "policy.toml").chmod(0o622)
    home.parent.chmod(0o777)
    rows = {each.check: each for each in preflight(home, network=False)}
    assert rows["file owners"].state == "fail"
    assert rows["file owners"].fix.splitlines() == [
        f"chmod go-w {home.parent}",
        f"chmod go-w {home / 'policy.toml'}",
    ]
    subprocess.run(rows["file owners"].fix, shell=True, check=True)
    rows = {each.check: each for each in preflight(home, network=False)}
    assert rows["file owners"].state == "ok"


def test_an_officer_is_warned_where_a_site_would_refuse(home, fedethics):
    home.parent.chmod(0o777)
    told = fedethics("policy", "check", home / "policy.toml", "--json")
    assert told.exit_code == 0
    assert any(f"chmod go-w {home.parent}" in caution for caution in told.json["cautions"])


@AS_ROOT
def test_a_private_group_may_write_on_the_way_and_a_shared_one_may_not(tmp_path, monkeypatch):
    import grp
    import pwd

    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "file").touch(mode=0o600)
    folder.chmod(0o2775)
    accounts = [pwd.struct_passwd(("me", "x", 4000, 4000, "", "/", "/bin/sh"))]
    group = grp.struct_group(("me", "x", 4000, []))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: accounts[0])
    monkeypatch.setattr(pwd, "getpwall", lambda: accounts)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: group)
    monkeypatch.setattr(ownership, "_me", lambda: 4000)
    for path in (folder, folder / "file"):
        os.chown(path, 4000, 4000)
    assert ownership.faults(folder / "file") == ()
    accounts.append(pwd.struct_passwd(("you", "x", 4001, 4000, "", "/", "/bin/sh")))
    assert len(ownership.faults(folder / "file")) == 1
    accounts.pop()
    group = grp.struct_group(("me", "x", 4000, ["you"]))
    assert len(ownership.faults(folder / "file")) == 1
    group = grp.struct_group(("staff", "x", 4000, []))
    assert len(ownership.faults(folder / "file")) == 1
    folder.chmod(0o777)
    group = grp.struct_group(("me", "x", 4000, []))
    assert len(ownership.faults(folder / "file")) == 1


@AS_ROOT
def test_who_may_not_read_a_file_is_told_as_whom_to_run(home, tmp_path):
    script = (
        "import os, sys; from pathlib import Path\n"
        "from fedethics.site.home import SiteHome\n"
        "from fedethics.errors import FedethicsError\n"
        f"os.setgroups([]); os.setgid({OTHER}); os.setuid({OTHER})\n"
        "try: SiteHome.open(Path(sys.argv[1]), to_look=True)\n"
        "except FedethicsError as error: print(error)\n"
    )
    open_way = Path("/tmp") / f"fedethics-{os.getpid()}"
    shutil.copytree(home, open_way)
    try:
        open_way.chmod(0o700)
        done = subprocess.run(
            [sys.executable, "-c", script, str(open_way)], capture_output=True, text=True
        )
    finally:
        shutil.rmtree(open_way)
    assert "Permission denied. It belongs to root (uid 0); run this as that account" in done.stdout
