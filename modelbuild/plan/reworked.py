"""What a variant does to the weights of its base: adapters merged into them, metadata, quantization."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from modelbuild.engine.graph import Source
from modelbuild.ollama import manifest as media
from modelbuild.plan import projecting
from modelbuild.plan.declared import Declared
from modelbuild.plan.layers import Base, LayerStep, without_model
from modelbuild.plan.sides import Sides
from modelbuild.plan.weights import WeightsReader
from modelbuild.project.variant import Adapter, Variant
from modelbuild.steps import quantize

if TYPE_CHECKING:
    from modelbuild.plan.adapters import Adapters
    from modelbuild.plan.foreign import Foreign


class Reworked:
    """Declares these steps; `adapters` and `foreign` are asked for only where a variant needs them."""

    def __init__(
        self,
        declared: Declared,
        weights: WeightsReader,
        sides: Sides,
        adapters: Callable[[], Adapters],
        foreign: Callable[[], Foreign],
    ) -> None:
        self._declared = declared
        self._weights = weights
        self._sides = sides
        self._adapters = adapters
        self._foreign = foreign

    def of(self, variant: Variant, base: Base) -> Base:
        """The base after all that the variant does to its weights. Raises Error."""
        return self._quantized(variant, self._described(variant, self._merged(variant, base)))

    def described(self, variant: Variant, recipe: str, given: Mapping[str, Any]) -> str:
        """The step that puts metadata into a recipe."""
        from modelbuild.steps import describe

        return self._declared.step(variant, describe, describe.Parameters(metadata=given), [("recipe", recipe)])

    def _merged(self, variant: Variant, base: Base) -> Base:
        """Merge adapters into the weights, one after the other."""
        for adapter in variant.adapters:
            if adapter.mode == "merge":
                adapters = self._adapters()
                # What is quantized by somebody else is packed once: to the type of this model, if it has one.
                recipe = adapters.merged(variant, base.recipe, adapter, base.mtp, unpacked=not base.unquantized)
                finished = adapters.merged(variant, base.finished or base.recipe, adapter, base.mtp)
                restored = adapters.grafted(variant, base.restored, adapter) if base.restored else None
                base = self._drafting(variant, base.made_of(recipe, finished)._replace(restored=restored), adapter)
        return base

    def _drafting(self, variant: Variant, base: Base, adapter: Adapter) -> Base:
        """Merge an adapter into the draft that the checkpoint gives, as far as it names what the draft has."""
        if not self._sides.has_draft(variant, base):
            return base
        unpacked = not base.unquantized
        draft = self._adapters().merged(variant, base.draft, adapter, "only", unpacked=unpacked)
        drafted = self._adapters().merged(variant, base.drafted, adapter, "only")
        return self._sides.with_draft(variant, base._replace(draft=draft), drafted)

    def _described(self, variant: Variant, base: Base) -> Base:
        """Put the metadata that the variant sets into the recipes it starts from."""
        own = is_of_weights(base)
        # What [defaults] says is for weights: models that stand on others take it over with theirs.
        given = {key: value for key, value in variant.metadata.items() if own or key not in variant.default_metadata}
        given = {key: value for key, value in given.items() if not key.startswith(projecting.STEM)}
        base = base._replace(measured=base.recipe)
        if not given:
            return base
        if base.recipe is None:
            raise variant.place("metadata").error(f"'{variant.label}' has no model file whose metadata could be set")
        recipe = self.described(variant, base.recipe, given)
        finished = self.described(variant, base.finished, given) if base.finished else recipe
        measured = base.recipe if all(key.startswith("general.") for key in given) else recipe
        return base.made_of(recipe, finished)._replace(measured=measured)

    def _quantized(self, variant: Variant, base: Base) -> Base:
        if variant.quantize is None or (variant.quantize_from_defaults and not base.unquantized):
            return base
        place = variant.place("quantize")
        if base.recipe is None:
            raise place.error(f"'{variant.label}' has no model file to quantize")
        assert variant.ftype is not None, "set `quantize` too"
        values = quantize.Parameters(ftype=variant.ftype, requantize=variant.flag("allow_requantize") or None)
        inputs: list[tuple[str, Source | str]] = [("recipe", base.recipe)]
        if variant.mix is not None:
            values["mix"] = {key: value for key, value in variant.mix.items() if key != "base"}
        if imatrix := variant.file("imatrix"):
            values["imatrix"] = imatrix.text
            inputs.append(("imatrix", self._weights.file(imatrix)))
        elif variant.calibration:
            values["imatrix"] = "imatrix.gguf"
            inputs.append(("made", self._foreign().imatrix(variant, base, variant.calibration)))
        places = {"ftype": place, "mix": variant.mix_table}
        recipe = self._declared.step(variant, quantize, values, inputs, places=places)
        if base.draft and any(each.media_type == media.DRAFT for each in base.layers):
            beside = [("recipe", base.draft), *inputs[1:]]
            draft = self._declared.step(variant, quantize, values, beside, what="quantize-draft", places=places)
            base = self._sides.with_draft(variant, base, draft)
        model = LayerStep(media.MODEL, self._declared.of_recipe(variant, "model", recipe, base.foreign))
        gate = self._foreign().gate(variant, base, model.step) if variant.gate else None
        base = base._replace(layers=base.with_model(model), gates=(gate,) if gate else ())
        return base._replace(finished=recipe, config=without_model(base.config), unquantized=False)


def is_of_weights(base: Base) -> bool:
    """Whether what a variant is FROM is weights: its model layer is then still to be made."""
    return any(not each.step for each in base.layers)
