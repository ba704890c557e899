"""Rows against a plain product: random axes, exclusions, inclusions and default rows, expanded by hand and by the project."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.at_length import examples
from tests.projects import Kept, R, declared, labels, load, names

LABELS = ["a", "b", "c-d", "e.f", "7"]
FTYPES = {"q8_0": "q8_0", "Q4_K": "q4_K_M", "F16": "f16", "none": None}

axes = st.fixed_dictionaries(
    {},
    optional={
        "quantize": st.lists(st.sampled_from(list(FTYPES)), min_size=1, max_size=3, unique=True),
        "tone": st.lists(st.sampled_from(LABELS), min_size=1, max_size=3, unique=True),
        "base": st.dictionaries(
            st.sampled_from(LABELS), st.sampled_from(["./x", "${v}/y", "z"]), min_size=1, max_size=3
        ),
        "parameters": st.dictionaries(
            st.sampled_from(LABELS),
            st.fixed_dictionaries({}, optional={"seed": st.integers(0, 9), "num_ctx": st.just("${n}")}),
            min_size=1,
            max_size=3,
        ),
    },
).filter(bool)


@st.composite
def matrices(draw: st.DrawFn) -> dict[str, Any]:
    matrix = draw(axes)
    labels = {axis: list(values) for axis, values in matrix.items()}
    some = st.fixed_dictionaries({}, optional={axis: st.sampled_from(each) for axis, each in labels.items()}).filter(
        bool
    )
    table = {"matrix": matrix, "exclude": draw(st.lists(some, max_size=2)), "include": []}
    for condition in draw(st.lists(some, max_size=2)):
        table["include"].append({**condition, "system": draw(st.sampled_from(["one", "two ${v}"]))})
    return table


def fits(row: dict[str, str], condition: dict[str, Any]) -> bool:
    return all(row[axis] == label for axis, label in condition.items() if axis in row)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


@given(matrices(), st.data())
@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_are_product_less_exclude_plus_include(root: Path, table: dict[str, Any], data: st.DataObject) -> None:
    matrix = tomllib.loads(tomli_w.dumps(table["matrix"]))  # in the order of the text
    rows = [dict(zip(matrix, labels, strict=True)) for labels in itertools.product(*matrix.values())]
    rows = [row for row in rows if not any(fits(row, condition) for condition in table["exclude"])]
    table["include"] = [entry for entry in table["include"] if any(fits(row, entry) for row in rows)]
    if not rows:
        return
    default = data.draw(st.none() | st.sampled_from(rows))
    shown = [{**row, **({"quantize": FTYPES[row["quantize"]] or "none"} if "quantize" in row else {})} for row in rows]
    tags = ["-".join(row.values()) for row in shown]
    if len(set(tags)) < len(tags):  # "c-d" and "e" against "c" and "d-e"
        return
    used = " ".join(f"${{matrix.{axis}}}" for axis in matrix)
    model = {"from": "w", "description": used, **table, **({"default": default, "tags": ["v1"]} if default else {})}
    document = {"model": {"m": model}, "vars": {"v": "V", "n": 5}}

    keep = Kept()
    loaded = load(root, tomli_w.dumps(document), keep=keep)
    assert declared(load(root, keep=keep)) == declared(loaded)

    assert [[name.tag for name in each.names] for each in loaded.variants] == [
        [tag, *(["latest", "v1"] if row == default else [])] for tag, row in zip(tags, rows, strict=True)
    ]
    for made, row, of_row in zip(loaded.variants, rows, shown, strict=True):
        assert dict(made.row) == of_row
        assert made.is_default == (row == default)
        assert made.quantize == FTYPES.get(row.get("quantize", "none"))
        expected = dict(matrix["parameters"][row["parameters"]]) if "parameters" in row else {}
        systems = [entry["system"] for entry in table["include"] if fits(row, entry)]
        assert made.parameters == {key: 5 if value == "${n}" else value for key, value in expected.items()}
        assert made.string("system") == (systems[-1].replace("${v}", "V") if systems else None)
        assert made.froms[0].text == "w"
    defaults = [each for each in loaded.variants if each.is_default]
    assert loaded.candidates("m") == (tuple(defaults) or loaded.variants)


def test_include_of_a_new_row_takes_lists_of_labels(tmp_path: Path) -> None:
    toml = R + 'system = "${matrix.a}${matrix.b}"\nmatrix = { a = ["x"], b = ["y"] }\n'
    toml += 'include = [{ a = ["p", "q"], b = ["y", "z"] }]\n'
    assert labels(load(tmp_path, toml)) == ["m:x-y", "m:p-y", "m:p-z", "m:q-y", "m:q-z"]


def test_a_later_entry_may_speak_of_an_included_row(tmp_path: Path) -> None:
    toml = (
        '[model.m]\nfrom = "x"\nmatrix.n = [1, 2]\n'
        'include = [{ n = 3 }, { n = 3, parameters = { seed = "${matrix.n}" } }]\n'
    )
    made = load(tmp_path, toml).variants
    assert [(each.label, dict(each.parameters)) for each in made] == [("m:1", {}), ("m:2", {}), ("m:3", {"seed": 3})]


def test_axes_over_a_key_and_set_do_not_mix(tmp_path: Path) -> None:
    toml = '[model.m]\nfrom = "x"\nsystem = "s"\nmatrix.tone = ["a"]\ninclude = [{ tone = "a", system = "row" }]\n'
    assert load(tmp_path, toml).variants[0].string("system") == "row"
    assert load(tmp_path, toml, sets=("m.system=set",)).variants[0].string("system") == "set"


def test_exclude_drops_rows(tmp_path: Path) -> None:
    toml = R + 'system = "${matrix.t}"\nmatrix = { quantize = ["q8_0", "f16"], t = ["a", "b", "c"] }\n'
    toml += '[[model.m.exclude]]\nquantize = "Q8_0"\nt = ["a", "b"]\n[[model.m.exclude]]\nt = "c"\n'
    assert labels(load(tmp_path, toml)) == ["m:f16-a", "m:f16-b"]


def test_include_adds_keys_to_rows_that_match_and_rows_that_do_not(tmp_path: Path) -> None:
    toml = R + 'matrix = { quantize = ["q8_0"], t = ["a", "b"] }\n'
    toml += '[[model.m.include]]\nt = "b"\nsystem = "for b"\nparameters = { seed = 1 }\n'
    toml += '[[model.m.include]]\nquantize = "f16"\nt = "c"\ntag = "extra"\n'
    toml += "[[model.m.include]]\nparameters = { top_k = 2 }\n"
    loaded = load(tmp_path, toml)
    assert [(each.label, each.string("system"), each.quantize, dict(each.parameters)) for each in loaded.variants] == [
        ("m:q8_0-a", None, "q8_0", {"top_k": 2}),
        ("m:q8_0-b", "for b", "q8_0", {"seed": 1, "top_k": 2}),
        ("m:extra", None, "f16", {"top_k": 2}),
    ]


def test_an_included_row_can_be_the_default(tmp_path: Path) -> None:
    toml = R + 'matrix = { quantize = ["q8_0"] }\ninclude = [{ quantize = "f16" }]\ndefault.quantize = "f16"\n'
    assert names(load(tmp_path, toml)) == [["m:q8_0"], ["m:f16", "m:latest"]]
