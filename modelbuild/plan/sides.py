"""Side layers: what a checkpoint gives beside its text model, each part converted by itself to a type of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelbuild.ollama import manifest as media
from modelbuild.plan import projecting
from modelbuild.plan.declared import Declared
from modelbuild.plan.layers import Base, LayerStep
from modelbuild.plan.placed import in_named
from modelbuild.plan.weights import CheckpointFolder, WeightsReader
from modelbuild.project.variant import File, From, Variant
from modelbuild.steps import convert
from modelbuild.words import listed

if TYPE_CHECKING:
    from modelbuild.checkpoint.architectures import Architecture

DEFAULT = "auto"
"""The type of what nobody gives one: as llama.cpp's converter chooses it, 16 bits that hold what the weights have."""

DRAFT = "draft"


class Sides:
    """Declares the steps of side layers: a conversion, and the file that is made of it."""

    def __init__(self, declared: Declared, weights: WeightsReader) -> None:
        self._declared = declared
        self._weights = weights

    def of_checkpoint(self, variant: Variant, folder: CheckpointFolder) -> tuple[LayerStep, ...]:
        """The side layers of a checkpoint, without those that the variant says are not wanted, or has from elsewhere."""
        parts = [part for part in folder.parts if part != DRAFT and _is_open(variant, part)]
        given = projecting.said(variant, own=True)
        return tuple(self._layer(variant, folder, part, DEFAULT, given) for part in parts)

    def without_draft(self, variant: Variant, folder: CheckpointFolder) -> convert.Parameters:
        """What the conversion of the text model is told, where its blocks for the prediction of several tokens are not to be in it."""
        drops = DRAFT in folder.parts and variant.string("mtp") in ("split", "drop")
        return convert.Parameters(mtp="drop") if drops else convert.Parameters()

    def draft(self, variant: Variant, folder: CheckpointFolder, outtype: str) -> str | None:
        """The recipe of the blocks for the prediction of several tokens, where they are to be a layer of their own."""
        if variant.string("mtp") != "split" or DRAFT not in folder.parts or variant.drafts or DRAFT in variant.cleared:
            return None
        values = convert.Parameters(folder=folder.name, outtype=outtype, pre=variant.string("pre"), part=DRAFT)
        values |= _read_as(folder)
        return self._declared.step(variant, convert, values, folder.files, what="convert-draft")

    def with_draft(self, variant: Variant, base: Base, recipe: str | None) -> Base:
        """The base with the layer of a recipe, if there is one, for its draft's, which stays at its place or is the last."""
        if recipe is None:
            return base
        made = LayerStep(media.DRAFT, self._declared.of_recipe(variant, DRAFT, recipe))
        layers = [made if each.media_type == media.DRAFT else each for each in base.layers]
        layers += [] if made in layers else [made]
        return base._replace(layers=tuple(layers), draft=base.draft or recipe, drafted=recipe)

    @staticmethod
    def has_draft(variant: Variant, base: Base) -> bool:
        """Whether the draft of a variant is the one that its checkpoint gives."""
        given = base.draft is not None and any(each.media_type == media.DRAFT for each in base.layers)
        return given and not variant.drafts and DRAFT not in variant.cleared

    def folder_of(self, draft: File, base: CheckpointFolder | None) -> CheckpointFolder | None:
        """The checkpoint that a draft is named by; None for a file. Raises Error for another folder, and for the base's own."""
        if self._weights.kind(draft.path) != "folder":
            return None
        line = From(draft.text, draft.place.command is None, draft.folder, draft.place)
        found = self._weights.read([(line, draft.path)])
        if not isinstance(found, CheckpointFolder):
            files = [part for file in found for part in file.parts]
            raise draft.place.error(
                f"draft '{draft.text}' is a folder of GGUF files",
                facts=[("files", listed(files))],
                hint="name one of them",
            )
        if found.fault is not None:
            raise in_named(found.fault, draft, found.path, folder=True)
        if _makes_vectors(self._weights.architecture(found)):
            what = f"draft '{draft.text}' makes vectors or scores, and no text"
            raise draft.place.error(what, facts=[("folder", found.path)])
        if base is not None and os.path.realpath(found.path) == os.path.realpath(base.path):
            raise draft.place.error(
                f"draft '{draft.text}' is the model itself",
                facts=[("folder", found.path)],
                hint="name the folder of the draft that belongs to the model",
            )
        return found

    def described(self, draft: File) -> Mapping[str, str]:
        """What a model's config says of its draft: the `general.architecture` too, as far as it is known before the draft is made."""
        folder = self.folder_of(draft, None)
        if folder is None:
            named = self._weights.ggufs.contents(draft, draft.path).architecture
        else:
            named = found.NAME if (found := self._weights.architecture(folder)) else ""
        return {"model_format": "gguf"} | ({"architecture": named} if named else {})

    def of_draft(self, variant: Variant, folder: CheckpointFolder) -> LayerStep:
        """The layer of a draft that is a checkpoint of its own, in 16 bits: its quants are no business of its model's.

        Its tokens are the model's, and so is the name of the rule that splits text into them.
        """
        values = convert.Parameters(
            folder=folder.name, outtype=DEFAULT, pre=variant.string("pre"), plugin=folder.plugin
        )
        recipe = self._declared.step(variant, convert, values, folder.files, what="convert-draft")
        return LayerStep(media.DRAFT, self._declared.of_recipe(variant, DRAFT, recipe))

    @staticmethod
    def is_known_blind(variant: Variant, folder: CheckpointFolder) -> bool:
        """Whether a checkpoint has no towers, and the variant says so: that none is wanted, or that a file has them."""
        return "projector" not in folder.parts and not _is_open(variant, "projector")

    def with_projector(
        self, variant: Variant, folder: CheckpointFolder, layers: Sequence[LayerStep], given: Mapping[str, Any]
    ) -> list[LayerStep]:
        """The layers with a projector of the type that the variant names, which the checkpoint has; `given` is its metadata."""
        part = "projector"
        made = self._layer(variant, folder, part, variant.string(part) or DEFAULT, given)
        at = next((n for n, each in enumerate(layers) if each.media_type == media.PROJECTOR), None)
        kept = [each for each in layers if each.media_type != media.PROJECTOR]
        at = _behind_model(kept) if at is None else at
        return [*kept[:at], made, *kept[at:]]

    def _layer(
        self, variant: Variant, folder: CheckpointFolder, part: str, outtype: str, given: Mapping[str, Any]
    ) -> LayerStep:
        values = convert.Parameters(folder=folder.name, outtype=outtype, part=part) | _read_as(folder)
        places = {"outtype": variant.place(part)} if variant.values.get(part) else None
        files = folder.parts[part]
        recipe = self._declared.step(variant, convert, values, files, what=f"convert-{part}", places=places)
        return projecting.of_recipe(self._declared, variant, recipe, given)


def _makes_vectors(reader: type[Architecture] | None) -> bool:
    """Whether what reads a checkpoint makes a model of vectors or scores of it."""
    from modelbuild.checkpoint.architectures._bert import Encoder

    return reader is not None and issubclass(reader, Encoder)


def _read_as(folder: CheckpointFolder) -> convert.Parameters:
    return convert.Parameters(architecture=folder.architecture) if folder.architecture else convert.Parameters()


def _is_open(variant: Variant, part: str) -> bool:
    """Whether a variant says nothing of a part: neither that it is not wanted, nor a file, nor another type."""
    said = variant.values.get(part)
    is_elsewhere = isinstance(said, File | str) or (part == "draft" and bool(variant.drafts))
    return part not in variant.cleared and not is_elsewhere


def _behind_model(layers: Sequence[LayerStep]) -> int:
    return next((n + 1 for n, each in enumerate(layers) if each.media_type == media.MODEL), len(layers))
