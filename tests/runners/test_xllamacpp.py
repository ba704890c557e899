"""The package xllamacpp in a process of its own; what both runners of llama.cpp do is in test_llama_server.py."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from modelbuild import runners
from modelbuild.errors import Error
from tests.runners.fakes import Fakes
from tests.runners.test_llama_server import model


def test_what_is_loaded(fakes: Fakes, tmp_path: Path) -> None:
    fakes.package()
    parameters = {"num_ctx": 64, "num_thread": 2, "num_gpu": 0, "num_batch": 8, "main_gpu": 1}
    found = model(tmp_path, adapters=["/a", "/b"], projector="/projector", parameters=parameters)
    with closing(runners.get("xllamacpp").talk(found)):
        pass
    loaded = fakes.noted()[0]["loaded"]
    expected = {
        "model": found.weights,
        "mmproj": "/projector",
        "lora_adapters": [{"path": "/a", "scale": 1.0}, {"path": "/b", "scale": 1.0}],
        "n_ctx": 64,
        "n_threads": 2,
        "n_gpu_layers": 0,
        "n_batch": 8,
        "main_gpu": 1,
        "n_parallel": 1,
    }
    assert expected.items() <= loaded.items()
    assert loaded["hostnames"][0].endswith(".sock"), "a port may be taken by another server that starts"


def test_a_library_that_aborts_is_an_error_like_any_other(
    fakes: Fakes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes.package()
    monkeypatch.setenv("FAKE_LLAMA", "abort")
    with pytest.raises(Error, match="the process of llama.cpp ended") as caught:
        runners.get("xllamacpp").talk(model(tmp_path))
    assert "GGML_ASSERT(x) failed" in str(caught.value)


def test_it_is_missing(fakes: Fakes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelbuild.runners import xllamacpp

    monkeypatch.setattr(xllamacpp, "find_spec", lambda name: None)
    assert xllamacpp.missing(model(tmp_path)) == "the Python package xllamacpp is not installed"
