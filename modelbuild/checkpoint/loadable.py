"""Whether llama.cpp's runtime would load a GGUF file, told from its head: metadata, vocabulary, tensors and their shapes.

What we have no table for is not judged, and neither is what a file holds beyond the tables: Ollama's own engine reads more than
llama.cpp's. Source: src/llama-model.cpp (load_hparams), src/llama-vocab.cpp (load), src/llama-model-loader.cpp (get_key,
check_tensor_dims), read for the release that llama-cpp-python 0.3.36 carries.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping
from functools import cache

from modelbuild.checkpoint import architectures
from modelbuild.checkpoint.file_model import FileModel, items
from modelbuild.checkpoint.hyperparameters import BLOCKS_LIMIT, EXPERTS_LIMIT
from modelbuild.checkpoint.tables import SAID, SHOWN, Line, lines
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value, type_name
from modelbuild.tensors.tensor import Shape
from modelbuild.tuples import NamedTuple
from modelbuild.words import listed, shown

HINT = "download the file again, or convert it again from its weights"

_TOKEN = re.compile(r"tokenizer\.ggml\.(bos|eos|eot|eom|unknown|seperator|padding|mask)_token_id")
_LENGTH = struct.Struct("<Q")
_BLOCK = re.compile(r"blk\.([0-9]{1,9})\.")


class _Table(NamedTuple):
    """The tensors that the runtime loads, and the metadata it asks for besides that of all: below the architecture's name, or not."""

    tensors: tuple[Line, ...]
    asked: tuple[str, ...]
    beside: tuple[str, ...]


@cache
def _tables() -> Mapping[str, _Table]:
    """By `general.architecture`."""
    known = [each for each in architectures.known() if each.LOADS]
    return {each.NAME: _Table(lines(each.LOADS), each.ASKS, each.ASKS_BESIDE) for each in known}


def architecture(metadata: Mapping[str, bytes]) -> str | None:
    """The `general.architecture` of a file with this metadata."""
    return _text(metadata, "general.architecture")


def is_known(metadata: Mapping[str, bytes]) -> bool:
    """Whether there is a table for the architecture of a file with this metadata."""
    return architecture(metadata) in _tables()


def faults(metadata: Mapping[str, bytes], shapes: Mapping[str, Shape]) -> list[Error]:
    """Why the runtime would not load a model: errors without a path. Nothing where it would, or where that cannot be judged.

    metadata  encoded values, by key
    shapes    of each tensor, outermost dimension first
    """
    name = architecture(metadata)
    if name is None:
        return [Error("the metadata lacks 'general.architecture': no runtime can tell what this is", hint=HINT)]
    if name not in _tables():
        return []
    table, model = _tables()[name], FileModel(name, metadata)
    found = [*_metadata(model, table), *_vocabulary(metadata)]
    return found or [*_tensors(model, table.tensors, shapes)]


def codes(metadata: Mapping[str, bytes], dtypes: Mapping[str, str]) -> list[Error]:
    """Why no runtime computes with the weights of a model: matrices of whole numbers or f64, which ggml multiplies by nothing.

    dtypes  of each tensor with two dimensions or more
    """
    found = [name for name, dtype in dtypes.items() if dtype in _NO_WEIGHTS and name.endswith(".weight")]
    if not found or not is_known(metadata):
        return []
    count = "1 matrix" if len(found) == 1 else f"{len(found)} matrices"
    return [
        Error(
            f"the file contains {count} of {listed(dict.fromkeys(dtypes[name] for name in found))}, which no runtime computes with",
            facts=[("tensors", listed(found, SHOWN))],
            hint="whole numbers are quantized values without their scales: start from the unquantized weights",
        )
    ]


_NO_WEIGHTS = ("i8", "i16", "i32", "i64", "f64")


# Metadata


_NUMBERS = ("context_length", "embedding_length", "block_count")
_U32 = ("attention.key_length", "attention.value_length", "rope.dimension_count", "expert_count")
"""Read of every model; another key may have any type where the runtime does not read it."""
_DIMENSIONS = ("attention.head_count", "attention.head_count_kv", "feed_forward_length")


