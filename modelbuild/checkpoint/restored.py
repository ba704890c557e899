"""Checkpoints written back: the tensors of a Hugging Face folder by their own names, with adapters in them, and its small files.

A recipe here has the checkpoint's tensors, and for metadata its small files: name -> bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from modelbuild.checkpoint import scaled, shards
from modelbuild.checkpoint.adapters import merged
from modelbuild.checkpoint.adapters.adapter import Adapter
from modelbuild.checkpoint.adapters.files import TOKENS
from modelbuild.checkpoint.adapters.places import Places
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.config import class_of
from modelbuild.errors import Error
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.recipe import Entry, Expression, Recipe
from modelbuild.tensors.tensor import Shape, TensorTable

_LEFT = ("README.md", shards.INDEX)
"""Small files that are about the folder that they were in."""


class Folder(Protocol):
    """A folder of weights by the names of its files."""

    def roles(self) -> Sequence[str]: ...
    def file(self, role: str, /) -> bytes | None: ...
    def tables(self) -> Sequence[tuple[str, TensorTable]]: ...


def gathered(files: Folder) -> Recipe:
    """The recipe of a folder as it is. Raises Error for one that is quantized."""
    checkpoint = Checkpoint(files.file, files.roles())
    class_of(checkpoint.config)
    method = scaled.method_of(checkpoint, checkpoint.config)
    if method is not None:
        raise Error(
            f"the checkpoint is quantized already ({method.name}), and cannot be written back as safetensors",
            path="config.json",
            hint="start from the unquantized weights, or export the folder itself",
        )
    tensors = shards.tensors(files.tables(), files.file(shards.INDEX))
    entries = [
        Entry(name, each.shape, leaf(each.digest, each.dtype, each.shape, name)) for name, each in tensors.items()
    ]
    names = [name for name in files.roles() if name not in _LEFT and not name.endswith(".safetensors")]
    small = {name: data for name in names if (data := files.file(name)) is not None}
    return Recipe(small, entries)


class Straight(Places):
    """Where the tensors of a checkpoint go in itself: each stays where it is."""

    def __init__(self, base: Recipe) -> None:
        self.entries = {entry.name: entry for entry in base.tensors}
        self.architecture = "of the checkpoint"
        self.embedding = self._ending("embed_tokens.weight") or self.embedding
        self.output = self._ending("lm_head.weight") or self._sibling("lm_head.weight")

    def _ending(self, end: str) -> str | None:
        found = [name for name in self.entries if name == end or name.endswith("." + end)]
        return found[0] if len(found) == 1 else None

    def _sibling(self, name: str) -> str:
        """What a tensor is called that is not there, after those that are: with a prefix where these have one."""
        return "language_model." + name if self.embedding.startswith("language_model.") else name

    def of(self, tensors: Mapping[str, Expression]) -> list[tuple[str, Expression]]:
        return [(self._own_name(name), x) for name, x in tensors.items()]

    def symbols(self, shapes: Mapping[str, Shape]) -> list[tuple[str, Expression]]:
        return [
            (self._own_name(name), leaf(name.replace("language_model.", ""), "f32", shape))
            for name, shape in shapes.items()
        ]

    def _own_name(self, name: str) -> str:
        """The name of a tensor as this checkpoint has it."""
        if name in self.entries:
            return name
        short = name.replace("language_model.", "")
        found = [each for each in self.entries if each.replace("language_model.", "") == short]
        if short == "lm_head.weight":
            return self.output
        return found[0] if len(found) == 1 else name


def grafted(base: Recipe, adapter: Adapter, files: Folder, *, scale: float) -> Recipe:
    """The recipe of a checkpoint with an adapter in it, rounded once to the types that it has. Raises Error.

    files  the adapter's: those of its tokenizer stand over the checkpoint's
    """
    if adapter.placed:
        raise Error(
            "the adapter is a GGUF file, whose tensors have llama.cpp's names: it cannot go into safetensors",
            hint="name the folder that the GGUF file was made from",
        )
    if adapter.fused:
        raise Error("an adapter of fused experts cannot go into safetensors yet", hint="export a GGUF instead")
    places = Straight(base)
    before = dict(places.entries)
    made = merged.changed(base, adapter, places, scale=scale)
    small = _with_tokens(base.metadata, files)
    rows = made.entries[places.embedding].shape[0] if places.embedding in made.entries else 0
    config: dict[str, Any] = {}
    if places.embedding in before and rows != before[places.embedding].shape[0]:
        config["vocab_size"] = rows
    if places.output in made.entries and places.output not in before:
        config["tie_word_embeddings"] = False
    if config:
        small["config.json"] = _with_config(small["config.json"], config)
    return Recipe(small, list(made.entries.values()), {**base.constants, **made.constants})


def _with_tokens(small: Mapping[str, bytes], files: Folder) -> dict[str, bytes]:
    """The small files of a checkpoint, with the adapter's tokenizer over its own."""
    brought = {name: data for name in TOKENS if name in files.roles() and (data := files.file(name)) is not None}
    whole = any(name in brought for name in ("tokenizer.json", "tokenizer.model"))
    replaced = (*TOKENS, "vocab.json") if whole else ()
    kept = {name: data for name, data in small.items() if name not in replaced}
    if not whole:
        # A chat template may come alone; what describes tokens means nothing without them.
        brought = {name: data for name, data in brought.items() if name.startswith("chat_template.")}
    return {**kept, **brought}


def _with_config(data: bytes, values: Mapping[str, Any]) -> bytes:
    config = json.loads(data)
    for part in (config, config.get("text_config")):
        if isinstance(part, dict):
            part.update({key: value for key, value in values.items() if key in part or part is config})
    return json.dumps(config, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
