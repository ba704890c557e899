"""From declared variants to the graph of steps: what each derives from, and what it lays over that."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelbuild.checkpoint.chat import Chat
from modelbuild.engine.graph import Graph, Output, Source
from modelbuild.errors import Error, Errors
from modelbuild.observed import Observed
from modelbuild.ollama import manifest as media
from modelbuild.plan.adapters import AdaptersReader
from modelbuild.plan.bases import Bases, Candidates, Pulled
from modelbuild.plan.declared import Declared
from modelbuild.plan.weights import CheckpointFolder, GgufFile, WeightsReader
from modelbuild.project.keys import KEYS
from modelbuild.project.locate import Place
from modelbuild.project.project import DEPTH_LIMIT, Project
from modelbuild.project.variant import Adapter, Variant
from modelbuild.steps import adapt, config, convert, describe, import_, layer, manifest, merge, quantize
from modelbuild.tensors import operations
from modelbuild.words import listed


@dataclass(frozen=True)
class LayerStep:
    """A layer by the step that makes its blob, and the base it comes from, as Ollama displays it."""

    media_type: str
    step: str
    origin: str = ""


@dataclass(frozen=True)
class Base:
    """A model as it is planned, for itself and for those that are FROM it: layers, and what else is inherited.

    recipe      the step that makes the recipe of the model layer, before quantization
    finished    the step that makes the recipe of the model layer as it is
    config      fields of the base's config that a model without a recipe takes over
    unquantized whether the weights are floats, which is what `defaults.quantize` is for
    whole       the GGUF file that is the model layer if nothing is done to it

    A model layer that is to be made of a recipe or a file has no step yet: which one depends on whether it is quantized.
    """

    layers: tuple[LayerStep, ...]
    recipe: str | None
    finished: str | None
    config: Mapping[str, Any]
    parameters: Mapping[str, Any]
    unquantized: bool
    whole: str | None = None

    def with_model(self, model: LayerStep) -> tuple[LayerStep, ...]:
        """The layers with another for the model's."""
        return tuple(model if each.media_type == media.MODEL else each for each in self.layers)


def plan(project: Project, observed: Observed, libraries: Sequence[str]) -> tuple[Graph, list[Error]]:
    """Plan every variant of a project; `libraries` are the models folders that FROM looks in. Raises Errors: all that is wrong."""
    weights, declared = WeightsReader(observed), Declared(project.file)
    bases = Bases(project, observed, weights, libraries)
    planner = _Planner(bases, weights, AdaptersReader(observed, weights), declared)
    outputs = []
    errors: list[Error] = []
    for variant in project.variants:
        try:
            outputs.append(planner.output(variant))
        except Error as error:
            if error not in errors:
                errors.append(error)
    if errors:
        raise Errors(errors)
    return Graph(declared.steps.values(), outputs), bases.warnings


