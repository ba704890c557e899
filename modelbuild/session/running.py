"""A model of a models folder as a runner gets it: its files, its texts, its parameters, and those of the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from modelbuild.bounded_json import text as json_text
from modelbuild.errors import Error
from modelbuild.files import LARGEST, read_plain, reason
from modelbuild.ollama import manifest
from modelbuild.ollama.library import Library, Served
from modelbuild.ollama.manifest import parse_params
from modelbuild.ollama.name import Name, displayed
from modelbuild.runners import Model

ROLES = ("system", "user", "assistant")


def model(library: Library, name: str, given: Mapping[str, Any]) -> Model:
    """The model of a name (`host/namespace/model/tag`).

    given  parameters that replace its own
    Raises Error if it is not there, not whole, or not of GGUF files.
    """
    served = library.served(name)
    if served is None:
        raise absent(library, displayed(name))
    if not library.is_whole(served):
        hint = "`modelbuild check` finds out what a project lacks; a pulled model is pulled again"
        raise Error(f"'{displayed(name)}' is not whole: a blob is missing", path=library.root, hint=hint)
    reader = _Reader(library, served)
    weights = reader.path(manifest.MODEL)
    if weights is None:
        what = f"'{displayed(name)}' has no GGUF file: only Ollama runs it"
        raise Error(what, hint=f"`ollama run {displayed(name)}`")
    chat, context = _of_weights(weights)
    parameters: dict[str, Any] = {}
    for data in reader.blobs(manifest.PARAMS):
        parameters = {**parse_params(data), **parameters}
    return Model(
        name=displayed(name),
        digest=served.digest.removeprefix("sha256:"),
        weights=weights,
        adapters=reader.paths(manifest.ADAPTER),
        projector=reader.path(manifest.PROJECTOR),
        template=reader.text(manifest.TEMPLATE),
        chat=chat,
        renderer=reader.renderer(),
        system=reader.text(manifest.SYSTEM) or "",
        messages=reader.messages(),
        parameters={**parameters, **given},
        given=dict(given),
        context=context,
    )


def absent(library: Library, name: str) -> Error:
    """The error for a name that is not in a models folder."""
    from modelbuild.words import did_you_mean

    names = [each.display() for each in library.names()]
    hint = did_you_mean(name, [*names, *(each.removesuffix(":latest") for each in names)])
    return Error(f"'{name}' is not in the models folder", facts=[("looked in", library.root)], hint=hint)


def named(text: str) -> str | None:
    """The path of the manifest of a word that can be a model's name; None for another word."""
    try:
        return Name.parse(text).path()
    except Error:
        return None


def _of_weights(path: str) -> tuple[tuple[str, str, str] | None, int]:
    """The chat template with the texts of BOS and EOS, and the context for which weights were trained."""
    from modelbuild.checkpoint import chat
    from modelbuild.tensors.formats import gguf

    metadata = gguf.read_header(path).table.metadata
    found = chat.of_gguf(metadata, path)
    architecture = gguf.scalar(metadata, "general.architecture")
    context = gguf.scalar(metadata, f"{architecture}.context_length")
    template = (found.template, found.bos or "", found.eos or "") if found is not None else None
    return template, context if type(context) is int and context > 0 else 0


class _Reader:
    """The layers of a manifest."""

    def __init__(self, library: Library, served: Served) -> None:
        self._library = library
        self._layers = served.manifest.layers
        self._config = served.manifest.config

    def paths(self, media_type: str) -> list[str]:
        return [self._library.blob_path(layer.digest) for layer in self._layers if layer.media_type == media_type]

    def path(self, media_type: str) -> str | None:
        found = self.paths(media_type)
        return found[0] if found else None

    def blobs(self, media_type: str) -> list[bytes]:
        return [self._read(path) for path in self.paths(media_type)]

    def text(self, media_type: str) -> str | None:
        """The text of the last layer of a kind, which decides."""
        found = self.blobs(media_type)
        return found[-1].decode("utf-8", "replace") if found else None

    def messages(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for path in self.paths(manifest.MESSAGES):
            value = self._json(path)
            for each in value if isinstance(value, list) else [None]:
                role, content = (each.get("role"), each.get("content")) if isinstance(each, dict) else (None, None)
                if role not in ROLES or not isinstance(content, str):
                    raise Error("is not a list of messages", path=path)
                found.append((role, content))
        return found

    def renderer(self) -> str | None:
        value = self._json(self._library.blob_path(self._config.digest))
        found = value.get("renderer") if isinstance(value, dict) else None
        return found if isinstance(found, str) and found else None

    def _json(self, path: str) -> Any:
        try:
            return json.loads(json_text(self._read(path), path))
        except (ValueError, RecursionError):
            raise Error("is not JSON", path=path) from None

    @staticmethod
    def _read(path: str) -> bytes:
        try:
            return read_plain(path, LARGEST)[0]
        except OSError as error:
            raise Error(f"cannot be read: {reason(error)}", path=path) from None
