"""Special tokens: their ids, the flags that say when they are added, chat templates and normalizer flags, as `tokenizer.*` metadata.

Source: gguf-py vocab.py (SpecialVocab) and gguf_writer.py (add_chat_template).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tokenizers.classes import SPECIAL
from modelbuild.checkpoint.tokenizers.fast import content, items
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value

TEMPLATES_LIMIT = 16 << 20
"""Characters of all chat templates of a folder."""

_KEYS = {
    "bos": "bos", "eos": "eos", "unk": "unknown", "sep": "seperator", "pad": "padding", "mask": "mask", "eot": "eot", "eom": "eom",
}  # fmt: skip
"""Kind of special token -> its word in `tokenizer.ggml.…_token_id`; the misspelling is GGUF's own."""
KINDS = tuple(_KEYS.values())


def special_tokens(
    checkpoint: Checkpoint,
    *,
    count: int | None = None,
    types: Sequence[str] = SPECIAL,
    fixed: Mapping[str, int] | None = None,
) -> Values:
    """The metadata on all kinds of special tokens.

    count  ids from here on are left out
    types  the kinds of tokens to look for
    fixed  ids for kinds of tokens that the files say nothing of
    """
    found = _SpecialTokens(checkpoint, count, tuple(types))
    for name, number in (fixed or {}).items():
        found.set_id(name, number)
    values: Values = {}
    for name, number in found.ids.items():
        if name in _KEYS:
            values[f"tokenizer.ggml.{_KEYS[name]}_token_id"] = encode_value("u32", number)
    for name, flag in found.flags.items():
        if name in ("bos", "eos", "sep"):
            values[f"tokenizer.ggml.add_{name}_token"] = encode_value("bool", flag)
    values |= _templates(found.template)
    for name, flag in found.normalizer.items():
        values[f"tokenizer.ggml.normalizer.{name}"] = encode_value("bool", flag)
    return values


class _SpecialTokens:
    """What the files say of special tokens: first the tokenizer itself, then tokenizer_config.json, then config.json."""

    def __init__(self, checkpoint: Checkpoint, count: int | None, types: tuple[str, ...]) -> None:
        self.count = count
        self.types = types
        self.ids: dict[str, int] = {}
        self.flags: dict[str, bool] = {}
        self.normalizer: dict[str, bool] = {}
        self.template: Any = None
        tokenizer = checkpoint.json("tokenizer.json") or {}
        # What the tokenizer does corrects what the configuration says, where there is one.
        self._config = dict(checkpoint.tokenizer_config)
        self._named = {name: self._config.get(f"{name}_token") for name in ("bos", "cls", "eos", "sep")}
        if tokenizer:
            self._read_normalizer(tokenizer.get("normalizer"))
            self._read_post_processor(tokenizer.get("post_processor"))
        if self._config:
            self._read_config(items(tokenizer.get("added_tokens")), checkpoint)
        root = checkpoint.config
        text = root.get("text_config")
        for name in self.types:
            value = root.get(f"{name}_token_id")
            if value is None and isinstance(text, dict):
                value = text.get(f"{name}_token_id")
            self.set_id(name, value)

    def set_id(self, name: str, value: Any, text: str = "") -> None:
        """Take an id, as config.json gives it, or tokenizer.json for a text."""
        if not isinstance(value, int):
            return
        if value < 0 and text:
            raise Error(f"'{text}' expects the id of a token, got {value}", path="tokenizer.json")
        if value < 0:
            raise Error(f"'{name}_token_id' expects the id of a token, got {value}", path="config.json")
        if self.count is None or value < self.count:
            self.ids.setdefault(name, value)

    def _read_config(self, added: Sequence[Any], checkpoint: Checkpoint) -> None:
        config = self._config
        template = config["chat_template"] if "chat_template" in config else _template_files(checkpoint)
        self.template = template if isinstance(template, str | list) else None
        ids: dict[str, Any] = {}
        for entry in added:
            if isinstance(entry, dict) and isinstance(entry.get("content"), str):
                ids.setdefault(entry["content"], entry.get("id"))
        for name in self.types:
            flag = config.get(f"add_{name}_token")
            if isinstance(flag, bool):
                self.flags.setdefault(name, flag)
            text = content(config.get(f"{name}_token"))
            if isinstance(text, str):
                self.set_id(name, ids.get(text), text)

    def _read_normalizer(self, normalizer: Any) -> None:
        name = _of(normalizer, "type")
        if name == "Lowercase":
            self.normalizer["lowercase"] = True
        elif name == "StripAccents":
            self.normalizer["strip_accents"] = True
        elif name == "BertNormalizer":
            for flag in ("lowercase", "strip_accents"):
                if normalizer.get(flag) is not None:
                    self.normalizer[flag] = bool(normalizer[flag])
        elif name == "Sequence":
            for part in items(normalizer.get("normalizers")):
                self._read_normalizer(part)

    def _learn(self, name: str, text: Any) -> None:
        self._named[name] = text
        if self._config:
            self._config[f"{name}_token"] = text

    def _read_post_processor(self, processor: Any) -> None:
        named = self._named
        for name, other in (("bos", "cls"), ("eos", "sep")):
            if not named[name] and named[other]:
                self._learn(name, named[other])
        parts = items(processor.get("processors", [processor])) if isinstance(processor, dict) else []
        for part in parts:
            name = _of(part, "type")
            if name == "ByteLevel":
                self.flags.setdefault("bos", False)
                self.flags.setdefault("eos", False)
            elif name == "RobertaProcessing":
                self.flags |= {"bos": True, "eos": True, "sep": True}
                for key, other in (("cls", "bos"), ("sep", "eos")):
                    if not named[key] and self._config:
                        found = items(part.get(key))
                        self._learn(key, found[0] if found else named[other])
            elif name == "TemplateProcessing":
                self._read_template(items(part.get("single")), items(part.get("pair")))

    def _read_template(self, single: list[Any], pair: list[Any]) -> None:
        """Whether a template puts special tokens first, last and between, judged by its ends alone."""
        named = self._named
        first = _special(single[0]) if len(single) > 1 else None
        last = _special(single[-1]) if len(single) > 1 else None
        if first:
            if first not in (named["bos"], named["cls"]):
                for name in ("bos", "cls") if self._config else ("bos",):
                    if not named[name] or not self._config:
                        self._learn(name, first)
            self.flags["bos"] = first in (named["bos"], named["cls"])
        if last:
            if last != named["eos"]:
                # The token that ended a text until now is kept as the one that ends a turn.
                kept = next((name for name in ("eot", "eom") if name not in self.types), None)
                if self._config and kept:
                    self.types += (kept,)
                    self._config[f"{kept}_token"] = named["eos"]
                self._learn("eos", last)
            self.flags["eos"] = True
        start = 1 if pair and first and _special(pair[0]) == first else 0
        stop = -1 if pair and last and _special(pair[-1]) == last else None
        inner = pair[start:stop]
        if len(inner) < 3 or (_of(inner[0], "Sequence", "id"), _of(inner[-1], "Sequence", "id")) != ("A", "B"):
            return
        between = [_special(part) for part in inner[1:-1]]
        ends = [text for text in (named["sep"], named["eos"]) if text]
        add = (between[0] in ends and not last) or (len(between) == 2 and between[1] in ends)
        self.flags["sep"] = add
        if add and not named["sep"] and self._config:
            self._config["sep_token"] = named["eos"]


