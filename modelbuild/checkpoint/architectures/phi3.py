"""Phi-3: queries, keys and values in one tensor, gate and up in another; longrope for long contexts."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from functools import cached_property
from typing import Any, TypeGuard

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures._loads import EMBEDDING, OUTPUT
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.config import Config, block_count, first, number, rope_parameters, share
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import ATTENTION_INPUTS, NAMES
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.checkpoint.tokenizers.fast import added_tokens_decoder, items, token_id
from modelbuild.checkpoint.tokenizers.sentencepiece import CONTROL, NORMAL, UNUSED, USER_DEFINED, pieces
from modelbuild.checkpoint.tokenizers.special import special_tokens
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.words import in_json


class Phi3(Architecture):
    NAME = "phi3"
    LOADS = f"""
        {EMBEDDING} {OUTPUT}
        blk.N.attn_norm           embd
        blk.N.qkv?                embd values values
        blk.N.attn_output         embd embd
        blk.N.ffn_norm            embd
        blk.N.ffn_down            ff embd
        blk.N.ffn_up              embd 2*ff
        rope_factors_long?        rot/2
        rope_factors_short?       rot/2
    """
    CLASSES = ("Phi3ForCausalLM",)
    ALIASES = ("Phi4ForCausalLMV",)
    MODEL_TYPE = "phi3"
    DEFAULTS = {
        "vocab_size": 32064,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "partial_rotary_factor": 1.0,
    }
    NAMES = {key: value for key, value in NAMES.items() if not key.endswith((".gate_proj", ".up_proj"))} | {
        "layers.N.self_attn.qkv_proj": "blk.N.attn_qkv",
        "layers.N.mlp.gate_up_proj": "blk.N.ffn_up",
    }
    BIASES = ATTENTION_INPUTS
    FREE_HEADS = False

    @classmethod
    def takes(cls, config: Config) -> bool:
        """(transformers, Phi3Config._rope_scaling_validation)"""
        scaling = config.get("rope_scaling")
        if scaling is None:
            return True
        if not isinstance(scaling, dict) or len(scaling) != 3 or scaling.get("type") not in ("longrope", "su", "yarn"):
            return False
        full = {**cls.DEFAULTS, **config}
        part = full["partial_rotary_factor"]
        if not _is_share(part):
            return False
        size = number(full, "hidden_size") // number(full, "num_attention_heads")
        lists = [scaling.get(name) for name in ("short_factor", "long_factor")]
        return all(_are_numbers(x) and len(x) == int(size * part) // 2 for x in lists)

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, Phi3Config) Older names of longrope were others."""
        if config.get("num_key_value_heads") is None:
            config["num_key_value_heads"] = config["num_attention_heads"]
        if config.get("rope_scaling") is not None:
            config["rope_scaling"] = {**config["rope_scaling"], "type": "longrope"}
        return config

    @cached_property
    def rope(self) -> dict[str, Any]:
        return rope_parameters(self.config)

    @property
    def heads(self) -> int:
        return number(self.config, "num_attention_heads", "n_head")

    @property
    def context(self) -> int:
        return number(self.config, "n_positions", "max_position_embeddings")

    @property
    def original_context(self) -> int:
        return number(self.rope, "original_max_position_embeddings")

    @property
    def rotated(self) -> int:
        """How many values of each head turn with the position."""
        name = "partial_rotary_factor"
        part = self.rope[name] if name in self.rope else first(self.config, name, "rope_pct", "rope_percent")
        if part is None:
            part = 1.0
        return int(share(part, name) * number(self.config, "hidden_size", "n_embd")) // self.heads

    @cached_property
    def tokenizer(self) -> Values:
        """(Phi3MiniModel.set_vocab) Phi-4 has byte pairs under the same name, found in their class there; here by what they are, too."""
        checkpoint, size = self.checkpoint, tokenizers.vocabulary_size(self.config)
        is_gpt2 = checkpoint.tokenizer_config.get("tokenizer_class") == "GPT2Tokenizer"
        data = None if is_gpt2 or checkpoint.read("tokenizer.model") is not None else checkpoint.json("tokenizer.json")
        if is_gpt2 or (data is not None and not tokenizers.is_llama_hf(data)):
            return tokenizers.byte_pairs(checkpoint, size)
        return _vocabulary(checkpoint, size)

    def preface(self) -> Values:
        """By how much attention grows sharper with longrope, reckoned in double (Phi3MiniModel.generate_extra_tensors)."""
        if not self.rope.get("long_factor"):
            return {}
        name = str(self.rope.get("rope_type", "")).lower()
        if name not in ("su", "longrope", "yarn"):
            raise Error(
                f"'long_factor' belongs to a rope_scaling of type longrope, got {in_json(self.rope.get('rope_type'))}",
                path="config.json",
            )
        scale, context, factor = self.context / self.original_context, self.original_context, 1.0
        if scale > 1 and name == "yarn":
            factor = 0.1 * math.log(scale) + 1.0
        elif scale > 1 and context > 1:
            factor = math.sqrt(1 + math.log(scale) / math.log(context))
        return {f"{self.NAME}.rope.scaling.attn_factor": encode_value("f32", factor)}

    def constants(self) -> Mapping[str, bytes]:
        """longrope's divisors of the rotary frequencies, for long contexts and for short ones, f32, rotated / 2 values."""
        if not self.rope.get("long_factor"):
            return {}
        found = {}
        for name in ("long", "short"):
            factors = self.rope.get(f"{name}_factor")
            if not _are_numbers(factors) or 2 * len(factors) != self.rotated:
                got = f"{len(factors)}" if _are_numbers(factors) else in_json(factors)
                raise Error(f"'{name}_factor' expects {self.rotated / 2:g} numbers, got {got}", path="config.json")
            found[f"rope_factors_{name}.weight"] = struct.pack(f"<{len(factors)}f", *factors)
        return found

    def parameters(self, file_type: int) -> Values:
        """(Phi3MiniModel.set_gguf_parameters)"""
        out = Writer(self.NAME, self.config)
        rope = self.rope.get("full_attention", self.rope)
        theta = rope.get("rope_theta") if isinstance(rope, dict) else None
        for name, value in (("rope_theta", theta), ("rms_norm_eps", self.config.get("rms_norm_eps"))):
            if value is None:
                raise Error(f"'{name}' expects a number, which is missing", path="config.json")
        for key, value in (
            ("context_length", self.context),
            ("rope.scaling.original_context_length", self.original_context),
            ("embedding_length", number(self.config, "hidden_size", "n_embd")),
            ("feed_forward_length", number(self.config, "intermediate_size")),
            ("block_count", block_count(self.config)),
            ("attention.head_count", self.heads),
            ("attention.head_count_kv", number(self.config, "num_key_value_heads", "n_head_kv")),
        ):
            out.put(key, "u32", value, key)
        out.take("attention.layer_norm_rms_epsilon", "f32", "rms_norm_eps")
        out.put("rope.dimension_count", "u32", self.rotated, "partial_rotary_factor")
        out.put("rope.freq_base", "f32", theta, "rope_theta")
        out.values["general.file_type"] = encode_value("u32", file_type)
        # 0 tells that there is no window; without the key the runtime would take it for an old file.
        window = self.config.get("sliding_window")
        out.put("attention.sliding_window", "u32", 0 if window is None else window, "sliding_window")
        return out.values


