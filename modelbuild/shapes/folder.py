"""GGUF files and a Modelfile that names them, as `ollama create -f` reads it (Ollama, docs/modelfile.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelbuild.ollama import modelfile
from modelbuild.ollama.modelfile.grammar import Command
from modelbuild.shapes._finished import GGUFS, Entry, Finished, Text, entries, numbered, part_names
from modelbuild.shapes._seal import sealed

SERVED = {"embeddings": "--embedding", "scores": "--rerank"}
"""What a model makes that is not text -> the option of llama-server; Ollama makes no scores."""

INSTRUCTIONS = {"model": "from", "projector": "from", "adapter": "adapter", "draft": "draft"}


def tree(models: Sequence[Finished], folder: str) -> Iterator[Entry]:
    for model in models:
        _ = model.model
        named = {id(layer): stem for layer, stem in _stems(model)}
        commands = []
        for layer in model.of(*GGUFS):
            yield from entries("", named[id(layer)], layer, model.label)
            first = part_names(named[id(layer)], layer)[0]
            commands.append(Command(INSTRUCTIONS[layer.kind], f"./{first}"))
        text = f"# {model.stem}\n{modelfile.render([*commands, *model.commands])}"
        yield Entry(name_of(model, models), Text(sealed(text, "# {}")), model.label)


def said(models: Sequence[Finished], folder: str) -> str:
    shown = next((each for each in models if each.answers == "text"), models[0])
    file = f"{folder}/{name_of(shown, models)}"
    if shown.answers == "text":
        ways = [f"try it: modelbuild run {file}"]
    else:
        weights = part_names(next(stem for layer, stem in _stems(shown) if layer is shown.model), shown.model)[0]
        ways = [f"in llama.cpp: llama-server -m {folder}/{weights} {SERVED[shown.answers]}"]
    if shown.answers != "scores" and not any(layer.parts for layer in shown.layers):
        ways.append(f"in Ollama: ollama create NAME -f {file}")
    return "; ".join(ways)


def name_of(model: Finished, models: Sequence[Finished]) -> str:
    """What the Modelfile of a model is called."""
    return "Modelfile" if len(models) == 1 else f"{model.stem}.Modelfile"


def _stems(model: Finished) -> Iterator[tuple[object, str]]:
    for layer, number in numbered(model, list(GGUFS)):
        yield layer, "-".join(filter(None, [model.stem, GGUFS[layer.kind], number]))
