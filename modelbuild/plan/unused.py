"""Keys of a variant that have no effect, because of its base."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from modelbuild.errors import Error
from modelbuild.project.project import is_shared
from modelbuild.project.variant import Variant


def keys(variant: Variant, used: Collection[str]) -> Iterator[Error]:
    """What a variant says of weights that are converted, or of a GGUF file that is taken as it is, and is not `used`."""
    if variant.string("outtype") not in (None, "source") and "outtype" not in used:
        what = f"'outtype' has no effect: '{variant.label}' is not made from a folder of weights"
        yield from _own(variant, "outtype", what, "use 'quantize' for the type of a GGUF file")
    by_tool = f"has no effect: llama.cpp's converter makes '{variant.label}'"
    native = "remove it: it is for the native conversion"
    if variant.string("architecture") and "convert" in used:
        yield from _own(variant, "architecture", f"'architecture' {by_tool}, by the class in config.json", native)
    elif variant.string("architecture") and "outtype" not in used:
        what = f"'architecture' has no effect: '{variant.label}' is not made from a folder of weights"
        yield from _own(variant, "architecture", what, "remove it: a GGUF file says itself what it is")
    if isinstance(said := variant.values["projector"], str) and "projector" not in used:
        what = f"'projector' has no effect: '{variant.label}' is not made from a checkpoint with images or sounds that modelbuild reads"
        yield from _own(variant, "projector", what, f"remove it; a file of this name is './{said}'")
    if variant.string("mtp") in ("split", "drop") and "convert" in used:
        yield from _own(variant, "mtp", f"'mtp' {by_tool}", native)
    elif variant.string("mtp") in ("split", "drop") and "mtp" not in used:
        what = f"'mtp' has no effect: '{variant.label}' is not made from a checkpoint with blocks for the prediction of several tokens"
        yield from _own(variant, "mtp", what, "remove it")
    if variant.string("link") == "hard" and "link" not in used:
        what = f"'link' has no effect: '{variant.label}' imports no GGUF file unchanged"
        yield from _own(variant, "link", what, "remove it")


def _own(variant: Variant, key: str, what: str, hint: str) -> Iterator[Error]:
    """A warning if the model itself sets the key: shared tables need not fit every model."""
    if not is_shared(variant.place(key)):
        yield variant.place(key).error(what, hint=hint, value=False)
