"""The kernels against ggml itself."""

from __future__ import annotations

import numpy as np
import pytest

from modelbuild.tensors import quants
from tests.tensors.quants import ggml_oracle
from tests.tensors.quants.quant_data import families, importances, paired
from tests.tensors.quants.ways import BLOCKS, WAYS, WEIGHTED, pack

pytestmark = pytest.mark.peer


@pytest.mark.parametrize("quant", BLOCKS)
def test_every_way_equals_ggml_on_every_family(quant):
    form = quants.get(quant)
    for name, values in families(1 << 16, seed=11):
        expected = ggml_oracle.quantize(form, values)
        for way in WAYS:
            made = pack(way, quant, "f32", values)[0]
            different = np.flatnonzero((made != expected).reshape(-1, form.bytes).any(axis=1))
            assert different.size == 0, (name, way, different[:5])


@pytest.mark.parametrize("columns", [256, 768, 8192])
@pytest.mark.parametrize("quant", WEIGHTED)
def test_every_way_equals_ggml_with_importances_on_every_family(quant, columns):
    form = quants.get(quant)
    for name, values, weights in paired(24 << 10, columns, each=3, seed=12):
        expected = ggml_oracle.quantize(form, values, weights)
        for way in WAYS:
            made = pack(way, quant, "f32", values, weights, columns)[0]
            different = np.flatnonzero((made != expected).reshape(-1, form.bytes).any(axis=1))
            assert different.size == 0, (name, way, different[:5])


@pytest.mark.parametrize("quant", ["q4_0", "q4_1", "q5_0", "q5_1", "iq4_nl"])
def test_rows_that_are_no_whole_super_blocks_equal_ggml(quant):
    form = quants.get(quant)
    for columns in (32, 288, 1056, 4128):
        values = (np.random.default_rng(columns).standard_normal(columns * 9) * 0.02).astype(np.float32)
        for of, weights in importances(columns):
            expected = ggml_oracle.quantize(form, values, weights)
            for way in WAYS:
                assert np.array_equal(pack(way, quant, "f32", values, weights, columns)[0], expected), (
                    columns,
                    of,
                    way,
                )
