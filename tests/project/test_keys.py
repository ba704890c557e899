"""Every key of a model against everything that knows keys."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast, get_args

import pytest

from modelbuild.errors import Error
from modelbuild.ollama.modelfile.grammar import INSTRUCTIONS
from modelbuild.ollama.modelfile.meaning import Modelfile
from modelbuild.project import keys, schema
from modelbuild.project.keys import KEYS, Holds, Key
from modelbuild.tensors import ftypes
from tests.projects import FROM, M, complaint, labels, load, one


@pytest.mark.parametrize("name", ftypes.KNOWN)
def test_every_ftype_can_be_asked_for_in_any_case(tmp_path: Path, name: str) -> None:
    made = one(tmp_path, M + f'quantize = "{name.swapcase()}"\n')
    assert (made.quantize, made.ftype, made.mix) == (name, name, None)


def test_aliases_of_ftypes_are_llama_cpps(tmp_path: Path) -> None:
    toml = M + 'matrix.quantize = ["Q3_K", "q4_k", "Q5_K"]\n'
    assert labels(load(tmp_path, toml, {"m/Modelfile": FROM})) == ["m:q3_K_M", "m:q4_K_M", "m:q5_K_M"]


def test_the_schema_has_each_key_and_no_other() -> None:
    assert {*schema.keys(schema.Model)} == KEYS.keys()


@pytest.fixture
def mood(monkeypatch: pytest.MonkeyPatch) -> Iterator[Key]:
    """A key that only its record knows."""
    record = Key("string", "How it feels.", is_plain=True)
    monkeypatch.setitem(cast(dict[str, Key], KEYS), "mood", record)
    importlib.reload(schema)
    yield record
    monkeypatch.undo()
    importlib.reload(schema)


def test_a_record_is_all_that_a_plain_key_needs_to_reach_its_variants(tmp_path: Path, mood: Key) -> None:
    for table in ("Defaults", "Model"):
        assert schema.json_schema()["$defs"][table]["properties"]["mood"]["description"] == mood.description
    toml = '[vars]\nnow = "calm"\n[defaults]\nmood = "${now}"\n' + M
    assert one(tmp_path, toml).string("mood") == "calm"
    assert one(tmp_path, toml + 'mood = ""\n').string("mood") is None
    assert one(tmp_path, toml + '[model."*"]\nmood = "glad"\n').string("mood") == "glad"
    assert load(tmp_path, toml, sets=("m.mood=7",)).variants[0].string("mood") == "7"
    rows = load(tmp_path, toml + 'matrix.mood = ["glad", "sad"]\n').variants
    assert [(each.label, each.string("mood")) for each in rows] == [("m:glad", "glad"), ("m:sad", "sad")]
    assert "did you mean 'mood'?" in complaint(tmp_path, M + 'moood = "glad"\n')
    assert "did you mean 'mood'?" in complaint(tmp_path, M, sets=("m.moood=glad",))
    assert "'mood' expects a string, got 7" in complaint(tmp_path, M + "mood = 7\n")


def test_each_kind_of_value_has_a_shape_and_a_key() -> None:
    assert {*get_args(Holds)} == {key.holds for key in KEYS.values()}


def test_a_plain_key_holds_one_value_that_a_variant_can_read() -> None:
    plain = [key for key in KEYS.values() if key.is_plain]
    assert {key.holds for key in plain} <= {
        "string",
        "word",
        "text",
        "text or false",
        "path",
        "path or word or false",
        "path or text",
        "flag",
    }
    assert all(key.check for key in plain if key.holds in ("word", "flag"))


def test_words_are_what_their_check_takes() -> None:
    for name, key in KEYS.items():
        assert bool(key.words) or key.holds != "word"
        for word in key.words:
            for _, part, check in key.checked(word, ()):
                try:
                    check(part)
                except Error as error:
                    assert error.what.endswith("is not supported yet"), name


def test_a_modelfile_has_the_commands_and_attributes_that_keys_name() -> None:
    commands = {key.command for key in KEYS.values() if key.command}
    assert commands == {*INSTRUCTIONS}
    assert {key.attribute for key in KEYS.values() if key.attribute} <= {*Modelfile._fields}


def test_what_merges_is_a_table_and_what_says_which_rows_there_are_is_no_axis() -> None:
    assert {name for name, key in KEYS.items() if key.entries} == {
        "parameters",
        "metadata",
        "matrix",
        "default",
        "gate",
    }
    rows = {name for name, key in KEYS.items() if key.makes == "rows"}
    assert rows == {"matrix", "include", "exclude", "default", "extends"}
    assert {name for name, key in KEYS.items() if key.makes == "names"} == {"name", "tag", "tags"}


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
        ("parameters", {"stop": ["###", 3]}, [(("stop",), "parameter 'stop' expects text, or a list of texts, got 3")]),
        ("quantize", "other", [((), "unknown type 'other'")]),
        ("template", True, [((), "'template' expects a string, { file = … } or false, got true")]),
        ("parameters", {"seed": 1, "top_k": "x"}, [(("top_k",), "parameter 'top_k' expects a whole number, got 'x'")]),
        ("metadata", {"general": {"tags": "x"}}, [(("general", "tags"), "'general.tags' expects a list of strings, got 'x'")]),
        ("metadata", {"split.no": "${x}"}, [(("split.no",), "'split.no' cannot be set: it describes how the file is made")]),
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


@pytest.mark.parametrize("name", ftypes.NOT_YET)
def test_a_type_of_llama_cpp_that_is_not_supported_is_named_as_such(name: str) -> None:
    with pytest.raises(Error) as caught:
        keys.ftype(name.upper())
    assert caught.value.what == f"llama.cpp's {name} is not supported yet"
    nearest = ftypes.NOT_YET[name]
    assert nearest in ftypes.KNOWN and name not in ftypes.KNOWN
    assert caught.value.hint == f"take '{nearest}', or make the file with llama-quantize and name it in 'from'"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("q4", "q4_K_M"),
        ("UD-Q4_K_XL", "q4_K_M"),
        ("fp16", "f16"),
        ("int8", "q8_0"),
        ("q4_k_n", "q4_K_M"),
        ("q8-0", "q8_0"),
    ],
)
def test_what_other_tools_call_a_type_gets_a_hint(text: str, meant: str) -> None:
    with pytest.raises(Error) as caught:
        keys.ftype(text)
    assert caught.value.hint == f"did you mean '{meant}'?"


def test_a_type_that_no_projector_has_is_not_taken_for_a_file(tmp_path: Path) -> None:
    told = complaint(tmp_path, M + 'projector = "q4_K_M"\n', {"m/Modelfile": FROM})
    assert "unknown type of a projector 'q4_K_M'" in told
    assert "auto, f32, f16, bf16, q8_0" in told
    assert one(tmp_path, M + 'projector = "./q4_K_M"\n').file("projector") is not None