def _vocabulary(checkpoint: Checkpoint, size: int | None) -> Values:
    """tokenizer.model, and over it what three files add to it, the last of them tokenizer.json (Phi3MiniModel.set_vocab).

    A text counts as a control token only where it is called special, however it looks.
    """
    data = checkpoint.read("tokenizer.model")
    if data is None:
        raise Error(
            "the tokenizer is missing: expected tokenizer.model beside config.json",
            hint="Phi-3's tokenizer.json has no scores; download tokenizer.model from where you got the weights",
        )
    base = pieces(data)
    count = size or len(base)
    tokens = [(piece.text, piece.score, NORMAL if piece.type == USER_DEFINED else piece.type) for piece in base]
    tokens += [(b"[PAD%d]" % place, tokenizers.PAD_SCORE, UNUSED) for place in range(len(base), count)]

    def add(place: int, text: str, type_: int, path: str) -> None:
        if place >= count:
            raise Error(
                f"token {place} does not fit: the model has room for {count:,}",
                path=path,
                facts=[("config.json", f"vocab_size {size}")],
                hint="the tokenizer belongs to another model, or tokens were added to it without resizing the embeddings",
            )
        tokens[place] = (tokenizers._utf8(text, path), tokenizers.ADDED_SCORE, type_)

    if len(base) > count:
        add(len(base) - 1, "", NORMAL, "tokenizer.model")
    for text, place in (checkpoint.json("added_tokens.json") or {}).items():
        if token_id(place, "added_tokens.json") < count:
            add(place, text, USER_DEFINED, "added_tokens.json")
    listed = [("tokenizer_config.json", place, entry) for place, entry in added_tokens_decoder(checkpoint)]
    for entry in items((checkpoint.json("tokenizer.json") or {}).get("added_tokens")):
        if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
            raise Error(
                f"'added_tokens' expects objects with an 'id' and a 'content', got {in_json(entry)}",
                path="tokenizer.json",
            )
        listed.append(("tokenizer.json", token_id(entry.get("id"), "tokenizer.json"), entry))
    for path, place, entry in listed:
        add(place, entry["content"], CONTROL if entry.get("special") else USER_DEFINED, path)
    texts, scores, types = zip(*tokens, strict=True)
    return tokenizers.tables("llama", "default", texts, types, scores) | special_tokens(checkpoint, count=count)


def _is_share(part: Any) -> bool:
    return type(part) in (int, float) and 0 < part <= 1


def _are_numbers(values: Any) -> TypeGuard[list[float]]:
    """Whether these are numbers that f32 holds."""
    return isinstance(values, list) and all(type(x) in (int, float) and abs(x) < 3.4e38 for x in values)
