"""kill -9 at every durable step, full disks, two processes, older copies and flipped bytes."""

import multiprocessing
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fedethics.charter.document import hash_of, load
from fedethics.errors import BudgetExceeded, LedgerError, LedgerTampered
from fedethics.identity import Identity
from fedethics.privacy.events import SkellamRelease
from fedethics.privacy.ledger import Cap, DataSet, Ledger, read_book, verify_files
from tests.privacy.charters import HEART
from tests.privacy.ledger_child import live

ROOT = str(Path(__file__).parents[2])
ACCOUNT = DataSet(fingerprint="aa", label="train")
CAP = Cap(epsilon=3.0, delta=1e-4)


def new_site(folder: Path) -> Identity:
    folder.mkdir(exist_ok=True)
    identity = Identity.generate()
    identity.save(folder / "identity.key")
    return identity


def run_child(folder: Path, kill_at: int, *, after_s: float | None = None) -> list[str]:
    """Live in a forked process until killed, and return what it had been told."""
    child = multiprocessing.get_context("fork").Process(target=live, args=(folder, kill_at))
    child.start()
    if after_s is not None:
        time.sleep(after_s)
        child.kill()
    child.join(timeout=300)
    child.kill()
    assert child.exitcode in (0, -9)
    told = folder / "told"
    return told.read_text().splitlines() if told.exists() else []


def reserve(ledger, *, number=1, cap=CAP, std=10.0, charter_hash="c" * 64):
    return ledger.reserve(
        data_set=ACCOUNT,
        run="run",
        round_number=number,
        kind="progress",
        events=[SkellamRelease(std)],
        charter_hash=charter_hash,
        cap=cap,
    )


def check_after_crash(folder: Path, identity: Identity, told: list[str]) -> None:
    """What the dead process was told must stand; the site must go on, and verify."""
    path = folder / "ledger.db"
    if path.exists() and path.stat().st_size and path.with_name("ledger.db.head").exists():
        verify_files(path, identity.public_key)  # offline, before anyone repairs anything
    ledger = Ledger.open(path, identity=identity, create=True)
    charges = list(read_book(path).charges.values())
    told_reserved = sum(line.startswith("reserved") for line in told)
    assert told_reserved <= len(charges) <= told_reserved + 1
    if any(line.startswith("confirmed") for line in told):
        assert charges[0].state == "confirmed"
    reserve(ledger, number=99)
    assert verify_files(path, identity.public_key).head == ledger.head
    assert len(list(read_book(path).counted(ACCOUNT))) == len(charges) + 1


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_at_any_step_never_loses_a_charge_that_was_granted(tmp_path, every):
    whole = tmp_path / "whole"
    new_site(whole)
    steps = int(run_child(whole, 0)[-1].split()[1])
    assert steps > 60
    outcomes = set()
    for kill_at in range(1, steps + 1, every):
        folder = tmp_path / str(kill_at)
        identity = new_site(folder)
        told = run_child(folder, kill_at)
        outcomes.add(len(told))
        check_after_crash(folder, identity, told)
    assert outcomes == {0, 1, 2}


@pytest.mark.parametrize(
    "attempts",
    [pytest.param(40, marks=pytest.mark.slow), pytest.param(200, marks=pytest.mark.exhaustive)],
)
def test_a_kill_at_a_random_moment_never_loses_a_charge_that_was_granted(tmp_path, attempts):
    chance = random.Random(5)
    for attempt in range(attempts):
        folder = tmp_path / str(attempt)
        identity = new_site(folder)
        told = run_child(folder, 0, after_s=chance.uniform(0, 0.06))
        check_after_crash(folder, identity, told)


def test_an_entry_that_only_reached_the_head_file_is_charged_on_the_next_opening(tmp_path):
    identity = new_site(tmp_path)
    path, head = tmp_path / "ledger.db", tmp_path / "ledger.db.head"
    ledger = Ledger.open(path, identity=identity, create=True)
    before = path.read_bytes()
    reserve(ledger)
    path.write_bytes(before)  # as if killed between the two writes
    report = verify_files(path, identity.public_key)
    assert report.pending and report.entries == 2
    assert path.read_bytes() == before  # offline verification writes nothing
    reopened = Ledger.open(path, identity=identity)
    assert reopened.spent(ACCOUNT, delta=1e-4) > 0
    assert not verify_files(path, identity.public_key).pending
    assert head.exists()


