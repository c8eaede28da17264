"""A key that a site revoked is never believed again, whoever says otherwise."""

import json

from fedethics.identity import Identity
from fedethics.secagg import SiteStore, revocation_notice


def test_a_site_revokes_a_members_key_for_good(day, fedethics, tmp_path):
    day.join("alpha")
    home = day.path / "alpha"
    beta = day.home("beta").identity().public_key
    notice = tmp_path / "notice.json"
    done = fedethics(
        *("site", "revoke", "--home", home, "--key", beta, "--reason", "laptop stolen"),
        *("--output", notice, "--yes", "--json"),
    )
    assert done.exit_code == 0 and done.json == {"revoked": beta}
    kept = SiteStore(day.home("alpha").opened_sums).revoked_keys()
    assert kept == {beta: "laptop stolen"}
    assert json.loads(notice.read_text())["key"] == beta


def test_a_notice_counts_only_from_the_keys_holder_or_the_site_itself(day, fedethics, tmp_path):
    day.join("alpha")
    home, notice = day.path / "alpha", tmp_path / "notice.json"
    beta, stranger = day.home("beta").identity(), Identity.generate()
    notice.write_bytes(revocation_notice(stranger, key=beta.public_key, reason="because"))
    refused = fedethics("site", "revoke", "--home", home, "--notice", notice, "--yes")
    assert refused.exit_code == 2 and "only the key itself or this site's own" in refused.err
    assert not SiteStore(day.home("alpha").opened_sums).revoked_keys()
    notice.write_bytes(revocation_notice(beta, key=beta.public_key, reason="lost"))
    assert fedethics("site", "revoke", "--home", home, "--notice", notice, "--yes").exit_code == 0
    assert SiteStore(day.home("alpha").opened_sums).revoked_keys() == {beta.public_key: "lost"}


def test_one_way_of_saying_which_key_is_asked_for(day, fedethics):
    day.join("alpha")
    assert fedethics("site", "revoke", "--home", day.path / "alpha", "--yes").exit_code == 2
