"""Side layers: what a checkpoint gives beside its text model, each part converted by itself to a type of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from modelbuild.ollama import manifest as media
from modelbuild.plan.declared import Declared
from modelbuild.plan.layers import LayerStep
from modelbuild.plan.weights import CheckpointFolder
from modelbuild.project.variant import File, Variant
from modelbuild.steps import convert

MEDIA = {"projector": media.PROJECTOR, "draft": media.DRAFT}
"""A part of a checkpoint -> the media type of its layer."""

DEFAULT = "auto"
"""The type of what nobody gives one: as llama.cpp's converter chooses it, 16 bits that hold what the weights have."""


class Sides:
    """Declares the steps of side layers: a conversion, and the file that is made of it."""

    def __init__(self, declared: Declared) -> None:
        self._declared = declared

    def of_checkpoint(self, variant: Variant, folder: CheckpointFolder) -> tuple[LayerStep, ...]:
        """The side layers of a checkpoint, without those that the variant says are not wanted, or has from elsewhere."""
        return tuple(self._layer(variant, folder, part, DEFAULT) for part in folder.parts if _is_open(variant, part))

    @staticmethod
    def is_known_blind(variant: Variant, folder: CheckpointFolder) -> bool:
        """Whether a checkpoint has no towers, and the variant says so: that none is wanted, or that a file has them."""
        return "projector" not in folder.parts and not _is_open(variant, "projector")

    def with_projector(
        self, variant: Variant, folder: CheckpointFolder | None, layers: Sequence[LayerStep]
    ) -> tuple[list[LayerStep], Collection[str]]:
        """The layers with a projector of the type that the variant names, where they come from a checkpoint that has one.

        Also returns the keys of the variant that had an effect.
        """
        part = "projector"
        if folder is None or part not in folder.parts:
            return [*layers], ()
        made = self._layer(variant, folder, part, variant.string(part) or DEFAULT)
        at = next((n for n, each in enumerate(layers) if each.media_type == media.PROJECTOR), None)
        kept = [each for each in layers if each.media_type != media.PROJECTOR]
        at = _behind_model(kept) if at is None else at
        return [*kept[:at], made, *kept[at:]], (part,)

    def _layer(self, variant: Variant, folder: CheckpointFolder, part: str, outtype: str) -> LayerStep:
        values = convert.Parameters(folder=folder.name, outtype=outtype, part=part)
        places = {"outtype": variant.place(part)} if variant.values.get(part) else None
        files = folder.parts[part]
        recipe = self._declared.step(variant, convert, values, files, what=f"convert-{part}", places=places)
        return LayerStep(MEDIA[part], self._declared.of_recipe(variant, part, recipe))


def _is_open(variant: Variant, part: str) -> bool:
    """Whether a variant says nothing of a part: neither that it is not wanted, nor a file, nor another type."""
    said = variant.values.get(part)
    is_elsewhere = isinstance(said, File | str) or (part == "draft" and bool(variant.drafts))
    return part not in variant.cleared and not is_elsewhere


def _behind_model(layers: Sequence[LayerStep]) -> int:
    return next((n + 1 for n, each in enumerate(layers) if each.media_type == media.MODEL), len(layers))
