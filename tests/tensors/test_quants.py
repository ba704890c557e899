"""The registry of quants: names, ids and sizes."""

from __future__ import annotations

import inspect

import pytest

from modelbuild.tensors import quants


def test_every_file_is_a_quant_and_no_id_is_taken_twice():
    assert {"f32", "f16", "bf16", "q4_0", "q8_0", "q3_k", "q4_k", "q5_k", "q6_k"} <= set(quants.names())
    everything = [quants.get(name) for name in (*quants.names(), *quants._carried.SIZES)]
    assert len({form.ggml_type for form in everything}) == len(everything)


@pytest.mark.parametrize("name", ["q4_K", "Q8_0", "", "native", "__init__", "_numpy", "q9_9", "../f32"])
def test_an_unknown_name_is_a_key_error(name):
    with pytest.raises(KeyError):
        quants.get(name)


@pytest.mark.parametrize("ggml_type", [-1, 4, 31, 36, 1000])
def test_an_unknown_id_is_none(ggml_type):
    assert quants.by_ggml_type(ggml_type) is None


def test_what_can_only_be_carried_takes_no_weights():
    assert not quants.takes_weights("iq2_xxs")
    with pytest.raises(KeyError):
        quants.takes_weights("q9_9")


@pytest.mark.parametrize("name", quants.names())
def test_every_file_says_all_that_a_format_is(name: str) -> None:
    file = quants.module(name)
    for part in quants.Format.__annotations__:
        assert isinstance(getattr(file, part), int | tuple), part
    packs = ["quantize", "dequantize", *(["quantize_weighted"] if quants.takes_weights(name) else [])]
    for part in packs:
        said = inspect.signature(getattr(quants.Weighted, part)).parameters
        assert list(inspect.signature(getattr(file, part)).parameters) == list(said)[1:], part
