"""The folder of `llama-server --models-dir`, and the file of `--models-preset` with each model's parameters.

Source: llama.cpp tools/server/README.md, "Model sources" and "Model presets"; common/preset.cpp, load_from_models_dir and
parse_ini_from_file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from modelbuild.shapes._finished import Entry, Finished, Layer, Text, entries, numbered
from modelbuild.shapes._seal import sealed

PRESETS = "presets.ini"

SETTINGS = {
    "num_ctx": "ctx-size", "num_batch": "batch-size", "num_gpu": "n-gpu-layers", "main_gpu": "main-gpu", "num_thread": "threads",
    "num_keep": "keep", "seed": "seed", "num_predict": "n-predict", "top_k": "top-k", "repeat_last_n": "repeat-last-n",
    "top_p": "top-p", "min_p": "min-p", "typical_p": "typical-p", "temperature": "temperature", "repeat_penalty": "repeat-penalty",
    "presence_penalty": "presence-penalty", "frequency_penalty": "frequency-penalty", "use_mmap": "load-mode",
    "draft_num_predict": "spec-draft-n-max",
}  # fmt: skip
"""Ollama's parameter -> the server's option without its dashes (common/arg.cpp)."""

ANSWERS = {"text": (), "embeddings": ("embeddings = true",), "scores": ("reranking = true",)}
"""What a model makes -> what the server must be told to have it make that."""

_AMISS = re.compile(r"mmproj|-00001-of-|\.gguf|^(mtp|dspark|dflash)-")
"""What in a file's name makes the server take it for a part of another model, or call the model otherwise."""


def tree(models: Sequence[Finished], folder: str) -> Iterator[Entry]:
    sections = []
    for model in models:
        _ = model.model
        projectors = [layer for layer, _ in numbered(model, ["projector"])]
        beside = [*model.of("adapter", "draft")]
        alone = not projectors and not beside and len(model.model.files) == 1
        if alone and not _AMISS.search(model.stem):
            yield from entries("", model.stem, model.model, model.label)
        else:
            # In a folder of its own the name of the folder is the model's, and any name will do for the file.
            stem = "model" if _AMISS.search(model.stem) else model.stem
            yield from entries(f"{model.stem}/", stem, model.model, model.label)
            for projector, number in numbered(model, ["projector"]):
                name = "-".join(filter(None, ["mmproj", number]))
                yield Entry(f"{model.stem}/{name}.gguf", projector.copy, model.label)
        paths = []
        for layer, number in numbered(model, ["adapter", "draft"]):
            # One level below, where the server does not take it for the model.
            path = f"{model.stem}/beside/{'-'.join(filter(None, [layer.kind, number]))}.gguf"
            paths.append((layer, f"{folder.rstrip('/')}/{path}"))
            yield Entry(path, layer.copy, model.label)
        if model.is_made:
            sections.append(_section(model, paths))
    presets = sealed("version = 1\n" + "".join(sections), "\n; {}")
    yield Entry(PRESETS, Text(presets, certain=False))


def said(models: Sequence[Finished], folder: str) -> str:
    return f"in llama.cpp: llama-server --models-dir {folder} --models-preset {folder}/{PRESETS}"


def _section(model: Finished, beside: Sequence[tuple[Layer, str]]) -> str:
    lines = [f"\n[{model.stem}]", *ANSWERS[model.answers]]
    for key, value in model.parameters.items():
        lines += _setting(key, value)
    loras = [path for layer, path in beside if layer.kind == "adapter"]
    drafts = [path for layer, path in beside if layer.kind == "draft"]
    if loras:
        # A comma stands between several.
        lines += _line("lora", ",".join(loras))
    if drafts:
        lines += _line("spec-draft-model", drafts[0])
    elif model.predicts:
        lines += _line("spec-type", "draft-mtp")
    for kind in ("system", "messages"):
        if any(model.of(kind)):
            lines.append(f"; the server has no setting for {kind.upper()}: send it with each request")
    return "\n".join(lines) + "\n"


def _setting(key: str, value: Any) -> list[str]:
    if key == "stop":
        words = value if isinstance(value, list) else [value]
        if len(words) == 1 and _is_plain(words[0]):
            return _line("reverse-prompt", words[0])
        return [
            "; the server takes one text to stop at: send these with each request",
            *(f";   {_shown(each)}" for each in words),
        ]
    name = SETTINGS.get(key)
    if name is None:
        return [f"; the server has no setting for {_shown(key)}: {_shown(value)}"]
    if key == "use_mmap":
        value = "mmap" if value else "none"
    return _line(name, str(value))


def _line(name: str, value: str) -> list[str]:
    if not _is_plain(value):
        return [f"; {name} cannot be said here: a value holds no line end, no ';' and no '#': {_shown(value)}"]
    return [f"{name} = {value}"]


def _is_plain(text: str) -> bool:
    """Whether a text reads back from a line of the file as it is."""
    return not re.search(r"[;#\r\n\0]", text) and text == text.strip(" \t") != ""


def _shown(value: Any) -> str:
    return re.sub(r"[\x00-\x1f\x7f]", lambda found: repr(found[0])[1:-1], str(value))
