"""A variant as a shape is given it: its layers, its texts, how it was made; before the work as far as the plan knows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from modelbuild import steps
from modelbuild.checkpoint import chat
from modelbuild.engine.action import ActionResult
from modelbuild.engine.graph import Output, Step
from modelbuild.errors import Error
from modelbuild.ollama import manifest as media
from modelbuild.ollama.name import Name
from modelbuild.plan import planned
from modelbuild.plan.planned import PlannedLayer
from modelbuild.session import variants
from modelbuild.session.flattened import texts
from modelbuild.session.provenance import Provenance, text_of
from modelbuild.session.session import Session
from modelbuild.shapes._finished import AHEAD, GGUFS, Content, Copy, Finished, Layer, Range, Spliced, Text
from modelbuild.shapes.safetensors import INDEX
from modelbuild.steps import convert, describe, import_, merge, quantize
from modelbuild.tensors import ftypes
from modelbuild.tensors.formats import gguf, safetensors, split
from modelbuild.tensors.formats.limit import Limit
from modelbuild.tensors.recipe import Recipe
from modelbuild.tensors.tensor import TensorTable

FILE = "model.safetensors"

GENERAL_LIMIT = 4096
"""Characters of a text of the GGUF's that a shape is told."""


def ahead(session: Session, output: Output, stem: str) -> Finished:
    """A variant before it is made."""
    provenance = Provenance(session, output)
    return Finished(
        label=output.label,
        name=Name.from_path(output.names[0]),
        stem=stem,
        ftype=_ftype(session, output),
        layers=tuple(
            Layer(each.kind, each.media_type, text=None if each.kind in GGUFS else _small(each))
            for each in provenance.layers
        ),
        config=Layer("config", media.CONFIG),
        commands=tuple(texts(provenance)),
        parameters={name: value.value for name, value in provenance.parameters().items()},
        history=tuple(_history(session, output)),
        checkpoint={"config.json": Text(b"", certain=False), FILE: Copy(AHEAD, 0)} if output.beside else {},
    )


def finished(
    session: Session,
    output: Output,
    before: Finished,
    manifest: ActionResult,
    results: Mapping[str, ActionResult],
    limit: Limit | None = None,
) -> Finished:
    """A variant that is made, from what it was `before`; its model is split if there is a limit.

    Raises Error, and Damaged for an artifact that is gone.
    """
    layers: list[Layer] = []
    metadata: dict[str, Any] = {}
    answers: chat.Answers = "text"
    predicts = False
    for layer, to_be in zip(planned.layers(session.graph, output), before.layers, strict=True):
        made = results[layer.step.name]
        layer_ = replace(to_be, digest=made.artifact, size=made.size)
        if layer.kind == "model" and not metadata:
            table = _table(session, made)
            metadata, answers = dict(_general(table)), chat.answers(table.metadata, table.tensors)
            predicts = any(".nextn." in name for name in table.tensors)
            if limit is not None:
                layer_ = replace(layer_, parts=_parts(table, made, limit))
        layers.append(layer_)
    made = results[output.blobs[0]]
    text = session.store.read(made.artifact).decode("utf-8", "replace")
    config = Layer("config", media.CONFIG, made.artifact, made.size, text)
    ftype = before.ftype or str(json.loads(text).get("file_type") or "")
    return replace(
        before,
        layers=tuple(layers),
        config=config,
        ftype=ftype,
        metadata=metadata,
        answers=answers,
        predicts=predicts,
        manifest=session.store.read(manifest.artifact),
        checkpoint=_checkpoint(session, [results[name] for name in output.beside], limit) if output.beside else {},
    )


