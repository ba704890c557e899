"""Weights in a file, and what recipes make of them, compared with their plain specification (tests/recipes.py)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np

from modelbuild.digest import xxh3
from modelbuild.tensors import quants
from modelbuild.tensors.evaluate import Region
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.materialize import Materialized, Resources, materialize
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.recipe import Entry, Expression, Recipe
from tests import recipes

ARCHITECTURE = {"general.architecture": gguf.encode_value("str", "llama")}


@dataclass
class Weights:
    """A file of tensors, and where each digest lies in it."""

    path: Path
    regions: dict[str, Region] = field(default_factory=dict)
    found: dict[str, tuple[Region, str]] = field(default_factory=dict)
    jobs: int = 3
    memory: int = 64 << 20

    def add(self, dtype: str, shape: tuple[int, ...], data: bytes) -> Expression:
        at = self.path.stat().st_size if self.path.exists() else 0
        with self.path.open("ab") as file:
            file.write(data)
        digest = xxh3(data)
        self.regions[digest] = Region(str(self.path), at, len(data), f"tensor at {at}")
        return leaf(digest, dtype, shape)

    def make(self, target: Path, *entries: tuple[str, Expression], **constants: bytes) -> Materialized:
        made = Recipe(
            ARCHITECTURE, [Entry(name, x.shape, x) for name, x in entries], {xxh3(c): c for c in constants.values()}
        )
        with ThreadPoolExecutor(self.jobs) as pool, target.open("wb") as file:
            return materialize(
                made,
                file.fileno(),
                find=lambda keys: {key: self.found[key] for key in keys if key in self.found},
                open_leaf=self.regions.__getitem__,
                resources=Resources(pool, self.jobs, self.memory, threading.Event()),
            )


def bf16(shape: tuple[int, ...], seed: int = 0) -> bytes:
    values = np.random.default_rng(seed).standard_normal(prod(shape), dtype=np.float32) * np.float32(0.02)
    return (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()


class Made(Weights):
    """A file of tensors that knows their bytes, and compares what is made of them with the specification."""

    def __init__(self, folder: Path, jobs: int, memory: int) -> None:
        super().__init__(folder / "weights", jobs=jobs, memory=memory)
        self.folder = folder
        self.bytes: dict[str, bytes] = {}

    def leaf(self, *shape: int, dtype: str = "f32", data: bytes | None = None, seed: int = 0) -> Expression:
        found = noise(dtype, prod(shape), seed) if data is None else data
        self.bytes[xxh3(found)] = found
        return self.add(dtype, shape, found)

    def check(self, *expressions: Expression) -> Materialized:
        """Each becomes a tensor of one file; the file is the specification's."""
        # GGUF has no type for u8.
        expressions = tuple(cast("f32", x) if x.dtype == "u8" else x for x in expressions)
        entries = [(f"t{number}", x) for number, x in enumerate(expressions)]
        made = self.make(self.folder / "out", *entries)
        whole = (self.folder / "out").read_bytes()
        for span, x in zip(made.spans, expressions, strict=True):
            expected = recipes.evaluate(x, self.bytes)
            assert len(expected) == x.size
            assert whole[span.offset : span.offset + span.length] == expected, x.operation
            assert span.xxh3 == xxh3(expected)
        return made


def noise(dtype: str, count: int, seed: int = 0) -> bytes:
    """Finite values of any dtype."""
    generator = np.random.default_rng(seed)
    floats = generator.standard_normal(count, dtype=np.float32)
    if dtype == "bf16":
        return (floats.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    if dtype in ("f16", "f32", "f64"):
        return floats.astype({"f16": "<f2", "f32": "<f4", "f64": "<f8"}[dtype]).tobytes()
    if dtype == "bool":
        return generator.integers(0, 2, count, np.uint8).tobytes()
    if dtype.startswith("f8"):
        codes = generator.integers(0, 120, count, np.uint8)
        return (codes if dtype == "f8_e8m0" else codes | generator.integers(0, 2, count, np.uint8) << 7).tobytes()
    return generator.integers(0, 256, count * quants.get(dtype).bytes, np.uint8).tobytes()
