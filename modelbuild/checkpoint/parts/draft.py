"""The draft: a checkpoint's blocks for the prediction of several tokens (MTP), with what they need of the model."""

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

FILES = shards.FILES


def reads(config: Config) -> bool:
    try:
        return class_of(config) in classes.with_mtp()
    except Error:
        return False


def is_given(config: Config, names: Collection[str]) -> bool:
    return any(name.replace("language_model.", "").startswith(("mtp.", "model.mtp.")) for name in names)


def lacking(config: Config, gap: shards.Gap | None = None) -> Error | None:
    text = config.get("text_config")
    whole = {**config, **text} if isinstance(text, dict) else config
    declared = next((key for key in ("mtp_num_hidden_layers", "num_nextn_predict_layers") if whole.get(key)), None)
    if not declared:
        return None
    warning = Error(
        f"config.json declares blocks for the prediction of several tokens ({declared}), but the checkpoint has none: "
        "the model is made without them",
        path="config.json",
        hint="this is usual after training; the model that it was trained from may have them",
    )
    return gap.doubted(warning) if gap else warning


def lost(config: Config, gap: shards.Gap) -> Error | None:
    """None: the model says the same without its blocks, and after training a checkpoint often lacks them for good."""
    return None


def convert(files: Folder, /, folder: str, outtype: str, pre: str | None, architecture: str | None = None) -> Converted:
    from modelbuild.checkpoint.conversion import Conversion

    return Conversion(files, folder=folder, outtype=outtype, pre=pre, mtp="only", architecture=architecture)
