"""The `general.*` metadata of a model, from its card (README.md), its configuration and its folder's name.

Source: gguf-py metadata.py (Metadata.load, get_model_id_components, set_gguf_meta_model) and utility.py (size_label).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from datetime import date
from itertools import chain
from math import prod
from typing import Any

from modelbuild import bounded_json
from modelbuild.checkpoint import front_matter
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.metadata import FIELDS, SAMPLING, Values
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.tensor import Shape
from modelbuild.tuples import NamedTuple
from modelbuild.words import in_json


class ParameterCounts(NamedTuple):
    """How many parameters a model has: in all, outside its experts, in one expert of each kind, and how many experts.

    Of an adapter, `total` is the number that it changes, less than zero.
    """

    total: int
    shared: int
    expert: int
    experts: int


def count_parameters(tensors: Iterable[tuple[str, Shape]]) -> ParameterCounts:
    """Count over the tensors of the file to be made (GGUFWriter.get_total_parameter_count)."""
    total = shared = expert = experts = stacked = 0
    for name, shape in tensors:
        size = prod(shape)
        total += size
        if "_exps." in name and len(shape) >= 3:
            count = shape[-2] if ".bias" in name else shape[-3]
            expert += size // count
            experts += count
            stacked += 1
        else:
            shared += size
    return ParameterCounts(total, shared, expert, experts // stacked if stacked else 0)


def size_label(parameters: ParameterCounts) -> str:
    """`1.2B`, or `8x7B` for a model of experts."""
    if parameters.experts:
        return f"{parameters.experts}x{_rounded(parameters.shared + parameters.expert)}"
    return _rounded(parameters.total)


def _rounded(count: int) -> str:
    for limit, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (0, "K")):
        if count > limit or not limit:
            scaled = count * {"T": 1e-12, "B": 1e-9, "M": 1e-6, "K": 1e-3}[suffix]
            digits = max(2 - len(str(round(scaled)).lstrip("0")), 0)
            return f"{scaled:.{digits}f}{suffix}"
    raise AssertionError


def title(text: str) -> str:
    """A name for people from one for machines: words that are all lower case and no number get a capital."""
    words = text.strip().replace("-", " ").split()
    version = re.compile(r"v\d+(?:\.\d+)*|\d.*")
    return " ".join(word.title() if word.islower() and not version.fullmatch(word) else word for word in words)


@dataclass(frozen=True)
class Id:
    """The parts of a model's id, `organization/basename-size_label-finetune-version`."""

    name: str | None = None
    organization: str | None = None
    basename: str | None = None
    finetune: str | None = None
    version: str | None = None
    size_label: str | None = None


ID_LIMIT = 4096
"""Characters of a model's id. Hugging Face takes 96 of a name."""


def parse_id(text: str, total: int) -> Id:
    """Guess the parts of a model's id; a size far from that of a model of `total` parameters is taken for a context length."""
    if " " in text or len(text) > ID_LIMIT:
        return Id(text)
    organization, slash, name = text.partition("/")
    if not slash:
        organization, name = "", text
    if organization.startswith("."):
        organization, slash = "", ""
    parts = [_part(part, index, total) for index, part in enumerate(filter(None, name.split("-")))]
    if any(c.isdecimal() for part in parts if "size_label" in part.roles for c in part.text):
        for part in parts:
            if part.text.isalpha():
                part.roles.discard("size_label")
    _find_basename(parts)

    def joined(role: str, *without: str) -> str | None:
        found = [part.text for part in parts if role in part.roles and not part.roles & {*without}]
        return "-".join(dict.fromkeys(found) if role == "size_label" else found) or None

    basename, size, finetune = joined("basename"), joined("size_label"), joined("finetune")
    version = joined("version", "basename")
    if size is None and finetune is None and version is None:
        basename = None
    return Id(name, organization if slash else None, basename, finetune, version, size)


@dataclass
class _Part:
    text: str
    roles: set[str]


def _part(text: str, index: int, total: int) -> _Part:
    def matches(pattern: str) -> bool:
        return re.fullmatch(pattern, text, re.IGNORECASE) is not None

    if matches(r"(v|iter)?\d+([.]\d+)*"):
        return _Part(text, {"version"})
    if matches(r"i?q\d(_\w)*|b?fp?(16|32)"):
        return _Part(text.upper(), {"type"})
    if index and matches(r"(([A]|\d+[x])?\d+([._]\d+)?[KMBT][\d]?|small|mini|medium|large|x?xl)"):
        return _size_part(text.replace("_", "."), total)
    if index and total < 0 and matches("lora"):
        return _Part(text, {"type"})
    if index and matches("chat|instruct|vision|lora"):
        return _Part(text, {"finetune"})
    return _Part(text, set())


