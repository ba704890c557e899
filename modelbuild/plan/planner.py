"""The steps of each variant, which adds to its base."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelbuild.engine.graph import Output, Source
from modelbuild.errors import Error, Errors
from modelbuild.observed import Observed
from modelbuild.ollama import manifest as media
from modelbuild.plan import projecting, readers, templates, unused
from modelbuild.plan.bases import Bases, Candidates, Names
from modelbuild.plan.declared import Declared, Refs
from modelbuild.plan.gguf_files import GgufFile
from modelbuild.plan.hub import Downloaded, Hub
from modelbuild.plan.layers import Base, LayerStep
from modelbuild.plan.placed import cycle, from_place
from modelbuild.plan.pulled import Pulled, PulledModels, Wrote, nobody
from modelbuild.plan.remarks import Bare, Prompts
from modelbuild.plan.restored import Restored
from modelbuild.plan.reworked import Reworked, is_of_weights
from modelbuild.plan.sides import Sides
from modelbuild.plan.templates import Templates
from modelbuild.plan.weights import CheckpointFolder, WeightsReader
from modelbuild.project import lock, outputs
from modelbuild.project.broken import Broken
from modelbuild.project.keys import KEYS
from modelbuild.project.lock import Outside, Pins
from modelbuild.project.project import DEPTH_LIMIT
from modelbuild.project.variant import Adapter, File, Variant
from modelbuild.steps import config, convert, layer, manifest
from modelbuild.tuples import NamedTuple
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
        weights, declared = WeightsReader(observed, lock.weights(elsewhere.pins, root)), Declared(root)
        models = PulledModels(observed, weights, *elsewhere)
        bases = Bases(names, observed, weights, models, Hub(observed, weights, elsewhere.pins))
        self._bases = bases
        self._weights = weights
        self._observed = observed
        self.declared = self._declared = declared
        self._sides = Sides(declared, weights)
        self._restored = Restored(variants, declared, wanted)
        self._templates = Templates(lambda: self._adapters, declared)
        self._reworked = Reworked(declared, weights, self._sides, lambda: self._adapters, lambda: self._foreign)
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

        return Foreign(self._observed, self._weights, self._declared, self._cache)

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
        start = self._base(variant)
        own = is_of_weights(start)
        base = self._with_model(variant, self._reworked.of(variant, start))
        merged = {key: value for key, value in base.parameters.items() if key not in variant.cleared_parameters}
        merged.update(variant.parameters)
        dropped = {media.PARAMS} | {KEYS[key].empties for key in variant.cleared}
        if variant.replaces_licenses:
            dropped.add(media.LICENSE)
        kept = [each for each in base.layers if each.media_type not in dropped]
        kept, clip = self._projecting(variant, base, kept, own)
        new = [*self._files_beside(variant, base), *self._texts(variant, merged)]
        layers = media.compose(kept, new, lambda each: each.media_type)
        given = templates.inherited(variant, base)
        for draft in variant.drafts:
            given["draft"] = self._sides.described(draft)
        if any(each.media_type == media.DRAFT for each in layers):
            # The architecture of a draft that the checkpoint gives is the model's.
            given.setdefault("draft", {"model_format": "gguf"})
        named = {key: variant.string(key) for key in ("renderer", "parser", "requires")}
        given.update((key, value) for key, value in named.items() if value is not None)
        self._bases.warnings += unused.keys(variant, self._used.get(variant.label, ()))
        self._bases.warnings += templates.doubts(variant, given)
        said = "template" in variant.cleared or variant.string("template") is not None
        base = base._replace(bare=None, derived=None) if said else base
        return base._replace(layers=tuple(layers), parameters=merged, config=given, clip=clip)

    def _projecting(
        self, variant: Variant, base: Base, layers: list[LayerStep], own: bool
    ) -> tuple[list[LayerStep], Mapping[str, Any]]:
        """The layers with the projector that the variant has, and the metadata that the project sets in its checkpoint's."""
        clip = {**base.clip, **projecting.said(variant, own)}
        match variant.values["projector"]:
            case File() as projector:
                self._weights.beside("projector", projector, projector.path)
                made = self._projector(variant, projector.path)
                layers = [*(each for each in layers if each.media_type != media.PROJECTOR), made]
            case str() if base.folder is not None and "projector" in base.folder.parts:
                layers = self._sides.with_projector(variant, base.folder, layers, clip)
                self._used.setdefault(variant.label, set()).add("projector")
            case _ if not own:
                layers = projecting.over(self._declared, variant, layers, projecting.said(variant, own))
        projecting.check(variant, own, layers)
        return layers, clip

    def _files_beside(self, variant: Variant, base: Base) -> Iterable[LayerStep]:
        for adapter in variant.adapters:
            if adapter.mode == "layer":
                yield self._adapter(variant, base, adapter)
        for draft in variant.drafts:
            if (folder := self._sides.folder_of(draft, base.folder)) is not None:
                yield self._sides.of_draft(variant, folder)
            else:
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
        inputs = [("file", self._weights.source(path, "gguf")), *checked]
        return LayerStep(media_type, self._declared.step(variant, layer, values, inputs, what=what, pool="thread"))

    def _projector(self, variant: Variant, path: str) -> LayerStep:
        """The layer of a projector that is a file."""
        if given := projecting.said(variant, own=True):
            return projecting.of_file(self._declared, variant, self._weights.source(path, "gguf"), given)
        return self._as_it_is(variant, media.PROJECTOR, "projector", path)

    def _with_model(self, variant: Variant, base: Base) -> Base:
        """Declare the step of a model layer that has none."""
        layers = list(base.layers)
        for number, each in enumerate(layers):
            if not each.step:
                if base.whole:
                    layers[number] = self._as_it_is(variant, media.MODEL, "model", base.whole)
                elif base.finished:
                    made = self._declared.of_recipe(variant, "model", base.finished, base.foreign)
                    layers[number] = LayerStep(media.MODEL, made)
        return base._replace(layers=tuple(layers), whole=None)

    def _adapter(self, variant: Variant, base: Base, adapter: Adapter) -> LayerStep:
        recipe, file = self._adapters.layer(variant, base, adapter)
        if file is not None:
            return self._as_it_is(variant, media.ADAPTER, "adapter", file.path, [("recipe", recipe)])
        self._used.setdefault(variant.label, set()).add("outtype")
        return LayerStep(media.ADAPTER, self._declared.of_recipe(variant, "adapter", recipe))

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
        used = self._used.setdefault(variant.label, set())
        used.add("outtype")
        found = None
        if "llama.cpp" in variant.converters or folder.fault is not None:
            found = self._foreign.converted(variant, folder)
        if found is None:
            folder = self._weights.read_as(folder, variant.string("architecture"), variant.place("architecture"))
            values = self._native(variant, folder)
            used.update(values.keys() & {"mtp"})
            recipe, foreign = self._declared.step(variant, convert, values, folder.files), None
            kinds = (values["architecture"],) if "architecture" in values else folder.kinds
            mtp, draft = values.get("mtp"), self._sides.draft(variant, folder, values["outtype"])
        else:
            used.add("convert")
            (recipe, foreign), folder = found, self._foreign.as_converted(folder)
            kinds, mtp, draft = folder.kinds, None, None
        made = self._templates.of_checkpoint(variant, folder, kinds)
        chat = os.path.join(folder.path, folder.chat.file) if folder.chat else ""
        bare = templates.bare(variant, Bare(folder.path, chat, folder.talks))
        restored = self._restored.gathered(variant, folder) if folder.fault is None else None
        layers = (LayerStep(media.MODEL, ""), *self._sides.of_checkpoint(variant, folder), *made.layers)
        base = Base(layers, recipe, recipe, made.config, made.parameters, True, bare=bare, restored=restored)
        base = base._replace(chat=self._templates.of_adapters(variant) or folder.chat, derived=made, folder=folder)
        base = base._replace(foreign=foreign, mtp=mtp, clip=projecting.said(variant, own=True))
        return self._sides.with_draft(variant, base, draft)

    def _native(self, variant: Variant, folder: CheckpointFolder) -> convert.Parameters:
        """What our own conversion of a checkpoint is told."""
        values = convert.Parameters(
            folder=folder.name,
            outtype=variant.string("outtype") or "source",
            pre=variant.string("pre"),
            plugin=folder.plugin,
            blind=self._sides.is_known_blind(variant, folder) or None,
        )
        return values | readers.named(self._observed, variant) | self._sides.without_draft(variant, folder)

    def _imported(self, variant: Variant, files: Sequence[GgufFile]) -> Base:
        ((parts, model),) = ((file.parts, file.contents) for file in files if file.contents.role == "model")
        recipe = self._import(variant, [self._weights.source(path, "gguf") for path in parts])
        whole = parts[0] if len(parts) == 1 else None
        if pre := variant.string("pre"):
            recipe, whole = self._reworked.described(variant, recipe, {"tokenizer.ggml.pre": pre}), None
        made = self._templates.of_gguf(variant, model)
        layers: list[LayerStep] = []
        for path, role in ((file.parts[0], file.contents.role) for file in files):
            match role:
                case "model":
                    layers += [LayerStep(media.MODEL, ""), *made.layers]
                case "adapter":
                    beside = self._adapters.of_gguf(variant, recipe, self._weights.source(path, "gguf"))
                    checked = [("recipe", beside)]
                    layers.append(self._as_it_is(variant, media.ADAPTER, "adapter", path, checked))
                case "projector":
                    layers.append(self._projector(variant, path))
        bare = templates.bare(variant, Bare(parts[0], parts[0] if model.chat else "", model.talks))
        base = Base(tuple(layers), recipe, recipe, made.config, made.parameters, model.unquantized, whole, bare)
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
        config, parameters = templates.of_pulled(variant, model)
        base = Base(tuple(layers), recipe, None, config, parameters, model.unquantized)
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