def test_an_older_copy_put_back_is_detected(tmp_path):
    identity = new_site(tmp_path)
    path, head = tmp_path / "ledger.db", tmp_path / "ledger.db.head"
    ledger = Ledger.open(path, identity=identity, create=True)
    reserve(ledger)
    old_ledger, old_head = path.read_bytes(), head.read_bytes()
    reserve(ledger, number=2)
    reserve(ledger, number=3)
    new_head = head.read_bytes()

    path.write_bytes(old_ledger)
    with pytest.raises(LedgerTampered, match=r"ends at entry 1.*records entry 3"):
        Ledger.open(path, identity=identity)
    with pytest.raises(LedgerTampered, match="restored"):
        verify_files(path, identity.public_key)
    head.unlink()
    with pytest.raises(LedgerTampered, match="head file is missing"):
        Ledger.open(path, identity=identity)
    path.unlink()
    head.write_bytes(new_head)
    with pytest.raises(LedgerTampered, match="the ledger was removed"):
        Ledger.open(path, identity=identity, create=True)
    path.write_bytes(old_ledger)
    head.write_bytes(old_head)
    Ledger.open(path, identity=identity)  # both files together: only a receipt tells


def test_an_older_head_under_a_newer_ledger_is_detected(tmp_path):
    identity = new_site(tmp_path)
    path, head = tmp_path / "ledger.db", tmp_path / "ledger.db.head"
    ledger = Ledger.open(path, identity=identity, create=True)
    old_head = head.read_bytes()
    reserve(ledger)
    head.write_bytes(old_head)
    with pytest.raises(LedgerTampered, match="restored"):
        Ledger.open(path, identity=identity)


def test_a_receipt_in_other_hands_shows_that_both_files_were_rolled_back(tmp_path):
    identity, charter = new_site(tmp_path), load(HEART)
    path, head = tmp_path / "ledger.db", tmp_path / "ledger.db.head"
    ledger = Ledger.open(path, identity=identity, create=True)
    reserve(ledger, charter_hash=hash_of(charter))
    old = path.read_bytes(), head.read_bytes()
    reserve(ledger, number=2, charter_hash=hash_of(charter))
    receipt = ledger.receipt(site="a", run="run", charter=charter)
    assert verify_files(path, identity.public_key, receipts=[receipt]).receipts == 1
    path.write_bytes(old[0])
    head.write_bytes(old[1])
    with pytest.raises(LedgerTampered, match="rolled back or rewritten"):
        verify_files(path, identity.public_key, receipts=[receipt])


def test_every_flipped_byte_is_detected_or_changes_nothing_that_is_read(tmp_path):
    identity = new_site(tmp_path)
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path, identity=identity, create=True)
    for number in range(1, 4):
        ledger.confirm(reserve(ledger, number=number), note="sent")
    truth, entries = path.read_bytes(), ledger.entries()
    detected = 0
    for position in random.Random(3).sample(range(len(truth)), 250):
        flipped = bytearray(truth)
        flipped[position] ^= 1 << (position % 8)
        path.write_bytes(flipped)
        try:
            assert Ledger.open(path, identity=identity).entries() == entries
        except (LedgerTampered, LedgerError):
            detected += 1
        for leftover in (path.with_name("ledger.db-wal"), path.with_name("ledger.db-shm")):
            leftover.unlink(missing_ok=True)
    assert detected > 50


def test_a_flipped_byte_inside_an_entry_names_that_entry(tmp_path):
    identity = new_site(tmp_path)
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path, identity=identity, create=True)
    for number in range(1, 4):
        reserve(ledger, number=number)
    data = path.read_bytes()
    at = data.index(b'"round":2')
    path.write_bytes(data[: at + 8] + b"7" + data[at + 9 :])
    with pytest.raises(LedgerTampered, match="ledger entry 2 does not verify"):
        Ledger.open(path, identity=identity)


