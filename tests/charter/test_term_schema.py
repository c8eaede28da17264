"""Editors complete charters and policies by a schema that refuses nothing which a site reads."""

from __future__ import annotations

import copy
import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedethics import terms
from fedethics.charter.annotation_terms import AnnotationTerms
from fedethics.charter.document import INDUSTRIES, charter_text
from fedethics.charter.model import Charter
from fedethics.cli.main import app
from fedethics.policy.model import Policy
from fedethics.policy.template import policy_text
from fedethics.term_schema import json_schema

jsonschema = pytest.importorskip("jsonschema")

CONFIGS = Path(__file__).parents[2] / "configs"
CHARTERS = sorted(CONFIGS.glob("*.charter.toml"))
POLICIES = sorted(CONFIGS.glob("policy.*.toml"))
OF_CHARTER, OF_POLICY = json_schema(Charter, title="c"), json_schema(Policy, title="p")


def validator(schema):
    kind = jsonschema.Draft202012Validator
    kind.check_schema(schema)
    return kind(schema)


def read(path):
    return tomllib.loads(path.read_text())


@pytest.mark.parametrize("path", CHARTERS, ids=lambda path: path.stem)
def test_every_charter_of_the_repository_is_one_by_the_schema_too(path):
    assert list(validator(OF_CHARTER).iter_errors(read(path))) == []


@pytest.mark.parametrize("industry", INDUSTRIES)
def test_every_draft_that_charter_init_writes_is_one_too(industry):
    draft = tomllib.loads(charter_text(industry))
    assert list(validator(OF_CHARTER).iter_errors(draft)) == []


def test_every_policy_is_one_too():
    written = [*map(read, POLICIES), tomllib.loads(policy_text())]
    assert [list(validator(OF_POLICY).iter_errors(one)) for one in written] == [[]] * len(written)


def leaves(table, path=()):
    for key, value in table.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))


def changed(table, path, value):
    other = copy.deepcopy(table)
    inner = other
    for key in path[:-1]:
        inner = inner[key]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return other


WRONG = [{"no": "table"}, [{"x": 1}], 10**30, -1e300, True, "\N{SNOWMAN} nobody", "", None]


@pytest.mark.parametrize(
    ("schema", "kind", "path"),
    [(OF_CHARTER, Charter, CHARTERS[0]), (OF_POLICY, Policy, POLICIES[0])],
    ids=["charter", "policy"],
)
def test_what_the_schema_refuses_the_reader_refuses(schema, kind, path):
    table, refused, checked = read(path), 0, validator(schema)
    for number, where in enumerate(leaves(table)):
        for value in {str(one): one for one in (WRONG * 2)[number % 8 : number % 8 + 3]}.values():
            other = changed(table, where, value)
            if checked.is_valid(other):
                continue
            problems: list[str] = []
            terms.read(kind, other, path="", problems=problems)
            assert problems, (where, value)
            refused += 1
    assert refused > 40


@pytest.mark.parametrize(
    ("key", "value"),
    [("epsilon", 0), ("levle", "nominal"), ("level", "ratio"), ("labels", []), ("bar", 1.0),
     ("guideline-sha256", "abc"), ("annotators", "one")],
)  # fmt: skip
def test_a_slip_in_a_table_is_seen_in_the_editor(key, value):
    schema = json_schema(AnnotationTerms, title="a")
    table = {"annotators": ["a", "b"], "labels": ["0", "1"], "guideline": "g", "bar": 0.7}
    assert validator(schema).is_valid(table)
    assert not validator(schema).is_valid(table | {key: value})


def test_an_editor_shows_what_a_key_means_its_default_and_its_choices():
    table = json_schema(AnnotationTerms, title="a")["$defs"]["AnnotationTerms"]
    level = table["properties"]["level"]
    assert level["enum"] == ["nominal", "ordinal", "interval"] and level["default"] == "nominal"
    assert level["description"].startswith("how far apart two labels are")
    assert table["required"] == ["annotators", "labels"]


@pytest.mark.parametrize(("group", "kind"), [("charter", Charter), ("policy", Policy)])
def test_both_are_printed_by_a_command(group, kind):
    # Made now: other tests make further tasks known.
    schema = json_schema(kind, title="c")
    shown = CliRunner().invoke(app, [group, "schema"])
    assert shown.exit_code == 0
    assert json.loads(shown.output)["$defs"] == json.loads(json.dumps(schema["$defs"]))
