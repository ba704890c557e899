"""From declared variants to the graph of steps. One of two modules where engine and model side meet."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelbuild import steps
from modelbuild.checkpoint.chat import Chat
from modelbuild.engine.graph import Graph, Output, Source, Step, parameters
from modelbuild.errors import Error, Errors
from modelbuild.files import expand
from modelbuild.observed import Listing, Observed
from modelbuild.ollama import manifest
from modelbuild.ollama.library import Library
from modelbuild.ollama.modelfile.meaning import looks_like_path
from modelbuild.ollama.name import Name
from modelbuild.project.keys import KEYS
from modelbuild.project.locate import Place
from modelbuild.project.project import DEPTH_LIMIT, Project, is_shared
from modelbuild.project.variant import From, Variant
from modelbuild.tensors.recipe import versions
from modelbuild.words import did_you_mean, listed

_OF_ROWS = ("quantize", "model", "config", "manifest")


@dataclass(frozen=True)
class Layer:
    """A layer to be: its media type, the step that makes its blob, and the base it comes from, as Ollama displays it."""

    media_type: str
    step: str
    origin: str = ""


@dataclass(frozen=True)
class Base:
    """What a FROM gives: layers, and what else is inherited.

    recipe      the step that makes the recipe of the model layer, before quantization
    finished    the step that makes the recipe of the model layer as it is
    config      fields of the base's config that a model without a recipe takes over
    unquantized whether the weights are floats, which is what `defaults.quantize` is for
    whole       the GGUF file that is the model layer if nothing is done to it

    A model layer that is to be made of a recipe or a file has no step yet: which one depends on whether it is quantized.
    """

    layers: tuple[Layer, ...]
    recipe: str | None
    finished: str | None
    config: Mapping[str, Any]
    parameters: Mapping[str, Any]
    unquantized: bool
    whole: str | None = None


def plan(project: Project, observed: Observed, libraries: Sequence[str]) -> tuple[Graph, list[Error]]:
    """Plan every variant of a project; `libraries` are the models folders that FROM looks in. Raises Errors: all that is wrong."""
    planner = _Planner(project, observed, libraries)
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
    return Graph(planner.steps.values(), outputs), planner.warnings


class _Planner:
    def __init__(self, project: Project, observed: Observed, libraries: Sequence[str]) -> None:
        self._project = project
        self._observed = observed
        self._libraries = [Library(root) for root in libraries]
        self.steps: dict[str, Step] = {}
        self.warnings: list[Error] = []
        self._same: dict[tuple[str, str, tuple[tuple[str, Source | str], ...]], str] = {}
        self._planned: dict[str, Base | Error] = {}
        self._outputs: dict[str, Output] = {}
        self._open: list[Variant] = []
        self._versions: dict[str, int] = {}
        self._chats: dict[str, Chat | None] = {}

    # Steps

    def step(
        self,
        variant: Variant,
        what: str,
        kind: str,
        values: Mapping[str, Any],
        inputs: Iterable[tuple[str, Source | str]],
        pool: str = "",
        final: bool = False,
        places: Mapping[str, Place | None] | None = None,
    ) -> str:
        """Declare a step, once: variants that ask for the same thing share it. Returns its name.

        places  where its parameters were said, for errors about them
        """
        text, refs = parameters(values), tuple(inputs)
        key = (kind, text, refs)
        if known := self._same.get(key):
            return known
        # What follows from the row's own values is named after the row, what rows tend to share after the model.
        name = f"{variant.label if what in _OF_ROWS else variant.model}/{what}"
        if name in self.steps:
            name = f"{variant.label}/{what}"
        base, number = name, 2
        while name in self.steps:
            name, number = f"{base}-{number}", number + 1
        said = [(parameter, place.spelled(self._project.file)) for parameter, place in (places or {}).items() if place]
        self.steps[name] = Step(name, kind, self._version(kind), text, refs, pool, final, tuple(said))
        self._same[key] = name
        return name

    def _version(self, kind: str) -> int:
        if kind not in self._versions:
            self._versions[kind] = steps.module(kind).VERSION
        return self._versions[kind]

    # Variants

    def output(self, variant: Variant) -> Output:
        if variant.label not in self._outputs:
            self._outputs[variant.label] = self._output(variant, self.variant(variant))
        return self._outputs[variant.label]

    def variant(self, variant: Variant) -> Base:
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
                known = self._layers(variant)
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

    def _layers(self, variant: Variant) -> Base:
        base = self._described(variant, self._base(variant))
        base = self._with_model(variant, self._quantized(variant, base))
        merged = {key: value for key, value in base.parameters.items() if key not in variant.cleared_parameters}
        merged.update(variant.parameters)
        dropped = {manifest.PARAMS} | {KEYS[key].empties for key in variant.cleared}
        if variant.replaces_licenses:
            dropped.add(manifest.LICENSE)
        kept = [layer for layer in base.layers if layer.media_type not in dropped]
        if variant.projector:
            file = variant.projector
            kept.append(self._gguf_file(variant, manifest.PROJECTOR, "projector", file.path, file.text, file.place))
        new = [*self._files_beside(variant), *self._texts(variant, merged)]
        layers = manifest.compose(kept, new, lambda layer: layer.media_type)
        config = {key: value for key, value in base.config.items() if key not in variant.cleared}
        for draft in variant.drafts:
            config["draft"] = {
                "model_format": "gguf",
                "architecture": self._classify(draft.place, draft.text, draft.path).architecture,
            }
        given = {"renderer": variant.renderer, "parser": variant.parser, "requires": variant.requires}
        config.update((key, value) for key, value in given.items() if value is not None)
        return replace(base, layers=tuple(layers), parameters=merged, config=config)

    def _files_beside(self, variant: Variant) -> Iterable[Layer]:
        for adapter in variant.adapters:
            yield self._gguf_file(variant, manifest.ADAPTER, "adapter", adapter.path, adapter.text, adapter.place)
        for draft in variant.drafts:
            yield self._gguf_file(variant, manifest.DRAFT, "draft", draft.path, draft.text, draft.place)

    def _texts(self, variant: Variant, merged: Mapping[str, Any]) -> Iterable[Layer]:
        def layer(media_type: str, what: str, **values: Any) -> Layer:
            return Layer(media_type, self.step(variant, what, "layer", values, (), final=True))

        if variant.template is not None:
            yield layer(manifest.TEMPLATE, "template", text=variant.template)
        if variant.system is not None:
            yield layer(manifest.SYSTEM, "system", text=variant.system)
        for text in variant.licenses:
            yield layer(manifest.LICENSE, "license", text=text)
        if merged:
            yield layer(manifest.PARAMS, "params", parameters=merged)
        if variant.messages:
            yield layer(manifest.MESSAGES, "messages", messages=variant.messages)

    def _output(self, variant: Variant, base: Base) -> Output:
        inputs = [("recipe", base.finished)] if base.finished else []
        models = sum(layer.media_type == manifest.MODEL for layer in base.layers)
        config = self.step(variant, "config", "config", {**base.config, "models": models}, inputs, final=True)
        listing = [[layer.media_type, layer.origin] for layer in base.layers]
        roles = [("config", config), *((str(i), layer.step) for i, layer in enumerate(base.layers))]
        made = self.step(variant, "manifest", "manifest", {"layers": listing}, roles)
        blobs = tuple(dict.fromkeys([config, *(layer.step for layer in base.layers)]))
        return Output(variant.label, tuple(name.path() for name in variant.names), made, blobs)

    # Metadata

    def _described(self, variant: Variant, base: Base) -> Base:
        """Put the metadata that the variant sets into the recipes it starts from."""
        own = any(not layer.step for layer in base.layers)
        # What [defaults] says is for weights: models that stand on others take it over with theirs.
        given = {key: value for key, value in variant.metadata.items() if own or key not in variant.default_metadata}
        if not given:
            return base
        if base.recipe is None:
            raise variant.place("metadata").error(f"'{variant.label}' has no model whose metadata could be set")
        recipe = self._describe(variant, base.recipe, given)
        finished = self._describe(variant, base.finished, given) if base.finished else recipe
        layers = tuple(
            Layer(manifest.MODEL, "") if layer.media_type == manifest.MODEL else layer for layer in base.layers
        )
        config = _without_model(base.config)
        return replace(base, layers=layers, recipe=recipe, finished=finished, config=config, whole=None)

    def _describe(self, variant: Variant, recipe: str, given: Mapping[str, Any]) -> str:
        return self.step(variant, "describe", "describe", {"metadata": given}, [("recipe", recipe)], pool="thread")

    # Quantization

    def _quantized(self, variant: Variant, base: Base) -> Base:
        if variant.quantize is None or (variant.quantize_from_defaults and not base.unquantized):
            return base
        place = variant.place("quantize")
        if base.recipe is None:
            raise place.error(f"'{variant.label}' has no model to quantize")
        values: dict[str, Any] = {"ftype": variant.ftype, "requantize": variant.allow_requantize or None}
        inputs: list[tuple[str, Source | str]] = [("recipe", base.recipe)]
        if variant.mix is not None:
            values["mix"] = {key: value for key, value in variant.mix.items() if key != "base"}
        if variant.imatrix is not None:
            file = variant.imatrix
            if self._observed.kind(file.path) != "file":
                raise file.place.error(f"no such file: '{file.text}'", facts=[("looked at", file.path)])
            values["imatrix"] = file.text
            inputs.append(("imatrix", Source(file.path, "bytes")))
        places = {"ftype": place, "mix": variant.mix_table}
        recipe = self.step(variant, "quantize", "quantize", values, inputs, pool="thread", places=places)
        model = self._model_layer(variant, recipe)
        layers = tuple(model if layer.media_type == manifest.MODEL else layer for layer in base.layers)
        return replace(base, layers=layers, finished=recipe, config=_without_model(base.config), unquantized=False)

    def _with_model(self, variant: Variant, base: Base) -> Base:
        """Declare the step of a model layer that has none."""
        layers = list(base.layers)
        for number, layer in enumerate(layers):
            if not layer.step:
                if base.whole:
                    layers[number] = self._as_it_is(variant, manifest.MODEL, "model", base.whole)
                elif base.finished:
                    layers[number] = self._model_layer(variant, base.finished)
        return replace(base, layers=tuple(layers), whole=None)

    def _model_layer(self, variant: Variant, recipe: str) -> Layer:
        # The recipe says which operations, not which version of them: without this a finished model would keep its bytes.
        values = {"operations": versions()}
        step = self.step(variant, "model", "layer", values, [("recipe", recipe)], pool="cores", final=True)
        return Layer(manifest.MODEL, step)

    # FROM

    def _base(self, variant: Variant) -> Base:
        if not variant.froms:
            raise variant.table.error(
                f"'{variant.label}' derives from nothing",
                hint='say from = "…" (a folder of weights, a GGUF file or a model), or name a Modelfile',
            )
        paths: list[tuple[From, str]] = []
        names: list[From] = []
        for line in variant.froms:
            path = self._path(line)
            if path is None:
                names.append(line)
            else:
                paths.append((line, path))
        if paths and names:
            raise names[0].place.error(
                f"FROM '{names[0].text}' is a model and FROM '{paths[0][0].text}' a file: one model cannot be made of both",
                hint="Ollama would drop the file in silence; say projector or adapters in ModelBuild.toml for a file beside a model",
            )
        if len(names) > 1:
            first, last = names[0], names[-1]
            self.warnings.append(
                first.place.error(f"FROM '{first.text}' counts for nothing: FROM '{last.text}' below replaces it")
            )
        return self._model(variant, names[-1]) if names else self._files(variant, paths)

    def _path(self, line: From) -> str | None:
        """The absolute path that a FROM means, or None where it means a model's name."""
        path = expand(line.text, line.folder)
        kind = self._observed.kind(path)
        if line.in_toml:
            if line.text.startswith((".", "/", "~")) or ("/" in line.text and kind):
                return self._existing(line, path, kind)
            return None
        if kind is None:
            if looks_like_path(line.text) and not self._is_model(line.text):
                return self._existing(line, path, kind)
            return None
        bare = not any(mark in line.text for mark in "/\\.~")
        if bare and self._project.candidates(line.text):
            raise line.place.error(
                f"'{line.text}' is a {kind} here and a model of this project",
                hint=f"write FROM ./{line.text} for the {kind}; rename one of them for the model",
            )
        return path

    def _is_model(self, text: str) -> bool:
        return bool(self._project.candidates(text)) or self._find_name(text) is not None

    @staticmethod
    def _existing(line: From, path: str, kind: str | None) -> str:
        if kind is None:
            raise line.place.error(f"no such file or folder: '{line.text}'", facts=[("looked at", path)])
        return path

    def _model(self, variant: Variant, line: From) -> Base:
        if variant.pre is not None and not is_shared(variant.place("pre")):
            raise variant.place("pre").error(
                f"'pre' is for weights, and '{variant.label}' is FROM a model",
                hint=f"say it where '{line.text}' is declared",
            )
        candidates = [each for each in self._project.candidates(line.text) if each.label != variant.label]
        if candidates:
            return self._inherited(variant, line, candidates)
        if self._project.candidates(line.text):
            raise self._cycle_of_one(variant, line)
        found = self._find_name(line.text)
        if found is None:
            raise self._unknown(line)
        return self._from_library(variant, line, *found)

    @staticmethod
    def _cycle_of_one(variant: Variant, line: From) -> Error:
        return line.place.error(
            f"'{variant.label}' derives from itself",
            hint="FROM must name a folder of weights, a GGUF file or another model",
        )

    def _inherited(self, variant: Variant, line: From, candidates: Sequence[Variant]) -> Base:
        chosen = next((each for each in candidates if each.is_default), None)
        if len(candidates) == 1:
            chosen = candidates[0]
        if chosen is None:
            bases = [self.variant(each) for each in candidates]
            if variant.quantize and bases[0].recipe and len({base.recipe for base in bases}) == 1:
                chosen = candidates[0]
            else:
                raise line.place.error(
                    f"'{line.text}' has {len(candidates)} rows and none is its default",
                    facts=[("rows", listed(each.label for each in candidates))],
                    hint=f"name one, as '{candidates[0].label}', or give the model a default row",
                )
        base = self.variant(chosen)
        display = chosen.names[0].display()
        return replace(base, layers=tuple(replace(layer, origin=display) for layer in base.layers))

    def _unknown(self, line: From) -> Error:
        near = self._project.near(line.text) or self._near_names(line.text)
        looked = [("looked in", library.root) for library in self._libraries]
        try:
            Name.parse(line.text)
        except Error as error:
            return line.place.error(f"FROM '{line.text}' is neither a file nor a model: {error.what}", hint=near)
        return line.place.error(
            f"no model '{line.text}' in this project or the models folders",
            facts=looked,
            hint=near or f"fetching from a registry is not built yet: `ollama pull {line.text}`, then build again",
        )

    def _near_names(self, text: str) -> str | None:
        names = {name.display() for library in self._libraries for name in library.names()}
        return did_you_mean(text, [*names, *(name.removesuffix(":latest") for name in names)])

    # A name in a models folder

    def _find_name(self, text: str) -> tuple[Library, Name] | None:
        """The models folder that holds a name not of this project."""
        try:
            name = Name.parse(text)
        except Error:
            return None
        for library in self._libraries:
            if self._observed.kind(library.manifest_path(name.path())) == "file":
                return library, name
        return None

    def _from_library(self, variant: Variant, line: From, library: Library, name: Name) -> Base:
        path = library.manifest_path(name.path())
        found = self._read_manifest(line, path)
        layers: list[Layer] = []
        given: list[dict[str, Any]] = []
        recipe = None
        unquantized = False
        for layer in found.layers:
            blob = self._blob(line, path, library, layer)
            if layer.media_type == manifest.PARAMS:
                given.append(self._object(line, blob))
            if layer.media_type == manifest.MODEL:
                recipe = self._import(variant, (blob,))
                unquantized = self._classify(line.place, line.text, blob).unquantized
            step = self.step(
                variant,
                "base",
                "layer",
                {"link": True},
                [("file", Source(blob, _form(layer.media_type)))],
                "thread",
                True,
            )
            layers.append(Layer(layer.media_type, step, name.display()))
        config = self._object(line, self._blob(line, path, library, found.config))
        values = manifest.merge_parameters(given, {})
        return Base(tuple(layers), recipe, None, {"base": config, **_inherited_config(config)}, values, unquantized)

    def _read_manifest(self, line: From, path: str) -> manifest.Manifest:
        try:
            return manifest.Manifest.parse(self._observed.read(path))
        except (Error, OSError) as error:
            what = error.what if isinstance(error, Error) else (error.strerror or str(error)).lower()
            raise line.place.error(
                f"the manifest of '{line.text}' cannot be read: {what}", facts=[("manifest", path)]
            ) from error

    def _blob(self, line: From, path: str, library: Library, layer: manifest.Layer) -> str:
        blob = library.blob_path(layer.digest)
        if self._observed.kind(blob) != "file":
            raise line.place.error(
                f"the model '{line.text}' lacks a blob",
                facts=[("manifest", path), ("missing", blob)],
                hint="pull it again",
            )
        return blob

    def _object(self, line: From, path: str) -> dict[str, Any]:
        try:
            return manifest.parse_params(self._observed.read(path))
        except (Error, OSError):
            raise line.place.error(
                f"the model '{line.text}' has a blob that is no JSON object", facts=[("blob", path)]
            ) from None

    # Files

    def _files(self, variant: Variant, paths: Sequence[tuple[From, str]]) -> Base:
        folders = [(line, path) for line, path in paths if self._observed.kind(path) == "folder"]
        if folders and len(paths) > 1:
            raise paths[1][0].place.error(
                "more than one FROM, and one of them is a folder", hint="name one folder, or GGUF files only"
            )
        if folders:
            line, folder = folders[0]
            folder = self._snapshot(line, folder)
            entries = [name for name, kind, _ in self._entries(line, folder) if kind == "file"]
            if any(name.endswith(".safetensors") for name in entries):
                return self._checkpoint(variant, line, folder, entries)
            ggufs = sorted(os.path.join(folder, name) for name in entries if name.endswith(".gguf"))
            if not ggufs:
                # The convert step knows what else a folder may hold, and says what is wrong with it.
                return self._checkpoint(variant, line, folder, entries)
            return self._ggufs(variant, [(line, path) for path in ggufs])
        for line, path in paths:
            if path.endswith(".safetensors"):
                raise line.place.error(
                    f"FROM '{line.text}' names one file of a checkpoint",
                    hint=f"name its folder: {os.path.dirname(line.text) or '.'}",
                )
        return self._ggufs(variant, sorted(paths, key=lambda each: each[1]))

    def _snapshot(self, line: From, folder: str) -> str:
        """The folder that holds a model's files, also where the Hugging Face cache keeps it."""
        from modelbuild.checkpoint import hf_cache, shards

        self._entries(line, folder)
        try:
            found = hf_cache.snapshot(folder, self._observed)
            hf_cache.check_links(found, shards.FILES)
        except Error as error:
            raise self._of_file(line, folder, error) from error
        except OSError as error:
            what = f"'{line.text}' cannot be read: {(error.strerror or str(error)).lower()}"
            raise line.place.error(what, facts=[("folder", folder)]) from error
        return found

    def _entries(self, line: From, folder: str) -> Listing:
        try:
            return self._observed.entries(folder)
        except OSError as error:
            what = f"'{line.text}' cannot be read: {(error.strerror or str(error)).lower()}"
            raise line.place.error(what, facts=[("folder", folder)]) from error

    def _checkpoint(self, variant: Variant, line: From, folder: str, names: Sequence[str]) -> Base:
        from modelbuild.checkpoint import shards
        from modelbuild.steps import convert

        nested = [
            f"{sub}/{name}"
            for sub, kind, _ in self._entries(line, folder)
            if kind == "folder" and sub == "additional_chat_templates"
            for name, what, _ in self._entries(line, os.path.join(folder, sub))
            if what == "file"
        ]
        index = os.path.join(folder, shards.INDEX)
        try:
            weights = shards.weights(names, self._observed.read(index) if shards.INDEX in names else None, folder)
        except Error as error:
            raise self._of_file(line, folder, error) from error
        except OSError as error:
            raise line.place.error(
                f"cannot be read: {(error.strerror or str(error)).lower()}", facts=[("file", index)]
            ) from error
        small = [
            (name, Source(os.path.join(folder, *name.split("/")), "bytes"))
            for name in convert.sources([*names, *nested])
        ]
        large = [(name, Source(os.path.join(folder, *name.split("/")), "safetensors")) for name in weights]
        inputs = [*small, *large]
        values = {
            "folder": os.path.basename(os.path.abspath(folder)),
            "outtype": variant.outtype or "source",
            "pre": variant.pre,
            "plugin": self._plugin(line, folder, names),
        }
        recipe = self.step(variant, "convert", "convert", values, inputs, pool="thread")
        templates, parameters = self._recognized(variant, self._chat(folder, names))
        return Base((Layer(manifest.MODEL, ""), *templates), recipe, recipe, {}, parameters, True)

    def _plugin(self, line: From, folder: str, names: Sequence[str]) -> str | None:
        """Name and version of the package that reads a checkpoint of a class that is not among ours."""
        from modelbuild import plugins
        from modelbuild.checkpoint import architectures
        from modelbuild.checkpoint.checkpoint import Checkpoint
        from modelbuild.checkpoint.config import class_of

        if "config.json" not in names:
            return None
        try:
            data = self._observed.read(os.path.join(folder, "config.json"))
            class_name = class_of(Checkpoint({"config.json": data}.get).config)
        except (Error, OSError):  # what is wrong is for the conversion to say
            return None
        if class_name in architectures.readers():
            return None
        # What is installed shows in the folders that packages lie in.
        self._observed.env("PYTHONPATH")
        for path in sys.path:
            if os.path.isdir(path) and os.path.realpath(path) != os.getcwd():
                self._observed.entries(path)
        try:
            plugin = plugins.find(plugins.ARCHITECTURES, class_name)
        except Error as error:
            raise line.place.placed(error) from error
        return plugin.package if plugin is not None else None

    def _chat(self, folder: str, names: Sequence[str]) -> Chat | None:
        """The chat template of a checkpoint. What is wrong with its files is for the conversion to say."""
        if folder not in self._chats:
            from modelbuild.checkpoint import chat
            from modelbuild.checkpoint.checkpoint import Checkpoint

            def read(name: str) -> bytes | None:
                return self._observed.read(os.path.join(folder, name)) if name in names else None

            try:
                self._chats[folder] = chat.of_checkpoint(Checkpoint(read))
            except (Error, OSError):
                self._chats[folder] = None
        return self._chats[folder]

    @staticmethod
    def _of_file(line: From, folder: str, error: Error) -> Error:
        """An error in a file of a checkpoint, at the FROM that named its folder."""
        file = os.path.join(folder, error.path) if error.path else folder
        return line.place.error(
            f"'{line.text}': {error.what}",
            facts=[("file" if error.path else "folder", file), *error.facts],
            hint=error.hint,
        )

    def _ggufs(self, variant: Variant, paths: Sequence[tuple[From, str]]) -> Base:
        layers: list[Layer] = []
        recipe = whole = None
        unquantized = False
        parameters: Mapping[str, Any] = {}
        for line, parts in self._split_files(paths):
            found = self._classify(line.place, line.text, parts[0])
            if found.role != "model":
                media_type = manifest.ADAPTER if found.role == "adapter" else manifest.PROJECTOR
                layers.append(self._as_it_is(variant, media_type, found.role, parts[0]))
                continue
            if recipe is not None:
                raise line.place.error(
                    "more than one model among the GGUF files",
                    facts=[("second", parts[0])],
                    hint="name one model file, its projector and its adapters",
                )
            recipe, unquantized = self._import(variant, parts), found.unquantized
            whole = parts[0] if len(parts) == 1 else None
            if variant.pre is not None:
                recipe, whole = self._describe(variant, recipe, {"tokenizer.ggml.pre": variant.pre}), None
            templates, parameters = self._recognized(variant, found.chat)
            layers += [Layer(manifest.MODEL, ""), *templates]
        if recipe is None:
            line = paths[0][0]
            raise line.place.error(
                f"FROM '{line.text}' is no model", hint="an adapter or projector needs a model to stand beside"
            )
        return Base(tuple(layers), recipe, recipe, {}, parameters, unquantized, whole)

    def _recognized(self, variant: Variant, found: Chat | None) -> tuple[tuple[Layer, ...], Mapping[str, Any]]:
        """The template layer and the parameters that follow from the weights' chat template, where it is one that we know.

        A template of the variant's own, and `template = false`, stand against it.
        """
        if variant.template is not None or "template" in variant.cleared:
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
        values = {"text": family.template, "recognized": f"{family.name}, recognized from {found.file}"}
        step = self.step(variant, "template", "layer", values, (), final=True)
        return (Layer(manifest.TEMPLATE, step),), {"stop": list(family.stop)} if family.stop else {}

    def _split_files(self, paths: Sequence[tuple[From, str]]) -> list[tuple[From, tuple[str, ...]]]:
        """Group the parts of split GGUF files, which one of them stands for."""
        from modelbuild.checkpoint import ggufs

        found: dict[tuple[str, ...], From] = {}
        for line, path in paths:
            folder = os.path.dirname(path)
            beside = [name for name, kind, _ in self._entries(line, folder) if kind == "file"]
            try:
                names = ggufs.parts(os.path.basename(path), beside)
            except Error as error:
                raise line.place.placed(error) from None
            found.setdefault(tuple(os.path.join(folder, name) for name in names), line)
        # A file that is whole comes before one of parts, each by its path.
        return [(line, parts) for parts, line in sorted(found.items(), key=lambda each: (len(each[0]) > 1, each[0]))]

    def _import(self, variant: Variant, parts: Sequence[str]) -> str:
        # The name of a whole file decides nothing; those of parts say which part they are.
        inputs = [(os.path.basename(path) if len(parts) > 1 else "file", Source(path, "gguf")) for path in parts]
        return self.step(variant, "import", "import", {}, inputs, pool="thread")

    def _as_it_is(self, variant: Variant, media_type: str, what: str, path: str) -> Layer:
        values = {"link": True if variant.link == "hard" else None}
        step = self.step(variant, what, "layer", values, [("file", Source(path, "gguf"))], "thread", True)
        return Layer(media_type, step)

    def _gguf_file(self, variant: Variant, media_type: str, what: str, path: str, text: str, place: Place) -> Layer:
        kind = self._observed.kind(path)
        if kind is None:
            raise place.error(f"no such file: '{text}'", facts=[("looked at", path)])
        if kind == "folder" or path.endswith(".safetensors"):
            raise place.error(
                f"{what} '{text}' is a safetensors adapter, which is not built yet"
                if what == "adapter"
                else f"{what} '{text}' is no GGUF file",
                hint="name a GGUF file (llama.cpp's convert_lora_to_gguf.py makes one of an adapter)"
                if what == "adapter"
                else "name a GGUF file",
            )
        found = self._classify(place, text, path)
        if what != "draft" and found.role != what:
            raise place.error(f"expected {_a(what)}, got {_a(found.role)}: '{text}'", facts=[("looked at", path)])
        return self._as_it_is(variant, media_type, what, path)

    def _classify(self, place: Place, text: str, path: str) -> Any:
        """What a GGUF file holds, from its head."""
        from modelbuild.checkpoint import ggufs

        try:
            self._observed.stat(path)
            return ggufs.classify(path)
        except Error as error:
            raise place.error(
                f"'{text}': {error.what}", facts=[("file", path), *error.facts], hint=error.hint
            ) from error
        except OSError as error:
            raise place.error(
                f"'{text}' cannot be read: {(error.strerror or str(error)).lower()}", facts=[("file", path)]
            ) from error


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _form(media_type: str) -> str:
    return "gguf" if media_type in (manifest.MODEL, manifest.PROJECTOR, manifest.ADAPTER, manifest.DRAFT) else "bytes"


def _inherited_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a config hands down, as far as it is what it should be (server/create.go)."""
    texts = {
        key: config[key]
        for key in ("renderer", "parser", "requires")
        if isinstance(config.get(key), str) and config[key]
    }
    lists = {key: config[key] for key in ("capabilities",) if isinstance(config.get(key), list) and config[key]}
    drafts = {key: config[key] for key in ("draft",) if isinstance(config.get(key), dict)}
    return texts | lists | drafts


def _without_model(config: Mapping[str, Any]) -> dict[str, Any]:
    """What stays of an inherited config when the model layer is replaced."""
    return {key: value for key, value in config.items() if key != "base"}
