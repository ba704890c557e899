"""Bytes that were measured on ggml once, and are held to here."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest

from modelbuild.tensors import quants
from tests.tensors.quants.quant_data import lcg
from tests.tensors.quants.ways import BLOCKS, WAYS, pack
from tests.tensors.quants.ways import WEIGHTED as TAKE_WEIGHTS

VECTORS = {
    "q4_0": ("53b2b9a2e078143f", "1d7c7f2ea983bb15"),
    "q4_1": ("77d4db5e0f9baa8c", "ca4e3b8d7a7a44d1"),
    "q5_0": ("7dd220459656ab5c", "f0e3b1aed493d3c7"),
    "q5_1": ("bb1f006f7c098ccf", "6e239f93dcfe98c9"),
    "q8_0": ("6a6a23c9b770a3f2", "7563702cff45282a"),
    "q2_k": ("c712da4339f18aef", "8c439b3e07f99a86"),
    "q3_k": ("8a0b35659f44534b", "c5d55aabe759452d"),
    "q4_k": ("c42fb0a3ad5bbf12", "24edfc4ec4954c77"),
    "q5_k": ("39d50ae792bd8613", "f981423f1156fcda"),
    "q6_k": ("1b6a5b23793b93d3", "a9f3e4bf074e9d08"),
    "iq4_nl": ("ced01cc424410faf", "ed59581ba219ec73"),
    "iq4_xs": ("48926c48462a3ea5", "65824e32c80d1b13"),
    "mxfp4": ("d7b86d05a0db62e3", "ac4f8e604ca18513"),
    "nvfp4": ("f14f06dff23e32a3", "df1aada223c4d1eb"),
    "tq1_0": ("715425f92c1c62b2", "a9798595f76fb51d"),
    "tq2_0": ("a67fcec51bb50ce7", "247d4e45283209d7"),
}
"""The first 16 digits of the sha256 of what ggml makes of u / 8 and of (u * u) * u."""

WEIGHTED = {
    "q4_0": ("c63c145fdcfbb453", "5a339efc02c7aea4"),
    "q4_1": ("b5469be2bb61fabe", "a35369b72c0999ab"),
    "q5_0": ("1dc0abbb21b337aa", "ba6ca60739b137b9"),
    "q5_1": ("083e252b555c8992", "a0a2b30f9e6b02d1"),
    "q2_k": ("15321e881560cc32", "dbc79dc3f08a5e7f"),
    "q3_k": ("54b928af7735a7e1", "5af972d722b90cba"),
    "q4_k": ("1e76040b469bbcb2", "749fd529c554f8b0"),
    "q5_k": ("de833722918b02e4", "4e7648c10d599896"),
    "q6_k": ("38cb70ec6a7d4b1b", "b2a97ab19d8d5bff"),
    "iq4_nl": ("060d081bb0c32342", "246e92cc7602fad0"),
    "iq4_xs": ("79d7e3f1292b08cd", "addb07f23241bc1c"),
}
"""The same in 32 rows with an importance matrix: of each column |u| of the generator started at 7, plus 2^-10."""

ZEROS = {
    "q4_0": "0080" + "88" * 16,
    "q5_0": "0080" + "ffffffff" + "00" * 16,
    "iq4_nl": "0000" + "88" * 16,
    "iq4_xs": "0080" + "aaaa" + "00" * 4 + "88" * 128,
    "tq1_0": "80" * 48 + "7f" * 4 + "0000",
    "tq2_0": "55" * 64 + "0000",
}
"""A block of zeros, where it is not all zero bytes."""


def digest(data: object) -> str:
    return sha256(data).hexdigest()[:16]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def u() -> np.ndarray:
    return lcg(16384, seed=1)


def test_the_generator_gives_the_values_the_vectors_were_made_of(u):
    assert digest(u * np.float32(0.125)) == "ebf25729ffe81d06"
    assert digest((u * u) * u) == "2209e347a303e0a1"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("quant", BLOCKS)
def test_every_way_gives_the_vectors_of_ggml(u, quant, way):
    made = tuple(digest(pack(way, quant, "f32", values)[0]) for values in (u * np.float32(0.125), (u * u) * u))
    assert made == VECTORS[quant]


def test_the_formats_that_ggml_weighs_take_weights():
    assert set(TAKE_WEIGHTS) == set(WEIGHTED)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("quant", TAKE_WEIGHTS)
def test_every_way_gives_the_vectors_of_ggml_with_an_importance_matrix(u, quant, way):
    weights = np.abs(lcg(512, seed=7)) + np.float32(2**-10)
    assert digest(weights) == "f89744be289f08a0"
    values = u * np.float32(0.125), (u * u) * u
    made = tuple(digest(pack(way, quant, "f32", each, weights, 512)[0]) for each in values)
    assert made == WEIGHTED[quant]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("quant", BLOCKS)
def test_zeros_pack_as_in_ggml(quant, way):
    form = quants.get(quant)
    expected = ZEROS.get(quant, "00" * form.bytes)
    assert pack(way, quant, "f32", np.zeros(form.block, np.float32))[0].tobytes().hex() == expected
