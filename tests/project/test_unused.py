"""What a project says of nothing: an error where a name would say what is not built, else a warning; and no word where all is meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.projects import FROM, R, check_golden, complaint, load

MIX = '[ftype.wide]\nbase = "q4_K_M"\n'
ROWS = 'matrix.quantize = ["q8_0", "q4_K_M"]\n'

CASES: dict[str, tuple[str, dict[str, str | bytes]]] = {
    "unused-axis": (R + 'matrix.quantise = ["q8_0", "q4_K_M"]\n', {}),
    "unused-axis-by-its-values": (R + 'matrix.type = ["q8_0", "q4_K_M"]\n', {}),
    "unused-axis-of-labels": (R + 'matrix.bits = { small = "q4_K_M", large = "q8_0" }\n', {}),
    "unused-axis-near-a-parameter": (R + "matrix.num-ctx = [4096, 8192]\n", {}),
    "unused-axis-in-a-tag": (R + 'tag = "${matrix.quantise}"\nmatrix.quantise = ["q8_0", "q4_K_M"]\n', {}),
    "unused-axis-in-an-include-that-names": (
        R + 'matrix.quant = ["q8_0"]\ninclude = [{ quant = "q8_0", description = "eight bits" }]\n',
        {},
    ),
    "unused-axis-like-nothing": (R + 'matrix.tone = ["terse", "kind"]\n', {}),
    "unused-axis-of-a-gone-parameter": (R + "matrix.mirostat = [1, 2]\nmatrix.tfs_z = [1]\n", {}),
    "unused-axis-of-extends": (
        R + 'system = "${matrix.tone}"\nmatrix.tone = ["a", "b"]\n[model.n]\nextends = "m"\nsystem = "one"\n',
        {},
    ),
    "unused-axis-under-another": (
        R + 'system = "${matrix.tone}"\nmatrix.tone = ["a"]\nmatrix.system = ["one", "two"]\n',
        {},
    ),
    "unused-axis-of-a-glob": ('[model."*"]\nmatrix.quantise = ["q8_0"]\n' + R + '[model.n]\nfrom = "./y"\n', {}),
    "unused-axis-cleared": (R + "matrix.quantise = []\n" + ROWS, {}),
    "parameter-axis-type": (R + 'matrix.temperature = [0.1, "hot"]\n', {}),
    "parameter-axis-filled": (R + 'matrix.num_ctx = [4096, "${n}"]\n[vars]\nn = "many"\n', {}),
    "parameter-axis-in-include": (
        R + 'matrix.temperature = [0.1]\ninclude = [{ temperature = "hot" }, { temperature = 0.1, top_k = 3 }]\n',
        {},
    ),
    "parameter-axis-twice": (
        R + "matrix.temperature = [0.1]\nmatrix.parameters = { a = { temperature = 1, seed = 1 } }\n",
        {},
    ),
    "parameter-axis-in-parameters": (R + "matrix.parameters.temperature = [0.1, 0.9]\n", {}),
    "keys-under-axes": (
        R + 'quantize = "f16"\nparameters = { num_ctx = 1, seed = 2 }\nmatrix.num_ctx = [4096]\n' + ROWS,
        {},
    ),
    "unused-exclude": (
        R + ROWS + 'exclude = [{ quantize = "q8_0" }, { quantize = "q8_0" }]\n',
        {},
    ),
    "unused-include": (R + ROWS + 'include = [{ quantize = "q8_0" }]\n', {}),
    "unused-default": (R + ROWS + "default = {}\n", {}),
    "unused-matrix": (R + "[model.m.matrix]\n", {}),
    "unused-default-of-a-cleared-axis": (R + 'matrix.quantize = []\ndefault.quantize = "q8_0"\n', {}),
    "unused-extends": (R + 'system = "a"\n[model.n]\nextends = "m"\nfrom = "./y"\nsystem = "b"\n', {}),
    "unused-flags": (R + 'allow_requantize = true\nadapter_mode = "layer"\n', {}),
    "unused-variables": (R + 'system = "${a}"\n[vars]\na = "${b}"\nb = "x"\nc = "y"\n', {}),
    "unused-mix": (R + MIX, {}),
    "unused-group": (R + "[group]\nall = []\n[project]\ndefault = []\n", {}),
    "unused-discover-as": ('[project]\ndiscover_as = "{folder}"\n' + R, {}),
    "list-quantize": (R + 'quantize = ["q8_0", "q4_K_M"]\n', {}),
    "unused-glob-table": ('[model."*"]\n' + R, {}),
    "list-in-a-string": (R + 'quantize = "q8_0, q4_K_M"\n', {}),
    "list-quantize-in-defaults": ('[defaults]\nquantize = ["q8_0", "q4_K_M"]\n', {}),
    "list-from": ('[model.m]\nfrom = ["./base/1b", "./base/3b"]\n', {}),
    "list-system": (R + 'system = ["Be terse.", "Be kind."]\n', {}),
    "list-flag": (R + "allow_requantize = [true, false]\n", {}),
    "list-tag": (R + 'tag = ["v1", "v2"]\n', {}),
    "list-extends": (R + '[model.n]\nextends = ["m", "k"]\n', {}),
    "list-parameter": (R + "parameters = { temperature = [0.1, 0.9] }\n", {}),
    "list-of-tables": (R + "system = [{ file = 'a' }]\n", {}),
}


@pytest.mark.parametrize("case", CASES)
def test_complaint_is_the_golden_one(case: str, tmp_path: Path) -> None:
    toml, files = CASES[case]
    check_golden(case, complaint(tmp_path, toml, files))


@pytest.mark.parametrize(
    "toml",
    [
        # an axis may show in any key, deep in a table, in another axis, and choose what an include says more of
        R + 'parameters = { stop = ["${matrix.word}"] }\nmatrix.word = ["a", "b"]\n',
        R + 'messages = [{ role = "user", content = "${matrix.word}" }]\nmatrix.word = ["a", "b"]\n',
        R + 'metadata = { "general.name" = "${matrix.word}" }\nmatrix.word = ["a"]\n',
        R + 'matrix.word = ["a"]\nmatrix.parameters = { one = { stop = "${matrix.word}" } }\n',
        R + 'matrix.word = ["a", "b"]\ninclude = [{ word = "a", system = "A" }, { word = "b", system = "B" }]\n',
        R + 'matrix.word = ["a", "b"]\ninclude = [{ system = "I am ${matrix.word}" }]\n',
        '[model."*"]\nsystem = "${matrix.word}"\n[model.m]\nfrom = "./x"\nmatrix.word = ["a"]\n',
        # one model under two names is what it says
        R + 'name = "acme/${matrix.team}"\nmatrix.team = ["red", "blue"]\n',
        # what all models share, or another one has brought along, need not fit each
        '[defaults]\nadapter_mode = "layer"\nquantize = "q8_0"\n[model.m]\nfrom = "./x"\nquantize = "none"\n',
        '[model."*"]\nallow_requantize = true\nexclude = [{ quantize = "f16" }, { quantize = "f16" }]\n'
        'matrix.quantize = ["f16", "q8_0"]\n[model.m]\nfrom = "./x"\n',
        R + ROWS + 'default.quantize = "q8_0"\n[model.n]\nextends = "m"\nname = "other"\nmatrix.quantize = []\n',
        R + 'system = "${a}"\n[vars]\na = "${b}"\nb = "x"\n',
        R + MIX + '[model.n]\nfrom = "./x"\nmatrix.quantize = ["wide"]\n',
        R + 'quantize = "${q}"\n' + MIX + '[vars]\nq = "wide"\n',
    ],
)
def test_nothing_is_said_of_what_is_meant(toml: str, tmp_path: Path) -> None:
    assert complaint(tmp_path, toml) == ""


def test_a_variable_may_be_for_set_alone(tmp_path: Path) -> None:
    toml = R + "[vars]\nctx = 4096\n"
    assert "nothing uses variable 'ctx'" in complaint(tmp_path, toml)
    assert complaint(tmp_path, toml, sets=("m.parameters.num_ctx=${ctx}",)) == ""


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        ("temperature = [0.1, 0.9]", [("0.1", {"temperature": 0.1}), ("0.9", {"temperature": 0.9})]),
        ("num_ctx = { short = 4096, long = 32768 }", [("short", {"num_ctx": 4096}), ("long", {"num_ctx": 32768})]),
        ("use_mmap = [true, false]", [("true", {"use_mmap": True}), ("false", {"use_mmap": False})]),
        ('stop = { one = "a", two = ["b", "c"] }', [("one", {"stop": ["a"]}), ("two", {"stop": ["b", "c"]})]),
        ('seed = ["${n}", 7]', [("5", {"seed": 5}), ("7", {"seed": 7})]),
        ('top_k = { few = 1, base = "" }', [("few", {"top_k": 1}), ("base", {})]),
    ],
)
def test_a_parameter_as_an_axis_sets_it(axis: str, expected: list[tuple[str, Any]], tmp_path: Path) -> None:
    toml = '[model.m]\nmodelfile = "M"\n[model.m.matrix]\n' + axis + "\n[vars]\nn = 5\n"
    made = load(tmp_path, toml, {"M": FROM + "PARAMETER top_k 9\n"}).variants
    assert [each.names[0].tag for each in made] == [tag for tag, _ in expected]
    without = {} if "top_k" in axis else {"top_k": 9}
    assert [dict(each.parameters) for each in made] == [{**without, **given} for _, given in expected]
    name = axis.partition(" ")[0]
    assert made[0].place("parameters", name).key[:4] == ("model", "m", "matrix", name)


def test_the_axis_of_a_parameter_lies_over_the_table_and_below_include_and_set(tmp_path: Path) -> None:
    toml = (
        R + "parameters = { temperature = 0.5, seed = 1 }\nmatrix.temperature = [0.1, 0.9]\n"
        "include = [{ temperature = 0.9, parameters = { temperature = 2, num_ctx = 9 } }]\n"
    )
    made = load(tmp_path, toml, sets=("m.parameters.seed=3",)).variants
    assert [dict(each.parameters) for each in made] == [
        {"temperature": 0.1, "seed": 3},
        {"temperature": 2.0, "seed": 3, "num_ctx": 9},
    ]
    said = complaint(tmp_path, toml, sets=("m.parameters.temperature=1",))
    assert "'temperature' is an axis of model 'm'" in said
    assert "--set 'm.matrix.temperature=[…]'" in said


@pytest.mark.parametrize(
    "toml",
    [
        '[model."x-*"]\nsistem = "one"\n[model.x-1]\nfrom = "./x"\n',
        '[model.a]\nfrom = "./x"\nextends = "b"\n[model.b]\nfrom = "./x"\nsistem = "one"\n',
    ],
)
def test_a_table_that_says_something_wrong_does_not_say_nothing(toml: str, tmp_path: Path) -> None:
    loaded = load(tmp_path, toml)
    assert loaded.broken and not loaded.warnings
