"""The projector: a checkpoint's towers for images and sound, and the layers that lead from them into the text model."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from modelbuild.checkpoint import classes, shards
from modelbuild.checkpoint.config import class_of
from modelbuild.errors import Error

if TYPE_CHECKING:
    from modelbuild.checkpoint.config import Config
    from modelbuild.checkpoint.conversion import Folder
    from modelbuild.checkpoint.parts import Converted

FILES = (
    "config.json", "README.md", "generation_config.json", "hf_quant_config.json", *shards.IMAGES, "tokenizer_config.json",
    "tokenizer.json", shards.INDEX,
)  # fmt: skip


def reads(config: Config) -> bool:
    try:
        return class_of({**config, "text_config": None}) in classes.read(classes.PROJECTORS)
    except Error:
        return False


def is_given(config: Config, names: Collection[str]) -> bool:
    from modelbuild.checkpoint import projectors

    reader = projectors.find(class_of({**config, "text_config": None}))
    return any(reader.is_tower(name) for name in names)


def lacking(config: Config) -> Error:
    name = class_of({**config, "text_config": None})
    return Error(
        f"'{name}' reads images, but this checkpoint has no vision tower: it becomes a model of text",
        path="config.json",
        hint='take the projector of the model that it was trained from: projector = "FILE"',
    )


def convert(files: Folder, /, folder: str, outtype: str, pre: str | None) -> Converted:
    from modelbuild.checkpoint.clip import Clip

    return Clip(files, folder=folder, outtype=outtype)