def _size_part(text: str, total: int) -> _Part:
    if text[-1].isdecimal():
        # 7b1 is 7.1B.
        text = f"{text[:-2]}.{text[-1]}{text[-2]}"
    if text[-2].isdecimal() and text[-1] in "kmbt":
        text = text[:-1] + text[-1].upper()
    try:
        claimed = float(text[:-1]) * 1000.0 ** " KMBT".find(text[-1])
    except ValueError:
        return _Part(text, {"size_label"})
    # An adapter need not change all of its model.
    if (total < 0 and claimed < -total // 8) or (total > 0 and abs(claimed - total) > 7 * total // 8):
        return _Part(text[:-1] + text[-1].lower(), {"finetune"})
    return _Part(text, {"size_label"})


def _find_basename(parts: list[_Part]) -> None:
    at_start = True
    for part in parts:
        if at_start and ((not part.roles and part.text[0].isalpha()) or "version" in part.roles):
            part.roles.add("basename")
            continue
        at_start = False
        part.roles = part.roles or {"finetune"}
    for part in reversed(parts):
        if "basename" not in part.roles or len(part.roles) == 1:
            break
        part.roles.remove("basename")


_SAMPLING_KEYS = {"temp": ("temperature",), "penalty_repeat": ("penalty_repeat", "repetition_penalty")}
"""`general.sampling.…` -> the keys of generation_config.json, the first that is there, where they are not called the same."""


def sampling(checkpoint: Checkpoint) -> Values:
    """The sampling parameters of generation_config.json; none where it cannot be parsed, as in the reference."""
    path = "generation_config.json"
    text = bounded_json.text(checkpoint.read(path) or b"{}", path)
    try:
        config = bounded_json.parse(text, path)
    except Error:
        return {}
    if not isinstance(config, dict):
        raise Error(f"expected a JSON object, got {in_json(config)}", path=path)
    values = {}
    for name, value_type in SAMPLING.items():
        key = next((key for key in _SAMPLING_KEYS.get(name, (name,)) if key in config), None)
        value = config.get(key) if key else None
        if value is None:
            continue
        expected = {"str": str, "i32": int, "f32": (int, float)}[value_type]
        if not isinstance(value, expected):  # type: ignore[arg-type]
            words = {"str": "a text", "i32": "a whole number", "f32": "a number"}
            raise Error(f"'{key}' expects {words[value_type]}, got {in_json(value)}", path=path)
        if isinstance(value, float) and not math.isfinite(value):
            raise Error(f"'{key}' expects a finite number, got {value}", path=path)
        if value != "":
            try:
                values[f"general.sampling.{name}"] = encode_value(value_type, value)
            except Error as error:
                raise Error(f"'{key}': {error.what}", path=path) from None
    return values


_CARD_KEYS = {
    "name": ("name", "model_name"),
    "author": ("author", "model_author", "model_creator"),
    "version": ("version", "model_version"),
    "organization": ("organization", "model_organization"),
    "finetune": ("finetune", "model_finetune"),
    "basename": ("basename", "model_basename", "model_type"),
    "description": ("description", "model_description"),
    "size_label": ("size_label", "model_size_label"),
    "license": ("license",),
    "license.name": ("license_name",),
    "license.link": ("license_link",),
    "source.url": ("url", "model_url"),
    "source.doi": ("doi", "model_doi"),
    "source.uuid": ("uuid", "model_uuid"),
    "source.repo_url": ("repo_url", "model_repo_url"),
}
"""`general.…`, in the order of the file -> the keys of the card, the first that holds something."""

_OTHERS = {
    "base_model": ("base_model", "base_models", "base_model_sources"),
    "dataset": ("datasets", "dataset", "dataset_sources"),
}
_LISTS = {"tags": ("tags", "pipeline_tag"), "languages": ("languages", "language")}
_USED = {key for keys in (_CARD_KEYS, _OTHERS, _LISTS) for names in keys.values() for key in names}

TEXT_LIMIT = 16 << 20
"""Characters of all texts of a card that go into the file, one that YAML repeats by its alias counted each time."""
ITEMS_LIMIT = 10_000
"""Items of a list of a card. The longest real ones, of data sets, have some hundreds."""


def _bounded(card: Mapping[str, Any]) -> Mapping[str, Any]:
    """The card, if what it says takes no more than it should: a few lines of YAML name a long text a thousand times."""
    size = 0
    for key in _USED & card.keys():
        value = card[key]
        if isinstance(value, list) and len(value) > ITEMS_LIMIT:
            what = f"'{key}' has {len(value):,} items, expected at most {ITEMS_LIMIT:,}"
            raise Error(what, path="README.md", hint="keep the ones that describe the model")
        items = value if isinstance(value, list) else [value]
        texts = chain.from_iterable(item.values() if isinstance(item, dict) else [item] for item in items)
        size += sum(len(text) for text in texts if isinstance(text, str))
    if size > TEXT_LIMIT:
        raise Error(
            f"the front matter has {size:,} characters of text, expected at most {TEXT_LIMIT:,}",
            path="README.md",
            hint="a text counts once for each alias that names it: name it once",
        )
    return card


def general(checkpoint: Checkpoint, parameters: ParameterCounts) -> Values:
    """Sampling parameters, then name, author, size and all else that is known of a model, in the order of the file."""
    card = _bounded(front_matter.read(checkpoint))
    found: dict[str, Any] = {}
    for key, names in _CARD_KEYS.items():
        found[key] = next((card[name] for name in names if card.get(name) is not None), None)
    guesses = [checkpoint.folder]
    path = checkpoint.config.get("_name_or_path")
    if isinstance(path, str) and path.count("/") <= 1:
        guesses.insert(0, path)
    for guess in guesses:
        id_ = parse_id(guess, parameters.total)
        for key, value in zip(
            ("name", "organization", "basename", "finetune", "version", "size_label"), astuple(id_), strict=True
        ):
            if found[key] is None and value is not None:
                found[key] = title(value) if key in ("name", "organization") else value
    if found["size_label"] is None and parameters.total > 0:
        found["size_label"] = size_label(parameters)
    if isinstance(found["license"], list):
        found["license"] = ",".join(_text(item, "license") for item in found["license"])
    values = sampling(checkpoint)
    for key in _CARD_KEYS:
        if found[key] is not None and (text := _text(found[key], key)):
            values[f"general.{key}"] = encode_value("str", text)
    for key, names in _OTHERS.items():
        values |= _others(card, names, key, parameters.total)
    for key, names in _LISTS.items():
        items = [_text(item, key) for name in names for item in _listed(card.get(name))]
        if items:
            values[f"general.{key}"] = encode_value("[str]", items)
    return values


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) else value if isinstance(value, list) else []


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        shown = (
            in_json(value)
            if isinstance(value, int | float | list | dict | None)
            else f"the {type(value).__name__} {value}"
            if isinstance(value, date)
            else f"a value of type {type(value).__name__}"
        )
        raise Error(f"'{key}' expects a text, got {shown}", path="README.md", hint="put it in quotes")
    return value


