"""Special tokens: their ids, the flags that say when they are added, chat templates and normalizer flags, as `tokenizer.*` metadata.

Source: gguf-py vocab.py (SpecialVocab) and gguf_writer.py (add_chat_template).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_letters, digits
from typing import Any

from modelbuild.checkpoint import Checkpoint
from modelbuild.errors import Error
from modelbuild.fast_tokenizer import SPECIAL, content
from modelbuild.formats.gguf import encode_value

Values = dict[str, bytes]

_KEYS = {
    "bos": "bos", "eos": "eos", "unk": "unknown", "sep": "seperator", "pad": "padding", "mask": "mask", "eot": "eot", "eom": "eom",
}  # fmt: skip
"""Kind of special token -> its word in `tokenizer.ggml.…_token_id`; the misspelling is GGUF's own."""


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
    def __init__(self, checkpoint: Checkpoint, count: int | None, types: tuple[str, ...]) -> None:
        self.count = count
        self.types = types
        self.ids: dict[str, int] = {}
        self.flags: dict[str, bool] = {}
        self.normalizer: dict[str, bool] = {}
        self.template: Any = None
        tokenizer = checkpoint.json("tokenizer.json")
        # The configuration is changed below by what the tokenizer says of itself.
        config = dict(checkpoint.tokenizer_config)
        if tokenizer:
            if isinstance(normalizer := tokenizer.get("normalizer"), dict):
                self._normalizer(normalizer)
            self._post_processor(tokenizer.get("post_processor"), config)
        if config:
            self._from_config(config, tokenizer or {}, checkpoint)
        root = checkpoint.config
        text = root.get("text_config")
        text = text if isinstance(text, dict) else {}
        for name in self.types:
            value = root.get(f"{name}_token_id")
            self.set_id(name, text.get(f"{name}_token_id") if value is None else value)

    def set_id(self, name: str, value: Any) -> None:
        if not isinstance(value, int):
            return
        if value < 0:
            raise Error(f"'{name}_token_id' expects the id of a token, got {value}", path="config.json")
        if self.count is None or value < self.count:
            self.ids.setdefault(name, value)

    def _from_config(self, config: dict[str, Any], tokenizer: dict[str, Any], checkpoint: Checkpoint) -> None:
        template = config["chat_template"] if "chat_template" in config else _template_files(checkpoint)
        self.template = template if isinstance(template, str | list) else None
        added: dict[str, Any] = {}
        for entry in tokenizer.get("added_tokens") or []:
            if isinstance(entry, dict) and isinstance(entry.get("content"), str):
                added.setdefault(entry["content"], entry.get("id"))
        for name in self.types:
            flag = config.get(f"add_{name}_token")
            if isinstance(flag, bool):
                self.flags.setdefault(name, flag)
            text = content(config.get(f"{name}_token"))
            if isinstance(text, str):
                self.set_id(name, added.get(text))

    def _normalizer(self, normalizer: dict[str, Any]) -> None:
        name = normalizer.get("type")
        if name == "Lowercase":
            self.normalizer["lowercase"] = True
        elif name == "StripAccents":
            self.normalizer["strip_accents"] = True
        elif name == "BertNormalizer":
            for flag in ("lowercase", "strip_accents"):
                if normalizer.get(flag) is not None:
                    self.normalizer[flag] = bool(normalizer[flag])
        elif name == "Sequence":
            for part in normalizer.get("normalizers") or []:
                self._normalizer(part)

    def _post_processor(self, processor: Any, config: dict[str, Any]) -> None:
        bos, cls, eos, sep = (config.get(f"{name}_token") for name in ("bos", "cls", "eos", "sep"))
        if not bos and cls and config:
            config["bos_token"] = bos = cls
        if not eos and sep and config:
            config["eos_token"] = eos = sep
        if not isinstance(processor, dict):
            return
        for part in processor.get("processors", [processor]):
            kind_of = part.get("type")
            if kind_of == "ByteLevel":
                self.flags.setdefault("bos", False)
                self.flags.setdefault("eos", False)
            elif kind_of == "RobertaProcessing":
                self.flags |= {"bos": True, "eos": True, "sep": True}
                if not cls and config:
                    config["cls_token"] = cls = part.get("cls", [bos])[0]
                if not sep and config:
                    config["sep_token"] = sep = part.get("sep", [eos])[0]
            elif kind_of == "TemplateProcessing":
                bos, cls, eos, sep = self._template(part, config, bos, cls, eos, sep)

    def _template(
        self, part: dict[str, Any], config: dict[str, Any], bos: Any, cls: Any, eos: Any, sep: Any
    ) -> tuple[Any, Any, Any, Any]:
        """Whether a template puts special tokens first, last and between, judged by its ends alone."""
        single, pair = part.get("single") or [], part.get("pair") or []
        first = last = None
        if len(single) > 1:
            if first := _special_of(single[0]):
                if not config:
                    bos = first
                elif first not in (bos, cls):
                    if not bos:
                        config["bos_token"] = bos = first
                    if not cls:
                        config["cls_token"] = cls = first
                self.flags["bos"] = first in (bos, cls)
            if last := _special_of(single[-1]):
                if not config:
                    eos = last
                elif last != eos:
                    # The token that ended a text until now is kept as the one that ends a turn.
                    for name in ("eot", "eom"):
                        if name not in self.types:
                            self.types += (name,)
                            config[f"{name}_token"] = eos
                            break
                    config["eos_token"] = eos = last
                self.flags["eos"] = last == eos
        if pair:
            start = 1 if first and _special_of(pair[0]) == first else 0
            stop = -1 if last and _special_of(pair[-1]) == last else None
            inner = pair[start:stop]
            if inner and _sequence_of(inner[0]) == "A" and _sequence_of(inner[-1]) == "B" and (between := inner[1:-1]):
                ends = (sep, eos)
                add = _special_of(between[0]) in ends and bool(_special_of(between[0])) and not last
                add = add or (len(between) == 2 and bool(_special_of(between[1])) and _special_of(between[1]) in ends)
                self.flags["sep"] = add
                if add and not sep and config:
                    config["sep_token"] = eos
        return bos, cls, eos, sep


def _special_of(entry: Any) -> Any:
    return entry.get("SpecialToken", {}).get("id")


def _sequence_of(entry: Any) -> Any:
    return entry.get("Sequence", {}).get("id")


def _template_files(checkpoint: Checkpoint) -> Any:
    """The chat template of a folder whose tokenizer_config.json has none: a text, or a list of named ones."""
    text = checkpoint.text("chat_template.jinja")
    if text is None:
        return (checkpoint.json("chat_template.json") or {}).get("chat_template")
    folder, suffix = "additional_chat_templates/", ".jinja"
    named = sorted(name for name in checkpoint.names if name.startswith(folder) and name.endswith(suffix))
    more = [(name.removeprefix(folder).removesuffix(suffix), checkpoint.text(name)) for name in named]
    found = [{"name": name, "template": template} for name, template in more if template is not None]
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
        name = "".join(c if c in ascii_letters + digits else "_" for c in str(choice.get("name", "")))
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
