"""The inputs of recipe steps before a build: the headers of weights files, and no weights."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

from modelbuild.engine.graph import Source, Step
from modelbuild.errors import Error
from modelbuild.files import open_plain, read_plain

if TYPE_CHECKING:
    from modelbuild.tensors.evaluate import Region
    from modelbuild.tensors.recipe import Expression, Recipe
    from modelbuild.tensors.tensor import Tensor, TensorTable


T = TypeVar("T")

_OF_ALL = ("config.json", "model.safetensors.index.json")
"""The small files from which the tensors of a checkpoint follow, whatever is made of it."""

SMALL_LIMIT = 200_000_000
"""Bytes of a small file of a checkpoint, of which the largest, tokenizer.json, has 35 million in real ones."""
LIMITS = {"imatrix": 4 << 30}
"""Bytes of an importance matrix: one of 384 experts in each of 60 blocks has 1.5 billion."""


class Heads:
    """Tensor tables of weights files, each read once and without its weights."""

    def __init__(self) -> None:
        self._tables: dict[Source, TensorTable] = {}
        self._wrong: dict[Source, Error] = {}
        self._shared: dict[object, Any] = {}

    def table(self, source: Source) -> TensorTable:
        """The table of a file. In place of the digest of a tensor's bytes it has words that no other tensor has."""
        if source in self._wrong:
            raise self._wrong[source]
        if source not in self._tables:
            try:
                self._tables[source] = self._read(source)
            except Error as error:
                self._wrong[source] = error
                raise
        return self._tables[source]

    def shared(self, what: object, make: Callable[[], T]) -> T:
        """What is made of tables, kept for the next step that asks for the same."""
        if what not in self._shared:
            self._shared[what] = make()
        found: T = self._shared[what]
        return found

    @staticmethod
    def _read(source: Source) -> TensorTable:
        from modelbuild.engine.sources import unreadable
        from modelbuild.tensors import formats

        path = source.path
        try:
            return formats.get(source.form).table(path, f" of {path}")
        except OSError as error:
            raise unreadable(path, error) from error


class HeadInputs:
    """What a step that makes a recipe is given here: the project's small files, tables without digests, recipes made of such."""

    def __init__(self, step: Step, heads: Heads, made: Mapping[str, Recipe]) -> None:
        self._refs = dict(step.inputs)
        self._heads = heads
        self._made = made

    def complete(self) -> bool:
        """Whether every recipe that the step needs could be made."""
        return all(isinstance(ref, Source) or ref in self._made for ref in self._refs.values())

    def roles(self) -> list[str]:
        return list(self._refs)

    def file(self, role: str) -> bytes | None:
        from modelbuild.engine.sources import unreadable

        ref = self._refs.get(role)
        if not isinstance(ref, Source):
            return None
        limit = LIMITS.get(role, SMALL_LIMIT)
        try:
            return read_plain(ref.path, limit)[0]
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.EFBIG:
                size = os.stat(ref.path).st_size
                raise Error(f"is {size:,} bytes long, expected at most {limit:,}", input=role) from None
            raise unreadable(role, error).of_input() from error

    def artifact(self, role: str) -> bytes:
        return self.recipe(role).encode()

    def recipe(self, role: str) -> Recipe:
        return self._made[str(self._refs[role])]

    def values(self, x: Expression) -> bytes:
        """The bytes of a small tensor as they are now. Nothing is made of them: the step reads them once more, and checks them."""
        from modelbuild.tensors.evaluate import Reader

        held = {leaf.digest: self._bytes(leaf) for leaf in x.leaves()}
        count = prod(x.shape)
        with Reader(threading.Event(), held, _nowhere, x.footprint(0, count)) as reader:
            return bytes(reader.evaluate(x, "values", 0, count))

    def _bytes(self, leaf: Expression) -> bytes:
        for role, ref in self._refs.items():
            if not isinstance(ref, Source) or ref.form == "bytes":
                continue
            tensor = self._table(role, ref).tensors.get(leaf.label)
            if tensor is not None and tensor.digest == leaf.digest:
                return _read(role, ref.path, tensor)
        raise KeyError(leaf.label)

    def tables(self) -> list[tuple[str, TensorTable]]:
        from modelbuild.checkpoint import shards

        weights = [(role, ref) for role, ref in self._refs.items() if _is_weights(ref)]
        return list(shards.bounded((role, self._table(role, ref)) for role, ref in weights))

    def shared(self, what: object, make: Callable[[], T]) -> T:
        """What follows from config.json, the index and the tables alone, made once for all steps that have the same ones."""
        refs = ((role, ref) for role, ref in self._refs.items() if role in _OF_ALL or _is_weights(ref))
        return self._heads.shared((what, *refs), make)

    def _table(self, role: str, source: Source) -> TensorTable:
        try:
            return self._heads.table(source)
        except Error as error:
            raise error.replace(path=None, input=role) from error


def _is_weights(ref: Source | str) -> TypeGuard[Source]:
    return isinstance(ref, Source) and ref.is_weights


def _read(role: str, path: str, tensor: Tensor) -> bytes:
    from modelbuild.engine.sources import unreadable

    try:
        with open_plain(path) as file:
            file.seek(tensor.offset)
            data = file.read(tensor.length)
    except OSError as error:
        raise unreadable(role, error).of_input() from error
    if len(data) != tensor.length:
        raise Error("ends early: it was cut short while it was read", input=role)
    return data


def _nowhere(digest: str) -> Region:
    raise KeyError(digest)
