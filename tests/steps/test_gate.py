"""A gate lets a model through, or says how far it falls short."""

from __future__ import annotations

import pytest

from modelbuild.errors import Error, FellShort
from modelbuild.steps import gate
from tests.steps.inputs import Given


def test_verdicts() -> None:
    def judged(figures: bytes) -> bytes:
        return gate.run({"kld": 0.05}, Given(figures=figures))

    assert judged(b'{"kld":0.05}') == b'{"kld":0.05}'
    for figures, shown in ((b'{"kld":0.0501}', "0.0501"), (b'{"kld":NaN}', "nan")):
        with pytest.raises(FellShort, match=f"its divergence is {shown}, expected at most 0.05") as caught:
            judged(figures)
        assert isinstance(caught.value.replace(hint="x"), FellShort)
    for figures in (b"", b"{}", b"[]", b'{"kld":"x"}'):
        with pytest.raises(Error, match="cannot be read"):
            judged(figures)
