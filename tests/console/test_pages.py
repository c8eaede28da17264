"""Each role's page says what logs, ledgers and evidence say, and only to who may see it."""

from __future__ import annotations

import csv
import io
import os

import pytest
from starlette.testclient import TestClient

from fedethics.charter.document import hash_of
from fedethics.console.http import application
from fedethics.console.places import Places, places
from fedethics.errors import RunError
from fedethics.monitoring import verdict
from fedethics.monitoring.verdict import Figure, WindowVerdict
from fedethics.policy.model import load_policy
from fedethics.privacy.ledger import read_book
from fedethics.release.receipts import Heads, encode_heads, from_envelope
from fedethics.site import records
from fedethics.site.home import SiteHome
from fedethics.site.runs import receipt_of
from tests.console.conftest import HOSTILE

TOKEN = "t" * 43
ROLES = ("coordinator", "operator", "officer")


def client(shown, token=""):
    return TestClient(
        application(shown, token=token, port=8100),
        base_url="http://127.0.0.1:8100",
        follow_redirects=False,
    )


def stamps(path):
    return {
        each: (each.stat().st_mtime_ns, each.stat().st_size)
        for each in sorted(path.rglob("*"))
        if each.is_file()
    }


def test_the_coordinator_sees_rounds_who_was_lost_and_what_to_do(shown):
    text = client(shown.places).get("/coordinator").text
    for words in (
        "1 of 2 rounds committed, 2 of 3 sites, about 60 s of rounds left",
        "beta (at proof)",
        "[FE203] no",
        "What to do:",
        "No entry in the log for",
    ):
        assert words in text, words


def test_the_operator_sees_how_the_node_stands_and_what_it_answered_in_words(shown):
    text = client(shown.places).get("/operator").text
    for words in ("alpha", "not running", "GB free of", "trained, and sent its masked update",
                  "<th scope=\"row\">heart-1</th><td>1</td>"):  # fmt: skip
        assert words in text, words


def test_the_officer_sees_each_data_set_by_file_and_charter_with_what_is_left(shown):
    text = client(shown.places).get("/officer").text
    book = read_book(shown.home.ledger_path, None)
    (account,) = book.data_sets()
    spent = book.spent(account, delta=load_policy(shown.home.policy_path).caps.delta)
    assert f"{shown.home.data_path.name}, train" in text
    assert f"{shown.charter.name}, version {shown.charter.charter.version}" in text
    assert f'<td data-head="Spent">{spent:.4g}</td>' in text
    cap = float(text.split('data-head="Cap for life">')[1].split("<")[0])
    left = float(text.split('data-head="Left at least"><strong>')[1].split("<")[0])
    assert left == pytest.approx(max(0.0, cap - spent), abs=1e-3)
    # Nothing but this charge is within the year, so nothing is left of it once it is over.
    assert ": to 0</td>" in text
    assert "What one more run of the charter in force would cost" in text


def test_another_run_that_a_cap_forbids_is_said_with_the_cap(shown):
    path = shown.home.policy_path
    lines = [
        "epsilon-per-year = 0.5" if line.startswith("epsilon-per-year") else line
        for line in path.read_text().splitlines()
    ]
    path.write_text("\n".join(lines) + "\n")
    text = client(shown.places).get("/officer").text
    assert "no: epsilon within 365 days would go from" in text


def test_after_an_edit_of_the_file_the_cost_is_what_the_permit_asks_earlier_charges_included(shown):
    path = shown.home.data_path
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    cap = "epsilon-per-data-set = 3.6"  # one run fits, a second over the same people does not
    lines = shown.home.policy_path.read_text().splitlines()
    changed = [cap if line.startswith("epsilon-per-data-set") else line for line in lines]
    shown.home.policy_path.write_text("\n".join(changed) + "\n")
    text = client(shown.places).get("/officer").text
    assert "another file (" in text
    assert "no: epsilon over the life of the data set would go from" in text


