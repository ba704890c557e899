"""The step that quantizes: what it is asked for reaches the rules, and errors name the parameter or the input."""

from __future__ import annotations

import pytest

from modelbuild.errors import Error
from modelbuild.steps import quantize
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.recipe import Recipe
from tests.steps.inputs import Given
from tests.tensors.test_ftypes import Kind
from tests.tensors.test_quantization import recipe

SOURCE = recipe(Kind()).encode()


def types(made: bytes) -> dict[str, str]:
    return {entry.name: entry.expression.dtype for entry in Recipe.decode(made).tensors}


def test_mix_and_ftype_decide_the_types() -> None:
    plain = types(quantize.run({"ftype": "q8_0"}, Given(recipe=SOURCE)))
    mixed = types(quantize.run({"ftype": "q8_0", "mix": {"tensors": [["attn_v", "q6_k"]]}}, Given(recipe=SOURCE)))
    changed = {name: dtype for name, dtype in mixed.items() if dtype != plain[name]}
    assert set(changed.values()) == {"q6_k"} and all("attn_v" in name for name in changed)


def test_what_is_quantized_is_quantized_again_only_where_that_is_asked_for() -> None:
    again = Given(recipe=quantize.run({"ftype": "q8_0"}, Given(recipe=SOURCE)))
    with pytest.raises(Error) as caught:
        quantize.run({"ftype": "q4_0"}, again)
    assert (caught.value.parameter, caught.value.input, caught.value.path) == (("ftype",), None, None)
    made = Recipe.decode(quantize.run({"ftype": "q4_0", "requantize": True}, again))
    assert decode_value(made.metadata["general.file_type"]) == 2


def test_a_rule_that_fits_nothing_is_named_by_its_keys() -> None:
    with pytest.raises(Error) as caught:
        quantize.run({"ftype": "q8_0", "mix": {"tensors": [["no.such", "q6_k"]]}}, Given(recipe=SOURCE))
    assert caught.value.parameter == ("mix", "tensors", "no.such")


def test_a_wrong_importance_matrix_is_an_input_though_its_path_is_a_parameter() -> None:
    with pytest.raises(Error) as caught:
        quantize.run({"ftype": "q8_0", "imatrix": "a/b.dat"}, Given(recipe=SOURCE, imatrix=b""))
    assert (caught.value.input, caught.value.parameter, caught.value.path) == ("imatrix", (), None)
