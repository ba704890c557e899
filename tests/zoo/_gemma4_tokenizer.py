"""A tokenizer of Gemma 4's kind: byte pairs over text with its spaces spelled, which fall back to bytes."""

from __future__ import annotations

import json
from typing import Any

SPACE = "\u2581"
SPECIAL = (
    "<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|tool>", "<|tool_call>",
    "<tool_call|>", '<|"|>', "<|image|>",
)  # fmt: skip
MERGES = (
    (SPACE, "t"), ("h", "e"), (SPACE + "t", "he"), ("i", "n"), (SPACE, "a"), ("e", "r"), ("o", "n"), ("\n", "\n"), (SPACE, SPACE),
)  # fmt: skip
TEMPLATE = "{{ bos_token }}{% for message in messages %}<|turn>{{ message['role'] }}\n{{ message['content'] }}<turn|>\n{% endfor %}"
CONFIG = {
    "tokenizer_class": "GemmaTokenizer",
    "bos_token": "<bos>",
    "eos_token": "<eos>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
    "padding_side": "left",
    "extra_special_tokens": {"image_token": "<|image|>"},
}


def tokens() -> list[str]:
    letters = [SPACE, *map(chr, range(97, 123)), "\n"]
    return [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *letters, *map("".join, MERGES)]


def data() -> dict[str, Any]:
    """A tokenizer.json of 307 tokens."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    first = [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": n, "content": text, **flags, "special": True} for n, text in enumerate(SPECIAL)],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": first,
            "pair": [*first, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [2], "tokens": ["<bos>"]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {text: number for number, text in enumerate(tokens())},
            "merges": [list(pair) for pair in MERGES],
        },
    }


def files() -> dict[str, str]:
    """The files of a folder, by name."""
    return {
        "tokenizer.json": json.dumps(data(), ensure_ascii=False),
        "tokenizer_config.json": json.dumps(CONFIG),
        "chat_template.jinja": TEMPLATE,
    }
