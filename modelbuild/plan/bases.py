"""The meaning of FROM: weights to convert or import, a model of the project, or one of a models folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from modelbuild.checkpoint.chat import Chat
from modelbuild.errors import Error
from modelbuild.files import expand, reason
from modelbuild.observed import Observed
from modelbuild.ollama import manifest
from modelbuild.ollama.library import Library
from modelbuild.ollama.modelfile.meaning import comment_hint, looks_like_path
from modelbuild.ollama.name import Name
from modelbuild.plan.weights import Weights, WeightsReader
from modelbuild.project.broken import Broken
from modelbuild.project.project import Project, is_shared
from modelbuild.project.variant import From, Variant
from modelbuild.words import did_you_mean

TEMPLATE_LIMIT = 1 << 20
"""Bytes of a TEMPLATE that is compared with ours."""


class Candidates(NamedTuple):
    """The models of the project that a FROM may mean: one, or the rows of one."""

    line: From
    variants: tuple[Variant | Broken, ...]


class Pulled(NamedTuple):
    """A model of a models folder.

    name         as Ollama displays it
    blobs        (media type, path) of its layers, in order
    unquantized  whether its weights are floats
    config       what its config hands down; under `base` all of it
    chat         the chat template of its weights
    template     its TEMPLATE
    """

    name: str
    blobs: tuple[tuple[str, str], ...]
    unquantized: bool
    config: Mapping[str, Any]
    parameters: Mapping[str, Any]
    chat: Chat | None = None
    template: str | None = None


class Bases:
    """Says what the FROM lines of a variant mean. `warnings` are of lines that count for nothing."""

    def __init__(self, project: Project, observed: Observed, weights: WeightsReader, libraries: Sequence[str]) -> None:
        self._project = project
        self._observed = observed
        self._weights = weights
        self._libraries = [Library(root) for root in libraries]
        self.warnings: list[Error] = []

    def base(self, variant: Variant) -> Weights | Candidates | Pulled:
        """What a variant derives from. Raises Error where that is nothing, or several things at once."""
        if not variant.froms:
            raise variant.table.error(
                f"'{variant.label}' has no base",
                hint='set from = "…" (a folder of weights, a GGUF file or a model), or name a Modelfile',
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
                f"FROM '{names[0].text}' is a model and FROM '{paths[0][0].text}' a file: a model cannot have both",
                hint="Ollama would silently drop the file; use projector or adapters in ModelBuild.toml to add a file to a model",
            )
        if len(names) > 1:
            first, last = names[0], names[-1]
            self.warnings.append(
                first.place.error(f"FROM '{first.text}' has no effect: FROM '{last.text}' below replaces it")
            )
        return self._model(variant, names[-1]) if names else self._weights.read(paths)

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
                f"'{line.text}' is both a {kind} here and a model of this project",
                hint=f"write FROM ./{line.text} for the {kind}; to use the model, rename one of them",
            )
        return path

    def _is_model(self, text: str) -> bool:
        return bool(self._project.candidates(text)) or self._find_name(text) is not None

    def _existing(self, line: From, path: str, kind: str | None) -> str:
        if kind is None:
            raise self._weights.missing(line, path, None if line.in_toml else "FROM")
        return path

    def _model(self, variant: Variant, line: From) -> Candidates | Pulled:
        if variant.string("pre") is not None and not is_shared(variant.place("pre")):
            raise variant.place("pre").error(
                f"'pre' is for weights, but '{variant.label}' is FROM a model",
                hint=f"set it where '{line.text}' is declared",
            )
        candidates = self._project.candidates(line.text)
        others = tuple(each for each in candidates if each.label != variant.label)
        if others:
            return Candidates(line, others)
        if candidates:
            raise line.place.error(
                f"'{variant.label}' is based on itself",
                hint="FROM must name a folder of weights, a GGUF file or another model",
            )
        found = self._find_name(line.text)
        if found is None:
            raise self._unknown(line)
        return self._pulled(line, *found)

    def _unknown(self, line: From) -> Error:
        near = self._near_path(line) or self._project.near(line.text) or self._near_names(line.text)
        looked = [("looked in", library.root) for library in self._libraries]
        try:
            Name.parse(line.text)
        except Error as error:
            hint = (None if line.in_toml else comment_hint("FROM", line.text)) or near
            hint = hint or (self._download(line.text) if "huggingface.co/" in line.text else None)
            return line.place.error(f"FROM '{line.text}' is neither a file nor a model: {error.what}", hint=hint)
        return line.place.error(
            f"no model '{line.text}' in this project or the models folders",
            facts=looked,
            hint=near or self._download(line.text),
        )

    def _download(self, text: str) -> str:
        """A hint that says how to get a model that is not here, or where the cache of Hugging Face has it."""
        repository = text.rpartition("huggingface.co/")[2].strip("/")
        owner, slash, name = repository.partition("/")
        pull = f"`ollama pull {text}`, then build again"
        if not slash or "/" in name or ":" in name or repository.startswith("hf.co/"):
            return f"to download it: {pull}"
        cached = f"~/.cache/huggingface/hub/models--{owner}--{name}"
        if self._observed.kind(os.path.expanduser(cached)) == "folder":
            return f"did you mean '{cached}'?"
        from_hugging_face = f"`hf download {repository} --local-dir ./{name}`, then FROM ./{name}"
        return (
            from_hugging_face
            if "huggingface.co/" in text
            else f"to download it: {pull}; from Hugging Face: {from_hugging_face}"
        )

    def _near_path(self, line: From) -> str | None:
        path = self._weights.near(line)
        if path is None:
            return None
        is_bare = line.in_toml and path == f"./{line.text}"
        return f"did you mean '{path}'?" + (" In ModelBuild.toml a path begins with '.', '/' or '~'" if is_bare else "")

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

    def _pulled(self, line: From, library: Library, name: Name) -> Pulled:
        path = library.manifest_path(name.path())
        found = self._read_manifest(line, path)
        blobs: list[tuple[str, str]] = []
        given: list[dict[str, Any]] = []
        unquantized, chat, template = False, None, None
        for layer in found.layers:
            blob = self._blob(line, path, library, layer)
            blobs.append((layer.media_type, blob))
            if layer.media_type == manifest.PARAMS:
                given.append(self._object(line, blob))
            if layer.media_type == manifest.MODEL:
                contents = self._weights.contents(line, blob)
                unquantized, chat = contents.unquantized, contents.chat
            if layer.media_type == manifest.TEMPLATE and layer.size <= TEMPLATE_LIMIT:
                template = self._template(blob)
        config = self._object(line, self._blob(line, path, library, found.config))
        handed_down = {"base": config, **_inherited_config(config)}
        merged = manifest.merge_parameters(given, {})
        return Pulled(name.display(), tuple(blobs), unquantized, handed_down, merged, chat, template)

    def _read_manifest(self, line: From, path: str) -> manifest.Manifest:
        try:
            return manifest.Manifest.parse(self._observed.read(path))
        except (Error, OSError) as error:
            what = error.what if isinstance(error, Error) else reason(error)
            raise line.place.error(
                f"the manifest of '{line.text}' cannot be read: {what}",
                facts=[("manifest", path)],
                hint=f"pull it again: `ollama pull {line.text}`",
            ) from error

    def _blob(self, line: From, path: str, library: Library, layer: manifest.Layer) -> str:
        blob = library.blob_path(layer.digest)
        if self._observed.kind(blob) != "file":
            raise line.place.error(
                f"the model '{line.text}' lacks a blob",
                facts=[("manifest", path), ("missing", blob)],
                hint=f"pull it again: `ollama pull {line.text}`",
            )
        return blob

    def _template(self, path: str) -> str | None:
        try:
            return self._observed.read(path).decode("utf-8", "replace")
        except OSError:  # told when its layer is made
            return None

    def _object(self, line: From, path: str) -> dict[str, Any]:
        try:
            return manifest.parse_params(self._observed.read(path))
        except (Error, OSError):
            raise line.place.error(
                f"the model '{line.text}' has a blob that is not a JSON object",
                facts=[("blob", path)],
                hint=f"remove that blob and pull it again: `ollama pull {line.text}`",
            ) from None


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
