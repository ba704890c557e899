"""A model artifact of Docker Model Runner, as an OCI image layout.

Source: docker/model-spec, spec.md and config.md (0.1); docker/model-runner, pkg/distribution/types/config.go and internal/partial.
The two disagree in places, and readers pass over what they do not know: `files` is the specification's list of the layers,
`rootfs` the runner's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from modelbuild.shapes._finished import Entry, Finished, Text, numbered, refuse
from modelbuild.shapes._oci import Artifact, Part, files, layout, references_of, spelled
from modelbuild.shapes._oci import artifact as made

CONFIG = "application/vnd.docker.ai.model.config.v0.1+json"
CONFIG_OF_FILES = "application/vnd.docker.ai.model.config.v0.2+json"
"""Of a split model: with it the runner keeps the names of files and opens the first part; without it, the last one."""
GGUF = "application/vnd.docker.ai.gguf.v3"
LORA = "application/vnd.docker.ai.gguf.v3.lora"
PROJECTOR = "application/vnd.docker.ai.mmproj"
"""The runner's; the specification has a name that the runner does not read."""
LICENSE = "application/vnd.docker.ai.license"

FILEPATH = "org.cncf.model.filepath"

_LAYERS = {"model": (GGUF, "model"), "adapter": (LORA, "adapter"), "projector": (PROJECTOR, "mmproj")}


def artifact(model: Finished) -> Artifact:
    """What a registry is sent of a model."""
    refuse(model, "Docker Model Runner", {"draft": "export `--as folder`, or leave the draft out"})
    _ = model.model
    layers = []
    for layer, number in numbered(model, list(_LAYERS)):
        media_type, name = _LAYERS[layer.kind]
        for path, content in files("-".join(filter(None, [name, number])), layer):
            layers.append(Part(media_type, content, {FILEPATH: path}))
    for layer, number in numbered(model, ["license"]):
        name = "-".join(filter(None, ["LICENSE", number]))
        layers.append(Part(LICENSE, layer.copy, {FILEPATH: name}))
    config = Part(
        CONFIG_OF_FILES if model.model.parts else CONFIG, Text(spelled(_config(model, layers)), certain=False)
    )
    return made(config, layers)


def _config(model: Finished, layers: Sequence[Part]) -> dict[str, Any]:
    facts = model.facts
    family, count = str(facts.get("model_family") or ""), str(facts.get("model_type") or "")
    described = {"architecture": family, "parameter_count": count, "quantization": model.ftype}
    config: dict[str, Any] = {
        "format": "gguf",
        "format_version": "3",
        "quantization": model.ftype,
        "parameters": count,
        "architecture": family,
        "size": str(sum(layer.content.size for layer in layers if layer.media_type != LICENSE)),
        "gguf": {key: value for key, value in described.items() if value},
    }
    context = model.parameters.get("num_ctx")
    if isinstance(context, int) and 0 < context < 1 << 31:
        config["context_size"] = context
    return {
        "config": config,
        "descriptor": {},
        "files": [{"diffID": layer.digest, "type": layer.media_type} for layer in layers],
        "rootfs": {"type": "rootfs", "diff_ids": [layer.digest for layer in layers]},
    }


def tree(models: Sequence[Finished], folder: str) -> Iterator[Entry]:
    return layout(models, artifact)


def said(models: Sequence[Finished], folder: str) -> str:
    reference = references_of(models)[models[0].label]
    return f"to a registry: skopeo copy oci:{folder}:{reference} docker://REGISTRY/NAME:TAG, then docker model pull REGISTRY/NAME:TAG"
