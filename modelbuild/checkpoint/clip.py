"""From a checkpoint's towers to the recipe of the file that llama.cpp's convert_hf_to_gguf.py writes with --mmproj.

Source: llama.cpp conversion/base.py (ModelBase.prepare_tensors, MmprojModel).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NoReturn

from modelbuild.checkpoint import card, dtypes, projectors, shards, weights
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.config import tower_class_of
from modelbuild.checkpoint.conversion import Folder, all_tensors, float_type, small_file
from modelbuild.checkpoint.projectors import Made
from modelbuild.checkpoint.projectors._section import Writer
from modelbuild.checkpoint.structure import source
from modelbuild.checkpoint.tables import SHOWN
from modelbuild.errors import Error
from modelbuild.tensors import ftypes
from modelbuild.tensors.formats.gguf import QUANTIZATION_VERSION, encode_value
from modelbuild.tensors.operations.quantize import quantize
from modelbuild.tensors.recipe import Entry, Recipe
from modelbuild.tensors.tensor import Tensor
from modelbuild.words import listed, plural

_INCOMPLETE = "the download is incomplete, or config.json belongs to another checkpoint"


class Clip:
    """One conversion of a projector, part by part. Each part raises Error for what is wrong with it; so does what needs that part."""

    def __init__(self, files: Folder, *, folder: str, outtype: str, architecture: str | None = None) -> None:
        """`architecture` is the class that the checkpoint is read as, whatever config.json says."""
        self._files = files
        self._wanted = outtype
        self.checkpoint = Checkpoint(lambda name: small_file(name, files), files.roles(), folder)
        self.projector = projectors.find(architecture or tower_class_of(self.checkpoint.config))(self.checkpoint)

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors that the projector is made of, as it calls them."""
        found: dict[str, Tensor] = {}
        for name, tensor in all_tensors(self._files).items():
            short = self.projector.source(name)
            if short is not None:
                if short in found:
                    raise Error(f"two tensors of the checkpoint are both '{short}'")
                found[short] = tensor
        return found

    @cached_property
    def outtype(self) -> str:
        return float_type(self._wanted, self.tensors.values())

    @cached_property
    def entries(self) -> list[Entry]:
        """The tensors of the file."""
        values = {name: weights.plain(tensor) for name, tensor in self.tensors.items()}
        entries: dict[str, Entry] = {}
        try:
            for made in self.projector.tensors(values):
                if made.name in entries:
                    raise Error(f"two tensors of the checkpoint are both '{made.name}'")
                x = made.expression
                entries[made.name] = Entry(made.name, x.shape, quantize(_type(made, self.outtype), x))
        except ValueError as error:
            # An operation that a tensor's shape is not for. Which shape it is to have, the table tells.
            self._refuse_shapes(error)
        return list(entries.values())

    def _refuse_shapes(self, error: ValueError) -> NoReturn:
        raise Error(
            f"a tensor of the projector does not have the shape that it is converted from: {error}",
            hint=_INCOMPLETE,
        ) from error

    @cached_property
    def recipe(self) -> Recipe:
        out = Writer()
        self.projector.parameters(out)
        parameters = card.count_parameters((entry.name, entry.shape) for entry in self.entries)
        metadata = {
            "general.architecture": encode_value("str", "clip"),
            "general.type": encode_value("str", "mmproj"),
            **card.general(self.checkpoint, parameters),
            "general.file_type": encode_value("u32", ftypes.FTYPES[self.outtype]),
            **out.values,
            "general.quantization_version": encode_value("u32", QUANTIZATION_VERSION),
        }
        return Recipe(metadata, self.entries)

    def faults(self) -> list[Error]:
        """All that is wrong with any part, each told once."""
        found: list[Error] = []

        def has(part: Callable[[], object]) -> None:
            try:
                part()
            except Error as error:
                if str(error) not in map(str, found):
                    found.append(error)

        has(lambda: self.tensors)
        has(lambda: self.projector.parameters(Writer()))
        has(lambda: self.entries)
        has(lambda: self.recipe)
        return found or [*self._missing(), *self._unfit(), *dtypes.faults(self.entries, self.projector.config)]

    def warnings(self) -> list[Error]:
        return list(dtypes.doubts(self.entries, self.projector.config, "projector"))

    def _missing(self) -> Iterator[Error]:
        here = {entry.name for entry in self.entries}
        lacking: dict[str, list[str]] = {}
        for line, name in self.projector.needs():
            if not line.optional and name not in here:
                lacking.setdefault(line.name, []).append(name)
        if lacking:
            count = sum(map(len, lacking.values()))
            error = Error(
                f"the checkpoint lacks {plural(count, 'tensor')} that this kind of projector has",
                facts=[("missing", listed(names[0] for names in lacking.values()))],
                hint=_INCOMPLETE,
            )
            gap = shards.gap(self._files.roles())
            yield gap.explains(error) if gap else error

    def _unfit(self) -> Iterator[Error]:
        shapes = {entry.name: entry for entry in self.entries}
        wrong: dict[str, tuple[str, str]] = {}
        count = 0
        for line, name in self.projector.needs():
            entry, words = shapes.get(name), tuple(reversed(line.dimensions))
            wanted = tuple(self._size(word) for word in words)
            if entry is not None and entry.shape != wanted:
                count += 1
                fact = f"expected {list(wanted)} ({', '.join(words)}), got {list(entry.shape)}"
                wrong.setdefault(line.name, (source(entry.expression) or name, fact))
        if wrong:
            facts = list(wrong.values())
            more = [("and", f"{len(facts) - SHOWN} other kinds")] if len(facts) > SHOWN else []
            yield Error(
                f"{count} {'tensor does' if count == 1 else 'tensors do'} not have the shape that config.json declares",
                path="config.json",
                facts=[*facts[:SHOWN], *more],
                hint="config.json belongs to another checkpoint",
            )

    def _size(self, word: str) -> int:
        """A dimension of a table: a number, a word, or several of these multiplied."""
        size = 1
        for factor in word.split("*"):
            size *= int(factor) if factor.isdecimal() else self.projector.sizes[factor]
        return size


def _type(made: Made, outtype: str) -> str:
    """The type a tensor is written in (ModelBase.prepare_tensors, MmprojModel.tensor_force_quant)."""
    name, shape = made.name, made.expression.shape
    if len(shape) <= 1 or name.endswith("_norm.weight"):
        return "f32"
    if made.forced is not None:
        return made.forced
    if ".patch_embd.weight" in name or ".patch_merger.weight" in name:
        return "f16" if outtype == "f16" else "f32"
    if name in ("v.position_embd.weight", "a.position_embd.weight") or not name.endswith(".weight"):
        return "f32"
    return "f16" if outtype == "q8_0" and shape[-1] % 32 else outtype
