"""A site says how its own file is read; the same records have one identity in every form."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import json
import tomllib
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from fedethics import terms as toml_terms
from fedethics.charter.data_terms import ContentTerms
from fedethics.data.file_terms import DataFile, DataTable, FileTerms, terms_of
from fedethics.data.reading import raw_rows, read_records, row_identity
from fedethics.data.records import row_hash
from fedethics.errors import DataError
from fedethics.simulation import foreseen
from tests.data.test_reading import row

NAMES = ["id", "age", "sex", "chol", "note", "ill"]
ROWS = [
    row(id="1", chol="233.5"), row(id="2", sex="M", ill="no", note="b"),
    row(id="é3", age="39.5", chol="12345.25", note=""),
]  # fmt: skip


def plain(folder, rows=ROWS, name="plain.csv"):
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([NAMES, *rows])
    return path


@pytest.fixture
def wide(schema):
    """The small schema with room for the large numbers."""
    columns = [dataclasses.replace(one, maximum=1e6) if one.name == "chol" else one
               for one in schema.columns]  # fmt: skip
    return dataclasses.replace(schema, columns=tuple(columns))


def german(cell):
    whole, point, fraction = cell.partition(".")
    if not whole.isdigit():
        return cell
    return f"{int(whole):,}".replace(",", ".") + (f",{fraction}" if point else "")


def french(cell):
    return german(cell).replace(".", "\u202f")


SPELLED = {
    "semicolons and decimal commas": (
        ["delimiter=semicolon", "decimal-mark=comma", "thousands-mark=point"], ";", german, "utf-8"
    ),
    "narrow blanks between thousands": (
        ["decimal-mark=comma", "thousands-mark=space"], ",", french, "utf-8"
    ),
    "tabs in UTF-16": (["delimiter=tab", "encoding=utf-16"], "\t", str, "utf-16"),
    "Windows-1252": (["encoding=windows-1252"], ",", str, "cp1252"),
    "invisible characters": (
        ["remove-invisible=true"], ",", lambda cell: f"\u200b{cell}" if cell else "", "utf-8"
    ),
    "an Excel line that names the separator": (["delimiter=bar"], "|", str, "sep"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLED)
def test_the_same_records_spelled_otherwise_have_the_same_identity(name, wide, tmp_path):
    said, mark, spell, encoding = SPELLED[name]
    path = tmp_path / "own.csv"
    head = f"sep={mark}\r\n" if encoding == "sep" else ""
    with path.open("w", newline="", encoding="utf-8" if head else encoding) as file:
        file.write(head)
        csv.writer(file, delimiter=mark).writerows([NAMES, *([*map(spell, one)] for one in ROWS)])
    read = read_records(DataFile(path, terms_of(said)), wide)
    assert read.source_fingerprint == read_records(plain(tmp_path), wide).source_fingerprint
    assert [values["chol"] for values in read.values] == [233.5, 233.0, 12345.25]
    # Without being told, the file is refused and not guessed at; blanks alone read as no number.
    with pytest.raises(DataError):
        read_records(path, wide)


def test_which_column_is_the_text_changes_no_identity_and_the_model_reads_it_as_written(
    wide, tmp_path
):
    path = plain(tmp_path, [row(note="1.234,5"), row(note="a\u200cb"), row(note="31.01.2026")])
    said = ["decimal-mark=comma", "thousands-mark=point", "remove-invisible=true",
            "date-format=%d.%m.%Y"]  # fmt: skip
    read = terms_of(said)
    columns = [one for one in wide.columns if one.name not in ("chol", "note")]
    columns = tuple(dataclasses.replace(one, phrase="") for one in columns)
    neither = dataclasses.replace(wide, columns=columns)
    as_text = dataclasses.replace(
        neither, content=ContentTerms(form="text", text="note", max_characters=100)
    )
    found = [
        [row_identity(cells, terms, read) for _, cells in raw_rows(DataFile(path, read), terms)]
        for terms in (neither, as_text)
    ]
    assert found[0] == found[1]
    texts = [cells["note"] for _, cells in raw_rows(DataFile(path, read), as_text)]
    assert texts == ["1.234,5", "a\u200cb", "31.01.2026"]
    records = read_records(DataFile(path, read), as_text)
    assert list(records.row_hashes) == found[0]


def test_what_is_told_wrongly_is_refused(wide, tmp_path):
    utf8 = plain(tmp_path)
    with pytest.raises(DataError, match="the letters of the file are UTF-8"):
        read_records(DataFile(utf8, terms_of(["encoding=latin-1"])), wide)
    with pytest.raises(DataError, match="not in the encoding 'utf-16'"):
        read_records(DataFile(utf8, terms_of(["encoding=utf-16"])), wide)
    # 233.5 with a decimal comma agreed may be two numbers, so its size is not guessed.
    with pytest.raises(DataError, match="line 2, column chol: it has a point") as caught:
        read_records(DataFile(utf8, terms_of(["decimal-mark=comma"])), wide)
    assert "233" not in str(caught.value)
    with pytest.raises(DataError, match="has no sheet"):
        read_records(DataFile(utf8, terms_of(["sheet=a"])), wide)
    with pytest.raises(DataError, match=r'separated by commas\. Set delimiter = "comma"'):
        read_records(DataFile(utf8, terms_of(["delimiter=semicolon"])), wide)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (["encoding=klingon"], "no encoding"), (["delimiter=;"], "expected one of comma"),
        (["decimal-mark=comma", "thousands-mark=comma"], "both 'comma'"),
        (["colour=red"], "unknown key; known here: date-format"), (["format=pdf"], "expected one"),
    ],
)  # fmt: skip
def test_terms_that_mean_nothing_are_one_error(said, why):
    with pytest.raises(DataError, match=why):
        terms_of(said)


@pytest.mark.parametrize(
    ("said", "key"),
    [
        (joined := "id;age;sex;chol;note;ill\n1;63;F;2,5;a;yes\n", 'delimiter = "semicolon"'),
        (f"sep=;\n{joined}", "Set delimiter"),
        ('id,age,sex,chol,note,ill\n1,63,F,"2,5",a,yes\n', "Set decimal-mark or"),
        ("id,age,sex,chol,note,ill\u200b\n1,63,F,233,a,yes\n", "remove-invisible = true"),
        ("id,age,sex,chol,note,ill\né,63,F,233,a,yes\n".encode("latin-1"), 'encoding = "windows'),
        ("id,age,sex,chol,note,ill\n1,63,F,233,a,yes\n".encode("utf-16"), 'encoding = "utf-16"'),
    ],
)  # fmt: skip
def test_an_error_names_the_key_that_mends_it(said, key, schema, tmp_path):
    path = tmp_path / "own.csv"
    path.write_bytes(said if isinstance(said, bytes) else said.encode())
    with pytest.raises(DataError, match=key):
        read_records(path, schema)


def test_days_are_read_alike_and_never_as_two_days(wide, tmp_path):
    days = ["31/01/2026", "2026-01-31", "01-31-26", ""]
    path = plain(tmp_path, [row(id=day) for day in days])
    said = terms_of([f"date-format={one}" for one in ("%d/%m/%Y", "%Y-%m-%d", "%m-%d-%y")])
    found = [cells["id"] for _, cells in raw_rows(DataFile(path, said), wide)]
    assert found == [datetime.date(2026, 1, 31).isoformat()] * 3 + [""]
    path = plain(tmp_path, [row(id="01/02/2026")])
    both = terms_of(["date-format=%d/%m/%Y", "date-format=%m/%d/%Y"])
    with pytest.raises(DataError, match="line 2, column id: two of the formats"):
        read_records(DataFile(path, both), wide)


def test_a_sites_file_says_it_in_a_table_or_names_the_path_alone(tmp_path):
    read = terms_of(["delimiter=tab", "date-format=%d.%m.%Y", "remove-invisible=true"])
    file = DataFile(tmp_path / "x.csv", read)
    text = toml_terms.toml_text({"site": "a", "data": file.said})
    problems = []
    table = toml_terms.read(DataTable, tomllib.loads(text)["data"], path="", problems=problems)
    assert problems == [] and table.file(tmp_path) == file
    assert DataFile(tmp_path / "x.csv").said == str(tmp_path / "x.csv")


def test_a_spreadsheet_has_the_identity_of_its_csv(wide, tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "patients"
    numbers = {"age", "chol"}
    for cells in [NAMES, *ROWS]:
        book.active.append([
            float(cell) if name in numbers and cells is not NAMES else cell or None
            for name, cell in zip(NAMES, cells, strict=True)
        ])  # fmt: skip
    book.save(tmp_path / "own.xlsx")
    read = read_records(tmp_path / "own.xlsx", wide)
    assert read.source_fingerprint == read_records(plain(tmp_path), wide).source_fingerprint
    book.create_sheet("more")
    book.save(tmp_path / "two.xlsx")
    with pytest.raises(DataError, match=r"several sheets; set sheet .* one of patients, more"):
        read_records(tmp_path / "two.xlsx", wide)
    named = DataFile(tmp_path / "two.xlsx", terms_of(["sheet=patients"]))
    assert read_records(named, wide).source_fingerprint == read.source_fingerprint
    with (
        zipfile.ZipFile(tmp_path / "own.xlsx") as whole,
        zipfile.ZipFile(tmp_path / "bad.xlsx", "w") as damaged,
    ):
        for name in whole.namelist():
            data = whole.read(name)
            if name.endswith("sheet1.xml"):
                assert b"<v>233.5</v>" in data
                data = data.replace(b"<v>233.5</v>", b"<v>233.5secret</v>")
            damaged.writestr(name, data)
    with pytest.raises(DataError, match=r"no \.xlsx file, or a damaged one") as caught:
        read_records(tmp_path / "bad.xlsx", wide)
    assert "secret" not in str(caught.value)
    (tmp_path / "bad.xlsx").write_bytes(b"no spreadsheet")
    with pytest.raises(DataError, match=r"no \.xlsx file"):
        read_records(tmp_path / "bad.xlsx", wide)


def test_a_parquet_file_has_the_identity_of_its_csv(wide, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {name: [one[place] for one in ROWS] for place, name in enumerate(NAMES)}
    columns["age"], columns["chol"] = (
        [float(cell) for cell in columns[n]] for n in ("age", "chol")
    )
    columns["note"] = [cell or None for cell in columns["note"]]
    parquet.write_table(pyarrow.table(columns), tmp_path / "own.parquet")
    read = read_records(tmp_path / "own.parquet", wide)
    assert read.source_fingerprint == read_records(plain(tmp_path), wide).source_fingerprint
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match="no Parquet file"):
        read_records(tmp_path / "bad.parquet", wide)


@pytest.mark.parametrize("names", [("age", "age"), ("age", " age"), ("age", "")])
def test_parquet_columns_that_cannot_be_told_apart_are_refused(names, schema, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = [pyarrow.array(["63"]), pyarrow.array(["64"])]
    parquet.write_table(pyarrow.Table.from_arrays(columns, names=names), tmp_path / "own.parquet")
    with pytest.raises(DataError, match=r"age is listed twice|a column has no name"):
        list(raw_rows(tmp_path / "own.parquet", schema))


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_a_number_of_a_narrow_parquet_column_is_the_one_that_csv_writes(kind, schema, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    written = ["0.1", "63.0", "2.75", ""]
    numbers = np.array([float(cell or "nan") for cell in written], dtype=kind)
    columns = {name: numbers for name in NAMES}
    parquet.write_table(pyarrow.table(columns), tmp_path / "own.parquet")
    found = [cells["age"] for _, cells in raw_rows(tmp_path / "own.parquet", schema)]
    assert found == ["0.1", "63", "2.75", ""]


def test_a_parquet_value_that_python_lacks_is_one_clear_error(schema, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    day = pyarrow.array([40_000_000], pyarrow.date32())
    parquet.write_table(pyarrow.table({"day": day}), tmp_path / "own.parquet")
    with pytest.raises(DataError, match="beyond the year 9999"):
        list(raw_rows(tmp_path / "own.parquet", schema))


@pytest.mark.parametrize("form", ["messages", "prompt-completion", "preference"])
def test_free_text_in_parquet_is_the_same_record_as_in_json_lines(form, wide, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    said = {
        "messages": {"messages": [{"role": "user", "content": " a\n"},
                                  {"role": "assistant", "content": "é "}]},
        "prompt-completion": {"prompt": " a ", "completion": "b\n"},
        "preference": {"prompt": "a", "chosen": " b", "rejected": "c "},
    }[form]  # fmt: skip
    records = [{**said, "sex": "F", "age": 63, "weights": [1, 2.5]}, {**said, "sex": "M", "age": 40,
                "weights": []}]  # fmt: skip
    data = dataclasses.replace(
        wide, label=None, content=ContentTerms(form=form, max_characters=100),
        columns=tuple(dataclasses.replace(one, phrase="") for one in wide.columns[:2]),
    )  # fmt: skip
    (tmp_path / "own.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in records))
    parquet.write_table(pyarrow.Table.from_pylist(records), tmp_path / "own.parquet")
    both = [[cells for _, cells in raw_rows(tmp_path / f"own.{end}", data)]
            for end in ("jsonl", "parquet")]  # fmt: skip
    assert list(map(row_hash, both[0])) == list(map(row_hash, both[1]))
    texts = [read_records(tmp_path / f"own.{end}", data, task="sft").texts
             for end in ("jsonl", "parquet")]  # fmt: skip
    assert texts[0] == texts[1]


def test_a_missing_reader_is_named_with_the_extra_that_brings_it(wide, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    (tmp_path / "own.parquet").write_bytes(b"x")
    with pytest.raises(DataError, match=r'install "fedethics\[parquet\]"'):
        read_records(tmp_path / "own.parquet", wide)


def test_terms_without_a_word_change_nothing():
    assert FileTerms().said == () and terms_of([]) == FileTerms()


def test_a_simulation_counts_held_out_groups_of_the_file_as_the_site_reads_it(
    wide, tmp_path, monkeypatch
):
    path, seen = tmp_path / "own.csv", []
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = [NAMES, *(row(id=str(number)) for number in range(40))]
        csv.writer(file, delimiter=";").writerows(lines)
    home = SimpleNamespace(data=DataFile(path, terms_of(["delimiter=semicolon"])), data_path=path)
    monkeypatch.setattr(foreseen.SiteHome, "open", lambda _folder: home)
    monkeypatch.setattr(foreseen, "counted", lambda _charter, parts: seen.extend(parts))
    monkeypatch.setattr(foreseen, "foresee", lambda *_, **__: None)
    monkeypatch.setattr(foreseen.words, "sentences", lambda _found: ["foreseen"])
    charter = SimpleNamespace(data=wide, model=SimpleNamespace(task="classification"))
    said = foreseen.verdicts(SimpleNamespace(charter=charter, homes={"alpha": tmp_path}))
    assert said == ["foreseen"] and 5 < len(seen[0]) < 35
