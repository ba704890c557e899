"""An OCI image layout of a model as Ollama has it: the same config and layers, for tools that copy images between registries.

Source: opencontainers/image-spec, image-layout.md and manifest.md. The manifest is one of OCI: tools take no other in a layout, and
Ollama does not look at a manifest's type (server/images.go, pullModelManifest).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelbuild.shapes._finished import Entry, Finished
from modelbuild.shapes._oci import Artifact, Part, layout, references_of
from modelbuild.shapes._oci import artifact as made

SPLITS = False


def artifact(model: Finished) -> Artifact:
    """What a registry is sent of a model."""
    layers = [Part(layer.media_type, layer.copy) for layer in model.layers]
    return made(Part(model.config.media_type, model.config.copy), layers)


def tree(models: Sequence[Finished], folder: str) -> Iterator[Entry]:
    return layout(models, artifact)


def said(models: Sequence[Finished], folder: str) -> str:
    return (
        f"to a registry: skopeo copy oci:{folder}:{references_of(models)[models[0].label]} docker://REGISTRY/NAME:TAG"
    )
