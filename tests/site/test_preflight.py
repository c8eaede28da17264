"""The preflight finds each kind of fault, says how to mend it, and touches nothing."""

import json
import socket
import sys
from datetime import UTC, datetime, timedelta

import pytest

from fedethics.charter import document
from fedethics.deployment.certificates import make_certificates
from fedethics.deployment.site_node import SiteNode
from fedethics.enrolment.approval import approve
from fedethics.errors import RunError
from fedethics.identity import Identity
from fedethics.policy.permit import permit
from fedethics.privacy.ledger import Ledger
from fedethics.privacy.plan import make_plan
from fedethics.site.preflight import machine, network
from fedethics.site.preflight.checks import preflight
from fedethics.site.records import facts_of, site_records
from tests.enrolment.a_day import everything, found_day
from tests.site.coordinator_stub import forward_proxy, front_door


@pytest.fixture(autouse=True)
def near_and_patient(monkeypatch):
    """Let no proxy of this machine stand between, and no stall of it count as a fault."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(network, "_TIMEOUT_S", 60.0)


def look(day, site="alpha", *, network=False):
    """Return what was found, by check; every line that is not ok says how to mend it."""
    found = list(preflight(day.path / site, network=network))
    assert all(finding.fix for finding in found if finding.state != "ok")
    return {finding.check: finding for finding in found}


def failing(found):
    return {check for check, finding in found.items() if finding.state == "fail"}


def test_a_site_that_joined_well_has_nothing_to_mend(joined):
    found = look(joined)
    assert failing(found) == set()
    assert found["model"].state == "ok"
    assert "epsilon 0 of 8 spent" in found["budget, training"].found


def test_looking_changes_no_byte_of_the_home(joined):
    before = everything(joined.path / "alpha")
    look(joined)
    assert everything(joined.path / "alpha") == before


def test_the_terminal_says_in_how_many_records_a_policy_redacts(joined):
    path = joined.path / "alpha" / "policy.toml"
    path.write_text(f'{path.read_text()}[personal]\nfound = "redact"\nkinds = ["mail"]\n')
    found = look(joined)["records"]
    assert "0 records with personal data of the policy's kinds, redacted" in found.local
    assert "personal" not in found.found


def test_numbers_of_records_stay_on_the_terminal(joined):
    found = look(joined)
    counts = found["records"].local
    assert "for training" in counts
    for finding in found.values():
        assert "for training" not in finding.found
    assert "Female" in found["groups"].local


@pytest.mark.parametrize(
    ("name", "mode"),
    [("identity.key", 0o644), ("node.key", 0o640), ("ledger.db", 0o604), ("", 0o750)],
)
def test_a_file_that_others_may_read_is_named(joined, name, mode):
    path = joined.path / "alpha" / name
    path.chmod(mode)
    found = look(joined)
    assert f"{path} {mode:04o}" in found["file modes"].found
    assert "chmod" in found["file modes"].fix


def test_a_policy_that_a_group_may_write_stops_the_run(joined):
    (joined.path / "alpha" / "policy.toml").chmod(0o620)
    assert {"policy", "budget"} <= failing(look(joined))


def test_another_model_than_the_agreed_one_is_found(joined):
    folder = joined.path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"not the one")
    settings = joined.path / "alpha" / "site.toml"
    text = settings.read_text()
    settings.write_text(text.replace("[node]", f'model-dir = "{folder}"\n[node]'))
    found = look(joined)
    assert failing(found) == {"model"}
    assert "SHA-256" in found["model"].found


def test_a_column_that_is_not_as_the_schema_says_is_found(joined):
    patients = joined.path / "patients.csv"
    patients.write_text(patients.read_text().replace("asymptomatic", "no idea", 1))
    found = look(joined)
    assert {"records", "budget"} <= failing(found)
    assert "cp" in found["records"].found


def test_a_data_file_that_is_not_there_is_found(joined):
    (joined.path / "patients.csv").unlink()
    assert "records" in failing(look(joined))


def test_a_declared_group_without_records_is_a_warning_on_the_terminal_only(joined):
    patients = joined.path / "patients.csv"
    patients.write_text(patients.read_text().replace("Female", "Male"))
    found = look(joined)["groups"]
    assert found.state == "warn"
    assert "sex=Female" in found.local
    assert "Female" not in found.found


def test_a_spent_budget_is_found_before_the_run_and_not_in_it(joined):
    home = joined.home("alpha")
    charter = document.load(home.charter_path)
    ledger = Ledger.open(home.ledger_path, identity=home.identity())
    plan, facts = make_plan(charter), facts_of(site_records(home.data_path, charter))
    from fedethics.policy.model import load_policy

    granted = permit(
        charter,
        site="alpha",
        policy=load_policy(home.policy_path),
        plan=plan,
        ledger=ledger,
        data=facts,
    )
    account, cap = granted.account("update")
    for run in map(str, range(8)):
        ledger.reserve(
            data_set=account,
            run=run,
            round_number=1,
            kind="update",
            events=plan.training.events,
            charter_hash=plan.charter_hash,
            cap=type(cap)(epsilon=100.0, delta=cap.delta),
        )
    found = look(joined)
    assert failing(found) == {"budget"}
    assert "past the cap of 8" in found["budget"].local


def test_a_policy_that_is_too_tight_is_found_with_every_reason(joined):
    joined.edit_policy("alpha", "cohort = 3", "cohort = 7")
    joined.edit_policy("alpha", "epsilon-per-run = 4.0", "epsilon-per-run = 0.5")
    found = look(joined)["budget"]
    assert found.state == "fail"
    assert "minimum.cohort 7" in found.local
    assert "within the run" in found.local


def test_a_charter_that_someone_changed_after_joining_is_found(joined):
    home = joined.home("alpha")
    charter = document.load(home.charter_path)
    text = document.encode(charter).replace(b'"epsilon":3.0', b'"epsilon":2.0')
    home.charter_path.write_bytes(text)
    assert "charter" in failing(look(joined))


def test_an_unsigned_charter_is_a_warning_that_names_who_is_missing(joined):
    found = look(joined)["signatures"]
    assert found.state == "warn"
    assert "site beta" in found.found


def test_a_policy_that_wants_signatures_makes_the_missing_ones_a_refusal(joined):
    joined.edit_policy("alpha", "require-signed-charter = false", "require-signed-charter = true")
    assert "budget" in failing(look(joined))


def test_a_damaged_ledger_is_found(joined):
    path = joined.path / "alpha" / "ledger.db"
    whole = path.read_bytes()
    assert b'"action":"open"' in whole
    path.write_bytes(whole.replace(b'"action":"open"', b'"action":"opeN"'))
    assert {"ledger", "budget"} <= failing(look(joined))


def test_a_missing_head_file_is_found(joined):
    (joined.path / "alpha" / "ledger.db.head").unlink()
    found = look(joined)
    assert "ledger" in failing(found)
    assert "rollback" in found["ledger"].found


@pytest.mark.parametrize(
    ("name", "check"),
    [("secagg.db", "opened sums"), ("ledger.db", "ledger"), ("node.key", "keys")],
)
def test_a_missing_file_is_found(joined, name, check):
    (joined.path / "alpha" / name).unlink()
    assert check in failing(look(joined))


def test_a_key_that_is_not_the_ledgers_is_found(joined):
    key = joined.path / "alpha" / "identity.key"
    key.unlink()
    Identity.generate().save(key)
    assert "ledger" in failing(look(joined))


def test_a_site_that_never_joined_is_told_to(tmp_path):
    found = look(found_day(tmp_path / "day"), network=True)
    assert {"charter", "coordinator"} <= failing(found)
    assert "site join" in found["charter"].fix


def test_a_home_without_settings_is_one_line(tmp_path):
    found = list(preflight(tmp_path))
    assert [finding.state for finding in found] == ["fail"]


def test_a_package_in_another_version_is_found(joined, monkeypatch):
    monkeypatch.setattr("fedethics.installation.version", lambda name: "0.0.1")
    found = [f for f in preflight(joined.path / "alpha", network=False) if f.check == "packages"]
    assert any("flwr 0.0.1" in finding.found for finding in found)
    assert {finding.state for finding in found} == {"fail"}


@pytest.mark.parametrize(("gib", "state"), [(0.1, "fail"), (1.0, "warn"), (3.0, "ok")])
def test_the_rule_on_free_disk_names_its_numbers(gib, state, joined, monkeypatch):
    class Usage:
        free = int(gib * 2**30)

    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: Usage)
    found = look(joined)["disk"]
    assert found.state == state
    assert "at least 0.25 GiB, better 2" in found.found
    assert state == "ok" or "until 2 GiB are free" in found.fix


def test_a_full_disk_is_found(joined, monkeypatch):
    class Usage:
        free = 1 << 20

    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: Usage)
    assert "disk" in failing(look(joined))


def test_memory_is_what_the_container_leaves(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n")
    assert machine.available_memory(tmp_path / "meminfo", tmp_path) == 8_192_000_000
    (tmp_path / "memory.max").write_text("1000000000\n")
    (tmp_path / "memory.current").write_text("400000000\n")
    assert machine.available_memory(tmp_path / "meminfo", tmp_path) == 600_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.available_memory(tmp_path / "meminfo", tmp_path) == 8_192_000_000


def test_a_device_that_is_not_there_is_found(joined, monkeypatch):
    joined.edit_policy("alpha", 'device = "cpu"', 'device = "cuda"')
    monkeypatch.setattr(machine, "_ASK_CUDA", "print('')")
    found = look(joined)
    assert "device" in failing(found)
    assert 'compute.device = "cpu"' in found["device"].fix


@pytest.mark.parametrize(
    ("here", "said"),
    [
        (["Tesla", "Tesla"], ""),
        (["Tesla"], "asks for cuda:1, but PyTorch sees cuda:0"),
        (["Tesla", "Ada"], "cuda:0 (Tesla), cuda:1 (Ada): devices of several models"),
    ],
)
def test_each_of_several_devices_is_looked_for_and_they_are_of_one_model(
    here, said, joined, monkeypatch
):
    joined.edit_policy("alpha", 'device = "cpu"', 'device = "cuda"\ndevices = ["cuda:0", "cuda:1"]')
    monkeypatch.setattr(machine, "_ASK_CUDA", f"print({chr(10).join(here)!r})")
    found = look(joined)
    assert ("device" in failing(found)) == bool(said)
    assert (said or "cuda:0 (Tesla), cuda:1 (Tesla)") in found["device"].found


@pytest.fixture
def dialled(joined):
    """Return a function that points alpha's node at a port."""

    def dial(port, host="127.0.0.1"):
        path = joined.path / "alpha" / "site.toml"
        path.write_text(path.read_text().replace("127.0.0.1:9443", f"{host}:{port}"))
        return joined

    return dial


