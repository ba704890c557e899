"""Models as OCI artifacts: a manifest, a config and layers; and an OCI image layout of some.

Source: opencontainers/image-spec, manifest.md, image-layout.md and annotations.md
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from modelbuild.digest import sha256
from modelbuild.shapes._finished import Content, Copy, Entry, Finished, Layer, Spliced, Text, part_names
from modelbuild.shapes._seal import sealed_json
from modelbuild.tuples import NamedTuple

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
REF = "org.opencontainers.image.ref.name"


class Part(NamedTuple):
    """A layer of an artifact: its media type, its bytes, and what is noted of them."""

    media_type: str
    content: Content
    annotations: Mapping[str, str] = {}

    @property
    def digest(self) -> str:
        return sha256(self.content.data) if isinstance(self.content, Text) else self.content.digest

    def descriptor(self) -> dict[str, Any]:
        """The members that a manifest has of it."""
        found: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.content.size}
        return found | ({"annotations": dict(self.annotations)} if self.annotations else {})


class Artifact(NamedTuple):
    """All that a registry is sent of a model: the bytes of its manifest and their type, and the blobs that it names."""

    manifest: bytes
    media_type: str
    config: Part
    layers: tuple[Part, ...]


def artifact(config: Part, layers: Sequence[Part], artifact_type: str | None = None) -> Artifact:
    """An artifact with a manifest of OCI."""
    manifest: dict[str, Any] = {"schemaVersion": 2, "mediaType": MANIFEST}
    if artifact_type:
        manifest["artifactType"] = artifact_type
    manifest |= {"config": config.descriptor(), "layers": [layer.descriptor() for layer in layers]}
    return Artifact(spelled(manifest), MANIFEST, config, tuple(layers))


def spelled(value: Any) -> bytes:
    """JSON, the same bytes for the same value."""
    return json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass")


def layout(models: Sequence[Finished], artifact: Callable[[Finished], Artifact]) -> Iterator[Entry]:
    """The files of an OCI image layout. The index comes last: what it names is there then."""
    references = references_of(models)
    listed = []
    seen: set[str] = set()
    for model in models:
        if not model.is_made:
            continue
        made = artifact(model)
        manifest = Part(made.media_type, Text(made.manifest, certain=False), {REF: references[model.label]})
        for part in (*made.layers, made.config, manifest):
            if part.digest not in seen:
                seen.add(part.digest)
                yield Entry(f"blobs/{part.digest.replace(':', '/')}", _late(part.content), model.label)
        listed.append(manifest.descriptor())
    yield Entry("oci-layout", Text(b'{"imageLayoutVersion": "1.0.0"}'))
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}
    yield Entry("index.json", Text(sealed_json(index), certain=False))


def files(stem: str, layer: Layer) -> Iterator[tuple[str, Copy | Spliced]]:
    """The files of a layer and their names; of a split one the first part first, since a reader opens the first that it finds."""
    return zip(part_names(stem, layer), layer.files, strict=True)


def _late(content: Content) -> Content:
    return content._replace(certain=False) if isinstance(content, Text) else content


def references_of(models: Sequence[Finished]) -> dict[str, str]:
    """Label -> by what name a layout has it: the tag, with the model's name where tags alone tell no two apart."""
    found = {each.label: _reference(each.name.tag) for each in models}
    if len(set(found.values())) < len(found):
        found = {each.label: _reference(f"{each.name.model}:{each.name.tag}") for each in models}
    if len(set(found.values())) < len(found):
        found = {each.label: _reference(each.stem) for each in models}
    used: set[str] = set()
    for label, name in found.items():
        number, distinct = 1, name
        while distinct in used:
            number += 1
            distinct = f"{name}.{number}"
        used.add(distinct)
        found[label] = distinct
    return found


def _reference(text: str) -> str:
    """A text as the grammar of reference names has it: letters and digits, one separator between two of them."""
    words = re.sub(r"([-._:])[-._:]+", r"\1", text)
    return words.strip("-._:") or "model"
