"""Our verdict on GGUF files beside llama.cpp's runtime itself: of files that it loads none is refused.

Each architecture's first checkpoint is converted and spoiled: a tensor less, a shape that is another, a key of the metadata less, of
another type or value, a list cut short. MODELBUILD_LOADS=1 takes every such file, else each 12th is taken.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from modelbuild.checkpoint import loadable
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.formats.gguf import decode_value, encode_value, type_name
from modelbuild.tensors.tensor import byte_count
from tests.checkpoint.test_loadable import FIRST

from .. import recipes, zoo

EVERY = int(os.environ.get("MODELBUILD_LOADS", "12"))
PYTHON = os.environ.get("MODELBUILD_PEERS_PYTHON")
LOADS = Path(__file__).parents[1] / "peers/llama_loads.py"
ALONE = [name for name in FIRST if name != "gemma4-assistant"]
"""Architectures of models that are loaded alone; a draft is loaded beside its model (`test_drafts`)."""

Metadata = Mapping[str, bytes]
Tensors = Mapping[str, tuple[str, tuple[int, ...], bytes]]
"""name -> dtype, shape, bytes"""


def spoiled(metadata: Metadata, tensors: Tensors) -> Iterator[tuple[str, Metadata, Tensors]]:
    for name, (dtype, shape, data) in tensors.items():
        if name.startswith("blk.") and not name.startswith("blk.0."):
            continue
        yield f"without {name}", metadata, {key: value for key, value in tensors.items() if key != name}
        yield f"shorter {name}", metadata, {**tensors, name: (dtype, (shape[0] - 1, *shape[1:]), data)}
        if len(shape) > 1 and shape[-1] != shape[-2]:
            turned = (*shape[:-2], shape[-1], shape[-2])
            yield f"transposed {name}", metadata, {**tensors, name: (dtype, turned, data)}
    for key, encoded in metadata.items():
        yield f"no {key}", {name: data for name, data in metadata.items() if name != key}, tensors
        value = decode_value(encoded)
        if isinstance(value, list):
            yield f"cut {key}", {**metadata, key: encode_value(type_name(encoded), value[:-3])}, tensors
        elif isinstance(value, int) and not isinstance(value, bool):
            for form, other in ((type_name(encoded), value + 1), ("str", str(value)), ("u64", max(value, 0))):
                yield f"{key} {form} {other}", {**metadata, key: encode_value(form, other)}, tensors


def write(path: Path, metadata: Metadata, tensors: Tensors) -> None:
    parts = [gguf.header(metadata, [(name, dtype, shape) for name, (dtype, shape, _) in tensors.items()])]
    for dtype, shape, data in tensors.values():
        size = gguf.padded(byte_count(dtype, shape))
        parts.append(data.ljust(size, b"\0")[:size])
    path.write_bytes(b"".join(parts))


def loads(path: Path) -> bool:
    """Whether the runtime loads a file; False too for one that kills it."""
    assert PYTHON is not None
    run = subprocess.run([PYTHON, str(LOADS), str(path)], capture_output=True, text=True, timeout=600)
    # An error of Python's own is none of the file.
    assert run.returncode != 1, run.stderr
    return run.returncode == 0


@pytest.mark.peer
@pytest.mark.skipif(PYTHON is None, reason="MODELBUILD_PEERS_PYTHON names no Python with xllamacpp")
@pytest.mark.parametrize("name", ALONE)
def test_nothing_is_refused_that_the_runtime_loads(name: str, tmp_path: Path) -> None:
    case = next(iter(zoo.cases(FIRST[name]).values()))
    folder = zoo.write(tmp_path / "model", case)
    whole = tmp_path / "whole.gguf"
    whole.write_bytes(recipes.file_of(recipes.converted(folder, "f16", case.pre), recipes.Folder(folder).leaves()))
    data, table = whole.read_bytes(), gguf.read_header(str(whole)).table
    tensors = {
        each.name: (each.dtype, each.shape, data[each.offset : each.offset + each.length])
        for each in table.tensors.values()
    }
    assert loads(whole)
    wrong, seen = [], 0
    for number, (what, metadata, left) in enumerate(spoiled(table.metadata, tensors)):
        if number % EVERY:
            continue
        path = tmp_path / "spoiled.gguf"
        write(path, metadata, left)
        refused = loadable.faults(metadata, {key: shape for key, (_, shape, _) in left.items()})
        loaded = loads(path)
        seen += not loaded and bool(refused)
        if loaded and refused:
            wrong.append((what, [error.what for error in refused]))
    assert wrong == []
    assert seen, "nothing was spoiled"
