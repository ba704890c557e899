"""Finished models out of nothing, for shapes to lay out; no file is read."""

from __future__ import annotations

from typing import Any

from modelbuild.digest import sha256
from modelbuild.ollama import manifest as media
from modelbuild.ollama.modelfile.grammar import Command
from modelbuild.ollama.name import Name
from modelbuild.shapes._finished import Copy, Entry, Finished, Layer, Spliced, Text

TYPES = {"model": media.MODEL, "projector": media.PROJECTOR, "adapter": media.ADAPTER, "draft": media.DRAFT,
         "system": media.SYSTEM, "license": media.LICENSE, "params": media.PARAMS}  # fmt: skip

GENERAL = {
    "general.name": "Tale",
    "general.license": "mit",
    "general.tags": ["stories"],
    "general.languages": ["en"],
    "general.base_model.0.repo_url": "https://huggingface.co/acme/tale-base",
    "general.description": "Tells *stories* | short ones",
}


def layer(kind: str, data: bytes, *, parts: int = 1) -> Layer:
    """A layer of some bytes, in parts of equal size."""
    digest, size = sha256(data), len(data)
    cut = [data[len(data) * n // parts : len(data) * (n + 1) // parts] for n in range(parts)]
    text = data.decode() if kind in ("system", "license") else None
    return Layer(
        kind,
        TYPES[kind],
        digest,
        size,
        text,
        tuple(Spliced((each,), sha256(each)) for each in cut) if parts > 1 else (),
    )


def finished(name: str = "tale:q4", ftype: str = "Q4_K_M", *layers: Layer, stem: str = "", **more: Any) -> Finished:
    """A model of a name; without layers it has a model, a system text and a license."""
    parsed = Name.parse(name)
    found = layers or (
        layer("model", f"GGUF of {name}".encode()),
        layer("license", b"MIT\n"),
        layer("system", b"Tell a story."),
    )
    config = b'{"model_format":"gguf","model_family":"llama","model_type":"1.24M","file_type":"Q4_K_M"}'
    given: dict[str, Any] = {
        "commands": (Command("system", "Tell a story."), Command("parameter", "0.5", "temperature")),
        "parameters": {"num_ctx": 2048, "stop": ["<|end|>"], "temperature": 0.5, "use_mmap": True},
        "metadata": GENERAL,
        "history": ("converted from tale-base", "adapter bedtime merged", f"quantized to {ftype}"),
        **more,
    }
    return Finished(
        name,
        parsed,
        stem or f"{parsed.model}-{parsed.tag}",
        ftype,
        found,
        Layer("config", media.CONFIG, sha256(config), len(config), config.decode()),
        b"{}",
        **given,
    )


def printed(entries: list[Entry]) -> str:
    """A tree as a golden has it: each file's size and digest, and the texts."""
    lines = []
    for entry in sorted(entries):
        content = entry.content
        digest = content.digest if isinstance(content, Copy) else ""
        if isinstance(content, Text):
            digest = sha256(content.data)
        flags = " opens" if entry.opens else ""
        lines.append(f"{entry.path}  {content.size}  {digest or 'spliced'}  {entry.label or '(all)'}{flags}")
        if isinstance(content, Text):
            lines += ["    " + line for line in content.data.decode().splitlines()]
    return "\n".join(lines) + "\n"