def test_a_coordinator_that_answers_well_is_seen(joined, dialled):
    with front_door(joined.coordinator / "tls") as port:
        found = look(dialled(port), network=True)
    assert failing(found) == set()
    assert "90 days" in found["certificate"].found or "89 days" in found["certificate"].found
    assert found["clock"].state == "ok"


def test_a_coordinator_that_is_down_is_seen(joined, dialled):
    with socket.socket() as deaf:  # bound, so that nobody else takes the port, and not listening
        deaf.bind(("127.0.0.1", 0))
        found = look(dialled(deaf.getsockname()[1]), network=True)
    assert failing(found) == {"coordinator"}
    assert "firewall" in found["coordinator"].fix


@pytest.mark.parametrize(
    ("begun_days_ago", "word"), [(200, "renew"), (-30, "clock")], ids=["expired", "not yet valid"]
)
def test_a_certificate_out_of_its_time_is_seen(joined, dialled, tmp_path, begun_days_ago, word):
    begin = datetime.now(UTC) - timedelta(days=begun_days_ago)
    make_certificates(tmp_path / "tls", names=["127.0.0.1"], now=begin)
    ca = joined.path / "alpha" / "ca.crt"
    ca.write_bytes((tmp_path / "tls" / "ca.crt").read_bytes())
    with front_door(tmp_path / "tls") as port:
        found = look(dialled(port), network=True)
    assert failing(found) == {"certificate"}
    assert word in found["certificate"].fix


