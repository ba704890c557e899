"""CNCF ModelPack, as an OCI image layout.

Source: modelpack/model-spec, docs/spec.md, docs/config.md and docs/annotations.md, of June 2026
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from modelbuild.ollama import modelfile
from modelbuild.ollama.modelfile.grammar import Command
from modelbuild.shapes import folder as as_folder
from modelbuild.shapes._finished import GGUFS, Content, Entry, Finished, Text, numbered, part_names
from modelbuild.shapes._oci import Artifact, Part, files, layout, references_of, spelled
from modelbuild.shapes._oci import artifact as made

TYPE = "application/vnd.cncf.model.manifest.v1+json"
CONFIG = "application/vnd.cncf.model.config.v1+json"
WEIGHT = "application/vnd.cncf.model.weight.v1.raw"
WEIGHT_CONFIG = "application/vnd.cncf.model.weight.config.v1.raw"
DOC = "application/vnd.cncf.model.doc.v1.raw"

FLOATS = ("F32", "F16", "BF16")


def artifact(model: Finished) -> Artifact:
    """What a registry is sent of a model: its GGUF files, a Modelfile that names them, and its licenses."""
    layers, commands = [], []
    _ = model.model
    for layer, number in numbered(model, list(GGUFS)):
        stem = "-".join(filter(None, [model.stem, GGUFS[layer.kind], number]))
        layers += [_file(WEIGHT, name, content) for name, content in files(stem, layer)]
        commands.append(Command(as_folder.INSTRUCTIONS[layer.kind], f"./{part_names(stem, layer)[0]}"))
    text = modelfile.render([*commands, *model.commands]).encode("utf-8", "surrogatepass")
    layers.append(_file(WEIGHT_CONFIG, "Modelfile", Text(text)))
    layers += [
        _file(DOC, f"LICENSE{number and '-' + number}", each.copy) for each, number in numbered(model, ["license"])
    ]
    config = Part(CONFIG, Text(spelled(_config(model, layers)), certain=False))
    return made(config, layers, TYPE)


def _file(media_type: str, name: str, content: Content) -> Part:
    """A file with the attributes that every layer says; those that would differ from one machine to the next are constants."""
    attributes = {"name": name, "mode": 0o644, "uid": 0, "gid": 0, "size": content.size,
                  "mtime": "1970-01-01T00:00:00Z", "typeflag": 48}  # fmt: skip
    annotations = {
        "org.cncf.model.filepath": name,
        "org.cncf.model.file.metadata+json": json.dumps(attributes, separators=(",", ":")),
        "org.cncf.model.file.mediatype.untested": "false",
    }
    return Part(media_type, content, annotations)


def _config(model: Finished, layers: Sequence[Part]) -> dict[str, Any]:
    facts, general = model.facts, model.metadata
    family = str(facts.get("model_family") or "")
    descriptor: dict[str, Any] = {"family": family, "name": model.name.model, "version": model.name.tag}
    descriptor |= {ours: general.get(f"general.{key}") for ours, key in _GENERAL.items()}
    if isinstance(license := general.get("general.license"), str):
        descriptor["licenses"] = [license]
    is_float = model.ftype in FLOATS
    config = {
        "architecture": "transformer",
        "format": "gguf",
        "paramSize": param_size(str(facts.get("model_type") or "")),
        "precision": model.ftype.lower() if is_float else "",
        "quantization": "" if is_float else model.ftype,
    }
    return {
        "descriptor": {key: value for key, value in descriptor.items() if isinstance(value, str | list) and value},
        "modelfs": {"type": "layers", "diffIds": [layer.digest for layer in layers]},
        "config": {key: value for key, value in config.items() if value},
    }


_GENERAL = {
    "title": "name",
    "vendor": "organization",
    "description": "description",
    "sourceURL": "source.url",
    "docURL": "url",
}
"""Member of the descriptor -> the key of a GGUF that says it."""


def param_size(text: str) -> str:
    """A number of weights as Ollama shows it, with at most one digit after the point: '1.24M' -> '1.2m'."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMBT])", text)
    if not found:
        return ""
    count = f"{float(found[1]):.1f}".removesuffix(".0")
    return f"{count}{found[2].lower()}"


def tree(models: Sequence[Finished], folder: str) -> Iterator[Entry]:
    return layout(models, artifact)


def said(models: Sequence[Finished], folder: str) -> str:
    return (
        f"to a registry: skopeo copy oci:{folder}:{references_of(models)[models[0].label]} docker://REGISTRY/NAME:TAG"
    )