def _others(card: Mapping[str, Any], names: tuple[str, ...], key: str, total: int) -> Values:
    """The models or the data that a model was made from."""
    name = next((name for name in names if name in card), None)
    if name is None:
        return {}
    entries = _listed(card[name])
    values = {f"general.{key}.count": encode_value("u32", len(entries))}
    for index, entry in enumerate(entries):
        facts = _other(entry, total)
        for field in FIELDS:
            if field in facts and (text := _text(facts[field], f"{name}.{field}")):
                values[f"general.{key}.{index}.{field}"] = encode_value("str", text)
    return values


def _other(entry: Any, total: int) -> dict[str, Any]:
    if isinstance(entry, dict):
        return entry
    if not isinstance(entry, str):
        return {}
    facts = {}
    text: str | None = entry
    if address := entry.startswith(("http://", "https://", "ssh://")):
        facts["repo_url"] = entry
        match = re.match(r"https?://huggingface.co/([^/]+/[^/]+)$", entry)
        text = match[1] if match else None
    if text is None:
        return facts
    id_ = parse_id(text, total)
    if id_.name is not None:
        facts["name"] = title(id_.name)
    if id_.organization is not None:
        facts["organization"] = title(id_.organization)
    if id_.version is not None:
        facts["version"] = id_.version
    if not address and id_.organization is not None and id_.name is not None:
        facts["repo_url"] = f"https://huggingface.co/{id_.organization}/{id_.name}"
    return facts
