"""What values may be is tested key by key, in test_keys.py; here what several keys share."""

from __future__ import annotations

import pytest

from modelbuild.errors import Error
from modelbuild.project import allowed


def test_words_in_any_case() -> None:
    assert allowed.choice("LAYER", allowed.ADAPTER_MODES, "adapter mode") == "layer"
    assert allowed.optional("", allowed.ADAPTER_MODES, "adapter mode") is None
    assert allowed.converter("LLAMA.cpp") == "llama.cpp"
    with pytest.raises(Error, match="unknown converter") as caught:
        allowed.converter("lama.cpp")
    assert caught.value.hint and "llama.cpp" in caught.value.hint


def test_numbers() -> None:
    assert (allowed.chunks("7"), allowed.chunks(7.0), allowed.chunks("")) == (7, 7, None)
    assert (allowed.divergence(0.05), allowed.divergence("")) == (0.05, None)
    for value in (0, -1, 1.5, True, "x", 1e9, "9" * 5000):
        with pytest.raises(Error):
            allowed.chunks(value)
    for value in (0, -1, True, "x", float("nan"), float("inf")):
        with pytest.raises(Error):
            allowed.divergence(value)
