"""Every key of a model against everything that knows keys."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.ollama.modelfile.grammar import INSTRUCTIONS
from modelbuild.ollama.modelfile.meaning import Modelfile
from modelbuild.project import keys, schema
from modelbuild.project.keys import KEYS
from modelbuild.project.variant import Variant
from modelbuild.tensors import ftypes
from tests.projects import FROM, M, labels, load, one


@pytest.mark.parametrize("name", ftypes.KNOWN)
def test_every_ftype_can_be_asked_for_in_any_case(tmp_path: Path, name: str) -> None:
    made = one(tmp_path, M + f'quantize = "{name.swapcase()}"\n')
    assert (made.quantize, made.ftype, made.mix) == (name, name, None)


def test_aliases_of_ftypes_are_llama_cpps(tmp_path: Path) -> None:
    toml = M + 'matrix.quantize = ["Q3_K", "q4_k", "Q5_K"]\n'
    assert labels(load(tmp_path, toml, {"m/Modelfile": FROM})) == ["m:q3_K_M", "m:q4_K_M", "m:q5_K_M"]


def test_the_schema_has_each_key_and_no_other() -> None:
    assert {*schema.keys(schema.Model)} == KEYS.keys()


def test_a_variant_has_the_fields_that_keys_promise() -> None:
    promised = {name for name, key in KEYS.items() if key.is_field}
    assert promised <= {each.name for each in fields(Variant)}
    # Of a text and a path it is known how they are read; what gives any other value must be said.
    assert all(key.check or key.holds in ("text", "path") for key in KEYS.values() if key.is_field)


def test_a_modelfile_has_the_commands_and_attributes_that_keys_name() -> None:
    commands = {key.command for key in KEYS.values() if key.command}
    assert commands == {*INSTRUCTIONS}
    assert {key.attribute for key in KEYS.values() if key.attribute} <= {*Modelfile._fields}


def test_what_merges_is_a_table_and_what_says_which_rows_there_are_is_no_axis() -> None:
    assert {name for name, key in KEYS.items() if key.entries} == {"parameters", "metadata", "matrix", "default"}
    assert all(bool(key.entries) == (key.holds == "table") for key in KEYS.values())
    rows = {name for name, key in KEYS.items() if key.makes == "rows"}
    assert rows == {"matrix", "include", "exclude", "default", "extends"}
    assert {name for name, key in KEYS.items() if key.makes == "names"} == {"name", "tag", "tags"}


def test_defaults_are_for_keys_that_more_than_one_model_can_say() -> None:
    """[defaults] lies below globs, and can say nothing that these may not."""
    assert all(KEYS[name].in_globs for name in schema.keys(schema.Defaults))


def faults(name: str, value: object, mixes: tuple[str, ...] = ()) -> list[tuple[object, str]]:
    found = []
    for path, part, check in KEYS[name].checked(value, mixes):
        try:
            check(part)
        except Error as error:
            found.append((path, error.what))
    return found


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("outtype", "F16", []),
        ("outtype", "f8", [((), "unknown outtype 'f8'")]),
        ("quantize", "mine", []),
        ("quantize", "other", [((), "unknown ftype 'other'")]),
        ("template", True, [((), "'template' expects a string, { file = … } or false, got true")]),
        ("parameters", {"seed": 1, "top_k": "x"}, [(("top_k",), "parameter 'top_k' expects a whole number, got 'x'")]),
        ("metadata", {"general": {"tags": "x"}}, [(("general", "tags"), "'general.tags' expects a list of strings, got 'x'")]),
        ("metadata", {"split.no": "${x}"}, [(("split.no",), "'split.no' cannot be set: it tells how the file is made")]),
        ("metadata", {"general": {"name": ["${x}"]}}, []),
        ("adapters", [{"path": "a"}, {"path": "b", "mode": "x"}], [((1, "mode"), "unknown adapter mode 'x'")]),
        ("messages", [{"role": "x", "content": ""}], [((0, "role"), "unknown role 'x'")]),
        ("system", {"file": "x"}, []),
    ],
)  # fmt: skip
def test_each_part_of_a_value_is_checked_where_it_stands(name: str, value: object, expected: list[object]) -> None:
    assert faults(name, value, ("mine",)) == expected


def test_words_may_be_empty_where_nothing_is_a_choice() -> None:
    assert [KEYS[name].check("") for name in ("outtype", "pre", "link", "allow_requantize")] == [
        None,
        None,
        None,
        False,
    ]
    assert keys.parameter("", "stop") is None
