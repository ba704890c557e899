"""Projectors: which towers for images and sound are read, and what GGUF metadata and tensors come of them.

A projector is the file named after it: a subclass of `Projector`. What joins it with the rest of the file stands beside this folder, in
`clip`.
Source: llama.cpp conversion/base.py (MmprojModel), read for the release that llama-cpp-python 0.3.36 carries.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar

from modelbuild.checkpoint import classes
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.config import Config, transformers_takes
from modelbuild.checkpoint.projectors._section import BLOCKS, Section, Writer
from modelbuild.checkpoint.tables import Line, lines
from modelbuild.errors import Error
from modelbuild.tensors.recipe import Expression
from modelbuild.tuples import NamedTuple
from modelbuild.words import listed


class Made(NamedTuple):
    """A tensor of the file, before it gets its final type.

    forced  the type that it has in every file, where the file's own type does not say it
    """

    name: str
    expression: Expression
    forced: str | None = None


class Projector:
    """One projector, reading one checkpoint. A file of this folder holds a subclass, which says where it differs.

    CLASSES     the names in `architectures` of config.json that it reads
    MODEL_TYPE  the `model_type` of such a config.json, where transformers 4.57.6 knows it
    VISION      what transformers fills in where `vision_config` lacks a key
    TEXT        the same of `text_config`
    TOWER       beginnings of the names of its tensors in a checkpoint, without `model.`
    NAMES       stems of these tensors -> stems of the file's; N is the number of a block
    LOADS       the tensors that llama.cpp's runtime loads, as a table (see `tables`), whose words are `sizes`
    """

    CLASSES: ClassVar[tuple[str, ...]] = ()
    MODEL_TYPE: ClassVar[str] = ""
    VISION: ClassVar[Config] = {}
    TEXT: ClassVar[Config] = {}
    TOWER: ClassVar[tuple[str, ...]] = ()
    NAMES: ClassVar[Mapping[str, str]] = {}
    LOADS: ClassVar[str] = ""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.config = checkpoint.config
        self.top = Section("", self.config)
        self.vision = Section.of(self.config, "vision_config", self.VISION)

    @classmethod
    def reads(cls, config: Config) -> bool:
        """Whether the tower of such a checkpoint is of a kind that is read."""
        return True

    @cached_property
    def is_filled(self) -> bool:
        """Whether the converter sees the configuration as transformers 4.57.6 fills it in; else the bare file."""
        text = self.config.get("text_config")
        readable = text is None or (isinstance(text, dict) and transformers_takes(text))
        return readable and bool(self.MODEL_TYPE) and self.config.get("model_type") == self.MODEL_TYPE

    # Of tensors

    @classmethod
    def source(cls, name: str) -> str | None:
        """What a tensor of a checkpoint is called here; None for one that the projector is not made of (filter_tensors)."""
        short = name.removeprefix("model.")
        return short if short.startswith(cls.TOWER) else None

    @classmethod
    def is_tower(cls, name: str) -> bool:
        """Whether a checkpoint with this tensor has the tower."""
        return cls.source(name) is not None

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[Made]:
        """The tensors of the file in its order (modify_tensors). Raises Error for one that stands for nothing.

        sources  those of the checkpoint as `source` names them, in their order
        """
        for name, x in sources.items():
            yield Made(self.rename(name), x, self.forced(name))

    def forced(self, source: str) -> str | None:
        """The type that a tensor has whatever the file's is (tensor_force_quant)."""
        return None

    def rename(self, source: str) -> str:
        """The file's name of a tensor."""
        stem, _, suffix = source.rpartition(".")
        block = re.search(r"\.(0|[1-9][0-9]{0,3})\.", stem)
        key = f"{stem[: block.start()]}.N.{stem[block.end() :]}" if block else stem
        if (
            key not in self.NAMES
            or suffix not in ("weight", "bias")
            or (block and int(block[1]) >= self.blocks_of(source))
        ):
            raise Error(
                f"tensor '{source}' cannot be mapped: this kind of projector has no such tensor",
                facts=[("blocks", str(self.blocks_of(source)))],
                hint="config.json belongs to another checkpoint, or the checkpoint contains more, such as an adapter",
            )
        return f"{self.NAMES[key].replace('.N.', f'.{block[1]}.') if block else self.NAMES[key]}.{suffix}"

    # Of metadata

    @cached_property
    def blocks(self) -> int:
        return self.vision.blocks(*BLOCKS)

    def blocks_of(self, source: str) -> int:
        """The blocks of the tower that a tensor belongs to."""
        return self.blocks

    @cached_property
    def width(self) -> int:
        """The width of the text model, which the projector leads to."""
        return self.text.count("hidden_size") if "hidden_size" in self.text.values else self.text.count("n_embd")

    @cached_property
    def text(self) -> Section:
        """What is said of the text model: in `text_config`, or in config.json itself."""
        text = self.config.get("text_config")
        if isinstance(text, dict):
            return Section("text_config", {**self.config, **self.TEXT, **text})
        return Section("", {**self.TEXT, **self.config})

    @cached_property
    def images(self) -> Config:
        """How images are prepared: preprocessor_config.json, and over it processor_config.json."""
        found: dict[str, Any] = {}
        for name, part in (
            ("preprocessor_config.json", "media_proc_cfg"),
            ("processor_config.json", "image_processor"),
        ):
            config = self.checkpoint.json(name) or {}
            inner = config.get(part)
            found |= {**config, **(inner if isinstance(inner, dict) else {})}
        return found

    def parameters(self, out: Writer) -> None:
        """Write what the runtime needs to know (set_gguf_parameters)."""
        vision = self.vision
        out.put("has_vision_encoder", "bool", True)
        out.put("vision.projection_dim", "u32", self.width)
        out.put("vision.image_size", "u32", self.image_size)
        out.put("vision.patch_size", "u32", vision.count("patch_size"))
        out.put("vision.embedding_length", "u32", self.sizes["embd"])
        out.put("vision.feed_forward_length", "u32", self.sizes["ff"])
        out.put("vision.block_count", "u32", self.blocks)
        out.put("vision.attention.head_count", "u32", self.heads)
        out.colours("vision.image_mean", self.images, "image_mean")
        out.colours("vision.image_std", self.images, "image_std")

    @cached_property
    def image_size(self) -> int:
        return self.vision.count("image_size")

    @cached_property
    def heads(self) -> int:
        return self.heads_of("num_attention_heads")

    def heads_of(self, key: str) -> int:
        heads = self.vision.count(key)
        if self.sizes["embd"] % heads:
            raise self.vision.error(key, f"a divisor of the width, {self.sizes['embd']}", heads)
        return heads

    def needs(self) -> Iterator[tuple[Line, str]]:
        """What the runtime loads: each line of the table, and the tensor's name, of each block."""
        return in_blocks(self.LOADS, self.blocks)

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """The words of LOADS."""
        vision = self.vision
        return {
            "embd": vision.count("hidden_size"),
            "ff": vision.count("intermediate_size"),
            "patch": vision.count("patch_size"),
            "text": self.width,
        }


def in_blocks(table: str, blocks: int) -> Iterator[tuple[Line, str]]:
    """Each line of a table, and the tensor's name, of each block."""
    for line in lines(table):
        for number in range(blocks) if ".N." in line.tensor else range(1):
            yield line, line.tensor.replace(".N.", f".{number}.")


def find(class_name: str | None) -> type[Projector]:
    """The projector that reads checkpoints of a class. Raises Error for one that no file reads."""
    known = classes.read(classes.PROJECTORS)
    if class_name is None or class_name not in known:
        raise Error(
            f"the projector of '{class_name}' is not supported yet" if class_name else "'architectures' is missing",
            path="config.json",
            facts=[("known", listed(sorted(known), len(known)))],
            hint="convert it with llama.cpp's convert_hf_to_gguf.py --mmproj, and name the GGUF file in `projector`",
        )
    module = importlib.import_module(f"{__name__}.{known[class_name]}")
    return next(
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Projector) and class_name in value.CLASSES
    )
