"""A repository of GGUF files for a model hub: the names that its runners look for, and a model card with a table of them.

Source: huggingface_hub, "Model Cards" (the YAML front matter) and "Repository limitations" (files of at most 50 GB); Hugging Face,
"GGUF usage with llama.cpp" (a type is chosen by the end of a file's name, a projector by `mmproj`)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelbuild.shapes import _names
from modelbuild.shapes._finished import Entry, Finished, Layer, Text, entries, numbered, part_names
from modelbuild.shapes._seal import sealed
from modelbuild.words import as_text, listed, size

SPLIT = "50GB"

CARD = "README.md"

TASKS = {"text": "text-generation", "embeddings": "feature-extraction"}
"""What a model makes -> the hub's word for it; scores may be for texts that are ranked, or classes of one."""


def tree(models: Sequence[Finished], folder: str) -> Iterator[Entry]:
    stems = _names.typed(models)
    if len({_names.safe(each.name.model).casefold() for each in models}) > 1 or len(set(stems.values())) < len(stems):
        stems = _apart(models, stems)
    shared: dict[str, str] = {}
    rows: list[tuple[Finished, str, Layer]] = []
    for model in models:
        rows.append((model, stems[model.label], model.model))
        yield from entries("", stems[model.label], model.model, model.label)
        for layer, number in numbered(model, ["projector", "adapter", "draft"]):
            stem = _beside(model, stems[model.label], layer, number)
            while shared.get(stem, layer.digest) != layer.digest:
                stem += "-" + stems[model.label]
            if stem not in shared:
                shared[stem] = layer.digest
                rows.append((model, stem, layer))
                yield Entry(f"{stem}.gguf", layer.copy, model.label)
    texts = dict.fromkeys(layer.text or "" for model in models for layer in model.of("license"))
    for count, text in enumerate(texts, 1):
        name = "LICENSE" if len(texts) == 1 else f"LICENSE-{count}"
        yield Entry(name, Text(text.encode("utf-8", "surrogatepass")))
    made = [each for each in models if each.is_made]
    card = _card(made, [row for row in rows if row[0].is_made])
    yield Entry(CARD, Text(sealed(card, "\n<!-- {} -->"), certain=False))


def said(models: Sequence[Finished], folder: str) -> str:
    return f"to the hub: hf upload OWNER/NAME {folder}"


def _apart(models: Sequence[Finished], stems: Mapping[str, str]) -> dict[str, str]:
    """Stems that no two models share, though they may be of different publishers."""
    counts = Counter(stem.casefold() for stem in stems.values())
    return {
        each.label: stems[each.label] if counts[stems[each.label].casefold()] == 1 else _names.safe(each.stem)
        for each in models
    }


def _beside(model: Finished, stem: str, layer: Layer, number: str) -> str:
    if layer.kind == "projector":
        return "-".join(filter(None, ["mmproj", _names.safe(model.name.model), number]))
    return "-".join(filter(None, [stem, layer.kind, number]))


# The card


def _card(models: Sequence[Finished], rows: Sequence[tuple[Finished, str, Layer]]) -> str:
    title = " and ".join(dict.fromkeys(each.name.model for each in models))
    lines = ["---", _front(models).rstrip("\n"), "---", "", f"# {_plain(title)}", ""]
    described = dict.fromkeys(_plain(str(each.metadata.get("general.description") or "")) for each in models)
    lines += [text for each in described if each for text in (each, "")]
    lines += ["| file | type | size |", "|---|---|---|"]
    for model, stem, layer in rows:
        for name, part in zip(part_names(stem, layer), layer.files, strict=True):
            what = model.ftype if layer.kind == "model" else layer.kind
            lines.append(f"| `{name}` | {_plain(what)} | {size(part.size)} |")
    lines += ["", "## How they were made", ""]
    by_stem = {model.label: stem for model, stem, layer in rows if layer.kind == "model"}
    lines += [
        f"- `{by_stem[each.label]}`: {'; '.join(map(_plain, each.history)) or 'taken as it is'}" for each in models
    ]
    uses: dict[tuple[str, ...], list[str]] = {}
    for model in models:
        uses.setdefault(tuple(_use(model)), []).append(f"`{by_stem[model.label]}`")
    for use, named in uses.items():
        lines += (
            ["", "## Parameters" if len(uses) == 1 else f"## Parameters of {listed(named)}", "", *use] if use else []
        )
    return "\n".join([*lines, ""])


def _use(model: Finished) -> list[str]:
    """The parameters and the system text that a model is meant to be run with."""
    found = [f"- `{key}`: {_code(value)}" for key, value in model.parameters.items()]
    system = next((layer.text for layer in model.of("system") if layer.text), None)
    if system:
        fence = "~" * max(3, 1 + max((len(each) for each in re.findall(r"~+", system)), default=0))
        found += [*([""] if found else []), "System text:", "", fence, system.rstrip("\n"), fence]
    return found


def _front(models: Sequence[Finished]) -> str:
    import yaml  # type: ignore[import-untyped, unused-ignore]

    found: dict[str, Any] = {"library_name": "gguf"}
    tasks = {TASKS.get(each.answers) for each in models}
    if len(tasks) == 1 and (task := tasks.pop()):
        found["pipeline_tag"] = task
    general = [each.metadata for each in models]
    if license := _same(general, "general.license"):
        found["license"] = license
        for ours, key in (("license_name", "general.license.name"), ("license_link", "general.license.link")):
            found |= {ours: said} if (said := _same(general, key)) else {}
    if languages := _same(general, "general.languages"):
        found["language"] = languages
    if bases := _bases(general):
        found["base_model"] = bases
        found["base_model_relation"] = "quantized"
    tags = _same(general, "general.tags")
    found["tags"] = list(dict.fromkeys(["gguf", *(tags if isinstance(tags, list) else [])]))
    return str(yaml.safe_dump(found, sort_keys=False, allow_unicode=True))


def _same(general: Sequence[Mapping[str, Any]], key: str) -> Any:
    """What all models say under a key; None where they differ."""
    values = [each.get(key) for each in general]
    return values[0] if values and all(each == values[0] for each in values) else None


def _bases(general: Sequence[Mapping[str, Any]]) -> list[str]:
    """The repositories that the models say they are made from, as the hub names them."""
    found: dict[str, None] = {}
    for each in general:
        for key, value in each.items():
            if re.fullmatch(r"general\.base_model\.\d+\.repo_url", key) and isinstance(value, str):
                match = re.fullmatch(r"https://huggingface\.co/([\w.-]+/[\w.-]+)/?", value)
                if match:
                    found[match[1]] = None
    return list(found)


def _plain(text: str) -> str:
    """A text in one line of Markdown that means nothing else."""
    return re.sub(r"([\\`*\[\]<>|#]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))


def _code(value: Any) -> str:
    """A value, or each of several, as code."""
    texts = [" ".join(as_text(each).split()) for each in (value if isinstance(value, list) else [value])]
    return ", ".join(f"`` {each} ``" if "`" in each else f"`{each}`" for each in texts)
