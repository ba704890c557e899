"""Which type the model of a variant has, by which mix, and how large it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from modelbuild.engine.graph import Output, Step
from modelbuild.engine.store import Damaged
from modelbuild.ollama.library import Served
from modelbuild.plan import planned
from modelbuild.session.session import Session
from modelbuild.tensors import ftypes

if TYPE_CHECKING:
    from modelbuild.project.variant import Variant


def mixed(session: Session, output: Output) -> Variant | None:
    """The variant that names the mix by which a model is quantized: this one, else one of its bases; None for no mix."""
    asked = planned.quantization(planned.typing_step(session.graph, output))
    if asked is None or (rules := asked.get("mix")) is None:
        return None
    mix = {"base": asked["ftype"], **rules}
    found = [variant for variant in session.project.variants if variant.mix == mix]
    return next((variant for variant in found if variant.label == output.label), found[0] if found else None)


def ftype(session: Session, output: Output, found: Served | None) -> str | None:
    """The ftype of a variant's model, or its mix: as it was asked for, else as its config says; None where neither tells."""
    if (variant := mixed(session, output)) is not None:
        return variant.quantize
    step = planned.typing_step(session.graph, output)
    asked = planned.asked_ftype(step)
    if asked or found is None:
        return asked or _recipe_ftype(session, step)
    try:
        with open(session.models.library.blob_path(found.manifest.config.digest), "rb") as file:
            named = str(json.loads(file.read()).get("file_type"))
    except (OSError, ValueError, AttributeError):
        return None
    # Ollama has no name for f32: it reads as unknown, so the recipe must tell.
    return ftypes.canonical(named) or _recipe_ftype(session, step)


def _recipe_ftype(session: Session, step: Step | None) -> str | None:
    from modelbuild.tensors.formats import gguf
    from modelbuild.tensors.recipe import Recipe

    if step is None:
        return None
    made = session.standing(session.graph.up_to([step.name])).results.get(step.name)
    if made is None:
        return None
    try:
        value = Recipe.decode(session.store.read(made.artifact)).metadata.get("general.file_type")
    except Damaged:
        return None
    return ftypes.of_number(gguf.decode_value(value)) if value is not None else None


def model_size(session: Session, manifest: str) -> int | None:
    """Bytes of everything that a manifest names."""
    try:
        value = json.loads(session.store.read(manifest))
        return sum(int(layer["size"]) for layer in (value["config"], *value["layers"]))
    except (Damaged, OSError, ValueError):
        return None