def test_a_certificate_that_ends_within_a_fortnight_is_a_warning(joined, dialled, tmp_path):
    make_certificates(tmp_path / "tls", names=["127.0.0.1"], days=7)
    ca = joined.path / "alpha" / "ca.crt"
    ca.write_bytes((tmp_path / "tls" / "ca.crt").read_bytes())
    with front_door(tmp_path / "tls") as port:
        assert look(dialled(port), network=True)["certificate"].state == "warn"


def test_a_coordinator_by_another_authority_is_not_believed(dialled, tmp_path):
    make_certificates(tmp_path / "tls", names=["127.0.0.1"])
    with front_door(tmp_path / "tls") as port:
        found = look(dialled(port), network=True)
    assert failing(found) == {"certificate"}
    assert "authority" in found["certificate"].fix


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one loopback address")
def test_a_certificate_for_another_host_is_not_believed(joined, dialled):
    with front_door(joined.coordinator / "tls", host="127.0.0.2") as port:
        found = look(dialled(port, host="127.0.0.2"), network=True)
    assert failing(found) == {"certificate"}
    assert "another address" in found["certificate"].fix


@pytest.mark.parametrize(
    ("minutes", "state"), [(0, "ok"), (2, "warn"), (10, "fail"), (-10, "fail")]
)
def test_clocks_that_disagree_are_seen(joined, dialled, minutes, state):
    with front_door(joined.coordinator / "tls", ahead=timedelta(minutes=minutes)) as port:
        assert look(dialled(port), network=True)["clock"].state == state


