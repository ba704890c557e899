"""Metadata of a project in projectors: keys `clip.…`, whether a checkpoint, a file or another model gives the projector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelbuild.engine.graph import Source
from modelbuild.ollama import manifest as media
from modelbuild.plan.declared import Declared
from modelbuild.plan.layers import LayerStep
from modelbuild.project.variant import Variant
from modelbuild.words import listed

STEM = "clip."


def said(variant: Variant, own: bool) -> dict[str, Any]:
    """The keys that a variant sets in its projector.

    own  whether the projector comes with weights of its own; where it is another model's, it has what [defaults] says
    """
    names = (key for key in variant.metadata if key.startswith(STEM))
    return {key: variant.metadata[key] for key in names if own or key not in variant.default_metadata}


def of_recipe(declared: Declared, variant: Variant, recipe: str, given: Mapping[str, Any]) -> LayerStep:
    """The layer of a projector's recipe."""
    if given:
        from modelbuild.steps import describe

        values = describe.Parameters(metadata=given)
        recipe = declared.step(variant, describe, values, [("recipe", recipe)], what="describe-projector")
    return LayerStep(media.PROJECTOR, declared.of_recipe(variant, "projector", recipe))


def of_file(declared: Declared, variant: Variant, file: Source | str, given: Mapping[str, Any]) -> LayerStep:
    """The layer of a projector that is a file, with other metadata."""
    from modelbuild.steps import import_

    recipe = declared.step(variant, import_, import_.Parameters(), [("file", file)], what="import-projector")
    return of_recipe(declared, variant, recipe, given)


def over(
    declared: Declared, variant: Variant, layers: Sequence[LayerStep], given: Mapping[str, Any]
) -> list[LayerStep]:
    """The layers of a model that a variant is FROM, its projector with other metadata."""

    def made(each: LayerStep) -> LayerStep:
        if not given or each.media_type != media.PROJECTOR:
            return each
        role, source = declared.steps[each.step].inputs[0]
        if role == "recipe" and isinstance(source, str):
            return of_recipe(declared, variant, source, given)
        return of_file(declared, variant, source, given)

    return [made(each) for each in layers]


def check(variant: Variant, own: bool, layers: Sequence[LayerStep]) -> None:
    """Raise Error where a variant sets metadata of a projector, and has none. What [defaults] says is for those that have one."""
    keys = said(variant, own).keys() - variant.default_metadata
    if keys and not any(each.media_type == media.PROJECTOR for each in layers):
        what = f"'{variant.label}' has no projector whose metadata could be set"
        raise variant.place("metadata").error(what, facts=[("keys", listed(sorted(keys)))])
