"""Make the manifest: the one file that names a model's config and layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from modelbuild.ollama.manifest import CONFIG, Layer, Manifest
from modelbuild.steps._inputs import BlobInputs

VERSION = 1
MAKES = "manifest"
POOL = ""


class Parameters(TypedDict):
    """layers  of each input `0`, `1`, …: its media type, and the display name of the base that it comes from, or """ ""

    layers: Sequence[tuple[str, str]]


def run(parameters: Parameters, inputs: BlobInputs) -> bytes:
    """Make the manifest of the inputs `0`, `1`, … and `config`."""
    layers = []
    for index, (media_type, origin) in enumerate(parameters["layers"]):
        blob = inputs.entry(str(index))
        layers.append(Layer(media_type, blob.artifact, blob.size, origin or None))
    config = inputs.entry("config")
    return Manifest(Layer(CONFIG, config.artifact, config.size, None), tuple(layers)).encode()