class _Planner:
    """Lays variants over what they derive from."""

    def __init__(self, bases: Bases, weights: WeightsReader, adapters: AdaptersReader, declared: Declared) -> None:
        self._bases = bases
        self._weights = weights
        self._adapters = adapters
        self._declared = declared
        self._planned: dict[str, Base | Error] = {}
        self._open: list[Variant] = []

    def output(self, variant: Variant) -> Output:
        """Declare all steps of a variant. Raises Error."""
        base = self.planned(variant)
        inputs = [("recipe", base.finished)] if base.finished else []
        models = sum(each.media_type == media.MODEL for each in base.layers)
        made_config = self._declared.step(variant, config, {**base.config, "models": models}, inputs)
        listing = manifest.Parameters(layers=[(each.media_type, each.origin) for each in base.layers])
        roles = [("config", made_config), *((str(i), each.step) for i, each in enumerate(base.layers))]
        made = self._declared.step(variant, manifest, listing, roles)
        blobs = tuple(dict.fromkeys([made_config, *(each.step for each in base.layers)]))
        return Output(variant.label, tuple(name.path() for name in variant.names), made, blobs)

    def planned(self, variant: Variant) -> Base:
        """Plan a variant's layers; what was wrong with it is said once, wherever it is a base."""
        known = self._planned.get(variant.label)
        if known is None:
            if variant in self._open:
                raise self._cycle(variant)
            if len(self._open) > DEPTH_LIMIT:
                what = f"models derive from one another more than {DEPTH_LIMIT} deep"
                raise self._from_place(variant).error(what)
            self._open.append(variant)
            try:
                known = self._laid(variant)
            except Error as error:
                known = error
            finally:
                self._open.pop()
            self._planned[variant.label] = known
        if isinstance(known, Error):
            raise known
        return known

    def _cycle(self, variant: Variant) -> Error:
        circle = [*self._open[self._open.index(variant) :], variant]
        way = " -> ".join(f"'{each.label}'" for each in circle)
        return self._from_place(variant).error(
            f"'{variant.label}' derives from itself",
            facts=[("circle", way)],
            hint="one of them must be FROM something else",
        )

    @staticmethod
    def _from_place(variant: Variant) -> Place:
        return variant.froms[0].place if variant.froms else variant.table

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
        return replace(base, layers=tuple(layers), parameters=merged, config=given)

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

    def _as_it_is(self, variant: Variant, media_type: str, what: str, path: str) -> LayerStep:
        values = layer.Parameters(link=True if variant.string("link") == "hard" else None)
        file = [("file", Source(path, "gguf"))]
        return LayerStep(media_type, self._declared.step(variant, layer, values, file, what=what, pool="thread"))

    def _model_layer(self, variant: Variant, recipe: str) -> LayerStep:
        made = self._declared.step(variant, layer, _made_layer(), [("recipe", recipe)], what="model", pool="cores")
        return LayerStep(media.MODEL, made)

    def _with_model(self, variant: Variant, base: Base) -> Base:
        """Declare the step of a model layer that has none."""
        layers = list(base.layers)
        for number, each in enumerate(layers):
            if not each.step:
                if base.whole:
                    layers[number] = self._as_it_is(variant, media.MODEL, "model", base.whole)
                elif base.finished:
                    layers[number] = self._model_layer(variant, base.finished)
        return replace(base, layers=tuple(layers), whole=None)

    def _adapter(self, variant: Variant, base: Base, adapter: Adapter) -> LayerStep:
        found = self._adapters.read(adapter)
        if found.is_gguf and adapter.scale == 1:
            return self._as_it_is(variant, media.ADAPTER, "adapter", found.files[0][1].path)
        if base.recipe is None:
            raise adapter.place.error(f"'{variant.label}' has no model that the adapter could be for")
        outtype = variant.string("outtype") or "source"
        values = adapt.Parameters(folder=found.folder, outtype=outtype, scale=adapter.scale)
        recipe = self._declared.step(variant, adapt, values, [("recipe", base.recipe), *found.files])
        made = self._declared.step(variant, layer, _made_layer(), [("recipe", recipe)], what="adapter", pool="cores")
        return LayerStep(media.ADAPTER, made)

    # What is done to the weights

    def _merged(self, variant: Variant, base: Base) -> Base:
        """Merge adapters into the weights, one after the other."""
        for adapter in variant.adapters:
            if adapter.mode != "merge":
                continue
            if base.recipe is None:
                raise adapter.place.error(f"'{variant.label}' has no model that the adapter could be merged into")
            files = self._adapters.read(adapter).files
            recipe = self._merge(variant, base.recipe, adapter, files)
            finished = self._merge(variant, base.finished, adapter, files) if base.finished else recipe
            base = self._made_anew(base, recipe, finished)
        return base

    def _merge(self, variant: Variant, recipe: str, adapter: Adapter, files: Sequence[tuple[str, Source]]) -> str:
        values = merge.Parameters(scale=adapter.scale, requantize=variant.flag("allow_requantize") or None)
        places = {"requantize": adapter.place}
        return self._declared.step(variant, merge, values, [("recipe", recipe), *files], places=places)

    @staticmethod
    def _made_anew(base: Base, recipe: str, finished: str) -> Base:
        """A base whose model layer is to be made of another recipe."""
        return replace(
            base,
            layers=base.with_model(LayerStep(media.MODEL, "")),
            recipe=recipe,
            finished=finished,
            config=_without_model(base.config),
            whole=None,
        )

    def _described(self, variant: Variant, base: Base) -> Base:
        """Put the metadata that the variant sets into the recipes it starts from."""
        own = any(not each.step for each in base.layers)
        # What [defaults] says is for weights: models that stand on others take it over with theirs.
        given = {key: value for key, value in variant.metadata.items() if own or key not in variant.default_metadata}
        if not given:
            return base
        if base.recipe is None:
            raise variant.place("metadata").error(f"'{variant.label}' has no model whose metadata could be set")
        recipe = self._describe(variant, base.recipe, given)
        finished = self._describe(variant, base.finished, given) if base.finished else recipe
        return self._made_anew(base, recipe, finished)

    def _describe(self, variant: Variant, recipe: str, given: Mapping[str, Any]) -> str:
        return self._declared.step(variant, describe, describe.Parameters(metadata=given), [("recipe", recipe)])

    def _quantized(self, variant: Variant, base: Base) -> Base:
        if variant.quantize is None or (variant.quantize_from_defaults and not base.unquantized):
            return base
        place = variant.place("quantize")
        if base.recipe is None:
            raise place.error(f"'{variant.label}' has no model to quantize")
        assert variant.ftype is not None, "who says how to quantize says a type"
        values = quantize.Parameters(ftype=variant.ftype, requantize=variant.flag("allow_requantize") or None)
        inputs: list[tuple[str, Source | str]] = [("recipe", base.recipe)]
        if variant.mix is not None:
            values["mix"] = {key: value for key, value in variant.mix.items() if key != "base"}
        if imatrix := variant.file("imatrix"):
            values["imatrix"] = imatrix.text
            inputs.append(("imatrix", self._weights.file(imatrix)))
        places = {"ftype": place, "mix": variant.mix_table}
        recipe = self._declared.step(variant, quantize, values, inputs, places=places)
        layers = base.with_model(self._model_layer(variant, recipe))
        return replace(base, layers=layers, finished=recipe, config=_without_model(base.config), unquantized=False)

    # FROM

    def _base(self, variant: Variant) -> Base:
        match self._bases.base(variant):
            case CheckpointFolder() as folder:
                return self._converted(variant, folder)
            case Candidates() as candidates:
                return self._inherited(variant, candidates)
            case Pulled() as model:
                return self._pulled(variant, model)
            case files:
                return self._imported(variant, files)

    def _converted(self, variant: Variant, folder: CheckpointFolder) -> Base:
        values = convert.Parameters(
            folder=folder.name,
            outtype=variant.string("outtype") or "source",
            pre=variant.string("pre"),
            plugin=folder.plugin,
        )
        recipe = self._declared.step(variant, convert, values, folder.files)
        templates, parameters = self._recognized(variant, folder.chat)
        return Base((LayerStep(media.MODEL, ""), *templates), recipe, recipe, {}, parameters, True)

    def _imported(self, variant: Variant, files: Sequence[GgufFile]) -> Base:
        # One of them is the model.
        layers: list[LayerStep] = []
        for parts, found in ((file.parts, file.contents) for file in files):
            if found.role != "model":
                media_type = media.ADAPTER if found.role == "adapter" else media.PROJECTOR
                layers.append(self._as_it_is(variant, media_type, found.role, parts[0]))
                continue
            recipe, unquantized = self._import(variant, parts), found.unquantized
            whole = parts[0] if len(parts) == 1 else None
            if pre := variant.string("pre"):
                recipe, whole = self._describe(variant, recipe, {"tokenizer.ggml.pre": pre}), None
            templates, parameters = self._recognized(variant, found.chat)
            layers += [LayerStep(media.MODEL, ""), *templates]
        return Base(tuple(layers), recipe, recipe, {}, parameters, unquantized, whole)

    def _import(self, variant: Variant, parts: Sequence[str]) -> str:
        # The name of a whole file decides nothing; those of parts say which part they are.
        inputs = [(os.path.basename(path) if len(parts) > 1 else "file", Source(path, "gguf")) for path in parts]
        return self._declared.step(variant, import_, import_.Parameters(), inputs)

    def _pulled(self, variant: Variant, model: Pulled) -> Base:
        layers = []
        recipe = None
        for media_type, blob in model.blobs:
            if media_type == media.MODEL:
                recipe = self._import(variant, (blob,))
            file = [("file", Source(blob, _form(media_type)))]
            values = layer.Parameters(link=True)
            made = self._declared.step(variant, layer, values, file, what="base", pool="thread")
            layers.append(LayerStep(media_type, made, model.name))
        return Base(tuple(layers), recipe, None, model.config, model.parameters, model.unquantized)

    def _inherited(self, variant: Variant, candidates: Candidates) -> Base:
        line, rows = candidates.line, candidates.variants
        chosen = next((each for each in rows if each.is_default), None)
        if len(rows) == 1:
            chosen = rows[0]
        if chosen is None:
            bases = [self.planned(each) for each in rows]
            if variant.quantize and bases[0].recipe and len({base.recipe for base in bases}) == 1:
                chosen = rows[0]
            else:
                raise line.place.error(
                    f"'{line.text}' has {len(rows)} rows and none is its default",
                    facts=[("rows", listed(each.label for each in rows))],
                    hint=f"name one, as '{rows[0].label}', or give the model a default row",
                )
        base = self.planned(chosen)
        display = chosen.names[0].display()
        return replace(base, layers=tuple(replace(each, origin=display) for each in base.layers))

    def _recognized(self, variant: Variant, found: Chat | None) -> tuple[tuple[LayerStep, ...], Mapping[str, Any]]:
        """The template layer and the parameters that follow from the weights' chat template, where it is one that we know.

        A template of the variant's own, and `template = false`, stand against it.
        """
        if variant.string("template") is not None or "template" in variant.cleared:
            return (), {}
        if text := variant.metadata.get("tokenizer.chat_template"):
            found = found._replace(template=text, file="metadata") if found else Chat(text, "metadata")
        if found is None or variant.metadata.get("tokenizer.chat_template") == "":
            return (), {}
        from modelbuild.ollama import chat_templates

        tokens = {name: text for name, text in (("bos", found.bos), ("eos", found.eos)) if text is not None}
        family = chat_templates.recognize(found.template, **tokens)
        if family is None:
            return (), {}
        how = f"{family.name}, recognized from {found.file}"
        made = self._text(variant, media.TEMPLATE, "template", layer.Parameters(text=family.template, recognized=how))
        return (made,), {"stop": list(family.stop)} if family.stop else {}


def _made_layer() -> layer.Parameters:
    """Of a layer that is made of a recipe, which says what operations there are, and not which version of them.

    Without this a finished model would keep its bytes.
    """
    return layer.Parameters(operations=operations.versions() or None)


def _form(media_type: str) -> str:
    return "gguf" if media_type in (media.MODEL, media.PROJECTOR, media.ADAPTER, media.DRAFT) else "bytes"


def _without_model(config: Mapping[str, Any]) -> dict[str, Any]:
    """What stays of an inherited config when the model layer is replaced."""
    return {key: value for key, value in config.items() if key != "base"}
