"""The layers of a model in a models folder: the files of some, the texts of the others."""

from __future__ import annotations

import json
from typing import Any

from modelbuild.bounded_json import text as json_text
from modelbuild.errors import Error
from modelbuild.files import LARGEST, read_plain, reason
from modelbuild.ollama import manifest
from modelbuild.ollama.library import Library, Served

ROLES = ("system", "user", "assistant")


class Texts:
    """What a manifest names. Every method raises Error for a blob that cannot be read, or that is not what its layer says."""

    def __init__(self, library: Library, served: Served) -> None:
        self._library = library
        self._layers = served.manifest.layers
        self._config = served.manifest.config

    def paths(self, media_type: str) -> list[str]:
        """The files of the layers of a kind."""
        return [self._library.blob_path(layer.digest) for layer in self._layers if layer.media_type == media_type]

    def files(self) -> list[tuple[manifest.Layer, str]]:
        """Each layer and its file."""
        return [(layer, self._library.blob_path(layer.digest)) for layer in self._layers]

    def path(self, media_type: str) -> str | None:
        """The file of the first layer of a kind."""
        found = self.paths(media_type)
        return found[0] if found else None

    def texts(self, media_type: str) -> list[str]:
        """The texts of the layers of a kind."""
        return [_read(path).decode("utf-8", "replace") for path in self.paths(media_type)]

    def text(self, media_type: str) -> str | None:
        """The text of the last layer of a kind, which decides."""
        found = self.texts(media_type)
        return found[-1] if found else None

    def parameters(self) -> dict[str, Any]:
        """The parameters; of several layers the first to name one decides."""
        found: dict[str, Any] = {}
        for path in self.paths(manifest.PARAMS):
            found = {**manifest.parse_params(_read(path), path), **found}
        return found

    def messages(self) -> list[tuple[str, str]]:
        """(role, content) of the messages."""
        found: list[tuple[str, str]] = []
        for path in self.paths(manifest.MESSAGES):
            value = _json(path)
            for each in value if isinstance(value, list) else [None]:
                role, content = (each.get("role"), each.get("content")) if isinstance(each, dict) else (None, None)
                if role not in ROLES or not isinstance(content, str):
                    raise Error("is not a list of messages", path=path)
                found.append((role, content))
        return found

    def config(self) -> dict[str, Any]:
        """What the config says; empty if it is not an object."""
        value = _json(self._library.blob_path(self._config.digest))
        return value if isinstance(value, dict) else {}


def _json(path: str) -> Any:
    try:
        return json.loads(json_text(_read(path), path))
    except (ValueError, RecursionError):
        raise Error("is not JSON", path=path) from None


def _read(path: str) -> bytes:
    try:
        return read_plain(path, LARGEST)[0]
    except OSError as error:
        raise Error(f"cannot be read: {reason(error)}", path=path) from None
