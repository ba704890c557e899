"""Whether the adapters of a base's manifest and a draft fit the model, which the runtime refuses otherwise.

`adapt` looks at the adapters of a variant.

Source: llama.cpp src/llama-adapter.cpp (llama_adapter_lora_init_impl)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from modelbuild.engine.graph import Graph, Source, Step
from modelbuild.errors import Error
from modelbuild.ollama import manifest as media
from modelbuild.words import listed, plural, shown

if TYPE_CHECKING:
    from modelbuild.tensors.tensor import Shape, TensorTable

Shapes = Mapping[str, "Shape"]
"""The tensors of a model's file, by name."""

SPARE = 128
"""Tokens by which a draft that is a model of its own may differ: padding of the vocabulary (SPEC_VOCAB_MAX_SIZE_DIFFERENCE)."""


def misfits(
    step: Step, graph: Graph, table: Callable[[Source], TensorTable], made: Callable[[str], Shapes | None]
) -> Iterator[Error]:
    """What is wrong with the adapters and the draft of a manifest, which its step makes.

    table  reads the head of a source
    made   the tensors of the file that a recipe becomes, by the step that makes it; None where that is not known
    """
    refs = {role: ref for role, ref in step.inputs if isinstance(ref, str)}
    layers = [
        (kind, graph.steps[refs[str(number)]]) for number, (kind, _) in enumerate(json.loads(step.parameters)["layers"])
    ]
    model = next((each for kind, each in layers if kind == media.MODEL), None)
    if model is None:
        return
    shapes: Shapes | None = None
    for kind, each in layers:
        source = next(each.sources, None)
        if kind == media.DRAFT:
            own, shapes = _shapes(each, table, made), shapes or _shapes(model, table, made)
            if own is not None and shapes is not None and (error := _apart(own, shapes)) is not None:
                yield error.replace(path=source.path) if source is not None else error
            continue
        if kind != media.ADAPTER or source is None or next(each.needs, None) is not None:
            continue
        if shapes is None:
            shapes = _shapes(model, table, made)
        if shapes is not None and (error := _misfit(table(source), shapes)) is not None:
            yield error.replace(path=source.path)


def _shapes(model: Step, table: Callable[[Source], TensorTable], made: Callable[[str], Shapes | None]) -> Shapes | None:
    if (recipe := next(model.needs, None)) is not None:
        return made(recipe)
    source = next(model.sources, None)
    return {name: tensor.shape for name, tensor in table(source).tensors.items()} if source is not None else None


def _apart(draft: Shapes, model: Shapes) -> Error | None:
    """The error for a draft of other tokens, or one that goes on from the states of a model of another size.

    Source: llama.cpp common/speculative.cpp, src/models/gemma4-assistant.cpp
    """
    joint, embedding = draft.get("nextn.post_projection.weight"), model.get("token_embd.weight")
    own = draft.get("token_embd.weight")
    if own is not None and embedding is not None and abs(own[0] - embedding[0]) > (0 if joint else SPARE):
        return Error(
            "the draft has other tokens than the model",
            facts=[("the model", f"{embedding[0]:,} tokens"), ("the draft", f"{own[0]:,} tokens")],
            hint="name the draft that was made for this model in DRAFT",
        )
    if joint is None or embedding is None or len(joint) != 2 or len(embedding) != 2 or joint[0] == embedding[1]:
        return None
    return Error(
        "the draft belongs to another model",
        facts=[("the model", f"states of {embedding[1]:,} values"), ("the draft", f"goes on from {joint[0]:,} values")],
        hint="name the draft that was made for this model in DRAFT",
    )


def _misfit(adapter: TensorTable, shapes: Shapes) -> Error | None:
    """The error for the factors of an adapter whose matrix a model lacks, or has in another shape."""
    hint = "the adapter is another model's; name the base that it was trained on in FROM"
    halves = [(name.rpartition("."), tensor.shape) for name, tensor in adapter.tensors.items()]
    factors = [(stem, half, shape) for (stem, _, half), shape in halves if half in ("lora_a", "lora_b")]
    missing = list(dict.fromkeys(stem for stem, _, _ in factors if stem not in shapes))
    if missing:
        what = f"the adapter changes {plural(len(missing), 'tensor')} that the model does not have"
        return Error(what, facts=[("tensors", listed(map(shown, missing), 6))], hint=hint)
    for stem, half, shape in factors:
        rows, columns = ((1, 1) + tuple(shapes[stem]))[-2:]
        if stem == "token_embd.weight":
            # Its rows are looked up, and so are those of lora_a.
            wanted, got = (rows, shape[:1]) if half == "lora_a" else (columns, shape[:1])
        else:
            wanted, got = (columns, shape[-1:]) if half == "lora_a" else (rows, shape[-2:-1])
        if got != (wanted,):
            facts = [("the model", f"{list(shapes[stem])}"), (half, f"{list(shape)}")]
            return Error(f"the adapter does not fit the model's '{shown(stem)}'", facts=facts, hint=hint)
    return None