def _metadata(model: FileModel, table: _Table) -> Iterator[Error]:
    asked = table.asked
    keys = [f"{model.name}.{key}" for key in (*_NUMBERS, "attention.head_count", *filter(model.asks, asked))]
    missing = [key for key in (*keys, *table.beside) if key not in model.metadata]
    if missing:
        yield Error(
            f"the metadata lacks {'a key' if len(missing) == 1 else 'keys'} that llama.cpp's runtime asks for",
            facts=[("missing", listed(missing))],
            hint=HINT,
        )
    forms: dict[str, tuple[str, ...]] = {}
    forms.update((key, ("u32",)) for key in (*_NUMBERS, *_U32, *(key for key in asked if key.endswith("window"))))
    forms.update((key, ("f32",)) for key in asked if key.endswith(("epsilon", "scale")))
    forms.update((key, ("u32", "[u32]", "[i32]")) for key in _DIMENSIONS)
    named = {f"{model.name}.{key}": expected for key, expected in forms.items()}
    named |= {key: ("u32",) for key in model.metadata if key == "general.file_type" or _TOKEN.fullmatch(key)}
    for key, expected in named.items():
        data = model.metadata.get(key)
        if data is not None and type_name(data) not in expected:
            yield Error(f"'{key}' expects a {expected[0]}, got {type_name(data)}", hint=HINT)
            return
    for key, data in model.metadata.items():
        if (
            key.startswith(f"{model.name}.")
            and type_name(data) in ("f32", "f64")
            and not math.isfinite(decode_value(data))
        ):
            yield Error(f"'{key}' expects a finite number, got {decode_value(data)}", hint=HINT)
    blocks, experts, used = (model.number(key) for key in ("block_count", "expert_count", "expert_used_count"))
    if model.has("block_count") and not 0 < blocks <= BLOCKS_LIMIT:
        yield Error(f"'{model.name}.block_count' expects a number from 1 to {BLOCKS_LIMIT}, got {blocks}", hint=HINT)
    if 0 < blocks <= (stacked := model.number("n_deepstack_layers")):
        yield Error(f"'{model.name}.n_deepstack_layers' expects fewer than {blocks}, got {stacked}", hint=HINT)
    if experts > EXPERTS_LIMIT:
        yield Error(f"'{model.name}.expert_count' expects at most {EXPERTS_LIMIT}, got {experts}", hint=HINT)
    if (experts or used) and not 0 < used <= experts:
        yield Error(
            f"'{model.name}.expert_used_count' expects a number from 1 to the number of all experts, {experts}, got {used}",
            hint=HINT,
        )
    turned, head = model.number("rope.dimension_count"), model.dimensions()["head"]
    if model.name == "llama" and turned and head and turned != head:
        yield Error(f"'llama.rope.dimension_count' expects the size of a head, {head}, got {turned}", hint=HINT)


# Vocabulary

_TOKENIZERS = ("llama", "gpt2", "bert", "t5", "rwkv", "plamo2", "gemma4", "hybriddna", "whitespace")
"""(llama.cpp src/llama-vocab.cpp, load)"""


