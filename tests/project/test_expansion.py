"""Rows as variants: what axes set, and what rows are called."""

from __future__ import annotations

from pathlib import Path

from modelbuild.errors import Problems
from modelbuild.project.expansion import check_names
from tests.projects import R, complaint, labels, load, names


def test_rows_are_the_product_of_the_axes(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        R
        + 'description = "${matrix.tone}"\nmatrix.quantize = ["Q8_0", "q4_k"]\nmatrix.tone = { a = "AA", b = "BB" }\n',
    )
    assert names(loaded) == [["m:q8_0-a"], ["m:q8_0-b"], ["m:q4_K_M-a"], ["m:q4_K_M-b"]]
    assert [each.quantize for each in loaded.variants] == ["q8_0", "q8_0", "q4_K_M", "q4_K_M"]
    assert loaded.variants[1].row == (("quantize", "q8_0"), ("tone", "b"))
    assert labels(loaded) == ["m:q8_0-a", "m:q8_0-b", "m:q4_K_M-a", "m:q4_K_M-b"]


def test_rows_that_nothing_tells_apart_stop_no_others(tmp_path: Path) -> None:
    axes = 'matrix = { quantize = { "x-y" = "q8_0", x = "f16" }, num_ctx = { z = 1024, "y-z" = 2048 } }\n'
    loaded = load(tmp_path, R + axes)
    assert labels(loaded) == ["m:x-y-y-z", "m:x-z"]
    (error,) = {error for each in loaded.broken for error in each.errors}
    assert {each.label for each in loaded.broken} == {"m:x-y-z"}
    assert error.what == "model 'm': 2 rows have the same label 'x-y-z'"
    assert dict(error.facts)["rows"] == "quantize = x-y, num_ctx = z\nquantize = x, num_ctx = y-z"


def test_an_axis_over_a_key_sets_it(tmp_path: Path) -> None:
    toml = R + (
        'system = "old"\nparameters = { seed = 1 }\nmatrix.system = { a = "A", f = { file = "f" } }\n'
        "matrix.parameters = { hot = { temperature = 1 }, cold = { temperature = 0.1, seed = 2 } }\n"
    )
    loaded = load(tmp_path, toml, {"f": "F"})
    assert [(each.label, each.string("system"), dict(each.parameters)) for each in loaded.variants] == [
        ("m:a-hot", "A", {"seed": 1, "temperature": 1.0}),
        ("m:a-cold", "A", {"seed": 2, "temperature": 0.1}),
        ("m:f-hot", "F", {"seed": 1, "temperature": 1.0}),
        ("m:f-cold", "F", {"seed": 2, "temperature": 0.1}),
    ]


def test_labels_and_values_stand_in_strings(tmp_path: Path) -> None:
    toml = R.replace("./x", "${matrix.base.value}") + (
        'name = "acme/${matrix.base}-x"\ntag = "${matrix.quantize}"\nsystem = "I am ${matrix.base} in $${matrix.base}"\n'
        'parameters = { num_ctx = "${matrix.ctx.value}", seed = "${matrix.n}" }\n'
        'matrix = { base = { s = "./base/1b", l = "./base/8b" }, quantize = ["q8_0"], ctx = { k = 4096 }, n = [7] }\n'
    )
    loaded = load(tmp_path, toml)
    assert names(loaded) == [["acme/s-x:q8_0"], ["acme/l-x:q8_0"]]
    assert [each.froms[0].text for each in loaded.variants] == ["./base/1b", "./base/8b"]
    assert loaded.variants[0].string("system") == "I am s in ${matrix.base}"
    assert loaded.variants[0].parameters == {"num_ctx": 4096, "seed": 7}
    assert labels(loaded) == ["m:s-q8_0-k-7", "m:l-q8_0-k-7"]


def test_a_glob_table_can_bring_a_matrix(tmp_path: Path) -> None:
    toml = '[model."*"]\nmatrix.quantize = ["q8_0", "f16"]\n[model.a]\nfrom = "x"\n[model.b]\nfrom = "y"\n'
    assert labels(load(tmp_path, toml)) == ["a:q8_0", "a:f16", "b:q8_0", "b:f16"]


def test_tags_that_do_not_tell_rows_apart_leave_them_to_their_labels(tmp_path: Path) -> None:
    toml = R + 'tag = "t"\nname = "m-${matrix.a}"\nmatrix.a = ["x", "y"]\n'
    assert labels(load(tmp_path, toml)) == ["m:x", "m:y"]
    assert labels(load(tmp_path, toml.replace('"t"', '"t${matrix.a}"'))) == ["m:tx", "m:ty"]


def test_a_model_that_is_wrong_does_not_keep_others_from_being_told_of(tmp_path: Path) -> None:
    said = complaint(tmp_path, R + 'matrix.name = ["a"]\nlink = "${x}"\n[model.n]\nsystem = "x"\n[vars]\nx = "soft"\n')
    assert "'name' cannot be an axis" in said and "'from' nor 'modelfile'" in said
    # Of the rows that cannot be made nothing is said.
    assert "soft" not in said


def test_names_are_one_whatever_their_case(tmp_path: Path) -> None:
    one = load(tmp_path, '[model.a]\nfrom = "x"\nname = "bot"\n').variants
    two = load(tmp_path, '[model.b]\nfrom = "x"\nname = "Bot"\n').variants
    problems = Problems()
    check_names([*one, *two], problems)
    for label in ("a", "b"):
        found = problems.of(label).errors
        assert [error.what for error in found] == ["model 'b': 2 variants would both be named 'Bot:latest'"]


def test_a_variant_of_two_names_that_differ_by_case_is_one_variant(tmp_path: Path) -> None:
    text = complaint(tmp_path, '[model.a]\nfrom = "./x"\ntags = ["one", "One"]\n')
    assert "ModelBuild.toml:3:8: model 'a': 'a' would be named 'a:one' and 'a:One'" in text
    assert "leave one of them out: they differ only by case" in text
