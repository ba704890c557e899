"""Metadata that a project sets over what a model's file says of itself: which keys there are, and what each may be.

Source: gguf-py constants.py (Keys.General) and metadata.py (Metadata.load, set_gguf_meta_model), for keys, types and their order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from modelbuild.errors import Error
from modelbuild.words import did_you_mean, got

Values = dict[str, bytes]
"""Metadata of a file to be made, in its order: keys, and values as GGUF encodes them (tensors.formats.gguf, encode_value)."""

_TEXTS = (
    "name", "author", "version", "organization", "finetune", "basename", "description", "quantized_by", "size_label", "license",
    "license.name", "license.link", "url", "doi", "uuid", "repo_url", "source.url", "source.doi", "source.uuid", "source.repo_url",
)  # fmt: skip

SAMPLING: Mapping[str, str] = {
    "sequence": "str", "top_k": "i32", "top_p": "f32", "min_p": "f32", "xtc_probability": "f32", "xtc_threshold": "f32", "temp": "f32",
    "penalty_last_n": "i32", "penalty_repeat": "f32", "mirostat": "i32", "mirostat_tau": "f32", "mirostat_eta": "f32",
}  # fmt: skip
"""`general.sampling.…` and the type of each."""

GENERAL: Mapping[str, str] = {
    **{f"general.sampling.{name}": value_type for name, value_type in SAMPLING.items()},
    **{f"general.{name}": "str" for name in _TEXTS},
    "general.base_models": "tables",
    "general.datasets": "tables",
    "general.tags": "[str]",
    "general.languages": "[str]",
}  # fmt: skip
"""What a model says of itself, in the order of the file, and the type of each key; `tables` become several keys of text."""

TABLES = {"general.base_models": "general.base_model", "general.datasets": "general.dataset"}
FIELDS = ("name", "author", "version", "organization", "description", "url", "doi", "uuid", "repo_url")
"""What is known of another model, or of data, in the order of the file."""

WORDS = {"str": "a string", "bool": "true or false", "f32": "a number", "f64": "a number", "[str]": "a list of strings"}

DEPTH_LIMIT = 16
"""Parts of a key."""

_COMPUTED = r"general\.(?:architecture|type|file_type|quantization_version|alignment)|split\..*|quantize\..*|general\.tensor_extra\..*"
_OF_TENSORS = (
    r"(?!general\.|tokenizer\.)[^.]+\.(?:vocab_size|embedding_length(?:_out)?|block_count|leading_dense_block_count|"
    r"(?:expert_|expert_shared_)?feed_forward_length|expert_count|expert_shared_count|rope\.dimension_count|"
    r"attention\.(?:head_count(?:_kv)?|key_length|value_length))|"
    r"clip\.(?:projector_type|has_(?:vision|audio)_encoder)|clip\.(?:vision|audio)\.(?:projector_type|embedding_length|projection_dim|"
    r"feed_forward_length|block_count|attention\.head_count|patch_size|image_size|spatial_merge_size|projector\.scale_factor|"
    r"n_wa_pattern|is_deepstack_layers|num_mel_bins)"
)
_OF_VOCABULARY = (
    r"tokenizer\.ggml\.(?:model|tokens|token_type|token_type_count|scores|merges|precompiled_charsmap)|"
    r"tokenizer\.huggingface\.json"
)
_PRE = "tokenizer.ggml.pre"


def flat(
    table: Mapping[str, Any], path: tuple[str | int, ...] = ()
) -> Iterator[tuple[str, Any, tuple[str | int, ...]]]:
    """The keys of a table, `general.name` and general = { name = … } alike: (key, value, where it stands).

    A table `{ file = "…" }` is a text; one that lies deeper than any key has parts is a value like another.
    """
    for name, value in table.items():
        here = (*path, name)
        if isinstance(value, dict) and not is_file(value) and len(here) < DEPTH_LIMIT:
            yield from flat(value, here)
        else:
            yield ".".join(map(str, here)), value, here


def is_file(value: Any) -> bool:
    """Whether a value is `{ file = … }`, a text that stands in a file."""
    return isinstance(value, dict) and value.keys() == {"file"}


def check_key(key: str) -> None:
    """Raise Error, without a place, for a key that is not to be set."""
    if re.fullmatch(_COMPUTED, key):
        raise Error(f"'{key}' cannot be set: it describes how the file is made")
    if re.fullmatch(_OF_TENSORS, key):
        raise Error(f"'{key}' cannot be set: it must fit the tensors, which stay as they are")
    if re.fullmatch(_OF_VOCABULARY, key):
        raise Error(f"'{key}' cannot be set: the vocabulary comes from the checkpoint or the file")
    if key == _PRE:
        raise Error(f"'{key}' cannot be set here", hint='use the model\'s own key: pre = "…"')
    for whole, stem in TABLES.items():
        if key.startswith(f"{stem}."):
            raise Error(
                f"'{key}' cannot be set by itself", hint=f'{whole} lists all of them: "{whole}" = [{{ name = "…" }}]'
            )
    if not key or not all(part and part.isprintable() for part in key.split(".")) or len(key.encode()) > 1 << 16:
        raise Error(f"{got(key)} cannot be a key of a GGUF file")
    if key.startswith("general.") and key not in GENERAL:
        # Others may stand there too, so only what is all but one of ours is taken for a slip.
        import difflib

        if near := difflib.get_close_matches(key, GENERAL, 1, 0.9):
            raise Error(f"unknown key '{key}'", hint=f"did you mean '{near[0]}'?")


def check(key: str, value: Any) -> Any:
    """A value as it counts, its variables filled in. Raises Error, without a place, for one that can be no value of the key.

    A table `{ file = … }` is checked as such; its text is a value of its own.
    """
    check_key(key)
    if is_file(value):
        if not isinstance(value["file"], str):
            raise Error(f"'{key}.file' expects a string, got {got(value['file'])}")
        return value
    value_type = GENERAL.get(key)
    if value in ("", []):
        return value
    if value_type == "tables":
        return _tables(key, value)
    if value_type is not None:
        return fitting(key, value_type, value)
    plain = str | bool | int | float
    whole = isinstance(value, plain) or (isinstance(value, list) and all(isinstance(item, plain) for item in value))
    numbers = [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, int | float)]
    if whole and (
        large := [number for number in numbers if isinstance(number, int) and not -1 << 63 <= number < 1 << 64]
    ):
        raise Error(f"'{key}' expects numbers that fit 64 bits, got {got(large[0])}")
    if not whole or not all(math.isfinite(number) for number in numbers):
        raise Error(f"'{key}' expects a string, a finite number, true or false, or a list of strings, got {got(value)}")
    return value


def fitting(key: str, value_type: str, value: Any) -> Any:
    """A value of one of GGUF's types. Raises Error, without a place, for one of another type."""
    if value_type.startswith("["):
        if isinstance(value, list) and all(_is(value_type[1:-1], item) for item in value):
            return value
    elif _is(value_type, value):
        return value
    expected = WORDS.get(value_type, "a list of numbers" if value_type.startswith("[") else "a whole number")
    raise Error(
        f"'{key}' expects {expected}, got {got(value)}", facts=[("type", value_type)] if value_type not in WORDS else []
    )


def _is(value_type: str, value: Any) -> bool:
    if value_type in ("str", "bool"):
        return isinstance(value, {"str": str, "bool": bool}[value_type])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if value_type in ("f32", "f64"):
        return abs(value) <= (3.4028235e38 if value_type == "f32" else 1.7e308)
    bits = int(value_type[1:])
    low, high = (0, 1 << bits) if value_type[0] == "u" else (-1 << bits - 1, 1 << bits - 1)
    return isinstance(value, int) and low <= value < high


def _tables(key: str, value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise Error(f"'{key}' expects a list of tables {{ name = … }}, got {got(value)}")
    for entry in value:
        for field, text in entry.items():
            if field not in FIELDS:
                raise Error(f"'{key}': unknown key '{field}'", hint=did_you_mean(field, FIELDS))
            if not isinstance(text, str):
                raise Error(f"'{key}': '{field}' expects a string, got {got(text)}")
    return value
