"""A folder as the inputs of a step, and a plain way to make the bytes of a recipe: what the materializer is checked against."""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import prod
from pathlib import Path

from modelbuild import quants
from modelbuild.formats import gguf, safetensors
from modelbuild.recipe import Expression, Recipe
from modelbuild.steps import convert, importing, quantize
from modelbuild.tensor import TensorTable


class Folder:
    """A checkpoint folder, or GGUF files, as the inputs of a step."""

    def __init__(self, path: Path, files: list[str] | None = None) -> None:
        self.path = path
        names = [str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()]
        self.sources = convert.sources(names)
        index = self.file(convert.INDEX)
        self.weights = files if files is not None else convert.weights(names, index)

    def roles(self) -> list[str]:
        return [*self.sources, *self.weights]

    def file(self, role: str) -> bytes | None:
        path = self.path / role
        return path.read_bytes() if path.is_file() else None

    def tables(self) -> list[tuple[str, TensorTable]]:
        survey = {".safetensors": safetensors.survey, ".gguf": gguf.survey}
        return [(name, survey[os.path.splitext(name)[1]](str(self.path / name)).table) for name in self.weights]

    def leaves(self) -> dict[str, bytes]:
        """The bytes of every tensor, by digest."""
        found = {}
        for name, table in self.tables():
            data = (self.path / name).read_bytes()
            for tensor in table.tensors.values():
                found[tensor.digest] = data[tensor.offset : tensor.offset + tensor.length]
        return found


def converted(path: Path, outtype: str = "source") -> Recipe:
    return Recipe.decode(convert.run({"outtype": outtype, "folder": path.name}, Folder(path)))


def imported(path: Path, files: list[str]) -> Recipe:
    return Recipe.decode(importing.run({}, Folder(path, files)))


def quantized(recipe: Recipe, ftype: str) -> Recipe:
    return Recipe.decode(quantize.quantize(recipe, ftype).encode())


def file_of(recipe: Recipe, leaves: Mapping[str, bytes]) -> bytes:
    """Make the whole file, one tensor after the other: the materializer's specification."""
    parts = [gguf.header(recipe.metadata, [(e.name, e.expression.dtype, e.shape) for e in recipe.tensors])]
    known = {**leaves, **recipe.constants}
    for entry in recipe.tensors:
        data = evaluate(entry.expression, known)
        assert len(data) == entry.expression.size, entry.name
        parts += (data, bytes(-len(data) % gguf.ALIGNMENT))
    return b"".join(parts)


def evaluate(x: Expression, leaves: Mapping[str, bytes]) -> bytes:
    """The bytes of a tensor."""
    if x.operation == "leaf":
        return leaves[x.digest]
    (operand,) = x.operands
    data = evaluate(operand, leaves)
    if x.operation == "permute":
        (heads,) = x.parameters
        row = len(data) // x.shape[0]
        half = x.shape[0] // heads // 2
        old = [(h * 2 + p) * half + j for h in range(heads) for j in range(half) for p in (0, 1)]
        return b"".join(data[r * row : (r + 1) * row] for r in old)
    assert x.operation in ("cast", "quantize"), x.operation
    out = bytearray(x.size)
    assert prod(operand.shape) == prod(x.shape)
    quants.quantize(x.dtype, operand.dtype, data, out)
    return bytes(out)
