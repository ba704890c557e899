"""The projector: a checkpoint's towers for images and sound, and the layers that lead from them into the text model."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from modelbuild.checkpoint import classes, shards
from modelbuild.checkpoint.config import tower_class_of
from modelbuild.errors import Error
from modelbuild.words import shown

if TYPE_CHECKING:
    from modelbuild.checkpoint.config import Config
    from modelbuild.checkpoint.conversion import Folder
    from modelbuild.checkpoint.parts import Converted

FILES = (
    "config.json", "README.md", "generation_config.json", "hf_quant_config.json", *shards.IMAGES, "tokenizer_config.json",
    "tokenizer.json", shards.INDEX,
)  # fmt: skip


def reads(config: Config) -> bool:
    return tower_class_of(config) in classes.read(classes.PROJECTORS)


def is_given(config: Config, names: Collection[str]) -> bool:
    from modelbuild.checkpoint import projectors

    reader = projectors.find(tower_class_of(config))
    return reader.reads(config) and any(map(reader.is_tower, names))


def lacking(config: Config, gap: shards.Gap | None = None) -> Error:
    from modelbuild.checkpoint import projectors

    name = tower_class_of(config)
    if projectors.find(name).reads(config):
        return Error(
            f"'{name}' reads images, but this checkpoint has no tower for them: it becomes a model of text",
            path="config.json",
            hint='to give it those of the model that it was trained from: projector = "FILE"; '
            "if a model of text is wanted: projector = false",
        )
    vision = config.get("vision_config")
    kind = vision.get("model_type") if isinstance(vision, dict) else None
    return Error(
        f"the tower for images of this '{name}' is of a kind that is not supported yet ({shown(str(kind))}): it becomes a model of text",
        path="config.json",
        hint='convert it with llama.cpp\'s own tools, and name the GGUF file: projector = "FILE"; '
        "if a model of text is wanted: projector = false",
    )


def lost(config: Config, gap: shards.Gap) -> Error | None:
    from modelbuild.checkpoint import projectors

    name = tower_class_of(config)
    if not projectors.find(name).reads(config):
        return None
    error = gap.explains(
        Error(f"'{name}' reads images, but no weights file here contains its tower for them", path="config.json")
    )
    return error.replace(hint=f"{error.hint}; if a model of text is wanted: projector = false")


def convert(files: Folder, /, folder: str, outtype: str, pre: str | None, architecture: str | None = None) -> Converted:
    from modelbuild.checkpoint.clip import Clip

    return Clip(files, folder=folder, outtype=outtype, architecture=architecture)
