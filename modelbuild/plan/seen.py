"""A pulled model as it was last seen: what planning needs of it when its files are gone and all that was made of them is there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence

from modelbuild.checkpoint.chat import Chat
from modelbuild.digest import checked, file_name, sha256, unchecked
from modelbuild.observed import Observed
from modelbuild.ollama import manifest as media
from modelbuild.ollama.manifest import Layer, Manifest
from modelbuild.ollama.name import Name
from modelbuild.tuples import NamedTuple

FOLDER = "pinned"
"""Of the cache."""

TEMPLATE_LIMIT = 1 << 20
"""Bytes of a TEMPLATE that is compared with ours."""

LARGEST = 16 << 20
"""Bytes of a manifest, a config or parameters."""


def aside(name: Name, digest: str) -> Name:
    """The name that a pinned manifest is pulled under where another one stands under its own: the tag moved on."""
    return name._replace(tag=f"{name.tag[:60]}-{digest.removeprefix('sha256:')[:12]}")


def places(text: str, digest: str) -> Sequence[str]:
    """Where below `manifests` the manifest of a name may stand that it is pinned to."""
    name = Name.parse(text)
    return name.path(), aside(name, digest).path()


class Seen(NamedTuple):
    """A manifest by its bytes, and of its blobs:

    small        digest -> bytes of the config, of params and of the TEMPLATE
    unquantized  whether its weights are floats
    chat         the chat template of its weights
    sources      digest -> digest of the blob as a source, by which the results of steps are known
    """

    manifest: bytes
    small: Mapping[str, bytes] = {}
    unquantized: bool = False
    sources: Mapping[str, str] = {}
    chat: Chat | None = None

    def encode(self) -> bytes:
        small = {digest: data.decode("utf-8", "surrogateescape") for digest, data in self.small.items()}
        text = self.manifest.decode("utf-8", "surrogateescape")
        return checked(json.dumps([text, small, self.unquantized, self.sources, self.chat]).encode())

    @staticmethod
    def decode(data: bytes, digest: str) -> Seen | None:
        """What was kept of a manifest; None where the file is damaged or another one's."""
        value = unchecked(data)
        if value is None:
            return None
        text, small, unquantized, sources, chat = json.loads(value)
        blobs = {key: _bytes(each) for key, each in small.items()}
        found = Seen(_bytes(text), blobs, unquantized, sources, None if chat is None else Chat(*chat))
        if sha256(found.manifest) != digest or any(sha256(each) != key for key, each in found.small.items()):
            return None
        return found


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def path(cache: str, digest: str) -> str:
    """Where what was seen of a manifest is kept in a cache."""
    return os.path.join(cache, FOLDER, file_name(digest))


def look(cache: str | None, digest: str, observed: Observed) -> Seen | None:
    """What was seen of a manifest, as a look of the planner's."""
    if cache is None:
        return None
    try:
        data = observed.read(path(cache, digest))
    except OSError:
        return None
    return Seen.decode(data, digest)


def small(found: Manifest) -> Sequence[str]:
    """The digests of the blobs that planning reads."""
    read = [layer for layer in found.layers if layer.media_type == media.PARAMS or _is_template(layer)]
    return [found.config.digest, *(layer.digest for layer in read)]


def _is_template(layer: Layer) -> bool:
    return layer.media_type == media.TEMPLATE and layer.size <= TEMPLATE_LIMIT


def form(media_type: str) -> str:
    """How the file of a layer is hashed: a GGUF by its parts, any other by its bytes."""
    return "gguf" if media_type in (media.MODEL, media.PROJECTOR, media.ADAPTER, media.DRAFT) else "bytes"
