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
from typing import Any, ClassVar, NamedTuple

from modelbuild.checkpoint import classes
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.config import Config, transformers_takes
from modelbuild.checkpoint.projectors._section import Section, Writer
from modelbuild.errors import Error
from modelbuild.tensors.recipe import Expression


class Made(NamedTuple):
    """A tensor of the file, before it gets its final type.

    forced  the type that it has in every file but one of f32, where that is not for the file's own type to say
    """

    name: str
    expression: Expression
    forced: str | None = None


class Projector:
    """One projector, reading one checkpoint. A file of this folder holds a subclass, which says where it differs.

    CLASSES     the names in `architectures` of config.json that it reads
    MODEL_TYPE  the `model_type` of such a config.json, where transformers 4.57.6 knows it and so fills in what is lacking:
    VISION      of `vision_config`, and
    TEXT        of `text_config`
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
        self.fills = bool(self.MODEL_TYPE) and self.config.get("model_type") == self.MODEL_TYPE and self.takes()
        self.vision = Section(self.config, "vision_config", self.VISION if self.fills else {})

    def takes(self) -> bool:
        """Whether transformers reads the configuration; the bare file counts where it does not."""
        text = self.config.get("text_config")
        return text is None or (isinstance(text, dict) and transformers_takes(text))

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
        if key not in self.NAMES or suffix not in ("weight", "bias") or (block and int(block[1]) >= self.blocks):
            raise Error(
                f"tensor '{source}' cannot be mapped: this kind of projector has no such tensor",
                facts=[("blocks", str(self.blocks))],
                hint="config.json belongs to another checkpoint, or the checkpoint contains more, such as an adapter",
            )
        return f"{self.NAMES[key].replace('.N.', f'.{block[1]}.') if block else self.NAMES[key]}.{suffix}"

    # Of metadata

    @cached_property
    def blocks(self) -> int:
        return self.vision.blocks()

    @cached_property
    def width(self) -> int:
        """The width of the text model, which the projector leads to."""
        text = self.config.get("text_config")
        defaults = self.TEXT if self.fills else {}
        found = {**self.config, **defaults, **(text if isinstance(text, dict) else {})}
        section = Section({"text_config": found}, "text_config")
        return section.count("hidden_size") if "hidden_size" in found else section.count("n_embd")

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
        heads = self.vision.count("num_attention_heads")
        if self.sizes["embd"] % heads:
            raise self.vision.error("num_attention_heads", f"a divisor of the width, {self.sizes['embd']}", heads)
        return heads

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


def find(class_name: str) -> type[Projector]:
    """The projector that reads checkpoints of a class. Raises KeyError for one that no file reads."""
    module = importlib.import_module(f"{__name__}.{classes.read(classes.PROJECTORS)[class_name]}")
    return next(
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Projector) and class_name in value.CLASSES
    )
