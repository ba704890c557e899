"""The kernels against ggml itself."""

from __future__ import annotations

import numpy as np
import pytest

from modelbuild import quants
from tests.quants import ggml_oracle
from tests.quants.quant_data import families
from tests.quants.ways import BLOCKS, WAYS, pack

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
