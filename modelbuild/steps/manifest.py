"""Make the manifest: the one file that names a model's config and layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from modelbuild.ollama.manifest import CONFIG, Layer, Manifest

if TYPE_CHECKING:
    from modelbuild.engine.action import ActionResult

VERSION = 1


class Inputs(Protocol):
    """What this step needs of its inputs: digest and size of each."""

    def entry(self, role: str, /) -> ActionResult: ...


def run(parameters: Mapping[str, Any], inputs: Inputs) -> bytes:
    """Parameters: `layers`, a list of [media type, display name of the base it comes from, or ""] for the inputs `0`, `1`, …"""
    layers = []
    for index, (media_type, origin) in enumerate(parameters["layers"]):
        blob = inputs.entry(str(index))
        layers.append(Layer(media_type, blob.artifact, blob.size, origin or None))
    config = inputs.entry("config")
    return Manifest(Layer(CONFIG, config.artifact, config.size, None), tuple(layers)).encode()
