"""From a checkpoint folder to the recipe of the file that llama.cpp's convert_hf_to_gguf.py writes."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Protocol, TypeVar
from weakref import proxy

from modelbuild.checkpoint import architectures, card, dtypes, repacked, scaled, shards, structure, weights
from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.config import class_of
from modelbuild.checkpoint.tensor_names import DIGITS, EXPERTS
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizer
from modelbuild.digest import canonical, xxh3
from modelbuild.errors import Error
from modelbuild.tensors import ftypes, mistaken
from modelbuild.tensors.formats.gguf import QUANTIZATION_VERSION, encode_value
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.operations.quantize import quantize
from modelbuild.tensors.recipe import Entry, Expression, Recipe
from modelbuild.tensors.tensor import Tensor, TensorTable

T = TypeVar("T")


class Folder(Protocol):
    """A folder of weights by the names of its files; tables may lack the digests of their tensors."""

    def roles(self) -> Sequence[str]: ...
    def file(self, role: str, /) -> bytes | None: ...
    def tables(self) -> Sequence[tuple[str, TensorTable]]: ...
    def values(self, x: Expression, /) -> bytes: ...
    def shared(self, what: object, make: Callable[[], T], /) -> T: ...


REMEMBERED = 4
PADDING = 1 << 16
"""Tokens that may be made up beyond the rows of any tensor, before it is said that they do not fit."""

_vocabularies: dict[bytes, dict[str, bytes]] = {}


class Conversion:
    """One conversion, part by part. Each part raises Error for what is wrong with it; so does what needs that part."""

    def __init__(
        self,
        files: Folder,
        *,
        folder: str,
        outtype: str,
        pre: str | None = None,
        plugin: str | None = None,
        architecture: str | None = None,
        mtp: str = "keep",
    ) -> None:
        """`architecture` is the class that the checkpoint is read as, whatever config.json says."""
        self._files = files
        self._wanted = outtype
        # No circle: what a conversion holds is large, and goes with it.
        own = proxy(self)
        self.checkpoint = Checkpoint(
            lambda name: small_file(name, files),
            files.roles(),
            folder,
            pre=pre,
            mtp=mtp,
            tensors=lambda: own._of_text,
            values=lambda name: weights.floats(own._of_text[name], files.values),
        )
        config = self.checkpoint.config
        class_name = architecture or class_of(config)
        found = architectures.find(class_name, plugin, config.get("model_type")).reading(config)
        self.architecture = found(self.checkpoint)
        self.method = _method(self.checkpoint, self.architecture)

    @cached_property
    def vocabulary(self) -> Mapping[str, bytes]:
        """The tokenizer's metadata. A large tokenizer takes longer than all else here: the last ones are remembered."""
        architecture, files = self.architecture, self._files
        digests = [(name, xxh3(data)) for name in shards.small(files.roles()) if (data := files.file(name)) is not None]
        key = canonical([type(architecture).__qualname__, self.checkpoint.pre, digests])
        found = _vocabularies.get(key)
        if found is None:
            self._check_claim()
            found = architecture.tokenizer
            if len(_vocabularies) >= REMEMBERED:
                _vocabularies.clear()
            _vocabularies[key] = found
        else:
            # Where it is a cached property, as of one that counts its tokens; a plain property stands before this.
            vars(architecture)["tokenizer"] = found
        return found

    def _check_claim(self) -> None:
        """Raise Error where config.json claims many more tokens than any tensor has rows, before there is padding for each of them."""
        size = tokenizer.vocabulary_size(self.architecture.config)
        try:
            shapes = [tensor.shape for tensor in self.tensors.values()]
        except Error:
            return  # told by itself
        rows = max((shape[0] for shape in shapes if len(shape) > 1), default=0)
        if size is not None and size > rows + PADDING:
            # Most often the embedding's rows are told to be others, with all that is known of them.
            _ = self.entries
            raise Error(
                f"'vocab_size' is {size:,}, and no tensor has more than {rows:,} rows",
                path="config.json",
                hint="set vocab_size to the number of rows of the embedding",
            )

    @cached_property
    def _of_text(self) -> dict[str, Tensor]:
        """The checkpoint's tensors that a model of text needs: the same, whichever of its blocks the file is made of."""
        return self._files.shared(type(self.architecture), lambda: _wanted(all_tensors(self._files), self.architecture))

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """The checkpoint's tensors that the file is made of."""
        return self.architecture.choose(self._of_text)

    @cached_property
    def outtype(self) -> str:
        return float_type(self._wanted, self.tensors.values(), scaled=self.method is not None)

    @cached_property
    def constants(self) -> Mapping[str, bytes]:
        found = self.architecture.constants()
        for name, data in found.items():
            if not all(map(math.isfinite, struct.unpack(f"<{len(data) // 4}f", data))):
                what = f"'rope_scaling' gives '{name}' a number that is not finite"
                raise Error(what, path="config.json", hint="take it from the model's own config.json")
        return found

    @cached_property
    def entries(self) -> list[Entry]:
        """The tensors of the file."""
        sources = weights.values(self.tensors, self.method, packed=bool(self.architecture.QUANTIZED))
        expressions = [(name, leaf(xxh3(data), "f32", (len(data) // 4,))) for name, data in self.constants.items()]
        expressions += repacked.moved(sources, self.architecture.tensors(sources))
        entries = _entries(repacked.arranged(expressions, self.tensors, self.method), self.outtype, self.architecture)
        self._check_blocks(entries)
        _check_rows(entries, tokenizer.vocabulary_size(self.architecture.config))
        return entries

    def _check_blocks(self, entries: Iterable[Entry]) -> None:
        error = _lacking(entries, self.architecture)
        if error is not None:
            raise self.gap.explains(error) if self.gap else error

    @cached_property
    def gap(self) -> shards.Gap | None:
        """The weights files that are missing by the names of the others."""
        return shards.gap(self._files.roles())

    @cached_property
    def described(self) -> dict[str, bytes]:
        """The metadata before the tokenizer's."""
        metadata = {"general.architecture": encode_value("str", self.architecture.NAME)}
        metadata |= self.architecture.preface()
        metadata |= {"general.type": encode_value("str", "model")}
        parameters = card.count_parameters((entry.name, entry.shape) for entry in self.entries)
        metadata |= card.general(self.checkpoint, parameters)
        metadata |= self.architecture.parameters(self.file_type)
        metadata |= {"general.quantization_version": encode_value("u32", QUANTIZATION_VERSION)}
        return metadata | repacked.activations(self._made, self.tensors, self.method)

    @property
    def _made(self) -> list[tuple[str, Expression]]:
        return [(entry.name, entry.expression) for entry in self.entries]

    @property
    def file_type(self) -> int:
        """Packed weights keep their type whatever that of the others, and the file is called after them (prepare_metadata)."""
        packing = self.method.packing if self.method else None
        if packing and packing.kind in repacked.FILE_TYPES and self.outtype in ftypes.FLOATS:
            return repacked.FILE_TYPES[packing.kind]
        return ftypes.FTYPES[self.outtype]

    @cached_property
    def recipe(self) -> Recipe:
        # A tokenizer that we cannot read is the likeliest fault, and the cheapest to find.
        vocabulary = self.vocabulary
        metadata = {**self.described, **vocabulary}
        _check_tokens(self.entries, tokenizer.tokens_in(metadata))
        held = repacked.constants(self._made)
        return Recipe(metadata, self.entries, {xxh3(data): data for data in self.constants.values()} | held)

    def faults(self) -> list[Error]:
        """All that is wrong with any part, each told once."""
        found: list[Error] = []
        architecture = self.architecture

        def has(part: Callable[[], object]) -> bool:
            try:
                part()
            except Error as error:
                if str(error) not in map(str, found):
                    found.append(error)
                return False
            return True

        # What the whole would say first where the vocabulary is wrong is that, once more.
        readable = has(lambda: self.vocabulary)
        has(lambda: self.tensors)
        has(lambda: self.constants)
        has(lambda: self.entries)
        has(lambda: architecture.parameters(ftypes.FTYPES["f16"]))
        if readable:
            has(lambda: self.recipe)
        if not found:
            found = [
                *structure.faults(self.entries, architecture, self.gap),
                *dtypes.faults(self.entries, architecture.config),
                *repacked.faults(self._made),
            ]
        return found

    def warnings(self) -> list[Error]:
        """What is worth a look in a checkpoint without faults."""
        found = [self.gap.warning()] if self.gap else []
        found += structure.doubts(self.entries, self.architecture)
        found += dtypes.doubts(self.entries, self.architecture.config, f"{self.architecture.NAME} model")
        found += repacked.doubts(self._made, self.architecture.NAME)
        found += self.architecture.doubts()
        return [*found, *tokenizer.doubts(self.checkpoint, self.vocabulary)]


def all_tensors(files: Folder) -> dict[str, Tensor]:
    """All tensors of a folder, whatever is made of them. Raises Error where some are missing."""
    return files.shared("tensors", lambda: shards.tensors(files.tables(), files.file(shards.INDEX)))


def small_file(name: str, files: Folder) -> bytes | None:
    """The bytes of a small file of a folder; None where there is none. Raises Error for a pointer to one."""
    data = files.file(name)
    if data is not None:
        mistaken.refuse_pointer(data[:256], name, "file")
    return data


def _method(checkpoint: Checkpoint, architecture: Architecture) -> scaled.Method | None:
    if "draft_vocab_size" in checkpoint.config:
        raise Error("the checkpoint is an EAGLE-3 draft model, which is not supported yet", path="config.json")
    method = scaled.method_of(checkpoint, architecture.config)
    if method is not None and not (method.scales or method.packing) and method.name not in architecture.QUANTIZED:
        raise Error(
            f"the checkpoint is quantized already ({method.name}), which is not supported for this architecture",
            path="config.json",
            hint="start from the unquantized weights",
        )
    return method


def _wanted(tensors: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """The tensors that a model of text needs, under the names that they have in one."""
    names = list(_named(tensors, architecture))
    found = {short: tensor for short, tensor in zip(names, tensors.values(), strict=True) if short is not None}
    if len(found) < len(names) - names.count(None):
        seen: set[str] = set()
        for short in filter(None, names):
            if short in seen:
                raise Error(f"two tensors of the checkpoint are both '{short}'")
            seen.add(short)
    return found


def _named(names: Iterable[str], architecture: Architecture) -> Iterator[str | None]:
    """What a model of text calls tensors. Of a block's experts, which are named alike, one is asked for."""
    stems: dict[tuple[str, str], str | None] = {}
    for name in names:
        stem, experts, rest = name.partition(EXPERTS)
        part = stem, rest.lstrip(DIGITS)
        if experts and part in stems:
            known = stems[part]
            yield None if known is None else f"{known}{experts}{rest}"
            continue
        short = architecture.named(name)
        if short is None or short.endswith(f"{experts}{rest}"):
            stems[part] = short and short.removesuffix(f"{experts}{rest}")
        yield short


def float_type(wanted: str, tensors: Iterable[Tensor], *, scaled: bool = False) -> str:
    """The file's float type: of the first tensor with two dimensions that is a float; for `auto`, one of 16 bits.

    Weights that are stored with scales have no float type of their own: their `source` is `auto`.
    """
    if wanted not in ("source", "auto"):
        return wanted
    known = {"f16": "f16", "bf16": "bf16"}
    if wanted == "source" and not scaled:
        known |= {"f32": "f32", "f64": "f32"}
    matrices = (tensor.dtype for tensor in tensors if len(tensor.shape) >= 2)
    return next((known[dtype] for dtype in matrices if dtype in known), "f16")


def _entries(expressions: Iterable[tuple[str, Expression]], outtype: str, architecture: Architecture) -> list[Entry]:
    entries: dict[str, Entry] = {}
    for name, expression in expressions:
        if name in entries:
            raise Error(f"two tensors of the checkpoint are both '{name}'")
        x = cast("f32", expression) if expression.dtype == "u8" else expression
        entries[name] = Entry(name, x.shape, quantize(_type(name, x, outtype, architecture), x))
    return list(entries.values())


def _type(name: str, expression: Expression, outtype: str, architecture: Architecture) -> str:
    """The type a tensor is written in (ModelBase.prepare_tensors)."""
    shape = expression.shape
    if expression.dtype in repacked.BLOCKS:
        return expression.dtype
    plain = len(shape) <= 1 or name.endswith("_norm.weight") or not name.endswith(".weight")
    if plain or architecture.keeps_f32(name):
        return "f32"
    return "f16" if outtype == "q8_0" and shape[-1] % 32 else outtype


def _lacking(entries: Iterable[Entry], architecture: Architecture) -> Error | None:
    """What is said where whole blocks are missing, or what most models have."""
    blocks = architecture.blocks
    names = {entry.name for entry in entries}
    found = {ftypes.block_of(name) for name in names} - {None}
    if lacking := len(blocks) - len(found):
        first = next(block for block in blocks if block not in found)
        return Error(
            f"the checkpoint lacks {lacking} of the {len(blocks)} blocks that config.json declares",
            path="config.json",
            facts=[("missing", f"block {first}" if lacking == 1 else f"block {first} and more")],
        )
    for stem in ("token_embd", "token_embd_norm", "output_norm"):
        if (name := f"{stem}.weight") not in names and stem in architecture.NAMES.values():
            return Error(
                f"the checkpoint lacks the tensor that becomes '{name}'",
                hint="is it an adapter, or a part of a model?",
            )
    return None


def _check_rows(entries: Iterable[Entry], size: int | None) -> None:
    for name, rows in _rows(entries):
        if size is not None and rows != size:
            raise Error(
                f"'{name}' expects {size:,} rows, one for each token of vocab_size, got {rows:,}",
                path="config.json",
                hint="set vocab_size to the number of rows, or use the tokenizer that this checkpoint was trained with",
            )


def _check_tokens(entries: Iterable[Entry], tokens: int) -> None:
    for name, rows in _rows(entries):
        if rows != tokens:
            raise Error(
                f"the tokenizer's files make {tokens:,} tokens, but '{name}' has {rows:,} rows",
                hint="use the tokenizer that this checkpoint was trained with, with all of its files",
            )


def _rows(entries: Iterable[Entry]) -> list[tuple[str, int]]:
    """The tensors with a row for each token, and how many rows they have."""
    return [(entry.name, entry.shape[0]) for entry in entries if entry.name in ("token_embd.weight", "output.weight")]
