"""EXAONE 4: norms after attention and feed-forward, norms of each head, windows in the large model."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar

from modelbuild.checkpoint.architectures import _mtp
from modelbuild.checkpoint.architectures._loads import EMBEDDING, FEED_FORWARD, OUTPUT
from modelbuild.checkpoint.architectures.llama import Llama
from modelbuild.checkpoint.config import Config, block_count, layer_types_fit, number
from modelbuild.checkpoint.hyperparameters import Writer, base_parameters
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import ATTENTION_INPUTS, NAMES
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.recipe import Expression
from modelbuild.words import in_json

WINDOWED = 64
"""So many blocks has the model in which the runtime gives some a window (llama.cpp src/models/exaone4.cpp)."""


class Exaone4(Llama):
    """(llama.cpp conversion/exaone.py, Exaone4Model) Rotations are scaled as Llama's; rows stay in their order."""

    NAME = "exaone4"
    FACTOR = 16.0
    LOADS = f"""
        {EMBEDDING} {OUTPUT} {FEED_FORWARD} {_mtp.LOADS}
        blk.N.qkv                 queries keys values
        blk.N.attn_output         embd embd
        rope_freqs?               rot/2
        blk.N.post_attention_norm embd
        blk.N.attn_q_norm         head
        blk.N.attn_k_norm         head
        blk.N.post_ffw_norm       embd
    """
    CLASSES: ClassVar[tuple[str, ...]] = ("Exaone4ForCausalLM",)
    ALIASES = ()
    MODEL_TYPE = "exaone4"
    DEFAULTS = {
        "vocab_size": 102400,
        "hidden_size": 4096,
        "intermediate_size": 16384,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "sliding_window": 4096,
        "sliding_window_pattern": 4,
    }
    NAMES = {
        **{name: known for name, known in NAMES.items() if name != "layers.N.input_layernorm"},
        "layers.N.self_attn.q_norm": "blk.N.attn_q_norm",
        "layers.N.self_attn.k_norm": "blk.N.attn_k_norm",
        "layers.N.post_attention_layernorm": "blk.N.post_attention_norm",
        "layers.N.post_feedforward_layernorm": "blk.N.post_ffw_norm",
    }
    SHAPES = f"""
        {_mtp.SHAPES}
        blk.N.attn_q_norm         head
        blk.N.attn_k_norm         head
    """
    BIASES = ATTENTION_INPUTS
    FREE_HEADS = False

    @classmethod
    def takes(cls, config: Config) -> bool:
        """(transformers, Exaone4Config) It counts blocks by the pattern, and fails where that is no number."""
        full = {**cls.DEFAULTS, **config}
        if full.get("layer_types") is not None:
            return layer_types_fit(full)
        step = full["sliding_window_pattern"]
        return full["sliding_window"] is not None and type(step) is int and step != 0

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, Exaone4Config)"""
        if config.get("layer_types") is None:
            config["layer_types"] = _types(config, config["sliding_window_pattern"])
        return config

    @cached_property
    def tokenizer(self) -> Values:
        return tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config))

    def rotated(self, source: str, x: Expression) -> Expression:
        return x

    def parameters(self, file_type: int) -> Values:
        """(Exaone4Model.set_gguf_parameters)"""
        out = Writer(self.NAME, self.config)
        out.put("vocab_size", "u32", number(self.config, "vocab_size"), "vocab_size")
        out.take("attention.sliding_window", "u32", "sliding_window")
        if out.values.keys() > {f"{self.NAME}.vocab_size"} and (windowed := self.windowed) is not None:
            out.values[f"{self.NAME}.attention.sliding_window_pattern"] = encode_value("[bool]", windowed)
        return base_parameters(self.NAME, self.config, file_type) | out.values

    @property
    def windowed(self) -> list[bool] | None:
        """Which blocks see a window of the text; None where nothing says so."""
        config, blocks = self.config, block_count(self.config)
        pattern = config.get("sliding_window_pattern")
        types = config.get("layer_types", _types(config, pattern) if isinstance(pattern, int | str) else None)
        if types is None and "layer_types" not in config:
            return None
        if not isinstance(types, list) or len(types) != blocks:
            got = f"a list of {len(types)}" if isinstance(types, list) else in_json(types)
            raise Error(
                f"'layer_types' expects a list with one text for each of {blocks} blocks, got {got}", path="config.json"
            )
        return [each == "sliding_attention" for each in types]

    @property
    def loses_windows(self) -> bool:
        """Whether the runtime gives no block the window that it was trained with."""
        windows = self.config.get("sliding_window") is not None and any(self.windowed or ())
        return windows and block_count(self.config) != WINDOWED

    def doubts(self) -> Iterator[Error]:
        yield from super().doubts()
        if self.loses_windows:
            blocks = block_count(self.config)
            yield Error(
                f"llama.cpp's runtime gives blocks of such a model a window only where there are {WINDOWED}, and this one has "
                f"{blocks}: its answers would be wrong",
                path="config.json",
                facts=[("sliding_window", in_json(self.config["sliding_window"]))],
            )


def _types(config: Config, pattern: int | str) -> list[str]:
    """The kinds of blocks of a pattern: every so many sees all of the text, or each as a letter says, L or G."""
    blocks = block_count(config)
    if isinstance(pattern, str):
        windowed = [pattern[block % len(pattern)] == "L" for block in range(blocks)] if pattern else [False] * blocks
    else:
        windowed = [bool((block + 1) % pattern) for block in range(blocks)] if pattern else [False] * blocks
    return ["sliding_attention" if each else "full_attention" for each in windowed]