def test_no_record_stays_in_the_memory_of_the_console(shown):
    assert client(shown.places).get("/officer").status_code == 200
    for kept in (records._BY_CHARTER, records._BY_TERMS):
        assert shown.home.data_path not in {path for path, _, _ in kept._kept.values()}


def test_another_sites_ledger_is_no_ledger_of_this_site(shown):
    beta = SiteHome.open(shown.day.path / "beta")
    shown.home.ledger_path.write_bytes(beta.ledger_path.read_bytes())
    head = shown.home.ledger_path.with_name("ledger.db.head")
    head.write_bytes(beta.ledger_path.with_name("ledger.db.head").read_bytes())
    for role in ("operator", "officer"):
        assert "[FE303]" in client(shown.places).get(f"/{role}").text


def test_a_missing_head_file_is_said(shown):
    assert "with the key of the charter" in client(shown.places).get("/officer").text
    shown.home.ledger_path.with_name("ledger.db.head").unlink()
    assert "its head file is missing" in client(shown.places).get("/officer").text


def test_two_homes_of_one_name_keep_their_windows_apart(tmp_path):
    homes = [tmp_path / name / "coordinator" for name in "ab"]
    for home in homes:
        home.mkdir(parents=True)
    found = Places(coordinators=tuple(homes)).watched()
    assert [each.parent for each in found.values()] == homes


@pytest.mark.parametrize("role", ROLES)
def test_a_page_writes_nothing(shown, role):
    seen = client(shown.places)
    before = stamps(shown.day.path)
    assert seen.get(f"/{role}").status_code == 200
    assert stamps(shown.day.path) == before


def test_what_a_stranger_wrote_is_text_and_no_markup(shown):
    answer = client(shown.places).get("/coordinator")
    assert HOSTILE not in answer.text and "&lt;script&gt;alert(1)" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "path",
    ["/", *(f"/{role}" for role in ROLES), "/officer/alpha/ledger.csv", "/coordinator/heart-1/x"],
)
def test_without_the_token_nothing_is_shown(shown, path):
    answer = client(shown.places, TOKEN).get(path)
    assert answer.status_code == 401 and "heart" not in answer.text and "alpha" not in answer.text


def test_a_browser_enters_once_with_the_token_and_a_program_with_each_request(shown):
    seen = client(shown.places, TOKEN)
    wrong = seen.post("/enter", data={"token": "w" * 43})
    assert wrong.status_code == 401 and "not the token" in wrong.text
    entered = seen.post("/enter", data={"token": TOKEN})
    cookie = entered.headers["set-cookie"]
    assert entered.status_code == 303 and TOKEN not in cookie
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert seen.get("/coordinator").status_code == 200
    fresh = client(shown.places, TOKEN)
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert fresh.get("/coordinator", headers=bearer).status_code == 200


def test_a_form_of_another_page_is_not_taken(shown):
    answer = client(shown.places, TOKEN).post(
        "/enter", data={"token": TOKEN}, headers={"Origin": "http://elsewhere.example"}
    )
    assert answer.status_code == 403 and "set-cookie" not in answer.headers


def test_without_a_token_another_host_name_is_not_answered(shown):
    answer = client(shown.places).get("/coordinator", headers={"Host": "rebound.example"})
    assert answer.status_code == 421 and "heart" not in answer.text


def test_charges_are_given_as_a_file_and_receipts_that_were_signed_as_they_are(shown):
    seen = client(shown.places)
    charges = list(csv.DictReader(io.StringIO(seen.get("/officer/alpha/ledger.csv").text)))
    assert [row["run"] for row in charges] == ["heart-1"]
    given = receipt_of(shown.home, "heart-1")
    heads = Heads(
        run="heart-1", charter_hash=hash_of(shown.charter),
        receipts=(from_envelope(given),),
    )  # fmt: skip
    kept = shown.home.path / "witnessed"
    kept.mkdir(exist_ok=True)
    (kept / "0.json").write_bytes(encode_heads(heads))
    assert "receipt of heart-1" in seen.get("/officer").text
    answer = seen.get("/officer/alpha/receipt/heart-1")
    assert answer.content == given and "attachment" in answer.headers["content-disposition"]
    assert seen.get("/officer/alpha/receipt/other").status_code == 404


