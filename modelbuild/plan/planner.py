"""The steps of each variant, which adds to its base."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from modelbuild.engine.graph import Output, Source
from modelbuild.errors import Error, Errors
from modelbuild.observed import Observed
from modelbuild.ollama import manifest as media
from modelbuild.plan import templates, unused
from modelbuild.plan.bases import Bases, Candidates, Names
from modelbuild.plan.declared import Declared, Refs
from modelbuild.plan.hub import Downloaded, Hub
from modelbuild.plan.layers import Base, LayerStep, without_model
from modelbuild.plan.placed import cycle, from_place
from modelbuild.plan.pulled import Pulled, PulledModels, Wrote, nobody
from modelbuild.plan.remarks import Bare, Prompts
from modelbuild.plan.restored import Restored
from modelbuild.plan.templates import Templates
from modelbuild.plan.weights import CheckpointFolder, GgufFile, WeightsReader
from modelbuild.project import outputs
from modelbuild.project.broken import Broken
from modelbuild.project.keys import KEYS
from modelbuild.project.lock import Outside, Pins
from modelbuild.project.project import DEPTH_LIMIT
from modelbuild.project.variant import Adapter, Variant
from modelbuild.steps import config, convert, layer, manifest, quantize
from modelbuild.tensors import operations
from modelbuild.words import listed

if TYPE_CHECKING:
    from modelbuild.plan.adapters import Adapters
    from modelbuild.plan.foreign import Foreign


class Elsewhere(NamedTuple):
    """What a plan sees besides its project.

    libraries  the models folders that FROM looks in
    pins       what the lock says that names mean which are not of this project
    cache      the folder where is kept what was seen of them
    wrote      see `Wrote`
    """

    libraries: Sequence[str]
    pins: Pins = {}
    cache: str | None = None
    wrote: Wrote = nobody


class Planner:
    """Plans variants on top of their bases; `names` are those of the project, and `root` its folder."""

    def __init__(
        self,
        names: Names,
        variants: Sequence[Variant],
        root: str,
        observed: Observed,
        elsewhere: Elsewhere,
        wanted: str | None = None,
    ) -> None:
        weights, declared = WeightsReader(observed), Declared(root)
        models = PulledModels(observed, weights, *elsewhere)
        bases = Bases(names, observed, weights, models, Hub(observed, weights, elsewhere.pins))
        self._bases = bases
        self._weights = weights
        self._observed = observed
        self.declared = self._declared = declared
        self._restored = Restored(variants, declared, wanted)
        self._templates = Templates(lambda: self._adapters, declared)
        self._cache = elsewhere.cache
        self.meant = bases.meant
        self.based: dict[str, tuple[str, ...]] = {}
        """By the label of a variant, the models of the project that it is based on."""
        self._planned: dict[str, Base | Error | Errors] = {}
        self._open: list[Variant] = []
        self.prompts = Prompts()
        self.outside: dict[str, Outside] = {}
        self._used: dict[str, set[str]] = {}

    @cached_property
    def _adapters(self) -> Adapters:
        from modelbuild.plan.adapters import Adapters

        return Adapters(self._observed, self._weights, self._declared)

    @cached_property
    def _foreign(self) -> Foreign:
        from modelbuild.plan.foreign import Foreign

        return Foreign(self._observed, self._weights, self._declared, self._cache, self._operations)

    @cached_property
    def _operations(self) -> dict[str, int] | None:
        return operations.versions() or None

    @property
    def warnings(self) -> list[Error]:
        """About lines that count for nothing, and chat templates that are not taken."""
        return [*self._bases.warnings, *self._templates.warnings]

    def count(self) -> tuple[int, int]:
        """How much was warned of so far."""
        return len(self._bases.warnings), len(self._templates.warnings)

    def warned_since(self, count: tuple[int, int]) -> list[Error]:
        return [*self._bases.warnings[count[0] :], *self._templates.warnings[count[1] :]]

    def output(self, variant: Variant) -> Output:
        """Declare all steps of a variant. Raises Error."""
        base = self.planned(variant)
        inputs = [("recipe", base.finished)] if base.finished else []
        models = sum(each.media_type == media.MODEL for each in base.layers)
        made_config = self._declared.step(variant, config, {**base.config, "models": models}, inputs)
        listing = manifest.Parameters(layers=[(each.media_type, each.origin) for each in base.layers])
        roles = [("config", made_config), *((str(i), each.step) for i, each in enumerate(base.layers))]
        roles += [(f"gate {i}", each) for i, each in enumerate(base.gates)]
        made = self._declared.step(variant, manifest, listing, roles)
        blobs = tuple(dict.fromkeys([made_config, *(each.step for each in base.layers)]))
        templates.remark(self.prompts, variant, base)
        if base.outside is not None:
            self.outside[variant.label] = base.outside
        names = tuple(name.path() for name in variant.names)
        files = outputs.files(variant, [(each.media_type.rpartition(".")[2], each.step) for each in base.layers])
        exports = outputs.exports(variant)
        return Output(variant.label, names, made, blobs, files, exports, self._restored.packed(variant, base))

    def planned(self, variant: Variant | Broken) -> Base:
        """Plan a variant's layers. Of what is wrong with it, the same errors are raised wherever it is a base."""
        if isinstance(variant, Broken):
            raise Errors(variant.errors)
        known = self._planned.get(variant.label)
        if known is None:
            if variant in self._open:
                raise cycle(self._open, variant)
            if len(self._open) > DEPTH_LIMIT:
                what = f"models are based on one another more than {DEPTH_LIMIT} levels deep"
                raise from_place(variant).error(what)
            self._open.append(variant)
            try:
                known = self._laid(variant)
            except (Error, Errors) as error:
                known = error
            finally:
                self._open.pop()
            self._planned[variant.label] = known
        if isinstance(known, Base):
            return known
        raise known

    def _laid(self, variant: Variant) -> Base:
        base = self._described(variant, self._merged(variant, self._base(variant)))
        base = self._with_model(variant, self._quantized(variant, base))
        merged = {key: value for key, value in base.parameters.items() if key not in variant.cleared_parameters}
        merged.update(variant.parameters)
        dropped = {media.PARAMS} | {KEYS[key].empties for key in variant.cleared}
        if variant.replaces_licenses:
            dropped.add(media.LICENSE)
        kept = [each for each in base.layers if each.media_type not in dropped]
        if projector := variant.file("projector"):
            self._weights.beside("projector", projector, projector.path)
            kept.append(self._as_it_is(variant, media.PROJECTOR, "projector", projector.path))
        new = [*self._files_beside(variant, base), *self._texts(variant, merged)]
        layers = media.compose(kept, new, lambda each: each.media_type)
        given = {key: value for key, value in base.config.items() if key not in variant.cleared}
        for draft in variant.drafts:
            given["draft"] = {
                "model_format": "gguf",
                "architecture": self._weights.contents(draft, draft.path).architecture,
            }
        own = {key: variant.string(key) for key in ("renderer", "parser", "requires")}
        given.update((key, value) for key, value in own.items() if value is not None)
        self._bases.warnings += unused.keys(variant, self._used.get(variant.label, ()))
        said = "template" in variant.cleared or variant.string("template") is not None
        base = base._replace(bare=None, derived=None) if said else base
        return base._replace(layers=tuple(layers), parameters=merged, config=given)

    def _files_beside(self, variant: Variant, base: Base) -> Iterable[LayerStep]:
        for adapter in variant.adapters:
            if adapter.mode == "layer":
                yield self._adapter(variant, base, adapter)
        for draft in variant.drafts:
            self._weights.beside("draft", draft, draft.path)
            yield self._as_it_is(variant, media.DRAFT, "draft", draft.path)

    def _texts(self, variant: Variant, merged: Mapping[str, Any]) -> Iterable[LayerStep]:
        if template := variant.string("template"):
            yield self._text(variant, media.TEMPLATE, "template", layer.Parameters(text=template))
        if system := variant.string("system"):
            yield self._text(variant, media.SYSTEM, "system", layer.Parameters(text=system))
        for text in variant.licenses:
            yield self._text(variant, media.LICENSE, "license", layer.Parameters(text=text))
        if merged:
            yield self._text(variant, media.PARAMS, "params", layer.Parameters(parameters=merged))
        if variant.messages:
            yield self._text(variant, media.MESSAGES, "messages", layer.Parameters(messages=variant.messages))

    # Layers

    def _text(self, variant: Variant, media_type: str, what: str, values: layer.Parameters) -> LayerStep:
        return LayerStep(media_type, self._declared.step(variant, layer, values, what=what))

    def _as_it_is(self, variant: Variant, media_type: str, what: str, path: str, checked: Refs = ()) -> LayerStep:
        """The layer of a file; what is wrong with it is found by the step whose recipe is `checked`."""
        self._used.setdefault(variant.label, set()).add("link")
        values = layer.Parameters(link=True if variant.string("link") == "hard" else None)
        inputs = [("file", Source(path, "gguf")), *checked]
        return LayerStep(media_type, self._declared.step(variant, layer, values, inputs, what=what, pool="thread"))

    def _model_layer(self, variant: Variant, base: Base, recipe: str) -> LayerStep:
        return LayerStep(media.MODEL, self._of_recipe(variant, "model", recipe, base.foreign))

    def _of_recipe(self, variant: Variant, what: str, recipe: str, foreign: str | None = None) -> str:
        # The recipe says which operations, not which version of them: without this a finished model would keep its bytes.
        values = layer.Parameters(operations=self._operations)
        inputs = [("recipe", recipe), *([("weights", foreign)] if foreign else [])]
        return self._declared.step(variant, layer, values, inputs, what=what, pool="cores")

    def _with_model(self, variant: Variant, base: Base) -> Base:
        """Declare the step of a model layer that has none."""
        layers = list(base.layers)
        for number, each in enumerate(layers):
            if not each.step:
                if base.whole:
                    layers[number] = self._as_it_is(variant, media.MODEL, "model", base.whole)
                elif base.finished:
                    layers[number] = self._model_layer(variant, base, base.finished)
        return base._replace(layers=tuple(layers), whole=None)

    def _adapter(self, variant: Variant, base: Base, adapter: Adapter) -> LayerStep:
        recipe, file = self._adapters.layer(variant, base, adapter)
        if file is not None:
            return self._as_it_is(variant, media.ADAPTER, "adapter", file.path, [("recipe", recipe)])
        self._used.setdefault(variant.label, set()).add("outtype")
        return LayerStep(media.ADAPTER, self._of_recipe(variant, "adapter", recipe))

    # What is done to the weights

    def _merged(self, variant: Variant, base: Base) -> Base:
        """Merge adapters into the weights, one after the other."""
        for adapter in variant.adapters:
            if adapter.mode == "merge":
                # What is quantized by somebody else is packed once: to the type of this model, if it has one.
                recipe = self._adapters.merged(variant, base.recipe, adapter, unpacked=not base.unquantized)
                finished = self._adapters.merged(variant, base.finished or base.recipe, adapter)
                restored = self._adapters.grafted(variant, base.restored, adapter) if base.restored else None
                base = base.made_of(recipe, finished)._replace(restored=restored)
        return base

    def _described(self, variant: Variant, base: Base) -> Base:
        """Put the metadata that the variant sets into the recipes it starts from."""
        own = any(not each.step for each in base.layers)
        # What [defaults] says is for weights: models that stand on others take it over with theirs.
        given = {key: value for key, value in variant.metadata.items() if own or key not in variant.default_metadata}
        base = base._replace(measured=base.recipe)
        if not given:
            return base
        if base.recipe is None:
            raise variant.place("metadata").error(f"'{variant.label}' has no model file whose metadata could be set")
        recipe = self._describe(variant, base.recipe, given)
        finished = self._describe(variant, base.finished, given) if base.finished else recipe
        measured = base.recipe if all(key.startswith("general.") for key in given) else recipe
        return base.made_of(recipe, finished)._replace(measured=measured)

    def _describe(self, variant: Variant, recipe: str, given: Mapping[str, Any]) -> str:
        from modelbuild.steps import describe

        return self._declared.step(variant, describe, describe.Parameters(metadata=given), [("recipe", recipe)])

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
            inputs.append(("made", self._foreign.imatrix(variant, base, variant.calibration)))
        places = {"ftype": place, "mix": variant.mix_table}
        recipe = self._declared.step(variant, quantize, values, inputs, places=places)
        model = self._model_layer(variant, base, recipe)
        gate = self._foreign.gate(variant, base, model.step) if variant.gate else None
        base = base._replace(layers=base.with_model(model), gates=(gate,) if gate else ())
        return base._replace(finished=recipe, config=without_model(base.config), unquantized=False)

    # FROM

    def _base(self, variant: Variant) -> Base:
        match self._bases.base(variant):
            case CheckpointFolder() as folder:
                return self._converted(variant, folder)
            case Candidates() as candidates:
                return self._inherited(variant, candidates)
            case Pulled() as model:
                return self._pulled(variant, model)
            case Downloaded() as found:
                return self._converted(variant, found.checkpoint)._replace(outside=found.outside)
            case files:
                return self._imported(variant, files)

    def _converted(self, variant: Variant, folder: CheckpointFolder) -> Base:
        self._used.setdefault(variant.label, set()).add("outtype")
        others = "llama.cpp" in variant.converters or folder.fault is not None
        found = self._foreign.converted(variant, folder) if others else None
        recipe, foreign = found or (self._native(variant, folder), None)
        made = self._templates.of_weights(variant, folder.chat)
        chat = os.path.join(folder.path, folder.chat.file) if folder.chat else ""
        bare = templates.bare(variant, Bare(folder.path, chat, folder.talks))
        restored = self._restored.gathered(variant, folder) if folder.fault is None else None
        layers = (LayerStep(media.MODEL, ""), *made.layers)
        base = Base(layers, recipe, recipe, {}, made.parameters, True, bare=bare, restored=restored, foreign=foreign)
        return base._replace(chat=self._templates.of_adapters(variant) or folder.chat, derived=made, files=folder.files)

    def _native(self, variant: Variant, folder: CheckpointFolder) -> str:
        outtype, pre = variant.string("outtype") or "source", variant.string("pre")
        values = convert.Parameters(folder=folder.name, outtype=outtype, pre=pre, plugin=folder.plugin)
        return self._declared.step(variant, convert, values, folder.files)

    def _imported(self, variant: Variant, files: Sequence[GgufFile]) -> Base:
        ((parts, model),) = ((file.parts, file.contents) for file in files if file.contents.role == "model")
        recipe = self._import(variant, [Source(path, "gguf") for path in parts])
        whole = parts[0] if len(parts) == 1 else None
        if pre := variant.string("pre"):
            recipe, whole = self._describe(variant, recipe, {"tokenizer.ggml.pre": pre}), None
        made = self._templates.of_weights(variant, model.chat)
        layers: list[LayerStep] = []
        for path, role in ((file.parts[0], file.contents.role) for file in files):
            match role:
                case "model":
                    layers += [LayerStep(media.MODEL, ""), *made.layers]
                case "adapter":
                    checked = [("recipe", self._adapters.of_gguf(variant, recipe, Source(path, "gguf")))]
                    layers.append(self._as_it_is(variant, media.ADAPTER, "adapter", path, checked))
                case "projector":
                    layers.append(self._as_it_is(variant, media.PROJECTOR, "projector", path))
        bare = templates.bare(variant, Bare(parts[0], parts[0] if model.chat else "", model.talks))
        base = Base(tuple(layers), recipe, recipe, {}, made.parameters, model.unquantized, whole, bare)
        return base._replace(chat=self._templates.of_adapters(variant) or model.chat, derived=made)

    def _import(self, variant: Variant, parts: Sequence[Source]) -> str:
        from modelbuild.steps import import_

        # The name of a whole file decides nothing; those of parts say which part they are.
        inputs = [(os.path.basename(part.path) if len(parts) > 1 else "file", part) for part in parts]
        return self._declared.step(variant, import_, import_.Parameters(), inputs)

    def _pulled(self, variant: Variant, model: Pulled) -> Base:
        layers = []
        recipe = None
        for media_type, blob in model.blobs:
            if media_type == media.MODEL:
                recipe = self._import(variant, [blob])
            values = layer.Parameters(link=True)
            made = self._declared.step(variant, layer, values, [("file", blob)], what="base", pool="thread")
            layers.append(LayerStep(media_type, made, model.name))
        step = next((each.step for each in layers if each.media_type == media.TEMPLATE), "")
        derived = templates.given(model.chat, model.template, step)
        base = Base(tuple(layers), recipe, None, model.config, model.parameters, model.unquantized)
        base = base._replace(outside=Outside(model.name, model.digest))
        return self._templates.over(variant, base._replace(chat=model.chat, derived=derived))

    def _inherited(self, variant: Variant, candidates: Candidates) -> Base:
        line, rows = candidates.line, candidates.variants
        self.based[variant.label] = tuple(dict.fromkeys(each.model for each in rows))
        chosen = next((each for each in rows if each.is_default), None)
        if len(rows) == 1:
            chosen = rows[0]
        if chosen is None:
            bases = [self.planned(each) for each in rows]
            if variant.quantize and bases[0].recipe and len({base.recipe for base in bases}) == 1:
                chosen = rows[0]
            else:
                raise line.place.error(
                    f"'{line.text}' has {len(rows)} rows and no default row",
                    facts=[("rows", listed(each.label for each in rows))],
                    hint=f"name one, such as '{rows[0].label}', or give the model a default row",
                )
        base = self.planned(chosen)
        assert chosen.names, "what is planned has a name"
        display = chosen.names[0].display()
        base = base._replace(layers=tuple(each._replace(origin=display) for each in base.layers))
        return self._templates.over(variant, base)
