"""The chat template that weights bring along, and the tokens that it may name.

Source: gguf-py vocab.py (SpecialVocab) for where a checkpoint keeps it; llama.cpp common/chat.cpp for what it is given.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.tuples import NamedTuple

Answers = Literal["text", "embeddings", "scores"]


class Chat(NamedTuple):
    """A chat template as it is used by default.

    file      what holds it
    bos, eos  the texts of these tokens; None where they are not known, or not needed
    """

    template: str
    file: str
    bos: str | None = None
    eos: str | None = None


def of_checkpoint(checkpoint: Checkpoint) -> Chat | None:
    """The chat template that the conversion of a checkpoint keeps. Raises Error and OSError for files that cannot be read."""
    config = checkpoint.tokenizer_config
    found: Any
    if "chat_template" in config:
        found, file = config["chat_template"], "tokenizer_config.json"
    elif (text := checkpoint.text("chat_template.jinja")) is not None:
        found, file = text, "chat_template.jinja"
    else:
        found, file = (checkpoint.json("chat_template.json") or {}).get("chat_template"), "chat_template.json"
    if isinstance(found, list):
        named = [each.get("template") for each in found if isinstance(each, dict) and each.get("name") == "default"]
        found = named[-1] if named else None
    if not isinstance(found, str) or not _is_text(found):
        return None
    return Chat(found, file, _content(config.get("bos_token")), _content(config.get("eos_token")))


def _content(token: Any) -> str | None:
    """The text of a token, which may be written as an object."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) and _is_text(text) else None


def _is_text(text: str) -> bool:
    """Whether a text holds something, and can be written: JSON may spell halves of characters."""
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False


def of_gguf(metadata: Mapping[str, bytes], file: str) -> Chat | None:
    """The chat template in a GGUF file's metadata."""
    from modelbuild.tensors.formats.gguf import scalar

    template = scalar(metadata, "tokenizer.chat_template")
    if not template or not isinstance(template, str):
        return None

    def token(name: str) -> str | None:
        if f"{name}_token" not in template:
            return None
        return _item(metadata.get("tokenizer.ggml.tokens", b""), scalar(metadata, f"tokenizer.ggml.{name}_token_id"))

    return Chat(template, file, token("bos"), token("eos"))


def _item(texts: bytes, number: Any) -> str | None:
    """One text of an encoded list, without decoding the others; None where there is none."""
    from modelbuild.tensors.formats.gguf import ARRAY, STRING

    if len(texts) < 16 or type(number) is not int:
        return None
    kind, item, count = struct.unpack_from("<IIQ", texts)
    if (kind, item) != (ARRAY, STRING) or not 0 <= number < count:
        return None
    unpack = struct.Struct("<Q").unpack_from
    at = 16
    for _ in range(number):
        at += 8 + unpack(texts, at)[0]
    return texts[at + 8 : at + 8 + unpack(texts, at)[0]].decode("utf-8", "replace")


_SPEAKS = r"(?:^|[^a-z])(chat|instruct|it|assistant|sft|dpo)(?:[^a-z]|$)"
_MUTE = (
    r"(?:^|[^a-z])(base|pretrain|pretrained|pt|foundation|embed|embedding|embeddings|rerank|reranker|reward|classifier|encoder)"
    r"(?:[^a-z]|$)"
)
_SCORES = r"(?:^|[^a-z])(embed|embedding|embeddings|rerank|reranker|reward|classifier)(?:[^a-z]|$)"
_TASKS = ("", "text-generation", "text2text-generation", "image-text-to-text", "any-to-any", "conversational")
_CLASSES = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


def talks(names: Iterable[object], *, task: object = "", class_name: str = "") -> bool:
    """Whether weights are a chat model's by what they are called: names and tags, the task of the card, the class.

    What says nothing is taken for one.
    """
    if isinstance(task, str) and task not in _TASKS or (class_name and not class_name.endswith(_CLASSES)):
        return False
    words = [name.lower() for name in names if isinstance(name, str)]
    return any(re.search(_SPEAKS, each) for each in words) or not any(re.search(_MUTE, each) for each in words)


def kinds(config: Mapping[str, Any], folder: str) -> tuple[str, ...]:
    """What config.json calls a model, in the order in which Ollama asks; nothing where it answers with vectors or scores, by its names.

    Source: Ollama x/create/client/create.go, getRendererName
    """
    nested = config.get("llm_config")
    classes = config.get("architectures")
    found = [*(classes if isinstance(classes, list) else []), config.get("model_type")]
    found += [nested.get("model_type")] if isinstance(nested, dict) else []
    texts = tuple(each for each in found if isinstance(each, str) and each)
    heads = any("ForSequenceClassification" in each for each in texts)
    names = (folder, config.get("_name_or_path"))
    scores = any(isinstance(each, str) and re.search(_SCORES, each.lower()) for each in names)
    return () if heads or scores else texts


def checkpoint_talks(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint is a chat model's by its card, its config and its folder's name."""
    from modelbuild.checkpoint import front_matter
    from modelbuild.checkpoint.config import class_of
    from modelbuild.errors import Error

    try:
        card, config = front_matter.read(checkpoint), checkpoint.config
        class_name = class_of(config)
    except Error:  # told by the conversion
        return True
    tags = card.get("tags")
    names = [
        checkpoint.folder,
        config.get("_name_or_path"),
        card.get("model_name"),
        *(tags if isinstance(tags, list) else []),
    ]
    return talks(names, task=card.get("pipeline_tag"), class_name=class_name)


def gguf_talks(metadata: Mapping[str, bytes], file: str) -> bool:
    """Whether a GGUF file is a chat model's by its metadata and its name."""
    from modelbuild.tensors.formats.gguf import decode_value, scalar, type_name

    names = [scalar(metadata, f"general.{key}") for key in ("name", "basename", "finetune")]
    tags = metadata.get("general.tags")
    if tags is not None and type_name(tags) == "[str]":
        names += decode_value(tags)
    return not embeds(metadata) and talks([file, *names])


ENCODERS = frozenset((
    "bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "eurobert",
    "gemma-embedding", "llama-embed", "t5encoder",
))  # fmt: skip
"""Architectures of which no model makes text, also if its file tells neither pooling nor attention (llama.cpp src/llama-arch.cpp)."""

RANK = 4
"""The pooling of a model that makes scores (llama.h, LLAMA_POOLING_TYPE_RANK)."""


def embeds(metadata: Mapping[str, bytes]) -> bool:
    """Whether a GGUF file is a model of embeddings or scores: by its architecture, its pooling, or an attention that looks ahead."""
    from modelbuild.tensors.formats.gguf import scalar

    architecture = scalar(metadata, "general.architecture")
    pooled = f"{architecture}.pooling_type" in metadata
    return architecture in ENCODERS or pooled or scalar(metadata, f"{architecture}.attention.causal") is False


def answers(metadata: Mapping[str, bytes], tensors: Iterable[str]) -> Answers:
    """What the model of a GGUF file makes of a text; `tensors` are the names of its tensors.

    One that does not tell its pooling makes scores if it has the head of a classifier.
    """
    from modelbuild.tensors.formats.gguf import scalar

    if not embeds(metadata):
        return "text"
    pooled = scalar(metadata, f"{scalar(metadata, 'general.architecture')}.pooling_type")
    scores = any(name.startswith("cls.") for name in tensors) if pooled is None else pooled == RANK
    return "scores" if scores else "embeddings"