def test_a_page_of_a_run_is_shown_and_no_other_file_of_it(shown):
    (shown.job / "report.html").write_text("<p>whole report")
    (shown.job / "charter.json").write_text("{}")
    seen = client(shown.places)
    answer = seen.get("/coordinator/heart-1/report.html")
    assert answer.status_code == 200 and "whole report" in answer.text
    assert "script-src" not in answer.headers["content-security-policy"]
    for page in ("charter.json", "events.jsonl", "..%2F..%2Fidentity.key", "identity.key"):
        assert seen.get(f"/coordinator/heart-1/{page}").status_code == 404, page


def test_windows_of_a_monitoring_are_listed_with_verdicts_and_a_way_to_the_history(shown):
    window = WindowVerdict(
        run_id="heart-w0001", charter_hash="a" * 64, release_manifest_sha256="b" * 64, window=1,
        first_day="2026-01-01", last_day="2026-01-30", finished="2026-02-15T00:00:00+00:00",
        verdict="drifted", confidence=0.97, records=1234,
        figures=(
            Figure(name="score-psi", value=0.4, low=0.3, high=0.6, bar=0.25, verdict="drifted"),
        ),
    )  # fmt: skip
    folder = shown.job.with_name("heart-w0001")
    folder.mkdir()
    verdict.write(window, folder)
    (shown.job.parent / "monitoring.html").write_text("<p>the history")
    seen = client(shown.places)
    text = seen.get("/coordinator").text
    for words in ("2026-01-01 to 2026-01-30", "<strong>drifted</strong>", "1,234",
                  "score-psi 0.400 (0.300 to 0.600, bar at most 0.25)"):  # fmt: skip
        assert words in text, words
    assert "heart-w0001: " not in text  # once, and not among the jobs
    assert "the history" in seen.get("/coordinator/windows/0/history").text
    assert seen.get("/coordinator/windows/7/history").status_code == 404
    (folder / "verdict.json").write_text("{}")
    assert "[FE801]" in seen.get("/coordinator").text


def test_a_home_that_cannot_be_read_is_said_in_its_place_and_others_are_shown(shown):
    text = (shown.home.path / "site.toml").read_text()
    (shown.home.path / "site.toml").write_text("site = [")
    found = places([shown.day.path / "alpha", shown.day.path / "beta"])
    for role in ("operator", "officer"):
        answer = client(found).get(f"/{role}")
        assert answer.status_code == 200 and "[FE201]" in answer.text and "beta" in answer.text
    (shown.home.path / "site.toml").write_text(text)
    (shown.home.path / "ledger.db").write_bytes(b"no ledger at all")
    answer = client(found).get("/officer")
    assert answer.status_code == 200 and "[FE30" in answer.text


def test_the_only_role_is_shown_at_once_and_a_new_job_without_a_restart(shown):
    seen = client(places([shown.day.coordinator]))
    assert seen.get("/").headers["location"] == "/coordinator"
    (shown.job.parent / "heart-2").mkdir()
    assert "heart-2: not begun" in seen.get("/coordinator").text
    assert "Who asks?" in client(shown.places).get("/").text


def test_a_path_with_nothing_to_show_is_refused_before_anything_listens(tmp_path, fedethics):
    with pytest.raises(RunError, match="holds nothing that the console shows"):
        places([tmp_path])
    told = fedethics("console", tmp_path)
    assert told.exit_code != 0 and "site.toml" in told.err
    told = fedethics("console", tmp_path, "--no-token", "--token-file", tmp_path / "t")
    assert told.exit_code == 2 and "not both" in told.err


def test_a_log_that_only_others_may_read_is_a_fault_of_that_job_alone(shown):
    if os.geteuid() == 0:
        (shown.job / "events.jsonl").unlink()
        (shown.job / "events.jsonl").mkdir()
    else:
        (shown.job / "events.jsonl").chmod(0)
    answer = client(shown.places).get("/coordinator")
    assert answer.status_code == 200 and "[FE901]" in answer.text