def _vocabulary(metadata: Mapping[str, bytes]) -> Iterator[Error]:
    kind = _text(metadata, "tokenizer.ggml.model")
    if kind is None:
        yield Error("the metadata lacks 'tokenizer.ggml.model': the file has no vocabulary", hint=HINT)
        return
    if kind in ("none", "no_vocab"):
        return
    if kind not in _TOKENIZERS:
        yield Error(f"'tokenizer.ggml.model' expects one of {', '.join(_TOKENIZERS)}, got '{kind[:40]}'", hint=HINT)
        return
    tokens = metadata.get("tokenizer.ggml.tokens")
    if tokens is None or type_name(tokens) != "[str]":
        yield Error("the metadata lacks 'tokenizer.ggml.tokens': the file has no vocabulary", hint=HINT)
        return
    count = items(tokens)
    for key, what, forms in (
        ("scores", "scores", ("[f32]", "[i32]")),
        ("token_type", "types", ("[i32]", "[u32]")),
    ):
        data = metadata.get(f"tokenizer.ggml.{key}")
        if data is not None and (type_name(data) not in forms or items(data) < count):
            got = f"{items(data)} of them" if type_name(data) in forms else type_name(data)
            yield Error(f"the vocabulary has {count} tokens, but not as many {what}: got {got}", hint=HINT)
    merges = metadata.get("tokenizer.ggml.merges")
    if kind in ("gpt2", "gemma4") and (merges is None or type_name(merges) != "[str]"):
        yield Error("the metadata lacks 'tokenizer.ggml.merges', which a byte-pair vocabulary needs", hint=HINT)
    if (twice := _twice(tokens, count)) is not None:
        yield Error(f"the vocabulary has the token '{shown(twice)}' more than once", hint=HINT)


def _twice(tokens: bytes, count: int) -> str | None:
    """A token that stands in an encoded list more than once. Tokens are bytes, which need be no text; empty ones get other names."""
    seen: set[bytes] = set()
    at = 16
    for _ in range(count):
        (length,) = _LENGTH.unpack_from(tokens, at)
        token = tokens[at + 8 : at + 8 + length]
        if token and token in seen:
            return token.decode("utf-8", "replace")
        seen.add(token)
        at += 8 + length
    return None


PHI3_TOKENS = ("</s>", "<unk>", "<s>", "<|endoftext|>")


def named_phi3(metadata: Mapping[str, bytes]) -> list[Error]:
    """What is wrong with a name: the runtime looks for tokens of Phi-3 in whatever is named after it (llama.cpp src/llama-vocab.cpp, load).

    metadata  that of the file, a name of the project's own included
    """
    name = decode_value(metadata["general.name"]) if "general.name" in metadata else ""
    if not re.search("phi-?3", str(name), re.IGNORECASE) or "tokenizer.ggml.tokens" not in metadata:
        return []
    missing = set(PHI3_TOKENS).difference(decode_value(metadata["tokenizer.ggml.tokens"]))
    if not missing:
        return []
    return [
        Error(
            f"llama.cpp's runtime treats a model named '{shown(name)}' as Phi-3, and crashes if one of Phi-3's tokens is missing",
            facts=[("missing", listed(f"'{text}'" for text in PHI3_TOKENS if text in missing))],
            hint='give it another name: metadata = { "general.name" = "…" }',
        )
    ]


# Tensors

_WITHOUT_FURTHER = ("glm4moe", "deepseek2", "glm-dsa")
"""Architectures of which the runtime loads files that tell of blocks for further tokens and lack them (load_arch_tensors, trunk_only)."""


