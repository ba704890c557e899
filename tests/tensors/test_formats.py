"""The registry of weights files: every format says the same things of its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelbuild.tensors import formats
from tests.tensors.formats import test_gguf, test_safetensors

FILES: dict[str, Callable[[Path], Path]] = {
    "gguf": test_gguf.library_file,
    "safetensors": test_safetensors.library_file,
}


@pytest.mark.parametrize("name", formats.WEIGHTS)
def test_table_survey_and_running_digest_agree(name: str, tmp_path: Path) -> None:
    path = FILES[name](tmp_path / f"weights.{name}")
    format_ = formats.get(name)
    surveyed = format_.survey(str(path))
    bare = {name: tensor._replace(digest="") for name, tensor in surveyed.table.tensors.items()}
    table = format_.table(str(path))
    assert (table.metadata, table.tensors) == (surveyed.table.metadata, bare)
    running = format_.running(str(path))
    data = path.read_bytes()
    for at in range(0, len(data), 100):
        running.update(data[at : at + 100])
    assert running.digest() == surveyed.digest