def _of(value: Any, *keys: str) -> Any:
    """What stands below some keys, one within the other; None where one of them is missing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _special(part: Any) -> Any:
    return _of(part, "SpecialToken", "id")


def _template_files(checkpoint: Checkpoint) -> Any:
    """The chat template of a folder whose tokenizer_config.json has none: a text, or a list of named ones."""
    text = checkpoint.text("chat_template.jinja")
    if text is None:
        return (checkpoint.json("chat_template.json") or {}).get("chat_template")
    folder, suffix = "additional_chat_templates/", ".jinja"
    named = sorted(name for name in checkpoint.names if name.startswith(folder) and name.endswith(suffix))
    found, size = [], len(text)
    for name in named:
        template = checkpoint.text(name)
        if template is None:
            continue
        size += len(template)
        if size > TEMPLATES_LIMIT:
            raise Error(
                f"the chat templates have more than {TEMPLATES_LIMIT:,} characters",
                path=name,
                hint="the longest of a real model have some 30,000: remove the ones that are not chat templates",
            )
        found.append({"name": name.removeprefix(folder).removesuffix(suffix), "template": template})
    return [{"name": "default", "template": text}, *found] if found else text


def _templates(template: Any) -> Values:
    if isinstance(template, str):
        return {"tokenizer.chat_template": encode_value("str", template)} if template else {}
    values: Values = {}
    names = []
    default = ""
    for choice in template or []:
        if not isinstance(choice, dict) or not isinstance(choice.get("template"), str | None):
            raise Error("'chat_template' expects a text or a list of named templates", path="tokenizer_config.json")
        text = choice.get("template")
        name = re.sub("[^A-Za-z0-9]", "_", str(choice.get("name", "")))
        if not name or text is None:
            continue
        if name == "default":
            default = text
            continue
        names.append(name)
        if text:
            values[f"tokenizer.chat_template.{name}"] = encode_value("str", text)
    if names:
        # llama.cpp writes these names in no certain order.
        values["tokenizer.chat_templates"] = encode_value("[str]", list(dict.fromkeys(names)))
    if default:
        values["tokenizer.chat_template"] = encode_value("str", default)
    return values