def _tensors(model: FileModel, table: tuple[Line, ...], shapes: Mapping[str, Shape]) -> Iterator[Error]:
    blocks = model.number("block_count")
    all_sizes = [model.dimensions(block) for block in range(max(blocks, 1))]
    # It may have a gate in it.
    doubled = (*shapes.get("blk.0.ffn_up.weight", ()), 0)[0] == 2 * all_sizes[0]["ff"]
    for sizes in all_sizes:
        sizes["up"] = sizes["ff"] * (2 if doubled else 1)
    missing: dict[str, list[str]] = {}
    wrong: dict[str, list[tuple[str, tuple[str, ...], Shape]]] = {}
    present = _present(model, shapes)
    for line in table:
        for number in present if ".N." in line.name else (0,):
            if not model.is_of(number, line.when):
                continue
            for name, dimensions, optional in _wanted(line, number, shapes):
                shape = shapes.get(name)
                if shape is None:
                    if not optional:
                        missing.setdefault(line.name, []).append(name)
                elif _expected(dimensions, all_sizes[number]) != _without_ones(shape):
                    wrong.setdefault(line.name, []).append((name, dimensions, shape))
    beyond = [name for name in shapes if (block := _BLOCK.match(name)) and int(block[1]) >= blocks]
    if beyond:
        yield Error(
            f"the file contains {len(beyond)} {'tensor' if len(beyond) == 1 else 'tensors'} of blocks beyond the {blocks} that it declares",
            facts=[("tensors", listed(beyond, 6)), (f"{model.name}.block_count", str(blocks))],
            hint=HINT,
        )
    if missing:
        names = [name for found in missing.values() for name in found]
        yield Error(
            f"the file lacks {len(names)} {'tensor' if len(names) == 1 else 'tensors'} that llama.cpp's runtime loads",
            facts=[("missing", listed(names, 6))],
            hint=HINT,
        )
    if wrong:
        count = sum(map(len, wrong.values()))
        facts = []
        for found in list(wrong.values())[:SHOWN]:
            name, dimensions, shape = found[0]
            block = _BLOCK.match(name)
            sizes = all_sizes[int(block[1]) if block else 0]
            expected = list(reversed([_size(word, sizes) for word in dimensions]))
            said = ", ".join(SAID.get(word, word) for word in reversed(dimensions))
            facts.append((name, f"expected {expected} ({said}), got {list(shape)}"))
        if len(wrong) > SHOWN:
            facts.append(("and", f"{len(wrong) - SHOWN} other kinds"))
        yield Error(
            f"{count} {'tensor does' if count == 1 else 'tensors do'} not have the shape that the metadata declares",
            facts=facts,
            hint=HINT,
        )


def _present(model: FileModel, shapes: Mapping[str, Shape]) -> range:
    """The blocks of a file: all, or those for further tokens alone, or where the runtime does without them the model's own."""
    blocks, trunk = model.number("block_count"), model.trunk
    numbers = [int(block[1]) for block in map(_BLOCK.match, shapes) if block]
    first = trunk if trunk < blocks and min(numbers, default=0) >= trunk else 0
    is_without = model.name in _WITHOUT_FURTHER and f"blk.{trunk}.nextn.eh_proj.weight" not in shapes
    return range(first, trunk if is_without else blocks)


def _wanted(line: Line, number: int, shapes: Mapping[str, Shape]) -> Iterator[tuple[str, tuple[str, ...], bool]]:
    """The tensors that a line asks for in one block: name, dimensions, whether the file may lack it."""
    name = line.name.replace(".N.", f".{number}.")
    if not name.endswith(".qkv"):
        yield (
            (name.removesuffix(".") if name.endswith((".bias", ".")) else f"{name}.weight"),
            line.dimensions,
            line.optional,
        )
        return
    block = name.removesuffix(".qkv")
    fused = "+".join(line.dimensions)
    if f"{block}.attn_qkv.weight" in shapes:
        yield f"{block}.attn_qkv.weight", ("embd", fused), False
        yield f"{block}.attn_qkv.bias", (fused,), True
    for letter, size in zip("qkv", line.dimensions, strict=True):
        if f"{block}.attn_qkv.weight" not in shapes:
            yield f"{block}.attn_{letter}.weight", ("embd", size), line.optional
        yield f"{block}.attn_{letter}.bias", (size,), True


def _expected(dimensions: tuple[str, ...], sizes: Mapping[str, int]) -> Shape:
    return _without_ones(tuple(reversed([_size(word, sizes) for word in dimensions])))


def _size(word: str, sizes: Mapping[str, int]) -> int:
    if "+" in word:
        return sum(_size(part, sizes) for part in word.split("+"))
    if "*" in word:
        factor, _, word = word.partition("*")
        return int(factor) * sizes[word]
    word, _, part = word.partition("/")
    return sizes[word] // int(part or 1)


def _without_ones(shape: Shape) -> Shape:
    """ggml's shapes end, seen from the innermost dimension, with ones that a file may write or leave out."""
    start = next((at for at, size in enumerate(shape[:-1]) if size != 1), max(len(shape) - 1, 0))
    return shape[start:]


def _text(metadata: Mapping[str, bytes], key: str) -> str | None:
    data = metadata.get(key)
    return str(decode_value(data)) if data is not None and type_name(data) == "str" else None