def test_a_coordinator_that_tells_no_time_is_a_warning(joined, dialled):
    with front_door(joined.coordinator / "tls", date=False) as port:
        assert look(dialled(port), network=True)["clock"].state == "warn"


def test_the_way_out_is_the_proxy_that_the_environment_names(joined, dialled, monkeypatch):
    for name in ("NO_PROXY", "no_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with front_door(joined.coordinator / "tls") as port, forward_proxy() as (near, asked):
        monkeypatch.setenv("https_proxy", f"http://user:secret@127.0.0.1:{near}")
        found = look(dialled(port), network=True)
    assert asked == [f"127.0.0.1:{port}"]
    assert failing(found) == set()
    assert f"proxy 127.0.0.1:{near}" in found["coordinator"].found
    assert "secret" not in found["coordinator"].found


@pytest.mark.parametrize(
    ("environment", "state", "words"),
    [
        ({}, None, ""),
        ({"HTTP_PROXY": "http://u:geheim@p.invalid:1"}, "ok", "HTTP_PROXY: not used"),
        ({"HTTPS_PROXY": "http://u:geheim@p.invalid:1"}, "ok", "reached directly"),
        ({"grpc_proxy": "p.invalid:1", "NO_PROXY": "x"}, "ok", "NO_PROXY, grpc_proxy: not used"),
        ({"all_proxy": "socks5://u:geheim@127.0.0.1:1"}, "fail", "all_proxy names a socks5 proxy"),
        ({"HTTPS_PROXY": "https://127.0.0.1:1"}, "warn", "did not try it"),
    ],
)
def test_what_is_set_of_proxies_is_named_with_what_it_means(
    joined, dialled, monkeypatch, environment, state, words
):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with front_door(joined.coordinator / "tls") as port:
        found = look(dialled(port), network=True)
    assert ("proxy" in found) == (state is not None)
    if state is not None:
        assert (found["proxy"].state, words in found["proxy"].found) == (state, True)
        assert "geheim" not in f"{found['proxy']}"
    assert failing(found) == ({"proxy"} if state == "fail" else set())


def test_a_node_behind_a_proxy_that_it_cannot_use_does_not_start_and_says_why(joined, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://u:geheim@127.0.0.1:1080")
    monkeypatch.delenv("NO_PROXY", raising=False)
    node = SiteNode(joined.home("alpha"))
    with pytest.raises(RunError, match="ALL_PROXY names a socks5 proxy") as told, node.running():
        raise AssertionError("it started")
    assert "geheim" not in str(told.value)
    assert node.pids == {}


def test_a_new_charter_that_was_not_joined_yet_is_still_the_old_one_here(joined):
    draft = joined.coordinator / "draft.toml"
    draft.write_text(draft.read_text().replace("rounds = 5", "rounds = 6"))
    approve(joined.coordinator, [])
    assert look(joined)["charter"].state == "ok"


def test_the_command_ends_with_7_when_something_must_be_mended(joined, fedethics):
    home = joined.path / "alpha"
    assert fedethics("site", "check", "--home", home, "--offline").exit_code == 0
    (home / "node.key").chmod(0o644)
    outcome = fedethics("site", "check", "--home", home, "--offline", "--json")
    assert outcome.exit_code == 7
    assert not outcome.json["ready"]
    assert "for training" not in json.dumps(outcome.json)
