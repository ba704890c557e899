"""An OCI image layout of a model as Ollama has it: the same manifest, config and layers, for tools that copy images between registries.

Source: opencontainers/image-spec, image-layout.md. The manifest is Ollama's own (manifest/manifest.go), byte for byte, so that
`ollama pull` takes what was copied to a registry.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelbuild.ollama.manifest import MANIFEST
from modelbuild.shapes._finished import Entry, Finished
from modelbuild.shapes._oci import Artifact, Part, layout, references_of

SPLITS = False


def artifact(model: Finished) -> Artifact:
    """What a registry is sent of a model."""
    layers = tuple(Part(layer.media_type, layer.copy) for layer in model.layers)
    return Artifact(model.manifest, MANIFEST, Part(model.config.media_type, model.config.copy), layers)


def tree(models: Sequence[Finished], folder: str) -> Iterator[Entry]:
    return layout(models, artifact)


def said(models: Sequence[Finished], folder: str) -> str:
    return (
        f"to a registry: skopeo copy oci:{folder}:{references_of(models)[models[0].label]} docker://REGISTRY/NAME:TAG"
    )