def _checkpoint(session: Session, made: Sequence[ActionResult], limit: Limit | None) -> dict[str, Content]:
    """The files of a model's checkpoint: the small ones, its weights in one file or several, and then their index."""
    packed, recipe = made
    found: dict[str, Content] = {
        name: Text(data, certain=False)
        for name, data in Recipe.decode(session.store.read(recipe.artifact)).metadata.items()
    }
    with session.store.open(packed.artifact) as file:
        table = safetensors.table(file.name)
    shards = safetensors.shards(table, limit.size if limit else 0, limit.tensors if limit else 0)
    if len(shards) == 1:
        return {**found, FILE: Copy(packed.artifact, packed.size)}
    weights: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        weights |= dict.fromkeys((tensor.name for tensor in shard.tensors), name)
        start, last = shard.tensors[0].offset, shard.tensors[-1]
        found[name] = Spliced((shard.head, Range(packed.artifact, start, last.offset + last.length - start)))
    total = sum(tensor.length for tensor in table.tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weights.items()))}
    found[INDEX] = Text(json.dumps(index, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass"), certain=False)
    return found


def _small(layer: PlannedLayer) -> str | None:
    return text_of(layer) if layer.kind in ("template", "system", "license") else None


def _table(session: Session, model: ActionResult) -> TensorTable:
    with session.store.open(model.artifact) as file:
        return gguf.header_of(file, model.size, file.name).table


def _parts(table: TensorTable, model: ActionResult, limit: Limit) -> tuple[Copy | Spliced, ...]:
    found = split.parts(table, limit)
    if len(found) < 2:
        return ()
    return tuple(Spliced((part.head, *_ranges(part, model))) for part in found)


def _ranges(part: split.Part, model: ActionResult) -> Iterator[bytes | Range]:
    """The bytes of a part's tensors, each padded with zeros, whatever pads it in the whole file."""
    for tensor in part.tensors:
        yield Range(model.artifact, tensor.offset, tensor.length)
        if padding := -tensor.length % gguf.ALIGNMENT:
            yield bytes(padding)


def _general(table: TensorTable) -> Iterator[tuple[str, Any]]:
    """What a GGUF says of itself for people."""
    for key, data in table.metadata.items():
        if key.startswith("general.") and len(data) < GENERAL_LIMIT:
            try:
                yield key, gguf.decode_value(data)
            except Error:
                continue


def _ftype(session: Session, output: Output) -> str:
    """llama.cpp's name of the type of a variant's model, or the name of its mix; "" where it is not known yet."""
    found = variants.ftype(session, output, None)
    if found is None:
        return ""
    return found.upper() if ftypes.canonical(found) or found in ftypes.FURTHER else found


# How it was made


def _history(session: Session, output: Output) -> Iterator[str]:
    found = list(planned.recipe_steps(session.graph, output))
    if not found and (origin := next((each.origin for each in planned.layers(session.graph, output)), "")):
        yield f"the model file of {_public(origin)}"
    for step in reversed(found):
        yield _phrase(step)


def _public(origin: str) -> str:
    """A model's name without the host of a registry that only this machine or its network knows."""
    name = Name.parse(origin)
    host = name.host.partition(":")[0].lower()
    last = host.rpartition(".")[2]
    is_public = "." in host and ":" not in name.host and last.isalpha() and last not in _PRIVATE
    return origin if is_public else f"{name.namespace}/{name.model}:{name.tag}"


_PRIVATE = ("local", "localhost", "internal", "lan", "home", "corp", "intranet", "test")


def _phrase(step: Step) -> str:
    """What a step does, without a path: nobody else knows the folders of this machine."""
    values = json.loads(step.parameters)
    weights = next((source.path for source in step.sources if source.is_weights), "")
    folder = os.path.basename(os.path.dirname(weights))
    match step.kind:
        case kind if kind == steps.kind_of(convert):
            outtype = values.get("outtype", "source")
            return f"converted from {values.get('folder') or folder}" + (
                "" if outtype in ("source", "auto") else f" to {outtype}"
            )
        case kind if kind == steps.kind_of(import_):
            return f"imported from {os.path.basename(weights)}"
        case kind if kind == steps.kind_of(merge):
            name = os.path.basename(weights) if weights.endswith(".gguf") else folder
            scale = values.get("scale", 1)
            return f"adapter {name} merged" + ("" if scale == 1 else f", times {scale}")
        case kind if kind == steps.kind_of(describe):
            return "metadata set"
        case kind if kind == steps.kind_of(quantize):
            by = f" with the importance matrix {os.path.basename(values['imatrix'])}" if values.get("imatrix") else ""
            mixed = " and rules of its own" if values.get("mix") else ""
            return f"quantized to {values['ftype']}{mixed}{by}"
    return step.kind
