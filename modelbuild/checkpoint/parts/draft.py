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

NUMBERED = "num_nextn_predict_layers"
"""The key of checkpoints that number these blocks behind their model's own."""


def reads(config: Config) -> bool:
    try:
        return class_of(config) in classes.with_mtp()
    except Error:
        return False


def is_given(config: Config, names: Collection[str]) -> bool:
    short = [name.replace("language_model.", "") for name in names]
    if any(name.startswith(("mtp.", "model.mtp.")) for name in short):
        return True
    if not (config.get(NUMBERED) or any(".eh_proj." in name for name in short)):
        return False
    from modelbuild.checkpoint.architectures import _numbered_mtp

    try:
        return _numbered_mtp.are_given(config, short)
    except Error:
        # Told where the model is made.
        return False


def lacking(config: Config, gap: shards.Gap | None = None) -> Error | None:
    text = config.get("text_config")
    whole = {**config, **text} if isinstance(text, dict) else config
    declared = next((key for key in ("mtp_num_hidden_layers", NUMBERED) if whole.get(key)), None)
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