def test_a_flipped_byte_in_the_head_is_detected(tmp_path):
    identity = new_site(tmp_path)
    path, head = tmp_path / "ledger.db", tmp_path / "ledger.db.head"
    reserve(Ledger.open(path, identity=identity, create=True))
    truth = head.read_bytes()
    for position in range(0, len(truth), 23):
        flipped = bytearray(truth)
        flipped[position] ^= 1
        head.write_bytes(flipped)
        try:
            Ledger.open(path, identity=identity)
        except LedgerTampered:
            continue
        # Only the copy of the signature may differ unnoticed: the entry itself is in the ledger.
        assert b"signature" in truth[: position + 1]


def test_entries_rewritten_with_another_key_are_detected(tmp_path):
    identity, forger = new_site(tmp_path), Identity.generate()
    path = tmp_path / "ledger.db"
    forged = Ledger.open(path, identity=forger, create=True)
    reserve(forged)
    with pytest.raises(LedgerTampered, match="entry 0"):
        verify_files(path, identity.public_key)


def test_two_processes_cannot_both_spend_the_last_of_a_budget(tmp_path):
    identity = new_site(tmp_path)
    path = tmp_path / "ledger.db"
    Ledger.open(path, identity=identity, create=True)
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from tests.privacy.test_ledger_crashes import *\n"
        "folder = Path(sys.argv[1])\n"
        "identity = Identity.load(folder / 'identity.key')\n"
        "ledger = Ledger.open(folder / 'ledger.db', identity=identity)\n"
        "granted = 0\n"
        "try:\n"
        "    while True:\n"
        "        reserve(ledger, std=2.5)\n"
        "        granted += 1\n"
        "except BudgetExceeded:\n"
        "    print(granted)\n"
    )
    rivals = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), ROOT], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    granted = [int(rival.communicate()[0]) for rival in rivals]
    ledger = Ledger.open(path, identity=identity)
    assert sum(granted) == len(read_book(path).charges)
    assert ledger.spent(ACCOUNT, delta=1e-4) <= CAP.epsilon
    with pytest.raises(BudgetExceeded):
        reserve(ledger, std=2.5)


def test_threads_of_one_process_share_one_budget(tmp_path):
    ledger = Ledger.open(tmp_path / "ledger.db", identity=new_site(tmp_path), create=True)
    granted: list[int] = []

    def spend() -> None:
        for _ in range(8):
            try:
                granted.append(reserve(ledger, std=2.5).index)
            except BudgetExceeded:
                return

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == len(set(granted))
    assert ledger.spent(ACCOUNT, delta=1e-4) <= CAP.epsilon
    with pytest.raises(BudgetExceeded):
        reserve(ledger, std=2.5)


def test_a_full_disk_is_an_error_that_names_the_ledger_and_grants_nothing(tmp_path):
    identity = new_site(tmp_path)
    path = tmp_path / "ledger.db"
    Ledger.open(path, identity=identity, create=True)
    script = (
        "import resource, sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from tests.privacy.test_ledger_crashes import *\n"
        "folder = Path(sys.argv[1])\n"
        "ledger = Ledger.open(folder / 'ledger.db', identity=Identity.load(folder / "
        "'identity.key'))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
        "granted = 0\n"
        "try:\n"
        "    for number in range(50):\n"
        "        reserve(ledger, std=1000.0)\n"
        "        granted += 1\n"
        "except LedgerError as error:\n"
        "    print(granted, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), ROOT],
        capture_output=True,
        text=True,
        check=True,
    )
    granted, _, message = done.stdout.partition(" ")
    assert str(path) in message
    assert "nothing was computed" in message
    ledger = Ledger.open(path, identity=identity)
    charged = len(read_book(path).charges)
    assert int(granted) <= charged <= int(granted) + 1
    reserve(ledger, std=1000.0)
    verify_files(path, identity.public_key)


def test_an_unwritable_ledger_grants_nothing(tmp_path):
    identity = new_site(tmp_path)
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path, identity=identity, create=True)
    shutil.move(path, tmp_path / "elsewhere.db")
    with pytest.raises(LedgerError, match="nothing was computed"):
        reserve(ledger)
